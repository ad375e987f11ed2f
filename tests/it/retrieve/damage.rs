//! What a retrieve does for files of the embedded archive that are no longer what arrived.

use std::fs;

use dicom_dictionary_std::tags;
use impaxlink::archive::{Archive, ArchiveError, Damage, Outcome, SoundReader, StoredInstance};
use impaxlink::model::AsideReason;
use serde_json::json;

use crate::support::archive::{Object, files, new_archive};
use crate::support::links::add_linked;
use crate::support::orthanc::Orthanc;
use crate::support::retrieve::{embedded, retrieve, study};

/// Reads it to its end: how it is damaged.
fn damage(instance: &StoredInstance) -> Option<Damage> {
    let read = || {
        let mut object = SoundReader::open(instance)?;
        while object.read(1000)?.is_some() {}
        Ok(())
    };
    match read() {
        Ok(()) => None,
        Err(ArchiveError::Damaged(_, damage)) => Some(damage),
        Err(error) => panic!("{error}"),
    }
}

/// Case: a damaged file is fetched again
#[test]
fn what_is_damaged_is_fetched_again_and_replaces_the_bad_file() {
    let study = study(3);
    let source = Orthanc::start("SITEA", [&study]);
    let env = embedded();
    add_linked(&env, "SITEA", "SITEA", source.port, &[]);
    retrieve(&env, &[&study.uid]).0.success();

    let archive = Archive::open(&env.store().with_file_name("archive")).unwrap();
    let stored = || archive.instances(&study.uid, None).unwrap();
    let (before, bytes) = (stored(), archive.stats().unwrap().bytes);
    let mut changed = fs::read(&before[0].path).unwrap();
    *changed.last_mut().unwrap() ^= 1;
    fs::write(&before[0].path, changed).unwrap();
    fs::write(&before[1].path, "cut").unwrap();
    fs::remove_file(&before[2].path).unwrap();
    for instance in &before[..3] {
        archive.note_damage(instance, damage(instance).unwrap()).unwrap();
    }
    // This one was out of reach for a while only.
    archive.note_damage(&before[3], Damage::Missing).unwrap();

    let (run, item) = retrieve(&env, &[&study.uid]);
    run.success();
    assert_eq!(item["fetched"], json!(4), "{item:#}");
    assert_eq!(item["already_there"], json!(2), "{item:#}");
    assert_eq!(item["complete"], json!(true), "{item:#}");
    let after = stored();
    assert_eq!(after.len(), 6);
    for (now, then) in after.iter().zip(&before) {
        assert_eq!((damage(now), now.is_damaged), (None, false), "{now:?}");
        assert_eq!(now.digest, then.digest);
    }
    archive.finish_removals().unwrap();
    let stats = archive.stats().unwrap();
    assert_eq!((stats.instances, stats.bytes, stats.kept_aside), (6, bytes, 0));
    let dicom = |path: &&std::path::PathBuf| fs::read(path).unwrap().get(128..132) == Some(b"DICM");
    assert_eq!(files(archive.path()).iter().filter(dicom).count(), 6);

    let (_, item) = retrieve(&env, &[&study.uid]);
    assert_eq!(item["fetched"], json!(0), "{item:#}");
}

/// Case: a damaged file is fetched again
#[test]
fn only_the_data_that_arrived_first_replace_a_damaged_file() {
    let (_folder, archive) = new_archive();
    let object = Object::new(1);
    assert_eq!(object.store(&archive).unwrap(), Outcome::Stored);
    let stored = || {
        let instance = archive.instance(object.value(tags::SOP_INSTANCE_UID));
        instance.unwrap().unwrap()
    };
    fs::write(&stored().path, "cut").unwrap();
    archive.note_damage(&stored(), Damage::Length).unwrap();
    let other = object.clone().with(tags::PATIENT_COMMENTS, "other data");
    let kept = Outcome::KeptAside(AsideReason::Differs);
    assert_eq!(other.store(&archive).unwrap(), kept);
    assert_eq!(damage(&stored()), Some(Damage::Length));
    assert_eq!(object.store(&archive).unwrap(), Outcome::Stored);
    assert_eq!((damage(&stored()), stored().is_damaged), (None, false));
    assert_eq!(object.store(&archive).unwrap(), Outcome::AlreadyStored);
}

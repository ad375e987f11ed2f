//! Studies removed from the archive: nothing of them is left, nothing else is touched, and a crash brings none back.

use std::collections::HashSet;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use dicom_dictionary_std::tags;
use impaxlink::archive::{Archive, ArchiveError, Level, Outcome, reindex};
use impaxlink::model::AsideReason;

use super::support::archive::{Object, files, found, new_archive};
use super::support::killed::Killed;
use super::support::service::wait_for;

const ROOT: &str = "ARCHIVE_REMOVAL_ROOT";

/// An instance of a study of three, by the number of the study.
fn instance(study: usize, number: usize) -> Object {
    Object::new(study * 10 + number)
        .with(tags::STUDY_INSTANCE_UID, &uid(study))
        .with(tags::PATIENT_ID, "4711")
        .with(tags::PATIENT_NAME, &format!("DOE^JANE^{study}"))
}

fn uid(study: usize) -> String {
    format!("1.2.840.{study}")
}

/// Stores a study later than any before it by the times of files, which are all that a rebuilt index has to tell which
/// of a patient's names came first.
fn store(archive: &Archive, study: usize) {
    let written = || tempfile::tempfile().and_then(|file| file.metadata()?.modified());
    let before = written().unwrap();
    while written().unwrap() == before {}
    for number in 0..3 {
        assert_eq!(instance(study, number).store(archive).unwrap(), Outcome::Stored);
    }
}

fn remove(archive: &Archive, study: usize) -> bool {
    archive
        .remove(&archive.holding(&uid(study).parse().unwrap()).unwrap())
        .unwrap()
}

fn studies(archive: &Archive) -> HashSet<String> {
    found(archive, Level::Study, &[(tags::STUDY_INSTANCE_UID, "")])
        .into_iter()
        .collect()
}

fn stored_files(root: &Path) -> Vec<PathBuf> {
    files(&root.join("files"))
}

/// A process that another test has begun holds the lock until it becomes another program.
fn reindex_alone(root: &Path) {
    wait_for("the archive for itself", || match reindex(root, |_| {}) {
        Err(ArchiveError::InUse(_)) => false,
        reindexed => reindexed.map(|_| true).unwrap(),
    });
}

/// The index agrees with the files, also when it is made again.
fn assert_agrees(archive: Archive) -> Archive {
    let (root, stats) = (archive.path().to_owned(), archive.stats().unwrap());
    let patients = || {
        found(
            &Archive::open(&root).unwrap(),
            Level::Patient,
            &[(tags::PATIENT_NAME, "")],
        )
    };
    assert_eq!(stored_files(&root).len() as u64, stats.instances);
    let before = patients();
    drop(archive);
    reindex_alone(&root);
    let archive = Archive::open(&root).unwrap();
    assert_eq!(archive.stats().unwrap(), stats);
    assert_eq!(patients(), before);
    archive
}

#[test]
fn nothing_of_a_removed_study_is_left_and_all_else_is() {
    let (_folder, archive) = new_archive();
    store(&archive, 1);
    store(&archive, 2);
    Object::new(99).store(&archive).unwrap();
    let holding = archive.holding(&uid(1).parse().unwrap()).unwrap();
    assert_eq!((holding.instances(), holding.kept_aside()), (3, 0));
    assert_eq!(
        holding
            .senders()
            .iter()
            .map(|title| title.as_str())
            .collect::<Vec<_>>(),
        ["CT1"]
    );
    assert!(!holding.was_imported());

    assert!(remove(&archive, 1));
    archive.finish_removals().unwrap();
    assert_eq!(
        studies(&archive),
        HashSet::from([uid(2), "1.2.826.0.1.3680043.2.3.99".to_owned()])
    );
    let stats = archive.stats().unwrap();
    assert_eq!(
        (stats.patients, stats.studies, stats.series, stats.instances),
        (2, 2, 4, 4)
    );
    // The patient is described by what is left, as the files would have it.
    let named = |name: &str| found(&archive, Level::Patient, &[(tags::PATIENT_NAME, name)]);
    assert_eq!(named("DOE^JANE^1"), Vec::<String>::new());
    assert_eq!(named("DOE^JANE^2"), ["DOE^JANE^2"]);
    let archive = assert_agrees(archive);

    assert!(remove(&archive, 2));
    archive.finish_removals().unwrap();
    assert_eq!(archive.stats().unwrap().patients, 1);
    store(&archive, 1);
    assert_agrees(archive);
}

#[test]
fn what_is_not_as_it_was_seen_is_not_removed() {
    let (_folder, archive) = new_archive();
    store(&archive, 1);
    let seen = archive.holding(&uid(1).parse().unwrap()).unwrap();
    instance(1, 3).store(&archive).unwrap();
    assert!(!archive.remove(&seen).unwrap());
    let differing = instance(1, 3).with(tags::PATIENT_COMMENTS, "other");
    let seen = archive.holding(&uid(1).parse().unwrap()).unwrap();
    assert_eq!(
        differing.store(&archive).unwrap(),
        Outcome::KeptAside(AsideReason::Differs)
    );
    assert!(!archive.remove(&seen).unwrap());
    assert!(!remove(&archive, 1), "something of it is kept aside");
    assert_eq!(archive.stats().unwrap().instances, 4);
}

#[test]
fn a_crash_after_the_index_brings_nothing_back() {
    let (_folder, archive) = new_archive();
    let root = archive.path().to_owned();
    store(&archive, 1);
    store(&archive, 2);
    assert!(remove(&archive, 1));
    drop(archive);
    assert_eq!(stored_files(&root).len(), 6);
    let mut opened = None;
    // Whoever does not have the archive for itself leaves it to the next to remove what is listed.
    wait_for("the files of the first to go", || {
        drop(opened.take());
        opened = Some(Archive::open(&root).unwrap());
        stored_files(&root).len() == 3
    });
    let archive = opened.expect("the archive");
    assert_eq!(archive.recovered().adopted, 0);
    // The same, and the index is made again before anybody opens it.
    assert!(remove(&archive, 2));
    drop(archive);
    reindex_alone(&root);
    assert_eq!(stored_files(&root).len(), 0);
    assert_eq!(Archive::open(&root).unwrap().stats().unwrap().instances, 0);
}

#[test]
fn what_comes_again_before_its_file_has_gone_stays() {
    let (_folder, archive) = new_archive();
    store(&archive, 1);
    assert!(remove(&archive, 1));
    store(&archive, 1);
    archive.finish_removals().unwrap();
    let root = archive.path().to_owned();
    drop(archive);
    let archive = Archive::open(&root).unwrap();
    assert_eq!(archive.stats().unwrap().instances, 3);
    assert_agrees(archive);
}

#[test]
fn a_file_that_is_being_read_is_read_to_its_end() {
    let (_folder, archive) = new_archive();
    store(&archive, 1);
    let instances = archive.instances(&uid(1), None).unwrap();
    let mut open = instances[0].open().unwrap();
    assert!(remove(&archive, 1));
    archive.finish_removals().unwrap();
    let mut read = Vec::new();
    open.read_to_end(&mut read).unwrap();
    assert_eq!(
        read.len() as u64,
        instances[0].bytes - instances[0].data_set_offset
    );
    assert!(instances[1].open().is_err());
}

/// Not a test but the process that is killed: stores studies, removes every other, and says what was acknowledged.
#[test]
fn store_and_remove_until_killed() {
    let Ok(root) = std::env::var(ROOT) else { return };
    let archive = Archive::open(Path::new(&root)).unwrap();
    for study in 1.. {
        store(&archive, study);
        println!("\nacknowledged {study}");
        if study % 2 == 0 {
            assert!(remove(&archive, study / 2));
            println!("\nacknowledged -{}", study / 2);
            archive.finish_removals().unwrap();
        }
    }
}

#[test]
fn a_kill_in_the_middle_brings_nothing_back_and_loses_nothing() {
    for count in [2, 3, 9, 20, 31] {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("archive");
        let mut killed = Killed::start(
            "archive_removal::store_and_remove_until_killed",
            &[(ROOT, root.to_str().unwrap())],
        );
        let acknowledged = killed.after(count);
        let removed: HashSet<String> = acknowledged
            .iter()
            .filter(|number| **number < 0)
            .map(|number| uid(number.unsigned_abs()))
            .collect();
        let stored: HashSet<String> = acknowledged
            .iter()
            .filter(|number| **number > 0)
            .map(|number| uid(number.unsigned_abs()))
            .collect();
        let archive = Archive::open(&root).unwrap();
        let now = studies(&archive);
        assert_eq!(now.intersection(&removed).count(), 0, "{count}");
        // One more removal may have been done and not told.
        assert!(
            stored
                .difference(&removed)
                .filter(|study| !now.contains(*study))
                .count()
                <= 1,
            "{count}"
        );
        for study in stored.intersection(&now) {
            assert_eq!(archive.instances(study, None).unwrap().len(), 3, "{study}");
        }
        assert!(fs::read_dir(root.join("aside")).unwrap().next().is_none());
        assert_agrees(archive);
    }
}

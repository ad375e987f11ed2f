//! The embedded archive: storing, keeping aside, importing, reading back, rebuilding the index.

use std::collections::BTreeSet;
use std::fs;
use std::io::Read;
use std::ops::ControlFlow;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use dicom_dictionary_std::tags;
use impaxlink::archive::{Archive, ArchiveError, Key, Level, Outcome, Query, Root, Search, Value, reindex};
use impaxlink::dimse::TransferSyntax;
use impaxlink::model::AsideReason;

use super::support::archive::{Object, files, found, import, new_archive, query, receive, rows, texts};
use super::support::studies::Federation;

const EXPLICIT: TransferSyntax = TransferSyntax::ExplicitVrLittleEndian;

fn store(archive: &Archive, number: usize) {
    Object::new(number).store(archive).expect("a stored object");
}

fn object_files(archive: &Archive) -> Vec<PathBuf> {
    let mut found = files(&archive.path().join("files"));
    found.extend(files(&archive.path().join("aside")));
    found
}

#[test]
fn an_object_comes_back_as_it_was_received() {
    let (_folder, archive) = new_archive();
    // A syntax that nobody here can decode; its data set reads as Explicit VR Little Endian.
    for (number, syntax) in ["1.2.840.10008.1.2.1", "1.2.840.10008.1.2.4.70", "1.2.3.4.5"]
        .into_iter()
        .enumerate()
    {
        let object = Object::new(number);
        let data_set = object.bytes(EXPLICIT);
        let incoming = receive(&archive, object.announced(syntax), &data_set).unwrap();
        assert_eq!(incoming.finish().unwrap(), Outcome::Stored);
        let [stored] = &archive
            .instances(object.value(tags::STUDY_INSTANCE_UID), None)
            .unwrap()[..]
        else {
            panic!("one instance")
        };
        let mut read = Vec::new();
        stored.open().unwrap().read_to_end(&mut read).unwrap();
        assert_eq!(read, data_set);
        assert_eq!(stored.transfer_syntax_uid, syntax);
        assert_eq!(stored.bytes, fs::metadata(&stored.path).unwrap().len());
        let meta = dicom_object::FileMetaTable::from_reader(&fs::read(&stored.path).unwrap()[128..]).unwrap();
        assert_eq!(meta.transfer_syntax().trim_end_matches('\0'), syntax);
        assert_eq!(
            meta.media_storage_sop_instance_uid().trim_end_matches('\0'),
            stored.sop_instance_uid
        );
        assert_eq!(
            archive.instance(&stored.sop_instance_uid).unwrap().as_ref(),
            Some(stored)
        );
    }
    let implicit = Object::new(9);
    let syntax = TransferSyntax::ImplicitVrLittleEndian;
    let incoming = receive(
        &archive,
        implicit.announced(syntax.uid()),
        &implicit.bytes(syntax),
    )
    .unwrap();
    assert_eq!(incoming.finish().unwrap(), Outcome::Stored);
    assert_eq!(found(&archive, Level::Study, &[(tags::PATIENT_ID, "P9")]), ["P9"]);
}

#[test]
fn files_are_for_their_owner_alone_and_named_by_nobody_else() {
    let (_folder, archive) = new_archive();
    Object::new(1).store(&archive).unwrap();
    for path in files(archive.path()) {
        assert_eq!(
            fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            0o600,
            "{}",
            path.display()
        );
        assert_eq!(
            fs::metadata(path.parent().unwrap()).unwrap().permissions().mode() & 0o777,
            0o700
        );
        assert!(!path.to_string_lossy().contains("1.2.826"), "{}", path.display());
    }
}

/// Case: an object comes twice
#[test]
fn the_same_instance_twice_is_stored_once_and_other_data_are_kept_aside() {
    let (_folder, archive) = new_archive();
    let object = Object::new(1);
    assert_eq!(object.store(&archive).unwrap(), Outcome::Stored);
    assert_eq!(object.store(&archive).unwrap(), Outcome::AlreadyStored);
    let other = object.clone().with(tags::PATIENT_NAME, "ROE^RICHARD");
    for _ in 0..2 {
        assert_eq!(
            other.store(&archive).unwrap(),
            Outcome::KeptAside(AsideReason::Differs)
        );
    }
    let names = [(tags::PATIENT_NAME, "")];
    assert_eq!(found(&archive, Level::Study, &names), ["DOE^JANE"]);
    let aside = archive.kept_aside().unwrap();
    assert_eq!(aside.len(), 1);
    assert_eq!(
        aside[0].identity.sop_instance_uid.as_str(),
        object.value(tags::SOP_INSTANCE_UID)
    );
    assert!(
        fs::read(&aside[0].path)
            .unwrap()
            .ends_with(&other.bytes(EXPLICIT))
    );
    let stats = archive.stats().unwrap();
    assert_eq!((stats.instances, stats.kept_aside), (1, 1));
    assert_eq!(object_files(&archive).len(), 2);
}

/// Case: an object comes twice
#[test]
fn the_same_instance_at_the_same_time_is_stored_once() {
    let (_folder, archive) = new_archive();
    let outcomes: Vec<Outcome> = std::thread::scope(|scope| {
        let senders: Vec<_> = (0..16)
            .map(|_| scope.spawn(|| Object::new(1).store(&archive).unwrap()))
            .collect();
        senders.into_iter().map(|sender| sender.join().unwrap()).collect()
    });
    let stored = outcomes
        .iter()
        .filter(|outcome| **outcome == Outcome::Stored)
        .count();
    let already = outcomes
        .iter()
        .filter(|outcome| **outcome == Outcome::AlreadyStored)
        .count();
    assert_eq!((stored, already), (1, 15));
    assert_eq!(object_files(&archive).len(), 1);
}

#[test]
fn what_is_not_finished_or_not_sound_leaves_nothing() {
    let (_folder, archive) = new_archive();
    let object = Object::new(1);
    let announced = || object.announced(EXPLICIT.uid());
    drop(receive(&archive, announced(), &object.bytes(EXPLICIT)).unwrap());
    let bytes = object.bytes(EXPLICIT);
    let cut_short = receive(&archive, announced(), &bytes[..bytes.len() - 3]).unwrap();
    assert!(matches!(cut_short.finish(), Err(ArchiveError::Unreadable(_))));
    let other = Object::new(2).bytes(EXPLICIT);
    let contradiction = receive(&archive, announced(), &other).unwrap().finish();
    assert!(matches!(
        contradiction,
        Err(ArchiveError::Contradiction(tags::SOP_INSTANCE_UID))
    ));
    let no_series = object.clone().with(tags::SERIES_INSTANCE_UID, "").store(&archive);
    assert!(matches!(no_series, Err(ArchiveError::NoPlace(_))));
    assert_eq!(object_files(&archive), Vec::<PathBuf>::new());
    assert_eq!(archive.stats().unwrap(), Default::default());
}

#[test]
fn counts_and_unions_follow_what_is_stored() {
    let (_folder, archive) = new_archive();
    let study = Object::new(0).value(tags::STUDY_INSTANCE_UID).to_owned();
    for (number, modality, series) in [(1, "CT", "1.1"), (2, "CT", "1.1"), (3, "SR", "1.2")] {
        let object = Object::new(number)
            .with(tags::STUDY_INSTANCE_UID, &study)
            .with(tags::SERIES_INSTANCE_UID, series)
            .with(tags::PATIENT_ID, "P0")
            .with(tags::MODALITY, modality);
        object.store(&archive).unwrap();
    }
    let keys = [
        (tags::MODALITIES_IN_STUDY, ""),
        (tags::NUMBER_OF_STUDY_RELATED_SERIES, ""),
        (tags::NUMBER_OF_STUDY_RELATED_INSTANCES, ""),
        (tags::NUMBER_OF_PATIENT_RELATED_STUDIES, ""),
        (tags::SOP_CLASSES_IN_STUDY, ""),
        (tags::STUDY_DESCRIPTION, ""),
        (tags::TABLE_HEIGHT, ""),
        (tags::SERIES_NUMBER, ""),
    ];
    let query = query(Level::Study, &keys);
    let unsupported = Search::new(&query).unwrap().unsupported().to_vec();
    assert_eq!(unsupported, [tags::TABLE_HEIGHT, tags::SERIES_NUMBER]);
    let row = texts(&rows(&archive, &query)[0]);
    let values: Vec<&str> = keys[..6].iter().map(|(tag, _)| row[tag].as_str()).collect();
    assert_eq!(values, ["CT\\SR", "2", "3", "1", "1.2.840.10008.5.1.4.1.1.2", ""]);
    assert_eq!(row.len(), 6);
    let series = [
        (tags::NUMBER_OF_SERIES_RELATED_INSTANCES, ""),
        (tags::STUDY_INSTANCE_UID, &study),
    ];
    assert_eq!(found(&archive, Level::Series, &series), ["1", "2"]);
    for (key, matches) in [("SR", 1), ("CT\\US", 1), ("S?", 1), ("US", 0)] {
        assert_eq!(
            found(&archive, Level::Study, &[(tags::MODALITIES_IN_STUDY, key)]).len(),
            matches,
            "{key}"
        );
    }
}

#[test]
fn one_id_of_two_issuers_is_two_patients_and_one_study_uid_of_two_patients_two_studies() {
    let (_folder, archive) = new_archive();
    let object = |number: usize, issuer: &str| {
        Object::new(number)
            .with(tags::PATIENT_ID, "4711")
            .with(tags::ISSUER_OF_PATIENT_ID, issuer)
    };
    for (number, issuer) in [(1, "NORTH"), (2, "HARBOUR"), (3, "")] {
        object(number, issuer)
            .with(tags::STUDY_INSTANCE_UID, "1.5")
            .store(&archive)
            .unwrap();
    }
    let keys = [(tags::ISSUER_OF_PATIENT_ID, ""), (tags::PATIENT_ID, "4711")];
    assert_eq!(found(&archive, Level::Patient, &keys), ["", "HARBOUR", "NORTH"]);
    assert_eq!(
        found(&archive, Level::Study, &[(tags::STUDY_INSTANCE_UID, "1.5")]).len(),
        3
    );
    assert_eq!(archive.instances("1.5", None).unwrap().len(), 3);
    assert_eq!(
        found(&archive, Level::Study, &[(tags::ISSUER_OF_PATIENT_ID, "NORTH")]).len(),
        1
    );
    assert_eq!(
        found(&archive, Level::Study, &[(tags::ISSUER_OF_PATIENT_ID, "\"\"")]).len(),
        1
    );
}

#[test]
fn a_sequence_matches_and_comes_back_with_what_was_asked_of_its_items() {
    use dicom_core::VR;
    use impaxlink::dimse::DataSetBuilder;
    let (_folder, archive) = new_archive();
    let object = Object::new(1);
    let code = |value: &str| {
        let item = DataSetBuilder::new().put(tags::CODE_VALUE, VR::SH, value);
        item.put(tags::CODING_SCHEME_DESIGNATOR, VR::SH, "DCM")
            .put(tags::CODE_MEANING, VR::LO, "Schädel")
    };
    let elements = object
        .0
        .iter()
        .fold(DataSetBuilder::new(), |elements, (tag, value)| {
            elements.put(*tag, super::support::archive::vr(*tag), value.as_bytes())
        });
    let elements = elements.put_items(tags::PROCEDURE_CODE_SEQUENCE, vec![code("A"), code("B")]);
    for syntax in TransferSyntax::ALL {
        let object = object.clone().with(
            tags::SOP_INSTANCE_UID,
            if syntax == EXPLICIT { "1.1" } else { "1.2" },
        );
        let uid = object.value(tags::SOP_INSTANCE_UID);
        let elements = elements.clone().put(tags::SOP_INSTANCE_UID, VR::UI, uid);
        let elements = elements.put(tags::STUDY_INSTANCE_UID, VR::UI, uid);
        let data_set = elements.encode(syntax).unwrap();
        receive(&archive, object.announced(syntax.uid()), data_set.bytes())
            .unwrap()
            .finish()
            .unwrap();
    }
    let ask = |keys: Vec<Key>| {
        let keys = vec![Key::item(tags::PROCEDURE_CODE_SEQUENCE, keys)];
        rows(
            &archive,
            &Query {
                root: Root::Study,
                level: Level::Study,
                keys,
                combined_datetime: false,
            },
        )
    };
    let matching = ask(vec![
        Key::text(tags::CODE_VALUE, "B"),
        Key::text(tags::CODE_MEANING, ""),
    ]);
    assert_eq!(matching.len(), 2);
    for row in matching {
        let Some(Value::Items(items)) = row.0.get(tags::PROCEDURE_CODE_SEQUENCE) else {
            panic!("{row:?}")
        };
        let values: Vec<Vec<_>> = items
            .iter()
            .map(|item| item.iter().map(|it| it.tag).collect())
            .collect();
        assert_eq!(values, vec![vec![tags::CODE_VALUE, tags::CODE_MEANING]; 2]);
        assert_eq!(items[0].text(tags::CODE_MEANING), "Schädel");
    }
    assert_eq!(ask(vec![Key::text(tags::CODE_VALUE, "C")]).len(), 0);
    assert_eq!(ask(vec![]).len(), 2);
}

#[test]
fn a_search_can_be_broken_off() {
    let (_folder, archive) = new_archive();
    (0..5).for_each(|number| store(&archive, number));
    let search = Search::new(&query(Level::Patient, &[(tags::PATIENT_ID, "P*")])).unwrap();
    let mut left = 2;
    let given = archive.find(&search, |_| {
        left -= 1;
        if left == 0 {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    });
    assert_eq!(given.unwrap(), 2);
}

/// Everything that the index answers at image level.
fn everything(archive: &Archive) -> BTreeSet<String> {
    let keys: Vec<_> = [
        tags::PATIENT_ID,
        tags::PATIENT_NAME,
        tags::STUDY_INSTANCE_UID,
        tags::NUMBER_OF_STUDY_RELATED_INSTANCES,
        tags::MODALITIES_IN_STUDY,
        tags::SERIES_INSTANCE_UID,
        tags::NUMBER_OF_SERIES_RELATED_INSTANCES,
        tags::SOP_INSTANCE_UID,
        tags::AVAILABLE_TRANSFER_SYNTAX_UID,
    ]
    .map(|tag| (tag, ""))
    .to_vec();
    rows(archive, &query(Level::Image, &keys))
        .iter()
        .map(|row| format!("{:?}", texts(row)))
        .collect()
}

#[test]
fn a_rebuilt_index_answers_as_before() {
    let (folder, archive) = new_archive();
    let source = folder.path().join("source");
    fs::create_dir(&source).unwrap();
    let federation = Federation::new(6, 20);
    federation
        .sites
        .iter()
        .flat_map(|site| &site.studies)
        .for_each(|study| {
            study.write_files(&source);
        });
    import(&archive, &source);
    Object::new(1).store(&archive).unwrap();
    Object::new(1)
        .with(tags::PATIENT_NAME, "ROE^R")
        .store(&archive)
        .unwrap();
    let (root, before, stats) = (
        archive.path().to_owned(),
        everything(&archive),
        archive.stats().unwrap(),
    );
    assert!(matches!(reindex(&root, |_| {}), Err(ArchiveError::InUse(_))));
    drop(archive);

    let mut progress = 0;
    let recovered = reindex(&root, |so_far| {
        assert!(so_far.adopted >= progress);
        progress = so_far.adopted;
    });
    let recovered = recovered.unwrap();
    assert_eq!(
        (recovered.adopted, recovered.unreadable),
        (stats.instances + 1, 0)
    );
    assert_eq!(progress, recovered.adopted);
    let archive = Archive::open(&root).unwrap();
    assert_eq!(everything(&archive), before);
    assert_eq!(archive.stats().unwrap(), stats);
    assert_eq!(Object::new(1).store(&archive).unwrap(), Outcome::AlreadyStored);
    drop(archive);

    // Without an index nothing is guessed; with a broken one it is rebuilt all the same.
    fs::remove_file(root.join("index.db")).unwrap();
    assert!(matches!(Archive::open(&root), Err(ArchiveError::IndexMissing(_))));
    let strange = rusqlite::Connection::open(root.join("index.db")).unwrap();
    let sql = "CREATE TABLE arrival (odd); PRAGMA user_version = 2";
    strange.execute_batch(sql).unwrap();
    drop(strange);
    reindex(&root, |_| {}).unwrap();
    fs::write(root.join("index.db"), "this is no database").unwrap();
    assert!(Archive::open(&root).is_err());
    reindex(&root, |_| {}).unwrap();
    assert_eq!(everything(&Archive::open(&root).unwrap()), before);
}

#[test]
fn two_processes_worth_of_archives_store_side_by_side() {
    let (_folder, one) = new_archive();
    let other = Archive::open(one.path()).unwrap();
    std::thread::scope(|scope| {
        scope.spawn(|| (0..40).for_each(|number| store(&one, number)));
        scope.spawn(|| (20..60).for_each(|number| store(&other, number)));
    });
    assert_eq!(one.stats().unwrap().instances, 60);
    assert_eq!(other.stats().unwrap().kept_aside, 0);
    let root = one.path().to_owned();
    drop((one, other));
    let reopened = Archive::open(&root).unwrap();
    assert_eq!(reopened.recovered(), Default::default());
    assert_eq!(object_files(&reopened).len(), 60);
}

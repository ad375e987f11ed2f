//! `archive` and the embedded station, as an administrator types them.

use std::fs;

use dicom_dictionary_std::tags;
use impaxlink::archive::Archive;

use super::support::archive::{Object, dicom_file};
use super::support::env::Env;

fn add_embedded(env: &Env) {
    env.impaxlink(&["station", "add", "OWN", "--kind", "archive", "--embedded"])
        .success();
}

/// Writes objects as files into a folder of their own, and gives its path.
fn files(env: &Env, objects: &[Object]) -> String {
    let folder = env.path().join("incoming");
    fs::create_dir_all(&folder).unwrap();
    for (number, object) in objects.iter().enumerate() {
        fs::write(folder.join(format!("{number}.dcm")), dicom_file(object)).unwrap();
    }
    folder.to_str().unwrap().to_owned()
}

#[test]
fn the_embedded_archive_is_a_station_without_host_and_port() {
    let env = Env::new();
    env.impaxlink(&["config", "set", "ae_title", "NORTH"]).success();
    add_embedded(&env);
    let station = env.impaxlink(&["station", "show", "OWN", "--json"]).json()["station"].clone();
    assert_eq!(station["embedded"], true);
    assert_eq!(station["kind"], "archive");
    assert_eq!(station["ae_title"], "NORTH");
    assert_eq!(station["host"], serde_json::Value::Null);

    let elsewhere = Env::new();
    let run = elsewhere.impaxlink(&["station", "add", "OWN", "--embedded", "--kind", "external"]);
    assert_eq!(run.status, Some(1), "{run:#?}");
    assert!(run.stderr.contains("only the embedded archive"), "{run:#?}");

    let refused = |status: i32, arguments: &[&str], word: &str| {
        let run = env.impaxlink(&[&["station", "add", "OTHER"], arguments].concat());
        assert_eq!(run.status, Some(status), "{run:#?}");
        assert!(run.stderr.contains(word), "{run:#?}");
    };
    refused(1, &["--embedded"], "OWN is the embedded archive already");
    refused(2, &["--embedded", "--port", "104"], "--port");
    refused(2, &["--kind", "archive", "--ae-title", "OTHER"], "--host");
}

#[test]
fn files_are_imported_counted_and_indexed_anew() {
    let env = Env::new();
    let run = env.impaxlink(&["archive", "stats"]);
    assert_eq!(run.status, Some(4), "{run:#?}");
    assert_eq!(env.impaxlink(&["archive", "reindex"]).status, Some(4));

    let folder = files(&env, &[Object::new(1), Object::new(2), Object::new(3)]);
    fs::write(env.path().join("incoming/notes.txt"), "no DICOM").unwrap();
    let run = env.impaxlink(&["archive", "import", &folder]);
    assert_eq!(run.success(), "stored     3\nnot dicom  1\n");
    assert!(run.stderr.contains("station add"), "{run:#?}");
    assert!(env.store().with_file_name("archive").is_dir());

    add_embedded(&env);
    let differing = Object::new(2).with(tags::PATIENT_NAME, "ROE^RICHARD");
    fs::write(env.path().join("incoming/differing.dcm"), dicom_file(&differing)).unwrap();
    let whole = dicom_file(&Object::new(4));
    fs::write(env.path().join("incoming/cut.dcm"), &whole[..whole.len() - 3]).unwrap();
    let run = env.impaxlink(&["archive", "import", &folder, "--json"]);
    assert_eq!(run.status, Some(1), "{run:#?}");
    let counts = run.json();
    for (name, count) in [
        ("stored", 0),
        ("already_stored", 3),
        ("kept_aside", 1),
        ("damaged", 1),
    ] {
        assert_eq!(counts[name], count, "{name} in {counts}");
    }
    for name in [
        "differing.dcm: kept aside",
        "cut.dcm: not taken: the object cannot be read:",
    ] {
        assert!(run.stderr.contains(name), "{run:#?}");
    }

    let stats = || env.impaxlink(&["archive", "stats", "--json"]).json();
    let before = stats();
    assert_eq!(before["instances"], 3);
    assert_eq!(
        before["kept_aside"][0]["sop_instance_uid"],
        differing.value(tags::SOP_INSTANCE_UID)
    );
    let run = env.impaxlink(&["archive", "reindex"]);
    assert_eq!(run.success(), "4 objects indexed\n");
    assert_eq!(stats(), before);
    let csv = env.impaxlink(&["archive", "stats", "--format", "csv"]);
    assert!(
        csv.success()
            .starts_with("path,patients,studies,series,instances,bytes,kept_aside\n")
    );
}

#[test]
fn an_archive_in_use_is_not_indexed_anew() {
    let env = Env::new();
    let path = env.path().join("elsewhere");
    env.impaxlink(&["config", "set", "archive.path", path.to_str().unwrap()])
        .success();
    let archive = Archive::open(&path).unwrap();
    let run = env.impaxlink(&["archive", "reindex"]);
    assert_eq!(run.status, Some(5), "{run:#?}");
    assert!(run.stderr.contains("hint: stop the service"), "{run:#?}");
    // But importing goes on beside it.
    let folder = files(&env, &[Object::new(1)]);
    env.impaxlink(&["archive", "import", &folder]).success();
    assert_eq!(archive.stats().unwrap().instances, 1);
}

#[test]
fn an_unreadable_path_is_named_and_fails() {
    let env = Env::new();
    let run = env.impaxlink(&["archive", "import", "/nowhere/at/all"]);
    assert_eq!(run.status, Some(1), "{run:#?}");
    assert!(run.stderr.contains("cannot read /nowhere/at/all"), "{run:#?}");
    let run = env.impaxlink(&["config", "set", "archive.path", "relative"]);
    assert_eq!(run.status, Some(2), "{run:#?}");
}

#[test]
fn a_quiet_import_says_nothing_when_all_is_well_and_one_line_otherwise() {
    let env = Env::new();
    add_embedded(&env);
    let folder = files(&env, &[Object::new(1), Object::new(2)]);
    fs::write(env.path().join("incoming/notes.txt"), "no DICOM").unwrap();
    let run = env.impaxlink(&["archive", "import", &folder, "-q"]);
    assert_eq!((run.status, &*run.stdout, &*run.stderr), (Some(0), "", ""));
    let named = env.impaxlink(&["archive", "import", &folder]);
    assert!(named.stderr.contains("notes.txt: not a DICOM file"), "{named:#?}");
    for number in 3..6 {
        let whole = dicom_file(&Object::new(number));
        let cut = &whole[..whole.len() - 20];
        fs::write(env.path().join(format!("incoming/cut{number}.dcm")), cut).unwrap();
    }
    let run = env.impaxlink(&["archive", "import", &folder, "-q"]);
    let line = "archive import: 3 damaged DICOM files and 0 unreadable files were not taken, 0 stored\n";
    assert_eq!((run.status, &*run.stdout, &*run.stderr), (Some(1), "", line));
}

//! C-STORE of the service into the embedded archive, by DCMTK's `storescu`, and C-FIND of what was stored.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use dicom_dictionary_std::{tags, uids};
use impaxlink::archive::Archive;
use impaxlink::model::{Kind, Station};

use crate::support::archive::{Object, dicom_file};
use crate::support::findscu;
use crate::support::process::free_port;
use crate::support::service::{Service, set, station};
use crate::support::studies::Federation;

pub fn embedded() -> Station {
    let mut own = Station::new("OWN".parse().unwrap(), "IMPAXLINK".parse().unwrap(), None);
    own.kind = Kind::Archive;
    own
}

/// A service with an embedded archive, that knows the modality CT1, and holds messages to 64 KiB.
fn service() -> Service {
    let modality = station("CT1", free_port());
    Service::start_with(|configuration| {
        configuration.stations = vec![embedded(), modality];
        set(configuration, "limits.message", "65536");
    })
}

fn archive(service: &Service) -> Archive {
    Archive::open(&service.env.store().with_file_name("archive")).unwrap()
}

fn write(service: &Service, name: &str, object: &Object) -> PathBuf {
    let path = service.env.path().join(name);
    fs::write(&path, dicom_file(object)).unwrap();
    path
}

/// What `storescu` says, and whether all was stored.
pub fn storescu(service: &Service, calling: &str, options: &[&str], files: &[&Path]) -> (bool, String) {
    let output = Command::new("storescu")
        .env("TCP_NODELAY", "1")
        .args([
            "-v",
            "-aet",
            calling,
            "-aec",
            "IMPAXLINK",
            "-to",
            "20",
            "-ta",
            "20",
            "-td",
            "20",
        ])
        .args(options)
        .args(["127.0.0.1", &service.port.to_string()])
        .args(files)
        .output()
        .expect("storescu runs (package dcmtk)");
    let mut log = String::from_utf8_lossy(&output.stdout).into_owned();
    log.push_str(&String::from_utf8_lossy(&output.stderr));
    let stored = log.matches("Received Store Response (Success)").count();
    (output.status.success() && stored == files.len(), log)
}

#[test]
fn what_is_stored_is_there_once_and_found_by_others() {
    let service = service();
    let object = Object::new(1);
    let first = write(&service, "first.dcm", &object);
    let second = write(&service, "second.dcm", &Object::new(2));
    for _ in 0..2 {
        let (stored, log) = storescu(&service, "CT1", &[], &[&first, &second]);
        assert!(stored, "{log}");
    }
    let found = findscu::find(
        "CT1",
        "IMPAXLINK",
        service.port,
        &["-S"],
        &["QueryRetrieveLevel=STUDY", "PatientID", "StudyInstanceUID"],
    );
    assert_eq!(found.values("PatientID"), ["P1", "P2"], "{}", found.log);

    let differing = write(
        &service,
        "differing.dcm",
        &object.clone().with(tags::PATIENT_NAME, "ROE^RICHARD"),
    );
    let (stored, log) = storescu(&service, "CT1", &[], &[&differing]);
    assert!(stored, "{log}");
    let archive = archive(&service);
    assert_eq!(archive.stats().unwrap().instances, 2);
    let aside = archive.kept_aside().unwrap();
    assert_eq!(aside.len(), 1);
    assert_eq!(
        aside[0].identity.sop_instance_uid.as_str(),
        object.value(tags::SOP_INSTANCE_UID)
    );
    let kept = fs::read(
        archive
            .instance(object.value(tags::SOP_INSTANCE_UID))
            .unwrap()
            .unwrap()
            .path,
    );
    assert!(kept.unwrap().windows(8).any(|bytes| bytes == b"DOE^JANE"));
}

#[test]
fn an_object_may_be_larger_than_any_message() {
    let service = service();
    let large = Object::new(3).with(tags::PIXEL_DATA, &"x".repeat(3_000_000));
    let file = write(&service, "large.dcm", &large);
    let (stored, log) = storescu(&service, "CT1", &[], &[&file]);
    assert!(stored, "{log}");
    assert!(archive(&service).stats().unwrap().bytes > 3_000_000);
}

#[test]
fn compressed_objects_are_kept_as_they_came() {
    let service = service();
    let federation = Federation::new(5, 4);
    let folder = service.env.path().join("files");
    fs::create_dir(&folder).unwrap();
    federation.site("SITEA").studies[0].write_files(&folder);
    let plain = crate::support::archive::files(&folder).remove(0);
    let compressed = service.env.path().join("rle.dcm");
    let output = Command::new("dcmcrle")
        .args([&plain, &compressed])
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    let (stored, log) = storescu(&service, "CT1", &["-xr"], &[&compressed]);
    assert!(stored, "{log}");
    let object = dicom_object::open_file(&compressed).unwrap();
    let uid = object.meta().media_storage_sop_instance_uid().to_owned();
    let instance = archive(&service).instance(&uid).unwrap().unwrap();
    assert_eq!(instance.transfer_syntax_uid, uids::RLE_LOSSLESS);
}

#[test]
fn what_cannot_be_placed_is_refused_and_the_association_goes_on() {
    let service = service();
    let placeless = write(
        &service,
        "placeless.dcm",
        &Object::new(4).with(tags::STUDY_INSTANCE_UID, ""),
    );
    let good = write(&service, "good.dcm", &Object::new(5));
    let (stored, log) = storescu(&service, "CT1", &["-nh"], &[&placeless, &good]);
    assert!(!stored, "{log}");
    assert!(log.contains("DataSetDoesNotMatchSOPClass"), "{log}");
    assert_eq!(archive(&service).stats().unwrap().instances, 1, "{log}");
}

#[test]
fn nothing_is_taken_of_strangers_or_without_an_archive() {
    let service = service();
    let file = write(&service, "object.dcm", &Object::new(6));
    let (stored, log) = storescu(&service, "STRANGER", &[], &[&file]);
    assert!(!stored && log.contains("Rejected"), "{log}");
    let without = Service::start(vec![station("CT1", free_port())]);
    let (stored, log) = storescu(&without, "CT1", &[], &[&file]);
    assert!(
        !stored && log.contains("No Acceptable Presentation Contexts"),
        "{log}"
    );
    assert!(!without.env.store().with_file_name("archive").exists());
}

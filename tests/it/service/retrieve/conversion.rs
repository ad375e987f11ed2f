//! Objects of the embedded archive for those who do not accept the transfer syntax that they are stored in.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use impaxlink::archive::Archive;
use impaxlink::model::{Kind, Station};
use tempfile::{TempDir, tempdir};

use crate::support::archive::import;
use crate::support::process::free_port;
use crate::support::retrievers::{getscu, movescu};
use crate::support::service::{Service, station};
use crate::support::storescp::Storescp;

const STUDY: &str = "1.2.826.0.1.3680043.2.3.1";
const REASON: &str = "transfer syntax not accepted by the destination";
const KEYS: [&str; 2] = [
    "QueryRetrieveLevel=STUDY",
    "StudyInstanceUID=1.2.826.0.1.3680043.2.3.1",
];

/// Numbers of every size, sequences in sequences, private elements, text of two character sets, signed samples in words.
const DUMP: &str = r"
(0008,0005) CS \ISO 2022 IR 87
(0008,0016) UI 1.2.840.10008.5.1.4.1.1.2
(0008,0018) UI 1.2.826.0.1.3680043.2.1.NUMBER
(0008,0060) CS CT
(0008,1140) SQ
(fffe,e000) na
(0008,1150) UI 1.2.840.10008.5.1.4.1.1.2
(0008,1155) UI 1.2.3.4.5
(0040,a170) SQ
(fffe,e000) na
(0008,0100) SH 121322
(0018,9073) FD 1234.5678
(fffe,e00d) na
(fffe,e0dd) na
(fffe,e00d) na
(fffe,e000) na
(0008,1155) UI 1.2.3.4.6
(fffe,e00d) na
(fffe,e0dd) na
(0009,0010) LO ACME 1.1
(0009,1001) US 258\772
(0009,1002) UN 01\02\03\04
(0010,0010) PN YAMADA^TARO
(0010,0020) LO P1
(0018,1200) DA 20200101
(0020,000d) UI 1.2.826.0.1.3680043.2.3.1
(0020,000e) UI 1.2.826.0.1.3680043.2.2.1
(0020,0013) IS NUMBER
(0028,0002) US 1
(0028,0004) CS MONOCHROME2
(0028,0009) AT (0018,1063)
(0028,0010) US 2
(0028,0011) US 3
(0028,0100) US 16
(0028,0101) US 16
(0028,0102) US 15
(0028,0103) US 1
(0028,0106) SS -300
(0028,0107) SS 4660
(0066,0016) OF 1.5\-2.25
(0070,0022) FL 0.125\-3.5
(7fe0,0010) OW fed4\1234\0001\0203\8000\7fff
";

/// One object of the study, made by DCMTK in another transfer syntax.
struct Samples {
    folder: TempDir,
    files: Vec<PathBuf>,
}

impl Samples {
    fn new() -> Self {
        Samples {
            folder: tempdir().unwrap(),
            files: Vec::new(),
        }
    }

    fn with(mut self, program: &str, options: &[&str]) -> Self {
        let number = self.files.len() + 1;
        let path = |kind: &str| self.folder.path().join(format!("{number}.{kind}"));
        let (dump, plain, file) = (path("dump"), path("plain"), path("dcm"));
        fs::write(&dump, DUMP.replace("NUMBER", &number.to_string())).unwrap();
        run("dump2dcm", &["+te"], &dump, &plain);
        run(program, options, &plain, &file);
        self.files.push(file);
        self
    }

    fn service(&self, store: u16) -> Service {
        let service = Service::start_with(|configuration| {
            let mut own = Station::new("OWN".parse().unwrap(), "IMPAXLINK".parse().unwrap(), None);
            own.kind = Kind::Archive;
            configuration.stations = vec![own, station("READER", free_port()), station("STORE", store)];
        });
        let archive = Archive::open(&service.env.store().with_file_name("archive")).unwrap();
        for file in &self.files {
            assert_eq!(import(&archive, file).stored, 1, "{}", file.display());
        }
        service
    }

    /// Checks that all objects arrived, each value to the byte.
    #[track_caller]
    fn assert_arrived(&self, arrived: &[PathBuf]) {
        assert_eq!(arrived.len(), self.files.len());
        let arrived: Vec<Vec<u8>> = arrived.iter().map(|file| data_set(file)).collect();
        for file in &self.files {
            assert!(arrived.contains(&data_set(file)), "{}", file.display());
        }
    }
}

#[track_caller]
fn run(program: &str, options: &[&str], from: &Path, to: &Path) {
    let output = Command::new(program)
        .args(options)
        .args([from, to])
        .output()
        .unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success() && !stderr.contains("E: "),
        "{program}: {stderr}"
    );
}

/// The data set of a file, rewritten by DCMTK in Implicit VR Little Endian with explicit lengths.
fn data_set(file: &Path) -> Vec<u8> {
    let folder = tempdir().unwrap();
    let rewritten = folder.path().join("rewritten");
    run("dcmconv", &["+ti", "+e"], file, &rewritten);
    let bytes = fs::read(rewritten).unwrap();
    let length = u32::from_le_bytes(bytes[140..144].try_into().unwrap()) as usize;
    bytes[144 + length..].to_vec()
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap();
    entries.map(|entry| entry.unwrap().path()).collect()
}

/// Case: the destination does not accept the stored transfer syntax
#[test]
fn a_mixed_study_is_converted_to_what_the_destination_accepts() {
    let samples = Samples::new()
        .with("dcmconv", &["+td"])
        .with("dcmconv", &["+tb"])
        .with("dcmconv", &["+ti"])
        .with("dcmconv", &["+te", "-e"])
        .with("dcmconv", &["+tb", "-e"]);
    let mut service = None;
    for option in ["+xi", "+x=", "+xe"] {
        let store = Storescp::start("STORE", &[option]);
        let service = service.insert(samples.service(store.port));
        let moved = movescu(service.port, "READER", "STORE", &[], &KEYS);
        moved.assert_ended("0000", [-1, 5, 0, 0]);
        samples.assert_arrived(&store.files());
    }
    let service = service.unwrap();
    for options in [&[][..], &["+xi"]] {
        let folder = tempdir().unwrap();
        let got = getscu(service.port, "READER", folder.path(), options, &KEYS);
        got.assert_ended("0000", [-1, 5, 0, 0]);
        samples.assert_arrived(&files(folder.path()));
    }
}

/// Case: the destination does not accept the stored transfer syntax
#[test]
fn a_compressed_object_that_is_not_accepted_is_named_as_that() {
    let samples = Samples::new().with("dcmconv", &["+td"]).with("dcmcrle", &[]);
    let store = Storescp::start("STORE", &["+xi"]);
    let service = samples.service(store.port);
    let moved = movescu(service.port, "READER", "STORE", &[], &KEYS);
    moved.assert_ended("b000", [-1, 1, 1, 0]);
    assert!(moved.log.contains(REASON), "{}", moved.log);
    assert_eq!(store.instances(), ["1.2.826.0.1.3680043.2.1.1"]);
    let log = service.log_with(REASON);
    assert!(!log.contains(STUDY) && !log.contains("YAMADA"), "{log}");
    let listed = service.env.impaxlink(&["ledger", "list"]);
    let ledger = listed.success();
    assert!(
        ledger.contains(REASON) && !ledger.contains("cut by the caller"),
        "{ledger}"
    );
}

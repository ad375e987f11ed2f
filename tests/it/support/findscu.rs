//! DCMTK's `findscu` and `echoscu`: what everybody uses today, as the measure of what a peer really answers.
//!
//! Invariant: the answers are read from the data sets that findscu received, not from its printed text.

use std::collections::BTreeMap;
use std::fs;
use std::process::{Command, Output};

use dicom_core::dictionary::{DataDictionary, DataDictionaryEntry};
use dicom_dictionary_std::{StandardDataDictionary, tags};
use dicom_object::open_file;

use super::dcmqrscp::OUR_AE_TITLE;

/// One answer: keyword to value, without padding.
pub type Answer = BTreeMap<String, String>;

/// What findscu brought.
pub struct Found {
    pub answers: Vec<Answer>,
    /// Everything it printed, at `-v`.
    pub log: String,
    /// Whether it ended with the peer's final status 0000: findscu's own exit status says no such thing.
    pub success: bool,
}

/// Asks a peer on this machine by Study Root at study level; `keys` are `KEYWORD=VALUE` or `KEYWORD`.
pub fn find_studies(ae_title: &str, port: u16, keys: &[&str]) -> Found {
    let mut all = vec!["QueryRetrieveLevel=STUDY", "SpecificCharacterSet"];
    if !keys.iter().any(|key| key.starts_with("StudyInstanceUID")) {
        all.push("StudyInstanceUID");
    }
    all.extend(keys);
    find(OUR_AE_TITLE, ae_title, port, &["-S"], &all)
}

/// Asks a peer on this machine as `calling`, with further options of findscu.
pub fn find(calling: &str, called: &str, port: u16, options: &[&str], keys: &[&str]) -> Found {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut command = dcmtk("findscu", calling, called);
    command.args(options).args(["-X", "-od"]).arg(folder.path());
    for key in keys {
        command.args(["-k", key]);
    }
    let output = run(command.arg("-v").arg("127.0.0.1").arg(port.to_string()));
    let log = log(&output);
    let mut paths: Vec<_> = fs::read_dir(folder.path())
        .expect("the folder of the answers")
        .map(|entry| entry.expect("an entry of the folder").path())
        .collect();
    paths.sort();
    Found {
        answers: paths
            .iter()
            .map(|path| read_answer(&open_file(path).expect("an answer of findscu")))
            .collect(),
        success: output.status.success() && log.contains("Received Final Find Response (Success)"),
        log,
    }
}

impl Found {
    /// The sorted values of one attribute over all answers.
    pub fn values(&self, keyword: &str) -> Vec<&str> {
        let values = self.answers.iter().filter_map(|answer| answer.get(keyword));
        let mut values: Vec<&str> = values.map(String::as_str).collect();
        values.sort_unstable();
        values
    }
}

/// Whether the peer answers C-ECHO, and what echoscu says about it.
pub fn echo(ae_title: &str, port: u16) -> (bool, String) {
    let mut command = dcmtk("echoscu", OUR_AE_TITLE, ae_title);
    let output = run(command.arg("-v").arg("127.0.0.1").arg(port.to_string()));
    let log = log(&output);
    // Its exit status is 0 also where the peer aborts.
    (log.contains("Received Echo Response (Success)"), log)
}

fn dcmtk(program: &str, calling: &str, called: &str) -> Command {
    let mut command = Command::new(program);
    command
        .env("TCP_NODELAY", "1")
        .args(["-aet", calling, "-aec", called])
        .args(["-to", "10", "-ta", "10", "-td", "10"]);
    command
}

fn run(command: &mut Command) -> Output {
    command
        .output()
        .unwrap_or_else(|error| panic!("cannot run {:?} (package dcmtk): {error}", command.get_program()))
}

fn log(output: &Output) -> String {
    let mut log = String::from_utf8_lossy(&output.stdout).into_owned();
    log.push_str(&String::from_utf8_lossy(&output.stderr));
    log
}

fn read_answer(object: &dicom_object::DefaultDicomObject) -> Answer {
    object
        .iter()
        .filter(|element| element.header().tag != tags::SPECIFIC_CHARACTER_SET)
        .filter_map(|element| {
            let entry = StandardDataDictionary.by_tag(element.header().tag)?;
            let value = element.to_str().ok()?;
            let value = value.trim_matches(['\0', ' ']);
            Some((entry.alias().to_owned(), value.to_owned()))
        })
        .collect()
}

//! Messages of HL7 v2 from a RIS: by file and over MLLP, what each does, and that none is lost or done twice.

mod crash;
mod doubtful;
mod files;
mod kept;
mod lost_store;
mod senders;

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;

use dicom_dictionary_std::tags;
use serde_json::Value;

use super::support::archive::{Object, dicom_file};
use super::support::env::{Env, Run};
use super::support::process::{Process, free_port};
use super::support::service::{self, PATIENCE, set};

/// The study of that number in the archive.
fn study(number: usize) -> String {
    format!("1.2.826.0.1.3680043.2.3.{number}")
}

/// A cluster of the issuer NORTH whose embedded archive has studies 1 and 2 of patient 4711 and study 3 of patient 88,
/// with accession numbers A1, A2 and A3.
fn site() -> Env {
    let env = Env::new();
    env.impaxlink(&["station", "add", "OWN", "--kind", "archive", "--embedded"])
        .success();
    env.impaxlink(&["config", "set", "issuer", "NORTH"]).success();
    for (number, patient) in [(1, "4711"), (2, "4711"), (3, "88")] {
        add_study(&env, number, patient, &format!("A{number}"));
    }
    env
}

/// Puts a study into the archive.
fn add_study(env: &Env, number: usize, patient: &str, accession: &str) {
    let object = Object::new(number)
        .with(tags::PATIENT_ID, patient)
        .with(tags::ISSUER_OF_PATIENT_ID, "NORTH")
        .with(tags::ACCESSION_NUMBER, accession);
    let path = env.path().join(format!("{number}.dcm"));
    fs::write(&path, dicom_file(&object)).unwrap();
    env.impaxlink(&["archive", "import", path.to_str().unwrap()])
        .success();
}

/// A message of that type and control ID, whose character set is `charset`, with these segments.
fn message(kind: &str, control_id: &str, charset: &str, segments: &[&str]) -> String {
    let header =
        format!("MSH|^~\\&|RIS|NORTH|LINK|NORTH|20240131120000||{kind}|{control_id}|P|2.3.1||||||{charset}");
    let segments = segments.iter().map(|segment| format!("{segment}\r"));
    format!("{header}\r{}", segments.collect::<String>())
}

fn pid(patient: &str) -> String {
    format!("PID|||{patient}^^^NORTH||DOE^JANE")
}

/// A result of that status: OBR-3 is the accession number, OBR-25 the status.
fn obr(accession: &str, status: &str) -> String {
    format!("OBR|1||{accession}{}{status}", "|".repeat(22))
}

/// A report of a study by its UID.
fn report(control_id: &str, number: usize, status: &str) -> String {
    let zds = format!("ZDS|{}^RIS^Application^DICOM", study(number));
    let patient = if number == 3 { "88" } else { "4711" };
    message(
        "ORU^R01",
        control_id,
        "",
        &[&pid(patient), &obr("", status), &zds],
    )
}

/// A report of a study by its accession number.
fn order(control_id: &str, patient: &str, accession: &str, status: &str) -> String {
    message(
        "ORM^O01",
        control_id,
        "",
        &[&pid(patient), &obr(accession, status)],
    )
}

/// Imports these messages from standard input.
fn import(env: &Env, messages: &[String]) -> Run {
    env.impaxlink_with_stdin(&["hl7", "import", "-", "--json"], &messages.concat())
}

/// The messages of that state.
fn listed(env: &Env, state: &str) -> Vec<Value> {
    let list = env.impaxlink(&["hl7", "list", "--state", state, "--limit", "0", "--json"]);
    list.success();
    list.json()["items"].as_array().unwrap().clone()
}

/// The value of a field as it is known of a study.
fn value(env: &Env, number: usize, field: &str) -> Value {
    let shown = env.impaxlink(&["study", "show", &study(number), "--json"]);
    if shown.status != Some(0) {
        return Value::Null;
    }
    let document = shown.json();
    let fields = document["study"]["states"][0]["fields"].as_array().cloned();
    let fields = fields.unwrap_or_default();
    let found = fields.iter().find(|shown| shown["field"] == field);
    found.map_or(Value::Null, |shown| shown["value"].clone())
}

fn status(env: &Env, number: usize) -> Value {
    value(env, number, "interpretation_status")
}

/// A RIS that sends over MLLP.
struct Sender(TcpStream);

impl Sender {
    fn connect(port: u16) -> Self {
        let stream = TcpStream::connect(("127.0.0.1", port)).expect("a listener");
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        Sender(stream)
    }

    /// Sends a message in its frame.
    fn send(&mut self, message: &[u8]) {
        self.0.write_all(&[b"\x0b", message, b"\x1c\r"].concat()).unwrap();
    }

    /// The next answer; `None` where the connection was closed instead.
    fn answer(&mut self) -> Option<String> {
        let mut bytes = Vec::new();
        let mut byte = [0];
        while !bytes.ends_with(b"\x1c\r") {
            match self.0.read(&mut byte) {
                Ok(1) => bytes.push(byte[0]),
                Ok(_) => return None,
                Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => return None,
                Err(error) => panic!("no answer: {error}"),
            }
        }
        let text = String::from_utf8(bytes).unwrap();
        Some(text.trim_matches(['\x0b', '\x1c', '\r']).to_owned())
    }

    /// The code of the answer to a message, `AA` mostly.
    fn tell(&mut self, message: &str) -> String {
        self.send(message.as_bytes());
        code(&self.answer().expect("an answer"))
    }
}

fn code(answer: &str) -> String {
    let line = answer.split('\r').find(|line| line.starts_with("MSA|"));
    line.unwrap()[4..6].to_owned()
}

/// A service with the studies of `site` that listens for HL7.
fn serving() -> (Env, Process, u16) {
    let env = site();
    let port = free_port();
    service::save(&env, |configuration| {
        set(configuration, "listen", &format!("127.0.0.1:{}", free_port()));
        set(configuration, "hl7.listen", &format!("127.0.0.1:{port}"));
    });
    let process = service::start(&env);
    (env, process, port)
}

/// `hl7 listen` on this port.
fn listen(env: &Env, port: u16) -> Process {
    let mut process = env.start(&["hl7", "listen", "--listen", &format!("127.0.0.1:{port}")]);
    process.wait_until("a listener", || super::support::process::listens(port));
    process
}

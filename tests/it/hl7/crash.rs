//! A service killed again and again under a stream of messages: what was acknowledged is there, and done once.

use std::collections::BTreeMap;
use std::sync::mpsc;

use rustix::process::Signal;

use super::super::support::process::free_port;
use super::super::support::service::{self, set, wait_for};
use super::*;

/// How often it is killed.
const KILLS: usize = 6;
/// After how many acknowledgements each time.
const EACH: usize = 7;

#[test]
fn what_was_acknowledged_survives_kills_and_is_done_once() {
    let env = site();
    let port = free_port();
    service::save(&env, |configuration| {
        set(configuration, "listen", &format!("127.0.0.1:{}", free_port()));
        set(configuration, "hl7.listen", &format!("127.0.0.1:{port}"));
    });
    let mut acknowledged = Vec::new();
    let mut next = 0;
    for _ in 0..KILLS {
        let mut process = service::start(&env);
        let (told, heard) = mpsc::channel();
        let sending = std::thread::spawn(move || send_until_killed(port, next, &told));
        for _ in 0..EACH {
            heard.recv_timeout(PATIENCE).expect("an acknowledgement");
        }
        process.signal(Signal::KILL);
        process.wait(PATIENCE);
        let (sent, taken) = sending.join().unwrap();
        next = sent;
        acknowledged.extend(taken);
    }
    assert!(acknowledged.len() >= KILLS * EACH);
    let _process = service::start(&env);
    wait_for("the rest", || listed(&env, "waiting").is_empty());
    let done = listed(&env, "done");
    let by_id: BTreeMap<&str, &Value> = done
        .iter()
        .map(|message| (message["control_id"].as_str().unwrap(), message))
        .collect();
    assert_eq!(by_id.len(), done.len(), "each message once");
    for number in &acknowledged {
        let message = by_id[number.to_string().as_str()];
        assert!(message["did"][0]["update"].is_string(), "{message}");
    }
    let audit = env.impaxlink(&["audit", "list", "--limit", "0", "--json"]).json();
    let records: Vec<&str> = audit["items"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|record| record["kind"] == "update")
        .map(|record| record["reason"].as_str().unwrap())
        .collect();
    // One record for each message: each changes one study.
    for message in &done {
        let reason = format!("HL7 message {}", message["number"]);
        assert_eq!(
            records.iter().filter(|found| **found == reason).count(),
            1,
            "{reason}"
        );
    }
    assert_eq!(records.len(), done.len());
    let newest = acknowledged.iter().max().unwrap();
    let name = value(&env, 3, "patient_name");
    let shown: usize = name
        .as_str()
        .unwrap()
        .trim_start_matches("NAME^")
        .parse()
        .unwrap();
    assert!(shown >= *newest, "{name}");
    env.impaxlink(&["audit", "verify"]).success();
}

/// Sends numbered messages from `first` until the connection breaks; the one without an answer, which is to be sent again,
/// and those acknowledged.
fn send_until_killed(port: u16, first: usize, told: &mpsc::Sender<()>) -> (usize, Vec<usize>) {
    let mut sender = Sender::connect(port);
    let mut taken = Vec::new();
    for number in first.. {
        let name = format!("PID|||88^^^NORTH||NAME^{number}");
        let message = message("ADT^A08", &number.to_string(), "", &[&name]);
        let frame = [b"\x0b", message.as_bytes(), b"\x1c\r"].concat();
        if sender.0.write_all(&frame).is_err() {
            return (number, taken);
        }
        match sender.answer() {
            Some(answer) => {
                assert_eq!(code(&answer), "AA");
                taken.push(number);
                let _ = told.send(());
            }
            None => return (number, taken),
        }
    }
    unreachable!("numbers don't end")
}

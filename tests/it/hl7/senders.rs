//! Senders over MLLP: what they are answered, and what they can't do to us.

use std::time::{Duration, Instant};

use super::super::support::clusters::Cluster;
use super::super::support::process::{free_port, listens};
use super::super::support::service::{self, wait_for};
use super::*;

#[test]
fn each_message_is_answered_and_done() {
    let (env, mut process, port) = serving();
    let mut sender = Sender::connect(port);
    assert_eq!(sender.tell(&report("1", 1, "P")), "AA");
    assert_eq!(sender.tell(&order("2", "4711", "A2", "F")), "AA");
    let change = message("ADT^A08", "3", "", &["PID|||88^^^NORTH||ROE^RICHARD"]);
    assert_eq!(sender.tell(&change), "AA");
    let merge = message("ADT^A40", "4", "", &[&pid("4711"), "MRG|88^^^NORTH"]);
    assert_eq!(sender.tell(&merge), "AA");
    assert_eq!(sender.tell(&report("1", 1, "P")), "AA");
    wait_for("four messages", || listed(&env, "done").len() == 4);
    assert_eq!(status(&env, 1), "TRANSCRIBED");
    assert_eq!(status(&env, 2), "APPROVED");
    assert_eq!(value(&env, 3, "patient_name"), "ROE^RICHARD");
    assert!(
        env.impaxlink(&["patient", "list", "--json"])
            .stdout
            .contains("4711")
    );
    assert_eq!(
        env.impaxlink(&["study", "review", "--json"]).json()["items"][0]["study_instance_uid"],
        study(3)
    );
    sender.send(&message("ADT^A18", "5", "", &[&pid("4711")]).into_bytes());
    let refused = sender.answer().unwrap();
    assert_eq!(code(&refused), "AR");
    assert!(
        refused.contains("MSA|AR|5|message type ADT\\S\\A18 is not taken here"),
        "{refused}"
    );
    assert_eq!(sender.tell("no message at all"), "AE");
    assert_eq!(listed(&env, "failed").len(), 2);
    process.signal(rustix::process::Signal::TERM);
    assert!(process.wait(PATIENCE).success());
}

#[test]
fn a_command_listens_without_the_service() {
    let env = site();
    let port = free_port();
    let mut process = listen(&env, port);
    let senders: Vec<_> = (0..2)
        .map(|of| {
            std::thread::spawn(move || {
                let mut sender = Sender::connect(port);
                for number in 0..10 {
                    let id = format!("{of}-{number}");
                    let name = format!("PID|||88^^^NORTH||NAME^{of}^{number}");
                    assert_eq!(sender.tell(&message("ADT^A08", &id, "", &[&name])), "AA");
                }
            })
        })
        .collect();
    senders.into_iter().for_each(|sender| sender.join().unwrap());
    wait_for("all messages", || listed(&env, "done").len() == 20);
    // What was done last is what came last.
    let last = &listed(&env, "done")[0];
    let shown = env
        .impaxlink(&["hl7", "show", &last["number"].to_string(), "--json"])
        .json();
    let text = shown["message"]["text"][1].as_str().unwrap();
    let name = value(&env, 3, "patient_name").as_str().unwrap().to_owned();
    assert!(text.ends_with(&name), "{text} {name}");
    process.signal(rustix::process::Signal::TERM);
    assert!(process.wait(PATIENCE).success());
    env.impaxlink(&["hl7", "listen"])
        .fails_with(2, "no address to listen on");
}

#[test]
fn slow_senders_are_cut_off_and_others_served() {
    let env = site();
    env.impaxlink(&["config", "set", "timeout.idle", "1s"]).success();
    let port = free_port();
    let _process = listen(&env, port);
    let mut slow = Sender::connect(port);
    slow.0.write_all(b"\x0bMSH|^~\\&|").unwrap();
    let mut silent = Sender::connect(port);
    let mut garbage = Sender::connect(port);
    let began = Instant::now();
    let mut quick = Sender::connect(port);
    assert_eq!(quick.tell(&report("1", 1, "F")), "AA");
    // Bytes that come one by one keep neither a message nor a connection alive.
    while began.elapsed() < Duration::from_secs(3) {
        let ended = slow.0.write_all(b"x").is_err() | garbage.0.write_all(b"x").is_err();
        if ended && began.elapsed() > Duration::from_secs(2) {
            break;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    for sender in [&mut slow, &mut silent, &mut garbage] {
        assert_eq!(sender.answer(), None);
    }
    assert!(listed(&env, "failed").is_empty());
}

/// Case: a message that is too long
#[test]
fn a_message_that_is_too_long_is_answered_and_the_connection_goes_on() {
    let (env, _process, port) = serving();
    let mut sender = Sender::connect(port);
    let long = format!("OBX|1|TX|||{}||||||F", "x".repeat(10 << 20));
    let zds = format!("ZDS|{}", study(1));
    let long = message("ORU^R01", "1", "", &[&pid("4711"), &obr("", "F"), &zds, &long]);
    sender.send(long.as_bytes());
    let refused = sender.answer().expect("an answer");
    assert!(
        refused.contains("MSA|AE|1|a message is longer than 4194304 bytes"),
        "{refused}"
    );
    assert_eq!(sender.tell(&report("2", 2, "F")), "AA");
    wait_for("the other report", || status(&env, 2) == "APPROVED");
    let kept = &listed(&env, "failed")[0];
    assert_eq!(
        (&kept["type"], &kept["answer"]),
        (&Value::from("ORU^R01"), &Value::from("AE"))
    );
    // Nothing is ever done with a part of it.
    env.impaxlink(&["hl7", "retry", "1"]).exits(1);
    assert_eq!(status(&env, 1), Value::Null);
}

/// Case: a message that is too long
#[test]
fn a_message_without_end_is_refused() {
    let env = site();
    let port = free_port();
    let _process = listen(&env, port);
    let mut sender = Sender::connect(port);
    sender.0.write_all(b"\x0b").unwrap();
    let chunk = vec![b'x'; 1 << 20];
    // 64 MiB are passed over, no more.
    for _ in 0..65 {
        if sender.0.write_all(&chunk).is_err() {
            break;
        }
    }
    assert_eq!(code(&sender.answer().expect("an answer")), "AE");
    assert_eq!(sender.answer(), None);
    assert_eq!(Sender::connect(port).tell(&report("1", 1, "F")), "AA");
}

#[test]
fn a_reload_takes_up_where_to_listen_and_to_whom() {
    let (env, _process, port) = serving();
    let mut sender = Sender::connect(port);
    assert_eq!(sender.tell(&report("1", 1, "P")), "AA");
    env.impaxlink(&["config", "set", "hl7.from", "127.0.0.9"])
        .success();
    // Also over a connection that was taken before.
    sender.send(report("2", 1, "F").as_bytes());
    assert_eq!(sender.answer(), None);
    let other = free_port();
    env.impaxlink(&["config", "set", "hl7.listen", &format!("127.0.0.1:{other}")])
        .success();
    env.impaxlink(&["config", "unset", "hl7.from"]).success();
    assert_eq!(Sender::connect(other).tell(&report("3", 1, "F")), "AA");
    wait_for("the old listener's end", || !listens(port));
    env.impaxlink(&["config", "unset", "hl7.listen"]).success();
    wait_for("the listener's end", || !listens(other));
    wait_for("the report", || status(&env, 1) == "APPROVED");
    assert_eq!(listed(&env, "done").len(), 2);
}

#[test]
fn a_message_that_has_begun_is_finished_at_the_end() {
    let (env, mut process, port) = serving();
    let mut sender = Sender::connect(port);
    assert_eq!(sender.tell(&report("1", 1, "P")), "AA");
    let framed = [b"\x0b", report("2", 2, "F").as_bytes(), b"\x1c\r"].concat();
    let (begun, rest) = framed.split_at(50);
    // The service has read it when it has answered what came in one piece with it.
    let before = [b"\x0b", report("3", 3, "F").as_bytes(), b"\x1c\r", begun].concat();
    sender.0.write_all(&before).unwrap();
    assert_eq!(code(&sender.answer().expect("an answer")), "AA");
    process.signal(rustix::process::Signal::TERM);
    wait_for("the end of listening", || !listens(port));
    sender.0.write_all(rest).unwrap();
    assert_eq!(code(&sender.answer().expect("an answer")), "AA");
    assert!(process.wait(PATIENCE).success());
    let kept = listed(&env, "done").len() + listed(&env, "waiting").len();
    assert_eq!(kept, 3);
    // What was left is done by the next to look.
    env.impaxlink_with_stdin(&["hl7", "import", "-"], &report("2", 2, "F"))
        .success();
    assert_eq!(status(&env, 2), "APPROVED");
}

#[test]
fn what_a_message_says_goes_to_linked_clusters() {
    let (env, _process, port) = serving();
    let b = Cluster::start("SITEB");
    let here = service::station("IMPAXLINK", env_port(&env));
    b.knows(vec![impaxlink::model::Station {
        links: impaxlink::model::LinkFlags {
            cluster_linking: true,
            cluster_updates: true,
            ..here.links
        },
        issuers: vec!["NORTH".parse().unwrap()],
        ..here
    }]);
    service::save(&env, |configuration| {
        configuration.stations.push(b.door("SITEB", &["NORTH"]));
    });
    env.impaxlink(&["reload"]).success();
    let mut sender = Sender::connect(port);
    let merge = message("ADT^A40", "2", "", &[&pid("4711"), "MRG|88^^^NORTH"]);
    assert_eq!(sender.tell(&report("1", 1, "F")), "AA");
    assert_eq!(sender.tell(&merge), "AA");
    let there = &b.service.env;
    wait_for("the report there", || status(there, 1) == "APPROVED");
    let reviews = || there.impaxlink(&["study", "review", "--json"]).json()["items"].clone();
    wait_for("the notice there", || {
        reviews()[0]["study_instance_uid"] == study(3)
    });
    // A merge is never relayed itself.
    assert!(
        there.impaxlink(&["patient", "list", "--json"]).json()["items"]
            .as_array()
            .unwrap()
            .is_empty()
    );
}

fn env_port(env: &Env) -> u16 {
    let listen = env.impaxlink(&["config", "get", "listen"]);
    let (_, port) = listen.success().trim().rsplit_once(':').unwrap();
    port.parse().unwrap()
}

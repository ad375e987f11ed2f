//! The store deleted, replaced or overwritten under the running service: nothing is acknowledged into the void.

use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use impaxlink::service::control;

use super::super::support::process::free_port;
use super::super::support::service::{self, set, wait_for};
use super::*;

/// The service with the studies of `site`, which listens for HL7; a copy of its store of before it started.
struct Site {
    env: Env,
    process: Process,
    port: u16,
    hl7_port: u16,
    copy: PathBuf,
}

impl Site {
    fn start() -> Self {
        let env = site();
        let (port, hl7_port) = (free_port(), free_port());
        service::save(&env, |configuration| {
            set(configuration, "listen", &format!("127.0.0.1:{port}"));
            set(configuration, "hl7.listen", &format!("127.0.0.1:{hl7_port}"));
        });
        let copy = env.path().join("copy.db");
        fs::copy(env.store(), &copy).unwrap();
        let process = service::start(&env);
        Site {
            env,
            process,
            port,
            hl7_port,
            copy,
        }
    }

    /// The code that the service answers a report with; `None` where it closes the connection instead.
    fn send(&self, control_id: &str) -> Option<String> {
        let mut sender = Sender::connect(self.hl7_port);
        sender.send(report(control_id, 1, "F").as_bytes());
        sender.answer().map(|answer| code(&answer))
    }

    /// Holds that neither HL7 nor DICOM is acknowledged, and that commands and the log say what happened.
    fn assert_lost(&self, how: &str) {
        assert_eq!(self.send("LOST"), None, "{how}");
        let deadline = Instant::now() + Duration::from_secs(5);
        while status_of(&self.env).is_none() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(10));
        }
        let lost = status_of(&self.env).expect("the service knows that it has lost its store");
        assert!(lost.contains(how), "{lost}");
        let shown = self.env.impaxlink(&["status"]);
        shown.exits(1);
        assert!(
            shown.stdout.contains(how) && shown.stdout.contains("impaxlink reload"),
            "{}",
            shown.stdout
        );
        self.env.impaxlink(&["hl7", "list"]).fails_with(5, how);
        self.env
            .impaxlink(&["config", "set", "issuer", "SOUTH"])
            .fails_with(5, how);
        assert!(self.process.output().contains(how), "{}", self.process.output());
        let object = self.env.path().join("1.dcm");
        let stored = Command::new("storescu")
            .args([
                "-v",
                "-aet",
                "ANYONE",
                "-aec",
                "IMPAXLINK",
                "127.0.0.1",
                &self.port.to_string(),
            ])
            .arg(object)
            .output()
            .expect("storescu runs (package dcmtk)");
        let log =
            String::from_utf8_lossy(&stored.stderr).into_owned() + &String::from_utf8_lossy(&stored.stdout);
        assert!(!log.contains("Received Store Response (Success)"), "{log}");
    }

    /// Reloads, and holds that messages are kept in the store that is there now.
    fn assert_taken_up(&self, how: &str) {
        let reload = self.env.impaxlink(&["reload"]);
        reload.success();
        assert!(reload.stdout.contains("another store was taken up") && reload.stdout.contains(how));
        assert_eq!(status_of(&self.env), None);
        assert_eq!(self.send("AFTER").as_deref(), Some("AA"));
        wait_for("the message in the store that was taken up", || {
            listed(&self.env, "done")
                .iter()
                .any(|message| message["control_id"] == "AFTER")
        });
        self.env.impaxlink(&["audit", "verify"]).success();
        self.env.impaxlink(&["status"]).success();
    }
}

/// What the service says of its store, where it has lost it.
fn status_of(env: &Env) -> Option<String> {
    control::status(&env.store(), PATIENCE).unwrap().store_lost
}

fn control_ids(env: &Env) -> Vec<String> {
    let messages = listed(env, "done");
    messages
        .iter()
        .map(|message| message["control_id"].as_str().unwrap().to_owned())
        .collect()
}

/// Case: the store is replaced under the running service
#[test]
fn a_store_that_was_replaced_is_taken_up_by_reload_alone() {
    let site = Site::start();
    assert_eq!(site.send("BEFORE").as_deref(), Some("AA"));
    fs::rename(&site.copy, site.env.store()).unwrap();
    site.assert_lost("was replaced by another file");
    site.assert_taken_up("was replaced by another file");
    assert_eq!(control_ids(&site.env), ["AFTER"]);
    // Once is once: the store that was taken up is like any other.
    let reload = site.env.impaxlink(&["reload"]);
    assert!(reload.success().contains("unchanged"), "{}", reload.stdout);
}

/// Case: the store is deleted under the running service
#[test]
fn a_deleted_store_is_not_made_anew_and_one_put_back_is_taken_up() {
    let site = Site::start();
    assert_eq!(site.send("BEFORE").as_deref(), Some("AA"));
    fs::remove_file(site.env.store()).unwrap();
    site.assert_lost("was deleted");
    site.env.impaxlink(&["reload"]).fails_with(1, "there is no store");
    assert!(!site.env.store().exists());
    fs::rename(&site.copy, site.env.store()).unwrap();
    site.assert_taken_up("was deleted");
}

/// Case: the store is copied over under the running service
#[test]
fn a_store_that_was_copied_over_is_noticed_though_it_is_the_same_file() {
    let site = Site::start();
    // More than the log holds before it is written back.
    let mut sender = Sender::connect(site.hl7_port);
    for number in 0..60 {
        assert_eq!(sender.tell(&report(&number.to_string(), 1, "F")), "AA");
    }
    wait_for("all messages", || listed(&site.env, "done").len() == 60);
    fs::copy(&site.copy, site.env.store()).unwrap();
    site.assert_lost("was overwritten");
    site.assert_taken_up("was overwritten");
    assert_eq!(control_ids(&site.env), ["AFTER"]);
}

/// Case: the log of the store is deleted under the running service
#[test]
fn a_log_that_was_deleted_costs_nothing_that_was_acknowledged() {
    let site = Site::start();
    assert_eq!(site.send("BEFORE").as_deref(), Some("AA"));
    wait_for("the message", || control_ids(&site.env) == ["BEFORE"]);
    let mut log = site.env.store().into_os_string();
    log.push("-wal");
    fs::remove_file(log).unwrap();
    site.assert_lost("lost its write-ahead log");
    site.assert_taken_up("lost its write-ahead log");
    assert_eq!(control_ids(&site.env), ["AFTER", "BEFORE"]);
}

/// Case: the store of another cluster is put in place
#[test]
fn a_store_of_another_cluster_is_not_taken_up() {
    let site = Site::start();
    let other = Env::new();
    other.impaxlink(&["config", "set", "issuer", "SOUTH"]).success();
    fs::copy(other.store(), &site.copy).unwrap();
    fs::rename(&site.copy, site.env.store()).unwrap();
    site.env
        .impaxlink(&["reload"])
        .fails_with(1, "is the store of another cluster");
    site.assert_lost("was replaced by another file");
}

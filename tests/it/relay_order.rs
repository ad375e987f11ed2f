//! In what order updates are taken, when they are tried again, and how long they are waited for.

use std::time::Duration;

use impaxlink::store::OutboxState;
use jiff::{SignedDuration, Timestamp};

use super::support::clusters::Cluster;
use super::support::service::wait_for;

const STUDY: &str = "1.2.840.1";
const OTHER: &str = "1.2.840.2";
const ISSUERS: &[&str] = &["NORTH"];

fn two() -> (Cluster, Cluster) {
    let (a, b) = (Cluster::start("SITEA"), Cluster::start("SITEB"));
    b.knows(vec![a.door("SITEA", ISSUERS)]);
    a.knows(vec![b.door("SITEB", ISSUERS)]);
    a.retry();
    (a, b)
}

/// Makes a cluster unable to keep updates of which this is true, until it is told otherwise.
fn busy(cluster: &Cluster, when: &str) -> rusqlite::Connection {
    let raw = rusqlite::Connection::open(cluster.service.env.store()).unwrap();
    raw.execute_batch(&format!(
        "CREATE TRIGGER busy BEFORE INSERT ON update_log WHEN {when} BEGIN SELECT RAISE(ABORT, 'busy'); END"
    ))
    .unwrap();
    raw
}

fn no_longer_busy(raw: rusqlite::Connection) {
    raw.execute_batch("DROP TRIGGER busy").unwrap();
}

#[test]
fn what_a_busy_cluster_could_not_keep_comes_again() {
    let (a, b) = two();
    let theirs = busy(&b, "1");
    a.says(STUDY, "NORTH", "later");
    wait_for("a refusal for now", || a.rows("SITEB")[0].attempts > 0);
    let row = &a.rows("SITEB")[0];
    assert_eq!(row.state, OutboxState::Queued);
    assert!(row.reason.as_deref().unwrap().contains("A700"), "{row:?}");
    no_longer_busy(theirs);
    b.wait_for_comments(STUDY, "later");
    assert_eq!(a.trouble("SITEB"), None, "the station itself was in order");
}

#[test]
fn the_updates_of_a_study_keep_their_order_when_one_of_them_must_wait() {
    let (mut a, b) = two();
    a.kill();
    let mut made = Vec::new();
    for number in 0..30 {
        made.push(a.says_silently(STUDY, "NORTH", &format!("number {number}")).id);
        a.says_silently(OTHER, "NORTH", &format!("number {number}"));
    }
    let theirs = busy(&b, &format!("NEW.id = '{}'", made[10]));
    a.restart();
    b.wait_for_comments(OTHER, "number 29");
    let logged = || -> Vec<_> {
        let logged = b.store().logged_updates(&STUDY.parse().unwrap()).unwrap();
        logged.into_iter().rev().map(|logged| logged.update.id).collect()
    };
    assert_eq!(logged(), made[..10], "none passes the one that waits");
    no_longer_busy(theirs);
    b.wait_for_comments(STUDY, "number 29");
    assert_eq!(logged(), made);
}

#[test]
fn what_is_not_done_in_time_is_said_by_the_exit_status() {
    let (a, b) = two();
    let theirs = busy(&b, "1");
    let update = |comments: &str, timeout: &str| {
        let options = [
            "--patient-id",
            "4711^^^NORTH",
            "--comments",
            comments,
            "--wait",
            "--timeout",
            timeout,
        ];
        let command = ["study", "update", STUDY];
        a.service.env.impaxlink(&[&command[..], &options].concat())
    };
    update("one", "1s").exits(5);
    let send = |timeout: &str| {
        a.service
            .env
            .impaxlink(&["updates", "send", "--timeout", timeout])
    };
    send("1s").exits(5);
    no_longer_busy(theirs);
    send("30s").success();
    update("two", "30s").success();
    assert_eq!(b.comments(STUDY).as_deref(), Some("two"));
}

#[test]
fn sending_waits_for_the_current_state_too() {
    let (a, b) = two();
    a.says(STUDY, "NORTH", "seen");
    b.wait_for_comments(STUDY, "seen");
    // As if it had been restored from a backup.
    let theirs = rusqlite::Connection::open(b.service.env.store()).unwrap();
    theirs
        .execute_batch("DELETE FROM update_log; DELETE FROM stated_value; DELETE FROM study_state")
        .unwrap();
    assert_eq!(b.comments(STUDY), None);
    a.service.env.impaxlink(&["updates", "resync", "SITEB"]).success();
    a.service.env.impaxlink(&["updates", "send", "SITEB"]).success();
    assert_eq!(b.comments(STUDY).as_deref(), Some("seen"));
}

#[test]
fn an_update_of_a_clock_far_ahead_is_shown_and_wins_over_nothing_until_its_time() {
    let (a, b) = two();
    // A follows its own clock that far, and B does not.
    a.change(|configuration| {
        super::support::service::set(configuration, "updates.max_clock_ahead", "3h");
    });
    let ahead = Timestamp::now() + SignedDuration::from_hours(2);
    let raw = rusqlite::Connection::open(a.service.env.store()).unwrap();
    raw.execute(
        "INSERT OR REPLACE INTO update_clock (id, last) VALUES (1, ?1)",
        [format!("{:016x}.00000000", ahead.as_millisecond())],
    )
    .unwrap();
    let early = a.says(STUDY, "NORTH", "from the future");
    wait_for("an answer", || a.rows("SITEB")[0].state == OutboxState::Delivered);
    let list = || b.service.env.impaxlink(&["updates", "list", "--json"]).json();
    let parked = &list()["parked_here"][0];
    assert_eq!(parked["update"], early.id.as_str(), "{parked:#}");
    let table = b.service.env.impaxlink(&["updates", "list"]);
    assert!(table.success().contains("its clock is ahead"), "{table:#?}");
    assert_eq!(b.comments(STUDY), None);
    let now = b.says(STUDY, "NORTH", "from now");
    assert!(now.revision < early.revision, "the clock is not dragged along");
    let retry = b.service.env.impaxlink(&["updates", "retry", early.id.as_str()]);
    retry.success();
    assert!(retry.stderr.contains("stays parked"), "{retry:#?}");
    assert_eq!(b.comments(STUDY).as_deref(), Some("from now"));
    b.change(|configuration| {
        super::support::service::set(configuration, "updates.max_clock_ahead", "3h");
    });
    // The service applies it by itself, now that it may.
    let began = std::time::Instant::now();
    b.wait_for_comments(STUDY, "from the future");
    assert!(began.elapsed() < Duration::from_secs(20));
    assert!(list()["parked_here"].as_array().unwrap().is_empty());
    a.wait_for_comments(STUDY, "from the future");
    b.service.env.impaxlink(&["audit", "verify"]).success();
}

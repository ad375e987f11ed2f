//! The machine's clock jumped: changes keep their order, and linked clusters don't park what is made after it is right
//! again.

use impaxlink::model::{StateField, Update};
use impaxlink::store::{Applied, Store};
use jiff::Timestamp;

use super::study_state::{draft, make, receive, three_clusters};
use super::support::env::Env;
use super::support::store::jdoe;

const DAY_MS: i64 = 86_400_000;

/// A store in which a change was made; what SQL does to its row of the clock is as if the machine's clock had jumped.
fn changed_once() -> (super::support::store::StoreFolder, Store, Update) {
    let (folder, store) = three_clusters();
    let first = make(&store, &draft(StateField::StudyComments, "first"))
        .update
        .unwrap();
    (folder, store, first)
}

fn ahead_ms(update: &Update) -> i64 {
    update.revision.at().unwrap().as_millisecond() - Timestamp::now().as_millisecond()
}

fn of_other_study(text: &str) -> impaxlink::store::Draft {
    impaxlink::store::Draft {
        study: "1.2.77".parse().unwrap(),
        ..draft(StateField::StudyComments, text)
    }
}

/// Case: the clock jumped ahead and back
#[test]
fn a_jump_ahead_is_not_followed_while_the_machine_runs() {
    let (folder, store, first) = changed_once();
    // A day less than it was when the last change was made: the clock of now has jumped a day ahead of it.
    folder
        .raw()
        .execute_batch(
            "UPDATE update_clock SET wall = wall - 86400000000, last = '0000000000000001.00000000'",
        )
        .unwrap();
    let ahead = make(&store, &of_other_study("ahead")).update.unwrap();
    assert!(
        (-DAY_MS - 60_000..-DAY_MS + 60_000).contains(&ahead_ms(&ahead)),
        "{}",
        ahead_ms(&ahead)
    );
    // Of a study that knows of a later one it is later all the same.
    let second = make(&store, &draft(StateField::StudyComments, "second"))
        .update
        .unwrap();
    assert!(second.revision > first.revision);
    let trouble = store.clock_trouble().unwrap();
    let jumped = trouble.jumped_ahead.unwrap().as_secs();
    assert!((86_300..86_500).contains(&jumped), "{jumped}");
    store.rebase_clock(&jdoe()).unwrap();
    assert_eq!(store.clock_trouble().unwrap().jumped_ahead, None);
    let after = make(&store, &of_other_study("after")).update.unwrap();
    assert!(ahead_ms(&after).abs() < 60_000 && after.revision > second.revision);
    store.verify_audit(None).unwrap();
}

/// Case: the clock jumped ahead and back
#[test]
fn after_a_clock_that_was_ahead_is_set_back_peers_park_nothing_of_other_studies() {
    let (folder, store, first) = changed_once();
    let ahead = Timestamp::now().as_millisecond() + DAY_MS;
    // As if the first change had been made while the clock was a day ahead.
    let row = format!("'{ahead:016x}.00000000'");
    let old = first.revision.to_string();
    folder
        .raw()
        .execute_batch(&format!(
            "UPDATE update_clock SET last = {row}, furthest = {row}, wall = wall + 86400000000; \
             UPDATE study_state SET state = replace(state, '{old}', {row})"
        ))
        .unwrap();
    let trouble = store.clock_trouble().unwrap();
    assert_eq!(trouble.jumped_ahead, None);
    assert!(trouble.newest_ahead.unwrap().as_secs() > 86_000);
    let other = make(&store, &of_other_study("now")).update.unwrap();
    assert!(ahead_ms(&other).abs() < 60_000, "{}", ahead_ms(&other));
    // Where the later write is known, the next must sort after it: it wins everywhere, once its time has come.
    let same = make(&store, &draft(StateField::StudyComments, "second"))
        .update
        .unwrap();
    assert!(same.revision.at().unwrap().as_millisecond() >= ahead);
    let again = make(&store, &of_other_study("again")).update.unwrap();
    assert!(again.revision > other.revision && ahead_ms(&again).abs() < 60_000);
    let (_peer_folder, peer) = three_clusters();
    for (update, is_parked) in [(&other, false), (&same, true), (&again, false)] {
        let applied = receive(&peer, update, "B");
        assert_eq!(matches!(applied, Applied::Parked(_)), is_parked, "{applied:?}");
    }
}

/// Case: the clock jumped ahead and back
#[test]
fn status_and_check_show_it_and_a_command_takes_the_clock_for_right() {
    let env = Env::new();
    env.impaxlink(&["station", "add", "OWN", "--kind", "archive", "--embedded"])
        .success();
    env.impaxlink(&["config", "set", "issuer", "NORTH"]).success();
    env.impaxlink(&[
        "study",
        "update",
        "1.2.3",
        "--patient-id",
        "4711^^^NORTH",
        "--comments",
        "first",
    ])
    .success();
    let ahead = Timestamp::now().as_millisecond() + 23 * 3_600_000 + 60_000;
    let connection = rusqlite::Connection::open(env.store()).unwrap();
    connection
        .execute_batch(&format!(
            "UPDATE update_clock SET furthest = '{ahead:016x}.00000000', wall = wall - 7230000000"
        ))
        .unwrap();
    let shown = env.impaxlink(&["status"]);
    shown.exits(7);
    assert!(
        shown
            .stdout
            .contains("the newest revision is 25 h ahead of the clock"),
        "{}",
        shown.stdout
    );
    assert!(shown.stdout.contains("the clock has jumped 2 h ahead"));
    let check = env.impaxlink(&["check"]);
    assert!(
        check.stdout.contains("the newest revision is") && check.stdout.contains("jumped"),
        "{}",
        check.stdout
    );
    env.impaxlink(&["updates", "rebase-clock"]).exits(2);
    env.impaxlink(&["updates", "rebase-clock", "--reason", "CHG1250"])
        .success();
    let shown = env.impaxlink(&["status"]);
    assert!(!shown.stdout.contains("jumped"), "{}", shown.stdout);
    assert!(
        shown.stdout.contains("23 h ahead of the clock"),
        "{}",
        shown.stdout
    );
    assert!(env.impaxlink(&["audit", "list"]).stdout.contains("CHG1250"));
    env.impaxlink(&["audit", "verify"]).success();
}

//! Updates between real services: what is said at one is known at the others, once, whatever fails between them.

use std::collections::BTreeMap;

use impaxlink::model::UpdatesDirection;
use impaxlink::store::OutboxState;

use super::support::clusters::Cluster;
use super::support::dcmqrscp::Dcmqrscp;
use super::support::service::{PATIENCE, wait_for};
use super::support::sites::linked;

const STUDY: &str = "1.2.840.1";
const OTHER: &str = "1.2.840.2";
const ISSUERS: &[&str] = &["NORTH", "HARBOUR"];

/// Two clusters, linked for updates both ways.
fn two() -> (Cluster, Cluster) {
    let (a, b) = (Cluster::start("SITEA"), Cluster::start("SITEB"));
    link(&a, "SITEA", &b, "SITEB");
    (a, b)
}

fn link(one: &Cluster, one_name: &str, other: &Cluster, other_name: &str) {
    one.knows(vec![other.door(other_name, ISSUERS)]);
    other.knows(vec![one.door(one_name, ISSUERS)]);
    // Whichever was known first may have found the other not knowing it.
    one.retry();
    other.retry();
}

fn delivered(cluster: &Cluster, station: &str) -> usize {
    let rows = cluster.rows(station).into_iter();
    rows.filter(|row| row.state == OutboxState::Delivered).count()
}

#[test]
fn a_change_goes_onward_and_never_back() {
    let (a, b) = two();
    let c = Cluster::start("SITEC");
    link(&b, "SITEB", &c, "SITEC");
    let update = a.says(STUDY, "NORTH", "seen at A");
    b.wait_for_comments(STUDY, "seen at A");
    c.wait_for_comments(STUDY, "seen at A");
    let at_c = c
        .store()
        .logged_update(&update.id)
        .unwrap()
        .expect("the same update");
    assert_eq!(at_c.update, update);
    assert_eq!(at_c.from.unwrap().as_str(), "SITEB");
    assert!(b.rows("SITEA").is_empty() && c.rows("SITEB").is_empty());
    c.says(STUDY, "NORTH", "seen at C");
    a.wait_for_comments(STUDY, "seen at C");
    assert_eq!(
        a.store().logged_updates(&STUDY.parse().unwrap()).unwrap().len(),
        2
    );
}

#[test]
fn where_the_flag_is_off_updates_are_kept_until_it_is_on() {
    let (a, b) = two();
    b.change_station("SITEA", |station| {
        station.updates_direction = UpdatesDirection::Send
    });
    a.says(STUDY, "NORTH", "kept");
    wait_for("a reason", || a.trouble("SITEB").is_some());
    let why = a.trouble("SITEB").unwrap();
    assert!(why.contains("link cluster updates is off"), "{why}");
    assert_eq!(a.rows("SITEB")[0].state, OutboxState::Queued);
    let status = a.service.env.impaxlink(&["status", "--json"]).json();
    assert_eq!(status["links"][0]["queued"], 1);
    assert_eq!(status["links"][0]["updates_detail"], why);
    b.change_station("SITEA", |station| {
        station.updates_direction = UpdatesDirection::Both
    });
    a.service.env.impaxlink(&["updates", "send", "SITEB"]).success();
    assert_eq!(b.comments(STUDY).as_deref(), Some("kept"));
    assert_eq!(a.trouble("SITEB"), None);
}

#[test]
fn switching_on_and_resync_send_the_current_state() {
    let (a, b) = (Cluster::start("SITEA"), Cluster::start("SITEB"));
    b.knows(vec![a.door("SITEA", ISSUERS)]);
    let mut door = b.door("SITEB", ISSUERS);
    door.links.cluster_updates = false;
    a.knows(vec![door]);
    for comments in ["first", "second"] {
        a.says(STUDY, "NORTH", comments);
    }
    assert!(a.rows("SITEB").is_empty());
    a.change_station("SITEB", |station| station.links.cluster_updates = true);
    b.wait_for_comments(STUDY, "second");
    wait_for("the answer", || delivered(&a, "SITEB") == 1);
    a.service.env.impaxlink(&["updates", "resync", "SITEB"]).success();
    wait_for("the resynchronisation", || {
        let peers = a.store().relay_peers().unwrap();
        peers
            .values()
            .all(|peer| !peer.is_resync_due && peer.cluster_uid.is_some())
            && delivered(&a, "SITEB") == 1
    });
    assert_eq!(
        b.store().logged_updates(&STUDY.parse().unwrap()).unwrap().len(),
        1
    );
}

#[test]
fn a_cluster_that_was_down_or_killed_gets_all_in_order_and_once() {
    let (a, mut b) = two();
    let mut expected: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for number in 0..60 {
        let study = if number % 3 == 0 { OTHER } else { STUDY };
        match number {
            10 | 40 => b.kill(),
            20 | 50 => b.restart(),
            _ => {}
        }
        let update = a.says(study, "NORTH", &format!("number {number}"));
        expected.entry(study).or_default().push(update.id.to_string());
    }
    a.retry();
    wait_for("all", || delivered(&a, "SITEB") == 60);
    for (study, expected) in expected {
        let mut logged = b.store().logged_updates(&study.parse().unwrap()).unwrap();
        logged.reverse();
        let ids: Vec<String> = logged.iter().map(|logged| logged.update.id.to_string()).collect();
        assert_eq!(ids, expected, "{study}");
    }
    b.service.env.impaxlink(&["audit", "verify"]).success();
}

#[test]
fn a_refusal_is_parked_and_the_queue_goes_on() {
    let (a, b) = two();
    b.change_station("SITEA", |station| {
        station.issuers = vec!["NORTH".parse().unwrap()]
    });
    a.says(STUDY, "HARBOUR", "not A's patient");
    a.says(OTHER, "NORTH", "A's patient");
    b.wait_for_comments(OTHER, "A's patient");
    wait_for("both answers", || {
        a.rows("SITEB").iter().all(|row| row.state != OutboxState::Queued)
    });
    let rows = a.rows("SITEB");
    let parked = rows
        .iter()
        .find(|row| row.state == OutboxState::Parked)
        .expect("a parked one");
    let why = parked.reason.as_deref().unwrap();
    assert!(
        why.contains("A900") && why.contains("does not speak for patients of HARBOUR"),
        "{why}"
    );
    assert_eq!(b.comments(STUDY), None);
    let removed = a.service.env.impaxlink(&["station", "remove", "SITEB"]);
    let why = "updates for SITEB are not delivered: 0 queued, 1 parked";
    assert!(
        removed.status == Some(1) && removed.stderr.contains(why),
        "{removed:#?}"
    );
    let removed = a.service.env.impaxlink(&["station", "remove", "SITEB", "--yes"]);
    removed.success();
}

#[test]
fn who_is_known_by_title_alone_is_refused() {
    let (a, b) = two();
    b.change_station("SITEA", |station| {
        let endpoint = station.endpoint.as_mut().unwrap();
        endpoint.host = "127.0.0.2".parse().unwrap();
    });
    a.says(STUDY, "NORTH", "from anyone");
    wait_for("a reason", || a.trouble("SITEB").is_some());
    let why = a.trouble("SITEB").unwrap();
    assert!(why.contains("0124") && why.contains("not proven"), "{why}");
    assert_eq!(b.comments(STUDY), None);
    assert_eq!(a.rows("SITEB")[0].state, OutboxState::Queued);
}

#[test]
fn an_archive_that_stores_anything_is_sent_nothing() {
    let archive = Dcmqrscp::start("SITEB", []);
    let a = Cluster::start("SITEA");
    let mut door = linked("SITEB", "SITEB", archive.port);
    door.links.cluster_updates = true;
    a.knows(vec![door]);
    a.says(STUDY, "NORTH", "not for an archive");
    wait_for("a reason", || a.trouble("SITEB").is_some());
    let why = a.trouble("SITEB").unwrap();
    assert!(why.contains("no linked syntax"), "{why}");
    assert!(a.rows("SITEB").is_empty());
    a.says(OTHER, "NORTH", "nor this");
    assert!(a.rows("SITEB").is_empty(), "nothing piles up");
}

#[test]
fn another_cluster_behind_a_door_is_told_nothing_until_a_person_says_so() {
    let (a, b) = two();
    a.says(STUDY, "NORTH", "for B");
    b.wait_for_comments(STUDY, "for B");
    wait_for("the answer", || delivered(&a, "SITEB") == 1);
    let other = Cluster::start("SITEB");
    other.knows(vec![a.door("SITEA", ISSUERS)]);
    let port = other.service.port.try_into().unwrap();
    a.change_station("SITEB", |station| station.endpoint.as_mut().unwrap().port = port);
    a.says(OTHER, "NORTH", "for whom?");
    wait_for("a reason", || a.trouble("SITEB").is_some());
    let why = a.trouble("SITEB").unwrap();
    assert!(why.contains("another cluster"), "{why}");
    assert_eq!(other.comments(OTHER), None);
    a.service.env.impaxlink(&["updates", "resync", "SITEB"]).success();
    other.wait_for_comments(OTHER, "for whom?");
    other.wait_for_comments(STUDY, "for B");
}

#[test]
fn without_a_service_a_command_sends_itself() {
    let (mut a, mut b) = two();
    a.kill();
    let update = |comments: &str| {
        let options = [
            "--patient-id",
            "4711^^^NORTH",
            "--comments",
            comments,
            "--wait",
            "--timeout",
            "20s",
        ];
        a.service
            .env
            .impaxlink(&[&["study", "update", STUDY], &options[..]].concat())
    };
    update("by hand").success();
    assert_eq!(b.comments(STUDY).as_deref(), Some("by hand"));
    b.kill();
    assert_eq!(update("nobody there").status, Some(3));
    let again = update("nobody there");
    assert_eq!(again.status, Some(3), "unchanged, and still not there");
    let told = ["unchanged", "SITEB: 1 queued, 0 refused: "];
    assert!(
        told.iter().all(|told| again.stderr.contains(told)),
        "{}",
        again.stderr
    );
    let remove = a.service.env.impaxlink(&["station", "remove", "SITEB"]);
    assert_eq!(remove.status, Some(1), "{}", remove.stderr);
    let dry_run = ["station", "remove", "SITEB", "--dry-run"];
    let dry_run = a.service.env.impaxlink(&dry_run);
    assert_eq!(
        (dry_run.status, dry_run.stderr),
        (Some(1), remove.stderr),
        "a dry run promises nothing that the real one refuses"
    );
    b.restart();
    a.service.env.impaxlink(&["updates", "send"]).success();
    assert_eq!(b.comments(STUDY).as_deref(), Some("nobody there"));
    a.service.env.impaxlink(&["station", "remove", "SITEB"]).success();
}

#[test]
fn a_suspended_station_is_sent_nothing_until_it_is_resumed() {
    let (a, b) = two();
    let impaxlink = |arguments: &[&str]| a.service.env.impaxlink(arguments);
    impaxlink(&["station", "suspend", "SITEB"]).success();
    a.says(STUDY, "NORTH", "after the maintenance");
    let sent = impaxlink(&["updates", "send"]);
    assert_eq!(sent.status, Some(3), "{sent:#?}");
    assert!(
        sent.stderr.contains("SITEB: 1 queued, 0 refused: suspended"),
        "{sent:#?}"
    );
    let status = impaxlink(&["status"]);
    assert!(status.stdout.contains("the station is suspended"), "{status:#?}");
    assert_eq!((b.comments(STUDY), a.rows("SITEB")[0].attempts), (None, 0));
    impaxlink(&["station", "resume", "SITEB"]).success();
    b.wait_for_comments(STUDY, "after the maintenance");
}

#[test]
fn a_command_sends_again_to_a_station_that_was_busy() {
    let (mut a, b) = two();
    a.kill();
    let theirs = rusqlite::Connection::open(b.service.env.store()).unwrap();
    theirs
        .execute_batch(
            "CREATE TRIGGER busy BEFORE INSERT ON update_log BEGIN SELECT RAISE(ABORT, 'busy'); END",
        )
        .unwrap();
    a.says_silently(STUDY, "NORTH", "later");
    let mut sending = a.service.env.start(&["updates", "send", "--timeout", "20s"]);
    wait_for("a refusal for now", || a.rows("SITEB")[0].attempts > 0);
    theirs.execute_batch("DROP TRIGGER busy").unwrap();
    let status = sending.wait(PATIENCE);
    assert_eq!(status.code(), Some(0), "{}", sending.output());
    assert_eq!(b.comments(STUDY).as_deref(), Some("later"));
}

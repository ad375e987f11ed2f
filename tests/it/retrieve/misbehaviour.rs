//! Sources that do what real ones rarely show: each keeps what came, says what was wrong, and the next one is asked.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::env::{Env, Run};
use crate::support::fake_peer::FakePeer;
use crate::support::fake_peer::script::{Acceptance, Identifier, Step, elements};
use crate::support::links::add_linked;
use crate::support::orthanc::Orthanc;
use crate::support::retrieve::{data_sets, embedded, listing, one_series, retrieve, there};
use crate::support::studies::Study;

/// What a retrieve from this source brought, and the cluster.
struct Brought {
    env: Env,
    run: Run,
    item: Value,
    peer: FakePeer,
    took: Duration,
}

/// Retrieves from a fake SITEA, which lists the study and then plays `steps` after it has accepted the association.
fn from(study: &Study, steps: Vec<Step>, further: &[&str], next: Option<u16>) -> Brought {
    let mut script = vec![Step::Accept(Acceptance::default()), Step::AwaitRequest];
    script.extend(steps);
    let peer = FakePeer::in_turn(vec![listing(study, 3, ""), script]);
    let env = embedded();
    let options = ["--syntax", "dicom", "--timeout", "3s", "--priority", "5"];
    add_linked(&env, "SITEA", "SITEA", peer.port, &options);
    if let Some(port) = next {
        add_linked(&env, "SITEB", "SITEB", port, &[]);
    }
    let begun = Instant::now();
    let (run, item) = retrieve(&env, &[&[study.uid.as_str()], further].concat());
    Brought {
        env,
        run,
        item,
        peer,
        took: begun.elapsed(),
    }
}

impl Brought {
    #[track_caller]
    fn is(&self, status: i32, came: usize, dicom_status: Option<&str>, detail: &str) {
        self.run.exits(status);
        let source = &self.item["sources"][0];
        assert_eq!(source["instances"], json!(came), "{:#}", self.item);
        assert_eq!(source["dicom_status"], json!(dicom_status), "{source:#}");
        let told = source["detail"].as_str().unwrap_or_default();
        assert!(told.contains(detail), "no {detail:?} in {told:?}");
    }
}

fn objects(study: &Study, count: usize) -> Vec<Step> {
    let objects = data_sets(study).into_iter().take(count);
    objects
        .map(|(uid, data_set)| Step::Object(uid, data_set))
        .collect()
}

fn then(mut steps: Vec<Step>, last: Step) -> Vec<Step> {
    steps.push(last);
    steps
}

/// Case: some sub-operations fail
#[test]
fn what_failed_at_one_source_comes_from_the_next() {
    let study = one_series();
    let next = Orthanc::start("SITEB", [&study]);
    let steps = then(objects(&study, 1), Step::End(0xB000, "two failed\x1b[31m"));
    let brought = from(&study, steps, &["--method", "get"], Some(next.port));
    brought.is(0, 1, Some("B000"), "two failed[31m");
    assert_eq!(brought.item["complete"], json!(true), "{:#}", brought.item);
    assert_eq!(brought.item["sources"][0]["failed"], json!(2));
    assert_eq!(brought.item["sources"][1]["instances"], json!(2));
    assert_eq!(there(&brought.env, &study), 3);
}

#[test]
fn a_source_that_hangs_up_within_an_object_leaves_nothing_of_it() {
    let study = one_series();
    let next = Orthanc::start("SITEB", [&study]);
    let (uid, data_set) = data_sets(&study).remove(2);
    let broken = Step::BrokenObject(uid, data_set[..200].to_vec());
    let steps = then(then(objects(&study, 2), broken), Step::Close);
    let brought = from(&study, steps, &["--method", "get"], Some(next.port));
    brought.is(0, 2, None, "connection closed");
    assert_eq!(there(&brought.env, &study), 3);
}

#[test]
fn a_status_that_nobody_knows_is_a_failure() {
    let study = one_series();
    let brought = from(&study, vec![Step::End(0x1234, "")], &["--method", "get"], None);
    brought.is(1, 0, Some("1234"), "1234 (unknown status)");
    assert!(brought.run.stderr.contains("INCOMPLETE"), "{:#?}", brought.run);
}

#[test]
fn a_cancel_that_nobody_asked_for_leaves_it_partial() {
    let study = one_series();
    let steps = then(objects(&study, 2), Step::End(0xFE00, ""));
    let brought = from(&study, steps, &["--method", "get"], None);
    brought.is(3, 2, Some("FE00"), "FE00 (cancelled)");
    assert_eq!(brought.item["missing"], json!(1));
}

#[test]
fn an_object_that_was_not_asked_for_is_not_taken() {
    let study = one_series();
    let foreign = crate::support::studies::Federation::new(500, 4).sites[1].studies[0].clone();
    let (uid, data_set) = data_sets(&foreign).remove(0);
    let steps = then(
        then(objects(&study, 3), Step::Object(uid, data_set)),
        Step::End(0, ""),
    );
    let brought = from(&study, steps, &["--method", "get"], None);
    brought.is(0, 3, Some("0000"), "not asked for");
    assert_eq!(there(&brought.env, &foreign), 0);
}

#[test]
fn an_object_that_is_garbage_is_refused_and_the_others_stay() {
    let study = one_series();
    let garbage = Step::Object(study.series[0].instances[2].clone(), vec![0xFF; 400]);
    let steps = then(then(objects(&study, 2), garbage), Step::End(0xB000, ""));
    let brought = from(&study, steps, &["--method", "get"], None);
    brought.is(3, 2, Some("B000"), "an object was refused");
}

/// Case: an object comes twice
#[test]
fn an_instance_that_comes_twice_is_stored_once_and_other_data_are_kept_aside() {
    let study = one_series();
    let all = data_sets(&study);
    let (uid, mut other) = all[0].clone();
    let last = other.len() - 1;
    other[last] ^= 1;
    let again = [
        Step::Object(uid.clone(), all[0].1.clone()),
        Step::Object(uid, other),
    ];
    let mut steps = objects(&study, 3);
    steps.extend(again);
    let brought = from(&study, then(steps, Step::End(0, "")), &["--method", "get"], None);
    brought.is(0, 3, Some("0000"), "");
    assert_eq!(brought.item["kept_aside"], json!(1), "{:#}", brought.item);
    assert!(brought.run.stderr.contains("kept aside"), "{:#?}", brought.run);
    assert_eq!(there(&brought.env, &study), 3);
}

/// Case: an object is overtaken by another one under its UID
///
/// The objects are written side by side: the small one would be on the disk long before the large one.
#[test]
fn an_object_does_not_overtake_another_one_under_its_uid() {
    let study = one_series();
    let all = data_sets(&study);
    let (uid, small) = all[0].clone();
    let pixels: u32 = 32 << 20;
    let header = [&b"\xe0\x7f\x10\0OB\0\0"[..], &pixels.to_le_bytes()].concat();
    let large = [&small[..], &header, &vec![7; pixels as usize]].concat();
    let steps = vec![
        Step::Object(uid.clone(), large.clone()),
        Step::Object(uid.clone(), small),
        Step::Object(uid, large),
        Step::End(0, ""),
    ];
    let brought = from(&study, steps, &["--method", "get"], None);
    brought.is(3, 1, Some("0000"), "");
    assert_eq!(brought.item["kept_aside"], json!(1), "{:#}", brought.item);
    let stats = brought.env.impaxlink(&["archive", "stats", "--json"]).json();
    assert!(stats["bytes"].as_u64().unwrap() > u64::from(pixels), "{stats:#}");
}

#[test]
fn a_foreign_response_ends_the_association() {
    let study = one_series();
    let steps = vec![Step::AnswerAs(4711), Step::End(0, "")];
    let brought = from(&study, steps, &["--method", "get"], None);
    brought.is(1, 0, None, "4711");
}

#[test]
fn a_move_that_says_nothing_is_given_up_when_nothing_arrives() {
    let study = one_series();
    let pending = Step::Match(0xFF00, Identifier::Elements(elements(&[])));
    let steps = vec![pending, Step::AwaitCancel, Step::Pause(Duration::from_secs(60))];
    let brought = from(&study, steps, &["--method", "move"], None);
    brought.is(1, 0, None, "nothing arrived within 3s");
    assert!(brought.took < Duration::from_secs(30), "{:?}", brought.took);
    assert_eq!(brought.peer.associations()[1].cancelled.len(), 1);
}

#[test]
fn a_silent_get_is_given_up() {
    let study = one_series();
    let steps = then(objects(&study, 1), Step::Pause(Duration::from_secs(60)));
    let brought = from(&study, steps, &["--method", "get"], None);
    brought.is(3, 1, None, "no answer within 3s");
    assert!(brought.took < Duration::from_secs(30), "{:?}", brought.took);
}

#[test]
fn success_with_nothing_sent_is_no_success() {
    let study = one_series();
    let brought = from(&study, vec![Step::End(0, "")], &["--method", "get"], None);
    brought.is(1, 0, Some("0000"), "");
    assert_eq!(brought.item["missing"], json!(3));
}

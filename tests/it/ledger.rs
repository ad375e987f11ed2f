//! The ledgers of linked queries: what is recorded is read back, is found again, and is not kept for ever.

use std::time::Duration;

use impaxlink::model::{Asker, Caller, LedgerEntry, LedgerId, Level, Outcome, QueryLedger, Told};
use impaxlink::store::{Access, LedgerFilter, Store};
use jiff::{SignedDuration, Timestamp};
use serde_json::json;

use super::support::dcmqrscp::Dcmqrscp;
use super::support::env::Env;
use super::support::links::{add_archive, add_linked};
use super::support::store::{StoreFolder, save};
use super::support::studies::Federation;

fn entry(station: &str, outcome: Outcome) -> LedgerEntry {
    LedgerEntry::new(station.parse().unwrap(), outcome)
}

fn ledger(at: Timestamp, random: u32, entries: Vec<LedgerEntry>) -> QueryLedger {
    QueryLedger {
        id: LedgerId::new(at, random),
        // As precise as it is kept.
        at: Timestamp::from_microsecond(at.as_microsecond()).unwrap(),
        asker: Asker::Station {
            ae_title: "READER1".parse().unwrap(),
            address: "10.1.0.20".parse().unwrap(),
        },
        asked_as: Caller::Internal,
        generation: 412,
        level: Level::Study,
        keywords: vec!["PatientID".to_owned(), "(0009,1001)".to_owned()],
        complete: entries.iter().all(LedgerEntry::is_complete),
        entries,
        told: Told {
            status: 0,
            matches: 2,
        },
        elapsed: Duration::from_micros(412_345),
    }
}

fn ago(hours: i64) -> Timestamp {
    Timestamp::now() - SignedDuration::from_hours(hours)
}

fn all(store: &Store) -> Vec<QueryLedger> {
    store.ledgers(&LedgerFilter::default()).unwrap()
}

#[test]
fn what_is_recorded_is_read_back_field_by_field() {
    let folder = StoreFolder::new();
    let store = folder.open();
    let full = LedgerEntry {
        was_due: false,
        matches: 7,
        filtered: 1,
        dropped: 2,
        elapsed: Duration::from_millis(31),
        syntax: Some("linked"),
        dicom_status: Some(0xC001),
        unverified_keys: vec!["ModalitiesInStudy".to_owned()],
        retry_at: Some("2026-03-01T16:31:00Z".parse().unwrap()),
        detail: Some("no".to_owned()),
        ..entry("SITEB", Outcome::Truncated)
    };
    let asked = ledger(ago(2), 1, vec![entry("PACS", Outcome::Searched), full]);
    let typed = QueryLedger {
        asker: Asker::User("jdoe".to_owned()),
        asked_as: Caller::External,
        level: Level::Series,
        told: Told {
            status: 3,
            matches: 0,
        },
        ..ledger(ago(1), 2, vec![entry("PACS", Outcome::Failed)])
    };
    store.record_ledgers(&[asked.clone(), typed.clone()]).unwrap();
    assert_eq!(all(&store), [typed.clone(), asked.clone()]);
    let reader = Store::open(&folder.path(), Access::ReadOnly).unwrap();
    assert_eq!(reader.ledger(&asked.id).unwrap(), Some(asked));
    assert_eq!(reader.ledger(&LedgerId::new(ago(1), 9)).unwrap(), None);
    assert_eq!(store.generation().unwrap(), 0);
    assert!(store.audit_records(&Default::default()).unwrap().is_empty());
}

#[test]
fn what_a_peer_said_is_kept_on_one_short_line() {
    let folder = StoreFolder::new();
    let store = folder.open();
    let mut noisy = entry("SITEB", Outcome::Failed);
    noisy.detail = Some(format!("\u{1b}[31m\r\n{}", "x".repeat(5000)));
    store.record_ledgers(&[ledger(ago(1), 1, vec![noisy])]).unwrap();
    let kept = all(&store)[0].entries[0].detail.clone().unwrap();
    assert!(kept.len() <= 200 && !kept.contains(char::is_control), "{kept:?}");
}

#[test]
fn they_are_found_by_time_and_by_failure() {
    let folder = StoreFolder::new();
    let store = folder.open();
    let well = || vec![entry("PACS", Outcome::Searched)];
    let partial = || vec![entry("PACS", Outcome::Searched), entry("SITEB", Outcome::Failed)];
    let ledgers = [
        ledger(ago(5), 1, well()),
        ledger(ago(4), 2, partial()),
        ledger(ago(3), 3, well()),
        ledger(ago(2), 4, partial()),
    ];
    store.record_ledgers(&ledgers).unwrap();
    let found = |filter: LedgerFilter| -> Vec<u32> {
        let ids = store.ledgers(&filter).unwrap().into_iter();
        ids.map(|ledger| ledger.id.as_str()[13..].parse().unwrap())
            .collect()
    };
    let between = LedgerFilter {
        since: Some(ledgers[1].at),
        until: Some(ledgers[3].at),
        ..LedgerFilter::default()
    };
    assert_eq!(found(between.clone()), [3, 2]);
    let failed_only = true;
    assert_eq!(
        found(LedgerFilter {
            failed_only,
            ..between
        }),
        [2]
    );
    let newest = LedgerFilter {
        failed_only,
        limit: Some(1),
        ..LedgerFilter::default()
    };
    assert_eq!(found(newest), [4]);
}

#[test]
fn old_ones_go_a_few_with_each_that_comes() {
    let folder = StoreFolder::new();
    let store = folder.open();
    save(&store, |configuration| {
        configuration.settings.set("ledger.keep_days", "7").unwrap();
    });
    let entries = || vec![entry("PACS", Outcome::Searched)];
    let old: Vec<QueryLedger> = (0..100).map(|n| ledger(ago(24 * 8), n, entries())).collect();
    let young = ledger(ago(24 * 6), 0, entries());
    // Written under a longer time, as if they had grown old since.
    folder
        .raw()
        .execute("UPDATE setting SET value = '3650'", [])
        .unwrap();
    store
        .record_ledgers(&[&old[..], std::slice::from_ref(&young)].concat())
        .unwrap();
    assert_eq!(all(&store).len(), 101);
    folder
        .raw()
        .execute("UPDATE setting SET value = '7'", [])
        .unwrap();
    let next = ledger(ago(0), 1, entries());
    store.record_ledgers(std::slice::from_ref(&next)).unwrap();
    let left = all(&store).len();
    assert!(
        (80..101).contains(&left),
        "{left} left: at once, a query would wait for all of them to go"
    );
    for n in 2..20 {
        store.record_ledgers(&[ledger(ago(0), n, entries())]).unwrap();
    }
    let left = all(&store);
    assert_eq!(
        left.len(),
        20,
        "{:?}",
        left.iter().map(|l| l.at).collect::<Vec<_>>()
    );
    assert!(left.contains(&young) && left.contains(&next));
    let orphans = "SELECT count(*) FROM query_ledger_entry WHERE ledger NOT IN (SELECT id FROM query_ledger)";
    let orphans: u64 = folder.raw().query_row(orphans, [], |row| row.get(0)).unwrap();
    assert_eq!(orphans, 0);
}

/// An archive station that answers and a linked station where nothing listens.
fn half_a_federation(federation: &Federation) -> (Env, Dcmqrscp) {
    let archive = Dcmqrscp::start("SITEA", &federation.site("SITEA").studies);
    let env = Env::new();
    add_archive(&env, "PACS", "SITEA", archive.port, &[]);
    add_linked(&env, "SITEB", "SITEB", 1, &[]);
    (env, archive)
}

#[test]
fn a_query_leaves_its_ledger_and_no_patient_in_it() {
    let federation = Federation::new(3, 8);
    let (env, _archive) = half_a_federation(&federation);
    let patient = &federation.site("SITEA").studies[0].patient;
    let query = env.impaxlink(&["query", "--patient-id", &patient.id, "--json"]);
    query.exits(3);
    let answer = query.json();
    let id = answer["id"].as_str().unwrap();
    let matches = answer["items"].as_array().unwrap().len();
    assert!(matches > 0, "{query:#?}");

    let shown = env.impaxlink(&["ledger", "show", id, "--json"]).json()["query"].clone();
    assert_eq!(shown["id"], json!(id));
    assert_eq!(shown["exit_status"], json!(3));
    assert_eq!(shown["matches"], json!(matches));
    assert_eq!(shown["complete"], json!(false));
    assert_eq!(shown["keywords"], json!(["PatientID"]));
    assert_eq!(shown["asked_as"], json!("internal"));
    assert_eq!(shown["generation"], json!(2));
    // The moment of the next try is kept to the microsecond.
    let without_retry = |entries: &serde_json::Value| {
        let mut entries = entries.as_array().unwrap().clone();
        for entry in &mut entries {
            entry.as_object_mut().unwrap().remove("retry_at");
        }
        entries
    };
    assert_eq!(without_retry(&shown["ledger"]), without_retry(&answer["ledger"]));

    let list = env.impaxlink(&["ledger", "list", "--failed", "--since", "-1h"]);
    assert!(
        list.success()
            .contains("INCOMPLETE, 1 of 2 stations; SITEB failed: "),
        "{list:#?}"
    );
    assert!(
        list.stdout.contains("exit status 3") && list.stdout.contains("PatientID"),
        "{list:#?}"
    );
    let last = env.impaxlink(&["ledger", "show"]);
    assert!(
        last.success().contains(id) && last.stdout.contains("\nSITEB"),
        "{last:#?}"
    );
    for format in ["ndjson", "csv"] {
        let run = env.impaxlink(&["ledger", "list", "--format", format]);
        assert!(run.success().contains(id), "{run:#?}");
        env.impaxlink(&["ledger", "show", "--format", format]).success();
    }
    let dump = env
        .command("sqlite3")
        .arg(env.store())
        .arg(".dump")
        .output()
        .unwrap();
    let dump = String::from_utf8_lossy(&dump.stdout).into_owned();
    assert!(dump.contains(id));
    let name = patient.name.split('^').next().unwrap();
    assert!(
        !dump.contains(&format!("'{}'", patient.id)) && !dump.contains(name),
        "{dump}"
    );
}

#[test]
fn a_whole_answer_is_no_failure_and_an_unknown_query_is_not_found() {
    let federation = Federation::new(3, 8);
    let (env, _archive) = half_a_federation(&federation);
    env.impaxlink(&["ledger", "show"])
        .fails_with(4, "no query has been asked yet");
    let local = env.impaxlink(&["query", "--local", "--limit", "1", "--format", "ndjson"]);
    let end = local.ndjson().pop().unwrap();
    let id = end["id"].as_str().unwrap();
    let failed = env.impaxlink(&["ledger", "list", "--failed", "--json"]).json();
    assert_eq!(failed["items"], json!([]));
    let shown = env.impaxlink(&["ledger", "show", id]);
    assert!(shown.success().contains("cut by the caller"), "{shown:#?}");
    env.impaxlink(&["ledger", "show", "000000000000-000000"])
        .fails_with(4, "no query 000000000000-000000");
    env.impaxlink(&["ledger", "show", "yesterday"])
        .fails_with(2, "ledger ID");
    env.impaxlink(&["ledger", "list", "--since", "soon"])
        .fails_with(2, "it is like 16:20");
    env.impaxlink(&["config", "set", "ledger.keep_days", "0"])
        .fails_with(2, "from 1 to 3650");
}

#[test]
fn a_query_whose_reader_hung_up_is_recorded_too() {
    let federation = Federation::new(3, 8);
    let (env, _archive) = half_a_federation(&federation);
    let shell = format!(
        "{} query --format ndjson | head -c 1 >/dev/null",
        env!("CARGO_BIN_EXE_impaxlink")
    );
    assert!(
        env.command("bash")
            .args(["-c", &shell])
            .status()
            .unwrap()
            .success()
    );
    let listed = env.impaxlink(&["ledger", "list", "--json"]).json();
    let items = listed["items"].as_array().unwrap();
    assert_eq!(items.len(), 1, "{listed:#}");
    assert_eq!(items[0]["ledger"].as_array().unwrap().len(), 2, "{listed:#}");
}

#[test]
fn missing_answers_are_counted_for_each_station() {
    let folder = StoreFolder::new();
    let store = folder.open();
    let skipped_by_flag = LedgerEntry {
        was_due: false,
        ..entry("SITED", Outcome::Skipped)
    };
    let now = vec![
        entry("PACS", Outcome::Searched),
        entry("SITEB", Outcome::Failed),
        entry("SITEC", Outcome::Cancelled),
        skipped_by_flag,
    ];
    let truncated = vec![
        entry("SITEB", Outcome::Truncated),
        entry("SITEC", Outcome::Skipped),
    ];
    let long_ago = vec![entry("SITEB", Outcome::Failed)];
    let ledgers = [
        ledger(ago(1), 1, now),
        ledger(ago(2), 2, truncated),
        ledger(ago(30), 3, long_ago),
    ];
    store.record_ledgers(&ledgers).unwrap();
    let missing = store.missing_answers(ago(24)).unwrap();
    let told: Vec<(&str, u64)> = missing
        .iter()
        .map(|(name, count)| (name.as_str(), *count))
        .collect();
    assert_eq!(told, [("SITEB", 2), ("SITEC", 1)]);
}

//! The state of studies in the store: made here, received, relayed, each once and with its audit record.

use std::collections::BTreeMap;

use impaxlink::audit::Event;
use impaxlink::model::{FieldChange, FieldValue, Objection, StateField, Station, StudyPatient, Uid, Update};
use impaxlink::store::{
    Applied, AuditFilter, Draft, Made, OutboxFilter, OutboxState, Received, Settled, Store, StoreError,
};
use jiff::Timestamp;

use super::support::store::{StoreFolder, jdoe, save, station};

pub const STUDY: &str = "1.2.840.1";

fn uid(text: &str) -> Uid {
    text.parse().unwrap()
}

fn patient(issuer: Option<&str>) -> StudyPatient {
    StudyPatient {
        id: "4711".to_owned(),
        issuer: issuer.map(|issuer| issuer.parse().unwrap()),
    }
}

pub fn draft(field: StateField, text: &str) -> Draft {
    Draft {
        study: uid(STUDY),
        patient: patient(Some("NORTH")),
        wanted: BTreeMap::from([(field, FieldValue::new(field, text).unwrap())]),
        is_correction: false,
        new_objects: None,
        review: None,
    }
}

pub fn make(store: &Store, draft: &Draft) -> Made {
    let mut made = store.make_updates(&jdoe(), std::slice::from_ref(draft)).unwrap();
    made.pop().unwrap().unwrap()
}

/// An update of another cluster, made at that many milliseconds.
pub fn foreign(id: usize, at: u64, field: StateField, text: &str) -> Update {
    Update {
        id: uid(&format!("2.25.99.{id}")),
        study: uid(STUDY),
        patient: patient(Some("NORTH")),
        origin: uid("2.25.9"),
        revision: format!("{at:016x}.00000000").parse().unwrap(),
        changes: vec![FieldChange {
            field,
            value: FieldValue::new(field, text).unwrap(),
            epoch: 0,
            known: BTreeMap::new(),
        }],
        new_objects: None,
        review: None,
    }
}

pub fn receive(store: &Store, update: &Update, from: &str) -> Applied {
    let received = Received {
        update: update.clone(),
        from: from.parse().unwrap(),
    };
    store.apply_updates(&jdoe(), &[received]).unwrap().pop().unwrap()
}

pub fn linked(name: &str) -> Station {
    let mut station = station(name);
    station.links.cluster_linking = true;
    station.links.cluster_updates = true;
    station.issuers = vec!["NORTH".parse().unwrap()];
    station
}

/// A store that knows the linked clusters B, C and D, and relays updates to all three.
pub fn three_clusters() -> (StoreFolder, Store) {
    let folder = StoreFolder::new();
    let store = folder.open();
    save(&store, |configuration| {
        configuration.stations = ["B", "C", "D"].map(linked).into();
        for (station, port) in configuration.stations.iter_mut().zip(105..) {
            station.endpoint.as_mut().unwrap().port = port.try_into().unwrap();
        }
    });
    (folder, store)
}

pub fn names(stations: &[impaxlink::model::StationName]) -> Vec<&str> {
    stations.iter().map(|name| name.as_str()).collect()
}

pub fn shown(store: &Store, field: StateField) -> Option<String> {
    let states = store.study_states(&[uid(STUDY)]).unwrap();
    let value = states.first()?.state.value(field)?;
    Some(value.as_str().to_owned())
}

fn records_of(store: &Store, id: &Uid) -> usize {
    let records = store.audit_records(&AuditFilter::default()).unwrap();
    let of_update = records.iter().filter(|record| match record.event().unwrap() {
        Event::Update(update) => update.update == *id,
        _ => false,
    });
    of_update.count()
}

pub fn due(store: &Store, station: &str) -> Vec<(Uid, String)> {
    let due = store
        .due_updates(&station.parse().unwrap(), Timestamp::now(), 100)
        .unwrap();
    due.into_iter()
        .map(|due| {
            let value = due.update.changes[0].value.as_str().to_owned();
            (due.update.id, value)
        })
        .collect()
}

pub fn values(due: &[(Uid, String)]) -> Vec<&str> {
    due.iter().map(|(_, value)| value.as_str()).collect()
}

#[test]
fn a_change_is_made_with_its_rows_and_its_record_or_not_at_all() {
    let (folder, store) = three_clusters();
    let generation = store.generation().unwrap();
    let made = make(&store, &draft(StateField::StudyComments, "seen"));
    assert_eq!(names(&made.relayed_to), ["B", "C", "D"]);
    assert_eq!(shown(&store, StateField::StudyComments).as_deref(), Some("seen"));
    assert_eq!(records_of(&store, &made.update.unwrap().id), 1);
    assert_eq!(store.generation().unwrap(), generation);
    store.verify_audit(None).unwrap();
    let again = make(&store, &draft(StateField::StudyComments, "seen"));
    assert_eq!(again.update, None, "nothing is left to say");

    folder
        .raw()
        .execute_batch("CREATE TRIGGER no_rows BEFORE INSERT ON outbox BEGIN SELECT raise(ABORT, 'no'); END")
        .unwrap();
    let records = store.audit_records(&AuditFilter::default()).unwrap().len();
    let failed = store.make_updates(&jdoe(), &[draft(StateField::StudyComments, "other")]);
    assert!(
        matches!(
            failed,
            Err(StoreError::Sqlite { .. } | StoreError::Corrupt { .. })
        ),
        "{failed:?}"
    );
    assert_eq!(shown(&store, StateField::StudyComments).as_deref(), Some("seen"));
    assert_eq!(
        store.audit_records(&AuditFilter::default()).unwrap().len(),
        records
    );
}

#[test]
fn a_preview_writes_nothing() {
    let (_folder, store) = three_clusters();
    let made = store
        .preview_update(&draft(StateField::PatientName, "ROE^JANE"))
        .unwrap()
        .unwrap();
    assert_eq!(names(&made.relayed_to), ["B", "C", "D"]);
    assert!(made.update.is_some() && !store.has_study_states().unwrap());
}

#[test]
fn what_comes_is_applied_once_and_goes_on_but_not_back() {
    let (_folder, store) = three_clusters();
    let update = foreign(1, 5, StateField::InterpretationStatus, "APPROVED");
    match receive(&store, &update, "C") {
        Applied::Applied { relayed_to, .. } => assert_eq!(names(&relayed_to), ["B", "D"]),
        other => panic!("{other:?}"),
    }
    assert_eq!(receive(&store, &update, "C"), Applied::Duplicate);
    assert_eq!(receive(&store, &update, "B"), Applied::Duplicate);
    assert_eq!(records_of(&store, &update.id), 1);
    assert!(due(&store, "C").is_empty());
    let sent = store
        .due_updates(&"B".parse().unwrap(), Timestamp::now(), 10)
        .unwrap();
    assert_eq!(sent[0].update, update, "under the same identity");
    let later = make(&store, &draft(StateField::StudyComments, "x"))
        .update
        .unwrap();
    assert!(later.revision > update.revision);
}

#[test]
fn a_sender_is_held_to_its_switch_and_its_patients() {
    let (_folder, store) = three_clusters();
    let update = foreign(1, 5, StateField::StudyComments, "x");
    save(&store, |configuration| {
        configuration.stations[0].links.cluster_updates = false;
        configuration.stations[1].issuers = vec!["VALLEY".parse().unwrap()];
    });
    for (from, objection) in [("B", "off"), ("C", "does not speak"), ("NOBODY", "off")] {
        match receive(&store, &update, from) {
            Applied::Refused(refused) => assert!(refused.to_string().contains(objection), "{refused}"),
            other => panic!("{from}: {other:?}"),
        }
    }
    assert!(!store.has_study_states().unwrap());
    assert_eq!(records_of(&store, &update.id), 0);
}

#[test]
fn an_update_from_the_far_future_waits_until_its_time() {
    let (_folder, store) = three_clusters();
    let now = Timestamp::now().as_millisecond() as u64;
    let update = foreign(1, now + 400_000, StateField::StudyComments, "late");
    assert!(matches!(
        receive(&store, &update, "B"),
        Applied::Parked(Objection::ClockAhead { .. })
    ));
    assert_eq!(
        receive(&store, &update, "B"),
        Applied::Duplicate,
        "it is kept already"
    );
    assert_eq!(shown(&store, StateField::StudyComments), None);
    let here = make(&store, &draft(StateField::StudyComments, "now"))
        .update
        .unwrap();
    assert!(here.revision < update.revision, "the clock is not dragged along");
    assert_eq!(store.apply_parked(&jdoe(), 10).unwrap(), 0);
    save(&store, |configuration| {
        configuration
            .settings
            .set("updates.max_clock_ahead", "10m")
            .unwrap()
    });
    assert_eq!(store.parked_updates().unwrap().len(), 1);
    assert_eq!(store.apply_parked(&jdoe(), 10).unwrap(), 1);
    assert_eq!(shown(&store, StateField::StudyComments).as_deref(), Some("late"));
    assert!(store.parked_updates().unwrap().is_empty());
    assert_eq!(values(&due(&store, "C")), ["now", "late"]);
}

#[test]
fn a_parked_update_may_be_given_up() {
    let (_folder, store) = three_clusters();
    let far = Timestamp::now().as_millisecond() as u64 + 4_000_000;
    let update = foreign(1, far, StateField::StudyComments, "never");
    receive(&store, &update, "B");
    assert!(store.drop_parked(&jdoe(), &update.id).unwrap());
    assert!(!store.drop_parked(&jdoe(), &update.id).unwrap());
    assert_eq!(receive(&store, &update, "B"), Applied::Duplicate);
    assert_eq!(store.apply_parked(&jdoe(), 10).unwrap(), 0);
}

#[test]
fn another_patients_state_is_another() {
    let (_folder, store) = three_clusters();
    make(&store, &draft(StateField::PatientName, "DOE^JANE"));
    let mut update = foreign(1, 5, StateField::PatientName, "EVIL^EVE");
    update.patient.id = "666".to_owned();
    receive(&store, &update, "B");
    let states = store.study_states(&[uid(STUDY)]).unwrap();
    assert_eq!(states.len(), 2);
    let ours = states.iter().find(|stated| stated.patient.id == "4711").unwrap();
    assert_eq!(
        ours.state.value(StateField::PatientName).unwrap().as_str(),
        "DOE^JANE"
    );
}

#[test]
fn without_an_issuer_a_change_stays_here() {
    let (_folder, store) = three_clusters();
    let made = make(
        &store,
        &Draft {
            patient: patient(None),
            ..draft(StateField::StudyComments, "x")
        },
    );
    assert!(made.update.is_some() && made.relayed_to.is_empty());
}

#[test]
fn a_station_without_the_syntax_gathers_no_rows() {
    let (folder, store) = three_clusters();
    folder
        .raw()
        .execute_batch(
            "INSERT INTO link_health (station, failures_in_a_row, speaks_linked) VALUES ('C', 0, 0)",
        )
        .unwrap();
    let made = make(&store, &draft(StateField::StudyComments, "x"));
    assert_eq!(names(&made.relayed_to), ["B", "D"]);
}

#[test]
fn the_updates_of_a_study_go_in_order_and_others_pass() {
    let (_folder, store) = three_clusters();
    for text in ["one", "two"] {
        make(&store, &draft(StateField::StudyComments, text));
    }
    let other = Draft {
        study: uid("1.2.840.2"),
        ..draft(StateField::StudyComments, "other")
    };
    make(&store, &other);
    let first = due(&store, "B");
    assert_eq!(values(&first), ["one", "two", "other"]);
    let later = Timestamp::now() + jiff::SignedDuration::from_secs(60);
    let try_again = Settled::TryAgain {
        at: later,
        reason: "A700".to_owned(),
    };
    let b = "B".parse().unwrap();
    store
        .settle_outbox(&b, &[(first[0].0.clone(), try_again)])
        .unwrap();
    assert_eq!(values(&due(&store, "B")), ["other"], "two waits for one");
    assert_eq!(values(&due(&store, "C")), ["one", "two", "other"]);
    let refused = Settled::Refused {
        reason: "A900".to_owned(),
    };
    store
        .settle_outbox(
            &b,
            &[
                (first[0].0.clone(), refused),
                (first[2].0.clone(), Settled::Delivered),
            ],
        )
        .unwrap();
    assert_eq!(
        values(&due(&store, "B")),
        ["two"],
        "what is parked holds up nothing"
    );
    let length = store.queue_lengths().unwrap()[&"B".parse().unwrap()];
    assert_eq!((length.queued, length.parked), (1, 1));
    let of_b = OutboxFilter {
        station: Some("B".parse().unwrap()),
        ..OutboxFilter::default()
    };
    let states: Vec<OutboxState> = store
        .outbox(&of_b, None)
        .unwrap()
        .iter()
        .map(|row| row.state)
        .collect();
    assert_eq!(
        states,
        [OutboxState::Delivered, OutboxState::Queued, OutboxState::Parked]
    );
    assert_eq!(store.retry_outbox(&of_b).unwrap(), 2);
    assert_eq!(values(&due(&store, "B")), ["one", "two"]);
    assert_eq!(store.drop_outbox(&jdoe(), &of_b).unwrap(), 2);
    assert!(due(&store, "B").is_empty());
}

#[test]
fn queues_follow_a_renamed_station_and_end_with_a_removed_one() {
    let (_folder, store) = three_clusters();
    make(&store, &draft(StateField::StudyComments, "x"));
    save(&store, |configuration| {
        configuration.stations[0].name = "NORTHGATE".parse().unwrap();
        configuration
            .stations
            .retain(|station| station.name.as_str() != "C");
    });
    assert_eq!(values(&due(&store, "NORTHGATE")), ["x"]);
    let lengths = store.queue_lengths().unwrap();
    let waiting: Vec<&str> = lengths.keys().map(|name| name.as_str()).collect();
    assert_eq!(waiting, ["D", "NORTHGATE"]);
}

#[test]
fn many_changes_share_a_transaction_and_stand_alone() {
    let (_folder, store) = three_clusters();
    let mut approved = draft(StateField::InterpretationStatus, "APPROVED");
    let back = draft(StateField::InterpretationStatus, "NEW");
    approved.review = Some("deletion".parse().unwrap());
    let made = store
        .make_updates(&jdoe(), &[approved, back, draft(StateField::StudyComments, "x")])
        .unwrap();
    assert!(made[0].is_ok() && made[1].is_err() && made[2].is_ok(), "{made:?}");
    assert_eq!(
        shown(&store, StateField::InterpretationStatus).as_deref(),
        Some("APPROVED")
    );
}

#[test]
fn a_study_is_under_review_until_a_person_acknowledges_it() {
    let (_folder, store) = three_clusters();
    let mut update = foreign(1, 5, StateField::StudyComments, "x");
    update.changes.clear();
    update.review = Some("split at HARBOUR".parse().unwrap());
    receive(&store, &update, "B");
    let study = uid(STUDY);
    assert_eq!(
        store.under_review(std::slice::from_ref(&study)).unwrap(),
        std::slice::from_ref(&study)
    );
    assert_eq!(store.acknowledge_review(&jdoe(), &study).unwrap().len(), 1);
    assert!(store.acknowledge_review(&jdoe(), &study).unwrap().is_empty());
    assert!(
        store
            .under_review(std::slice::from_ref(&study))
            .unwrap()
            .is_empty()
    );
    let notices = store.review_notices(&study).unwrap();
    assert_eq!(notices[0].acknowledged.as_ref().unwrap().1, "jdoe");
    assert_eq!(records_of(&store, &update.id), 2, "taken in, and acknowledged");
}

#[test]
fn what_was_delivered_long_ago_is_forgotten() {
    let (folder, store) = three_clusters();
    make(&store, &draft(StateField::StudyComments, "old"));
    folder
        .raw()
        .execute_batch("UPDATE update_log SET at = 1")
        .unwrap();
    make(&store, &draft(StateField::StudyComments, "newer"));
    assert_eq!(
        store.logged_updates(&uid(STUDY)).unwrap().len(),
        2,
        "it is not delivered yet"
    );
    for station in ["B", "C", "D"] {
        let rows = due(&store, station);
        let settled: Vec<_> = rows
            .iter()
            .map(|(update, _)| (update.clone(), Settled::Delivered))
            .collect();
        store.settle_outbox(&station.parse().unwrap(), &settled).unwrap();
    }
    make(&store, &draft(StateField::StudyComments, "newest"));
    let kept = store.logged_updates(&uid(STUDY)).unwrap();
    assert_eq!(kept.len(), 2);
    assert_eq!(store.outbox(&OutboxFilter::default(), None).unwrap().len(), 6);
}

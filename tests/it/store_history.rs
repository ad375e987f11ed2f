//! The store's memory: every generation as it was saved, and an audit in which tampering shows.

use impaxlink::audit::{AuditRecord, Disclosure, Event, Hash};
use impaxlink::model::{Conditions, Configuration, MappingRule, MappingTable, MappingTarget, Station};
use impaxlink::store::{AuditFilter, Break, Store, StoreError, VerifyError};
use proptest::prelude::*;
use proptest::sample::subsequence;

use crate::support::store::{StoreFolder, jdoe, save, station};

fn any_station(name: &'static str) -> impl Strategy<Value = Station> {
    let fields = (any::<bool>(), -2..2, any::<bool>(), 0..3_usize);
    fields.prop_map(move |(linked, priority, described, issuers)| {
        let mut station = station(name);
        station.links.cluster_linking = linked;
        station.priority = priority;
        station.description = described.then(|| "a door".parse().unwrap());
        station.issuers = ["NORTH", "HARBOUR"][..issuers.min(2)]
            .iter()
            .map(|issuer| issuer.parse().unwrap())
            .collect();
        station
    })
}

fn mapping_rule(pattern: &str, value: &str) -> MappingRule {
    let conditions = Conditions {
        description: Some(pattern.parse().unwrap()),
        ..Conditions::default()
    };
    MappingRule::new(MappingTarget::BodyPart, 10, value.parse().unwrap(), conditions).unwrap()
}

fn any_configuration() -> impl Strategy<Value = Configuration> {
    let stations = vec![
        any_station("A").boxed(),
        any_station("a-2").boxed(),
        any_station("B").boxed(),
        any_station("Z")
            .prop_map(|station| Station {
                name: "Zürich".parse().unwrap(),
                ..station
            })
            .boxed(),
    ];
    let settings = subsequence(vec!["issuer", "cluster_name"], 0..=2);
    let rules = prop::option::of(subsequence(vec!["*chest*", "*thorax*", "* lung*"], 1..=3));
    let named = subsequence(stations, 0..=4).prop_flat_map(|chosen| chosen);
    (named, settings, rules, 0..3).prop_map(|(mut stations, keys, patterns, value)| {
        stations.sort_by(|one, other| one.name.cmp(&other.name));
        let rule = |pattern: &str| mapping_rule(pattern, &format!("V{value}"));
        let table =
            |patterns: Vec<&str>| MappingTable::new(patterns.into_iter().map(rule).collect()).unwrap();
        let mut configuration = Configuration {
            stations,
            mapping: patterns.map(table),
            ..Configuration::default()
        };
        for key in keys {
            configuration.settings.set(key, &format!("V{value}")).unwrap();
        }
        configuration
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn every_generation_is_found_again_as_it_was_saved(sequence in prop::collection::vec(any_configuration(), 1..8)) {
        let folder = StoreFolder::new();
        let store = folder.open();
        let mut saved = vec![Configuration::default()];
        for mut next in sequence {
            save(&store, |configuration| *configuration = next.clone());
            next.generation = store.generation().unwrap();
            prop_assert_eq!(&store.configuration().unwrap(), &next);
            if next.generation as usize == saved.len() {
                saved.push(next);
            }
        }
        for configuration in &saved {
            prop_assert_eq!(&store.configuration_at(configuration.generation).unwrap(), configuration);
        }
        prop_assert_eq!(store.generations(100).unwrap().len(), saved.len() - 1);
        let error = store.configuration_at(saved.len() as u64).unwrap_err();
        prop_assert!(matches!(error, StoreError::NoSuchGeneration { .. }), "{:?}", error);
    }
}

/// A store with five generations.
fn five_generations(folder: &StoreFolder) -> Store {
    let store = folder.open();
    save(&store, |configuration| {
        configuration.stations.push(station("SITEB"))
    });
    for priority in 2..=5 {
        save(&store, |configuration| {
            configuration.stations[0].priority = priority
        });
    }
    store
}

/// What `verify_audit` says after `tamper` has worked on the table with its triggers gone.
fn verdict(tamper: &str, expect: Option<fn(&[AuditRecord]) -> Hash>) -> Result<u64, (u64, Break)> {
    let folder = StoreFolder::new();
    let store = five_generations(&folder);
    let mut records = store.audit_records(&AuditFilter::default()).unwrap();
    records.reverse();
    let expect = expect.map(|choose| choose(&records));
    let raw = folder.raw();
    raw.execute_batch("DROP TRIGGER audit_is_never_edited; DROP TRIGGER audit_is_never_removed")
        .unwrap();
    raw.execute_batch(tamper).unwrap();
    match store.verify_audit(expect.as_ref()) {
        Ok(verification) => Ok(verification.records),
        Err(VerifyError::Broken(broken)) => Err((broken.sequence, broken.what)),
        Err(error) => panic!("{error:?}"),
    }
}

#[test]
fn a_whole_chain_is_found_whole_and_has_every_hash_that_was_noted() {
    assert_eq!(verdict("", None), Ok(5));
    assert_eq!(verdict("", Some(|records| records[4].hash)), Ok(5));
    assert_eq!(verdict("", Some(|records| records[1].hash)), Ok(5));
    assert_eq!(verdict("", Some(|records| records[0].previous_hash)), Ok(5));
}

#[test]
fn an_edited_record_is_found() {
    for edit in [
        "UPDATE audit SET user = 'nobody' WHERE sequence = 3",
        "UPDATE audit SET at = at + 1 WHERE sequence = 3",
        "UPDATE audit SET detail = replace(detail, '3', '4') WHERE sequence = 3",
        "UPDATE audit SET reason = NULL WHERE sequence = 3",
        "UPDATE audit SET hash = zeroblob(32) WHERE sequence = 3",
        "UPDATE audit SET at = 9223372036854775807 WHERE sequence = 3",
    ] {
        assert_eq!(verdict(edit, None), Err((3, Break::Edited)), "{edit}");
    }
}

#[test]
fn a_removed_record_is_found() {
    let removed = "DELETE FROM audit WHERE sequence = 3";
    assert_eq!(verdict(removed, None), Err((3, Break::Removed)));
    let closed_up = format!("{removed}; UPDATE audit SET sequence = sequence - 1 WHERE sequence > 3");
    assert_eq!(verdict(&closed_up, None), Err((3, Break::Edited)));
}

#[test]
fn an_inserted_record_is_found_even_where_it_is_sealed_by_the_rules() {
    let folder = StoreFolder::new();
    let store = five_generations(&folder);
    let records = store.audit_records(&AuditFilter::default()).unwrap();
    let third = records.iter().find(|record| record.sequence == 3).unwrap();
    let disclosure = Event::Disclosure(Disclosure {
        stations: Vec::new(),
        keywords: Vec::new(),
    });
    let forged = AuditRecord::seal(4, third.at, jdoe(), &disclosure, third.hash).unwrap();
    let raw = folder.raw();
    raw.execute_batch(
        "DROP TRIGGER audit_is_never_edited; UPDATE audit SET sequence = sequence + 100 WHERE sequence > 3; \
         UPDATE audit SET sequence = sequence - 99 WHERE sequence > 100",
    )
    .unwrap();
    let sql = "INSERT INTO audit SELECT 4, at, user, uid, real_user, command, reason, 'disclosure', NULL, ?1, ?2, ?3 \
               FROM audit WHERE sequence = 3";
    let hashes = [forged.previous_hash, forged.hash].map(|hash| *hash.as_bytes());
    let inserted = raw.execute(sql, rusqlite::params![forged.detail, hashes[0], hashes[1]]);
    assert_eq!(inserted, Ok(1));
    match store.verify_audit(None) {
        Err(VerifyError::Broken(broken)) => assert_eq!((broken.sequence, broken.what), (5, Break::Edited)),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_chain_cut_at_its_end_is_found_by_a_hash_noted_before() {
    let cut = "DELETE FROM audit WHERE sequence = 5";
    let ends = Break::Ends {
        recorded: 4,
        saved: 5,
    };
    assert_eq!(verdict(cut, None), Err((5, ends)));
    let cut_well = format!("{cut}; UPDATE cluster SET generation = 4");
    let cut_of_kind = Break::Cut {
        kind: "configuration".to_owned(),
        counted: 5,
        found: 4,
    };
    assert_eq!(verdict(&cut_well, None), Err((5, cut_of_kind)));
    let counts_too = format!(
        "{cut_well}; UPDATE audit_head SET records = 4, hash = (SELECT hash FROM audit WHERE sequence = 4)"
    );
    let tables_too = format!("{counts_too}; UPDATE station SET priority = 4");
    assert_eq!(verdict(&tables_too, None), Ok(4));
    let found = verdict(&tables_too, Some(|records| records[4].hash));
    assert!(matches!(found, Err((5, Break::Unexpected(_)))), "{found:?}");
}

#[test]
fn a_chain_made_anew_is_found_by_a_hash_noted_before() {
    let (old, new) = (StoreFolder::new(), StoreFolder::new());
    let noted = five_generations(&old).verify_audit(None).unwrap().head;
    let remade = five_generations(&new);
    assert_eq!(remade.verify_audit(None).unwrap().records, 5);
    let error = remade.verify_audit(Some(&noted)).unwrap_err();
    assert!(error.to_string().contains(&noted.to_string()), "{error}");
}

#[test]
fn the_audit_of_another_cluster_does_not_pass_for_this_ones() {
    let other_uid = "UPDATE cluster SET uid = '2.25.1'";
    let folder = StoreFolder::new();
    drop(five_generations(&folder));
    folder.raw().execute_batch(other_uid).unwrap();
    let error = folder.open().verify_audit(None).unwrap_err();
    assert!(error.to_string().starts_with("audit record 1:"), "{error}");
}

#[test]
fn records_are_not_edited_or_removed_by_a_slip_of_the_hand() {
    let folder = StoreFolder::new();
    drop(five_generations(&folder));
    for slip in ["UPDATE audit SET user = 'x'", "DELETE FROM audit"] {
        let error = folder.raw().execute_batch(slip).unwrap_err();
        assert!(error.to_string().contains("never"), "{error}");
    }
}

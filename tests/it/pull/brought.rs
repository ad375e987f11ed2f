//! What is brought, from where and to where.

use serde_json::{Value, json};

use super::{copies, embedded, has, keeper, link, makes, naming, tells_of, two, wait_until_pulled};
use crate::support::cluster::{self, chest_ct};
use crate::support::dcmqrscp::Dcmqrscp;
use crate::support::orthanc::Orthanc;
use crate::support::retrieve::{part, retrieve, study};
use crate::support::service::set;
use crate::support::sites::{archive, open_link};

#[test]
fn only_what_is_lacking_and_named_is_pulled_and_the_study_stays_at_home() {
    let study = study(4);
    // The fourth of each series is not named.
    let (a, b) = two(&study, |place| place == 0);
    b.change(|configuration| set(configuration, "prefetch.keep", "1ms"));
    let update = tells_of(&a, &part(&study, |place| place < 3));
    wait_until_pulled(&b, &update);
    assert_eq!(has(&b, &study), 6);
    let env = &b.service.env;
    let copies = copies(env, &study);
    assert_eq!(copies["station"], "OWN", "{copies:#}");
    let [brought] = &copies["brought"].as_array().unwrap()[..] else {
        panic!("{copies:#}")
    };
    assert_eq!(
        (&brought["source"], &brought["purpose"], &brought["instances"]),
        (&"SITEA".into(), &"update".into(), &4.into()),
        "{copies:#}"
    );
    assert_eq!(copies["stays"], "a part of it was here before");
    // The service has been looking for visitors that expire all the time.
    env.impaxlink(&["archive", "expire"]).success();
    assert_eq!(has(&b, &study), 6, "a study that is at home stays whole");
    // All is here now: nobody is asked again.
    let again = tells_of(&a, &part(&study, |place| place == 1));
    wait_until_pulled(&b, &again);
    assert_eq!(self::copies(env, &study)["brought"][0]["instances"], 4);
}

#[test]
fn a_study_that_is_not_held_is_not_pulled() {
    let study = study(2);
    let (a, b) = two(&study, |_| false);
    let update = tells_of(&a, &study);
    wait_until_pulled(&b, &update);
    assert_eq!(has(&b, &study), 0);
    assert!(b.store().copies(&study.uid.parse().unwrap()).unwrap().is_empty());
}

#[test]
fn what_the_sender_only_relays_is_pulled_once_it_has_it() {
    let study = study(3);
    let (a, b) = two(&study, |place| place == 0);
    let first = part(&study, |place| place == 0);
    let c = keeper("SITEC", &[&first]);
    link(&b, "SITEB", &c, "SITEC", &study);
    let update = tells_of(&a, &part(&study, |place| place > 0));
    wait_until_pulled(&c, &update);
    assert_eq!((has(&b, &study), has(&c, &study)), (6, 6));
    let copies = copies(&c.service.env, &study);
    assert_eq!(copies["brought"][0]["source"], "SITEB", "{copies:#}");
}

#[test]
fn an_archive_that_is_not_ours_is_completed_where_it_is() {
    let study = study(3);
    let held = part(&study, |place| place == 0);
    let (a, b) = (keeper("SITEA", &[&study]), keeper("SITEB", &[]));
    let orthanc = Orthanc::start("ORTHANC", [&held]);
    b.knows(vec![archive("ORTHANC", "ORTHANC", orthanc.port)]);
    link(&a, "SITEA", &b, "SITEB", &study);
    let update = tells_of(&a, &study);
    wait_until_pulled(&b, &update);
    let copies = copies(&b.service.env, &study);
    assert_eq!(copies["station"], "ORTHANC", "{copies:#}");
    assert_eq!(has(&b, &study), 6);
    assert!(embedded(&b).instances(&study.uid, None).unwrap().is_empty());
}

#[test]
fn a_series_of_which_no_objects_are_named_is_meant_whole() {
    let study = study(3);
    let (a, b) = two(&study, |place| place == 0);
    let mut draft = naming(&study);
    let series = &mut draft.new_objects.as_mut().unwrap().series;
    series.truncate(1);
    series[0].objects.clear();
    let update = makes(&a.store(), draft);
    a.wake();
    wait_until_pulled(&b, &update);
    assert_eq!(has(&b, &study), 4);
}

#[test]
fn a_visitor_that_was_completed_is_one_still() {
    let study = study(2);
    let (a, b) = two(&study, |_| false);
    let env = &b.service.env;
    let some = &study.series[0].instances[0];
    let first = [&study.uid, "--instance", some, "--from", "SITEA", "--regardless"];
    retrieve(env, &first).0.success();
    let update = tells_of(&a, &study);
    wait_until_pulled(&b, &update);
    assert_eq!(has(&b, &study), 4);
    assert_eq!(copies(env, &study)["stays"], Value::Null);
    env.impaxlink(&["config", "set", "prefetch.keep", "1ms"])
        .success();
    env.impaxlink(&["archive", "expire"]).success();
    assert_eq!(has(&b, &study), 0);
    let again = tells_of(&a, &study);
    wait_until_pulled(&b, &again);
    assert_eq!(has(&b, &study), 0, "what has left is not brought back by updates");
}

#[test]
fn more_studies_than_are_pulled_at_once_all_come() {
    let ids = ["P1", "P2", "P3", "P4", "P5", "P6"];
    let studies = ids.map(|id| chest_ct(id, 2025, 3));
    let held = studies.each_ref().map(|study| part(study, |place| place == 0));
    let (a, b) = (
        keeper("SITEA", &studies.each_ref()),
        keeper("SITEB", &held.each_ref()),
    );
    link(&a, "SITEA", &b, "SITEB", &studies[0]);
    let updates: Vec<_> = studies.iter().map(|study| tells_of(&a, study)).collect();
    updates.iter().for_each(|update| wait_until_pulled(&b, update));
    assert_eq!(cluster::held(&b.service.env), cluster::expected(&studies));
}

#[test]
fn what_another_local_archive_has_is_not_brought() {
    let study = study(3);
    let (a, b) = two(&study, |place| place == 0);
    let pacs = Dcmqrscp::start("PACS", [&part(&study, |place| place == 1)]);
    b.knows(vec![archive("PACS", "PACS", pacs.port)]);
    let update = tells_of(&a, &study);
    wait_until_pulled(&b, &update);
    let own = embedded(&b).instances(&study.uid, None).unwrap();
    assert_eq!(own.len(), 4, "the first of each series, and the third");
    assert_eq!(has(&b, &study), 6);
}

#[test]
fn the_station_that_told_is_asked_first_and_then_another_for_what_it_lacks() {
    let study = study(3);
    let a = keeper("SITEA", &[&part(&study, |place| place < 2)]);
    let b = keeper("SITEB", &[&part(&study, |place| place == 0)]);
    link(&a, "SITEA", &b, "SITEB", &study);
    let other = Dcmqrscp::start("SITEC", [&study]);
    let mut higher = open_link("SITEC", "SITEC", other.port);
    higher.priority = 9;
    higher.issuers = vec![study.patient.issuer.parse().unwrap()];
    b.knows(vec![higher]);
    let update = tells_of(&a, &study);
    wait_until_pulled(&b, &update);
    assert_eq!(has(&b, &study), 6);
    let copies = copies(&b.service.env, &study);
    let brought = copies["brought"].as_array().unwrap().iter();
    let brought: Vec<_> = brought.map(|it| (&it["source"], &it["instances"])).collect();
    let expected = [(&json!("SITEA"), &json!(2)), (&json!("SITEC"), &json!(2))];
    assert_eq!(brought, expected, "{copies:#}");
}

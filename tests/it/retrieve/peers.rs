//! Studies from real archives, into the embedded archive and into others.

use serde_json::json;

use crate::support::archive_options::ArchiveOptions;
use crate::support::dcmqrscp::Dcmqrscp;
use crate::support::env::Env;
use crate::support::links::{add_archive, add_linked};
use crate::support::orthanc::Orthanc;
use crate::support::retrieve::{embedded, part, retrieve, study, there};

#[test]
fn a_study_comes_from_a_real_archive_and_is_not_fetched_again() {
    let study = study(7);
    let orthanc = Orthanc::start("SITEA", [&study]);
    let dcmqrscp = Dcmqrscp::start("SITEA", [&study]);
    for port in [orthanc.port, dcmqrscp.port] {
        let env = embedded();
        add_linked(&env, "SITEA", "SITEA", port, &[]);
        let (run, item) = retrieve(&env, &[&study.uid]);
        run.success();
        assert_eq!(item["complete"], json!(true), "{item:#}");
        assert_eq!(
            (
                &item["instances"],
                &item["fetched"],
                &item["already_there"],
                &item["missing"]
            ),
            (&json!(14), &json!(14), &json!(0), &json!(0)),
        );
        let source = &item["sources"][0];
        assert_eq!(
            (&source["station"], &source["method"]),
            (&json!("SITEA"), &json!("get"))
        );
        assert_eq!(there(&env, &study), 14);

        let (run, item) = retrieve(&env, &[&study.uid]);
        run.success();
        assert_eq!(
            (&item["fetched"], &item["already_there"]),
            (&json!(0), &json!(14))
        );
        assert_eq!(item["sources"], json!([]));
    }
}

#[test]
fn an_archive_station_gets_it_by_move() {
    let study = study(3);
    for archive_is_orthanc in [true, false] {
        let (orthanc, dcmqrscp);
        let (archive, source);
        if archive_is_orthanc {
            orthanc = Orthanc::start("PACS", []);
            let mut options = ArchiveOptions::new("SITEA");
            options.move_destinations = vec![("PACS", orthanc.port)];
            dcmqrscp = Dcmqrscp::start_with(&options, [&study]);
            (archive, source) = (orthanc.port, dcmqrscp.port);
        } else {
            dcmqrscp = Dcmqrscp::start("PACS", []);
            let mut options = ArchiveOptions::new("SITEA");
            options.move_destinations = vec![("PACS", dcmqrscp.port)];
            orthanc = Orthanc::start_with(&options, [&study]);
            (archive, source) = (dcmqrscp.port, orthanc.port);
        }
        let env = Env::new();
        add_archive(&env, "PACS", "PACS", archive, &[]);
        add_linked(&env, "SITEA", "SITEA", source, &[]);
        let (run, item) = retrieve(&env, &[&study.uid, "--method", "move"]);
        run.success();
        assert_eq!(item["sources"][0]["method"], json!("move"), "{item:#}");
        let detail = item["sources"][0]["detail"].as_str().unwrap();
        assert!(
            detail.contains("sent directly to PACS, which lists the study under the patient"),
            "{detail}"
        );
        assert_eq!((&item["complete"], &item["fetched"]), (&json!(true), &json!(6)));
        assert_eq!(there(&env, &study), 6);
    }
}

/// Case: the move destination is unknown there
#[test]
fn a_move_destination_that_is_not_known_is_named_and_got_instead() {
    let study = study(3);
    let mut archive = Orthanc::start("PACS", []);
    let dcmqrscp = Dcmqrscp::start("SITEA", [&study]);
    let orthanc = Orthanc::start("SITEA", [&study]);
    for port in [dcmqrscp.port, orthanc.port] {
        let env = Env::new();
        add_archive(&env, "PACS", "PACS", archive.port, &[]);
        add_linked(&env, "SITEA", "SITEA", port, &[]);
        let (run, item) = retrieve(&env, &[&study.uid, "--method", "move"]);
        run.exits(1);
        let source = &item["sources"][0];
        let hint = source["hint"].as_str().unwrap();
        assert!(
            hint.contains("AE title PACS") && hint.contains(&format!("port {}", archive.port)),
            "{hint}"
        );
        assert!(run.stderr.contains("hint: register at SITEA"), "{run:#?}");
        let (run, item) = retrieve(&env, &[&study.uid]);
        run.success();
        assert_eq!(item["sources"][0]["method"], json!("get"), "{item:#}");
        assert_eq!(there(&env, &study), 6);
        archive = Orthanc::start("PACS", []);
    }
}

/// Case: the preferred source has part of the study
#[test]
fn what_one_source_lacks_comes_from_the_next() {
    let study = study(4);
    let first = Orthanc::start("SITEA", [&part(&study, |place| place < 3)]);
    let second = Dcmqrscp::start("SITEB", [&part(&study, |place| place > 0)]);
    let env = embedded();
    add_linked(&env, "SITEA", "SITEA", first.port, &["--priority", "1"]);
    add_linked(&env, "SITEB", "SITEB", second.port, &[]);
    let (run, item) = retrieve(&env, &[&study.uid]);
    run.success();
    assert_eq!(
        (&item["complete"], &item["fetched"]),
        (&json!(true), &json!(8)),
        "{item:#}"
    );
    let came: Vec<_> = item["sources"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| &it["instances"])
        .collect();
    assert_eq!(came, [6, 2], "{item:#}");
    assert_eq!(there(&env, &study), 8);
}

#[test]
fn series_and_instances_come_alone() {
    let study = study(3);
    let source = Orthanc::start("SITEA", [&study]);
    let env = embedded();
    add_linked(&env, "SITEA", "SITEA", source.port, &[]);
    let [one, other] = &study.series[..] else { panic!() };
    let instance = ["--instance", &one.instances[0], &one.instances[2]];
    let (run, item) = retrieve(&env, &[&[study.uid.as_str()], &instance[..]].concat());
    run.success();
    assert_eq!(
        (&item["instances"], &item["fetched"]),
        (&json!(2), &json!(2)),
        "{item:#}"
    );
    let (run, item) = retrieve(&env, &[&study.uid, "--series", &other.uid]);
    run.success();
    assert_eq!(
        (&item["instances"], &item["fetched"]),
        (&json!(3), &json!(3)),
        "{item:#}"
    );
    let (run, item) = retrieve(&env, &[&study.uid, "--dry-run"]);
    run.success();
    assert_eq!(item["sources"][0]["instances"], json!(1), "{item:#}");
    assert_eq!((&item["instances"], &item["fetched"]), (&json!(5), &json!(1)));
    assert_eq!(there(&env, &study), 5);
    let (run, item) = retrieve(&env, &[&study.uid]);
    run.success();
    assert_eq!((&item["fetched"], &item["already_there"]), (&json!(1), &json!(5)));
}

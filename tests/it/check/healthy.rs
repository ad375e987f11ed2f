//! What is as it should be, and what a strict DICOM peer can't tell.

use serde_json::json;

use super::{Pair, Review, change, cluster, door};
use crate::support::archive_options::ArchiveOptions;
use crate::support::dcmqrscp::Dcmqrscp;
use crate::support::orthanc::Orthanc;
use crate::support::studies::Federation;

#[test]
fn a_healthy_pair_passes_everything() {
    let pair = Pair::start();
    let review = pair.check(&["--strict"]);
    assert_eq!(review.troubles(), [""; 0], "{:#}", review.document);
    review.run.success();
    let items = review.document["items"].as_array().unwrap();
    assert!(items.iter().all(|item| item["hint"].is_null()));
    assert_eq!(review.document["schema"], json!(1));
    for check in [
        "address",
        "association",
        "echo",
        "query",
        "retrieve",
        "linked_syntax",
        "cluster",
        "registration",
        "move_destination",
        "station_names",
        "vocabulary",
        "prefetch_rules",
        "clock",
        "issuer",
        "caller",
    ] {
        let mut found = items
            .iter()
            .filter(|item| item["subject"] == "HARBOUR" && item["check"] == check);
        assert!(
            found.next().is_some() && found.next().is_none(),
            "{check}: {items:#?}"
        );
    }
}

#[test]
fn a_screen_tells_all_and_quiet_tells_nothing_when_all_is_well() {
    let pair = Pair::start();
    let north = &pair.north.env;
    let screen = north.impaxlink(&["check"]);
    let lines: Vec<&str> = screen.success().lines().collect();
    assert_eq!(lines[0], "local, NORTH");
    assert!(lines.contains(&"NORTH_PACS, NORTH"), "{screen:#?}");
    assert!(
        screen.stdout.contains("HARBOUR accepts NORTH, in "),
        "{screen:#?}"
    );
    assert!(lines.last().unwrap().ends_with(" passed"), "{screen:#?}");
    let quiet = north.impaxlink(&["check", "-q"]);
    assert_eq!((quiet.success(), quiet.stderr.as_str()), ("", ""));
    let csv = north.impaxlink(&["check", "--format", "csv"]);
    assert!(
        csv.success()
            .starts_with("subject,check,outcome,detail,hint\nlocal,generation,pass,")
    );
    let ndjson = north.impaxlink(&["check", "--format", "ndjson"]).ndjson();
    assert_eq!(ndjson[0]["subject"], "local");
}

#[test]
fn what_strict_dicom_cannot_tell_is_unknown() {
    let federation = Federation::new(71, 4);
    let siteb = Orthanc::start("SITEB", &federation.site("SITEB").studies);
    let options = ArchiveOptions {
        move_destinations: vec![("NORTH", 104)],
        ..ArchiveOptions::new("SITEC")
    };
    let sitec = Dcmqrscp::start_with(&options, &federation.site("SITEC").studies);
    let north = cluster("NORTH");
    change(&north, |configuration| {
        let strict = |name: &str, port| {
            let mut door = door(name, port);
            door.issuers = vec![format!("{name}_IDS").parse().unwrap()];
            door
        };
        configuration.stations.push(strict("SITEB", siteb.port));
        configuration.stations.push(strict("SITEC", sitec.port));
    });
    let review = Review::of(&north.env, &["--strict"]);
    let expected: Vec<String> = ["SITEB", "SITEC"]
        .iter()
        .flat_map(|name| {
            ["character_set", "registration", "move_destination", "clock"]
                .map(|check| format!("{name} {check} unknown"))
        })
        .collect();
    assert_eq!(review.troubles(), expected, "{:#}", review.document);
    review.run.success();
    review.tells(
        "SITEB registration unknown",
        "strict DICOM",
        "impaxlink check SITEB --handover",
    );
    review.tells(
        "SITEC move_destination unknown",
        "whether it knows NORTH",
        "--move-test UID",
    );
}

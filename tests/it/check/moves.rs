//! `--move-test`: whether what is moved here arrives, and what is told where it doesn't.

use super::{Pair, Review, change, cluster, door};
use crate::support::archive_options::ArchiveOptions;
use crate::support::dcmqrscp::Dcmqrscp;
use crate::support::process::free_port;
use crate::support::service::{PATIENCE, Service};
use crate::support::sites::change_station;
use crate::support::studies::{Federation, Study};

/// HARBOUR has a study of the federation, and a folder that it came from.
fn pair_with(study: &Study) -> Pair {
    let pair = Pair::start();
    let folder = tempfile::tempdir().unwrap();
    study.write_files(folder.path());
    let import = ["archive", "import", folder.path().to_str().unwrap()];
    pair.harbour.env.impaxlink(&import).success();
    pair
}

fn instances(north: &Service) -> u64 {
    let stats = north.env.impaxlink(&["archive", "stats", "--json"]).json();
    stats["archive"]["instances"]
        .as_u64()
        .or(stats["instances"].as_u64())
        .unwrap()
}

#[test]
fn one_image_of_the_study_arrives() {
    let federation = Federation::new(72, 4);
    let study = &federation.site("SITEB").studies[0];
    let pair = pair_with(study);
    let review = pair.check(&["--move-test", &study.uid]);
    assert_eq!(review.troubles(), [""; 0], "{:#}", review.document);
    assert!(
        review.run.stdout.contains("arrived in NORTH_PACS"),
        "{}",
        review.run.stdout
    );
    assert_eq!(instances(&pair.north), 1);
    let review = pair.check(&["--move-test", "1.2.3"]);
    review.is(
        "HARBOUR move_test unknown",
        "does not have that study",
        "name a study",
    );
}

#[test]
fn the_way_back_is_closed() {
    let federation = Federation::new(73, 4);
    let study = &federation.site("SITEB").studies[0];
    let pair = pair_with(study);
    let nobody = free_port();
    change_station(&pair.harbour, "NORTH", |station| {
        station.endpoint.as_mut().unwrap().port = nobody.try_into().unwrap();
    });
    let review = pair.check(&["HARBOUR", "--move-test", &study.uid]);
    let hint = format!("AE title NORTH, host 127.0.0.1, port {}", pair.north.port);
    review.tells("HARBOUR move_test fail", "ended with", &hint);
    review.tells("HARBOUR registration fail", &format!("{nobody}"), "--port");
    assert_eq!((instances(&pair.north), review.run.status), (0, Some(1)));
}

#[test]
fn without_a_service_nothing_can_arrive() {
    let federation = Federation::new(74, 4);
    let study = &federation.site("SITEB").studies[0];
    let mut pair = pair_with(study);
    pair.north.process.signal(rustix::process::Signal::TERM);
    pair.north.process.wait(PATIENCE);
    let review = pair.check(&["--move-test", &study.uid]);
    review.tells(
        "HARBOUR move_test unknown",
        "the service is not running",
        "impaxlink serve",
    );
}

#[test]
fn a_strict_archive_that_knows_us_and_one_that_does_not() {
    let federation = Federation::new(75, 4);
    let study = &federation.site("SITEB").studies[0];
    let other = &federation.site("SITEC").studies[0];
    let north = cluster("NORTH");
    let options = ArchiveOptions {
        move_destinations: vec![("NORTH", north.port)],
        ..ArchiveOptions::new("SITEB")
    };
    let siteb = Dcmqrscp::start_with(&options, [study]);
    let sitec = Dcmqrscp::start("SITEC", [other]);
    change(&north, |configuration| {
        configuration.stations.push(door("SITEB", siteb.port));
        configuration.stations.push(door("SITEC", sitec.port));
    });
    let review = Review::of(&north.env, &["SITEB", "--move-test", &study.uid]);
    let left = ["character_set", "registration", "clock"].map(|check| format!("SITEB {check} unknown"));
    assert_eq!(
        review.troubles(),
        left,
        "the move says that it is known: {:#}",
        review.document
    );
    let review = Review::of(&north.env, &["SITEC", "--move-test", &other.uid]);
    let hint = format!("AE title NORTH, host 127.0.0.1, port {}", north.port);
    review.tells(
        "SITEC move_test fail",
        "does not know the move destination NORTH",
        &hint,
    );
}

//! Pairs of real clusters that are broken in one way each, and what is told of it.

use std::time::Instant;

use impaxlink::model::Configuration;
use rustix::process::Signal;

use super::{Pair, Review, change, cluster, door, link};
use crate::support::fake_peer::FakePeer;
use crate::support::fake_peer::script::Step;
use crate::support::process::free_port;
use crate::support::service::{PATIENCE, set, station};
use crate::support::sites::{archive, change_station, station_of};

#[test]
fn the_wrong_port() {
    let pair = Pair::start();
    let port = free_port();
    change_station(&pair.north, "HARBOUR", |station| {
        station.endpoint.as_mut().unwrap().port = port.try_into().unwrap();
    });
    let review = pair.check(&[]);
    let set = "impaxlink station set HARBOUR --port PORT";
    review.is(
        "HARBOUR address fail",
        &format!("connection refused (127.0.0.1:{port})"),
        set,
    );
    let quiet = pair.north.env.impaxlink(&["check", "-q"]);
    quiet.fails_with(1, "HARBOUR address: connection refused");
    assert_eq!(quiet.stderr.lines().count(), 1);
}

#[test]
fn the_wrong_called_ae_title() {
    let pair = Pair::start();
    change_station(&pair.north, "HARBOUR", |station| {
        station.ae_title = "HARBOR".parse().unwrap()
    });
    let set = "impaxlink station set HARBOUR --ae-title TITLE";
    pair.check(&[])
        .is("HARBOUR association fail", "called AE title not recognized", set);
}

#[test]
fn our_ae_title_is_not_registered_there() {
    let pair = Pair::start();
    change(&pair.harbour, |configuration| {
        configuration
            .stations
            .retain(|station| station.name.as_str() != "NORTH");
    });
    let hint = "impaxlink check HARBOUR --handover";
    pair.check(&[]).is(
        "HARBOUR association fail",
        "calling AE title not recognized",
        hint,
    );
}

#[test]
fn an_impaxlink_that_has_not_linked_us() {
    let pair = Pair::start();
    change_station(&pair.harbour, "NORTH", |station| {
        station.links.cluster_linking = false
    });
    let review = pair.check(&[]);
    review.tells(
        "HARBOUR linked_syntax warn",
        "does not accept the linked syntax from us",
        "--cluster-linking",
    );
    change_station(&pair.north, "HARBOUR", |station| {
        station.links.cluster_updates = true
    });
    pair.check(&[]).tells(
        "HARBOUR updates warn",
        "no update is relayed",
        "--no-link-cluster-updates",
    );
}

#[test]
fn different_vocabularies() {
    let pair = Pair::start();
    let harbour = &pair.harbour.env;
    let shipped = harbour.impaxlink(&["mapping", "export"]);
    let some: Vec<&str> = shipped.success().lines().take(9).collect();
    harbour
        .impaxlink_with_stdin(&["mapping", "import", "-"], &format!("{}\n", some.join("\n")))
        .success();
    let hint = "impaxlink mapping export";
    pair.check(&[]).is("HARBOUR vocabulary warn", "other names", hint);
    pair.check(&["--strict"]).run.exits(1);
    // With link prefetching they decide over priors.
    change_station(&pair.north, "HARBOUR", |station| station.links.prefetching = true);
    pair.check(&[]).is("HARBOUR vocabulary fail", "other names", hint);
}

#[test]
fn a_saved_generation_that_is_not_in_force() {
    let pair = Pair::start();
    pair.north
        .save(|configuration| set(configuration, "query.deadline", "19s"));
    pair.check(&[])
        .is("local generation fail", "is saved, and", "impaxlink reload");
}

#[test]
fn no_service_to_answer_the_others() {
    let mut pair = Pair::start();
    pair.north.process.signal(Signal::TERM);
    pair.north.process.wait(PATIENCE);
    let review = pair.check(&[]);
    review.is(
        "local generation warn",
        "the service is not running",
        "impaxlink serve",
    );
}

#[test]
fn we_are_registered_there_with_the_wrong_port() {
    let pair = Pair::start();
    let port = free_port();
    change_station(&pair.harbour, "NORTH", |station| {
        station.endpoint.as_mut().unwrap().port = port.try_into().unwrap();
    });
    let review = pair.check(&[]);
    let both = ["HARBOUR registration fail", "HARBOUR move_destination fail"];
    assert_eq!(review.troubles(), both, "{:#}", review.document);
    let hint = format!("impaxlink station set NORTH --port {}", pair.north.port);
    review.tells(both[0], &format!("NORTH@127.0.0.1:{port}"), &hint);
    review.tells(both[1], "what is moved to NORTH goes to", &hint);
}

#[test]
fn we_are_registered_there_at_another_host() {
    let pair = Pair::start();
    change_station(&pair.harbour, "NORTH", |station| {
        station.endpoint.as_mut().unwrap().host = "192.0.2.7".parse().unwrap();
    });
    let hint = "impaxlink station set NORTH --host 127.0.0.1";
    pair.check(&[])
        .is("HARBOUR registration warn", "NORTH@192.0.2.7", hint);
}

#[test]
fn a_move_destination_that_is_not_known_there() {
    let pair = Pair::start();
    change_station(&pair.north, "HARBOUR", |station| {
        station.move_destination = Some("NORTH_ST".parse().unwrap());
    });
    let review = pair.check(&[]);
    review.is(
        "HARBOUR move_destination fail",
        "does not answer as that",
        "impaxlink station set NORTH_PACS --ae-title NORTH",
    );
    // With an archive of its own, it is that which must be known.
    change_station(&pair.north, "HARBOUR", |station| station.move_destination = None);
    change(&pair.north, |configuration| {
        let mut pacs = archive("PACS", "PACS", pair.harbour.port);
        pacs.priority = 5;
        configuration.stations.push(pacs);
    });
    let hint = format!("--ae-title PACS --host 127.0.0.1 --port {}", pair.harbour.port);
    pair.check(&[])
        .tells("HARBOUR move_destination fail", "A801", &hint);
}

#[test]
fn issuers_missing_and_equal() {
    let pair = Pair::start();
    change_station(&pair.north, "HARBOUR", |station| station.issuers.clear());
    pair.check(&[])
        .is("HARBOUR issuer warn", "is not set", "--issuer ISSUER");
    change_station(&pair.north, "HARBOUR", |station| {
        station.issuers = vec!["NORTH".parse().unwrap()]
    });
    pair.check(&[]).is(
        "HARBOUR issuer warn",
        "our own issuer NORTH",
        "one register of patients",
    );
    change(&pair.north, |configuration| {
        station_of(configuration, "HARBOUR").issuers = vec!["HARBOUR".parse().unwrap()];
        configuration.settings.unset("issuer").unwrap();
    });
    pair.check(&[])
        .is("local issuer warn", "is not set", "impaxlink config set issuer");
}

#[test]
fn one_name_for_two_stations() {
    let pair = Pair::start();
    change(&pair.harbour, |configuration| {
        configuration.stations.push(station("north_pacs", 104))
    });
    let hint = "impaxlink station rename north_pacs NEW";
    pair.check(&[])
        .is("HARBOUR station_names warn", "north_pacs", hint);
}

#[test]
fn callers_that_can_not_be_told_apart() {
    let pair = Pair::start();
    let twin = |configuration: &mut Configuration| {
        let mut twin = station("TWIN", 104);
        twin.ae_title = "HARBOUR".parse().unwrap();
        configuration.stations.push(twin);
    };
    change(&pair.north, twin);
    pair.check(&[]).is(
        "HARBOUR caller fail",
        "TWIN calls by the same AE title",
        "--from-address",
    );
    change_station(&pair.north, "TWIN", |station| {
        station.from_addresses = vec!["192.0.2.1".parse().unwrap()]
    });
    assert_eq!(
        pair.check(&[]).troubles(),
        [""; 0],
        "they call from different addresses"
    );
    change_station(&pair.north, "HARBOUR", |station| {
        station.from_addresses = vec!["192.0.2.2".parse().unwrap()]
    });
    pair.check(&[]).is(
        "HARBOUR from_address warn",
        "it is at 127.0.0.1",
        "--from-address",
    );
}

#[test]
fn a_store_that_everybody_can_read() {
    use std::os::unix::fs::PermissionsExt;
    let pair = Pair::start();
    let store = pair.north.env.store();
    std::fs::set_permissions(&store, std::fs::Permissions::from_mode(0o644)).unwrap();
    pair.check(&[]).is("local store fail", "0644", "chmod o=");
}

#[test]
fn no_archive_and_a_service_that_only_this_machine_can_call() {
    let harbour = cluster("HARBOUR");
    let north = cluster("NORTH");
    link(&north, "HARBOUR", harbour.port);
    change(&north, |configuration| {
        configuration
            .stations
            .retain(|station| station.name.as_str() != "NORTH_PACS");
        let mut far = door("FAR", 104);
        far.endpoint.as_mut().unwrap().host = "192.0.2.9".parse().unwrap();
        far.suspended = Some(impaxlink::model::Suspension::Indefinite);
        configuration.stations.push(far);
    });
    let review = Review::of(&north.env, &[]);
    review.tells("local archive fail", "no archive station", "--embedded");
    review.tells(
        "local listen fail",
        "where FAR can't call it",
        "config set listen 0.0.0.0",
    );
    review.tells("FAR suspended unknown", "not asked", "impaxlink check FAR");
}

#[test]
fn many_that_are_silent_take_the_time_of_one() {
    let silent: Vec<FakePeer> = (0..24)
        .map(|_| FakePeer::start(vec![Step::AwaitAssociation]))
        .collect();
    let north = cluster("NORTH");
    change(&north, |configuration| {
        for (number, peer) in silent.iter().enumerate() {
            configuration
                .stations
                .push(door(&format!("SITE{number}"), peer.port));
        }
    });
    let began = Instant::now();
    let review = Review::of(&north.env, &["--timeout", "1s"]);
    assert!(began.elapsed().as_secs_f32() < 15.0, "{:?}", began.elapsed());
    review.tells(
        "SITE5 association fail",
        "no answer within 900ms",
        "look into the log there",
    );
    review.run.exits(1);
}

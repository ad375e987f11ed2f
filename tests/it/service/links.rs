//! Whether links answer, as the service finds out by itself.

use impaxlink::model::{Endpoint, Kind, Station, Suspension};
use serde_json::Value;

use crate::support::dcmqrscp::Dcmqrscp;
use crate::support::fake_peer::FakePeer;
use crate::support::fake_peer::script::{Acceptance, Step};
use crate::support::process::free_port;
use crate::support::service::{Service, station, wait_for};

fn linked(name: &str, port: u16) -> Station {
    let mut door = station(name, port);
    door.links.cluster_linking = true;
    door
}

/// The links of `status --json`, by name.
fn link(service: &Service, name: &str) -> Value {
    let status = service.env.impaxlink(&["status", "--json"]).json();
    let links = status["links"].as_array().unwrap().clone();
    let found = links.into_iter().find(|link| link["station"] == name);
    found.unwrap_or_else(|| panic!("no {name} in {status}"))
}

#[track_caller]
fn wait_for_health(service: &Service, name: &str, health: &str) -> Value {
    let mut found = Value::Null;
    wait_for(&format!("{name} {health}"), || {
        found = link(service, name);
        found["health"] == health
    });
    found
}

#[test]
fn the_service_finds_out_which_links_answer() {
    let archive = Dcmqrscp::start("ARCHIVE", &[]);
    let nobody = free_port();
    let suspended = Station {
        suspended: Some(Suspension::Indefinite),
        ..linked("QUIET", nobody)
    };
    let service = Service::start(vec![
        Station {
            kind: Kind::Archive,
            ..station("ARCHIVE", archive.port)
        },
        linked("DOWN", nobody),
        suspended,
        station("VIEWER", nobody),
    ]);
    let up = wait_for_health(&service, "ARCHIVE", "up");
    assert!(
        up["latency_ms"].is_u64() && up["last_success"].is_string(),
        "{up}"
    );
    let down = wait_for_health(&service, "DOWN", "down");
    assert!(down["next_try"].is_string(), "{down}");
    assert!(down["detail"].as_str().unwrap().contains("refused"), "{down}");
    assert_eq!(link(&service, "QUIET")["health"], "suspended");
    let told = service.env.impaxlink(&["status"]);
    let told = told.success();
    assert!(!told.contains("VIEWER"), "{told}");
    let quiet = service.env.impaxlink(&["status", "-q"]);
    assert_eq!(quiet.success(), "");
    assert_eq!(quiet.stderr, "DOWN down < 1 min\n");

    // Mended, it is tried at once and not in a minute.
    service.save(|configuration| {
        for door in configuration
            .stations
            .iter_mut()
            .filter(|station| station.name.as_str() == "DOWN")
        {
            // Another name of this machine: one AE title at one address is one station.
            door.endpoint = Some(Endpoint {
                host: "localhost".parse().unwrap(),
                port: archive.port.try_into().unwrap(),
            });
            door.ae_title = "ARCHIVE".parse().unwrap();
        }
    });
    service.env.impaxlink(&["reload"]).success();
    wait_for_health(&service, "DOWN", "up");
    service.log_with("DOWN does not answer");
}

#[test]
fn a_station_that_refuses_an_echo_is_there_all_the_same() {
    let odd = FakePeer::start(vec![
        Step::Accept(Acceptance::default()),
        Step::AwaitRequest,
        Step::End(0x0110, ""),
    ]);
    let service = Service::start(vec![linked("ODD", odd.port)]);
    let up = wait_for_health(&service, "ODD", "up");
    assert_eq!(up["detail"], Value::Null, "{up}");
}

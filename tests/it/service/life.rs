//! How the service starts and ends, also where it was not asked.

use std::io::Write;
use std::net::TcpListener;
use std::time::{Duration, Instant};

use impaxlink::dimse::Awaited;
use rustix::process::Signal;

use crate::support::env::Env;
use crate::support::process::listens;
use crate::support::raw_association::association_request;
use crate::support::service::{PATIENCE, Service, block_on, save, set, start, station, wait_for};

#[test]
fn a_second_service_on_the_same_store_is_refused_with_the_first_ones_pid() {
    let service = Service::start(vec![station("VIEWER", 104)]);
    let second = service.env.impaxlink(&["serve"]);
    second.fails_with(5, &format!("(pid {})", service.process.id()));
    assert!(service.echo("VIEWER", "IMPAXLINK").0);
    assert_eq!(service.status().pid, service.process.id());
}

#[test]
fn a_fresh_machine_gets_a_store_with_its_service() {
    let env = Env::new();
    // The default address; where another program has it already that is as good.
    let _taken = TcpListener::bind("0.0.0.0:11112");
    let run = env.impaxlink(&["serve"]);
    run.fails_with(1, "cannot listen on 0.0.0.0:11112");
    assert!(env.store().exists());
    assert!(!env.store().with_extension("db.sock").exists());
}

#[test]
fn a_killed_service_leaves_nothing_that_stops_the_next() {
    let mut service = Service::start(vec![station("VIEWER", 104)]);
    service.process.signal(Signal::KILL);
    assert!(!service.process.wait(PATIENCE).success());
    assert!(service.socket().exists());
    service
        .env
        .impaxlink(&["reload"])
        .fails_with(7, "the service is not running");
    service.process = start(&service.env);
    let (answered, log) = service.echo("VIEWER", "IMPAXLINK");
    assert!(answered, "{log}");
    assert_eq!(service.status().pid, service.process.id());
}

#[test]
fn sigterm_releases_idle_associations_and_ends_with_0() {
    let mut service = Service::start(vec![station("VIEWER", 104)]);
    let socket = service.socket();
    block_on(async {
        let mut idle = service.associate("VIEWER").await.unwrap();
        idle.echo(PATIENCE).await.unwrap();
        service.process.signal(Signal::TERM);
        let released = idle.receive(Awaited::Request, PATIENCE).await.unwrap();
        assert!(released.is_none());
    });
    assert_eq!(service.process.wait(PATIENCE).code(), Some(0));
    assert!(!socket.exists());
    assert!(!listens(service.port));
}

#[test]
fn a_request_under_way_has_the_time_to_end_and_a_second_signal_does_not_wait() {
    let mut service = Service::start_with(|configuration| {
        configuration.stations = vec![station("VIEWER", 104)];
        set(configuration, "timeout.drain", "60s");
    });
    let mut stream = half_a_request(&service);
    service.process.signal(Signal::TERM);
    service.wait_for("the drain", |status| status.ending);
    wait_for("the end of listening", || !listens(service.port));
    service
        .env
        .impaxlink(&["reload"])
        .fails_with(7, "the service is ending");
    // Still there: the other half has not come.
    assert_eq!(service.status().associations, 1);
    let began = Instant::now();
    service.process.signal(Signal::TERM);
    assert_eq!(service.process.wait(PATIENCE).code(), Some(130));
    assert!(began.elapsed() < Duration::from_secs(40));
    let _ = stream.write_all(&[0]);
}

#[test]
fn the_drain_ends_when_its_time_is_up() {
    let mut service = Service::start_with(|configuration| {
        configuration.stations = vec![station("VIEWER", 104)];
        set(configuration, "timeout.drain", "200ms");
    });
    let _stream = half_a_request(&service);
    service.process.signal(Signal::INT);
    assert_eq!(service.process.wait(PATIENCE).code(), Some(0));
    let log = service.process.output();
    assert!(log.contains("1 associations cut off"), "{log}");
}

/// An association that has sent the first bytes of a P-DATA-TF and keeps the rest.
fn half_a_request(service: &Service) -> std::net::TcpStream {
    use std::io::Read;
    let mut stream = std::net::TcpStream::connect(("127.0.0.1", service.port)).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
        .write_all(&association_request("VIEWER", "1.2.840.10008.1.1"))
        .unwrap();
    let mut answer = [0; 6];
    stream.read_exact(&mut answer).unwrap();
    assert_eq!(answer[0], 2, "A-ASSOCIATE-AC");
    stream.write_all(&[4, 0, 0, 0, 0, 80, 0, 0]).unwrap();
    stream
}

#[test]
fn the_service_manager_is_told() {
    let mut env = Env::new();
    save(&env, |configuration| set(configuration, "listen", "127.0.0.1:0"));
    let path = env.path().join("notify.sock");
    let manager = std::os::unix::net::UnixDatagram::bind(&path).unwrap();
    manager.set_read_timeout(Some(PATIENCE)).unwrap();
    env.set("NOTIFY_SOCKET", path.to_str().unwrap());
    env.set("WATCHDOG_USEC", "200000");
    let mut process = env.start(&["serve"]);
    let told = || {
        let mut buffer = [0; 512];
        let read = manager.recv(&mut buffer).unwrap();
        String::from_utf8_lossy(&buffer[..read]).into_owned()
    };
    let mut seen = String::new();
    while !(seen.contains("READY=1") && seen.contains("WATCHDOG=1")) {
        seen += &told();
    }
    process.signal(Signal::HUP);
    while !seen.contains("RELOADING=1") {
        seen += &told();
    }
    process.signal(Signal::TERM);
    while !seen.contains("STOPPING=1") {
        seen += &told();
    }
    assert!(process.wait(PATIENCE).success());
}

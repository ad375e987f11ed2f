//! The control socket: who may speak to it, and what becomes of nonsense.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use impaxlink::service::control::{self, ControlError};

use crate::support::env::Env;
use crate::support::service::{PATIENCE, Service, save, set, start, station};

fn connect(service: &Service) -> UnixStream {
    let stream = UnixStream::connect(service.socket()).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

fn ask(stream: &mut UnixStream, line: &str) -> serde_json::Value {
    stream.write_all(line.as_bytes()).unwrap();
    let mut answer = String::new();
    BufReader::new(stream).read_line(&mut answer).unwrap();
    serde_json::from_str(&answer).unwrap()
}

#[test]
fn the_socket_is_beside_the_store_for_its_owner_and_group() {
    let service = Service::start(vec![]);
    assert_eq!(
        service.socket(),
        service
            .env
            .store()
            .canonicalize()
            .unwrap()
            .with_extension("db.sock")
    );
    let mode = service.socket().metadata().unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o660);
}

#[test]
fn nonsense_and_other_versions_are_told_apart_and_several_clients_are_served() {
    let service = Service::start(vec![]);
    let (mut one, mut other) = (connect(&service), connect(&service));
    assert_eq!(ask(&mut one, "hello\n")["failure"], "not_understood");
    assert_eq!(
        ask(&mut other, "{\"version\":99,\"request\":\"ping\"}\n")["failure"],
        "other_version"
    );
    // The line was not the end of the conversation.
    assert_eq!(
        ask(&mut one, "{\"version\":1,\"request\":\"ping\"}\n")["answer"],
        "pong"
    );
    let status = ask(&mut other, "{\"version\":1,\"request\":\"status\"}\n");
    assert_eq!(status["pid"], service.process.id());
}

#[test]
fn a_line_without_end_is_cut_off() {
    let service = Service::start(vec![]);
    let mut stream = connect(&service);
    // The service may hang up before it has read everything.
    let _ = stream.write_all(&vec![b'x'; 1 << 20]);
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    assert!(answer.len() < 1000);
    assert!(control::ping(&service.env.store(), PATIENCE).is_ok());
}

#[test]
fn a_store_with_a_long_path_has_a_service_too() {
    let mut env = Env::new();
    let deep = env.path().join("d".repeat(200)).join("impaxlink.db");
    env.set("IMPAXLINK_STORE", deep.to_str().unwrap());
    std::fs::create_dir(deep.parent().unwrap()).unwrap();
    let run = env.impaxlink(&["config", "set", "listen", "127.0.0.1:0"]);
    run.success();
    let mut process = env.start(&["serve"]);
    process.wait_until("an answer", || control::ping(&deep, PATIENCE).is_ok());
    let answer = env.impaxlink(&["reload", "--json"]).json();
    assert_eq!(answer["generation"], 1);
    let socket = control::socket_path(&deep).unwrap();
    assert!(socket.exists());
    process.signal(rustix::process::Signal::TERM);
    assert!(process.wait(PATIENCE).success());
    assert!(!socket.exists());
}

#[test]
fn without_a_service_the_client_says_so_at_once() {
    let env = Env::new();
    let limit = Duration::from_secs(20);
    let missing = control::status(&env.store(), limit);
    assert!(matches!(missing, Err(ControlError::NotRunning)), "{missing:?}");
    save(&env, |configuration| {
        configuration.stations.push(station("A", 104))
    });
    let stopped = control::reload(&env.store(), limit);
    assert!(matches!(stopped, Err(ControlError::NotRunning)), "{stopped:?}");
    env.impaxlink(&["reload"])
        .fails_with(7, "the service is not running");
    let status = env.impaxlink(&["status", "--json"]);
    status.exits(7);
    let status = status.json();
    assert_eq!(status["running"], false);
    assert_eq!(status["generation_saved"], 1);
    assert_eq!(status["generation_in_force"], serde_json::Value::Null);
}

#[test]
fn a_frozen_service_is_not_waited_for_longer_than_asked() {
    let service = Service::start(vec![]);
    service.process.signal(rustix::process::Signal::STOP);
    let run = service.env.impaxlink(&["reload", "--timeout", "200ms"]);
    service.process.signal(rustix::process::Signal::CONT);
    run.fails_with(5, "did not answer within 0.2 s");
    assert!(control::ping(&service.env.store(), PATIENCE).is_ok());
}

/// Only root can be somebody else.
#[test]
fn a_member_of_the_stores_group_may_reload_and_a_stranger_may_not() {
    const GROUP: u32 = 54_321;
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let env = Env::new();
    let folder = env.store().parent().unwrap().to_owned();
    std::fs::create_dir_all(&folder).unwrap();
    std::os::unix::fs::chown(&folder, None, Some(GROUP)).unwrap();
    std::fs::set_permissions(&folder, PermissionsExt::from_mode(0o2771)).unwrap();
    for path in [env.path(), folder.parent().unwrap()] {
        std::fs::set_permissions(path, PermissionsExt::from_mode(0o755)).unwrap();
    }
    save(&env, |configuration| set(configuration, "listen", "127.0.0.1:0"));
    let _service = start(&env);
    let program = env.path().join("impaxlink");
    std::fs::copy(env!("CARGO_BIN_EXE_impaxlink"), &program).unwrap();
    let reload_with = |group: u32| {
        let mut command = env.command("setpriv");
        command.args(["--reuid=65534", "--regid=65534", &format!("--groups={group}")]);
        command.arg(&program).arg("reload").output().unwrap()
    };
    let member = reload_with(GROUP);
    assert!(member.status.success(), "{member:?}");
    let stranger = reload_with(GROUP + 1);
    assert_eq!(stranger.status.code(), Some(6), "{stranger:?}");
}

#[test]
fn two_services_on_two_stores_do_not_meet() {
    let one = Service::start(vec![]);
    let env = Env::new();
    save(&env, |configuration| {
        set(configuration, "listen", "127.0.0.1:0");
    });
    let other = start(&env);
    assert_eq!(one.status().pid, one.process.id());
    assert_eq!(control::status(&env.store(), PATIENCE).unwrap().pid, other.id());
}

//! Taking a new configuration under load: nothing is dropped, nothing unusable taken, nothing saved forgotten.

use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use impaxlink::dimse::{Error, Status};
use impaxlink::model::{Configuration, Station};
use impaxlink::service::control;
use rustix::process::Signal;

use crate::support::process::{free_port, listens};
use crate::support::service::{self, PATIENCE, Service, associate, block_on, set, station, wait_for};

#[test]
fn reload_and_sighup_bring_what_was_saved_into_force() {
    let service = Service::start(vec![station("OLD", 104)]);
    assert!(!service.echo("NEW", "IMPAXLINK").0);
    service.save(|configuration| configuration.stations.push(station("NEW", 104)));
    assert!(!service.echo("NEW", "IMPAXLINK").0, "saved, and not in force");
    let status = service.env.impaxlink(&["status"]);
    let told = status.success();
    assert!(told.contains("generation 1 in force"), "{told}");
    assert!(
        told.contains("2 saved by tester at ") && told.contains("(CHG1), NOT in force: impaxlink reload"),
        "{told}"
    );

    let reload = service.env.impaxlink(&["reload"]);
    let told = reload.success();
    assert!(told.starts_with("generation 2 in force after 1, "), "{told}");
    assert!(told.contains("station NEW added (NEW@127.0.0.1:104)"), "{told}");
    assert!(told.contains("2 saved by tester at "), "{told}");
    let (answered, log) = service.echo("NEW", "IMPAXLINK");
    assert!(answered, "{log}");
    assert_eq!(
        service.env.impaxlink(&["reload"]).success(),
        "generation 2 in force: unchanged\n"
    );

    service.save(|configuration| {
        configuration
            .stations
            .retain(|station| station.name.as_str() == "NEW")
    });
    service.process.signal(Signal::HUP);
    service.wait_for("generation 3", |status| status.generation == 3);
    assert!(!service.echo("OLD", "IMPAXLINK").0);
}

#[test]
fn reload_as_json_has_the_fields_that_scripts_read() {
    let service = Service::start(vec![]);
    service.save(|configuration| set(configuration, "issuer", "NORTH"));
    let answer = service.env.impaxlink(&["reload", "--json"]).json();
    assert_eq!(answer["schema"], 1);
    assert_eq!(
        (answer["previous"].as_u64(), answer["generation"].as_u64()),
        (Some(1), Some(2))
    );
    assert!(answer["elapsed_ms"].is_u64());
    assert_eq!(answer["changes"][0]["name"], "issuer");
    assert_eq!(answer["saves"][0]["user"], "tester");
}

#[test]
fn an_address_that_is_taken_is_refused_and_the_old_stays() {
    let service = Service::start(vec![station("VIEWER", 104)]);
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    service.save(|configuration| {
        set(configuration, "listen", &address);
        configuration.stations.push(station("NEW", 104));
    });
    let reload = service.env.impaxlink(&["reload"]);
    reload.fails_with(1, &format!("generation 2 cannot listen on {address}: Address"));
    assert!(service.echo("VIEWER", "IMPAXLINK").0);
    assert!(!service.echo("NEW", "IMPAXLINK").0, "all of it was refused");
    let status = service.env.impaxlink(&["status", "--json"]).json();
    assert_eq!(
        (
            status["generation_saved"].as_u64(),
            status["generation_in_force"].as_u64()
        ),
        (Some(2), Some(1))
    );
    assert!(status["reload_refused"].as_str().unwrap().contains(&address));
    drop(taken);
    service.env.impaxlink(&["reload"]).success();
    wait_for("the end of the old address", || !listens(service.port));
    let port = address.rsplit(':').next().unwrap().parse().unwrap();
    assert!(service::echo(port, "NEW", "IMPAXLINK").0);
}

#[test]
fn the_address_changes_without_a_connection_lost() {
    let service = Service::start(vec![station("VIEWER", 104)]);
    let port = service.port;
    block_on(async {
        let mut kept = associate(port, "VIEWER").await.unwrap();
        for address in [format!("0.0.0.0:{port}"), format!("127.0.0.1:{port}")] {
            service.save(|configuration| set(configuration, "listen", &address));
            service.env.impaxlink(&["reload"]).success();
            assert_eq!(service.status().listen.to_string(), address);
            assert_eq!(kept.echo(PATIENCE).await.unwrap(), Status::SUCCESS);
            let mut new = associate(port, "VIEWER").await.unwrap();
            new.release().await.unwrap();
        }
        let elsewhere = free_port();
        service.save(|configuration| set(configuration, "listen", &format!("127.0.0.1:{elsewhere}")));
        service.env.impaxlink(&["reload"]).success();
        assert_eq!(kept.echo(PATIENCE).await.unwrap(), Status::SUCCESS);
        assert!(associate(elsewhere, "VIEWER").await.is_ok());
        wait_for("the end of the old address", || !listens(port));
    });
    // The port is shared for the moment of the change alone.
    assert!(TcpListener::bind(("127.0.0.1", service.status().listen.port())).is_err());
}

#[test]
fn each_of_many_that_save_at_once_finds_its_own_save_in_force() {
    let service = Service::start(vec![]);
    thread::scope(|scope| {
        for writer in 0..8 {
            let service = &service;
            scope.spawn(move || {
                for round in 0..10 {
                    let name = format!("S{writer}-{round}");
                    let saved =
                        service.save(|configuration| configuration.stations.push(station(&name, 104)));
                    let report = control::reload(&service.env.store(), PATIENCE).unwrap();
                    assert!(report.generation >= saved, "{} < {saved}", report.generation);
                }
            });
        }
    });
    assert_eq!(service.status().generation, 81);
}

/// Callers per kind: on one association each, and on a new association for each echo.
const CALLERS: usize = 50;
const RELOADS: usize = 200;

/// A hundred callers without any pause would measure this machine and not the service.
const BETWEEN_ECHOES: Duration = Duration::from_millis(20);

#[test]
fn a_hundred_callers_notice_nothing_of_two_hundred_reloads() {
    let service = Service::start_with(many_stations);
    let port = service.port;
    let done = Arc::new(AtomicBool::new(false));
    let echoes = Arc::new(AtomicUsize::new(0));
    thread::scope(|scope| {
        let callers = scope.spawn({
            let (done, echoes) = (Arc::clone(&done), Arc::clone(&echoes));
            move || block_on(call_until(port, done, echoes))
        });
        let dcmtk = scope.spawn(|| {
            let mut calls = 0;
            while !done.load(Ordering::Relaxed) {
                let (answered, log) = service.echo("CALLER-0", "IMPAXLINK");
                assert!(answered, "{log}");
                calls += 1;
            }
            calls
        });
        // Set also when this panics: the callers would go on for ever.
        let _stop = StopOnDrop(Arc::clone(&done));
        let mut times = reload_many(&service);
        times.sort_unstable();
        done.store(true, Ordering::Relaxed);
        let failures = callers.join().unwrap();
        assert!(failures.is_empty(), "{} failed: {}", failures.len(), failures[0]);
        assert!(dcmtk.join().unwrap() > 0);
        eprintln!(
            "{} echoes, reload median {:?}, p99 {:?}",
            echoes.load(Ordering::Relaxed),
            times[RELOADS / 2],
            times[RELOADS * 99 / 100]
        );
    });
    assert!(echoes.load(Ordering::Relaxed) > 1000);
    assert_eq!(service.status().generation, 1 + RELOADS as u64);
    wait_for("the end of all associations", || {
        service.status().associations == 0
    });
}

struct StopOnDrop(Arc<AtomicBool>);

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

fn many_stations(configuration: &mut Configuration) {
    set(configuration, "limits.associations", "1000");
    let callers = (0..10).map(|number| station(&format!("CALLER-{number}"), 104));
    let others = (0..100).map(|number| station(&format!("S{number}"), 104));
    configuration.stations = callers.chain(others).collect();
}

fn reload_many(service: &Service) -> Vec<Duration> {
    let change = |round: usize| {
        move |configuration: &mut Configuration| {
            for station in configuration.stations.iter_mut().skip(round).step_by(10) {
                station.priority += 1;
            }
        }
    };
    (0..RELOADS)
        .map(|round| {
            let saved = service.save(change(round % 10));
            let began = Instant::now();
            let report = control::reload(&service.env.store(), PATIENCE).unwrap();
            assert_eq!(report.generation, saved);
            assert!(!report.changes.is_empty());
            began.elapsed()
        })
        .collect()
}

/// Calls until `done`; gives what failed.
async fn call_until(port: u16, done: Arc<AtomicBool>, echoes: Arc<AtomicUsize>) -> Vec<String> {
    let mut callers = tokio::task::JoinSet::new();
    for number in 0..2 * CALLERS {
        let (done, echoes) = (Arc::clone(&done), Arc::clone(&echoes));
        let calling = format!("CALLER-{}", number % 10);
        callers.spawn(async move {
            let called = if number < CALLERS {
                call_on_one_association(port, &calling, &done, &echoes).await
            } else {
                call_on_new_associations(port, &calling, &done, &echoes).await
            };
            called.err().map(|error| format!("{calling}: {error}"))
        });
    }
    callers.join_all().await.into_iter().flatten().collect()
}

async fn call_on_one_association(
    port: u16,
    calling: &str,
    done: &AtomicBool,
    echoes: &AtomicUsize,
) -> Result<(), Error> {
    let mut association = associate(port, calling).await?;
    while !done.load(Ordering::Relaxed) {
        assert_eq!(association.echo(PATIENCE).await?, Status::SUCCESS);
        echoes.fetch_add(1, Ordering::Relaxed);
        tokio::time::sleep(BETWEEN_ECHOES).await;
    }
    association.release().await
}

async fn call_on_new_associations(
    port: u16,
    calling: &str,
    done: &AtomicBool,
    echoes: &AtomicUsize,
) -> Result<(), Error> {
    while !done.load(Ordering::Relaxed) {
        let mut association = associate(port, calling).await?;
        assert_eq!(association.echo(PATIENCE).await?, Status::SUCCESS);
        echoes.fetch_add(1, Ordering::Relaxed);
        association.release().await?;
        tokio::time::sleep(BETWEEN_ECHOES).await;
    }
    Ok(())
}

#[test]
fn a_removed_station_keeps_the_association_it_has_and_gets_no_other() {
    let service = Service::start(vec![station("GOING", 104), station("STAYING", 104)]);
    block_on(async {
        let mut kept = service.associate("GOING").await.unwrap();
        service.save(|configuration| {
            configuration
                .stations
                .retain(|station: &Station| station.name.as_str() == "STAYING");
        });
        control::reload(&service.env.store(), PATIENCE).unwrap();
        assert_eq!(kept.echo(PATIENCE).await.unwrap(), Status::SUCCESS);
        assert!(matches!(
            service.associate("GOING").await,
            Err(Error::Rejected(_))
        ));
        assert!(service.associate("STAYING").await.is_ok());
    });
}

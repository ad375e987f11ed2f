//! Whether the archive stations and linked clusters answer: a C-ECHO to each from time to time, kept in the store.
//!
//! Invariant: a few attempts at once, each with its deadlines, whatever number of links is down. When they are due is
//! `schedule`'s.

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use super::{Service, Snapshot, chain, locked};
use crate::dimse::{Error, RequestorOptions, connect, uids};
use crate::link::{calling, tls_failure};
use crate::model::Station;
use crate::store::{LinkOutcome, LinkReport, SharedStore};

/// How many links are tried at once.
const AT_ONCE: usize = 16;

/// Tries links when they are due, until the service drains.
pub(super) async fn watch_links(service: Arc<Service>, store: SharedStore) {
    let mut generation = service.in_force.watch();
    let mut attempts = JoinSet::new();
    locked(&service.links).follow(service.in_force.pin().configuration(), Instant::now());
    loop {
        let next = begin(&service, &mut attempts);
        tokio::select! {
            () = service.drain.cancelled() => return,
            Ok(()) = generation.changed() => {
                locked(&service.links).follow(service.in_force.pin().configuration(), Instant::now());
            }
            Some(ended) = attempts.join_next() => {
                if let Ok((station, outcome)) = ended {
                    end(&service, &store, &station, outcome).await;
                }
            }
            () = sleep_until(next) => {}
        }
    }
}

/// Begins what is due; gives the moment to look again.
fn begin(service: &Service, attempts: &mut JoinSet<(Station, Result<Duration, String>)>) -> Instant {
    let now = Instant::now();
    let room = AT_ONCE.saturating_sub(attempts.len());
    let mut links = locked(&service.links);
    for station in links.begin(now, Timestamp::now(), room) {
        let snapshot = service.in_force.pin();
        attempts.spawn(async move {
            let outcome = echo(&station, &snapshot).await;
            (station, outcome)
        });
    }
    let far = now + Duration::from_secs(3600);
    match links.next() {
        // Without room, the end of an attempt is what is waited for.
        Some(due) if attempts.len() < AT_ONCE => due,
        _ => far,
    }
}

/// Associates, asks for an echo and releases: how long that took until the answer, or why there was none.
async fn echo(station: &Station, snapshot: &Snapshot) -> Result<Duration, String> {
    let settings = snapshot.settings();
    let Some(endpoint) = &station.endpoint else {
        return Err("it has no address".to_owned());
    };
    let calling = calling(station, settings);
    let tls = station.tls.then(|| snapshot.tls().requestor(station)).transpose();
    let options = RequestorOptions {
        tls: tls.map_err(|error| chain(&*error))?,
        tls_timeout: settings.duration("timeout.association"),
        connect_timeout: settings.duration("timeout.connect"),
        associate_timeout: settings.duration("timeout.association"),
        ..RequestorOptions::new(calling, station.ae_title.clone(), &[uids::VERIFICATION])
    };
    let began = Instant::now();
    let answered = async {
        let mut association = connect(endpoint, &options).await?;
        let status = association.echo(station.timeout).await;
        let elapsed = began.elapsed();
        // It has said what we wanted to know.
        let _ = association.release().await;
        status.map(|status| (status, elapsed))
    };
    match answered.await {
        Ok((status, elapsed)) => {
            if !status.is_success() {
                // It is there, and may answer queries all the same: they must not be kept from it.
                tracing::debug!("{} answers C-ECHO with status {status}", station.name);
            }
            Ok(elapsed)
        }
        // It takes associations, and only this service is not offered.
        Err(Error::ContextRefused { .. }) => Ok(began.elapsed()),
        Err(error) => Err(tls_failure(&error, station).unwrap_or_else(|| chain(&error))),
    }
}

async fn end(service: &Service, store: &SharedStore, station: &Station, outcome: Result<Duration, String>) {
    let answered = outcome.is_ok();
    let Some(planned) = locked(&service.links).end(station, answered, Instant::now(), chance()) else {
        return;
    };
    match &outcome {
        Ok(elapsed) if planned.is_news => tracing::info!("{} answers again, {elapsed:.0?}", station.name),
        Ok(_) => {}
        Err(why) if planned.is_news => tracing::warn!("{} does not answer: {why}", station.name),
        Err(why) => tracing::debug!("{} still does not answer: {why}", station.name),
    }
    let at = Timestamp::now();
    let report = LinkReport {
        station: station.name.clone(),
        at,
        outcome: match outcome {
            Ok(latency) => LinkOutcome::Answered {
                latency,
                speaks_linked: None,
                character_sets: None,
            },
            Err(detail) => LinkOutcome::Failed {
                detail,
                next_try: Some(at + planned.wait),
            },
        },
    };
    record(store, vec![report]).await;
}

async fn record(store: &SharedStore, reports: Vec<LinkReport>) {
    let recording = store.with(move |store| store.record_link_health(&reports));
    if let Err(error) = recording.await {
        tracing::warn!("the health of links was not kept: {}", chain(&error));
    }
}

/// Takes what a query has seen of a link: it counts as an attempt, where it is news.
pub(super) fn note(service: &Service, station: &Station, mut report: LinkReport) {
    let answered = matches!(report.outcome, LinkOutcome::Answered { .. });
    let noted = locked(&service.links).note(station, answered, Instant::now(), chance());
    let Some(planned) = noted else {
        let has_learned = matches!(
            report.outcome,
            LinkOutcome::Answered {
                character_sets: Some(_),
                ..
            }
        );
        if has_learned {
            service.records.link(report);
        }
        return;
    };
    if let LinkOutcome::Failed { detail, next_try } = &mut report.outcome {
        *next_try = Some(report.at + planned.wait);
        if planned.is_news {
            tracing::warn!("{} did not answer a query: {detail}", station.name);
        }
    } else if planned.is_news {
        tracing::info!("{} answers again", station.name);
    }
    service.records.link(report);
}

/// From 0 to 1.
fn chance() -> f64 {
    f64::from(RandomState::new().hash_one(0) as u32) / f64::from(u32::MAX)
}

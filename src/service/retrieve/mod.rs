//! C-MOVE and C-GET for all clusters: what a caller may have, from where it is best taken, instance by instance to where
//! it shall go.
//!
//! Invariants: one snapshot holds from the first moment of a retrieve to its last. Who may have what is who may be asked
//! by a query of the caller: a linked cluster gets local studies alone. Each instance is counted once, as completed or
//! failed. Of what passes through no more is held than [`delivery`] holds back. Nothing of a patient reaches the log.
//!
//! - `asked`: what is asked for
//! - `holdings`: who holds it, best first
//! - `destination`: where a C-MOVE goes
//! - `delivery`: objects to there or to the caller, and the counts
//! - `files`, `peers`: objects out of the embedded archive, and from other stations; `requests`: what those are asked, `getting`, `moving`: in which way
//! - `arrivals`: those that a station sends to our listener, as it knows no C-GET

mod arrivals;
mod asked;
mod delivery;
mod destination;
mod files;
mod getting;
mod holdings;
mod moving;
mod peers;
mod requests;

pub(super) use self::arrivals::Arrivals;
pub(super) use self::files::held_syntaxes;

use std::sync::Arc;

use jiff::Timestamp;
use tokio::time::Instant;
use uuid::Uuid;

use self::asked::Asked;
use self::delivery::{Delivery, Sink};
use self::destination::Destination;
use self::holdings::{Found, Holding, StudyHeld};
use super::admission::Calls;
use super::{Service, Snapshot};
use crate::dimse::{RetrieveEnd, RetrieveRequest, RetrieveResponder, RetrieveTo, Status, SubOperations};
use crate::link::keywords;
use crate::model::{LedgerId, Level, QueryLedger, Station, Told};

/// Answers a C-MOVE or C-GET of a caller that was admitted.
pub(super) async fn retrieve(
    service: &Service,
    calls: &Calls,
    request: RetrieveRequest,
    responder: &mut RetrieveResponder<'_>,
) -> RetrieveEnd {
    let (at, began) = (Timestamp::now(), Instant::now());
    let snapshot = service.in_force.pin();
    let station = match calls.station(&snapshot) {
        Ok(station) => station,
        Err(why) => return refused(Status::NOT_AUTHORIZED, &why.to_string()),
    };
    let asked = match Asked::read(&request) {
        Ok(asked) => asked,
        Err(why) => return refused(Status::DOES_NOT_MATCH_SOP_CLASS, why),
    };
    let sink = match &request.to {
        RetrieveTo::Caller => Sink::Caller(station.timeout),
        RetrieveTo::Destination(title) => {
            match Destination::find(service, &snapshot, title, station, calls, &request) {
                Ok(destination) => Sink::Destination(Box::new(destination)),
                Err(why) => {
                    tracing::warn!("retrieve of {} refused: {why}", station.name);
                    return refused(Status::DESTINATION_UNKNOWN, &why);
                }
            }
        }
    };
    let caller = calls.queries_as(station);
    let search = holdings::find(service, &snapshot, station, &caller, &asked);
    let found = tokio::select! {
        biased;
        () = responder.interrupted() => None,
        found = search => Some(found),
    };
    let Some(found) = found else {
        return refused(Status::CANCEL, "");
    };
    let end = deliver(service, &snapshot, station, &asked, &found, sink, responder).await;
    if let Some(asker) = calls.asker() {
        service.records.ledger(QueryLedger {
            id: LedgerId::new(at, Uuid::new_v4().as_fields().0),
            at,
            asker,
            asked_as: caller,
            generation: snapshot.generation(),
            level: Level::Image,
            keywords: keywords(&asked.query()),
            complete: found.is_complete() && end.status.is_success(),
            entries: found.ledger.into_iter().map(|(_, entry)| entry).collect(),
            told: Told {
                status: end.status.0,
                matches: end.sub_operations.completed.unwrap_or_default().into(),
            },
            elapsed: began.elapsed(),
        });
    }
    end
}

fn refused(status: Status, why: &str) -> RetrieveEnd {
    RetrieveEnd {
        status,
        comment: (!why.is_empty()).then(|| why.to_owned()),
        sub_operations: SubOperations::default(),
        failed_instances: Vec::new(),
    }
}

/// Delivers what was found, and says what came of it.
async fn deliver(
    service: &Service,
    snapshot: &Arc<Snapshot>,
    station: &Station,
    asked: &Asked,
    found: &Found,
    sink: Sink<'_>,
    responder: &mut RetrieveResponder<'_>,
) -> RetrieveEnd {
    if found.studies.is_empty() && (!found.is_complete() || found.conflicts > 0) {
        let comment = found.remark();
        tracing::warn!("retrieve of {} failed: {comment}", station.name);
        let status = match found.conflicts {
            0 => Status::CANNOT_COUNT,
            _ => Status::UNABLE_TO_PROCESS,
        };
        return refused(status, &comment);
    }
    let wanted = found.studies.iter().flat_map(|study| &study.wanted);
    let wanted = wanted.cloned().collect();
    let expected = found.studies.iter().map(|study| study.expected).sum();
    let mut delivery = Delivery::new(responder, sink, wanted, expected);
    'studies: for study in &found.studies {
        for holding in &study.sources {
            if delivery.is_over() || !delivery.lacks(study, holding) {
                continue 'studies;
            }
            let source = Source {
                service,
                snapshot,
                asked,
                study,
                holding,
            };
            source.deliver(&mut delivery).await;
        }
    }
    let end = delivery.end(found.remark()).await;
    let counts = end.sub_operations;
    let [completed, failed] = [counts.completed, counts.failed].map(Option::unwrap_or_default);
    let name = &station.name;
    if end.status.is_success() {
        tracing::info!("retrieve of {name}: {completed} instances");
    } else {
        tracing::warn!(
            "retrieve of {name} ended with {}: {completed} instances, {failed} failed",
            end.status
        );
    }
    end
}

/// One station that holds something of a study.
struct Source<'a> {
    service: &'a Service,
    snapshot: &'a Arc<Snapshot>,
    asked: &'a Asked,
    study: &'a StudyHeld,
    holding: &'a Holding,
}

impl Source<'_> {
    async fn deliver(&self, delivery: &mut Delivery<'_, '_>) {
        let Some(station) = self.snapshot.configuration().stations.get(self.holding.station) else {
            return;
        };
        match station.is_embedded() {
            true => files::deliver(self, delivery).await,
            false => peers::deliver(self, station, delivery).await,
        }
    }
}

//! C-MOVE and C-GET for all clusters: what a caller may have, from where it is best taken, instance by instance to where
//! it shall go. How it travels is the room `retrieve`'s.
//!
//! Invariants: one snapshot holds from the first moment of a retrieve to its last. Who may have what is who may be asked
//! by a query of the caller: a linked cluster gets local studies alone. Each instance is counted once, as completed or
//! failed. Nothing of a patient reaches the log.
//!
//! - `identifier`: what is asked for
//! - `search`: who holds it, best first
//! - `destination`: where a C-MOVE goes

mod destination;
mod identifier;
mod search;

use std::collections::HashMap;
use std::sync::Arc;

use jiff::Timestamp;
use tokio::time::Instant;
use uuid::Uuid;

use self::identifier::RetrieveKeys;
use self::search::{Found, StudyHeld};
use super::admission::Calls;
use super::{Service, Snapshot};
use crate::dimse::{RetrieveEnd, RetrieveRequest, RetrieveResponder, RetrieveTo, Status, SubOperations};
use crate::link::completeness::Completeness;
use crate::link::keywords;
use crate::link::policy::Role;
use crate::model::{LedgerEntry, LedgerId, Level, Outcome, QueryLedger, Station, Told, Uid};
use crate::retrieve::{Client, Copy, Gate, Resources, Scope, Sink, Source, Transfer};

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
    let keys = match RetrieveKeys::read(&request) {
        Ok(keys) => keys,
        Err(why) => return refused(Status::DOES_NOT_MATCH_SOP_CLASS, why),
    };
    let resources = resources(service, &snapshot);
    let sink = match &request.to {
        RetrieveTo::Caller => Sink::Caller(station.timeout),
        RetrieveTo::Destination(title) => {
            match destination::sink(&resources, &snapshot, title, station, calls, &request) {
                Ok(sink) => sink,
                Err(why) => {
                    tracing::warn!("retrieve of {} refused: {why}", station.name);
                    return refused(Status::DESTINATION_UNKNOWN, &why);
                }
            }
        }
    };
    let caller = calls.queries_as(station);
    let search = search::find(service, &snapshot, station, &caller, &keys);
    let found = tokio::select! {
        biased;
        () = responder.interrupted() => None,
        found = search => Some(found),
    };
    let Some(mut found) = found else {
        return refused(Status::CANCEL, "");
    };
    let studies = std::mem::take(&mut found.studies);
    let mut delivery = Delivery {
        service,
        snapshot: &snapshot,
        resources: &resources,
        station,
        keys: &keys,
        studies: &studies,
        found: &mut found,
    };
    let (end, not_accepted) = delivery.run(sink, responder).await;
    if let Some(asker) = calls.asker() {
        service.records.ledger(QueryLedger {
            id: LedgerId::new(at, Uuid::new_v4().as_fields().0),
            at,
            asker,
            asked_as: caller,
            generation: snapshot.generation(),
            level: Level::Image,
            keywords: keywords(&keys.query()),
            complete: !found.lacks_a_site() && end.status.is_success(),
            entries: entries(&snapshot, found.ledger, not_accepted),
            told: Told {
                status: end.status.0,
                matches: end.sub_operations.completed.unwrap_or_default().into(),
            },
            elapsed: began.elapsed(),
        });
    }
    end
}

/// What is recorded of the stations; `not_accepted` is why the destination accepts not all that the embedded archive has.
fn entries(
    snapshot: &Snapshot,
    ledger: Vec<(Role, LedgerEntry)>,
    not_accepted: Option<&str>,
) -> Vec<LedgerEntry> {
    let stations = &snapshot.configuration().stations;
    let embedded = stations.iter().find(|station| station.is_embedded());
    let mut entries: Vec<LedgerEntry> = ledger.into_iter().map(|(_, entry)| entry).collect();
    for entry in &mut entries {
        if let (Some(reason), Some(embedded)) = (not_accepted, embedded)
            && entry.station == embedded.name
        {
            entry.outcome = Outcome::Failed;
            entry.detail = Some(reason.to_owned());
        }
    }
    entries
}

fn refused(status: Status, why: &str) -> RetrieveEnd {
    RetrieveEnd {
        status,
        comment: (!why.is_empty()).then(|| why.to_owned()),
        sub_operations: SubOperations::default(),
        failed_instances: Vec::new(),
    }
}

/// What a retrieve for a caller needs besides what it is asked.
fn resources(service: &Service, snapshot: &Snapshot) -> Resources {
    Resources {
        configuration: Arc::clone(snapshot.configuration()),
        cross_reference: service.known_patients.pin(),
        tls: snapshot.tls().clone(),
        archive: service.archive.clone(),
        turns: Some(Arc::clone(&service.turns)),
        retrieve_turns: Some(Arc::clone(&service.retrieve_turns)),
        destination_turns: Some(Arc::clone(&service.destination_turns)),
        arrivals: Some(Arc::clone(&service.arrivals)),
    }
}

/// What was found for a caller, on its way to where it shall go.
struct Delivery<'a> {
    service: &'a Service,
    snapshot: &'a Snapshot,
    resources: &'a Resources,
    station: &'a Station,
    keys: &'a RetrieveKeys,
    studies: &'a [StudyHeld],
    found: &'a mut Found,
}

impl Delivery<'_> {
    /// Delivers what was found, and says what came of it, and why objects of the embedded archive were not accepted.
    async fn run(
        &mut self,
        sink: Sink<'_>,
        responder: &mut RetrieveResponder<'_>,
    ) -> (RetrieveEnd, Option<&'static str>) {
        let (studies, found, name) = (self.studies, &self.found, &self.station.name);
        if studies.is_empty() && (found.lacks_a_site() || found.conflicts > 0) {
            let comment = found.remark();
            tracing::warn!("retrieve of {name} failed: {comment}");
            let status = match found.conflicts {
                0 => Status::CANNOT_COUNT,
                _ => Status::UNABLE_TO_PROCESS,
            };
            return (refused(status, &comment), None);
        }
        let wanted = studies.iter().flat_map(|study| &study.wanted).cloned();
        let expected = studies.iter().map(|study| study.expected).sum();
        let mut transfer = Transfer::new(self.resources, Client::Caller(responder), sink);
        transfer.want(wanted, expected);
        let scope = self.keys.scope();
        'studies: for study in studies {
            for copy in &study.copies {
                if transfer.is_over() || !transfer.lacks(copy) {
                    continue 'studies;
                }
                self.transfer(study, copy, &scope, &mut transfer).await;
            }
        }
        let not_accepted = transfer.not_accepted();
        let end = self.end(transfer).await;
        let counts = end.sub_operations;
        let [completed, failed] = [counts.completed, counts.failed].map(Option::unwrap_or_default);
        if end.status.is_success() {
            tracing::info!("retrieve of {name}: {completed} instances");
        } else {
            tracing::warn!(
                "retrieve of {name} ended with {}: {completed} instances, {failed} failed",
                end.status
            );
        }
        (end, not_accepted)
    }

    async fn transfer(
        &mut self,
        study: &StudyHeld,
        copy: &Copy,
        scope: &Scope,
        transfer: &mut Transfer<'_, '_>,
    ) {
        let Some(station) = self.snapshot.configuration().stations.get(copy.station) else {
            return;
        };
        if station.is_embedded() {
            self.service.records.in_use(&study.uid);
        }
        let source = Source {
            resources: self.resources,
            station,
            study: &study.uid,
            copy,
            scope,
            series: self.keys.series.first(),
            gate: Gate::new(
                study.uid.clone(),
                &copy.patient_id,
                Arc::clone(&copy.instances),
                Arc::clone(&self.resources.cross_reference),
            ),
            // Others may be at long retrieves themselves: the caller alone decides how long it waits.
            turn_within: None,
        };
        let attempt = source.transfer(transfer).await;
        if attempt.says_partial {
            self.found.note_partial(&station.name);
        }
        if let Some(detail) = attempt.detail {
            tracing::warn!("{} as a source: {detail}", station.name);
        }
        if let Some(hint) = attempt.hint {
            tracing::warn!("{} as a source: {hint}", station.name);
        }
    }

    /// Closes what is open, counts what never came as failed, and says how all ended.
    async fn end(&self, mut transfer: Transfer<'_, '_>) -> RetrieveEnd {
        transfer.close().await;
        let is_cancelled = transfer.is_cancelled();
        let failed_instances = transfer.fail_the_rest(is_cancelled);
        let counts = transfer.sub_operations();
        let [completed, failed, warned] =
            [counts.completed, counts.failed, counts.warning].map(Option::unwrap_or_default);
        let status = match (completed + warned, warned + failed) {
            _ if is_cancelled => Status::CANCEL,
            // Whatever linked clusters gave: nobody knows what the local cluster has of it.
            (_, 0) if self.found.completeness() == Completeness::Failed => Status::UNABLE_TO_PROCESS,
            (_, 0) => Status::SUCCESS,
            (0, _) => Status::CANNOT_PERFORM,
            _ => Status::WARNING,
        };
        let remark = transfer.refusals().unwrap_or_else(|| self.found.remark());
        RetrieveEnd {
            status,
            comment: (!remark.is_empty()).then_some(remark),
            sub_operations: counts,
            failed_instances,
        }
    }
}

/// In which transfer syntaxes objects of the embedded archive are to be had, by SOP class; nothing where there is none.
pub(super) async fn held_syntaxes(service: &Service) -> HashMap<Uid, Vec<Uid>> {
    let snapshot = service.in_force.pin();
    let mut stations = snapshot.configuration().stations.iter();
    if !stations.any(Station::is_embedded) {
        return HashMap::new();
    }
    let archive = service.archive.clone();
    let listed = tokio::task::spawn_blocking(move || archive.open(snapshot.settings())?.usual_syntaxes());
    let mut held: HashMap<Uid, Vec<Uid>> = HashMap::new();
    // Without it the caller's first choice is taken.
    for (class, syntax) in listed.await.ok().and_then(Result::ok).unwrap_or_default() {
        if let (Ok(class), Ok(syntax)) = (class.parse(), syntax.parse()) {
            held.entry(class).or_default().push(syntax);
        }
    }
    held
}

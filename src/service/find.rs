//! C-FIND for all clusters: a caller's identifier as a linked query, its matches as they come, its end in one status.
//!
//! Invariants: one snapshot holds from the first moment of a query to its last, and says who the caller is. Each study
//! is given once, at first sight; what is kept of it is a hash. Nothing of the query or its answers reaches the log.
//!
//! - `identifier`: what is asked
//! - `linked`: what a linked caller learns besides
//! - `rows`: what is given
//! - `answer`: the query under way; `given`, `withheld`: what of it was given, and is not
//! - `open_questions`: our own question, when it comes back
//! - `closing`: what it ends with

mod answer;
mod closing;
mod given;
mod identifier;
mod linked;
mod open_questions;
mod rows;
mod withheld;

use std::collections::BTreeMap;
use std::sync::Arc;

use dicom_dictionary_std::tags;
use jiff::Timestamp;
use tokio::time::Instant;
use uuid::Uuid;

use self::answer::Answering;
pub(super) use self::closing::missing;
use self::identifier::Asked;
pub(super) use self::open_questions::OpenQuestions;
use self::open_questions::forward_to_nobody;
use super::admission::Calls;
use super::{Service, Snapshot, locked};
use crate::dimse::{FindEnd, FindRequest, FindResponder, Status, uids};
use crate::link::policy::{Narrowing, Target, plan};
use crate::link::visibility::Visibility;
use crate::link::{LinkedQuery, Request, keywords};
use crate::model::{CrossReference, LedgerId, Query, QueryLedger, Station, StationName, Told};
use crate::store::LinkHealth;

/// Answers a C-FIND of a caller that was admitted.
pub(super) async fn find(
    service: &Service,
    calls: &Calls,
    request: FindRequest,
    responder: FindResponder,
) -> FindEnd {
    let (at, began) = (Timestamp::now(), Instant::now());
    let snapshot = service.in_force.pin();
    let station = match calls.station(&snapshot) {
        Ok(station) => station,
        Err(why) => return refused(Status::NOT_AUTHORIZED, &why.to_string()),
    };
    let is_linked = request.context.abstract_syntax == uids::LINKED_CLUSTER_QUERY;
    if is_linked && !station.is_linked() {
        return refused(Status::NOT_AUTHORIZED, "cluster linking is off for this station");
    }
    if is_linked && linked::asks_for_cluster(&request.identifier) {
        return linked::tell_of_cluster(service, &snapshot, &request, &responder).await;
    }
    let asked = match Asked::read(&request.context, &request.identifier, station.charset.as_ref()) {
        Ok(asked) => asked,
        Err(end) => {
            tracing::info!("query of {} refused: {}", station.name, end.status);
            return end;
        }
    };
    let caller = calls.queries_as(station);
    let known = service.known_patients.pin();
    let asks_for_issuer = asked.asks_for(tags::ISSUER_OF_PATIENT_ID);
    let local = snapshot.settings().issuer();
    let visibility = Visibility::of(&asked.query, station, asks_for_issuer, local, &known);
    let mut query = asked.query.clone();
    query.meant_issuers = visibility.issuers().to_vec();
    let narrowing = Narrowing::default();
    let mut targets = plan(snapshot.configuration(), &caller, &query, &narrowing, at);
    let open = &service.open_questions;
    if open
        .is_own(&asked.query, station, calls, &service.host_names)
        .await
    {
        tracing::warn!(
            "query of {} is our own, put to us again: answered by the local cluster alone",
            station.name
        );
        forward_to_nobody(&mut targets);
    }
    let _open = open.open(&asked.query, snapshot.configuration(), &targets);
    let answering = Answering::new(
        service, &snapshot, station, visibility, &asked, &targets, &request,
    );
    query.returned = answering.returned();
    let linked = LinkedQuery::start(link_request(service, &snapshot, query, known, targets.clone()));
    let answered = answering.run(linked, &request.cancelled, &responder).await;
    if let Some(asker) = calls.asker() {
        service.records.ledger(QueryLedger {
            id: LedgerId::new(at, Uuid::new_v4().as_fields().0),
            at,
            asker,
            asked_as: caller,
            generation: snapshot.generation(),
            level: asked.query.level,
            keywords: keywords(&asked.query),
            entries: answered.entries,
            complete: answered.complete,
            told: Told {
                status: answered.end.status.0,
                matches: answered.given,
            },
            elapsed: began.elapsed(),
        });
    }
    answered.end
}

fn refused(status: Status, why: &str) -> FindEnd {
    FindEnd {
        status,
        comment: Some(why.to_owned()),
        offending_elements: Vec::new(),
    }
}

pub(super) fn link_request(
    service: &Service,
    snapshot: &Snapshot,
    query: Query,
    cross_reference: Arc<CrossReference>,
    targets: Vec<Target>,
) -> Request {
    let (health, resting) = failing_links(service);
    Request {
        configuration: Arc::clone(snapshot.configuration()),
        query: Arc::new(query),
        cross_reference,
        targets,
        tls: snapshot.tls().clone(),
        archive: service.archive.clone(),
        states: Some(service.states.clone()),
        health,
        timeout: None,
        resting,
        turns: Some(Arc::clone(&service.turns)),
    }
}

/// The links that keep failing, and until when those rest.
pub(super) fn failing_links(
    service: &Service,
) -> (
    BTreeMap<StationName, LinkHealth>,
    BTreeMap<StationName, Timestamp>,
) {
    let (mut health, mut resting) = (BTreeMap::new(), BTreeMap::new());
    let now = Timestamp::now();
    for (name, failures_in_a_row, wait) in locked(&service.links).failing(Instant::now()) {
        let known = LinkHealth {
            failures_in_a_row,
            ..LinkHealth::default()
        };
        health.insert(name.clone(), known);
        resting.extend(wait.map(|wait| (name.clone(), now + wait)));
    }
    (health, resting)
}

/// The station of a target.
fn station_of<'s>(snapshot: &'s Snapshot, target: &Target) -> Option<&'s Station> {
    snapshot.configuration().stations.get(target.station)
}

//! Objects from another station: by a C-GET there, or, where it knows none, by a C-MOVE to ourselves.
//!
//! Invariants: a station is proposed only such objects as are taken where they go, so that nothing has to be encoded
//! anew. It is held over a turn of its own kind and one of all: long retrieves leave room for queries. Where objects
//! go has turns of its own, taken before, so that no two retrieves wait for each other.

use std::time::Duration;

use tokio::time::timeout;

use super::delivery::Delivery;
use super::requests::{kinds, requests};
use super::{Source, getting, moving};
use crate::dimse::{
    Association, Context, DataSet, Error, ObjectFlow, PresentationContext, ProposedObjects, connect, uids,
};
use crate::link::{Turn, association_failure, calling, requestor_options};
use crate::model::{ASSOCIATIONS_TO_STATION, Station};
use crate::retrieve::ObjectKind;

/// How long a source may take to end after a C-CANCEL.
pub(super) const CANCEL_WITHIN: Duration = Duration::from_secs(2);

/// An association with a source.
struct Line {
    association: Association,
    context: Context,
    _turns: [Option<Turn>; 2],
}

/// Delivers what a station has of the study.
pub(super) async fn deliver(source: &Source<'_>, station: &Station, delivery: &mut Delivery<'_, '_>) {
    delivery.ahead = kinds(source);
    let kinds = delivery.takes(delivery.ahead.clone()).await;
    if kinds.is_empty() || delivery.is_over() {
        return;
    }
    let opened = tokio::select! {
        biased;
        () = delivery.responder.interrupted() => return,
        opened = open(source, station, kinds) => opened,
    };
    let delivered = match opened {
        Ok(line) => line.deliver(source, station, delivery).await,
        Err(why) => Err(why),
    };
    if let Err(why) = delivered {
        tracing::warn!("{} as a source: {why}", station.name);
    }
}

impl Line {
    async fn deliver(
        mut self,
        source: &Source<'_>,
        station: &Station,
        delivery: &mut Delivery<'_, '_>,
    ) -> Result<(), String> {
        let is_by_move = self.context.abstract_syntax == uids::STUDY_ROOT_MOVE;
        for request in requests(source, delivery, is_by_move) {
            let identifier = request.identifier(&source.study.uid, None, self.context.transfer_syntax);
            let identifier = identifier.map_err(|error| error.to_string())?;
            let is_there_more = self.put(&identifier, source, station, delivery).await;
            if !is_there_more.map_err(|error| tell(&error, source, station))? {
                self.association.abort().await;
                return Ok(());
            }
        }
        // All that it sent is answered.
        let _ = self.association.release().await;
        Ok(())
    }

    async fn put(
        &mut self,
        identifier: &DataSet,
        source: &Source<'_>,
        station: &Station,
        delivery: &mut Delivery<'_, '_>,
    ) -> Result<bool, Error> {
        let (association, context) = (&mut self.association, &self.context);
        match context.abstract_syntax.as_str() {
            uids::STUDY_ROOT_GET => {
                getting::pass(association, context, identifier, source, station, delivery).await
            }
            _ => moving::pass(association, context, identifier, source, station, delivery).await,
        }
    }
}

async fn open(source: &Source<'_>, station: &Station, kinds: Vec<ObjectKind>) -> Result<Line, String> {
    let (snapshot, settings) = (source.snapshot, source.snapshot.settings());
    let endpoint = station.endpoint.as_ref().ok_or("it has no address")?;
    let services = [uids::STUDY_ROOT_GET, uids::STUDY_ROOT_MOVE];
    let contexts = services.map(PresentationContext::new).to_vec();
    let options = requestor_options(station, settings, snapshot.tls(), contexts);
    let mut options = options.map_err(|why| why.to_string())?;
    let objects = kinds
        .into_iter()
        .map(|(class, syntax)| ProposedObjects::new(class, syntax, ObjectFlow::Received));
    options.objects = objects.collect();
    let limit = settings.count(ASSOCIATIONS_TO_STATION);
    let turns = async {
        let service = source.service;
        let of_retrieves = service
            .retrieve_turns
            .wait(&station.name, limit.div_ceil(2))
            .await;
        [of_retrieves, service.turns.wait(&station.name, limit).await]
    };
    // Others may be at long retrieves themselves: the caller alone decides how long it waits.
    let turns = turns.await;
    let association = connect(endpoint, &options).await;
    let mut association = association.map_err(|error| tell(&error, source, station))?;
    let sends_objects = !association.object_contexts().is_empty();
    let get = association
        .context_for(uids::STUDY_ROOT_GET)
        .ok()
        .filter(|_| sends_objects);
    let context = get
        .map_or_else(|| association.context_for(uids::STUDY_ROOT_MOVE), Ok)
        .cloned();
    match context {
        Ok(context) => Ok(Line {
            association,
            context,
            _turns: turns,
        }),
        Err(error) => {
            // It is the refusal that is told.
            let _ = timeout(CANCEL_WITHIN, association.release()).await;
            Err(tell(&error, source, station))
        }
    }
}

fn tell(error: &Error, source: &Source<'_>, station: &Station) -> String {
    association_failure(error, station, &calling(station, source.snapshot.settings()))
}

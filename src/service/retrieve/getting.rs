//! Objects by a C-GET at a source, each passed on while it comes.
//!
//! Invariant: the source has its answer to an object as soon as the object is here: what becomes of it then is not the
//! source's.

use std::time::Duration;

use tokio::time::timeout;

use super::Source;
use super::delivery::{Announced, Delivery, Pieces, SourceBroke};
use super::peers::CANCEL_WITHIN;
use crate::dimse::{Association, Context, DataSet, Error, Get, GetEvent, GotObject, Status};
use crate::model::Station;

/// Puts one request to the source, and passes on what comes; false where nothing more is to come.
pub(super) async fn pass(
    association: &mut Association,
    context: &Context,
    identifier: &DataSet,
    source: &Source<'_>,
    station: &Station,
    delivery: &mut Delivery<'_, '_>,
) -> Result<bool, Error> {
    let mut get = association.get(context, identifier).await?;
    let silence = station.timeout;
    loop {
        if delivery.is_over() {
            // Whatever it says to that, it is not asked again.
            let _ = timeout(CANCEL_WITHIN, cancel(&mut get)).await;
            return Ok(false);
        }
        let event = tokio::select! {
            biased;
            () = delivery.responder.interrupted() => continue,
            event = get.next(silence) => event?,
        };
        match event {
            GetEvent::Object(object) => {
                if !source.holding.is_whole {
                    delivery.expect(&object.announced.sop_instance_uid);
                }
                pass_object(object, silence, delivery).await?;
            }
            GetEvent::Progress(_) => {}
            GetEvent::Done(end) => {
                if !end.status.is_success() {
                    tracing::warn!("{} as a source: ended with {}", station.name, end.status);
                }
                return Ok(true);
            }
        }
    }
}

async fn cancel(get: &mut Get<'_>) -> Result<(), Error> {
    get.cancel().await?;
    while !matches!(get.next(CANCEL_WITHIN).await?, GetEvent::Done(_)) {}
    Ok(())
}

async fn pass_object(
    object: GotObject<'_>,
    silence: Duration,
    delivery: &mut Delivery<'_, '_>,
) -> Result<(), Error> {
    let announced = Announced {
        kind: (
            object.announced.context.sop_class_uid.clone(),
            object.announced.context.transfer_syntax_uid.clone(),
        ),
        instance: object.announced.sop_instance_uid.clone(),
    };
    let mut coming = Coming {
        object: Some(object),
        silence,
        failed: None,
    };
    if delivery.wants(&announced.instance) {
        // What broke is said by the error below.
        let _ = delivery.deliver(&announced, &mut coming).await;
    }
    if let Some(object) = coming.object.take().filter(|_| coming.failed.is_none()) {
        object.answer(Status::SUCCESS, silence).await?;
    }
    coming.failed.map_or(Ok(()), Err)
}

/// An object while it comes. Answered when its last bytes are here.
struct Coming<'g> {
    object: Option<GotObject<'g>>,
    silence: Duration,
    failed: Option<Error>,
}

impl Pieces for Coming<'_> {
    async fn next(&mut self) -> Result<Option<Vec<u8>>, SourceBroke> {
        let Some(object) = &mut self.object else {
            return Ok(None);
        };
        let next = match object.next(self.silence).await {
            Ok(None) => match self.object.take() {
                Some(object) => object.answer(Status::SUCCESS, self.silence).await.map(|()| None),
                None => Ok(None),
            },
            next => next,
        };
        next.map_err(|error| {
            self.failed = Some(error);
            SourceBroke
        })
    }
}

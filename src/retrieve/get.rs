//! C-GET at a source: each object is passed on while it comes.
//!
//! Invariant: the source is answered with success only where the object has been taken.

use std::time::Duration;

use tokio::time::timeout;

use super::object::{ObjectHeader, ObjectStream, SourceBroke};
use super::peer::Source;
use super::transfer::Transfer;
use crate::dimse::{Association, Context, DataSet, Error, Get, GetEvent, GotObject, RetrieveEnd, Status};
use crate::link::CANCEL_WITHIN;

/// Puts one request to the source and passes on what comes; `None` where the retrieve was over before the response.
pub(super) async fn get(
    association: &mut Association,
    context: &Context,
    identifier: &DataSet,
    source: &Source<'_>,
    transfer: &mut Transfer<'_, '_>,
) -> Result<Option<RetrieveEnd>, Error> {
    let mut get = association.get(context, identifier).await?;
    let silence = source.station.timeout;
    loop {
        if transfer.is_over() {
            // Whatever it says to that, it is not asked again.
            let _ = timeout(CANCEL_WITHIN, cancel(&mut get)).await;
            return Ok(None);
        }
        let event = tokio::select! {
            biased;
            () = transfer.interrupted() => continue,
            event = get.next(silence) => event?,
        };
        match event {
            GetEvent::Object(object) => pass(object, silence, source, transfer).await?,
            GetEvent::Progress(_) => {}
            GetEvent::Done(end) => return Ok(Some(end)),
        }
    }
}

async fn cancel(get: &mut Get<'_>) -> Result<(), Error> {
    get.cancel().await?;
    while !matches!(get.next(CANCEL_WITHIN).await?, GetEvent::Done(_)) {}
    Ok(())
}

async fn pass(
    object: GotObject<'_>,
    silence: Duration,
    source: &Source<'_>,
    transfer: &mut Transfer<'_, '_>,
) -> Result<(), Error> {
    let header = ObjectHeader {
        kind: (
            object.announced.context.sop_class_uid.clone(),
            object.announced.context.transfer_syntax_uid.clone(),
        ),
        instance: object.announced.sop_instance_uid.clone(),
    };
    if !transfer.accepts(&header.instance, source.copy) {
        transfer.not_taken = Some("it sent objects that were not asked for".to_owned());
        return object.answer(Status::NOT_AUTHORIZED, silence).await;
    }
    let mut stream = GotStream {
        object,
        silence,
        failed: None,
    };
    let received = transfer.receive(&header, &mut stream, &source.gate).await;
    match (received, stream.failed) {
        (_, Some(error)) => Err(error),
        (Ok(status), None) => stream.object.answer(status, silence).await,
        (Err(SourceBroke), None) => Err(Error::Ended),
    }
}

/// An object while it comes.
struct GotStream<'g> {
    object: GotObject<'g>,
    silence: Duration,
    failed: Option<Error>,
}

impl ObjectStream for GotStream<'_> {
    async fn next(&mut self) -> Result<Option<Vec<u8>>, SourceBroke> {
        self.object.next(self.silence).await.map_err(|error| {
            self.failed = Some(error);
            SourceBroke
        })
    }
}

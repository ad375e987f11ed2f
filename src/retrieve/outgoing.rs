//! An object that is sent by C-STORE, to a station or to the caller of a C-GET.
//!
//! Invariant: an object that breaks before its end is never finished.

use std::time::Duration;

use super::object::{CheckedObject, ObjectStream, SourceBroke};
use crate::dimse::{CallerGone, Error, Status, Store, StoreToCaller};

/// A C-STORE under way, to a station or to a caller.
pub(super) trait OutgoingObject {
    type Lost;
    async fn send(&mut self, bytes: &[u8]) -> Result<(), Self::Lost>;
    async fn finish(self, within: Duration) -> Result<Status, Self::Lost>;
}

impl OutgoingObject for Store<'_> {
    type Lost = Error;
    async fn send(&mut self, bytes: &[u8]) -> Result<(), Error> {
        Store::send(self, bytes).await
    }
    async fn finish(self, within: Duration) -> Result<Status, Error> {
        Store::finish(self, within).await
    }
}

impl OutgoingObject for StoreToCaller<'_> {
    type Lost = CallerGone;
    async fn send(&mut self, bytes: &[u8]) -> Result<(), CallerGone> {
        StoreToCaller::send(self, bytes).await
    }
    async fn finish(self, within: Duration) -> Result<Status, CallerGone> {
        StoreToCaller::finish(self, within).await
    }
}

/// Sends an object to its end; the status that it is answered with, and how many bytes it has.
pub(super) async fn send_all<O: OutgoingObject, E: From<O::Lost> + From<SourceBroke>, S: ObjectStream>(
    mut outgoing: O,
    mut object: CheckedObject<'_, S>,
    patience: Duration,
) -> Result<(Status, u64), E> {
    let mut length = 0;
    while let Some(bytes) = object.next().await? {
        length += bytes.len() as u64;
        outgoing.send(&bytes).await?;
    }
    Ok((outgoing.finish(patience).await?, length))
}

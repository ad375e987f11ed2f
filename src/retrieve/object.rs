//! Objects on their way: what announces them, their bytes piece by piece, and the check that comes before a sink sees them.
//!
//! Invariant: of an object no more is in memory than [`MAX_HEAD`] bytes, and as a rule no more than a sink wants held back.

use std::collections::VecDeque;

use super::{Gate, ObjectKind, Refusal};
use crate::archive::HeadReader;
use crate::dimse::Status;
use crate::model::Uid;

/// So many bytes are looked through for what an object is and whose.
const MAX_HEAD: usize = 8 * 1024 * 1024;

/// An object as it is announced.
#[derive(Debug, Clone)]
pub(super) struct ObjectHeader {
    pub(super) kind: ObjectKind,
    pub(super) instance: Uid,
}

/// The data set of an object, piece by piece.
pub(super) trait ObjectStream {
    /// The next bytes; `None` after the last.
    async fn next(&mut self) -> Result<Option<Vec<u8>>, SourceBroke>;
}

/// The rest of an object will not come.
#[derive(Debug)]
pub(super) struct SourceBroke;

/// An object that has been looked at, to be read from its beginning.
pub(super) struct CheckedObject<'s, S> {
    held: VecDeque<Vec<u8>>,
    /// `None` where all of it is held.
    rest: Option<&'s mut S>,
    /// Why it must not pass.
    pub(super) refusal: Option<Refusal>,
}

/// Reads an object until the gate can say whether it passes, and until it is whole or `hold_back` bytes of it are here.
pub(super) async fn check<'s, S: ObjectStream>(
    header: &ObjectHeader,
    stream: &'s mut S,
    gate: &Gate,
    hold_back: usize,
) -> Result<CheckedObject<'s, S>, SourceBroke> {
    let (class, syntax) = &header.kind;
    let mut reader = Some(HeadReader::new(syntax.as_str()));
    let mut checked = CheckedObject {
        held: VecDeque::new(),
        rest: Some(stream),
        refusal: None,
    };
    let mut length = 0;
    while let Some(rest) = &mut checked.rest {
        let is_identified = reader.is_none();
        if is_identified && (length >= hold_back || checked.refusal.is_some()) {
            break;
        }
        let bytes = rest.next().await?;
        let identity = match (&bytes, reader.take()) {
            (_, None) => None,
            (None, Some(reader)) => Some(reader.finish()),
            (Some(bytes), Some(mut running)) => match running.feed(bytes) {
                Ok(None) => {
                    reader = Some(running);
                    None
                }
                Ok(Some(identity)) => Some(Ok(identity)),
                Err(error) => Some(Err(error)),
            },
        };
        match bytes {
            Some(bytes) => {
                length += bytes.len();
                checked.held.push_back(bytes);
            }
            None => checked.rest = None,
        }
        checked.refusal = match identity {
            Some(Ok(identity)) => gate
                .check((class, &header.instance), &identity)
                .err()
                .map(Refusal::NotAsListed),
            Some(Err(_)) => Some(Refusal::Unidentified),
            None if length > MAX_HEAD && reader.take().is_some() => Some(Refusal::Unidentified),
            None => checked.refusal,
        };
    }
    Ok(checked)
}

impl<S: ObjectStream> ObjectStream for CheckedObject<'_, S> {
    async fn next(&mut self) -> Result<Option<Vec<u8>>, SourceBroke> {
        match (self.held.pop_front(), &mut self.rest) {
            (Some(bytes), _) => Ok(Some(bytes)),
            (None, Some(rest)) => rest.next().await,
            (None, None) => Ok(None),
        }
    }
}

impl Refusal {
    /// What the sender of a refused object is answered.
    pub fn status(&self) -> Status {
        match self {
            Refusal::Unidentified => Status::UNABLE_TO_PROCESS,
            _ => Status::DOES_NOT_MATCH_SOP_CLASS,
        }
    }
}

//! C-FIND (PS3.7 9.1.2).
//!
//! Invariant: matches stay encoded: nothing is decoded here.

use std::time::Duration;

use super::printable_comment;
use crate::dimse::{
    Association, Command, CommandField, Context, DataSet, DataSetRefusal, Error, Fault, Malformed, Message,
    Status, Violation,
};

impl Association {
    /// C-FIND: sends the request with its identifier; the matches are then to be taken from the [`Find`].
    ///
    /// The identifier must be in the transfer syntax of the context. Dropping the [`Find`] before its end leaves
    /// the association in the middle of an answer: it is then of no more use but to be aborted.
    pub async fn find(&mut self, context: &Context, identifier: &DataSet) -> Result<Find<'_>, Error> {
        let request = self
            .ask(context, CommandField::C_FIND_RQ, None, identifier)
            .await?;
        Ok(Find {
            association: self,
            context: context.clone(),
            request,
            end: None,
        })
    }
}

/// A C-FIND under way.
#[derive(Debug)]
pub struct Find<'a> {
    association: &'a mut Association,
    context: Context,
    request: Command,
    end: Option<FindEnd>,
}

/// What a C-FIND brings, one at a time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FindEvent {
    /// A match.
    Match {
        /// The identifier of the match.
        identifier: DataSet,
        /// The peer did not match all the optional keys (FF01).
        optional_keys_unsupported: bool,
    },
    /// A match whose identifier may not be read. What follows is not affected.
    MalformedMatch(Malformed),
    /// The final response had a data set, where none may be: it may have been meant as a match. The end follows.
    MisplacedMatch,
    /// The final response. There is nothing after it.
    Done(FindEnd),
}

/// The final response of a C-FIND.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FindEnd {
    /// Its status.
    pub status: Status,
    /// Its Error Comment, without control characters.
    pub comment: Option<String>,
    /// The tags that the peer found fault with.
    pub offending_elements: Vec<dicom_core::Tag>,
}

impl Find<'_> {
    /// The next match, or the end, which must come `within` that time. Cancel-safe. After the end: the end again.
    pub async fn next(&mut self, within: Duration) -> Result<FindEvent, Error> {
        if let Some(end) = &self.end {
            return Ok(FindEvent::Done(end.clone()));
        }
        let message = self.association.receive_response(&self.request, within).await?;
        let Some(status) = message.command.status else {
            return Err(self.association.violated(Violation::MissingStatus).await);
        };
        if status.is_pending() {
            return self.read_match(status, message).await;
        }
        let end = FindEnd {
            status,
            comment: message
                .command
                .error_comment
                .as_deref()
                .and_then(printable_comment),
            offending_elements: message.command.offending_elements,
        };
        self.end = Some(end.clone());
        if message.data_set.is_some_and(|data_set| !data_set.is_empty()) {
            return Ok(FindEvent::MisplacedMatch);
        }
        Ok(FindEvent::Done(end))
    }

    async fn read_match(&mut self, status: Status, message: Message) -> Result<FindEvent, Error> {
        match message.refusal {
            Some(DataSetRefusal::IdentifierTooLong(_)) => {
                let (fault, offset) = (Fault::TooLarge, 0);
                return Ok(FindEvent::MalformedMatch(Malformed { fault, offset }));
            }
            Some(DataSetRefusal::NoRoom) => return Err(self.association.out_of_room().await),
            None => {}
        }
        let Some(bytes) = message.data_set else {
            return Err(self.association.violated(Violation::MissingDataSet).await);
        };
        let optional_keys_unsupported = status == Status::PENDING_OPTIONAL_KEYS_UNSUPPORTED;
        Ok(match DataSet::parse(bytes, self.context.transfer_syntax) {
            Ok(identifier) => FindEvent::Match {
                identifier,
                optional_keys_unsupported,
            },
            Err(malformed) => FindEvent::MalformedMatch(malformed),
        })
    }

    /// Sends C-CANCEL. Matches that are under way still come; go on with [`Find::next`] until the end.
    pub async fn cancel(&mut self) -> Result<(), Error> {
        match self.end {
            None => self.association.cancel(&self.context, &self.request).await,
            Some(_) => Ok(()),
        }
    }
}

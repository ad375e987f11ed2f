//! The services that we use as SCU over an association: C-ECHO and C-FIND (PS3.7 9.1.5 and 9.1.2), C-STORE in `store`.
//!
//! Invariant: a response that answers another request than the one under way is a violation, and ends the
//! association. Matches stay encoded: nothing is decoded here.

mod store;

use std::time::Duration;

pub use store::{Store, StoreObject};

use super::{
    Association, Awaited, Command, CommandField, Context, DataSet, Error, Malformed, Message, Status,
    Violation, uids,
};

impl Association {
    /// C-ECHO: the status of the response, which must come `within` that time.
    pub async fn echo(&mut self, within: Duration) -> Result<Status, Error> {
        let context_id = self.context_for(uids::VERIFICATION)?.id;
        let message_id = self.next_message_id();
        let request = Command::request(CommandField::C_ECHO_RQ, message_id, uids::VERIFICATION);
        self.send(context_id, &request, None).await?;
        let response = self.receive_response(&request, within).await?;
        match response.command.status {
            Some(status) => Ok(status),
            None => Err(self.violated(Violation::MissingStatus).await),
        }
    }

    /// C-FIND: sends the request with its identifier; the matches are then to be taken from the [`Find`].
    ///
    /// The identifier must be in the transfer syntax of the context. Dropping the [`Find`] before its end leaves
    /// the association in the middle of an answer: it is then of no more use but to be aborted.
    pub async fn find(&mut self, context: &Context, identifier: &DataSet) -> Result<Find<'_>, Error> {
        if identifier.transfer_syntax() != context.transfer_syntax {
            return Err(Error::Unencodable("an identifier of another transfer syntax"));
        }
        let message_id = self.next_message_id();
        let mut request = Command::request(CommandField::C_FIND_RQ, message_id, &context.abstract_syntax);
        request.priority = Some(0);
        request.has_data_set = true;
        self.send(context.id, &request, Some(identifier)).await?;
        Ok(Find {
            association: self,
            context: context.clone(),
            request,
            end: None,
        })
    }

    /// The next message, if it is a response to `request`.
    async fn receive_response(&mut self, request: &Command, within: Duration) -> Result<Message, Error> {
        let awaited = Awaited::Response;
        let message = self
            .receive(awaited, within)
            .await?
            .ok_or(Error::Released(awaited))?;
        let command = &message.command;
        if command.field != request.field.response() || command.responded_to != request.message_id {
            let violation = Violation::ForeignResponse(command.field.0, command.responded_to);
            return Err(self.violated(violation).await);
        }
        Ok(message)
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
            return self.read_match(status, message.data_set).await;
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
        Ok(FindEvent::Done(end))
    }

    async fn read_match(&mut self, status: Status, data_set: Option<Vec<u8>>) -> Result<FindEvent, Error> {
        let Some(bytes) = data_set else {
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
        let Some(message_id) = self.request.message_id.filter(|_| self.end.is_none()) else {
            return Ok(());
        };
        self.association
            .send(self.context.id, &Command::cancel(message_id), None)
            .await
    }
}

/// An Error Comment fit for a terminal. Its character set is not stated; what is not UTF-8 is read as Latin-1.
fn printable_comment(raw: &[u8]) -> Option<String> {
    let text = match std::str::from_utf8(raw) {
        Ok(text) => text.to_owned(),
        Err(_) => raw.iter().copied().map(char::from).collect(),
    };
    let text: String = text.chars().filter(|c| !c.is_control()).collect();
    (!text.is_empty()).then_some(text)
}

//! The services that we use as SCU over an association: C-ECHO here (PS3.7 9.1.5), the others each in their file.
//!
//! Invariant: a response that answers another request than the one under way is a violation, and ends the
//! association.

mod find;
mod get;
mod move_to;
mod retrieve_end;
mod store;
mod store_whole;

use std::time::Duration;

pub use self::find::{Find, FindEnd, FindEvent};
pub use self::get::{Get, GetEvent, GotObject};
pub use self::move_to::{Move, MoveEvent};
pub use self::retrieve_end::RetrieveEnd;
pub use self::store::{Store, StoreObject};
pub use self::store_whole::{StoreEnd, UnansweredStores};
use super::{
    Association, Awaited, Command, CommandField, Context, DataSet, Error, Message, Status, Violation, uids,
};
use crate::model::AeTitle;

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

    /// Sends a request of Query/Retrieve with its identifier, which must be in the transfer syntax of the context.
    async fn ask(
        &mut self,
        context: &Context,
        field: CommandField,
        move_destination: Option<&AeTitle>,
        identifier: &DataSet,
    ) -> Result<Command, Error> {
        if identifier.transfer_syntax() != context.transfer_syntax {
            return Err(Error::Unencodable("an identifier of another transfer syntax"));
        }
        let message_id = self.next_message_id();
        let mut request = Command::request(field, message_id, &context.abstract_syntax);
        request.priority = Some(0);
        request.move_destination = move_destination.map(ToString::to_string);
        request.has_data_set = true;
        self.send(context.id, &request, Some(identifier)).await?;
        Ok(request)
    }

    /// Tells the peer to cancel `request`.
    async fn cancel(&mut self, context: &Context, request: &Command) -> Result<(), Error> {
        match request.message_id {
            Some(message_id) => self.send(context.id, &Command::cancel(message_id), None).await,
            None => Ok(()),
        }
    }

    /// The next message, if it is a response to `request`.
    async fn receive_response(&mut self, request: &Command, within: Duration) -> Result<Message, Error> {
        let awaited = Awaited::Response;
        let message = self
            .receive(awaited, within)
            .await?
            .ok_or(Error::Released(awaited))?;
        self.is_response(message, request).await
    }

    async fn is_response(&mut self, message: Message, request: &Command) -> Result<Message, Error> {
        let command = &message.command;
        if command.field != request.field.response() || command.responded_to != request.message_id {
            let violation = Violation::ForeignResponse(command.field.0, command.responded_to);
            return Err(self.violated(violation).await);
        }
        Ok(message)
    }
}

/// The most characters of an Error Comment that are kept: the length of its value representation, LO.
const COMMENT_LENGTH: usize = 64;

/// An Error Comment fit for a terminal. Its character set is not stated; what is not UTF-8 is read as Latin-1.
fn printable_comment(raw: &[u8]) -> Option<String> {
    let text = match std::str::from_utf8(raw) {
        Ok(text) => text.to_owned(),
        Err(_) => raw.iter().copied().map(char::from).collect(),
    };
    let text = text.chars().filter(|c| !c.is_control());
    let text: String = text.take(COMMENT_LENGTH).collect();
    let text = text.trim();
    (!text.is_empty()).then(|| text.to_owned())
}

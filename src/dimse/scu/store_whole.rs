//! C-STORE of objects that are small and at hand: several requests on their way at once, as far as the peer's window of
//! asynchronous operations allows (PS3.7 D.3.3.3).
//!
//! Invariant: a response answers a request that was sent and not answered before; any other ends the association.

use std::time::Duration;

use super::printable_comment;
use crate::dimse::{Association, Awaited, Command, CommandField, Context, DataSet, Error, Status, Violation};
use crate::model::Uid;

/// How a C-STORE ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreEnd {
    /// The status of the response.
    pub status: Status,
    /// Error Comment, fit for a terminal.
    pub comment: Option<String>,
}

/// Requests that wait for their responses.
#[derive(Debug, Default)]
pub struct UnansweredStores {
    message_ids: Vec<u16>,
}

impl UnansweredStores {
    /// How many there are.
    pub fn len(&self) -> usize {
        self.message_ids.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.message_ids.is_empty()
    }
}

impl Association {
    /// Sends C-STOREs of whole objects in one write; gives their message IDs, in the same order. No more may be unanswered
    /// than [`Association::window`] says.
    pub async fn store_whole(
        &mut self,
        context: &Context,
        objects: &[(&Uid, &DataSet)],
        unanswered: &mut UnansweredStores,
    ) -> Result<Vec<u16>, Error> {
        let (mut output, mut message_ids) = (Vec::new(), Vec::with_capacity(objects.len()));
        for (sop_instance_uid, data_set) in objects {
            let message_id = self.next_message_id();
            let mut request =
                Command::request(CommandField::C_STORE_RQ, message_id, &context.abstract_syntax);
            request.sop_instance = Some(sop_instance_uid.as_str().to_owned());
            request.priority = Some(0);
            request.has_data_set = true;
            self.encode(context.id, &request.encode(), Some(data_set), &mut output)?;
            message_ids.push(message_id);
        }
        self.send_encoded(&output).await?;
        unanswered.message_ids.extend(&message_ids);
        Ok(message_ids)
    }

    /// The next response to one of those requests, with its message ID; it must come `within` that time.
    pub async fn next_stored(
        &mut self,
        unanswered: &mut UnansweredStores,
        within: Duration,
    ) -> Result<(u16, StoreEnd), Error> {
        let awaited = Awaited::Response;
        let received = self.receive(awaited, within).await?;
        let command = received.ok_or(Error::Released(awaited))?.command;
        let place = unanswered
            .message_ids
            .iter()
            .position(|id| command.responded_to == Some(*id));
        let (Some(place), CommandField(0x8001)) = (place, command.field) else {
            let violation = Violation::ForeignResponse(command.field.0, command.responded_to);
            return Err(self.violated(violation).await);
        };
        let message_id = unanswered.message_ids.swap_remove(place);
        match command.status {
            Some(status) => {
                let comment = command.error_comment.as_deref().and_then(printable_comment);
                Ok((message_id, StoreEnd { status, comment }))
            }
            None => Err(self.violated(Violation::MissingStatus).await),
        }
    }
}

//! C-MOVE (PS3.7 9.1.4, PS3.4 C.4.2): the peer sends objects to a destination that it knows by an AE title.

use std::time::Duration;

use super::retrieve_end::{Response, RetrieveEnd, read};
use crate::dimse::{Association, Command, CommandField, Context, DataSet, Error, SubOperations};
use crate::model::AeTitle;

impl Association {
    /// C-MOVE: asks the peer to send what the identifier names to `destination`.
    ///
    /// The identifier must be in the transfer syntax of the context. A [`Move`] that is dropped before its end leaves
    /// the association of no more use but to be aborted.
    pub async fn move_to(
        &mut self,
        context: &Context,
        destination: &AeTitle,
        identifier: &DataSet,
    ) -> Result<Move<'_>, Error> {
        let field = CommandField::C_MOVE_RQ;
        let request = self.ask(context, field, Some(destination), identifier).await?;
        Ok(Move {
            association: self,
            context: context.clone(),
            request,
            end: None,
        })
    }
}

/// A C-MOVE under way.
#[derive(Debug)]
pub struct Move<'a> {
    association: &'a mut Association,
    context: Context,
    request: Command,
    end: Option<RetrieveEnd>,
}

/// What is told of a C-MOVE, one at a time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MoveEvent {
    /// How far it is.
    Progress(SubOperations),
    /// The final response. There is nothing after it.
    Done(RetrieveEnd),
}

impl Move<'_> {
    /// The next response, which must come `within` that time. Cancel-safe. After the end: the end again.
    pub async fn next(&mut self, within: Duration) -> Result<MoveEvent, Error> {
        if let Some(end) = &self.end {
            return Ok(MoveEvent::Done(end.clone()));
        }
        let message = self.association.receive_response(&self.request, within).await?;
        match read(message, self.context.transfer_syntax) {
            Ok(Response::Pending(counts)) => Ok(MoveEvent::Progress(counts)),
            Ok(Response::Final(end)) => {
                self.end = Some(end.clone());
                Ok(MoveEvent::Done(end))
            }
            Err(violation) => Err(self.association.violated(violation).await),
        }
    }

    /// Sends C-CANCEL; go on with [`Move::next`] until the end.
    pub async fn cancel(&mut self) -> Result<(), Error> {
        match self.end {
            None => self.association.cancel(&self.context, &self.request).await,
            Some(_) => Ok(()),
        }
    }
}

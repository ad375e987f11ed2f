//! Answering a C-FIND: matches out, a C-CANCEL in, until the final response.
//!
//! Invariants: while the handler works, the association is read, so that a C-CANCEL or a lost caller is known at once.
//! Matches wait in a small channel where the caller reads slowly; what is ready goes out in one write. After a
//! C-CANCEL no more matches are sent. The final response is the last thing said of a request.

use std::ops::ControlFlow;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Semaphore, mpsc};
use tokio_util::sync::CancellationToken;

use super::Handler;
use super::identifier::take_identifier;
use crate::dimse::{
    Association, Awaited, Command, CommandField, Context, DataSet, Error, FindEnd, Message, Status, Violation,
};

/// How many matches wait to be sent.
const WAITING_MATCHES: usize = 64;
/// How many bytes of matches wait to be sent, but for one that is longer alone.
const WAITING_BYTES: u32 = 512 * 1024;
/// How much is sent in one write.
const BATCH: usize = 64 * 1024;
/// The longest Error Comment (PS3.7 table C.4-1), in characters.
const MAX_COMMENT: usize = 64;
/// A caller who waits for its answer may be silent as long as it likes.
pub(super) const FAR: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// What a C-FIND asks.
#[derive(Debug)]
pub struct FindRequest {
    /// Its presentation context: the information model and how identifiers are encoded.
    pub context: Context,
    /// Its identifier, whose structure is sound.
    pub identifier: DataSet,
    /// Cancelled by a C-CANCEL, and when the caller is gone.
    pub cancelled: CancellationToken,
}

/// Takes the matches of a C-FIND.
#[derive(Debug)]
pub struct FindResponder {
    matches: mpsc::Sender<(Status, DataSet)>,
    room: Arc<Semaphore>,
}

/// There is nobody left to answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the caller is gone")]
pub struct CallerGone;

/// What a match takes of the bytes that may wait.
fn size_in_queue(identifier: &DataSet) -> u32 {
    u32::try_from(identifier.bytes().len()).map_or(WAITING_BYTES, |size| size.min(WAITING_BYTES))
}

impl FindResponder {
    /// Gives a match, with FF00 or FF01; waits while the caller has not taken those before it. Its identifier must be
    /// in the transfer syntax of the request's context.
    pub async fn give(&self, status: Status, identifier: DataSet) -> Result<(), CallerGone> {
        let room = self.room.acquire_many(size_in_queue(&identifier)).await;
        room.map_err(|_| CallerGone)?.forget();
        let given = self.matches.send((status, identifier)).await;
        given.map_err(|_| CallerGone)
    }
}

/// Serves one C-FIND-RQ; breaks where the caller released the association before its answer.
pub(super) async fn respond<H: Handler>(
    association: &mut Association,
    context: Context,
    mut message: Message,
    handler: &H,
    caller: &H::Caller,
) -> Result<ControlFlow<()>, Error> {
    let identifier = take_identifier(association, &context, &mut message).await?;
    let Some(identifier) = identifier else {
        return Ok(ControlFlow::Continue(()));
    };
    let (sender, matches) = mpsc::channel(WAITING_MATCHES);
    let room = Arc::new(Semaphore::new(WAITING_BYTES as usize));
    let mut answer = Answer {
        context_id: context.id,
        request: &message.command,
        pending: pending_response(&message.command, Status::PENDING),
        matches,
        room: Arc::clone(&room),
        output: Vec::with_capacity(BATCH),
        cancelled: CancellationToken::new(),
    };
    let request = FindRequest {
        context,
        identifier,
        cancelled: answer.cancelled.clone(),
    };
    let handling = handler.find(
        caller,
        request,
        FindResponder {
            matches: sender,
            room,
        },
    );
    answer.run(association, handling).await
}

fn pending_response(request: &Command, status: Status) -> Vec<u8> {
    let mut response = Command::response(request, status);
    response.has_data_set = true;
    response.encode()
}

pub(super) fn final_response(request: &Command, end: FindEnd) -> Command {
    let mut response = Command::response(request, end.status);
    response.error_comment = end.comment.as_deref().map(error_comment);
    response.offending_elements = end.offending_elements;
    response
}

/// As much of a text as an Error Comment takes. Its character set is nowhere stated (PS3.7 C.4): ASCII reads the same in
/// all.
pub(super) fn error_comment(text: &str) -> Vec<u8> {
    let printable = |c: char| if matches!(c, ' '..='~') { c as u8 } else { b'?' };
    text.chars().take(MAX_COMMENT).map(printable).collect()
}

/// One request being answered.
struct Answer<'a> {
    context_id: u8,
    request: &'a Command,
    /// The command of a match, encoded once for all.
    pending: Vec<u8>,
    matches: mpsc::Receiver<(Status, DataSet)>,
    room: Arc<Semaphore>,
    output: Vec<u8>,
    cancelled: CancellationToken,
}

impl Answer<'_> {
    async fn run(
        &mut self,
        association: &mut Association,
        handling: impl Future<Output = FindEnd>,
    ) -> Result<ControlFlow<()>, Error> {
        let mut handling = pin!(handling);
        let lost = loop {
            let sent = tokio::select! {
                biased;
                received = association.receive(Awaited::Request, FAR) => match received {
                    Ok(Some(message)) => self.take(association, &message).await,
                    Ok(None) => break Ok(ControlFlow::Break(())),
                    Err(error) => Err(error),
                },
                Some(found) = self.matches.recv() => self.send(association, found).await,
                end = &mut handling => return self.end(association, end).await,
            };
            if let Err(error) = sent {
                break Err(error);
            }
        };
        self.cancelled.cancel();
        self.matches.close();
        self.room.close();
        while self.matches.try_recv().is_ok() {}
        handling.await;
        lost
    }

    /// Takes what the caller says while it is answered: a C-CANCEL, and nothing else.
    async fn take(&self, association: &mut Association, message: &Message) -> Result<(), Error> {
        let command = &message.command;
        if command.field == CommandField::C_CANCEL_RQ {
            if command.responded_to == self.request.message_id {
                self.cancelled.cancel();
            }
            return Ok(());
        }
        let violation = if command.field.is_response() {
            Violation::UnexpectedResponse
        } else {
            Violation::OverlappingRequest
        };
        Err(association.violated(violation).await)
    }

    /// Sends a match with all that are ready after it.
    async fn send(&mut self, association: &mut Association, found: (Status, DataSet)) -> Result<(), Error> {
        self.output.clear();
        let mut next = Some(found);
        while let Some((status, identifier)) = next {
            self.room.add_permits(size_in_queue(&identifier) as usize);
            self.put(association, status, &identifier)?;
            next = match self.output.len() < BATCH {
                true => self.matches.try_recv().ok(),
                false => None,
            };
        }
        association.send_encoded(&self.output).await
    }

    fn put(&mut self, association: &Association, status: Status, identifier: &DataSet) -> Result<(), Error> {
        if self.cancelled.is_cancelled() {
            return Ok(());
        }
        if status == Status::PENDING {
            return association.encode(self.context_id, &self.pending, Some(identifier), &mut self.output);
        }
        let command = pending_response(self.request, status);
        association.encode(self.context_id, &command, Some(identifier), &mut self.output)
    }

    /// Sends the matches that are left, and the final response.
    async fn end(&mut self, association: &mut Association, end: FindEnd) -> Result<ControlFlow<()>, Error> {
        self.output.clear();
        while let Ok((status, identifier)) = self.matches.try_recv() {
            self.put(association, status, &identifier)?;
        }
        let response = final_response(self.request, end).encode();
        association.encode(self.context_id, &response, None, &mut self.output)?;
        let sent = association.send_encoded(&self.output).await;
        sent.map(ControlFlow::Continue)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_comment_is_short_and_ascii() {
        assert_eq!(error_comment("issuer M\u{fc}ller\n"), b"issuer M?ller?");
        assert_eq!(error_comment(&"\u{fc}".repeat(100)).len(), MAX_COMMENT);
    }
}

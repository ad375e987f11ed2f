//! C-GET (PS3.7 9.1.3, PS3.4 C.4.3): the peer sends objects over the same association, each by a C-STORE-RQ that we
//! answer.
//!
//! Invariants: an object comes fragment by fragment, whatever its size. Each C-STORE-RQ is answered exactly once, also
//! where the caller drops the object or nobody can make sense of the request.

use std::time::Duration;

use super::retrieve_end::{Response, RetrieveEnd, read};
use crate::dimse::scp::store::announced;
use crate::dimse::{
    Association, Awaited, Command, CommandField, Context, DataSet, Error, Message, Status, StoreRequest,
    SubOperations,
};

impl Association {
    /// C-GET: asks the peer to send what the identifier names, in the contexts for objects that it has accepted.
    ///
    /// The identifier must be in the transfer syntax of the context. A [`Get`] that is dropped before its end leaves
    /// the association of no more use but to be aborted.
    pub async fn get(&mut self, context: &Context, identifier: &DataSet) -> Result<Get<'_>, Error> {
        let request = self
            .ask(context, CommandField::C_GET_RQ, None, identifier)
            .await?;
        Ok(Get {
            association: self,
            context: context.clone(),
            request,
            unanswered: None,
            end: None,
        })
    }
}

/// A C-GET under way.
#[derive(Debug)]
pub struct Get<'a> {
    association: &'a mut Association,
    context: Context,
    request: Command,
    unanswered: Option<Unanswered>,
    end: Option<RetrieveEnd>,
}

/// A C-STORE-RQ that has come.
#[derive(Debug)]
struct Unanswered {
    context_id: u8,
    command: Command,
    /// What it is answered where nobody says otherwise.
    status: Status,
}

/// What a C-GET brings, one at a time.
#[derive(Debug)]
pub enum GetEvent<'g> {
    /// An object, still to be taken.
    Object(GotObject<'g>),
    /// How far it is.
    Progress(SubOperations),
    /// The final response. There is nothing after it.
    Done(RetrieveEnd),
}

/// An object while it comes in.
#[derive(Debug)]
pub struct GotObject<'g> {
    /// What its C-STORE-RQ announces.
    pub announced: StoreRequest,
    association: &'g mut Association,
    unanswered: &'g mut Option<Unanswered>,
}

impl Get<'_> {
    /// The next object or response, which must come `within` that time. Cancel-safe while it waits for the peer. After
    /// the end: the end again. An object that the caller did not answer is refused first.
    pub async fn next(&mut self, within: Duration) -> Result<GetEvent<'_>, Error> {
        loop {
            if let Some(end) = &self.end {
                return Ok(GetEvent::Done(end.clone()));
            }
            answer_rest(self.association, &mut self.unanswered, within).await?;
            let awaited = Awaited::Response;
            let message = self.association.receive(awaited, within).await?;
            let message = message.ok_or(Error::Released(awaited))?;
            if message.command.field == CommandField::C_STORE_RQ {
                if let Some(announced) = self.take_request(message) {
                    return Ok(GetEvent::Object(GotObject {
                        announced,
                        association: self.association,
                        unanswered: &mut self.unanswered,
                    }));
                }
                continue;
            }
            return self.take_response(message).await;
        }
    }

    fn take_request(&mut self, message: Message) -> Option<StoreRequest> {
        let context = self.association.object_context(message.context_id).cloned();
        let announced = match message.command.has_data_set {
            true => announced(&message.command, context),
            false => Err(Status::DOES_NOT_MATCH_SOP_CLASS),
        };
        self.unanswered = Some(Unanswered {
            context_id: message.context_id,
            command: message.command,
            status: *announced.as_ref().err().unwrap_or(&Status::PROCESSING_FAILURE),
        });
        announced.ok()
    }

    async fn take_response(&mut self, message: Message) -> Result<GetEvent<'_>, Error> {
        let message = self.association.is_response(message, &self.request).await?;
        match read(message, self.context.transfer_syntax) {
            Ok(Response::Pending(counts)) => Ok(GetEvent::Progress(counts)),
            Ok(Response::Final(end)) => {
                self.end = Some(end.clone());
                Ok(GetEvent::Done(end))
            }
            Err(violation) => Err(self.association.violated(violation).await),
        }
    }

    /// Sends C-CANCEL. Objects that are under way still come; go on with [`Get::next`] until the end.
    pub async fn cancel(&mut self) -> Result<(), Error> {
        match self.end {
            None => self.association.cancel(&self.context, &self.request).await,
            Some(_) => Ok(()),
        }
    }
}

impl GotObject<'_> {
    /// The next bytes of its data set, which must come `within` that time; `None` after the last.
    pub async fn next(&mut self, within: Duration) -> Result<Option<Vec<u8>>, Error> {
        self.association.receive_object(within).await
    }

    /// Answers it; what of it was not taken is passed over.
    pub async fn answer(self, status: Status, within: Duration) -> Result<(), Error> {
        if let Some(unanswered) = self.unanswered {
            unanswered.status = status;
        }
        answer_rest(self.association, self.unanswered, within).await
    }
}

/// Passes over the rest of the object that has come last, and answers it.
async fn answer_rest(
    association: &mut Association,
    unanswered: &mut Option<Unanswered>,
    within: Duration,
) -> Result<(), Error> {
    if unanswered.is_none() {
        return Ok(());
    }
    while association.receive_object(within).await?.is_some() {}
    if let Some(Unanswered {
        context_id,
        command,
        status,
    }) = unanswered.take()
    {
        let response = Command::response(&command, status);
        association.send(context_id, &response, None).await?;
    }
    Ok(())
}

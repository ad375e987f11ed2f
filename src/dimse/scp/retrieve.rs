//! Answering a C-MOVE or a C-GET (PS3.4 C.4.2.3 and C.4.3.3, PS3.7 9.1.3 and 9.1.4): counts out as sub-operations are
//! done, a C-CANCEL in, objects out on the same association for a C-GET, and one final response.
//!
//! Invariants: Remaining is told in pending and cancelled responses alone. The final response is the last thing said of a
//! request. The handler looks for a C-CANCEL where it likes; one that comes while it does something else is kept for it.

use std::ops::ControlFlow;
use std::time::Duration;

use dicom_core::VR;
use dicom_dictionary_std::tags;

use super::find::{FAR, final_response};
use super::identifier::take_identifier;
use super::{CallerGone, Handler};
use crate::dimse::{
    Association, Awaited, Command, CommandField, Context, DataSet, DataSetBuilder, Error, FindEnd, Message,
    ObjectContext, RetrieveEnd, Status, Store, StoreObject, SubOperations, TransferSyntax, Violation,
};
use crate::model::Uid;

/// The longest value of a short element in Explicit VR (PS3.5 7.1.2), in bytes.
const MAX_SHORT_VALUE: usize = 65_534;

/// What a C-MOVE or a C-GET asks.
#[derive(Debug)]
pub struct RetrieveRequest {
    /// Its presentation context: the information model and how identifiers are encoded.
    pub context: Context,
    /// Its identifier, whose structure is sound.
    pub identifier: DataSet,
    /// Its message ID.
    pub message_id: u16,
    /// Its priority: 0 medium, 1 high, 2 low.
    pub priority: u16,
    /// Where the objects are to go.
    pub to: RetrieveTo,
}

/// Where the objects of a retrieve are to go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RetrieveTo {
    /// C-GET: to the caller, over the same association.
    Caller,
    /// C-MOVE: to the application entity of this title, as it came, without padding.
    Destination(String),
}

/// Speaks with the caller of a retrieve.
#[derive(Debug)]
pub struct RetrieveResponder<'a> {
    association: &'a mut Association,
    context_id: u8,
    request: &'a Command,
    is_cancelled: bool,
    failed: Option<Error>,
    released: bool,
}

impl RetrieveResponder<'_> {
    /// Whether the caller has cancelled, as far as was looked.
    pub fn is_cancelled(&self) -> bool {
        self.is_cancelled
    }

    /// Completes when the caller has cancelled, or is gone. Cancel-safe.
    pub async fn interrupted(&mut self) {
        while !self.is_cancelled && !self.is_gone() {
            match self.association.receive(Awaited::Request, FAR).await {
                Ok(Some(message)) => self.take(&message).await,
                Ok(None) => self.released = true,
                Err(error) => self.failed = Some(error),
            }
        }
    }

    /// Whether there is nobody left to answer, as far as was looked.
    pub fn is_gone(&self) -> bool {
        self.released || self.failed.is_some()
    }

    /// Takes what the caller says while it is answered: a C-CANCEL, and nothing else.
    async fn take(&mut self, message: &Message) {
        let command = &message.command;
        let violation = match command.field {
            CommandField::C_CANCEL_RQ => {
                self.is_cancelled |= command.responded_to == self.request.message_id;
                return;
            }
            field if field.is_response() => Violation::UnexpectedResponse,
            _ => Violation::OverlappingRequest,
        };
        self.failed = Some(self.association.violated(violation).await);
    }

    /// Tells how far it is, with the status FF00.
    pub async fn pending(&mut self, counts: SubOperations) -> Result<(), CallerGone> {
        if self.is_gone() {
            return Err(CallerGone);
        }
        let mut response = Command::response(self.request, Status::PENDING);
        response.sub_operations = counts;
        let sent = self.association.send(self.context_id, &response, None).await;
        sent.map_err(|error| self.gone(error))
    }

    fn gone(&mut self, error: Error) -> CallerGone {
        self.failed = Some(error);
        CallerGone
    }

    /// The contexts in which the caller of a C-GET takes objects.
    pub fn sending_contexts(&self) -> &[ObjectContext] {
        self.association.sending_contexts()
    }

    /// Begins to send an object to the caller of a C-GET.
    pub fn store(
        &mut self,
        context: &ObjectContext,
        object: &StoreObject,
    ) -> Result<StoreToCaller<'_>, CallerGone> {
        if self.is_gone() {
            return Err(CallerGone);
        }
        match self.association.store(context, object) {
            Ok(store) => Ok(StoreToCaller {
                store,
                cancel_of: self.request.message_id,
                is_cancelled: &mut self.is_cancelled,
                failed: &mut self.failed,
            }),
            Err(error) => {
                self.failed = Some(error);
                Err(CallerGone)
            }
        }
    }

    /// Ends the association, where an object that was begun can't be finished.
    pub async fn abort(&mut self) {
        self.association.abort().await;
        self.failed.get_or_insert(Error::Ended);
    }
}

/// A sub-operation of a C-GET under way.
#[derive(Debug)]
pub struct StoreToCaller<'r> {
    store: Store<'r>,
    cancel_of: Option<u16>,
    is_cancelled: &'r mut bool,
    failed: &'r mut Option<Error>,
}

impl StoreToCaller<'_> {
    /// Sends the next bytes of the data set.
    pub async fn send(&mut self, bytes: &[u8]) -> Result<(), CallerGone> {
        let sent = self.store.send(bytes).await;
        sent.map_err(|error| {
            *self.failed = Some(error);
            CallerGone
        })
    }

    /// Sends what is left, and gives the status of the response, which must come `within` that time.
    pub async fn finish(self, within: Duration) -> Result<Status, CallerGone> {
        let (store, cancel_of, is_cancelled) = (self.store, self.cancel_of, self.is_cancelled);
        let answered = async {
            let (association, request) = store.send_last().await?;
            loop {
                let received = association.receive(Awaited::Response, within).await?;
                let message = received.ok_or(Error::Released(Awaited::Response))?;
                if message.command.field == CommandField::C_CANCEL_RQ {
                    *is_cancelled |= message.command.responded_to == cancel_of;
                    continue;
                }
                return association.status_of_response(message, &request).await;
            }
        };
        let answered = answered.await;
        answered.map_err(|error| {
            *self.failed = Some(error);
            CallerGone
        })
    }
}

/// Serves one C-MOVE-RQ or C-GET-RQ; breaks where the caller released the association before its answer.
pub(super) async fn respond<H: Handler>(
    association: &mut Association,
    context: Context,
    mut message: Message,
    handler: &H,
    caller: &H::Caller,
) -> Result<ControlFlow<()>, Error> {
    let Some(identifier) = take_identifier(association, &context, &mut message).await? else {
        return Ok(ControlFlow::Continue(()));
    };
    let command = message.command;
    let (context_id, syntax) = (context.id, context.transfer_syntax);
    let request = RetrieveRequest {
        context,
        identifier,
        message_id: command.message_id.unwrap_or_default(),
        priority: command.priority.unwrap_or_default(),
        to: match command.field {
            CommandField::C_MOVE_RQ => {
                RetrieveTo::Destination(command.move_destination.clone().unwrap_or_default())
            }
            _ => RetrieveTo::Caller,
        },
    };
    let mut responder = RetrieveResponder {
        association,
        context_id,
        request: &command,
        is_cancelled: false,
        failed: None,
        released: false,
    };
    let end = handler.retrieve(caller, request, &mut responder).await;
    match responder {
        RetrieveResponder {
            failed: Some(error), ..
        } => Err(error),
        RetrieveResponder { released: true, .. } => Ok(ControlFlow::Break(())),
        _ => {
            let (response, identifier) = retrieve_response(&command, end, syntax);
            let sent = association.send(context_id, &response, identifier.as_ref()).await;
            sent.map(ControlFlow::Continue)
        }
    }
}

fn retrieve_response(
    request: &Command,
    end: RetrieveEnd,
    syntax: TransferSyntax,
) -> (Command, Option<DataSet>) {
    let RetrieveEnd {
        status,
        comment,
        mut sub_operations,
        failed_instances,
    } = end;
    if status != Status::CANCEL {
        sub_operations.remaining = None;
    }
    let end = FindEnd {
        status,
        comment,
        offending_elements: Vec::new(),
    };
    let mut response = final_response(request, end);
    response.sub_operations = sub_operations;
    let list = (!failed_instances.is_empty()).then(|| {
        DataSetBuilder::new()
            .put(
                tags::FAILED_SOP_INSTANCE_UID_LIST,
                VR::UI,
                uid_list(&failed_instances),
            )
            .encode(syntax)
    });
    let identifier = list.and_then(Result::ok);
    response.has_data_set = identifier.is_some();
    (response, identifier)
}

/// As many as an element takes.
fn uid_list(uids: &[Uid]) -> String {
    let mut list = String::new();
    for uid in uids {
        if list.len() + 1 + uid.as_str().len() > MAX_SHORT_VALUE {
            break;
        }
        if !list.is_empty() {
            list.push('\\');
        }
        list.push_str(uid.as_str());
    }
    list
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Case: some sub-operations fail
    #[test]
    fn remaining_is_told_of_what_was_cancelled_alone_and_failures_are_named() {
        let request = Command::request(CommandField::C_MOVE_RQ, 7, "1.2");
        let end = |status| RetrieveEnd {
            status,
            comment: None,
            sub_operations: SubOperations {
                remaining: Some(3),
                completed: Some(1),
                failed: Some(2),
                warning: Some(0),
            },
            failed_instances: vec!["1.2.3".parse().unwrap(); 20_000],
        };
        let syntax = TransferSyntax::ExplicitVrLittleEndian;
        let (response, identifier) = retrieve_response(&request, end(Status::WARNING), syntax);
        assert_eq!(
            (response.sub_operations.remaining, response.has_data_set),
            (None, true)
        );
        let identifier = identifier.unwrap();
        let list = identifier.element(tags::FAILED_SOP_INSTANCE_UID_LIST).unwrap();
        assert!(list.starts_with(b"1.2.3\\1.2.3") && list.len() <= MAX_SHORT_VALUE);
        let (response, _) = retrieve_response(&request, end(Status::CANCEL), syntax);
        assert_eq!(response.sub_operations.remaining, Some(3));
    }
}

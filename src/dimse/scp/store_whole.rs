//! Answering C-STOREs of SOP classes whose objects are taken whole: those that have come already are taken together, so
//! that one commit may serve them all.
//!
//! Invariants: each is answered by its own response, in the order of the requests. No more are taken together than our
//! window of asynchronous operations holds, and none after the first [`TOGETHER`] bytes.

use super::Handler;
use super::find::error_comment;
use crate::dimse::user_information::WINDOW;
use crate::dimse::{Association, Command, CommandField, DataSet, Error, Message, Status};
use crate::model::Uid;

/// How much is held before it is served, in bytes, but for the rest of the last object.
const TOGETHER: usize = 4 * 1024 * 1024;

/// An object that has come whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WholeObject {
    /// Its SOP class.
    pub sop_class_uid: String,
    /// Affected SOP Instance UID.
    pub sop_instance_uid: Uid,
    /// The object.
    pub data_set: DataSet,
}

/// With which status, and which words, an object is answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WholeStored {
    /// The status.
    pub status: Status,
    /// Error Comment, of which the first 64 characters are told.
    pub comment: Option<String>,
}

impl From<Status> for WholeStored {
    fn from(status: Status) -> Self {
        WholeStored {
            status,
            comment: None,
        }
    }
}

/// Serves one C-STORE-RQ and those that have come after it. Gives the first message that is none, where one has come.
pub(super) async fn respond<H: Handler>(
    association: &mut Association,
    first: Message,
    handler: &H,
    caller: &H::Caller,
) -> Result<Option<Message>, Error> {
    let size = |message: &Message| message.data_set.as_ref().map_or(0, bytes::Bytes::len);
    let mut held = size(&first);
    let (mut messages, mut next) = (vec![first], None);
    while messages.len() < usize::from(WINDOW) && held < TOGETHER {
        match association.receive_at_hand().await? {
            Some(message) if is_whole_store(association, &message) => {
                held += size(&message);
                messages.push(message);
            }
            message => {
                next = message;
                break;
            }
        }
    }
    let objects: Vec<Result<WholeObject, Status>> = messages
        .iter_mut()
        .map(|message| whole_object(association, message))
        .collect();
    let answers: Vec<Option<Status>> = objects
        .iter()
        .map(|object| object.as_ref().err().copied())
        .collect();
    let good: Vec<WholeObject> = objects.into_iter().flatten().collect();
    let mut stored = handler.store_whole(caller, good).await.into_iter();
    let mut output = Vec::new();
    for (message, refused) in messages.iter().zip(answers) {
        let stored = match refused {
            Some(status) => status.into(),
            None => stored.next().unwrap_or(Status::PROCESSING_FAILURE.into()),
        };
        let mut response = Command::response(&message.command, stored.status);
        response.error_comment = stored.comment.as_deref().map(error_comment);
        association.encode(message.context_id, &response.encode(), None, &mut output)?;
    }
    association.send_encoded(&output).await?;
    Ok(next)
}

/// Whether it is a C-STORE-RQ in a context of messages.
pub(super) fn is_whole_store(association: &Association, message: &Message) -> bool {
    message.command.field == CommandField::C_STORE_RQ && association.context(message.context_id).is_some()
}

fn whole_object(association: &Association, message: &mut Message) -> Result<WholeObject, Status> {
    let context = association
        .context(message.context_id)
        .ok_or(Status::SOP_CLASS_NOT_SUPPORTED)?;
    let command = &message.command;
    if command.sop_class.as_deref() != Some(context.abstract_syntax.as_str()) {
        return Err(Status::SOP_CLASS_NOT_SUPPORTED);
    }
    if message.refusal.is_some() {
        return Err(Status::OUT_OF_RESOURCES);
    }
    let instance = command.sop_instance.as_deref().unwrap_or_default();
    let bytes = message.data_set.take().unwrap_or_default();
    Ok(WholeObject {
        sop_class_uid: context.abstract_syntax.clone(),
        sop_instance_uid: instance.parse().map_err(|_| Status::DOES_NOT_MATCH_SOP_CLASS)?,
        data_set: DataSet::parse(bytes, context.transfer_syntax).map_err(|_| Status::UNABLE_TO_PROCESS)?,
    })
}

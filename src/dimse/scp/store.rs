//! Answering a C-STORE: the object in, fragment by fragment, and one response once the handler knows what became of it.
//!
//! Invariants: no more of an object is held than one P-DATA-TF PDU brings. The response comes after the object's last
//! fragment, also where the handler has refused it before.

use std::time::Duration;

use super::{CallerGone, Handler};
use crate::dimse::{Association, Command, Error, Message, ObjectContext, Status};
use crate::model::{AeTitle, Uid};

/// What a C-STORE announces.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreRequest {
    /// SOP class and transfer syntax.
    pub context: ObjectContext,
    /// Affected SOP Instance UID.
    pub sop_instance_uid: Uid,
    /// Who asked for the object by C-MOVE, and the message ID of that request, where both are told.
    pub move_originator: Option<(AeTitle, u16)>,
}

/// The data set of a C-STORE while it comes in.
#[derive(Debug)]
pub struct IncomingObject<'a> {
    association: &'a mut Association,
    within: Duration,
    failed: Option<Error>,
}

impl IncomingObject<'_> {
    /// The next bytes; `None` after the last.
    pub async fn next(&mut self) -> Result<Option<Vec<u8>>, CallerGone> {
        if self.failed.is_some() {
            return Err(CallerGone);
        }
        let received = self.association.receive_object(self.within).await;
        received.map_err(|error| {
            self.failed = Some(error);
            CallerGone
        })
    }
}

/// Serves one C-STORE-RQ, whose object is still to come.
pub(super) async fn respond<H: Handler>(
    association: &mut Association,
    message: Message,
    handler: &H,
    caller: &H::Caller,
    within: Duration,
) -> Result<(), Error> {
    let context = association.object_context(message.context_id).cloned();
    let request = announced(&message.command, context);
    let mut object = IncomingObject {
        association,
        within,
        failed: None,
    };
    let status = match request {
        Ok(request) => handler.store(caller, request, &mut object).await,
        Err(status) => status,
    };
    while let Ok(Some(_)) = object.next().await {}
    if let Some(error) = object.failed {
        return Err(error);
    }
    let response = Command::response(&message.command, status);
    association.send(message.context_id, &response, None).await
}

/// What a C-STORE-RQ announces, or the status with which it is refused.
pub(in crate::dimse) fn announced(
    command: &Command,
    context: Option<ObjectContext>,
) -> Result<StoreRequest, Status> {
    let context = context.ok_or(Status::SOP_CLASS_NOT_SUPPORTED)?;
    if command.sop_class.as_deref() != Some(context.sop_class_uid.as_str()) {
        return Err(Status::SOP_CLASS_NOT_SUPPORTED);
    }
    let instance = command.sop_instance.as_deref().unwrap_or_default();
    let sop_instance_uid = instance.parse().map_err(|_| Status::DOES_NOT_MATCH_SOP_CLASS)?;
    let originator = command
        .move_originator
        .as_deref()
        .and_then(|title| title.parse().ok());
    Ok(StoreRequest {
        context,
        sop_instance_uid,
        move_originator: originator.zip(command.move_originator_message_id),
    })
}

//! C-STORE (PS3.7 9.1.1): one object out, in pieces of any size, from wherever they come.
//!
//! Invariants: the object travels as it is: bytes in the transfer syntax of the context. Of it no more is held than
//! a write's worth and a fragment; the last fragment says that it is the last.

use std::time::Duration;

use crate::dimse::{
    Association, Awaited, Command, CommandField, Error, Message, ObjectContext, Status, Violation,
    fragment::{PDV_HEADER, longest_fragment},
};
use crate::model::{AeTitle, Uid};

/// How much is sent in one write.
const BATCH: usize = 128 * 1024;
const P_DATA_TF: u8 = 0x04;
const LAST: u8 = 0b10;

/// What a C-STORE-RQ says of its object besides the context's SOP class.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreObject {
    /// Affected SOP Instance UID.
    pub sop_instance_uid: Uid,
    /// 0 medium, 1 high, 2 low.
    pub priority: u16,
    /// Who asked for the object by C-MOVE, and the message ID of that request.
    pub move_originator: Option<(AeTitle, u16)>,
}

/// A C-STORE under way. Dropped before its end, it leaves the association good for nothing but to be aborted.
#[derive(Debug)]
pub struct Store<'a> {
    association: &'a mut Association,
    context_id: u8,
    request: Command,
    room: usize,
    /// What does not make a fragment yet, or may be the last.
    rest: Vec<u8>,
    /// PDUs to be sent.
    output: Vec<u8>,
}

impl Association {
    /// The context in which objects of this kind can be sent, if the peer takes them.
    pub fn sending_context(&self, sop_class_uid: &Uid, transfer_syntax_uid: &Uid) -> Option<&ObjectContext> {
        self.sending_contexts().iter().find(|context| {
            context.sop_class_uid == *sop_class_uid && context.transfer_syntax_uid == *transfer_syntax_uid
        })
    }

    /// C-STORE: begins to send an object in one of the [`Association::sending_contexts`]. Its data set is then to be
    /// given to the [`Store`].
    pub fn store(&mut self, context: &ObjectContext, object: &StoreObject) -> Result<Store<'_>, Error> {
        if !self.sending_contexts().contains(context) {
            return Err(Error::Unencodable("an object in a context that was not accepted"));
        }
        let message_id = self.next_message_id();
        let mut request = Command::request(
            CommandField::C_STORE_RQ,
            message_id,
            context.sop_class_uid.as_str(),
        );
        request.sop_instance = Some(object.sop_instance_uid.as_str().to_owned());
        request.priority = Some(object.priority);
        request.has_data_set = true;
        if let Some((ae_title, message_id)) = &object.move_originator {
            request.move_originator = Some(ae_title.as_str().to_owned());
            request.move_originator_message_id = Some(*message_id);
        }
        let mut output = Vec::with_capacity(BATCH);
        self.encode(context.id, &request.encode(), None, &mut output)?;
        Ok(Store {
            context_id: context.id,
            request,
            room: longest_fragment(self.peer().max_pdu_length),
            rest: Vec::new(),
            output,
            association: self,
        })
    }
}

impl Association {
    /// The status of a message that must be the response to `request`.
    pub(in crate::dimse) async fn status_of_response(
        &mut self,
        message: Message,
        request: &Command,
    ) -> Result<Status, Error> {
        let response = self.is_response(message, request).await?;
        match response.command.status {
            Some(status) => Ok(status),
            None => Err(self.violated(Violation::MissingStatus).await),
        }
    }
}

impl Store<'_> {
    /// Sends the next bytes of the data set, or keeps them until there are more. Not cancel-safe.
    pub async fn send(&mut self, mut bytes: &[u8]) -> Result<(), Error> {
        while self.rest.len() + bytes.len() > self.room {
            let (part, after) = bytes.split_at(self.room - self.rest.len());
            bytes = after;
            let head = std::mem::take(&mut self.rest);
            self.put_fragment(&[&head, part], false);
            if self.output.len() >= BATCH {
                self.association.send_encoded(&self.output).await?;
                self.output.clear();
            }
        }
        self.rest.extend_from_slice(bytes);
        Ok(())
    }

    /// Sends what is left, and gives the status of the response, which must come `within` that time.
    pub async fn finish(self, within: Duration) -> Result<Status, Error> {
        let (association, request) = self.send_last().await?;
        let awaited = Awaited::Response;
        let response = association
            .receive(awaited, within)
            .await?
            .ok_or(Error::Released(awaited))?;
        association.status_of_response(response, &request).await
    }
}

impl<'a> Store<'a> {
    /// Sends what is left. The response is then to be received.
    pub(in crate::dimse) async fn send_last(mut self) -> Result<(&'a mut Association, Command), Error> {
        let rest = std::mem::take(&mut self.rest);
        self.put_fragment(&[&rest], true);
        self.association.send_encoded(&self.output).await?;
        Ok((self.association, self.request))
    }

    /// Writes a P-DATA-TF PDU of one PDV (PS3.8 9.3.5).
    fn put_fragment(&mut self, parts: &[&[u8]], is_last: bool) {
        let length: usize = parts.iter().map(|part| part.len()).sum();
        // A fragment has less than 1 MiB.
        let [pdv, pdu] = [2, PDV_HEADER].map(|header| ((length + header) as u32).to_be_bytes());
        self.output.extend([P_DATA_TF, 0]);
        self.output.extend(pdu);
        self.output.extend(pdv);
        self.output
            .extend([self.context_id, if is_last { LAST } else { 0 }]);
        parts.iter().for_each(|part| self.output.extend_from_slice(part));
    }
}

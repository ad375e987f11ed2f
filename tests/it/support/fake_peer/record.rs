//! What a fake peer received.

use std::collections::BTreeMap;
use std::fmt;

/// One association, as far as it has come.
#[derive(Debug, Clone, Default)]
pub struct Association {
    pub calling_ae_title: String,
    pub called_ae_title: String,
    pub implementation_class_uid: String,
    /// The maximum PDU length that the requestor announced.
    pub max_pdu: u32,
    /// Abstract syntax and transfer syntaxes of each proposed presentation context.
    pub proposed: Vec<(String, Vec<String>)>,
    pub requests: Vec<Request>,
    /// Message IDs that C-CANCEL-RQs named.
    pub cancelled: Vec<u16>,
    pub ended: Ended,
}

/// A DIMSE request with its data set.
#[derive(Clone)]
pub struct Request {
    /// Command Field (0000,0100).
    pub command: u16,
    pub message_id: u16,
    pub sop_class_uid: String,
    pub transfer_syntax: String,
    /// The data set as it came.
    pub data_set: Vec<u8>,
    /// Keyword (else `gggg,eeee`) to value of the data set, multiple values divided by `\`.
    pub keys: BTreeMap<String, String>,
}

impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Request")
            .field("command", &format_args!("{:04X}", self.command))
            .field("message_id", &self.message_id)
            .field("sop_class_uid", &self.sop_class_uid)
            .field("transfer_syntax", &self.transfer_syntax)
            .field("keys", &self.keys)
            .finish_non_exhaustive()
    }
}

/// How an association ended.
#[derive(Debug, Clone, Default, PartialEq)]
pub enum Ended {
    /// It still lasts.
    #[default]
    NotYet,
    /// The requestor released it.
    Released,
    /// The requestor aborted it: source and reason as in PS3.8 9.3.8.
    Aborted(u8, u8),
    /// The requestor closed or reset the connection.
    Closed,
    /// The script ended it: closed, reset, aborted or rejected.
    ByScript,
    /// It reached its deadline.
    Deadline,
    /// What the requestor sent can't be read.
    Unreadable(String),
}

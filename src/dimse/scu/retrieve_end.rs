//! The responses of C-MOVE and C-GET, which are alike (PS3.7 9.1.3.2 and 9.1.4.2, PS3.4 C.4.2 and C.4.3).
//!
//! Invariant: counts are given as they came; what a peer leaves out is absent, as Remaining is by the standard in all
//! but pending responses.

use dicom_dictionary_std::tags;

use super::printable_comment;
use crate::dimse::{DataSet, Message, Status, SubOperations, TransferSyntax, Violation, trim_padding};
use crate::model::Uid;

/// The final response of a C-MOVE or C-GET.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RetrieveEnd {
    /// Its status.
    pub status: Status,
    /// Its Error Comment, without control characters.
    pub comment: Option<String>,
    /// Its counts.
    pub sub_operations: SubOperations,
    /// Failed SOP Instance UID List (0008,0058); empty also where the list can't be read.
    pub failed_instances: Vec<Uid>,
}

/// One response.
pub(super) enum Response {
    Pending(SubOperations),
    Final(RetrieveEnd),
}

/// Reads a response whose identifier is in `syntax`.
pub(super) fn read(message: Message, syntax: TransferSyntax) -> Result<Response, Violation> {
    let command = message.command;
    let status = command.status.ok_or(Violation::MissingStatus)?;
    if status.is_pending() {
        return Ok(Response::Pending(command.sub_operations));
    }
    let identifier = message
        .data_set
        .and_then(|bytes| DataSet::parse(bytes, syntax).ok());
    Ok(Response::Final(RetrieveEnd {
        status,
        comment: command.error_comment.as_deref().and_then(printable_comment),
        sub_operations: command.sub_operations,
        failed_instances: identifier.as_ref().map(failed_instances).unwrap_or_default(),
    }))
}

fn failed_instances(identifier: &DataSet) -> Vec<Uid> {
    let list = identifier
        .element(tags::FAILED_SOP_INSTANCE_UID_LIST)
        .unwrap_or_default();
    let uids = list.split(|byte| *byte == b'\\').map(trim_padding);
    uids.filter_map(|uid| std::str::from_utf8(uid).ok()?.parse().ok())
        .collect()
}

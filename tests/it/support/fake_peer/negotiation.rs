//! What a fake peer makes of the presentation contexts that are proposed to it, and records of the proposal.

use dicom_ul::pdu::PresentationContextResultReason::{
    AbstractSyntaxNotSupported, Acceptance as Accepted, TransferSyntaxesNotSupported,
};
use dicom_ul::pdu::{
    AssociationRQ, PresentationContextProposed, PresentationContextResult, UserVariableItem,
};

use super::Association;
use super::script::Acceptance;

impl Acceptance {
    /// The answer to one proposed presentation context.
    pub(super) fn result(&self, proposed: &PresentationContextProposed) -> PresentationContextResult {
        let known = match &self.abstract_syntaxes {
            None => true,
            Some(accepted) => accepted.contains(&proposed.abstract_syntax.as_str()),
        };
        let mut ours = self.transfer_syntaxes.iter().copied();
        let common = ours.find(|syntax| proposed.transfer_syntaxes.iter().any(|it| it == syntax));
        let (reason, transfer_syntax) = match (known, self.forced_transfer_syntax.or(common)) {
            (false, _) => (AbstractSyntaxNotSupported, ""),
            (true, None) => (TransferSyntaxesNotSupported, ""),
            (true, Some(syntax)) => (Accepted, syntax),
        };
        PresentationContextResult {
            id: proposed.id,
            reason,
            transfer_syntax: transfer_syntax.to_owned(),
        }
    }
}

impl Association {
    /// Records an A-ASSOCIATE-RQ.
    pub(super) fn associate(&mut self, request: &AssociationRQ) {
        self.calling_ae_title = request.calling_ae_title.trim().to_owned();
        self.called_ae_title = request.called_ae_title.trim().to_owned();
        let contexts = request.presentation_contexts.iter();
        self.proposed = contexts
            .map(|context| (context.abstract_syntax.clone(), context.transfer_syntaxes.clone()))
            .collect();
        for item in &request.user_variables {
            match item {
                UserVariableItem::MaxLength(length) => self.max_pdu = *length,
                UserVariableItem::ImplementationClassUID(uid) => self.implementation_class_uid = uid.clone(),
                _ => {}
            }
        }
    }
}

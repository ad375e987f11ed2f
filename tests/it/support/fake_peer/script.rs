//! What a fake peer can be told to do, step by step.
//!
//! Invariant: a script that runs out waits for the requestor to release, abort or close. While a step waits, a
//! C-CANCEL is recorded, and a release is answered, at any time.

use std::time::Duration;

use dicom_core::dictionary::{DataDictionary, DataDictionaryEntry};
use dicom_core::{DataElement, PrimitiveValue};
use dicom_dictionary_std::{StandardDataDictionary, uids};
use dicom_object::InMemDicomObject;
use dicom_ul::pdu::{AssociationRJResult, AssociationRJSource};

/// One thing that a fake peer does.
#[derive(Clone)]
pub enum Step {
    /// Waits for the A-ASSOCIATE-RQ and says nothing.
    AwaitAssociation,
    /// Waits for the A-ASSOCIATE-RQ and accepts it.
    Accept(Acceptance),
    /// Waits for the A-ASSOCIATE-RQ and rejects it.
    Reject(AssociationRJResult, AssociationRJSource),
    /// Waits for a whole request with its data set; the steps below answer it.
    AwaitRequest,
    /// Waits for a C-CANCEL, unless one has come since the request.
    AwaitCancel,
    /// From here on messages are packed this way.
    Pack(Packing),
    /// From here on each byte is written by itself, after this interval.
    Slowly(Duration),
    /// From here on responses name this message ID, whatever the request's was.
    AnswerAs(u16),
    /// A pending response with this status.
    Match(u16, Identifier),
    /// Pending matches, each made from its number.
    Matches(Flood),
    /// A C-STORE-RQ of a CT image with this instance UID and data set, as a sub-operation of a C-GET; waits for its answer.
    Object(String, Vec<u8>),
    /// The same, but its last fragment never comes.
    BrokenObject(String, Vec<u8>),
    /// The final response, with Error Comment where it isn't empty.
    End(u16, &'static str),
    /// A pending response whose identifier never ends: PDVs of 16 KiB, until the requestor hangs up or so many bytes.
    EndlessIdentifier(usize),
    /// These bytes, as they are.
    Raw(Vec<u8>),
    /// Does nothing for so long.
    Pause(Duration),
    /// A-ABORT, as service user.
    Abort,
    /// Closes the connection.
    Close,
    /// Resets the connection (RST).
    Reset,
}

/// Many matches in a row.
#[derive(Clone)]
pub struct Flood {
    pub count: usize,
    pub identifier: fn(usize) -> InMemDicomObject,
    /// Whether a C-CANCEL ends it with FE00; else it goes on as if none had come.
    pub heeds_cancel: bool,
}

/// How an association is accepted.
#[derive(Clone)]
pub struct Acceptance {
    /// The abstract syntaxes that are accepted; `None` is all.
    pub abstract_syntaxes: Option<Vec<&'static str>>,
    /// The transfer syntaxes that are accepted, the preferred one first.
    pub transfer_syntaxes: Vec<&'static str>,
    /// The announced maximum PDU length; 0 is no limit.
    pub max_pdu: u32,
    /// Accepts each context with this transfer syntax, whether it was proposed or not.
    pub forced_transfer_syntax: Option<&'static str>,
    /// What it says it is an implementation of.
    pub implementation_class_uid: &'static str,
}

impl Default for Acceptance {
    fn default() -> Self {
        Acceptance {
            abstract_syntaxes: None,
            transfer_syntaxes: vec![uids::EXPLICIT_VR_LITTLE_ENDIAN, uids::IMPLICIT_VR_LITTLE_ENDIAN],
            max_pdu: 16_384,
            forced_transfer_syntax: None,
            implementation_class_uid: "2.25.1",
        }
    }
}

/// How a message becomes P-DATA-TF PDUs.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Packing {
    /// The command in one PDU, the data set in another.
    TwoPdus,
    /// Both in one PDU.
    OnePdu,
    /// Both in PDVs of so many bytes, each in a PDU of its own.
    FragmentEach(usize),
    /// Both in PDVs of so many bytes, all in one PDU.
    FragmentsInOnePdu(usize),
    /// As `TwoPdus`, with a PDV of zero length before, and one that carries nothing but the last-fragment bit after.
    ZeroLengthPdvs,
}

/// The data set of a response.
#[derive(Clone)]
pub enum Identifier {
    /// Written in the transfer syntax of the presentation context.
    Elements(InMemDicomObject),
    /// These bytes, whatever was negotiated.
    Raw(Vec<u8>),
}

/// A data set of keywords and values; a `\` divides multiple values.
pub fn elements(values: &[(&str, &str)]) -> InMemDicomObject {
    InMemDicomObject::from_element_iter(values.iter().map(|(keyword, value)| {
        let entry = StandardDataDictionary.by_name(keyword);
        let entry = entry.unwrap_or_else(|| panic!("{keyword} is no keyword of PS3.6"));
        let values = value.split('\\').map(str::to_owned).collect();
        DataElement::new(entry.tag(), entry.vr().relaxed(), PrimitiveValue::Strs(values))
    }))
}

/// A match with this identifier, status FF00.
pub fn a_match(values: &[(&str, &str)]) -> Step {
    Step::Match(0xFF00, Identifier::Elements(elements(values)))
}

/// Accepts everything, waits for a request, does `steps`, and ends with success.
pub fn answer(steps: impl IntoIterator<Item = Step>) -> Vec<Step> {
    let mut script = vec![Step::Accept(Acceptance::default()), Step::AwaitRequest];
    script.extend(steps);
    script.push(Step::End(0, ""));
    script
}

//! A viewer that keeps its association open: a C-FIND SCU over dicom-ul, which knows nothing of impaxlink.
//!
//! Invariant: whoever it calls sees another implementation than our own, so that its queries are no linked cluster's.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use dicom_core::dictionary::{DataDictionary, DataDictionaryEntry};
use dicom_core::{Tag, VR};
use dicom_dictionary_std::{StandardDataDictionary, tags, uids};
use dicom_ul::ClientAssociation;
use dicom_ul::association::client::ClientAssociationOptions;
use dicom_ul::pdu::{PDataValue, PDataValueType, Pdu};
use impaxlink::dimse::{
    Assembler, Command, CommandField, DataSet, DataSetBuilder, Message, Status, TransferSyntax,
};

/// How long a viewer waits for anything.
const PATIENCE: Duration = Duration::from_secs(60);

/// A viewer with an association open.
pub struct Viewer {
    association: ClientAssociation<std::net::TcpStream>,
    assembler: Assembler,
    waiting: VecDeque<Message>,
    abstract_syntax: &'static str,
    context_id: u8,
    message_id: u16,
}

/// The final response of a query, and its matches.
#[derive(Debug, Clone)]
pub struct Seen {
    pub matches: Vec<DataSet>,
    pub status: u16,
    pub comment: String,
    pub offending: Vec<Tag>,
    /// The status of the matches, each once.
    pub pending: Vec<u16>,
}

impl Seen {
    /// The sorted values of an attribute over all matches.
    pub fn values(&self, keyword: &str) -> Vec<String> {
        let tag = entry(keyword).0;
        let values = self.matches.iter().filter_map(|row| value(row, tag));
        let mut values: Vec<String> = values.collect();
        values.sort_unstable();
        values
    }
}

/// The text of an attribute, without padding.
pub fn value(row: &DataSet, tag: Tag) -> Option<String> {
    let value = row.element(tag)?;
    Some(
        String::from_utf8_lossy(value)
            .trim_matches(['\0', ' '])
            .to_owned(),
    )
}

impl Viewer {
    /// Associates in Study Root as `calling` with the impaxlink on this port.
    pub fn open(port: u16, calling: &str) -> Self {
        Self::open_to(port, calling, "IMPAXLINK")
    }

    /// Associates in Study Root with whoever is called `called` on this port.
    pub fn open_to(port: u16, calling: &str, called: &str) -> Self {
        let study_root = uids::STUDY_ROOT_QUERY_RETRIEVE_INFORMATION_MODEL_FIND;
        Self::open_as(port, calling, called, study_root)
    }

    /// Associates in Patient Root.
    pub fn open_patient_root(port: u16, calling: &str) -> Self {
        let patient_root = uids::PATIENT_ROOT_QUERY_RETRIEVE_INFORMATION_MODEL_FIND;
        Self::open_as(port, calling, "IMPAXLINK", patient_root)
    }

    fn open_as(port: u16, calling: &str, called: &str, abstract_syntax: &'static str) -> Self {
        let association = ClientAssociationOptions::new()
            .calling_ae_title(calling)
            .called_ae_title(called)
            .with_presentation_context(abstract_syntax, vec![uids::IMPLICIT_VR_LITTLE_ENDIAN])
            .read_timeout(PATIENCE)
            .write_timeout(PATIENCE)
            .establish(("127.0.0.1", port))
            .expect("the association is accepted");
        let context_id = association.presentation_contexts()[0].id;
        Viewer {
            association,
            assembler: Assembler::new(1 << 20),
            waiting: VecDeque::new(),
            abstract_syntax,
            context_id,
            message_id: 0,
        }
    }

    /// Asks at study level; `keys` are `KEYWORD=VALUE` or `KEYWORD`.
    pub fn find(&mut self, keys: &[&str]) -> Seen {
        self.find_at("STUDY", keys)
    }

    /// Asks at a level.
    pub fn find_at(&mut self, level: &str, keys: &[&str]) -> Seen {
        self.begin(level, keys);
        self.finish()
    }

    /// Sends a request and reads nothing.
    pub fn begin(&mut self, level: &str, keys: &[&str]) {
        let mut identifier = DataSetBuilder::new().put(tags::QUERY_RETRIEVE_LEVEL, VR::CS, level);
        for key in keys {
            let (keyword, value) = key.split_once('=').unwrap_or((key, ""));
            let (tag, vr) = entry(keyword);
            identifier = match vr {
                VR::SQ => identifier.put_items(tag, Vec::new()),
                vr => identifier.put(tag, vr, value),
            };
        }
        let identifier = identifier
            .encode(TransferSyntax::ImplicitVrLittleEndian)
            .expect("an identifier");
        self.send_request(identifier.bytes());
    }

    /// Sends a request with these bytes as its identifier.
    pub fn send_request(&mut self, identifier: &[u8]) {
        self.message_id += 1;
        let mut request = Command::request(CommandField::C_FIND_RQ, self.message_id, self.abstract_syntax);
        request.priority = Some(0);
        request.has_data_set = true;
        self.send(&request, Some(identifier));
    }

    /// Sends C-CANCEL for the last request.
    pub fn cancel(&mut self) {
        self.send(&Command::cancel(self.message_id), None);
    }

    /// Waits for a match or the end.
    pub fn next(&mut self) -> Message {
        let message = loop {
            if let Some(message) = self.waiting.pop_front() {
                break message;
            }
            let Pdu::PData { data } = self.association.receive().expect("a PDU") else {
                panic!("the association ended within an answer");
            };
            for fragment in data {
                self.waiting
                    .extend(self.assembler.push(fragment).expect("a message"));
            }
        };
        assert_eq!(message.command.responded_to, Some(self.message_id));
        message
    }

    /// Reads the answer to its end.
    pub fn finish(&mut self) -> Seen {
        let mut matches = Vec::new();
        let mut pending = BTreeMap::new();
        loop {
            let message = self.next();
            let status = message.command.status.expect("a status");
            if status.is_pending() {
                pending.insert(status.0, ());
                let bytes = message.data_set.expect("the identifier of a match");
                let row = DataSet::parse(bytes, TransferSyntax::ImplicitVrLittleEndian);
                matches.push(row.expect("a sound identifier"));
                continue;
            }
            let Status(status) = status;
            let comment = message.command.error_comment.unwrap_or_default();
            return Seen {
                matches,
                status,
                comment: String::from_utf8(comment).expect("ASCII"),
                offending: message.command.offending_elements,
                pending: pending.into_keys().collect(),
            };
        }
    }

    /// Releases the association.
    pub fn release(self) {
        self.association.release().expect("a release");
    }

    /// Goes away without a word.
    pub fn vanish(self) {
        drop(self);
    }

    fn send(&mut self, command: &Command, data_set: Option<&[u8]>) {
        let value = |value_type, data: Vec<u8>| PDataValue {
            presentation_context_id: self.context_id,
            value_type,
            is_last: true,
            data,
        };
        let mut data = vec![value(PDataValueType::Command, command.encode())];
        data.extend(data_set.map(|bytes| value(PDataValueType::Data, bytes.to_vec())));
        let sent = self.association.send(&Pdu::PData { data });
        sent.expect("the association takes a request");
    }
}

fn entry(keyword: &str) -> (Tag, VR) {
    let entry = StandardDataDictionary.by_name(keyword);
    let entry = entry.unwrap_or_else(|| panic!("{keyword} is no keyword of PS3.6"));
    (entry.tag(), entry.vr().relaxed())
}

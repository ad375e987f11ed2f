//! From presentation data values to whole messages (PS3.7 6.3, PS3.8 annex E).
//!
//! A P-DATA-TF PDU may hold any number of PDVs, none too; a message may span any number of PDUs; a PDV may be empty.
//! Invariant: fragments of one message are never mixed with another's, and never hold more than the limits.

use dicom_ul::pdu::{PDataValue, PDataValueType};

use super::command::MAX_COMMAND;
use super::{Command, Error, Violation};

/// A whole DIMSE message. Its data set is raw: it has not passed the structural check yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// The ID of its presentation context.
    pub context_id: u8,
    /// Its command set.
    pub command: Command,
    /// Its data set, if it has one.
    pub data_set: Option<Vec<u8>>,
}

/// Collects fragments until they make a message.
#[derive(Debug)]
pub struct Assembler {
    max_data_set: usize,
    state: State,
}

#[derive(Debug)]
enum State {
    Between,
    InCommand {
        context_id: u8,
        command: Vec<u8>,
    },
    InDataSet {
        context_id: u8,
        command: Command,
        data_set: Vec<u8>,
    },
}

impl Assembler {
    /// An assembler that refuses data sets of more than `max_data_set` bytes.
    pub fn new(max_data_set: usize) -> Self {
        Assembler {
            max_data_set,
            state: State::Between,
        }
    }

    /// Whether no message is under way.
    pub fn is_between_messages(&self) -> bool {
        matches!(self.state, State::Between)
    }

    /// Takes the next fragment, and gives the message that it completes.
    ///
    /// After an error the association is of no more use: what follows has no known meaning.
    pub fn push(&mut self, fragment: PDataValue) -> Result<Option<Message>, Error> {
        match std::mem::replace(&mut self.state, State::Between) {
            State::Between => self.command_fragment(fragment.presentation_context_id, Vec::new(), fragment),
            State::InCommand { context_id, command } => self.command_fragment(context_id, command, fragment),
            State::InDataSet {
                context_id,
                command,
                data_set,
            } => self.data_set_fragment(context_id, command, data_set, fragment),
        }
    }

    fn command_fragment(
        &mut self,
        context_id: u8,
        mut bytes: Vec<u8>,
        fragment: PDataValue,
    ) -> Result<Option<Message>, Error> {
        require(&fragment, context_id, PDataValueType::Command)?;
        append(&mut bytes, fragment.data, "command set", MAX_COMMAND)?;
        if !fragment.is_last {
            self.state = State::InCommand {
                context_id,
                command: bytes,
            };
            return Ok(None);
        }
        let command = Command::parse(&bytes).ok_or(Violation::UnreadableCommand)?;
        if command.has_data_set {
            self.state = State::InDataSet {
                context_id,
                command,
                data_set: Vec::new(),
            };
            return Ok(None);
        }
        Ok(Some(Message {
            context_id,
            command,
            data_set: None,
        }))
    }

    fn data_set_fragment(
        &mut self,
        context_id: u8,
        command: Command,
        mut bytes: Vec<u8>,
        fragment: PDataValue,
    ) -> Result<Option<Message>, Error> {
        require(&fragment, context_id, PDataValueType::Data)?;
        append(&mut bytes, fragment.data, "data set", self.max_data_set)?;
        if !fragment.is_last {
            self.state = State::InDataSet {
                context_id,
                command,
                data_set: bytes,
            };
            return Ok(None);
        }
        Ok(Some(Message {
            context_id,
            command,
            data_set: Some(bytes),
        }))
    }
}

fn require(fragment: &PDataValue, context_id: u8, kind: PDataValueType) -> Result<(), Violation> {
    if fragment.presentation_context_id != context_id {
        return Err(Violation::InterleavedContexts);
    }
    if fragment.value_type != kind {
        return Err(Violation::FragmentsOutOfOrder);
    }
    Ok(())
}

fn append(bytes: &mut Vec<u8>, more: Vec<u8>, what: &'static str, limit: usize) -> Result<(), Error> {
    if bytes.len() + more.len() > limit {
        return Err(Error::TooLarge { what, limit });
    }
    if bytes.is_empty() {
        *bytes = more;
    } else {
        bytes.extend_from_slice(&more);
    }
    Ok(())
}

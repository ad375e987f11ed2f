//! From presentation data values to whole messages (PS3.7 6.3, PS3.8 annex E).
//!
//! A P-DATA-TF PDU may hold any number of PDVs, none too; a message may span any number of PDUs; a PDV may be empty.
//! Invariant: fragments of one message are never mixed with another's, and never hold more than the limits. A data set
//! that is too long to be an identifier, or for which there is no room, is let pass by: its message can be answered.

use bytes::Bytes;
use dicom_ul::pdu::{PDataValue, PDataValueType};

use super::command::MAX_COMMAND;
use super::in_flight::{HeldBytes, NoRoom};
use super::{Command, CommandField, Error, Violation};

/// A whole DIMSE message. Its data set is raw: it has not passed the structural check yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// The ID of its presentation context.
    pub context_id: u8,
    /// Its command set.
    pub command: Command,
    /// Its data set, if it has one and it was taken.
    pub data_set: Option<Bytes>,
    /// Why its data set was not taken, where it was not. The message is whole all the same, and can be answered.
    pub refusal: Option<DataSetRefusal>,
}

/// Why a data set was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DataSetRefusal {
    /// It is longer than an identifier may be.
    #[error("the identifier has more than {0} bytes")]
    IdentifierTooLong(usize),
    /// All associations together hold as much as they may.
    #[error("too many bytes are being received, try again later")]
    NoRoom,
}

/// The longest identifier of a request, in bytes: 10,000 UIDs, many times what viewers ask for at once.
pub const MAX_REQUEST_IDENTIFIER: usize = 1024 * 1024;
/// The longest identifier of a response, in bytes.
pub const MAX_RESPONSE_IDENTIFIER: usize = 4 * 1024 * 1024;

/// Collects fragments until they make a message.
#[derive(Debug)]
pub struct Assembler {
    max_data_set: usize,
    /// Presentation contexts whose C-STORE-RQs are given without their data sets.
    object_contexts: Vec<u8>,
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
        data_set: HeldBytes,
    },
    /// Within a data set that is not kept, of which so many bytes have come.
    InRefused {
        context_id: u8,
        command: Command,
        length: usize,
        refusal: DataSetRefusal,
    },
    InObject {
        context_id: u8,
    },
}

impl Assembler {
    /// An assembler that refuses data sets of more than `max_data_set` bytes.
    pub fn new(max_data_set: usize) -> Self {
        Assembler {
            max_data_set,
            object_contexts: Vec::new(),
            state: State::Between,
        }
    }

    /// The same, but giving C-STORE-RQs in these contexts as soon as their commands are whole. The data set follows
    /// fragment by fragment ([`Self::push_object`]), of whatever length.
    pub(super) fn with_objects_in(mut self, contexts: impl Iterator<Item = u8>) -> Self {
        self.object_contexts = contexts.collect();
        self
    }

    /// Whether the rest of an object is to come.
    pub(super) fn is_in_object(&self) -> bool {
        matches!(self.state, State::InObject { .. })
    }

    /// Takes the next fragment of an object, and gives its bytes.
    pub(super) fn push_object(&mut self, fragment: PDataValue) -> Result<Vec<u8>, Violation> {
        let State::InObject { context_id } = self.state else {
            return Err(Violation::FragmentsOutOfOrder);
        };
        require(&fragment, context_id, PDataValueType::Data)?;
        if fragment.is_last {
            self.state = State::Between;
        }
        Ok(fragment.data)
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
            State::InRefused {
                context_id,
                command,
                length,
                refusal,
            } => {
                require(&fragment, context_id, PDataValueType::Data)?;
                self.refused_fragment((context_id, command), length, refusal, &fragment)
            }
            // Nobody has taken the object.
            State::InObject { .. } => Err(Violation::FragmentsOutOfOrder.into()),
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
        let is_object =
            command.field == CommandField::C_STORE_RQ && self.object_contexts.contains(&context_id);
        if command.has_data_set && is_object {
            self.state = State::InObject { context_id };
        } else if command.has_data_set {
            self.state = State::InDataSet {
                context_id,
                command,
                data_set: HeldBytes::default(),
            };
            return Ok(None);
        }
        Ok(Some(Message {
            context_id,
            command,
            data_set: None,
            refusal: None,
        }))
    }

    /// Takes the next fragment of a data set that is kept as long as it is not too long and there is room for it.
    fn data_set_fragment(
        &mut self,
        context_id: u8,
        command: Command,
        mut bytes: HeldBytes,
        mut fragment: PDataValue,
    ) -> Result<Option<Message>, Error> {
        require(&fragment, context_id, PDataValueType::Data)?;
        let length = bytes.len();
        let of_identifier =
            max_identifier(&command).filter(|longest| length + fragment.data.len() > *longest);
        let is_too_long = length + fragment.data.len() > self.max_data_set;
        let refusal = match of_identifier {
            Some(longest) if !is_too_long => Some(DataSetRefusal::IdentifierTooLong(longest)),
            _ if is_too_long => return Err(too_large("data set", self.max_data_set)),
            _ => match bytes.append(std::mem::take(&mut fragment.data)) {
                Ok(()) => None,
                Err(NoRoom) => Some(DataSetRefusal::NoRoom),
            },
        };
        if let Some(refusal) = refusal {
            return self.refused_fragment((context_id, command), length, refusal, &fragment);
        }
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
            data_set: Some(bytes.finish()),
            refusal: None,
        }))
    }

    /// Forgets the next fragment of a data set that is not taken; `length` bytes have come before it.
    fn refused_fragment(
        &mut self,
        (context_id, command): (u8, Command),
        length: usize,
        refusal: DataSetRefusal,
        fragment: &PDataValue,
    ) -> Result<Option<Message>, Error> {
        let length = length + fragment.data.len();
        if length > self.max_data_set {
            return Err(too_large("data set", self.max_data_set));
        }
        if !fragment.is_last {
            self.state = State::InRefused {
                context_id,
                command,
                length,
                refusal,
            };
            return Ok(None);
        }
        Ok(Some(Message {
            context_id,
            command,
            data_set: None,
            refusal: Some(refusal),
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

/// The longest data set of a message that has an identifier; objects are bounded by the association's limits alone.
fn max_identifier(command: &Command) -> Option<usize> {
    match command.field {
        CommandField::C_STORE_RQ => None,
        field if field.is_response() => Some(MAX_RESPONSE_IDENTIFIER),
        _ => Some(MAX_REQUEST_IDENTIFIER),
    }
}

fn too_large(what: &'static str, limit: usize) -> Error {
    Error::TooLarge { what, limit }
}

fn append(bytes: &mut Vec<u8>, more: Vec<u8>, what: &'static str, limit: usize) -> Result<(), Error> {
    if bytes.len() + more.len() > limit {
        return Err(too_large(what, limit));
    }
    if bytes.is_empty() {
        *bytes = more;
    } else {
        bytes.extend_from_slice(&more);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::super::Status;
    use super::*;

    fn messages() -> impl Strategy<Value = Vec<Message>> {
        let message = (
            prop::sample::select(vec![1_u8, 3, 255]),
            any::<u16>(),
            proptest::option::of(vec(any::<u8>(), 0..60)),
        );
        let message = message.prop_map(|(context_id, id, data_set)| {
            let request = Command::request(CommandField::C_FIND_RQ, id, "1.2.840.10008.1.1");
            let mut command = Command::response(&request, Status::PENDING);
            command.has_data_set = data_set.is_some();
            Message {
                context_id,
                command,
                data_set: data_set.map(Bytes::from),
                refusal: None,
            }
        });
        vec(message, 0..4)
    }

    /// Cuts a value into fragments of these lengths, in turn; lengths of 0 make empty fragments.
    fn cut(message: &Message, lengths: &[usize]) -> Vec<PDataValue> {
        let command = (PDataValueType::Command, message.command.encode());
        let data_set = message
            .data_set
            .as_ref()
            .map(|data_set| (PDataValueType::Data, data_set.to_vec()));
        let mut fragments = Vec::new();
        let mut lengths = lengths.iter().cycle();
        for (value_type, value) in std::iter::once(command).chain(data_set) {
            let mut rest = value.as_slice();
            loop {
                let length = (*lengths.next().unwrap()).min(rest.len());
                let (part, after) = rest.split_at(length);
                rest = after;
                // Half of the time, the last bit comes alone.
                let is_last = rest.is_empty() && (length % 2 == 0 || part.is_empty());
                fragments.push(PDataValue {
                    presentation_context_id: message.context_id,
                    value_type: value_type.clone(),
                    is_last,
                    data: part.to_vec(),
                });
                if is_last {
                    break;
                }
            }
        }
        fragments
    }

    proptest! {
        #[test]
        fn any_fragmentation_gives_the_same_messages(
            messages in messages(),
            mut lengths in vec(0_usize..40, 1..8),
        ) {
            lengths.push(1);
            let mut assembler = Assembler::new(60);
            let mut whole = Vec::new();
            for fragment in messages.iter().flat_map(|message| cut(message, &lengths)) {
                whole.extend(assembler.push(fragment).unwrap());
            }
            prop_assert_eq!(whole, messages);
            prop_assert!(assembler.is_between_messages());
        }

        #[test]
        fn any_fragments_are_taken_or_refused_without_harm(
            fragments in vec((prop::sample::select(vec![1_u8, 3]), any::<bool>(), any::<bool>(), vec(any::<u8>(), 0..20)), 0..12),
        ) {
            let mut assembler = Assembler::new(30);
            for (presentation_context_id, is_command, is_last, data) in fragments {
                let value_type = if is_command { PDataValueType::Command } else { PDataValueType::Data };
                let _ = assembler.push(PDataValue { presentation_context_id, value_type, is_last, data });
            }
        }
    }

    fn fragment(context_id: u8, value_type: PDataValueType, is_last: bool, data: Vec<u8>) -> PDataValue {
        PDataValue {
            presentation_context_id: context_id,
            value_type,
            is_last,
            data,
        }
    }

    #[test]
    fn mixed_messages_are_refused() {
        let command = |context_id| fragment(context_id, PDataValueType::Command, false, vec![0]);
        let mut assembler = Assembler::new(30);
        assert!(assembler.push(command(1)).unwrap().is_none());
        let error = assembler.push(command(3)).unwrap_err();
        assert!(matches!(error, Error::Violation(Violation::InterleavedContexts)));
        let data = fragment(1, PDataValueType::Data, true, vec![]);
        let error = Assembler::new(30).push(data).unwrap_err();
        assert!(matches!(error, Error::Violation(Violation::FragmentsOutOfOrder)));
    }

    #[test]
    fn what_is_too_large_is_refused() {
        let mut assembler = Assembler::new(30);
        let half = || fragment(1, PDataValueType::Command, false, vec![0; MAX_COMMAND / 2]);
        assert!(assembler.push(half()).is_ok() && assembler.push(half()).is_ok());
        assert!(matches!(
            assembler.push(half()),
            Err(Error::TooLarge {
                what: "command set",
                ..
            })
        ));

        let mut command = Command::request(CommandField::C_FIND_RQ, 1, "1.2");
        command.has_data_set = true;
        assembler
            .push(fragment(1, PDataValueType::Command, true, command.encode()))
            .unwrap();
        let data = fragment(1, PDataValueType::Data, false, vec![0; 31]);
        assert!(matches!(
            assembler.push(data),
            Err(Error::TooLarge { what: "data set", .. })
        ));
    }

    #[test]
    fn an_object_is_given_as_it_comes_and_only_where_objects_are() {
        let mut request = Command::request(CommandField::C_STORE_RQ, 7, "1.2.840.10008.5.1.4.1.1.2");
        request.has_data_set = true;
        let fragment = |value_type, is_last, data: &[u8]| PDataValue {
            presentation_context_id: 3,
            value_type,
            is_last,
            data: data.to_vec(),
        };
        let command = || fragment(PDataValueType::Command, true, &request.encode());
        let mut assembler = Assembler::new(4).with_objects_in([3].into_iter());
        let message = assembler.push(command()).unwrap().unwrap();
        assert_eq!(message.data_set, None);
        for (is_last, data) in [(false, &b"longer than "[..]), (true, b"four bytes")] {
            assert!(assembler.is_in_object());
            let given = assembler.push_object(fragment(PDataValueType::Data, is_last, data));
            assert_eq!(given.unwrap(), data);
        }
        assert!(assembler.is_between_messages());
        assembler.push(command()).unwrap();
        assert!(assembler.push_object(command()).is_err());

        let mut assembler = Assembler::new(4).with_objects_in([5].into_iter());
        assert_eq!(assembler.push(command()).unwrap(), None);
        let data = fragment(PDataValueType::Data, true, b"1234");
        assert_eq!(
            assembler.push(data).unwrap().unwrap().data_set.unwrap()[..],
            *b"1234"
        );
    }

    /// Case: a list of tens of thousands of UIDs
    #[test]
    fn a_data_set_too_long_for_an_identifier_is_let_pass_and_its_message_still_comes() {
        let mut command = Command::request(CommandField::C_FIND_RQ, 1, "1.2");
        command.has_data_set = true;
        let mut assembler = Assembler::new(2 * MAX_REQUEST_IDENTIFIER);
        let push = |assembler: &mut Assembler, is_last, data| {
            assembler.push(fragment(1, PDataValueType::Data, is_last, data))
        };
        for _ in 0..2 {
            let start = fragment(1, PDataValueType::Command, true, command.encode());
            assert_eq!(assembler.push(start).unwrap(), None);
            assert_eq!(
                push(&mut assembler, false, vec![0; MAX_REQUEST_IDENTIFIER]).unwrap(),
                None
            );
            let message = push(&mut assembler, true, vec![0; 2]).unwrap().unwrap();
            let refusal = DataSetRefusal::IdentifierTooLong(MAX_REQUEST_IDENTIFIER);
            assert_eq!((message.data_set, message.refusal), (None, Some(refusal)));
        }
    }
}

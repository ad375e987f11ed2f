//! Command sets: the group 0000 of every DIMSE message (PS3.7 section 9 and annex E), Implicit VR Little Endian.
//!
//! Invariant: a parsed [`Command`] has a command field; everything else is there only if it came. Elements that we
//! do not know are passed over, also those of other groups: Orthanc lists failed instances (0008,0058) in its command. What a command must hold for its service is for the service to ask.

use dicom_core::{Tag, VR};
use dicom_dictionary_std::tags;

use super::builder::put_element;
use super::element::{ElementHeader, UNDEFINED_LENGTH};
use super::trim_padding;
use super::{Status, TransferSyntax};

/// The greatest length of a command set, in bytes. Real ones have some 200.
pub const MAX_COMMAND: usize = 64 * 1024;

const IMPLICIT: TransferSyntax = TransferSyntax::ImplicitVrLittleEndian;
const NO_DATA_SET: u16 = 0x0101;

/// Which operation a message belongs to, and whether it asks or answers (PS3.7 table E.1-1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct CommandField(pub u16);

impl CommandField {
    /// C-STORE-RQ.
    pub const C_STORE_RQ: CommandField = CommandField(0x0001);
    /// C-GET-RQ.
    pub const C_GET_RQ: CommandField = CommandField(0x0010);
    /// C-FIND-RQ.
    pub const C_FIND_RQ: CommandField = CommandField(0x0020);
    /// C-MOVE-RQ.
    pub const C_MOVE_RQ: CommandField = CommandField(0x0021);
    /// C-ECHO-RQ.
    pub const C_ECHO_RQ: CommandField = CommandField(0x0030);
    /// C-CANCEL-RQ, which has no response of its own.
    pub const C_CANCEL_RQ: CommandField = CommandField(0x0FFF);

    /// Whether the message answers another.
    pub fn is_response(self) -> bool {
        self.0 & 0x8000 != 0
    }

    /// The field of the response to this request.
    pub fn response(self) -> CommandField {
        CommandField(self.0 | 0x8000)
    }
}

/// The counts of sub-operations in the responses of C-MOVE and C-GET.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SubOperations {
    /// Still to be done.
    pub remaining: Option<u16>,
    /// Done.
    pub completed: Option<u16>,
    /// Failed.
    pub failed: Option<u16>,
    /// Done with warnings.
    pub warning: Option<u16>,
}

/// A command set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Command {
    /// The kind of message.
    pub field: CommandField,
    /// The number of a request, unique while it is under way.
    pub message_id: Option<u16>,
    /// Of a response or C-CANCEL: the number of its request.
    pub responded_to: Option<u16>,
    /// Affected SOP Class UID.
    pub sop_class: Option<String>,
    /// Affected SOP Instance UID.
    pub sop_instance: Option<String>,
    /// 0 medium, 1 high, 2 low.
    pub priority: Option<u16>,
    /// Whether a data set follows.
    pub has_data_set: bool,
    /// Status of a response.
    pub status: Option<Status>,
    /// Error Comment, raw: at most 64 characters, in a character set that nobody states.
    pub error_comment: Option<Vec<u8>>,
    /// Offending Element: the tags that are to blame.
    pub offending_elements: Vec<Tag>,
    /// Move Destination: an AE title, without padding.
    pub move_destination: Option<String>,
    /// Move Originator Application Entity Title, without padding.
    pub move_originator: Option<String>,
    /// Move Originator Message ID.
    pub move_originator_message_id: Option<u16>,
    /// The counts of sub-operations.
    pub sub_operations: SubOperations,
}

impl Command {
    /// A request of `field` for a SOP class.
    pub fn request(field: CommandField, message_id: u16, sop_class: &str) -> Self {
        Command {
            message_id: Some(message_id),
            sop_class: Some(sop_class.to_owned()),
            ..Self::bare(field)
        }
    }

    /// The response to `request`: its message ID and its SOP class and instance, with a status.
    pub fn response(request: &Command, status: Status) -> Self {
        Command {
            responded_to: request.message_id,
            sop_class: request.sop_class.clone(),
            sop_instance: request.sop_instance.clone(),
            status: Some(status),
            ..Self::bare(request.field.response())
        }
    }

    /// A C-CANCEL-RQ for the request with this message ID.
    pub fn cancel(message_id: u16) -> Self {
        Command {
            responded_to: Some(message_id),
            ..Self::bare(CommandField::C_CANCEL_RQ)
        }
    }

    fn bare(field: CommandField) -> Self {
        Command {
            field,
            message_id: None,
            responded_to: None,
            sop_class: None,
            sop_instance: None,
            priority: None,
            has_data_set: false,
            status: None,
            error_comment: None,
            offending_elements: Vec::new(),
            move_destination: None,
            move_originator: None,
            move_originator_message_id: None,
            sub_operations: SubOperations::default(),
        }
    }

    /// Reads a command set; `None` where it is not one.
    pub fn parse(mut bytes: &[u8]) -> Option<Self> {
        let mut command = Self::bare(CommandField(0));
        let mut field = None;
        while !bytes.is_empty() {
            let header = ElementHeader::read(bytes, IMPLICIT)?;
            if header.length == UNDEFINED_LENGTH {
                return None;
            }
            let (value, rest) = bytes
                .get(header.size..)?
                .split_at_checked(header.length as usize)?;
            bytes = rest;
            if header.tag == tags::COMMAND_FIELD {
                field = Some(number(value)?);
            } else {
                command.take(header.tag, value)?;
            }
        }
        command.field = CommandField(field?);
        Some(command)
    }

    fn take(&mut self, tag: Tag, value: &[u8]) -> Option<()> {
        match tag {
            tags::MESSAGE_ID => self.message_id = Some(number(value)?),
            tags::MESSAGE_ID_BEING_RESPONDED_TO => self.responded_to = Some(number(value)?),
            tags::AFFECTED_SOP_CLASS_UID => self.sop_class = Some(text(value)),
            tags::AFFECTED_SOP_INSTANCE_UID => self.sop_instance = Some(text(value)),
            tags::PRIORITY => self.priority = Some(number(value)?),
            tags::COMMAND_DATA_SET_TYPE => self.has_data_set = number(value)? != NO_DATA_SET,
            tags::STATUS => self.status = Some(Status(number(value)?)),
            tags::ERROR_COMMENT => self.error_comment = Some(trim_padding(value).to_vec()),
            tags::OFFENDING_ELEMENT => self.offending_elements = tag_list(value),
            tags::MOVE_DESTINATION => self.move_destination = Some(text(value)),
            tags::MOVE_ORIGINATOR_APPLICATION_ENTITY_TITLE => self.move_originator = Some(text(value)),
            tags::MOVE_ORIGINATOR_MESSAGE_ID => self.move_originator_message_id = Some(number(value)?),
            tags::NUMBER_OF_REMAINING_SUBOPERATIONS => self.sub_operations.remaining = Some(number(value)?),
            tags::NUMBER_OF_COMPLETED_SUBOPERATIONS => self.sub_operations.completed = Some(number(value)?),
            tags::NUMBER_OF_FAILED_SUBOPERATIONS => self.sub_operations.failed = Some(number(value)?),
            tags::NUMBER_OF_WARNING_SUBOPERATIONS => self.sub_operations.warning = Some(number(value)?),
            _ => {}
        }
        Some(())
    }

    /// Encodes the command set, group length first, elements in tag order (PS3.7 6.3.1).
    pub fn encode(&self) -> Vec<u8> {
        let mut body = Encoder(Vec::with_capacity(160));
        body.text(tags::AFFECTED_SOP_CLASS_UID, VR::UI, self.sop_class.as_deref());
        body.number(tags::COMMAND_FIELD, Some(self.field.0));
        body.number(tags::MESSAGE_ID, self.message_id);
        body.number(tags::MESSAGE_ID_BEING_RESPONDED_TO, self.responded_to);
        body.text(tags::MOVE_DESTINATION, VR::AE, self.move_destination.as_deref());
        body.number(tags::PRIORITY, self.priority);
        let data_set_type = if self.has_data_set { 0x0001 } else { NO_DATA_SET };
        body.number(tags::COMMAND_DATA_SET_TYPE, Some(data_set_type));
        body.number(tags::STATUS, self.status.map(|status| status.0));
        body.tag_list(tags::OFFENDING_ELEMENT, &self.offending_elements);
        if let Some(comment) = &self.error_comment {
            body.put(tags::ERROR_COMMENT, VR::LO, comment);
        }
        body.text(
            tags::AFFECTED_SOP_INSTANCE_UID,
            VR::UI,
            self.sop_instance.as_deref(),
        );
        body.number(
            tags::NUMBER_OF_REMAINING_SUBOPERATIONS,
            self.sub_operations.remaining,
        );
        body.number(
            tags::NUMBER_OF_COMPLETED_SUBOPERATIONS,
            self.sub_operations.completed,
        );
        body.number(tags::NUMBER_OF_FAILED_SUBOPERATIONS, self.sub_operations.failed);
        body.number(tags::NUMBER_OF_WARNING_SUBOPERATIONS, self.sub_operations.warning);
        let originator = self.move_originator.as_deref();
        body.text(tags::MOVE_ORIGINATOR_APPLICATION_ENTITY_TITLE, VR::AE, originator);
        body.number(tags::MOVE_ORIGINATOR_MESSAGE_ID, self.move_originator_message_id);
        let mut whole = Encoder(Vec::with_capacity(body.0.len() + 12));
        let length = u32::try_from(body.0.len()).unwrap_or(u32::MAX);
        whole.put(tags::COMMAND_GROUP_LENGTH, VR::UL, &length.to_le_bytes());
        whole.0.append(&mut body.0);
        whole.0
    }
}

struct Encoder(Vec<u8>);

impl Encoder {
    fn put(&mut self, tag: Tag, vr: VR, value: &[u8]) {
        // Cut to what any command element may have, so that the length always fits its field.
        let value = value.get(..MAX_COMMAND / 4).unwrap_or(value);
        let encoded = put_element(&mut self.0, IMPLICIT, tag, vr, value);
        debug_assert!(encoded.is_ok(), "16 KiB fit a length of 32 bits");
    }

    fn number(&mut self, tag: Tag, value: Option<u16>) {
        if let Some(value) = value {
            self.put(tag, VR::US, &value.to_le_bytes());
        }
    }

    fn text(&mut self, tag: Tag, vr: VR, value: Option<&str>) {
        if let Some(value) = value {
            self.put(tag, vr, value.as_bytes());
        }
    }

    fn tag_list(&mut self, tag: Tag, list: &[Tag]) {
        if !list.is_empty() {
            let halves = list.iter().flat_map(|tag| [tag.0, tag.1]);
            let value: Vec<u8> = halves.flat_map(u16::to_le_bytes).collect();
            self.put(tag, VR::AT, &value);
        }
    }
}

fn number(value: &[u8]) -> Option<u16> {
    <[u8; 2]>::try_from(value).ok().map(u16::from_le_bytes)
}

fn text(value: &[u8]) -> String {
    String::from_utf8_lossy(trim_padding(value)).into_owned()
}

fn tag_list(value: &[u8]) -> Vec<Tag> {
    let half = |chunk: &[u8]| number(chunk).unwrap_or_default();
    value
        .chunks_exact(4)
        .map(|chunk| chunk.split_at(2))
        .map(|(group, element)| Tag(half(group), half(element)))
        .collect()
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::option::of;
    use proptest::prelude::*;

    use super::*;

    fn commands() -> impl Strategy<Value = Command> {
        let requests = (
            any::<u16>(),
            of(any::<u16>()),
            of(any::<u16>()),
            of("[0-9.]{1,20}"),
            of("[0-9.]{1,20}"),
        );
        let responses = (
            of(any::<u16>()),
            any::<bool>(),
            of(any::<u16>()),
            of(vec(b'!'..=b'~', 1..64)),
        );
        let moves = (
            of("[A-Z]{1,16}"),
            of("[A-Z]{1,16}"),
            of(any::<u16>()),
            vec(any::<(u16, u16)>(), 0..3),
        );
        let counts = (
            of(any::<u16>()),
            of(any::<u16>()),
            of(any::<u16>()),
            of(any::<u16>()),
        );
        (requests, responses, moves, counts).prop_map(|(request, response, of_move, counts)| Command {
            field: CommandField(request.0),
            message_id: request.1,
            responded_to: request.2,
            sop_class: request.3,
            sop_instance: request.4,
            priority: response.0,
            has_data_set: response.1,
            status: response.2.map(Status),
            error_comment: response.3,
            offending_elements: of_move.3.into_iter().map(Tag::from).collect(),
            move_destination: of_move.0,
            move_originator: of_move.1,
            move_originator_message_id: of_move.2,
            sub_operations: SubOperations {
                remaining: counts.0,
                completed: counts.1,
                failed: counts.2,
                warning: counts.3,
            },
        })
    }

    proptest! {
        #[test]
        fn a_command_set_survives_the_wire(command in commands()) {
            let bytes = command.encode();
            prop_assert_eq!(Command::parse(&bytes), Some(command));
            let tags = tags_of(&bytes);
            prop_assert!(tags.is_sorted());
            prop_assert_eq!(&bytes[8..12], &(bytes.len() as u32 - 12).to_le_bytes());
        }

        #[test]
        fn any_bytes_are_parsed_or_refused(bytes in vec(any::<u8>(), 0..60)) {
            let _ = Command::parse(&bytes);
        }

        #[test]
        fn damaged_command_sets_are_parsed_or_refused(
            command in commands(),
            place in any::<prop::sample::Index>(),
            value in any::<u8>(),
        ) {
            let mut bytes = command.encode();
            let place = place.index(bytes.len());
            bytes[place] = value;
            let _ = Command::parse(&bytes);
        }
    }

    fn tags_of(mut bytes: &[u8]) -> Vec<Tag> {
        let mut tags = Vec::new();
        while let Some(header) = ElementHeader::read(bytes, IMPLICIT) {
            tags.push(header.tag);
            bytes = &bytes[header.size + header.length as usize..];
        }
        tags
    }

    #[test]
    fn a_response_names_its_request() {
        let request = Command::request(CommandField::C_ECHO_RQ, 4711, "1.2.840.10008.1.1");
        let response = Command::parse(&Command::response(&request, Status::SUCCESS).encode()).unwrap();
        assert_eq!(response.field, CommandField(0x8030));
        assert_eq!(response.responded_to, Some(4711));
        assert_eq!(response.sop_class, request.sop_class);
        assert_eq!(
            (response.status, response.has_data_set),
            (Some(Status::SUCCESS), false)
        );
    }

    #[test]
    fn a_command_set_needs_its_field_and_passes_over_other_groups() {
        assert_eq!(Command::parse(&[]), None);
        assert_eq!(Command::parse(&[8, 0, 0x52, 0, 0, 0, 0, 0]), None);
        let command = Command::request(CommandField::C_ECHO_RQ, 1, "1.2");
        let foreign = [8, 0, 0x58, 0, 2, 0, 0, 0, b'1', 0];
        let parsed = Command::parse(&[command.encode(), foreign.to_vec()].concat());
        assert_eq!(parsed, Some(command));
    }
}

//! From whole messages to P-DATA-TF PDUs (PS3.8 9.3.5 and annex E).
//!
//! Invariant: no PDU is longer than the peer's maximum, fragments are of even length but for a message's odd end, and
//! there are as few PDUs as that allows: a command and its data set share one where they fit.

use dicom_ul::pdu::{PDataValue, PDataValueType, Pdu};

/// The most that one PDV carries, whatever the peer would take.
const LARGEST_FRAGMENT: usize = 256 * 1024;
/// The headers of a PDV within its PDU: length, context ID, message control header.
pub(super) const PDV_HEADER: usize = 6;

/// Cuts values into PDUs of at most `max_pdu_length` bytes (0: no limit), as few as can be.
pub(super) fn fragment(context_id: u8, values: &[(PDataValueType, &[u8])], max_pdu_length: u32) -> Vec<Pdu> {
    let limit = limit(max_pdu_length);
    let whole: usize = values.iter().map(|(_, value)| value.len() + PDV_HEADER).sum();
    let pdv = |value_type: &PDataValueType, data: &[u8], is_last| PDataValue {
        presentation_context_id: context_id,
        value_type: value_type.clone(),
        is_last,
        data: data.to_vec(),
    };
    if whole <= limit {
        let data = values
            .iter()
            .map(|(value_type, value)| pdv(value_type, value, true))
            .collect();
        return vec![Pdu::PData { data }];
    }
    let room = longest_fragment(max_pdu_length);
    let mut pdus = Vec::new();
    for (value_type, value) in values {
        let mut rest = *value;
        loop {
            let (part, after) = rest.split_at_checked(room).unwrap_or((rest, &[]));
            let is_last = after.is_empty();
            pdus.push(Pdu::PData {
                data: vec![pdv(value_type, part, is_last)],
            });
            if is_last {
                break;
            }
            rest = after;
        }
    }
    pdus
}

/// The most that a fragment holds where it has a PDU to itself, in bytes: even (PS3.8 annex E.2).
pub(super) fn longest_fragment(max_pdu_length: u32) -> usize {
    (limit(max_pdu_length) - PDV_HEADER) & !1
}

fn limit(max_pdu_length: u32) -> usize {
    match max_pdu_length as usize {
        0 => LARGEST_FRAGMENT,
        // Below 7 nothing can be sent at all; a peer that says so is told as little as can be told.
        limit => limit.clamp(PDV_HEADER + 2, LARGEST_FRAGMENT),
    }
}

#[cfg(test)]
mod tests {
    use dicom_ul::pdu::write_pdu;
    use proptest::prelude::*;

    use super::super::{Assembler, Command, CommandField, Message};
    use super::*;

    fn message(length: usize) -> Message {
        let mut command = Command::request(CommandField::C_FIND_RQ, 1, "1.2.840.10008.1.1");
        command.has_data_set = true;
        Message {
            context_id: 3,
            command,
            data_set: Some(vec![7; length].into()),
            refusal: None,
        }
    }

    fn fragment_message(message: &Message, max_pdu_length: u32) -> Vec<Pdu> {
        let command = message.command.encode();
        let mut values = vec![(PDataValueType::Command, command.as_slice())];
        let data_set = message.data_set.as_deref();
        values.extend(data_set.map(|data_set| (PDataValueType::Data, data_set)));
        fragment(3, &values, max_pdu_length)
    }

    proptest! {
        #[test]
        fn any_maximum_is_respected_and_carries_the_message(length in 0_usize..600, max in prop_oneof![Just(0_u32), 8_u32..700]) {
            let message = message(length);
            let mut assembler = Assembler::new(600);
            let mut received = Vec::new();
            for pdu in fragment_message(&message, max) {
                let mut bytes = Vec::new();
                write_pdu(&mut bytes, &pdu).unwrap();
                prop_assert!(max == 0 || bytes.len() - 6 <= max as usize);
                let Pdu::PData { data } = pdu else { panic!("{pdu:?}") };
                for value in data {
                    received.extend(assembler.push(value).unwrap());
                }
            }
            prop_assert_eq!(received, [message]);
        }
    }

    #[test]
    fn what_fits_goes_in_one_pdu() {
        assert_eq!(fragment_message(&message(100), 0).len(), 1);
        assert_eq!(fragment_message(&message(100), 16_384).len(), 1);
        assert!(fragment_message(&message(100), 120).len() > 1);
    }
}

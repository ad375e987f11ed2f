//! Reading of A-ASSOCIATE-AC (PS3.8 9.3.3), more forgiving than dicom-ul's.
//!
//! dicom-ul wants a transfer syntax in every refused presentation context, where the standard calls it not
//! significant and real peers leave it out; it fails on results beyond 4, and so would tell the user of garbage where
//! the peer has just refused a service. Invariant: nothing is read beyond an item's length; items that we do not know
//! are passed over.

use super::user_information::UserInformation;

/// The fixed fields before the items: version, reserved, titles that nobody tests, reserved.
const FIXED_FIELDS: usize = 2 + 2 + 16 + 16 + 32;
const ITEM_HEADER: usize = 4;

/// What a peer has accepted.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct AssociateAccept {
    pub(super) results: Vec<ContextResult>,
    pub(super) user_information: UserInformation,
}

/// The result of one presentation context.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct ContextResult {
    pub(super) id: u8,
    /// 0: accepted. Else why not (PS3.8 table 9-18).
    pub(super) result: u8,
    /// The transfer syntax of an accepted context, as it came.
    pub(super) transfer_syntax: String,
}

impl AssociateAccept {
    /// Reads what follows the six bytes of the PDU's header; `None` where it is no A-ASSOCIATE-AC.
    pub(super) fn read(body: &[u8]) -> Option<Self> {
        let mut accept = AssociateAccept::default();
        for_each_item(body.get(FIXED_FIELDS..)?, |kind, content| {
            match kind {
                0x21 => accept.results.push(ContextResult::read(content)?),
                0x50 => accept.user_information = UserInformation::read(content)?,
                _ => {}
            }
            Some(())
        })?;
        Some(accept)
    }
}

impl ContextResult {
    fn read(content: &[u8]) -> Option<Self> {
        let (&[id, _, result, _], sub_items) = content.split_first_chunk::<4>()?;
        let mut transfer_syntax = String::new();
        for_each_item(sub_items, |kind, content| {
            if kind == 0x40 {
                transfer_syntax = String::from_utf8_lossy(content).into_owned();
            }
            Some(())
        })?;
        Some(ContextResult {
            id,
            result,
            transfer_syntax,
        })
    }
}

/// Gives each item's type and content to `take`; `None` where lengths do not fit, or `take` says so.
pub(super) fn for_each_item(mut bytes: &[u8], mut take: impl FnMut(u8, &[u8]) -> Option<()>) -> Option<()> {
    while !bytes.is_empty() {
        let (&[kind, _, l0, l1], rest) = bytes.split_first_chunk::<ITEM_HEADER>()?;
        let (content, rest) = rest.split_at_checked(usize::from(u16::from_be_bytes([l0, l1])))?;
        take(kind, content)?;
        bytes = rest;
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    fn item(kind: u8, content: &[u8]) -> Vec<u8> {
        let length = u16::try_from(content.len()).unwrap().to_be_bytes();
        [&[kind, 0, length[0], length[1]], content].concat()
    }

    fn body(items: &[Vec<u8>]) -> Vec<u8> {
        [vec![0; FIXED_FIELDS], items.concat()].concat()
    }

    #[test]
    fn a_refused_context_needs_no_transfer_syntax() {
        let accepted = item(
            0x21,
            &[&[1, 0, 0, 0][..], &item(0x40, b"1.2.840.10008.1.2\0")].concat(),
        );
        let refused = item(0x21, &[3, 0, 3, 0]);
        let strange = item(0x21, &[5, 0, 77, 0]);
        let accept = AssociateAccept::read(&body(&[accepted, refused, strange, item(0x99, b"?")])).unwrap();
        let results: Vec<_> = accept.results.iter().map(|it| (it.id, it.result)).collect();
        assert_eq!(results, [(1, 0), (3, 3), (5, 77)]);
        assert_eq!(accept.results[0].transfer_syntax, "1.2.840.10008.1.2\0");
    }

    #[test]
    fn lengths_are_not_believed() {
        for bytes in [
            vec![],
            vec![0; FIXED_FIELDS - 1],
            body(&[vec![0x21, 0, 0, 9, 1]]),
            body(&[vec![0x21]]),
        ] {
            assert_eq!(AssociateAccept::read(&bytes), None);
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(items in vec((prop::sample::select(vec![0x10, 0x21, 0x50, 0x51, 0x99]), vec(any::<u8>(), 0..40)), 0..5), cut in 0_usize..8) {
            let items: Vec<_> = items.iter().map(|(kind, content)| item(*kind, content)).collect();
            let mut bytes = body(&items);
            bytes.truncate(bytes.len() - cut);
            let _ = AssociateAccept::read(&bytes);
        }
    }
}

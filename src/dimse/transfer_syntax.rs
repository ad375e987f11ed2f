//! The transfer syntaxes in which messages travel here.
//!
//! Invariant: both are little endian and carry native values. Explicit VR Big Endian (retired) is never offered
//! and never accepted; the compressed syntaxes belong to stored objects, which are not messages to be read.

use dicom_transfer_syntax_registry::entries;

use super::trim_padding;

/// A transfer syntax of identifiers (PS3.5 annex A).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TransferSyntax {
    /// Implicit VR Little Endian, the default that every peer must take.
    ImplicitVrLittleEndian,
    /// Explicit VR Little Endian, which carries private value representations.
    ExplicitVrLittleEndian,
}

impl TransferSyntax {
    /// Both, in our order of preference.
    pub const ALL: [TransferSyntax; 2] = [
        TransferSyntax::ExplicitVrLittleEndian,
        TransferSyntax::ImplicitVrLittleEndian,
    ];

    /// The UID, without padding.
    pub fn uid(self) -> &'static str {
        match self {
            TransferSyntax::ImplicitVrLittleEndian => "1.2.840.10008.1.2",
            TransferSyntax::ExplicitVrLittleEndian => "1.2.840.10008.1.2.1",
        }
    }

    /// The syntax of a UID, with or without padding; `None` for one that we do not speak.
    pub fn from_uid(uid: &str) -> Option<Self> {
        let uid = trim_padding(uid.as_bytes());
        Self::ALL
            .into_iter()
            .find(|syntax| syntax.uid().as_bytes() == uid)
    }

    /// The same syntax, as dicom-object's parser wants it.
    pub(super) fn of_registry(self) -> dicom_encoding::TransferSyntax {
        match self {
            TransferSyntax::ImplicitVrLittleEndian => entries::IMPLICIT_VR_LITTLE_ENDIAN.erased(),
            TransferSyntax::ExplicitVrLittleEndian => entries::EXPLICIT_VR_LITTLE_ENDIAN.erased(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn padding_of_a_uid_is_not_significant() {
        for syntax in TransferSyntax::ALL {
            assert_eq!(
                TransferSyntax::from_uid(&format!("{}\0", syntax.uid())),
                Some(syntax)
            );
        }
        assert_eq!(TransferSyntax::from_uid("1.2.840.10008.1.2.2"), None);
    }
}

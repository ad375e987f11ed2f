//! How an association is refused or broken off: A-ASSOCIATE-RJ and A-ABORT (PS3.8 9.3.4 and 9.3.8).
//!
//! Invariant: every combination of bytes is taken and has words. dicom-ul's types know only what the standard
//! defines, so a peer's odd reason would be told to the user as garbage instead of the refusal that it is.

use std::fmt;

/// The fields of an A-ASSOCIATE-RJ, as they travel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Rejection {
    /// 1: rejected permanently. 2: rejected transiently.
    pub result: u8,
    /// 1: the service user. 2, 3: the service provider (ACSE, presentation).
    pub source: u8,
    /// Why, in the numbers of that source.
    pub reason: u8,
}

impl Rejection {
    /// The calling AE title is not recognized.
    pub const CALLING_AE_TITLE: Rejection = Rejection::new(1, 1, 3);
    /// The called AE title is not recognized.
    pub const CALLED_AE_TITLE: Rejection = Rejection::new(1, 1, 7);
    /// The application context name is not supported.
    pub const APPLICATION_CONTEXT: Rejection = Rejection::new(1, 1, 2);
    /// The service user gives no reason.
    pub const NO_REASON: Rejection = Rejection::new(1, 1, 1);
    /// The protocol version is not supported.
    pub const PROTOCOL_VERSION: Rejection = Rejection::new(1, 2, 2);
    /// Too busy now; another time it may work.
    pub const TEMPORARY_CONGESTION: Rejection = Rejection::new(2, 3, 1);
    /// A limit of ours is exceeded now; another time it may work.
    pub const LOCAL_LIMIT_EXCEEDED: Rejection = Rejection::new(2, 3, 2);
    /// The request itself exceeds a limit of ours, and always will.
    pub const REQUEST_TOO_LARGE: Rejection = Rejection::new(1, 3, 2);

    const fn new(result: u8, source: u8, reason: u8) -> Self {
        Rejection {
            result,
            source,
            reason,
        }
    }

    /// Whether the same request may be accepted at another time.
    pub fn is_transient(self) -> bool {
        self.result == 2
    }

    /// The standard's words for the reason.
    pub fn reason_text(self) -> &'static str {
        match (self.source, self.reason) {
            (1, 2) => "application context name not supported",
            (1, 3) => "calling AE title not recognized",
            (1, 7) => "called AE title not recognized",
            (1 | 2, 1) => "no reason given",
            (2, 2) => "protocol version not supported",
            (3, 1) => "temporary congestion",
            (3, 2) => "local limit exceeded",
            _ => "unknown reason",
        }
    }

    /// The whole A-ASSOCIATE-RJ PDU.
    pub(super) fn to_pdu(self) -> [u8; 10] {
        [0x03, 0, 0, 0, 0, 4, 0, self.result, self.source, self.reason]
    }
}

impl fmt::Display for Rejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.reason_text())?;
        if self.is_transient() {
            f.write_str(" (transient)")
        } else {
            Ok(())
        }
    }
}

/// The fields of an A-ABORT, as they travel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Abort {
    /// 0: the service user. 2: the service provider.
    pub source: u8,
    /// Why, where the source is the provider.
    pub reason: u8,
}

impl Abort {
    /// By the application, which owes no reason.
    pub const BY_USER: Abort = Abort { source: 0, reason: 0 };
    /// By the protocol machine: a PDU of unknown type came.
    pub const UNRECOGNIZED_PDU: Abort = Abort { source: 2, reason: 1 };
    /// By the protocol machine: a PDU came that has no place now.
    pub const UNEXPECTED_PDU: Abort = Abort { source: 2, reason: 2 };
    /// By the protocol machine: a PDU holds what it must not.
    pub const INVALID_PDU_PARAMETER: Abort = Abort { source: 2, reason: 6 };

    /// The whole A-ABORT PDU.
    pub(super) fn to_pdu(self) -> [u8; 10] {
        [0x07, 0, 0, 0, 0, 4, 0, 0, self.source, self.reason]
    }
}

impl fmt::Display for Abort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match (self.source, self.reason) {
            (0, _) => "by its application",
            (2, 1) => "by its protocol layer: unrecognized PDU",
            (2, 2) => "by its protocol layer: unexpected PDU",
            (2, 4) => "by its protocol layer: unrecognized PDU parameter",
            (2, 5) => "by its protocol layer: unexpected PDU parameter",
            (2, 6) => "by its protocol layer: invalid PDU parameter value",
            (2, _) => "by its protocol layer",
            _ => "by an unknown source",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_speak_the_words_of_the_standard() {
        assert_eq!(
            Rejection::CALLING_AE_TITLE.to_string(),
            "calling AE title not recognized"
        );
        assert_eq!(
            Rejection::TEMPORARY_CONGESTION.to_string(),
            "temporary congestion (transient)"
        );
        assert_eq!(Rejection::new(9, 9, 9).to_string(), "unknown reason");
        assert_eq!(
            Abort::UNEXPECTED_PDU.to_string(),
            "by its protocol layer: unexpected PDU"
        );
        assert_eq!(Abort { source: 7, reason: 7 }.to_string(), "by an unknown source");
    }
}

//! The status of a DIMSE response (PS3.7 annex C, PS3.4 annexes B, C and Y) and what it means.
//!
//! Invariant: every code has a class; one that the standard does not define is a failure.

use std::fmt;

/// The status of a response, as it came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Status(pub u16);

/// What a status says about the operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum StatusClass {
    /// Done as asked.
    Success,
    /// More responses follow.
    Pending,
    /// Ended by a cancel.
    Cancel,
    /// Done, with reservations.
    Warning,
    /// Not done.
    Failure,
}

impl Status {
    /// Success.
    pub const SUCCESS: Status = Status(0x0000);
    /// A match, all optional keys supported (PS3.4 C.4.1.1.4).
    pub const PENDING: Status = Status(0xFF00);
    /// A match, some optional keys were not supported for matching.
    pub const PENDING_OPTIONAL_KEYS_UNSUPPORTED: Status = Status(0xFF01);
    /// Ended by C-CANCEL.
    pub const CANCEL: Status = Status(0xFE00);
    /// Processing failure.
    pub const PROCESSING_FAILURE: Status = Status(0x0110);
    /// SOP class not supported.
    pub const SOP_CLASS_NOT_SUPPORTED: Status = Status(0x0122);
    /// Refused: not authorized.
    pub const NOT_AUTHORIZED: Status = Status(0x0124);
    /// Unrecognized operation.
    pub const UNRECOGNIZED_OPERATION: Status = Status(0x0211);
    /// Refused: out of resources.
    pub const OUT_OF_RESOURCES: Status = Status(0xA700);
    /// Identifier or data set does not match the SOP class.
    pub const DOES_NOT_MATCH_SOP_CLASS: Status = Status(0xA900);
    /// Out of resources: unable to count the matches (PS3.4 C.4.2.1.5).
    pub const CANNOT_COUNT: Status = Status(0xA701);
    /// Out of resources: unable to perform sub-operations.
    pub const CANNOT_PERFORM: Status = Status(0xA702);
    /// Move destination unknown.
    pub const DESTINATION_UNKNOWN: Status = Status(0xA801);
    /// Sub-operations complete, one or more failures or warnings.
    pub const WARNING: Status = Status(0xB000);
    /// Unable to process.
    pub const UNABLE_TO_PROCESS: Status = Status(0xC000);

    /// The class of the code.
    pub fn class(self) -> StatusClass {
        match self.0 {
            0x0000 => StatusClass::Success,
            0xFF00 | 0xFF01 => StatusClass::Pending,
            0xFE00 => StatusClass::Cancel,
            0x0001 | 0x0107 | 0x0116 | 0xB000..=0xBFFF => StatusClass::Warning,
            _ => StatusClass::Failure,
        }
    }

    /// Whether the operation was done as asked.
    pub fn is_success(self) -> bool {
        self.class() == StatusClass::Success
    }

    /// Whether more responses follow.
    pub fn is_pending(self) -> bool {
        self.class() == StatusClass::Pending
    }

    /// The standard's words for the code.
    pub fn meaning(self) -> &'static str {
        match self.0 {
            0x0000 => "success",
            0x0001 => "requested optional attributes are not supported",
            0x0105 => "no such attribute",
            0x0106 => "invalid attribute value",
            0x0107 => "attribute list error",
            0x0110 => "processing failure",
            0x0111 => "duplicate SOP instance",
            0x0112 => "no such SOP instance",
            0x0113 => "no such event type",
            0x0114 => "no such argument",
            0x0115 => "invalid argument value",
            0x0116 => "attribute value out of range",
            0x0117 => "invalid object instance",
            0x0118 => "no such SOP class",
            0x0119 => "class and instance conflict",
            0x0120 => "missing attribute",
            0x0121 => "missing attribute value",
            0x0122 => "SOP class not supported",
            0x0123 => "no such action type",
            0x0124 => "refused: not authorized",
            0x0210 => "duplicate invocation",
            0x0211 => "unrecognized operation",
            0x0212 => "mistyped argument",
            0x0213 => "resource limitation",
            0xA701 => "refused: out of resources, cannot count the matches",
            0xA702 => "refused: out of resources, cannot perform sub-operations",
            0xA700..=0xA7FF => "refused: out of resources",
            0xA801 => "refused: move destination unknown",
            0xA900..=0xA9FF => "identifier or data set does not match the SOP class",
            0xB000 => "done with warnings or failed sub-operations",
            0xB001..=0xBFFF => "done with warnings",
            0xC000..=0xCFFF => "unable to process",
            0xFE00 => "cancelled",
            0xFF00 => "pending",
            0xFF01 => "pending, some optional keys are not supported",
            _ => "unknown status",
        }
    }
}

/// The code in hexadecimal, then its meaning: `A801 (refused: move destination unknown)`.
impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04X} ({})", self.0, self.meaning())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_have_the_class_that_the_standard_gives_them() {
        use StatusClass::*;
        for (code, class) in [
            (0x0000, Success),
            (0xFF00, Pending),
            (0xFF01, Pending),
            (0xFE00, Cancel),
            (0xB000, Warning),
            (0x0107, Warning),
            (0x0116, Warning),
            (0x0110, Failure),
            (0x0122, Failure),
            (0xA700, Failure),
            (0xA801, Failure),
            (0xC123, Failure),
            (0x5555, Failure),
        ] {
            assert_eq!(Status(code).class(), class, "{code:04X}");
        }
    }

    #[test]
    fn a_status_is_shown_with_its_meaning() {
        assert_eq!(
            Status(0xA801).to_string(),
            "A801 (refused: move destination unknown)"
        );
        assert_eq!(Status(0xC456).to_string(), "C456 (unable to process)");
        assert_eq!(Status(0x4711).to_string(), "4711 (unknown status)");
    }
}

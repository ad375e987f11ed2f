//! The structural check: what bytes from a peer or a file must pass before dicom-object sees them.
//!
//! dicom-object 0.10 recurses for each level of nesting (2,000 levels, 80 KB, overflow a thread's stack) and sizes
//! buffers by declared lengths (ten bytes ask for 4 GB). Invariant: bytes that pass have no length that reaches
//! beyond its container, at most [`MAX_DEPTH`] levels and [`MAX_ELEMENTS`] headers, and no place where the parser
//! could read a different structure than the check did. Linear in time; its recursion is bounded by the depth.
//!
//! Deliberately tolerant of what does no harm: elements out of order or repeated, unknown VRs, odd lengths of text.

use dicom_core::Tag;

use super::TransferSyntax;
use super::element::{
    ElementHeader, ITEM, ITEM_DELIMITATION, ITEM_HEADER, PIXEL_DATA, SEQUENCE_DELIMITATION, UNDEFINED_LENGTH,
};

/// The deepest nesting of sequences that is accepted.
pub const MAX_DEPTH: usize = 16;
/// The greatest number of elements and items, all levels together.
pub const MAX_ELEMENTS: usize = 100_000;

/// Why bytes are no data set that may be read, and where.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{fault} (at byte {offset})")]
pub struct Malformed {
    /// The kind of fault.
    pub fault: Fault,
    /// Where the faulty header begins, in bytes from the start of the data set.
    pub offset: usize,
}

/// The kinds of fault that the structural check finds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// The bytes end within an element's header.
    #[error("the data set ends within an element header")]
    Truncated,
    /// A declared length reaches beyond the data set, sequence or item that holds it.
    #[error("element {0} is longer than what holds it")]
    TooLong(Tag),
    /// A sequence or item of undefined length has no end.
    #[error("a sequence or item has no end")]
    Unterminated,
    /// An item or delimitation tag where none may be, or another element where one must be.
    #[error("element {0} is out of place")]
    Misplaced(Tag),
    /// Undefined length on an element that is no sequence.
    #[error("element {0} has an undefined length and is no sequence")]
    UndefinedLength(Tag),
    /// A binary value that ends within one of its numbers, or a sequence of odd length.
    #[error("element {0} has a length that its value representation cannot have")]
    PartialValue(Tag),
    /// More than [`MAX_DEPTH`] levels.
    #[error("sequences are nested more than {MAX_DEPTH} deep")]
    TooDeep,
    /// More bytes than an identifier may have.
    #[error("the identifier is too large")]
    TooLarge,
    /// More than [`MAX_ELEMENTS`] elements.
    #[error("the data set has more than {MAX_ELEMENTS} elements")]
    TooManyElements,
}

/// Checks the structure of a whole data set.
pub fn check(bytes: &[u8], syntax: TransferSyntax) -> Result<(), Malformed> {
    count_headers(bytes, syntax).map(drop)
}

/// Checks the structure of a whole data set, and counts its elements and items, those of all levels together.
pub(super) fn count_headers(bytes: &[u8], syntax: TransferSyntax) -> Result<usize, Malformed> {
    let mut checker = Checker {
        bytes,
        syntax,
        headers: 0,
    };
    let whole = Container {
        end: bytes.len(),
        delimited: false,
    };
    checker.elements(0, whole, 0)?;
    Ok(checker.headers)
}

struct Checker<'a> {
    bytes: &'a [u8],
    syntax: TransferSyntax,
    headers: usize,
}

/// How far a run of elements or items may reach, and whether a delimitation item must end it before.
#[derive(Clone, Copy)]
struct Container {
    end: usize,
    delimited: bool,
}

impl Checker<'_> {
    /// Checks the elements of a data set or item from `at`, and returns where what follows begins.
    fn elements(&mut self, mut at: usize, container: Container, depth: usize) -> Result<usize, Malformed> {
        while let Some(header) = self.header(at, container)? {
            if header.tag == ITEM_DELIMITATION && container.delimited && header.length == 0 {
                return Ok(at + ITEM_HEADER);
            }
            at = self.element(header, at, container.end, depth)?;
        }
        Ok(at)
    }

    /// Checks one element, whose header begins at `at`, and returns where the next one begins.
    fn element(
        &mut self,
        header: ElementHeader,
        at: usize,
        end: usize,
        depth: usize,
    ) -> Result<usize, Malformed> {
        let fault = |fault| Malformed { fault, offset: at };
        let tag = header.tag;
        if tag.0 == 0xFFFE {
            return Err(fault(Fault::Misplaced(tag)));
        }
        let value = at + header.size;
        if header.length == UNDEFINED_LENGTH {
            let may_be_sequence = header.vr.is_none_or(|vr| matches!(&vr, b"SQ" | b"UN"));
            if !may_be_sequence || tag == PIXEL_DATA {
                return Err(fault(Fault::UndefinedLength(tag)));
            }
            return self.items(value, Container { end, delimited: true }, depth + 1);
        }
        let value_end = within(value, header.length, end).ok_or(fault(Fault::TooLong(tag)))?;
        if !header.is_sequence() {
            let whole = header.holds_whole_values();
            return if whole {
                Ok(value_end)
            } else {
                Err(fault(Fault::PartialValue(tag)))
            };
        }
        if !header.length.is_multiple_of(2) {
            return Err(fault(Fault::PartialValue(tag)));
        }
        self.items(
            value,
            Container {
                end: value_end,
                delimited: false,
            },
            depth + 1,
        )
    }

    /// Checks the items of a sequence from `at`, and returns where what follows the sequence begins.
    fn items(&mut self, mut at: usize, container: Container, depth: usize) -> Result<usize, Malformed> {
        if depth > MAX_DEPTH {
            return Err(Malformed {
                fault: Fault::TooDeep,
                offset: at,
            });
        }
        while let Some(header) = self.header(at, container)? {
            let fault = |fault| Malformed { fault, offset: at };
            let value = at + ITEM_HEADER;
            let item = match header.tag {
                SEQUENCE_DELIMITATION if container.delimited && header.length == 0 => return Ok(value),
                ITEM if header.length == UNDEFINED_LENGTH => Container {
                    end: container.end,
                    delimited: true,
                },
                ITEM => {
                    let end = within(value, header.length, container.end);
                    let end = end.ok_or(fault(Fault::TooLong(ITEM)))?;
                    Container {
                        end,
                        delimited: false,
                    }
                }
                tag => return Err(fault(Fault::Misplaced(tag))),
            };
            at = self.elements(value, item, depth)?;
        }
        Ok(at)
    }

    /// The next header of a container; `None` at the end of one that needs no delimitation item.
    fn header(&mut self, at: usize, container: Container) -> Result<Option<ElementHeader>, Malformed> {
        let fault = |fault| Malformed { fault, offset: at };
        if at >= container.end {
            return if container.delimited {
                Err(fault(Fault::Unterminated))
            } else {
                Ok(None)
            };
        }
        self.headers += 1;
        if self.headers > MAX_ELEMENTS {
            return Err(fault(Fault::TooManyElements));
        }
        let rest = self.bytes.get(at..container.end).unwrap_or_default();
        let header = ElementHeader::read(rest, self.syntax);
        header.map(Some).ok_or(fault(Fault::Truncated))
    }
}

/// Where a value of `length` bytes from `start` ends, unless that is beyond `end`.
fn within(start: usize, length: u32, end: usize) -> Option<usize> {
    let value_end = start.checked_add(usize::try_from(length).ok()?)?;
    (value_end <= end).then_some(value_end)
}

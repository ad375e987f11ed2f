//! Whether an answer is complete: of one station by how it ended, of all stations together by their ledger.
//!
//! Invariant: a site that is missing is never hidden; no archive station answering is a failure, not a partial answer
//! (rule 3 of a linked query). Every command, the ledger and the service decide by these functions alone.

use crate::dimse::{Peer, Status, StatusClass, uids};
use crate::model::{LedgerEntry, Outcome, SuccessComment};

use super::failure;
use super::policy::Role;

/// What a final response says of the answer before it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FinalResponse {
    /// Whether the answer is only a part.
    pub is_partial: bool,
    /// What people should know of it, without the comment.
    pub remark: Option<String>,
}

impl FinalResponse {
    /// Reads the final status of a station that has answered, and whether a comment came with it. A warning is a part
    /// from anyone. A comment beside success says so where the station is one of our own kind, or is registered as one
    /// that means it: some products comment on every success.
    pub fn read(status: Status, has_comment: bool, is_of_our_kind: bool, comments: SuccessComment) -> Self {
        let comment_is_partial = is_of_our_kind || comments == SuccessComment::Partial;
        let (is_partial, remark) = match (status.class(), has_comment) {
            (StatusClass::Warning, _) => (true, Some(failure::of_status(status))),
            (StatusClass::Success, true) if comment_is_partial => {
                (true, Some("says that its answer is not complete".to_owned()))
            }
            (StatusClass::Success, true) => (false, Some("ended with success and a comment".to_owned())),
            _ => (false, None),
        };
        FinalResponse { is_partial, remark }
    }
}

/// Whether a peer is another impaxlink, as it says itself.
pub fn is_of_our_kind(peer: &Peer) -> bool {
    peer.implementation_class_uid == uids::IMPLEMENTATION_CLASS_UID
}

/// The answer as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Completeness {
    /// Every station that should have answered did, to the end.
    Complete,
    /// The caller cut it, by a limit or a cancel, and nothing else is missing.
    Cut,
    /// A station that should have answered did not, or not fully.
    Partial,
    /// No station answered, or none of the archive stations that were due.
    Failed,
}

/// The completeness of a whole answer, from the ledger entries of all stations, each with the station's role.
pub fn completeness<'l>(ledger: impl IntoIterator<Item = (Role, &'l LedgerEntry)>) -> Completeness {
    let due: Vec<(Role, &LedgerEntry)> = ledger.into_iter().filter(|(_, entry)| entry.was_due).collect();
    let none_answers = |role: Option<Role>| {
        let mut of_role = due
            .iter()
            .filter(|(of, _)| role.is_none_or(|role| role == *of))
            .peekable();
        of_role.peek().is_some() && of_role.all(|(_, entry)| !has_answered(entry))
    };
    if none_answers(Some(Role::Archive)) || none_answers(None) {
        Completeness::Failed
    } else if due.iter().all(|(_, entry)| entry.is_complete()) {
        Completeness::Complete
    } else if due.iter().all(|(_, entry)| !entry.is_missing()) {
        Completeness::Cut
    } else {
        Completeness::Partial
    }
}

/// Whether the station itself ended its answer, and not with a failure: also where it lacks something or some of it can't
/// be used. For who looks again later, and is not to be stopped by one odd answer.
pub fn has_ended_well(entry: &LedgerEntry) -> bool {
    let ended = |code| matches!(Status(code).class(), StatusClass::Success | StatusClass::Warning);
    match entry.outcome {
        Outcome::Searched => true,
        Outcome::Truncated => entry.dicom_status.is_some_and(ended),
        Outcome::Failed | Outcome::Skipped | Outcome::Cancelled => false,
    }
}

/// Whether the station has answered at all, in full or not.
pub fn has_answered(entry: &LedgerEntry) -> bool {
    match entry.outcome {
        Outcome::Searched | Outcome::Truncated | Outcome::Cancelled => true,
        Outcome::Failed => entry.matches > 0,
        Outcome::Skipped => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(outcome: Outcome, was_due: bool, matches: u64) -> LedgerEntry {
        LedgerEntry {
            was_due,
            matches,
            ..LedgerEntry::new("A".parse().unwrap(), outcome)
        }
    }

    fn of(ledger: &[(Role, LedgerEntry)]) -> Completeness {
        completeness(ledger.iter().map(|(role, entry)| (*role, entry)))
    }

    #[test]
    fn a_final_response_says_whether_the_answer_before_it_is_whole() {
        let is_partial = |status, has_comment, is_of_our_kind, comments| {
            FinalResponse::read(Status(status), has_comment, is_of_our_kind, comments).is_partial
        };
        let (notice, partial) = (SuccessComment::Notice, SuccessComment::Partial);
        assert!(!is_partial(0, false, true, partial));
        assert!(
            !is_partial(0, true, false, notice),
            "some comment on every success"
        );
        assert!(is_partial(0, true, true, notice));
        assert!(is_partial(0, true, false, partial));
        for status in [0xB000, 0xB007, 0x0001, 0x0107] {
            assert!(is_partial(status, false, false, notice), "{status:04X}");
        }
    }

    #[test]
    fn an_odd_answer_has_ended_well_and_one_that_was_cut_has_not() {
        let ended = |outcome, dicom_status| {
            let mut entry = entry(outcome, true, 3);
            entry.dicom_status = dicom_status;
            has_ended_well(&entry)
        };
        assert!(ended(Outcome::Searched, Some(0)) && ended(Outcome::Truncated, Some(0)));
        assert!(ended(Outcome::Truncated, Some(0xB000)));
        assert!(!ended(Outcome::Truncated, Some(0xA700)) && !ended(Outcome::Truncated, None));
        assert!(!ended(Outcome::Failed, Some(0)));
    }

    #[test]
    fn one_missing_site_makes_the_answer_partial() {
        let local = || (Role::Archive, entry(Outcome::Searched, true, 0));
        let linked = |outcome, was_due| (Role::Linked, entry(outcome, was_due, 0));
        assert_eq!(
            of(&[local(), linked(Outcome::Searched, true)]),
            Completeness::Complete
        );
        assert_eq!(
            of(&[local(), linked(Outcome::Skipped, false)]),
            Completeness::Complete
        );
        assert_eq!(
            of(&[local(), linked(Outcome::Skipped, true)]),
            Completeness::Partial
        );
        assert_eq!(
            of(&[local(), linked(Outcome::Failed, true)]),
            Completeness::Partial
        );
        assert_eq!(
            of(&[local(), linked(Outcome::Truncated, true)]),
            Completeness::Partial
        );
        assert_eq!(
            of(&[local(), linked(Outcome::Cancelled, true)]),
            Completeness::Cut
        );
        assert_eq!(of(&[]), Completeness::Complete);
    }

    #[test]
    fn no_archive_answering_is_a_failure() {
        let archive = |matches| (Role::Archive, entry(Outcome::Failed, true, matches));
        let linked = (Role::Linked, entry(Outcome::Searched, true, 7));
        assert_eq!(of(&[archive(0), linked.clone()]), Completeness::Failed);
        assert_eq!(
            of(&[archive(3), linked.clone()]),
            Completeness::Partial,
            "a part of an answer is one"
        );
        assert_eq!(
            of(&[(Role::Linked, entry(Outcome::Failed, true, 0))]),
            Completeness::Failed
        );
        let suspended = (Role::Archive, entry(Outcome::Skipped, true, 0));
        assert_eq!(of(&[suspended, linked]), Completeness::Failed);
    }
}

//! What the ledger of a query says of the answer as a whole.
//!
//! Invariant: a site that is missing is never hidden; no archive station answering is a failure, not a partial answer
//! (rule 3 of a linked query).

use crate::model::{LedgerEntry, Outcome};

use super::policy::Role;

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

/// Judges a whole ledger, each entry with the role of its station.
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
    } else if due
        .iter()
        .all(|(_, entry)| entry.is_complete() || entry.outcome == Outcome::Cancelled)
    {
        Completeness::Cut
    } else {
        Completeness::Partial
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

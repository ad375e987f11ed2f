//! The final response: C-FIND knows no partial success, so a site that is missing is told by an Error Comment, or as a
//! failure where the caller's station or the cluster is set so (hard case 29).
//!
//! Invariant: no archive station answering is a failure, whatever is set. The comment is at most 64 characters: a count
//! first, then the names that fit.

use crate::dimse::{FindEnd, Status};
use crate::link::completeness::{Completeness, completeness, has_answered};
use crate::link::policy::Role;
use crate::model::{LedgerEntry, OnPartial};

/// The longest Error Comment (PS3.7 table C.4-1), in characters.
const MAX_COMMENT: usize = 64;

/// What cut a query short.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cut {
    /// The caller's C-CANCEL.
    Cancelled,
    /// `limits.studies`.
    Limit(usize),
}

/// What a query with this ledger ends with.
pub(super) fn final_response(
    ledger: &[(Role, LedgerEntry)],
    cut: Option<Cut>,
    on_partial: OnPartial,
) -> FindEnd {
    let (status, comment) = match cut {
        Some(Cut::Cancelled) => (Status::CANCEL, None),
        Some(Cut::Limit(limit)) => {
            let comment = format!("more than {limit} studies (limits.studies)");
            (Status::OUT_OF_RESOURCES, Some(comment))
        }
        None => of_ledger(ledger, on_partial),
    };
    FindEnd {
        status,
        comment,
        offending_elements: Vec::new(),
    }
}

fn of_ledger(ledger: &[(Role, LedgerEntry)], on_partial: OnPartial) -> (Status, Option<String>) {
    if !ledger.iter().any(|(role, _)| *role == Role::Archive) {
        let comment = "there is no archive station".to_owned();
        return (UNABLE_TO_ANSWER, Some(comment));
    }
    let missing = Some(missing(ledger));
    match completeness(ledger.iter().map(|(role, entry)| (*role, entry))) {
        Completeness::Complete => (Status::SUCCESS, None),
        Completeness::Failed => (UNABLE_TO_ANSWER, missing),
        Completeness::Partial | Completeness::Cut => match on_partial {
            OnPartial::Success => (Status::SUCCESS, missing),
            OnPartial::Failure => (UNABLE_TO_ANSWER, missing),
        },
    }
}

/// Unable to process: stations did not answer (PS3.4 C.4.1.1.4 leaves C000 to CFFF to us).
const UNABLE_TO_ANSWER: Status = Status(0xC001);

/// `1 of 3 sites did not answer: SITEC`.
pub(in crate::service) fn missing(ledger: &[(Role, LedgerEntry)]) -> String {
    let due = ledger.iter().filter(|(_, entry)| entry.was_due).count();
    let missing: Vec<&LedgerEntry> = ledger
        .iter()
        .map(|(_, entry)| entry)
        .filter(|entry| !entry.is_complete())
        .collect();
    let how = match missing.as_slice() {
        cut if cut.iter().all(|entry| !entry.is_missing()) => "not waited for",
        partial if partial.iter().all(|entry| has_answered(entry)) => "answered in part",
        _ => "did not answer",
    };
    let mut comment = format!("{} of {due} sites {how}: ", missing.len());
    let fits = |comment: &str, name: &str, more: usize| {
        comment.chars().count() + name.chars().count() + more <= MAX_COMMENT
    };
    for (place, entry) in missing.iter().enumerate() {
        let name = entry.station.as_str();
        let is_last = place + 1 == missing.len();
        // Room for ", ..." is kept as long as there are more.
        if !fits(&comment, name, if is_last { 0 } else { 5 }) {
            comment.push_str("...");
            break;
        }
        comment.push_str(name);
        if !is_last {
            comment.push_str(", ");
        }
    }
    comment
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Outcome;

    fn entry(role: Role, name: &str, outcome: Outcome) -> (Role, LedgerEntry) {
        (role, LedgerEntry::new(name.parse().unwrap(), outcome))
    }

    fn site(name: &str, outcome: Outcome) -> (Role, LedgerEntry) {
        entry(Role::Linked, name, outcome)
    }

    fn archive(outcome: Outcome) -> (Role, LedgerEntry) {
        entry(Role::Archive, "PACS", outcome)
    }

    fn told(ledger: &[(Role, LedgerEntry)], on_partial: OnPartial) -> (u16, String) {
        let end = final_response(ledger, None, on_partial);
        (end.status.0, end.comment.unwrap_or_default())
    }

    #[test]
    fn a_missing_site_is_told_as_it_is_set() {
        let ledger = [
            archive(Outcome::Searched),
            site("SITEB", Outcome::Searched),
            site("SITEC", Outcome::Failed),
        ];
        let comment = "1 of 3 sites did not answer: SITEC".to_owned();
        assert_eq!(told(&ledger, OnPartial::Success), (0, comment.clone()));
        assert_eq!(told(&ledger, OnPartial::Failure), (0xC001, comment));
        assert_eq!(told(&ledger[..2], OnPartial::Failure), (0, String::new()));
    }

    #[test]
    fn without_the_archive_it_is_a_failure_whatever_is_set() {
        let ledger = [archive(Outcome::Failed), site("SITEB", Outcome::Searched)];
        let comment = "1 of 2 sites did not answer: PACS".to_owned();
        assert_eq!(told(&ledger, OnPartial::Success), (0xC001, comment));
        assert_eq!(told(&ledger[1..], OnPartial::Success).0, 0xC001);
    }

    #[test]
    fn a_truncated_site_has_answered_in_part() {
        let mut site = site("SITEB", Outcome::Truncated);
        site.1.matches = 7;
        let ledger = [archive(Outcome::Searched), site];
        assert_eq!(
            told(&ledger, OnPartial::Success).1,
            "1 of 2 sites answered in part: SITEB"
        );
    }

    #[test]
    fn a_site_that_was_cut_off_is_named_as_such() {
        let mut ledger = vec![archive(Outcome::Searched), site("SITEB", Outcome::Cancelled)];
        assert_eq!(missing(&ledger), "1 of 2 sites not waited for: SITEB");
        ledger.push(site("SITEC", Outcome::Failed));
        assert_eq!(missing(&ledger), "2 of 3 sites did not answer: SITEB, SITEC");
    }

    /// Case: a linked cluster did not answer a viewer's query
    #[test]
    fn names_stand_as_far_as_they_fit() {
        let mut ledger = vec![archive(Outcome::Searched)];
        ledger.extend((10..20).map(|number| site(&format!("HOSPITAL{number}"), Outcome::Failed)));
        let (_, comment) = told(&ledger, OnPartial::Success);
        assert_eq!(
            comment,
            "10 of 11 sites did not answer: HOSPITAL10, HOSPITAL11, ..."
        );
        ledger.truncate(4);
        let (_, comment) = told(&ledger, OnPartial::Success);
        assert_eq!(
            comment,
            "3 of 4 sites did not answer: HOSPITAL10, HOSPITAL11, HOSPITAL12"
        );
        assert!(comment.len() <= MAX_COMMENT);
    }

    #[test]
    fn a_cut_has_its_own_status() {
        let cut = |cut| final_response(&[archive(Outcome::Cancelled)], Some(cut), OnPartial::Success).status;
        assert_eq!(cut(Cut::Cancelled), Status::CANCEL);
        assert_eq!(cut(Cut::Limit(7)), Status::OUT_OF_RESOURCES);
    }
}

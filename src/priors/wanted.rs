//! What has to be done for a relevant prior: bring it, or nothing, as it is here.
//!
//! Invariant: pure. A prior of which the local cluster has a copy as full as any that is known is not brought; where
//! counts are not known it is, and the retrieve finds out what is lacking.

use crate::link::merge::{MergedStudy, Source};
use crate::link::policy::Role;
use crate::model::{Availability, StationName, Uid, WantedPrior};

/// What has to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Need {
    /// It is to be brought.
    Bring(WantedPrior),
    /// The local cluster has all of it that anyone is known to have; it needs no source.
    IsHere(WantedPrior),
    /// Nobody has a copy that is to be had.
    Nowhere,
}

/// What has to be done for `prior`, which was chosen for `reason`, with `wanted_for` the study at hand; `sources` are
/// those of the query that found it.
pub fn need(
    prior: &MergedStudy,
    sources: &[Source],
    destination: &StationName,
    reason: String,
    wanted_for: Option<&Uid>,
) -> Need {
    let copies = || {
        let locations = prior.locations.iter();
        let to_be_had = locations.filter(|copy| copy.availability != Some(Availability::Unavailable));
        to_be_had.filter_map(|copy| Some((copy, sources.get(copy.source)?)))
    };
    let of_role = |role| copies().filter(move |(_, source)| source.role == role);
    let largest = copies().filter_map(|(copy, _)| copy.instances).max();
    let all_are_counted = of_role(Role::Linked).all(|(copy, _)| copy.instances.is_some());
    let is_here =
        of_role(Role::Archive).any(|(copy, _)| copy.instances.is_some() && copy.instances == largest);
    let mut names: Vec<StationName> = Vec::new();
    for (_, source) in of_role(Role::Linked) {
        if !names.contains(&source.station) {
            names.push(source.station.clone());
        }
    }
    let has_source = !names.is_empty();
    let has_copy = of_role(Role::Archive).next().is_some();
    let mut wanted = WantedPrior {
        study_instance_uid: prior.study.study_instance_uid.clone(),
        patient_id: prior.study.patient_id.clone(),
        destination: destination.clone(),
        sources: names,
        instances: largest,
        reason,
        wanted_for: wanted_for.cloned(),
    };
    if has_copy && (!has_source || is_here && all_are_counted) {
        wanted.sources.clear();
        Need::IsHere(wanted)
    } else if has_source {
        Need::Bring(wanted)
    } else {
        Need::Nowhere
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::link::merge::Location;
    use crate::model::{IssuerDomain, PatientId, StudyAnswer};

    /// Sources are PACS (local), SITEB and SITEC; `copies` are their places with a count each.
    fn needed(copies: &[(usize, Option<u32>)]) -> Need {
        let source = |name: &str, role| Source {
            station: name.parse().unwrap(),
            role,
            priority: 0,
        };
        let sources = [
            source("PACS", Role::Archive),
            source("SITEB", Role::Linked),
            source("SITEC", Role::Linked),
        ];
        let patient_id = PatientId {
            id: "4711".to_owned(),
            domain: IssuerDomain::Named("NORTH".parse().unwrap()),
        };
        let study = StudyAnswer::new("1.2".parse().unwrap(), patient_id);
        let prior = MergedStudy {
            locations: copies
                .iter()
                .map(|(source, instances)| Location {
                    instances: *instances,
                    ..Location::of(*source, &study)
                })
                .collect(),
            study,
            conflicts: Vec::new(),
        };
        need(
            &prior,
            &sources,
            &"PACS".parse().unwrap(),
            "a rule".to_owned(),
            None,
        )
    }

    #[track_caller]
    fn assert_brought(copies: &[(usize, Option<u32>)], from: &[&str], instances: Option<u32>) {
        match needed(copies) {
            Need::Bring(prior) => {
                let sources: Vec<&str> = prior.sources.iter().map(|name| name.as_str()).collect();
                assert_eq!((sources, prior.instances), (from.to_vec(), instances));
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn what_is_here_whole_is_not_brought() {
        for copies in [&[(0, Some(3)), (1, Some(3))][..], &[(0, None)]] {
            assert!(matches!(needed(copies), Need::IsHere(_)), "{copies:?}");
        }
        assert_eq!(needed(&[]), Need::Nowhere);
    }

    #[test]
    fn what_is_elsewhere_is_brought_from_all_that_have_it_in_their_order() {
        assert_brought(&[(2, Some(3)), (1, Some(2))], &["SITEC", "SITEB"], Some(3));
        assert_brought(&[(1, Some(3)), (0, Some(2))], &["SITEB"], Some(3));
    }

    #[test]
    fn where_nobody_can_tell_it_is_looked_at() {
        assert_brought(&[(0, Some(3)), (1, None)], &["SITEB"], Some(3));
        assert_brought(&[(0, None), (1, Some(3))], &["SITEB"], Some(3));
    }
}

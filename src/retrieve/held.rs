//! What the local cluster itself has of a study, archive by archive.
//!
//! Invariant: an archive that did not answer is told apart from one that has nothing.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use jiff::Timestamp;
use tokio_util::sync::CancellationToken;

use super::copies::Copy;
use super::find::{ask, of_study, query};
use super::{Instance, RetrieveRequest, Unanswered};
use crate::link::completeness::has_answered;
use crate::link::policy::{Caller, Narrowing, plan};
use crate::model::{StationName, Uid};

/// What an archive station of the local cluster has of the study.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    /// The station.
    pub station: StationName,
    /// What it lists.
    pub instances: BTreeMap<Uid, Instance>,
}

/// What the archive stations of the local cluster have of the study, by the order in which studies are brought to them,
/// and those that did not say.
pub async fn held_here(request: &RetrieveRequest) -> (Vec<Held>, Vec<Unanswered>) {
    let narrowing = Narrowing {
        local_only: true,
        ..Narrowing::default()
    };
    let (configuration, query) = (&request.configuration, query(request));
    let now = Timestamp::now();
    let mut targets = plan(configuration, &Caller::Internal, &query, &narrowing, now);
    targets.sort_by_key(|target| {
        let station = configuration.stations.get(target.station);
        station.map(|station| (Reverse(station.priority), station.name.clone()))
    });
    let stations: Vec<usize> = targets.iter().map(|target| target.station).collect();
    let answers = ask(request, targets, &CancellationToken::new()).await;
    let entries = answers.entries.clone();
    let study = of_study(request, answers);
    let copies: Vec<Copy> = study
        .into_iter()
        .flat_map(|study| study.copies.into_iter().chain(study.conflicting))
        .collect();
    let (mut held, mut unanswered) = (Vec::new(), Vec::new());
    for (target, (station, entry)) in stations.into_iter().zip(entries).enumerate() {
        let Some(station) = configuration.stations.get(station).map(|it| it.name.clone()) else {
            continue;
        };
        let copy = copies.iter().find(|copy| copy.target == target);
        match (copy, entry) {
            (Some(Copy { instances, .. }), _) => held.push(Held {
                station,
                instances: (**instances).clone(),
            }),
            (None, Some(entry)) if !entry.is_complete() => {
                unanswered.push(Unanswered {
                    station,
                    answered_in_part: has_answered(&entry),
                    detail: entry.detail.unwrap_or_default(),
                });
            }
            _ => {}
        }
    }
    (held, unanswered)
}

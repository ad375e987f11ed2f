//! The question at Query/Retrieve Level `CLUSTER`, put to a linked cluster.
//!
//! Invariant: the clocks are read on both sides of the question, so that what the journey took is not mistaken for a
//! difference.

use std::time::Duration;

use dicom_core::VR;
use dicom_dictionary_std::tags;
use jiff::{SignedDuration, Timestamp};

use super::linked_syntax::{CHARACTER_SET, CLUSTER_LEVEL, ClusterAnswer};
use crate::dimse::{Association, DataSetBuilder, Error, FindEnd, FindEvent, Peer, Status, StatusClass, uids};

/// What a cluster said of itself, and when.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClusterTold {
    /// What it said.
    pub answer: ClusterAnswer,
    /// Our clock when it was asked.
    pub asked_at: Timestamp,
    /// Our clock when it had answered.
    pub answered_at: Timestamp,
}

impl ClusterTold {
    /// By how much its clock is ahead of ours at least, whatever part of the journey was which way; negative where it is
    /// behind, zero where they may agree.
    pub fn clock_ahead(&self) -> SignedDuration {
        let clock = self.answer.clock;
        if clock < self.asked_at {
            clock.duration_since(self.asked_at)
        } else if clock > self.answered_at {
            clock.duration_since(self.answered_at)
        } else {
            SignedDuration::ZERO
        }
    }
}

/// Why a cluster that takes the linked syntax said nothing of itself.
#[derive(Debug, thiserror::Error)]
pub enum ClusterUntold {
    /// The association failed.
    #[error(transparent)]
    Peer(#[from] Error),
    /// It ended without an answer.
    #[error("it ended the question with status {}, and no answer", .0.status)]
    Ended(FindEnd),
    /// Its answer has no identity or no clock.
    #[error("its answer can't be read")]
    Unreadable,
}

impl ClusterUntold {
    /// Whether the peer takes any presentation context for one of images, as archives may be set to, and knows nothing of
    /// clusters.
    pub fn is_of_no_cluster(&self, peer: &Peer) -> bool {
        match self {
            ClusterUntold::Ended(end) => {
                peer.implementation_class_uid != uids::IMPLEMENTATION_CLASS_UID
                    && end.status != Status::NOT_AUTHORIZED
            }
            ClusterUntold::Peer(_) | ClusterUntold::Unreadable => false,
        }
    }
}

/// Asks a cluster what it is, over an association that has the linked syntax; each response must come `within` that time.
pub async fn ask_cluster(
    association: &mut Association,
    within: Duration,
) -> Result<ClusterTold, ClusterUntold> {
    let context = association.context_for(uids::LINKED_CLUSTER_QUERY)?.clone();
    let question = DataSetBuilder::new()
        .put(tags::SPECIFIC_CHARACTER_SET, VR::CS, CHARACTER_SET)
        .put(tags::QUERY_RETRIEVE_LEVEL, VR::CS, CLUSTER_LEVEL)
        .encode(context.transfer_syntax)
        .map_err(|_| Error::Unencodable("the question"))?;
    let asked_at = Timestamp::now();
    let mut find = association.find(&context, &question).await?;
    let mut told = None;
    loop {
        match find.next(within).await? {
            FindEvent::Match { identifier, .. } => {
                told = told.or(Some((ClusterAnswer::read(&identifier), Timestamp::now())));
            }
            FindEvent::MalformedMatch(_) | FindEvent::MisplacedMatch => {
                told = told.or(Some((None, Timestamp::now())))
            }
            FindEvent::Done(end) => {
                return match (told, end.status.class()) {
                    (Some((Some(answer), answered_at)), StatusClass::Success) => Ok(ClusterTold {
                        answer,
                        asked_at,
                        answered_at,
                    }),
                    (Some((None, _)), StatusClass::Success) => Err(ClusterUntold::Unreadable),
                    _ => Err(ClusterUntold::Ended(end)),
                };
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_journey_is_no_difference_between_clocks() {
        let ahead = |millis: i64| {
            let asked_at = Timestamp::UNIX_EPOCH;
            let answer = ClusterAnswer {
                name: None,
                uid: "2.25.1".parse().unwrap(),
                software_version: String::new(),
                stations: Vec::new(),
                vocabulary_digest: String::new(),
                prefetch_rule_digest: String::new(),
                clock: asked_at + SignedDuration::from_millis(millis),
            };
            let told = ClusterTold {
                answer,
                asked_at,
                answered_at: asked_at + SignedDuration::from_millis(900),
            };
            told.clock_ahead().as_millis()
        };
        assert_eq!([0, 450, 900].map(ahead), [0; 3]);
        assert_eq!((ahead(1000), ahead(-70)), (100, -70));
    }
}

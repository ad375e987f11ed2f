//! A message brought to its end, or to its next wait.
//!
//! Invariant: it is settled in the transaction of the updates that it makes, and only while it waits: each is done once,
//! whoever works on it.

use jiff::Timestamp;
use rusqlite::{Connection, params};

use super::{Hl7Deed, Hl7State, release};
use crate::audit::Attribution;
use crate::model::IssuedId;
use crate::store::configuration::json;
use crate::store::updates::Desk;
use crate::store::{Draft, LinkError, LinkOrigin, Store, StoreError};

/// How a message goes on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Hl7Settlement {
    /// It is done by these changes.
    Do {
        /// The changes of studies.
        drafts: Vec<Draft>,
        /// Patient IDs that are one person's; none where it says nothing of that.
        link: Vec<IssuedId>,
        /// What else is to be said of it.
        note: Option<String>,
    },
    /// It goes on waiting.
    Wait {
        /// For what.
        reason: String,
        /// Until then at least.
        next_try: Timestamp,
    },
    /// A person is to look.
    Fail {
        /// At what.
        reason: String,
    },
}

/// What settling a message brought.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SettledHl7 {
    /// What became of it.
    pub state: Hl7State,
    /// Whether it made updates.
    pub has_updates: bool,
    /// Whether it changed the cross-reference of patients.
    pub has_linked: bool,
}

impl Store {
    /// Settles a message, if it still waits; `None` where someone else has settled it.
    pub fn settle_hl7(
        &self,
        attribution: &Attribution,
        number: i64,
        settlement: &Hl7Settlement,
    ) -> Result<Option<SettledHl7>, StoreError> {
        let attribution = Attribution {
            reason: Some(format!("HL7 message {number}")),
            ..attribution.clone()
        };
        self.within_updates_and_more(|desk| {
            let waits = desk
                .connection
                .prepare_cached("SELECT 1 FROM hl7_message WHERE number = ?1 AND state = 'waiting'")
                .and_then(|mut statement| statement.exists([number]));
            match self.sqlite(waits)? {
                true => self.settle(desk, &attribution, number, settlement).map(Some),
                false => Ok(None),
            }
        })
    }

    fn settle(
        &self,
        desk: &mut Desk<'_>,
        attribution: &Attribution,
        number: i64,
        settlement: &Hl7Settlement,
    ) -> Result<SettledHl7, StoreError> {
        let mut end = End::default();
        let mut has_linked = false;
        let state = match settlement {
            Hl7Settlement::Wait { reason, next_try } => {
                end.notes.push(reason.clone());
                end.next_try = Some(*next_try);
                Hl7State::Waiting
            }
            Hl7Settlement::Fail { reason } => {
                end.notes.push(reason.clone());
                Hl7State::Failed
            }
            Hl7Settlement::Do { drafts, link, note } => {
                let linked = match link.as_slice() {
                    [] => Ok(false),
                    ids => self.link_within(attribution, LinkOrigin::Hl7, ids),
                };
                match linked {
                    Ok(linked) => {
                        has_linked = linked;
                        end.notes.extend(note.clone());
                        if !link.is_empty() {
                            let told = if linked {
                                "two patient IDs are linked"
                            } else {
                                "the patient IDs were linked already"
                            };
                            end.notes.push(told.to_owned());
                        }
                        self.sqlite(end.make(desk, attribution, drafts))?;
                        Hl7State::Done
                    }
                    Err(error @ LinkError::TwoGlobalIds) => {
                        end.notes.push(error.to_string());
                        Hl7State::Failed
                    }
                    Err(LinkError::Store(error)) => return Err(error),
                }
            }
        };
        self.sqlite(end.write(desk.connection, number, state))?;
        Ok(SettledHl7 {
            state,
            has_updates: end.did.iter().any(|deed| deed.update.is_some()),
            has_linked,
        })
    }
}

/// What is written of a message that is settled.
#[derive(Default)]
struct End {
    notes: Vec<String>,
    did: Vec<Hl7Deed>,
    next_try: Option<Timestamp>,
}

impl End {
    fn make(
        &mut self,
        desk: &mut Desk<'_>,
        attribution: &Attribution,
        drafts: &[Draft],
    ) -> rusqlite::Result<()> {
        // No person has looked at what a message asks to be looked at.
        desk.is_person = false;
        for draft in drafts {
            match desk.make(attribution, draft)? {
                Ok(made) => {
                    let update = made.update.as_ref();
                    self.did.push(Hl7Deed {
                        study: draft.study.clone(),
                        update: update.map(|update| update.id.clone()),
                        changed: update.map_or(Vec::new(), |update| {
                            update.changes.iter().map(|c| c.field).collect()
                        }),
                        review: draft.review.is_some(),
                    });
                }
                Err(falls_back) => self.notes.push(format!("study {}: {falls_back}", draft.study)),
            }
        }
        desk.prune(drafts.len())
    }

    fn write(&self, connection: &Connection, number: i64, state: Hl7State) -> rusqlite::Result<()> {
        let now = Timestamp::now();
        let reason = (!self.notes.is_empty()).then(|| self.notes.join("; "));
        connection
            .prepare_cached(
                "UPDATE hl7_message SET state = ?2, reason = ?3, did = ?4, next_try = ?5, attempts = attempts + 1, \
                 changed_at = ?6 WHERE number = ?1",
            )?
            .execute(params![
                number,
                state.as_str(),
                reason,
                json(&self.did)?,
                self.next_try.unwrap_or(now).as_microsecond(),
                now.as_microsecond(),
            ])?;
        match state {
            Hl7State::Waiting => Ok(()),
            _ => release(connection, number),
        }
    }
}

//! What clusters have said of a study, so merged that all of them end with the same, whatever the order of arrival.
//!
//! Each field is a register. Its value is the greatest of all that was ever written: a report's status by (epoch, rank,
//! revision, cluster), all else by (revision, cluster). Beside it are kept the writes that no other write knew of: more
//! than one of them, with different values, is a conflict, in view until someone writes again. A write knows what its
//! register had seen at its cluster: the last revision of each cluster (a version vector).
//!
//! Invariants: merging is commutative, associative and idempotent (proven below by property). A write knows only of
//! earlier ones, so that no register ever loses its greatest value. Values are as `state_field` wants them. Which
//! patient's state it is, is for who keeps it to say: the state of (study, patient) is one, and never another patient's.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{FieldValue, Invalid, Revision, StateField, Uid};

/// The last revision of each cluster that is known of.
pub type Seen = BTreeMap<Uid, Revision>;

/// One write of one field.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Write {
    /// What was written.
    pub value: FieldValue,
    /// Of a report's status: how often it was corrected; else 0.
    pub epoch: u32,
    /// When.
    pub revision: Revision,
    /// By which cluster.
    pub cluster: Uid,
    /// The update that brought it.
    pub update: Uid,
}

impl Write {
    /// The order by which the value of a register is the greatest.
    fn order(&self, field: StateField) -> impl Ord + '_ {
        let rank = match field {
            StateField::InterpretationStatus => self.value.status_rank(),
            _ => 0,
        };
        // The last one decides only between two writes of one identity, which a cloned store may make.
        (self.epoch, rank, self.revision, &self.cluster, &self.value)
    }

    fn is_same(&self, other: &Write) -> bool {
        (self.revision, &self.cluster) == (other.revision, &other.cluster)
    }
}

/// One field's writes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Register {
    greatest: Write,
    /// Those that no other write knew of, in order of revision.
    heads: Vec<Write>,
    seen: Seen,
}

impl Register {
    fn of(write: Write, mut known: Seen) -> Self {
        let own = known.entry(write.cluster.clone()).or_insert(write.revision);
        *own = (*own).max(write.revision);
        Register {
            greatest: write.clone(),
            heads: vec![write],
            seen: known,
        }
    }

    fn has_seen(&self, write: &Write) -> bool {
        self.seen
            .get(&write.cluster)
            .is_some_and(|seen| *seen >= write.revision)
    }

    /// Whether a write is no news: it is among the heads, or something later is known that knew of it.
    fn keeps(&self, write: &Write) -> bool {
        !self.has_seen(write) || self.heads.iter().any(|head| head.is_same(write))
    }

    fn merge(&mut self, field: StateField, other: &Register) {
        let mut heads: Vec<Write> = Vec::with_capacity(self.heads.len() + other.heads.len());
        let mine = self.heads.iter().filter(|write| other.keeps(write));
        let theirs = other.heads.iter().filter(|write| self.keeps(write));
        for write in mine.chain(theirs) {
            match heads.iter_mut().find(|head| head.is_same(write)) {
                Some(head) if head.order(field) < write.order(field) => *head = write.clone(),
                Some(_) => {}
                None => heads.push(write.clone()),
            }
        }
        heads.sort_by(|one, two| (one.revision, &one.cluster).cmp(&(two.revision, &two.cluster)));
        self.heads = heads;
        if self.greatest.order(field) < other.greatest.order(field) {
            self.greatest = other.greatest.clone();
        }
        for (cluster, revision) in &other.seen {
            let seen = self.seen.entry(cluster.clone()).or_insert(*revision);
            *seen = (*seen).max(*revision);
        }
    }

    fn rivals(&self) -> impl Iterator<Item = &Write> {
        self.heads.iter().filter(|head| head.value != self.greatest.value)
    }
}

/// One changed field of an update.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FieldChange {
    /// Which.
    pub field: StateField,
    /// Its new value; empty where it is cleared.
    pub value: FieldValue,
    /// Of a report's status: how often it was corrected; else 0.
    pub epoch: u32,
    /// What the change was made in knowledge of.
    pub known: Seen,
}

impl FieldChange {
    /// Holds what it knows of to what a change of that cluster and revision can know.
    pub fn check(&self, cluster: &Uid, revision: Revision) -> Result<(), Invalid> {
        let own = (revision, cluster);
        match self
            .known
            .iter()
            .find(|(cluster, seen)| (**seen, *cluster) >= own)
        {
            Some((_, seen)) => {
                let rule = format!("a change of revision {revision} can't know of a later one");
                Err(Invalid::new("revision", &seen.to_string(), rule))
            }
            None => Ok(()),
        }
    }
}

/// A report's status that only an explicit correction can take back.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the report is {}, and falls back to {} only by a correction", shown(.from), shown(.to))]
pub struct StatusFallsBack {
    /// The status that is there.
    pub from: FieldValue,
    /// The one that is earlier.
    pub to: FieldValue,
}

fn shown(status: &FieldValue) -> &str {
    status.text().unwrap_or("without status")
}

/// Changes of one field that were made without knowledge of each other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StateConflict<'s> {
    /// Which field.
    pub field: StateField,
    /// The one that is shown.
    pub shown: &'s Write,
    /// The others, in order of revision.
    pub rivals: Vec<&'s Write>,
}

/// All that clusters have said of a study.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct StudyState {
    registers: BTreeMap<StateField, Register>,
}

impl StudyState {
    /// The last revision that is known of in any field.
    pub fn newest(&self) -> Option<Revision> {
        let registers = self.registers.values();
        registers
            .flat_map(|register| register.seen.values())
            .max()
            .copied()
    }

    /// The value of a field; empty where it was cleared, `None` where nobody has ever said one.
    pub fn value(&self, field: StateField) -> Option<&FieldValue> {
        self.write(field).map(|write| &write.value)
    }

    /// The write that gave a field its value.
    pub fn write(&self, field: StateField) -> Option<&Write> {
        self.registers.get(&field).map(|register| &register.greatest)
    }

    /// The fields that have a value or were cleared, in order.
    pub fn writes(&self) -> impl Iterator<Item = (StateField, &Write)> {
        let registers = self.registers.iter();
        registers.map(|(field, register)| (*field, &register.greatest))
    }

    /// Fields that were changed in several places without knowledge of each other.
    pub fn conflicts(&self) -> impl Iterator<Item = StateConflict<'_>> {
        self.registers.iter().filter_map(|(field, register)| {
            let rivals: Vec<&Write> = register.rivals().collect();
            (!rivals.is_empty()).then_some(StateConflict {
                field: *field,
                shown: &register.greatest,
                rivals,
            })
        })
    }

    /// Takes in all that another copy of the state knows.
    pub fn merge(&mut self, other: &StudyState) {
        for (field, theirs) in &other.registers {
            match self.registers.get_mut(field) {
                Some(mine) => mine.merge(*field, theirs),
                None => drop(self.registers.insert(*field, theirs.clone())),
            }
        }
    }

    /// The state that knows of nothing but these changes.
    pub(super) fn of_changes(changes: &[FieldChange], stamp: (Revision, &Uid, &Uid)) -> Self {
        let (revision, cluster, update) = stamp;
        let mut state = StudyState::default();
        for change in changes {
            let write = Write {
                value: change.value.clone(),
                epoch: change.epoch,
                revision,
                cluster: cluster.clone(),
                update: update.clone(),
            };
            state
                .registers
                .insert(change.field, Register::of(write, change.known.clone()));
        }
        state
    }

    /// What is to be said anew so that the fields have these values: nothing of those that have them and are in no
    /// conflict.
    ///
    /// # Errors
    /// Where a report's status would fall back, unless the change `is_correction`.
    pub fn changes_to(
        &self,
        wanted: &BTreeMap<StateField, FieldValue>,
        is_correction: bool,
    ) -> Result<Vec<FieldChange>, StatusFallsBack> {
        let mut changes = Vec::new();
        for (field, value) in wanted {
            let register = self.registers.get(field);
            let is_so = register.is_some_and(|register| {
                register.greatest.value == *value && register.rivals().next().is_none()
            });
            if is_so || (register.is_none() && value.text().is_none()) {
                continue;
            }
            changes.push(FieldChange {
                field: *field,
                value: value.clone(),
                epoch: match (field, register) {
                    (StateField::InterpretationStatus, Some(register)) => {
                        next_epoch(&register.greatest, value, is_correction)?
                    }
                    _ => 0,
                },
                known: register.map(|register| register.seen.clone()).unwrap_or_default(),
            });
        }
        Ok(changes)
    }

    /// The writes that are to be told again to a cluster that may have missed any, by the update that first brought
    /// them, oldest first.
    pub(super) fn to_tell_again(&self) -> BTreeMap<(Revision, Uid, Uid), Vec<FieldChange>> {
        let mut told: BTreeMap<_, Vec<FieldChange>> = BTreeMap::new();
        for (field, register) in &self.registers {
            let greatest = std::iter::once(&register.greatest)
                .filter(|write| !register.heads.iter().any(|head| head.is_same(write)));
            for write in register.heads.iter().chain(greatest) {
                // What a rival's cluster had written was not known to this write, as far as we can tell.
                let is_rivals = |cluster: &Uid| register.heads.iter().any(|head| head.cluster == *cluster);
                let known = register.seen.iter().filter(|(cluster, seen)| {
                    !is_rivals(cluster) && (**seen, *cluster) < (write.revision, &write.cluster)
                });
                let change = FieldChange {
                    field: *field,
                    value: write.value.clone(),
                    epoch: write.epoch,
                    known: known.map(|(cluster, seen)| (cluster.clone(), *seen)).collect(),
                };
                let stamp = (write.revision, write.cluster.clone(), write.update.clone());
                told.entry(stamp).or_default().push(change);
            }
        }
        told
    }
}

fn next_epoch(greatest: &Write, to: &FieldValue, is_correction: bool) -> Result<u32, StatusFallsBack> {
    let falls_back = to.status_rank() < greatest.value.status_rank();
    match (falls_back, is_correction) {
        (false, _) => Ok(greatest.epoch),
        (true, true) => Ok(greatest.epoch.saturating_add(1)),
        (true, false) => Err(StatusFallsBack {
            from: greatest.value.clone(),
            to: to.clone(),
        }),
    }
}

#[cfg(test)]
mod tests;

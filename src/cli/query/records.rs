//! What a query takes from the store and leaves in it.
//!
//! Invariant: a store that can only be read serves a query all the same; that nothing could be recorded is told. No
//! value of a key is recorded.

use std::collections::{BTreeMap, HashSet};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use uuid::Uuid;

use crate::audit::{Attribution, Disclosure};
use crate::cli::attribution;
use crate::cli::error::ExitStatus;
use crate::cli::output::Ui;
use crate::cli::station::suspended;
use crate::link::StudyStates;
use crate::link::policy::{Skip, Target};
use crate::model::{
    Asker, Caller, Configuration, CrossReference, LedgerEntry, LedgerId, Level, Query, QueryLedger,
    StationName, StudyConflict, Told, Uid,
};
use crate::store::{Access, LinkHealth, LinkReport, Store, StoreError};

/// How a query is named in the audit.
pub const COMMAND: &str = "impaxlink query";

/// The store, as far as it is open to a query.
pub struct Records {
    store: Option<Store>,
    is_read_only: bool,
    /// The command on whose behalf, for the audit.
    command: &'static str,
}

impl Records {
    /// Opens the store; where there is none, there is no station either.
    pub fn open(ui: &Ui, command: &'static str) -> anyhow::Result<Self> {
        // Where nobody can tell, opening it says why.
        if !ui.store_path().try_exists().unwrap_or(true) {
            return Ok(Records {
                store: None,
                is_read_only: true,
                command,
            });
        }
        let written = Store::open(ui.store_path(), Access::ReadWrite);
        let is_read_only = written.is_err();
        let store = match written {
            Ok(store) => store,
            Err(StoreError::ReadOnly { .. } | StoreError::NotPermitted { .. } | StoreError::InUse { .. }) => {
                ui.store(Access::ReadOnly)?
            }
            Err(error) => return Err(error.into()),
        };
        Ok(Records {
            store: Some(store),
            is_read_only,
            command,
        })
    }

    /// The saved configuration.
    pub fn configuration(&self) -> anyhow::Result<Configuration> {
        Ok(self
            .store
            .as_ref()
            .map(Store::configuration)
            .transpose()?
            .unwrap_or_default())
    }

    /// What is on record of studies; `None` where that is nothing.
    pub fn states(&self, ui: &Ui) -> anyhow::Result<Option<StudyStates>> {
        let Some(store) = &self.store else { return Ok(None) };
        let has_any = store.has_study_states()? || store.has_deliveries()?;
        Ok(has_any.then(|| StudyStates::of_store(ui.store_path())))
    }

    /// How the links fared before.
    pub fn health(&self) -> anyhow::Result<BTreeMap<StationName, LinkHealth>> {
        Ok(self
            .store
            .as_ref()
            .map(Store::link_health)
            .transpose()?
            .unwrap_or_default())
    }

    /// What the cross-reference says, as far as the query has a use for it: where it asks for one patient, only of the
    /// persons who may be meant.
    pub fn cross_reference(&self, query: &Query) -> anyhow::Result<CrossReference> {
        let Some(store) = &self.store else {
            return Ok(CrossReference::default());
        };
        let exact = |text: &&str| !text.is_empty() && !text.contains(['*', '?']);
        let id = query.patient_id.as_ref().map(|key| key.id.as_str()).filter(exact);
        let global_id = query.global_id.as_deref().filter(exact);
        if id.is_some() || global_id.is_some() {
            return Ok(store.cross_reference_of(id, global_id)?);
        }
        Ok(store.cross_reference()?.0)
    }

    /// Records by which keys, and where, patient data are asked for.
    pub fn disclose(
        &self,
        ui: &Ui,
        configuration: &Configuration,
        targets: &[Target],
        keywords: Vec<String>,
    ) {
        let disclosure = disclosure(configuration, targets, keywords);
        let attribution = asker(self.command);
        self.write(ui, |store| store.record_disclosure(&attribution, &disclosure));
    }

    /// The studies that a person has yet to look at.
    pub fn under_review(&self) -> anyhow::Result<HashSet<Uid>> {
        Ok(self
            .store
            .as_ref()
            .map(Store::all_under_review)
            .transpose()?
            .unwrap_or_default())
    }

    /// Keeps how the links fared.
    pub fn keep(&self, ui: &Ui, reports: &[LinkReport]) {
        self.write(ui, |store| store.record_link_health(reports));
    }

    /// Keeps the study UIDs that were found with two patients.
    pub fn note_conflicts(&self, ui: &Ui, conflicts: &[StudyConflict]) {
        if !conflicts.is_empty() {
            self.write(ui, |store| store.note_conflicts(conflicts));
        }
    }

    /// Keeps what a query came to: what each station did, and the status and the number of matches that its user is told.
    pub fn end_ledger(
        &self,
        ui: &Ui,
        begun: BegunLedger,
        entries: &[(usize, LedgerEntry)],
        complete: bool,
        (status, matches): (ExitStatus, usize),
    ) -> QueryLedger {
        let ledger = QueryLedger {
            entries: entries.iter().map(|(_, entry)| entry.clone()).collect(),
            complete,
            told: Told {
                status: status as u16,
                matches: matches as u64,
            },
            elapsed: begun.began.elapsed(),
            ..begun.ledger
        };
        self.write(ui, |store| store.record_ledgers(std::slice::from_ref(&ledger)));
        ledger
    }

    fn write(&self, ui: &Ui, write: impl FnOnce(&Store) -> Result<(), StoreError>) {
        let Some(store) = &self.store else { return };
        if self.is_read_only {
            if ui.verbosity() > 0 {
                ui.notice("the store can't be written: the query leaves no record in it");
            }
        } else if let Err(error) = write(store) {
            ui.notice(&format!("not recorded: {error}"));
        }
    }

    /// Says of suspended stations until when, by whom and why.
    pub fn explain_suspensions(&self, targets: &[Target], ledger: &mut [(usize, LedgerEntry)]) {
        let now = Timestamp::now();
        for (target, entry) in ledger {
            let Some(Skip::Suspended(suspension)) = targets.get(*target).and_then(|target| target.skip)
            else {
                continue;
            };
            let saved = self.store.as_ref().and_then(|store| {
                store
                    .last_change_of(&entry.station, "suspended_until")
                    .ok()
                    .flatten()
            });
            let mut detail = suspended(suspension, now);
            if let Some(saved) = saved {
                detail.push_str(&format!(" by {}", saved.attribution.person()));
                if let Some(reason) = &saved.attribution.reason {
                    detail.push_str(&format!(", {reason}"));
                }
            }
            entry.detail = Some(detail);
        }
    }
}

/// By which keys, and where, patient data are asked for.
pub fn disclosure(configuration: &Configuration, targets: &[Target], keywords: Vec<String>) -> Disclosure {
    let asked = targets.iter().filter(|target| target.skip.is_none());
    let stations = asked.filter_map(|target| configuration.stations.get(target.station));
    Disclosure {
        stations: stations.map(|station| station.name.clone()).collect(),
        keywords,
    }
}

fn asker(command: &str) -> Attribution {
    attribution::with_command(command.to_owned())
}

/// The ledger of a query that is under way.
pub struct BegunLedger {
    ledger: QueryLedger,
    began: Instant,
}

/// The ledger of a query that is about to be put.
pub fn begin_ledger(
    configuration: &Configuration,
    caller: Caller,
    level: Level,
    keywords: Vec<String>,
) -> BegunLedger {
    let at = Timestamp::now();
    let ledger = QueryLedger {
        id: LedgerId::new(at, Uuid::new_v4().as_fields().0),
        at,
        asker: Asker::User(asker(COMMAND).person().to_owned()),
        asked_as: caller,
        generation: configuration.generation,
        level,
        keywords,
        entries: Vec::new(),
        complete: false,
        told: Told {
            status: 0,
            matches: 0,
        },
        elapsed: Duration::ZERO,
    };
    BegunLedger {
        ledger,
        began: Instant::now(),
    }
}

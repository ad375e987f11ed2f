//! Updates made here and received: each applied once, with its audit record and the rows of all to whom it goes on.
//!
//! Invariants: one transaction carries the state, the log, the audit and the outbox of an update, or none of them; several
//! updates share one. An update whose identity is in the log changes nothing, however often it comes; one that is older
//! than the log is kept changes nothing either, since states merge. The clock is kept in the same transaction, so that
//! no revision is given twice. No generation is made.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use rusqlite::{Connection, params};
use uuid::Uuid;

use super::configuration::{json, unreadable};
use super::update_clock::UpdateClock;
use super::{Store, StoreError, audit_log, configuration, outbox, relay_peers, review_notices, study_state};
use crate::audit::{Attribution, Event, UpdateAct, UpdateRecord};
use crate::model::{
    Configuration, FieldValue, NewObjects, Objection, ReviewReason, StateField, StationName, StatusFallsBack,
    StudyPatient, UPDATES_KEEP_DAYS, UPDATES_MAX_CLOCK_AHEAD, Uid, Update, relay_targets,
};

/// How many old updates are taken out of the log for each that comes, at most: twice as many go as come.
const REMOVED_FOR_EACH: usize = 2;
/// How many more at each occasion.
const REMOVED_BESIDES: usize = 8;

/// A change that is to be made to a study.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Draft {
    /// The study.
    pub study: Uid,
    /// Whose it is. Without an issuer it is made here alone.
    pub patient: StudyPatient,
    /// The fields and the values they are to have; an empty value clears one.
    pub wanted: BTreeMap<StateField, FieldValue>,
    /// Whether a report's status may fall back.
    pub is_correction: bool,
    /// Objects of the study that are new here.
    pub new_objects: Option<NewObjects>,
    /// What a person must look at in other clusters.
    pub review: Option<ReviewReason>,
}

/// What became of a change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Made {
    /// The update that it is; `None` where all was so already.
    pub update: Option<Update>,
    /// The stations to which it goes.
    pub relayed_to: Vec<StationName>,
}

/// An update that a station has sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Received {
    /// The update.
    pub update: Update,
    /// The station, proven by its address or certificate.
    pub from: StationName,
}

/// What became of an update that a station has sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Applied {
    /// It is in the state, and goes on to these stations.
    Applied {
        /// To whom it goes on, under the same identity.
        relayed_to: Vec<StationName>,
        /// Whether a field of the study is in conflict now.
        is_in_conflict: bool,
    },
    /// It was known already: nothing changed.
    Duplicate,
    /// It is kept and not applied.
    Parked(Objection),
    /// It is not kept.
    Refused(Objection),
}

impl Store {
    /// Makes these changes, all in one transaction; each by itself, as if alone. Where a status would fall back, that
    /// change is not made, and the others are.
    pub fn make_updates(
        &self,
        attribution: &Attribution,
        drafts: &[Draft],
    ) -> Result<Vec<Result<Made, StatusFallsBack>>, StoreError> {
        self.within_updates(|desk| {
            let made = drafts.iter().map(|draft| desk.make(attribution, draft)).collect();
            desk.prune(drafts.len())?;
            made
        })
    }

    /// What [`make_updates`](Self::make_updates) would do with one draft: nothing is written.
    pub fn preview_update(&self, draft: &Draft) -> Result<Result<Made, StatusFallsBack>, StoreError> {
        let snapshot = self.begin_read()?;
        self.sqlite(Desk::open(&snapshot, &self.cluster_uid).and_then(|mut desk| {
            let update = match desk.draft(draft)? {
                Ok(update) => update,
                Err(falls_back) => return Ok(Err(falls_back)),
            };
            let targets = update.as_ref().map(|update| desk.targets(update, None));
            let relayed_to = targets.transpose()?.unwrap_or_default().reached;
            Ok(Ok(Made { update, relayed_to }))
        }))
    }

    /// Takes in updates of stations, in order, all in one transaction. `attribution` is the service's.
    pub fn apply_updates(
        &self,
        attribution: &Attribution,
        received: &[Received],
    ) -> Result<Vec<Applied>, StoreError> {
        self.within_updates(|desk| {
            let applied = received
                .iter()
                .map(|received| desk.receive(attribution, received))
                .collect();
            desk.prune(received.len())?;
            applied
        })
    }

    /// Applies the parked updates whose time has come: of those at most `limit`; how many there were.
    pub fn apply_parked(&self, attribution: &Attribution, limit: usize) -> Result<usize, StoreError> {
        self.within_updates(|desk| desk.apply_parked(attribution, limit))
    }

    fn within_updates<T>(
        &self,
        work: impl FnOnce(&mut Desk<'_>) -> rusqlite::Result<T>,
    ) -> Result<T, StoreError> {
        self.within_updates_and_more(|desk| self.sqlite(work(desk)))
    }

    /// One transaction for updates and what else is to be written with them.
    pub(super) fn within_updates_and_more<T>(
        &self,
        work: impl FnOnce(&mut Desk<'_>) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let transaction = self.begin_write()?;
        let mut desk = self.sqlite(Desk::open(&transaction, &self.cluster_uid))?;
        let worked = work(&mut desk)?;
        let committed = desk.close().and_then(|()| transaction.commit());
        self.sqlite(committed)?;
        Ok(worked)
    }
}

/// The stations to which an update goes.
#[derive(Default)]
struct Targets {
    reached: Vec<StationName>,
    /// Those that lacked the linked syntax when they were last asked: what they can't take doesn't pile up. They are told
    /// the current state once they have it, whoever finds that out first.
    unreached: Vec<StationName>,
}

/// Where updates are worked on within a transaction.
pub(super) struct Desk<'c> {
    pub(super) connection: &'c Connection,
    cluster: &'c Uid,
    configuration: Configuration,
    clock: UpdateClock,
    now: Timestamp,
    /// Whether who makes a review notice here has looked at the study.
    pub(super) is_person: bool,
}

impl<'c> Desk<'c> {
    fn open(connection: &'c Connection, cluster: &'c Uid) -> rusqlite::Result<Self> {
        let configuration = configuration::read(connection)?;
        let max_ahead = configuration.settings.duration(UPDATES_MAX_CLOCK_AHEAD);
        Ok(Desk {
            connection,
            cluster,
            configuration,
            clock: UpdateClock::read(connection, max_ahead)?,
            now: Timestamp::now(),
            is_person: true,
        })
    }

    fn close(self) -> rusqlite::Result<()> {
        self.clock.write(self.connection)
    }

    /// Makes one change.
    pub(super) fn make(
        &mut self,
        attribution: &Attribution,
        draft: &Draft,
    ) -> rusqlite::Result<Result<Made, StatusFallsBack>> {
        let update = match self.draft(draft)? {
            Ok(Some(update)) => update,
            Ok(None) => {
                return Ok(Ok(Made {
                    update: None,
                    relayed_to: Vec::new(),
                }));
            }
            Err(falls_back) => return Ok(Err(falls_back)),
        };
        let sequence = self.log(&update, None, "applied", None)?;
        let (relayed_to, _) = self.take_in(attribution, &update, sequence, None)?;
        Ok(Ok(Made {
            update: Some(update),
            relayed_to,
        }))
    }

    /// The update that a change is; `None` where it changes nothing.
    fn draft(&mut self, draft: &Draft) -> rusqlite::Result<Result<Option<Update>, StatusFallsBack>> {
        let state = study_state::read(self.connection, &draft.study, &draft.patient)?;
        let changes = match state.changes_to(&draft.wanted, draft.is_correction) {
            Ok(changes) => changes,
            Err(falls_back) => return Ok(Err(falls_back)),
        };
        if changes.is_empty() && draft.new_objects.is_none() && draft.review.is_none() {
            return Ok(Ok(None));
        }
        let id = format!("2.25.{}", Uuid::new_v4().as_u128());
        Ok(Ok(Some(Update {
            id: id.parse().map_err(|error| unreadable(0, error))?,
            study: draft.study.clone(),
            patient: draft.patient.clone(),
            origin: self.cluster.clone(),
            revision: self.clock.tick(state.newest()),
            changes,
            new_objects: draft.new_objects.clone(),
            review: draft.review.clone(),
        })))
    }

    fn receive(&mut self, attribution: &Attribution, received: &Received) -> rusqlite::Result<Applied> {
        let Received { update, from } = received;
        let is_known = self
            .connection
            .prepare_cached("SELECT 1 FROM update_log WHERE id = ?1")?
            .exists([update.id.as_str()])?;
        if is_known {
            return Ok(Applied::Duplicate);
        }
        let max_ahead = self.configuration.settings.duration(UPDATES_MAX_CLOCK_AHEAD);
        let objection = match self.configuration.station(from) {
            Some(sender) => update.objection(sender, self.clock.now(), max_ahead),
            None => Some(Objection::FlagOff(from.clone())),
        };
        match objection {
            None => {
                let sequence = self.log(update, Some(from), "applied", None)?;
                let (relayed_to, is_in_conflict) = self.take_in(attribution, update, sequence, Some(from))?;
                Ok(Applied::Applied {
                    relayed_to,
                    is_in_conflict,
                })
            }
            Some(objection @ Objection::ClockAhead { .. }) => {
                self.log(update, Some(from), "parked", Some(&objection.to_string()))?;
                self.audit(attribution, update, Some(from), UpdateAct::Parked)?;
                Ok(Applied::Parked(objection))
            }
            Some(objection) => Ok(Applied::Refused(objection)),
        }
    }

    fn apply_parked(&mut self, attribution: &Attribution, limit: usize) -> rusqlite::Result<usize> {
        let max_ahead = self.configuration.settings.duration(UPDATES_MAX_CLOCK_AHEAD);
        let parked: Vec<(i64, Option<StationName>, Update)> = {
            let sql = "SELECT sequence, from_station, body FROM update_log WHERE outcome = 'parked' ORDER BY sequence";
            let mut statement = self.connection.prepare_cached(sql)?;
            let parked = statement.query_map([], |row| {
                Ok((
                    row.get(0)?,
                    configuration::optional(row, 1)?,
                    outbox::body(row, 2)?,
                ))
            })?;
            parked.collect::<rusqlite::Result<_>>()?
        };
        // Whoever it came from may have lost its word meanwhile.
        let is_due = |(_, from, update): &(i64, Option<StationName>, Update)| {
            let sender = from.as_ref().and_then(|from| self.configuration.station(from));
            sender.is_some_and(|sender| update.objection(sender, self.clock.now(), max_ahead).is_none())
        };
        let due: Vec<_> = parked.into_iter().filter(is_due).take(limit).collect();
        for (sequence, from, update) in &due {
            self.connection
                .prepare_cached(
                    "UPDATE update_log SET outcome = 'applied', reason = NULL WHERE sequence = ?1",
                )?
                .execute([sequence])?;
            self.take_in(attribution, update, *sequence, from.as_ref())?;
        }
        Ok(due.len())
    }

    fn log(
        &self,
        update: &Update,
        from: Option<&StationName>,
        outcome: &str,
        reason: Option<&str>,
    ) -> rusqlite::Result<i64> {
        let pull = (from.is_some() && update.new_objects.is_some()).then_some("due");
        self.connection
            .prepare_cached(
                "INSERT INTO update_log (id, study, at, from_station, outcome, reason, pull, body) \
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
            )?
            .execute(params![
                update.id.as_str(),
                update.study.as_str(),
                self.now.as_microsecond(),
                from.map(StationName::as_str),
                outcome,
                reason,
                pull,
                json(update)?,
            ])?;
        Ok(self.connection.last_insert_rowid())
    }

    /// Merges an update into the state, and passes it on.
    fn take_in(
        &mut self,
        attribution: &Attribution,
        update: &Update,
        sequence: i64,
        from: Option<&StationName>,
    ) -> rusqlite::Result<(Vec<StationName>, bool)> {
        self.clock.observe(update.revision);
        let mut is_in_conflict = false;
        if !update.changes.is_empty() {
            let before = study_state::read(self.connection, &update.study, &update.patient)?;
            let mut after = before.clone();
            after.merge(&update.state());
            is_in_conflict = after.conflicts().next().is_some();
            study_state::write(self.connection, &update.study, &update.patient, &before, &after)?;
        }
        if let Some(reason) = &update.review {
            let acknowledged_by = (from.is_none() && self.is_person).then(|| attribution.person());
            review_notices::insert(self.connection, update, reason, self.now, acknowledged_by)?;
        }
        let targets = self.targets(update, from)?;
        for station in &targets.reached {
            outbox::enqueue(self.connection, station, sequence, &update.study, self.now)?;
        }
        for station in &targets.unreached {
            relay_peers::resync_is_due(self.connection, station.as_str())?;
        }
        self.audit(attribution, update, from, UpdateAct::Applied)?;
        Ok((targets.reached, is_in_conflict))
    }

    fn targets(&self, update: &Update, from: Option<&StationName>) -> rusqlite::Result<Targets> {
        let mut targets = Targets::default();
        if update.patient.issuer.is_none() {
            return Ok(targets);
        }
        let mut lacks_syntax = self
            .connection
            .prepare_cached("SELECT 1 FROM link_health WHERE station = ?1 AND speaks_linked = 0")?;
        let mut is_origin = self
            .connection
            .prepare_cached("SELECT 1 FROM relay_peer WHERE station = ?1 AND cluster_uid = ?2")?;
        for station in relay_targets(&self.configuration, from) {
            // Round a ring it would come back to who made it.
            if is_origin.exists([station.name.as_str(), update.origin.as_str()])? {
                continue;
            }
            match lacks_syntax.exists([station.name.as_str()])? {
                true => targets.unreached.push(station.name.clone()),
                false => targets.reached.push(station.name.clone()),
            }
        }
        Ok(targets)
    }

    fn audit(
        &self,
        attribution: &Attribution,
        update: &Update,
        from: Option<&StationName>,
        act: UpdateAct,
    ) -> rusqlite::Result<()> {
        let event = Event::Update(UpdateRecord {
            act,
            update: update.id.clone(),
            study: update.study.clone(),
            from: from.cloned(),
            not_to: None,
            changed: update.changes.iter().map(|change| change.field).collect(),
        });
        audit_log::append(self.connection, self.cluster, attribution, &event)
    }

    /// Takes old updates out of the log, with their rows in the outbox, unless something is still to be done with them.
    pub(super) fn prune(&self, count: usize) -> rusqlite::Result<()> {
        let days = self.configuration.settings.count(UPDATES_KEEP_DAYS);
        let kept = SignedDuration::from_hours(24 * i64::try_from(days).unwrap_or(i64::from(u16::MAX)));
        let oldest = self.now.checked_sub(kept).unwrap_or(Timestamp::UNIX_EPOCH);
        self.connection
            .prepare_cached(
                "DELETE FROM update_log WHERE sequence IN (SELECT sequence FROM update_log u WHERE at < ?1 \
                 AND outcome <> 'parked' AND pull IS NOT 'due' AND NOT EXISTS (SELECT 1 FROM outbox o \
                 WHERE o.update_sequence = u.sequence AND o.state <> 'delivered') ORDER BY at LIMIT ?2)",
            )?
            .execute(params![
                oldest.as_microsecond(),
                count * REMOVED_FOR_EACH + REMOVED_BESIDES
            ])
            .map(drop)
    }
}

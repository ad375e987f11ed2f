//! What the relay of updates knows of each station: which cluster it has shown to be, what keeps updates from it, and
//! whether it is to be told the current state of all studies.
//!
//! Invariants: a cluster that was shown stays until a person has the station resynchronised. Renamed stations are
//! followed, removed ones forgotten, in the transaction of the save. It makes no generation.

use std::collections::BTreeMap;

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, Row, params};

use super::configuration::{json, moment, optional, parsed};
use super::link_health::one_line;
use super::study_state::{StatedStudy, stated_study};
use super::{Store, StoreError, outbox};
use crate::model::{Change, Station, StationName, Subject, Uid, Update};

/// What is known of a station.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RelayPeer {
    /// The cluster that it has shown to be.
    pub cluster_uid: Option<Uid>,
    /// Whether it is to be told the current state of all studies.
    pub is_resync_due: bool,
    /// How often updates could not be sent since the last time they could.
    pub failures: u32,
    /// What keeps updates from it.
    pub trouble: Option<RelayTrouble>,
}

/// What keeps updates from a station.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RelayTrouble {
    /// Why, in words that hold no patient data.
    pub reason: String,
    /// Since when.
    pub since: Timestamp,
    /// When it is tried again.
    pub next_try: Timestamp,
}

/// How far the states of studies were put into a queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AfterStudy {
    /// The last study, the ID of its patient and its issuer.
    last: (String, String, String),
    /// Which asking this is the answer to: what is asked for meanwhile begins anew.
    asked: i64,
}

impl Store {
    /// What is known of the stations.
    pub fn relay_peers(&self) -> Result<BTreeMap<StationName, RelayPeer>, StoreError> {
        let read = || {
            let mut statement = self.connection.prepare_cached(
                "SELECT station, cluster_uid, resync_due, failures, trouble, since, next_try FROM relay_peer",
            )?;
            statement.query_map([], peer)?.collect()
        };
        self.sqlite(read())
    }

    /// Notes that a station takes updates, being that cluster.
    pub fn relay_opened(&self, station: &StationName, cluster: &Uid) -> Result<(), StoreError> {
        self.change_relay_peer(
            "INSERT INTO relay_peer (station, cluster_uid) VALUES (?1, ?2) ON CONFLICT DO UPDATE SET failures = 0, \
             trouble = NULL, since = NULL, next_try = NULL, cluster_uid = coalesce(cluster_uid, excluded.cluster_uid)",
            params![station.as_str(), cluster.as_str()],
        )
    }

    /// Notes what keeps updates from a station.
    pub fn relay_failed(
        &self,
        station: &StationName,
        reason: &str,
        next_try: Timestamp,
    ) -> Result<(), StoreError> {
        let now = Timestamp::now().as_microsecond();
        self.change_relay_peer(
            "INSERT INTO relay_peer (station, failures, trouble, since, next_try) VALUES (?1, 1, ?2, ?3, ?4) \
             ON CONFLICT DO UPDATE SET failures = failures + 1, trouble = excluded.trouble, \
             since = coalesce(since, excluded.since), next_try = excluded.next_try",
            params![station.as_str(), one_line(reason), now, next_try.as_microsecond()],
        )
    }

    /// Has a station tried at once, whatever kept updates from it.
    pub fn relay_retry(&self, station: Option<&StationName>) -> Result<(), StoreError> {
        self.change_relay_peer(
            "UPDATE relay_peer SET failures = 0, trouble = NULL, since = NULL, next_try = NULL \
             WHERE ?1 IS NULL OR station = ?1",
            params![station.map(StationName::as_str)],
        )
    }

    /// Has a station told the current state of all studies, whatever cluster it shows to be then.
    pub fn relay_resync(&self, station: &StationName) -> Result<(), StoreError> {
        self.change_relay_peer(
            "INSERT INTO relay_peer (station, resync_due) VALUES (?1, 1) ON CONFLICT DO UPDATE SET resync_due = 1, \
             asked = asked + 1, cluster_uid = NULL, failures = 0, trouble = NULL, since = NULL, next_try = NULL",
            params![station.as_str()],
        )
    }

    /// Takes out all that waits for a station that can't take updates; it is told the current state once it can.
    pub fn relay_give_up(&self, station: &StationName) -> Result<(), StoreError> {
        let transaction = self.begin_write()?;
        let written = transaction
            .execute(
                "DELETE FROM outbox WHERE station = ?1 AND state = 'queued'",
                [station.as_str()],
            )
            .and_then(|_| resync_is_due(&transaction, station.as_str()))
            .and_then(|()| transaction.commit());
        self.sqlite(written)
    }

    /// Puts the current state of at most `limit` studies, those after `after`, into the queue of a station. Gives the last
    /// of them; `None` where there were no more: then the notices of review are queued, and it is noted that all is, unless
    /// it was asked for again since it began.
    pub fn queue_state(
        &self,
        station: &Station,
        after: Option<&AfterStudy>,
        limit: usize,
    ) -> Result<Option<AfterStudy>, StoreError> {
        let transaction = self.begin_write()?;
        let queued = queue_states(&transaction, station, after, limit)
            .and_then(|last| transaction.commit().map(|()| last));
        self.sqlite(queued)
    }

    fn change_relay_peer(&self, sql: &str, parameters: impl rusqlite::Params) -> Result<(), StoreError> {
        let transaction = self.begin_write()?;
        let written = transaction
            .execute(sql, parameters)
            .and_then(|_| transaction.commit());
        self.sqlite(written)
    }
}

fn queue_states(
    connection: &Connection,
    station: &Station,
    after: Option<&AfterStudy>,
    limit: usize,
) -> rusqlite::Result<Option<AfterStudy>> {
    let after = match after {
        Some(after) => after.clone(),
        None => AfterStudy {
            last: Default::default(),
            asked: connection
                .prepare_cached("SELECT asked FROM relay_peer WHERE station = ?1")?
                .query_row([station.name.as_str()], |row| row.get(0))
                .optional()?
                .unwrap_or_default(),
        },
    };
    let studies: Vec<StatedStudy> = connection
        .prepare_cached(
            "SELECT study, patient_id, issuer, state FROM study_state \
             WHERE (study, patient_id, issuer) > (?1, ?2, ?3) ORDER BY study, patient_id, issuer LIMIT ?4",
        )?
        .query_map(
            params![after.last.0, after.last.1, after.last.2, limit],
            stated_study,
        )?
        .collect::<rusqlite::Result<_>>()?;
    for stated in &studies {
        for update in Update::telling(&stated.state, &stated.study, &stated.patient) {
            requeue(connection, &station.name, &update)?;
        }
    }
    if let Some(last) = studies.last() {
        let issuer = super::study_state::issuer(&last.patient).to_owned();
        return Ok(Some(AfterStudy {
            last: (last.study.as_str().to_owned(), last.patient.id.clone(), issuer),
            ..after
        }));
    }
    requeue_reviews(connection, &station.name)?;
    let sql = "UPDATE relay_peer SET resync_due = 0 WHERE station = ?1 AND asked = ?2";
    connection.execute(sql, params![station.name.as_str(), after.asked])?;
    Ok(None)
}

/// Puts the updates that brought notices of review into the queue, as far as the log has them.
fn requeue_reviews(connection: &Connection, station: &StationName) -> rusqlite::Result<()> {
    let updates: Vec<Update> = connection
        .prepare_cached(
            "SELECT u.body FROM review_notice n JOIN update_log u ON u.id = n.id \
             WHERE n.issuer <> '' AND u.outcome = 'applied' ORDER BY u.sequence",
        )?
        .query_map([], |row| outbox::body(row, 0))?
        .collect::<rusqlite::Result<_>>()?;
    updates
        .iter()
        .try_for_each(|update| requeue(connection, station, update))
}

/// Puts an update into the queue, as the log has it, or else as it is told.
fn requeue(connection: &Connection, station: &StationName, update: &Update) -> rusqlite::Result<()> {
    let now = Timestamp::now();
    let id = update.id.as_str();
    connection
        .prepare_cached(
            "INSERT INTO update_log (id, study, at, outcome, body) VALUES (?1, ?2, ?3, 'applied', ?4) \
             ON CONFLICT DO NOTHING",
        )?
        .execute(params![
            id,
            update.study.as_str(),
            now.as_microsecond(),
            json(update)?
        ])?;
    let sequence = connection
        .prepare_cached("SELECT sequence FROM update_log WHERE id = ?1")?
        .query_row([id], |row| row.get(0))?;
    connection
        .prepare_cached("DELETE FROM outbox WHERE station = ?1 AND update_sequence = ?2")?
        .execute(params![station.as_str(), sequence])?;
    outbox::enqueue(connection, station, sequence, &update.study, now)
}

/// Notes that a station is to be told the current state of all studies.
pub(super) fn resync_is_due(connection: &Connection, station: &str) -> rusqlite::Result<()> {
    connection
        .prepare_cached(
            "INSERT INTO relay_peer (station, resync_due) VALUES (?1, 1) ON CONFLICT DO UPDATE SET resync_due = 1, \
             asked = asked + 1",
        )?
        .execute([station])
        .map(drop)
}

/// Follows stations that were renamed or removed, and notes where relaying was switched on.
pub(super) fn follow(connection: &Connection, changes: &[Change]) -> rusqlite::Result<()> {
    const SWITCHES: [&str; 4] = [
        "cluster_linking",
        "link_cluster_updates",
        "updates_direction",
        "syntax",
    ];
    for change in changes {
        let Subject::Station(name) = &change.subject else {
            continue;
        };
        match (change.field.as_deref(), change.before.as_str()) {
            (Some("name"), Some(former)) => {
                let sql = "UPDATE OR REPLACE relay_peer SET station = ?2 WHERE station = ?1";
                connection.execute(sql, [former, name])?;
                // What is parked goes on to all others once its time has come, and not back.
                let sql =
                    "UPDATE update_log SET from_station = ?2 WHERE from_station = ?1 AND outcome = 'parked'";
                connection.execute(sql, [former, name])?;
            }
            (None, _) if change.after.is_null() => {
                connection.execute("DELETE FROM relay_peer WHERE station = ?1", [name])?;
            }
            (None, _) => resync_is_due(connection, name)?,
            (Some(field), _) if SWITCHES.contains(&field) && change.after != false => {
                resync_is_due(connection, name)?;
            }
            _ => {}
        }
    }
    Ok(())
}

fn peer(row: &Row<'_>) -> rusqlite::Result<(StationName, RelayPeer)> {
    let trouble = match (row.get(4)?, moment(row, 5)?, moment(row, 6)?) {
        (Some(reason), Some(since), Some(next_try)) => Some(RelayTrouble {
            reason,
            since,
            next_try,
        }),
        _ => None,
    };
    let peer = RelayPeer {
        cluster_uid: optional(row, 1)?,
        is_resync_due: row.get(2)?,
        failures: row.get(3)?,
        trouble,
    };
    Ok((parsed(row, 0)?, peer))
}

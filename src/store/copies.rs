//! Where copies of studies came from: who brought what, from which station, when, under which patient ID, and whether it
//! has expired.
//!
//! Invariant: a copy is on record, on the disk, before the first of its objects is asked for ([`Store::begin_copy`]), so
//! that what a broken-off retrieve leaves behind never looks like a study of this cluster. It makes no generation. When a
//! visitor expires is `service`'s to decide.

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, Row, named_params, params};
use serde::{Deserialize, Serialize};

use super::audit_log::append;
use super::configuration::{json, list, moment, optional, parsed, unreadable, word};
use super::{Store, StoreError};
use crate::audit::{Attribution, Event, Expired};
use crate::model::{AeTitle, ClusterName, Issuer, IssuerDomain, PatientId, StationName, Uid};

/// What a study was brought for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Purpose {
    /// Somebody asked for it: `retrieve`.
    Retrieve,
    /// It is a relevant prior.
    Prefetch,
    /// A linked cluster told of new objects.
    Update,
    /// A client asked the service for it.
    Service,
}

impl Purpose {
    /// As it is shown and recorded.
    pub fn as_str(self) -> &'static str {
        match self {
            Purpose::Retrieve => "retrieve",
            Purpose::Prefetch => "prefetch",
            Purpose::Update => "update",
            Purpose::Service => "service",
        }
    }
}

/// A study, or a part of one, as one source gave it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Copy {
    /// Which study.
    pub study_instance_uid: Uid,
    /// The station of the local cluster that has it now.
    pub station: StationName,
    /// The station that gave it.
    pub source: StationName,
    /// When.
    pub at: Timestamp,
    /// How many instances came; those that were there already don't count.
    pub instances: u64,
    /// What for.
    pub purpose: Purpose,
    /// The patient under whose ID the objects are delivered, as the source named it; `None` where it named none.
    pub patient: Option<PatientId>,
}

/// A study was given to a client of this cluster, whole or in part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StudyUse {
    /// Which study.
    pub study_instance_uid: Uid,
    /// When.
    pub at: Timestamp,
}

/// What is on record of the copy that a station has of a study from one source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CopyRecord {
    /// Which study.
    pub study_instance_uid: Uid,
    /// The station that has it, by its name of then.
    pub station: StationName,
    /// Whether that is the embedded archive.
    pub is_embedded: bool,
    /// The station that gave it, by its name of then.
    pub source: StationName,
    /// The cluster which that station is a door to.
    pub cluster: Option<ClusterName>,
    /// The AE titles of that station, and of the others of its cluster.
    pub source_titles: Vec<AeTitle>,
    /// How many instances of the study the station had when nothing had been brought yet.
    pub held_before: u64,
    /// When the first of it was asked for.
    pub first_brought: Timestamp,
    /// When the last of it came.
    pub last_brought: Timestamp,
    /// How many instances came in all.
    pub instances: u64,
    /// What it was brought for last.
    pub purpose: Purpose,
    /// When it was last given to a client of this cluster.
    pub last_use: Option<Timestamp>,
    /// When it was removed.
    pub expired_at: Option<Timestamp>,
    /// The patient under whose ID it was delivered; `None` where that is not on record.
    pub patient: Option<PatientId>,
}

/// The patient under whose ID a study was delivered to a station.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeliveredStudy {
    /// Which study.
    pub study: Uid,
    /// The patient, as the source named it.
    pub patient: PatientId,
}

impl CopyRecord {
    /// Whether the study is there because it was brought: nothing of it was there before.
    pub fn is_visitor(&self) -> bool {
        self.expired_at.is_none() && self.held_before == 0
    }

    /// When it was last brought or used.
    pub fn last_activity(&self) -> Timestamp {
        self.last_use.unwrap_or(self.last_brought).max(self.last_brought)
    }
}

const COLUMNS: &str = "study_instance_uid, station, embedded, source, cluster, source_titles, held_before, first_brought, \
    last_brought, instances, purpose, last_use, expired_at, patient_id, issuer";

const MAY_EXPIRE: &str = "embedded = 1 AND expired_at IS NULL AND is_home = 0";

/// What has expired and is brought again begins anew.
const PUT: &str = "INSERT INTO copy (study_instance_uid, station, source, cluster, source_titles, embedded, held_before, \
    first_brought, last_brought, instances, purpose, patient_id, issuer) VALUES (:study, :station, :source, \
    (SELECT cluster FROM station WHERE name = :source), :titles, \
    EXISTS (SELECT 1 FROM station WHERE name = :station AND host IS NULL), :held_before, :at, :at, :instances, :purpose, \
    :patient_id, :issuer) \
    ON CONFLICT DO UPDATE SET cluster = excluded.cluster, source_titles = excluded.source_titles, \
    embedded = excluded.embedded, purpose = excluded.purpose, \
    issuer = iif(excluded.patient_id IS NULL, issuer, excluded.issuer), \
    patient_id = coalesce(excluded.patient_id, patient_id), \
    last_brought = max(last_brought, excluded.last_brought), \
    held_before = iif(expired_at IS NULL, held_before, excluded.held_before), \
    first_brought = iif(expired_at IS NULL, first_brought, excluded.first_brought), \
    instances = iif(expired_at IS NULL, instances, 0) + excluded.instances, \
    last_use = iif(expired_at IS NULL, last_use, NULL), is_home = iif(expired_at IS NULL, is_home, 0), expired_at = NULL";

const TITLES: &str =
    "SELECT ae_title FROM station WHERE name = ?1 OR cluster = (SELECT cluster FROM station WHERE name = ?1)";

impl Store {
    /// Puts on record that a copy is about to be asked for from its source, before the first object comes. `held` is how
    /// many instances of the study the station has already. Returns when the disk has it.
    pub fn begin_copy(&self, copy: &Copy, held: u64) -> Result<(), StoreError> {
        let copy = Copy {
            instances: 0,
            ..copy.clone()
        };
        self.put_copy(&copy, held)
    }

    /// Puts on record what has come, besides what is on record already.
    pub fn record_copy(&self, copy: &Copy) -> Result<(), StoreError> {
        self.put_copy(copy, 0)
    }

    /// What is on record of the copies of a study, expired ones too, by station and source.
    pub fn copies(&self, study: &Uid) -> Result<Vec<CopyRecord>, StoreError> {
        let sql = format!("SELECT {COLUMNS} FROM copy WHERE study_instance_uid = ?1");
        let read = || {
            let mut statement = self.connection.prepare_cached(&sql)?;
            statement.query_map([study.as_str()], record)?.collect()
        };
        self.sqlite(read())
    }

    /// Whether it is on record of any study under whose patient ID it was delivered.
    pub fn has_deliveries(&self) -> Result<bool, StoreError> {
        let sql = "SELECT EXISTS (SELECT 1 FROM copy WHERE patient_id IS NOT NULL)";
        self.sqlite(self.connection.query_row(sql, [], |row| row.get(0)))
    }

    /// The patients under whose IDs these studies were delivered to `station`, as far as it had nothing of them before.
    /// Named issuers come first; of several sources each patient comes once.
    pub fn deliveries(
        &self,
        studies: &[Uid],
        station: &StationName,
    ) -> Result<Vec<DeliveredStudy>, StoreError> {
        let mut statement = self.sqlite(self.connection.prepare_cached(
            "SELECT DISTINCT patient_id, issuer, iif(issuer IS NULL, source, '') FROM copy \
             WHERE study_instance_uid = ?1 AND station = ?2 AND patient_id IS NOT NULL \
             AND held_before = 0 AND expired_at IS NULL ORDER BY issuer IS NULL, issuer, patient_id, source",
        ))?;
        let mut delivered = Vec::new();
        for study in studies {
            let read = || -> rusqlite::Result<()> {
                let mut rows = statement.query(params![study.as_str(), station.as_str()])?;
                while let Some(row) = rows.next()? {
                    delivered.push(DeliveredStudy {
                        study: study.clone(),
                        patient: patient(row.get(0)?, optional(row, 1)?, || parsed(row, 2))?,
                    });
                }
                Ok(())
            };
            let mut read = read;
            self.sqlite(read())?;
        }
        Ok(delivered)
    }

    /// Notes that studies were given to clients of this cluster, without waiting for the disk. Studies of which no copy is
    /// on record are passed over.
    pub fn note_uses(&self, uses: &[StudyUse]) -> Result<(), StoreError> {
        if uses.is_empty() {
            return Ok(());
        }
        self.write_without_sync(|connection| {
            let mut note = connection.prepare_cached(
                "UPDATE copy SET last_use = max(coalesce(last_use, ?2), ?2) WHERE study_instance_uid = ?1",
            )?;
            uses.iter().try_for_each(|used| {
                let (study, at) = (used.study_instance_uid.as_str(), used.at.as_microsecond());
                note.execute(params![study, at]).map(drop)
            })
        })
    }

    /// What is on record of copies in the embedded archive, study by study, that have neither been brought nor used since
    /// then, from any source. Those that are kept for good are left out.
    pub fn quiet_copies(&self, since: Timestamp) -> Result<Vec<CopyRecord>, StoreError> {
        let sql = format!(
            "SELECT {COLUMNS} FROM copy WHERE {MAY_EXPIRE} AND study_instance_uid IN \
             (SELECT study_instance_uid FROM copy WHERE {MAY_EXPIRE} GROUP BY study_instance_uid \
             HAVING max(max(last_brought, coalesce(last_use, last_brought))) < ?1) \
             ORDER BY study_instance_uid"
        );
        let read = || {
            let mut statement = self.connection.prepare_cached(&sql)?;
            statement.query_map([since.as_microsecond()], record)?.collect()
        };
        self.sqlite(read())
    }

    /// Keeps a copy in the embedded archive for good: it is at home by now.
    pub fn keep_for_good(&self, study: &Uid) -> Result<(), StoreError> {
        let sql = format!("UPDATE copy SET is_home = 1 WHERE {MAY_EXPIRE} AND study_instance_uid = ?1");
        self.write_without_sync(|connection| connection.execute(&sql, [study.as_str()]).map(drop))
    }

    /// Has `remove` remove a copy from the embedded archive, and puts on record that it has expired, unless it was brought
    /// or used since then, or `remove` says that it was not removed. Meanwhile nobody begins to bring the study.
    pub fn expire_copy<E: From<StoreError>>(
        &self,
        expired: &Expired,
        quiet_since: Timestamp,
        attribution: &Attribution,
        remove: impl FnOnce() -> Result<bool, E>,
    ) -> Result<bool, E> {
        let transaction = self.begin_write()?;
        let study = expired.study_instance_uid.as_str();
        let sql = format!(
            "SELECT count(*) > 0 AND total(max(last_brought, coalesce(last_use, last_brought)) >= ?2) = 0 \
             FROM copy WHERE {MAY_EXPIRE} AND study_instance_uid = ?1"
        );
        let quiet = transaction.query_row(&sql, params![study, quiet_since.as_microsecond()], |row| {
            row.get(0)
        });
        if !self.sqlite::<bool>(quiet)? || !remove()? {
            return Ok(false);
        }
        let sql = format!("UPDATE copy SET expired_at = ?2 WHERE {MAY_EXPIRE} AND study_instance_uid = ?1");
        let written = transaction
            .execute(&sql, params![study, Timestamp::now().as_microsecond()])
            .and_then(|_| {
                let event = Event::Expired(expired.clone());
                append(&transaction, &self.cluster_uid, attribution, &event)
            })
            .and_then(|()| transaction.commit());
        self.sqlite(written)?;
        Ok(true)
    }

    fn put_copy(&self, copy: &Copy, held: u64) -> Result<(), StoreError> {
        let transaction = self.begin_write()?;
        let written = put(&transaction, copy, held).and_then(|()| transaction.commit());
        self.sqlite(written)
    }
}

fn put(connection: &Connection, copy: &Copy, held: u64) -> rusqlite::Result<()> {
    let (study, station) = (copy.study_instance_uid.as_str(), copy.station.as_str());
    // What another source has brought before was not there before anything was brought.
    let held_before: Option<u64> = connection
        .prepare_cached(
            "SELECT held_before FROM copy WHERE study_instance_uid = ?1 AND station = ?2 AND expired_at IS NULL LIMIT 1",
        )?
        .query_row(params![study, station], |row| row.get(0))
        .optional()?;
    let mut titles = connection.prepare_cached(TITLES)?;
    let titles = titles.query_map([copy.source.as_str()], |row| row.get(0))?;
    let titles: Vec<String> = titles.collect::<rusqlite::Result<_>>()?;
    let patient = copy.patient.as_ref().filter(|patient| !patient.id.is_empty());
    connection.prepare_cached(PUT)?.execute(named_params! {
        ":study": study,
        ":station": station,
        ":source": copy.source.as_str(),
        ":titles": json(&titles)?,
        ":held_before": held_before.unwrap_or(held),
        ":at": copy.at.as_microsecond(),
        ":instances": copy.instances,
        ":purpose": copy.purpose.as_str(),
        ":patient_id": patient.map(|patient| patient.id.as_str()),
        ":issuer": patient.and_then(|patient| match &patient.domain {
            IssuerDomain::Named(issuer) => Some(issuer.as_str()),
            IssuerDomain::Inferred(_) => None,
        }),
    })?;
    Ok(())
}

fn record(row: &Row<'_>) -> rusqlite::Result<CopyRecord> {
    let time =
        |column| Timestamp::from_microsecond(row.get(column)?).map_err(|error| unreadable(column, error));
    let patient_id: Option<String> = row.get(13)?;
    let patient = |id| patient(id, optional(row, 14)?, || parsed(row, 3));
    Ok(CopyRecord {
        study_instance_uid: parsed(row, 0)?,
        station: parsed(row, 1)?,
        is_embedded: row.get(2)?,
        source: parsed(row, 3)?,
        cluster: optional(row, 4)?,
        source_titles: list(row, 5)?,
        held_before: row.get(6)?,
        first_brought: time(7)?,
        last_brought: time(8)?,
        instances: row.get(9)?,
        purpose: word(row, 10)?,
        last_use: moment(row, 11)?,
        expired_at: moment(row, 12)?,
        patient: patient_id.map(patient).transpose()?,
    })
}

/// The patient of an ID; where no issuer is named, the source is the domain.
fn patient(
    id: String,
    issuer: Option<Issuer>,
    source: impl FnOnce() -> rusqlite::Result<StationName>,
) -> rusqlite::Result<PatientId> {
    let domain = match issuer {
        Some(issuer) => IssuerDomain::Named(issuer),
        None => IssuerDomain::Inferred(source()?),
    };
    Ok(PatientId { id, domain })
}

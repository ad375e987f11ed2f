//! Notices that a person must look at the copies of a study: after a key image note, a split, a merge or a deletion
//! elsewhere, none of which is relayed itself.
//!
//! Invariant: a notice stands until a person acknowledges it here; what other clusters' people do changes nothing.

use std::collections::HashSet;

use jiff::Timestamp;
use rusqlite::{Connection, Row, params, params_from_iter};

use super::configuration::{moment, parsed, unreadable};
use super::study_state::{issuer, patient};
use super::{Store, StoreError, audit_log};
use crate::audit::{Attribution, Event, UpdateAct, UpdateRecord};
use crate::model::{ReviewReason, StudyPatient, Uid, Update};

/// How many studies are looked up at once.
const MOST_AT_ONCE: usize = 500;

/// That a person must look at the copies of a study.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReviewNotice {
    /// The update that brought it.
    pub update: Uid,
    /// The study.
    pub study: Uid,
    /// Whose it is, as the notice says.
    pub patient: StudyPatient,
    /// Why.
    pub reason: ReviewReason,
    /// The cluster that gave it.
    pub origin: Uid,
    /// When it came.
    pub at: Timestamp,
    /// When, and by whom, it was acknowledged here.
    pub acknowledged: Option<(Timestamp, String)>,
}

const COLUMNS: &str = "study, patient_id, issuer, id, reason, origin, at, acknowledged_at, acknowledged_by";

impl Store {
    /// The notices of that study, oldest first, acknowledged or not.
    pub fn review_notices(&self, study: &Uid) -> Result<Vec<ReviewNotice>, StoreError> {
        let sql = format!("SELECT {COLUMNS} FROM review_notice WHERE study = ?1 ORDER BY at");
        let read = || {
            let mut statement = self.connection.prepare_cached(&sql)?;
            statement.query_map([study.as_str()], notice)?.collect()
        };
        self.sqlite(read())
    }

    /// The notices that nobody has acknowledged here yet, oldest first, at most `limit`.
    pub fn open_review_notices(&self, limit: usize) -> Result<Vec<ReviewNotice>, StoreError> {
        let sql =
            format!("SELECT {COLUMNS} FROM review_notice WHERE acknowledged_at IS NULL ORDER BY at LIMIT ?1");
        let read = || {
            let mut statement = self.connection.prepare_cached(&sql)?;
            statement.query_map([limit], notice)?.collect()
        };
        self.sqlite(read())
    }

    /// All studies that are under review.
    pub fn all_under_review(&self) -> Result<HashSet<Uid>, StoreError> {
        let read = || {
            let mut statement = self
                .connection
                .prepare_cached("SELECT DISTINCT study FROM review_notice WHERE acknowledged_at IS NULL")?;
            statement.query_map([], |row| parsed(row, 0))?.collect()
        };
        self.sqlite(read())
    }

    /// Which of these studies are under review: no copy of them is a prior until a person has acknowledged it.
    pub fn under_review(&self, studies: &[Uid]) -> Result<Vec<Uid>, StoreError> {
        let mut found = Vec::new();
        for studies in studies.chunks(MOST_AT_ONCE) {
            let places = vec!["?"; studies.len()].join(",");
            let sql = format!(
                "SELECT DISTINCT study FROM review_notice WHERE acknowledged_at IS NULL AND study IN ({places})"
            );
            let read = || -> rusqlite::Result<Vec<Uid>> {
                let mut statement = self.connection.prepare_cached(&sql)?;
                let keys = params_from_iter(studies.iter().map(Uid::as_str));
                statement.query_map(keys, |row| parsed(row, 0))?.collect()
            };
            found.extend(self.sqlite(read())?);
        }
        Ok(found)
    }

    /// Acknowledges the notices of that study; gives those that were open.
    pub fn acknowledge_review(
        &self,
        attribution: &Attribution,
        study: &Uid,
    ) -> Result<Vec<ReviewNotice>, StoreError> {
        let open: Vec<ReviewNotice> = self
            .review_notices(study)?
            .into_iter()
            .filter(|notice| notice.acknowledged.is_none())
            .collect();
        let transaction = self.begin_write()?;
        let written = open
            .iter()
            .try_for_each(|notice| {
                transaction
                    .prepare_cached(
                        "UPDATE review_notice SET acknowledged_at = ?2, acknowledged_by = ?3 WHERE id = ?1",
                    )?
                    .execute(params![
                        notice.update.as_str(),
                        Timestamp::now().as_microsecond(),
                        attribution.person()
                    ])?;
                let event = Event::Update(UpdateRecord {
                    act: UpdateAct::Acknowledged,
                    update: notice.update.clone(),
                    study: notice.study.clone(),
                    from: None,
                    not_to: None,
                    changed: Vec::new(),
                });
                audit_log::append(&transaction, &self.cluster_uid, attribution, &event)
            })
            .and_then(|()| transaction.commit());
        self.sqlite(written)?;
        Ok(open)
    }
}

/// Keeps the notice of an update; of one that was made here, as acknowledged by who made it.
pub(super) fn insert(
    connection: &Connection,
    update: &Update,
    reason: &ReviewReason,
    now: Timestamp,
    acknowledged_by: Option<&str>,
) -> rusqlite::Result<()> {
    connection
        .prepare_cached(
            "INSERT INTO review_notice (id, study, patient_id, issuer, reason, origin, at, acknowledged_at, \
             acknowledged_by) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9) ON CONFLICT DO NOTHING",
        )?
        .execute(params![
            update.id.as_str(),
            update.study.as_str(),
            update.patient.id,
            issuer(&update.patient),
            reason.as_str(),
            update.origin.as_str(),
            now.as_microsecond(),
            acknowledged_by.map(|_| now.as_microsecond()),
            acknowledged_by,
        ])
        .map(drop)
}

fn notice(row: &Row<'_>) -> rusqlite::Result<ReviewNotice> {
    let by: Option<String> = row.get(8)?;
    Ok(ReviewNotice {
        study: parsed(row, 0)?,
        patient: patient(row)?,
        update: parsed(row, 3)?,
        reason: parsed(row, 4)?,
        origin: parsed(row, 5)?,
        at: Timestamp::from_microsecond(row.get(6)?).map_err(|error| unreadable(6, error))?,
        acknowledged: moment(row, 7)?.zip(by),
    })
}

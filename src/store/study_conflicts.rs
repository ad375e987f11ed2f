//! Study UIDs found with different patients, and who has acknowledged them.
//!
//! Invariant: a conflict counts until a person acknowledges it, and counts again when it turns up with a patient that
//! was not among its parties then. Studies and parties are bounded, because peers decide what is in conflict.

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, Row, params};

use super::configuration::{moment, parsed, unreadable};
use super::{Store, StoreError, audit_log};
use crate::audit::{Attribution, ConflictAcknowledged, Event};
use crate::model::{ConflictParty, ConflictPath, IssuerDomain, PatientId, StudyConflict, Uid};

/// The most studies that are kept.
const MOST_STUDIES: usize = 100_000;
/// The most parties that are kept of one study.
const MOST_PARTIES: usize = 64;

/// A study UID found with different patients, as the store knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownConflict {
    pub study: Uid,
    /// Every party met so far, by station.
    pub parties: Vec<KnownParty>,
    pub first_seen: Timestamp,
    pub first_path: ConflictPath,
    pub last_seen: Timestamp,
    pub last_path: ConflictPath,
    /// `None` while it counts.
    pub acknowledged: Option<Acknowledgement>,
}

/// A party of a conflict, and when it was met.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownParty {
    pub party: ConflictParty,
    pub first_seen: Timestamp,
    pub last_seen: Timestamp,
}

/// That a person has looked at a conflict.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Acknowledgement {
    pub at: Timestamp,
    pub by: String,
    pub reason: Option<String>,
}

const COLUMNS: &str =
    "study, first_seen, first_path, last_seen, last_path, acknowledged_at, acknowledged_by, reason";

impl Store {
    /// Notes conflicts that were met just now. One that was acknowledged counts again where another patient turned up.
    pub fn note_conflicts(&self, conflicts: &[StudyConflict]) -> Result<(), StoreError> {
        if conflicts.is_empty() {
            return Ok(());
        }
        let now = Timestamp::now().as_microsecond();
        let transaction = self.begin_write()?;
        let written = conflicts
            .iter()
            .try_for_each(|conflict| note(&transaction, conflict, now))
            .and_then(|()| transaction.commit());
        self.sqlite(written)
    }

    /// How many conflicts nobody has acknowledged.
    pub fn conflict_count(&self) -> Result<u64, StoreError> {
        let sql = "SELECT count(*) FROM study_conflict WHERE acknowledged_at IS NULL";
        self.sqlite(self.connection.query_row(sql, [], |row| row.get(0)))
    }

    /// The conflicts, last met first, at most `limit`; those that were acknowledged too where `all` is set.
    pub fn conflicts(&self, all: bool, limit: usize) -> Result<Vec<KnownConflict>, StoreError> {
        let which = if all { "1" } else { "acknowledged_at IS NULL" };
        let sql = format!(
            "SELECT {COLUMNS} FROM study_conflict WHERE {which} ORDER BY last_seen DESC, study LIMIT ?1"
        );
        let snapshot = self.begin_read()?;
        let read = || -> rusqlite::Result<Vec<KnownConflict>> {
            let mut statement = snapshot.prepare_cached(&sql)?;
            let rows = statement.query_map([limit], |row| with_parties(&snapshot, conflict(row)?))?;
            rows.collect()
        };
        self.sqlite(read())
    }

    /// The conflict of that study; `None` where none was met.
    pub fn conflict(&self, study: &Uid) -> Result<Option<KnownConflict>, StoreError> {
        let snapshot = self.begin_read()?;
        self.sqlite(read_one(&snapshot, study))
    }

    /// Acknowledges the conflict of that study, with an audit record. Gives whether it counted until now.
    pub fn acknowledge_conflict(&self, attribution: &Attribution, study: &Uid) -> Result<bool, StoreError> {
        let transaction = self.begin_write()?;
        let written = acknowledge(&transaction, &self.cluster_uid, attribution, study)
            .and_then(|changed| transaction.commit().map(|()| changed));
        self.sqlite(written)
    }
}

fn note(connection: &Connection, conflict: &StudyConflict, now: i64) -> rusqlite::Result<()> {
    let known = connection
        .prepare_cached("UPDATE study_conflict SET last_seen = ?2, last_path = ?3 WHERE study = ?1")?
        .execute(params![conflict.study.as_str(), now, conflict.path.as_str()])?;
    if known == 0 {
        let count: usize = connection
            .prepare_cached("SELECT count(*) FROM study_conflict")?
            .query_row([], |row| row.get(0))?;
        if count >= MOST_STUDIES && !forget_oldest_acknowledged(connection)? {
            tracing::warn!("a study conflict is not kept: {MOST_STUDIES} are kept already");
            return Ok(());
        }
        connection
            .prepare_cached(
                "INSERT INTO study_conflict (study, first_seen, first_path, last_seen, last_path) \
                 VALUES (?1, ?2, ?3, ?2, ?3)",
            )?
            .execute(params![conflict.study.as_str(), now, conflict.path.as_str()])?;
    }
    for party in &conflict.parties {
        note_party(connection, &conflict.study, party, now)?;
    }
    Ok(())
}

fn forget_oldest_acknowledged(connection: &Connection) -> rusqlite::Result<bool> {
    let removed = connection.execute(
        "DELETE FROM study_conflict WHERE study = (SELECT study FROM study_conflict \
         WHERE acknowledged_at IS NOT NULL ORDER BY last_seen LIMIT 1)",
        [],
    )?;
    Ok(removed > 0)
}

fn note_party(connection: &Connection, study: &Uid, party: &ConflictParty, now: i64) -> rusqlite::Result<()> {
    let (study, station) = (study.as_str(), party.station.as_str());
    let (id, issuer) = (party.patient_id.id.as_str(), issuer(&party.patient_id));
    let known = connection
        .prepare_cached(
            "UPDATE study_conflict_party SET last_seen = ?5 \
             WHERE study = ?1 AND station = ?2 AND patient_id = ?3 AND issuer = ?4",
        )?
        .execute(params![study, station, id, issuer, now])?;
    if known > 0 {
        return Ok(());
    }
    let count: usize = connection
        .prepare_cached("SELECT count(*) FROM study_conflict_party WHERE study = ?1")?
        .query_row([study], |row| row.get(0))?;
    // A further station that lists a patient who is among the parties tells nothing new.
    let is_known_patient = connection
        .prepare_cached(
            "SELECT 1 FROM study_conflict_party \
             WHERE study = ?1 AND patient_id = ?2 AND issuer = ?3 AND (issuer <> '' OR station = ?4)",
        )?
        .exists(params![study, id, issuer, station])?;
    if !is_known_patient {
        connection
            .prepare_cached(
                "UPDATE study_conflict SET acknowledged_at = NULL, acknowledged_by = NULL, reason = NULL \
                 WHERE study = ?1",
            )?
            .execute([study])?;
    }
    if count < MOST_PARTIES {
        connection
            .prepare_cached(
                "INSERT INTO study_conflict_party (study, station, patient_id, issuer, first_seen, last_seen) \
                 VALUES (?1, ?2, ?3, ?4, ?5, ?5)",
            )?
            .execute(params![study, station, id, issuer, now])?;
    }
    Ok(())
}

/// The text of the column `issuer`: empty where the station is the domain.
fn issuer(patient: &PatientId) -> &str {
    match &patient.domain {
        IssuerDomain::Named(issuer) => issuer.as_str(),
        IssuerDomain::Inferred(_) => "",
    }
}

fn read_one(connection: &Connection, study: &Uid) -> rusqlite::Result<Option<KnownConflict>> {
    let sql = format!("SELECT {COLUMNS} FROM study_conflict WHERE study = ?1");
    connection
        .prepare_cached(&sql)?
        .query_row([study.as_str()], |row| with_parties(connection, conflict(row)?))
        .optional()
}

fn acknowledge(
    connection: &Connection,
    cluster_uid: &Uid,
    attribution: &Attribution,
    study: &Uid,
) -> rusqlite::Result<bool> {
    let open = read_one(connection, study)?.filter(|conflict| conflict.acknowledged.is_none());
    let Some(open) = open else {
        return Ok(false);
    };
    connection
        .prepare_cached(
            "UPDATE study_conflict SET acknowledged_at = ?2, acknowledged_by = ?3, reason = ?4 WHERE study = ?1",
        )?
        .execute(params![
            study.as_str(),
            Timestamp::now().as_microsecond(),
            attribution.person(),
            attribution.reason
        ])?;
    let mut stations: Vec<_> = open
        .parties
        .into_iter()
        .map(|known| known.party.station)
        .collect();
    stations.dedup();
    let event = Event::ConflictAcknowledged(ConflictAcknowledged {
        study_instance_uid: study.clone(),
        stations,
    });
    audit_log::append(connection, cluster_uid, attribution, &event)?;
    Ok(true)
}

/// A conflict without its parties.
fn conflict(row: &Row<'_>) -> rusqlite::Result<KnownConflict> {
    let acknowledged = match (moment(row, 5)?, row.get(6)?) {
        (Some(at), Some(by)) => Some(Acknowledgement {
            at,
            by,
            reason: row.get(7)?,
        }),
        _ => None,
    };
    Ok(KnownConflict {
        study: parsed(row, 0)?,
        parties: Vec::new(),
        first_seen: time(row, 1)?,
        first_path: parsed(row, 2)?,
        last_seen: time(row, 3)?,
        last_path: parsed(row, 4)?,
        acknowledged,
    })
}

fn with_parties(connection: &Connection, conflict: KnownConflict) -> rusqlite::Result<KnownConflict> {
    let mut statement = connection.prepare_cached(
        "SELECT station, patient_id, issuer, first_seen, last_seen FROM study_conflict_party \
         WHERE study = ?1 ORDER BY station, patient_id, issuer",
    )?;
    let parties = statement.query_map([conflict.study.as_str()], party)?;
    Ok(KnownConflict {
        parties: parties.collect::<rusqlite::Result<_>>()?,
        ..conflict
    })
}

fn party(row: &Row<'_>) -> rusqlite::Result<KnownParty> {
    let station = parsed(row, 0)?;
    let domain = match row.get_ref(2)?.as_str()? {
        "" => IssuerDomain::Inferred(parsed(row, 0)?),
        _ => IssuerDomain::Named(parsed(row, 2)?),
    };
    let patient_id = PatientId {
        id: row.get(1)?,
        domain,
    };
    Ok(KnownParty {
        party: ConflictParty { station, patient_id },
        first_seen: time(row, 3)?,
        last_seen: time(row, 4)?,
    })
}

fn time(row: &Row<'_>, column: usize) -> rusqlite::Result<Timestamp> {
    Timestamp::from_microsecond(row.get(column)?).map_err(|error| unreadable(column, error))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Access;

    fn store() -> (tempfile::TempDir, Store) {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&folder.path().join("store.db"), Access::ReadWrite).unwrap();
        (folder, store)
    }

    fn by() -> Attribution {
        Attribution {
            user: "jdoe".to_owned(),
            uid: 1000,
            real_user: None,
            command: "impaxlink study conflicts acknowledge".to_owned(),
            reason: Some("CHG1260".to_owned()),
        }
    }

    fn party(station: &str, id: &str, issuer: Option<&str>) -> ConflictParty {
        let station: crate::model::StationName = station.parse().unwrap();
        ConflictParty {
            patient_id: PatientId {
                id: id.to_owned(),
                domain: match issuer {
                    Some(issuer) => IssuerDomain::Named(issuer.parse().unwrap()),
                    None => IssuerDomain::Inferred(station.clone()),
                },
            },
            station,
        }
    }

    fn met(parties: Vec<ConflictParty>, path: ConflictPath) -> StudyConflict {
        StudyConflict {
            study: "1.2".parse().unwrap(),
            parties,
            path,
        }
    }

    #[test]
    fn a_conflict_counts_until_it_is_acknowledged() {
        let (_folder, store) = store();
        let parties = vec![party("PACS", "1", Some("NORTH")), party("SITEB", "1", None)];
        for path in [ConflictPath::Query, ConflictPath::Find] {
            store.note_conflicts(&[met(parties.clone(), path)]).unwrap();
        }
        assert_eq!(store.conflict_count().unwrap(), 1);
        let study = "1.2".parse().unwrap();
        let known = store.conflict(&study).unwrap().unwrap();
        assert_eq!(
            (known.first_path, known.last_path),
            (ConflictPath::Query, ConflictPath::Find)
        );
        assert_eq!(
            known.parties.iter().map(|it| &it.party).collect::<Vec<_>>(),
            parties.iter().collect::<Vec<_>>()
        );
        assert!(store.acknowledge_conflict(&by(), &study).unwrap());
        assert!(!store.acknowledge_conflict(&by(), &study).unwrap());
        assert_eq!(store.conflict_count().unwrap(), 0);
        assert!(store.conflicts(false, 9).unwrap().is_empty());
        let [known] = &store.conflicts(true, 9).unwrap()[..] else {
            panic!("one is known")
        };
        let acknowledged = known.acknowledged.as_ref().unwrap();
        assert_eq!(
            (acknowledged.by.as_str(), acknowledged.reason.as_deref()),
            ("jdoe", Some("CHG1260"))
        );
    }

    /// Case: a conflict counts until a person acknowledges it
    #[test]
    fn another_patient_makes_it_count_again() {
        let (_folder, store) = store();
        let note = |parties| {
            store
                .note_conflicts(&[met(parties, ConflictPath::Query)])
                .unwrap()
        };
        let (here, there) = (
            party("PACS", "1", Some("NORTH")),
            party("SITEB", "2", Some("NORTH")),
        );
        note(vec![here.clone(), there.clone()]);
        let study = "1.2".parse().unwrap();
        store.acknowledge_conflict(&by(), &study).unwrap();
        note(vec![here.clone(), there.clone()]);
        note(vec![here.clone(), party("SITEC", "2", Some("NORTH"))]);
        assert_eq!(store.conflict_count().unwrap(), 0, "the same two patients");
        note(vec![here.clone(), party("SITEB", "2", None)]);
        assert_eq!(store.conflict_count().unwrap(), 1, "whose 2 that is nobody says");
        store.acknowledge_conflict(&by(), &study).unwrap();
        note(vec![here, party("SITEB", "3", Some("NORTH"))]);
        assert_eq!(store.conflict_count().unwrap(), 1);
    }
}

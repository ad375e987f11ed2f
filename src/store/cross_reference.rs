//! The cross-reference of patients: which IDs of different issuers are one person's.
//!
//! Invariant: it is no configuration and makes no generation, but every change of it has a number, an author and a
//! record in the audit. How it is changed is `edit`'s.

mod edit;

use rusqlite::{Params, Row, params};

use super::configuration::{moment, unreadable, word};
use super::{Store, StoreError};
use crate::model::{CrossReference, CrossReferenceBuilder, GlobalPatientId, IssuedId, Issuer};

pub use edit::{CrossReferenceEdit, EditError, LinkError};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// What made an identity known to be a person's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LinkOrigin {
    /// A person, one by one.
    Command,
    /// A file.
    Import,
    /// A message of HL7 that merged two records.
    Hl7,
}

impl LinkOrigin {
    /// The word: `command`, `import` or `hl7`.
    pub fn as_str(self) -> &'static str {
        match self {
            LinkOrigin::Command => "command",
            LinkOrigin::Import => "import",
            LinkOrigin::Hl7 => "hl7",
        }
    }
}

/// A person as the cross-reference knows it, with who said so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownPerson {
    /// The ID that is the same in all clusters, where known.
    pub global_id: Option<String>,
    /// The identities, by issuer and ID.
    pub identities: Vec<LinkedIdentity>,
}

/// One identity of a person, and the change that made it this person's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LinkedIdentity {
    /// The ID and who assigned it.
    pub id: IssuedId,
    /// When it was linked.
    pub at: Timestamp,
    /// By whom.
    pub user: String,
    /// Why, where that was said.
    pub reason: Option<String>,
    /// By what.
    pub origin: LinkOrigin,
}

/// Which persons are read.
#[derive(Debug, Clone, Copy)]
pub enum Which<'w> {
    /// All.
    All,
    /// The one with this identity.
    Identity(&'w IssuedId),
    /// The one with this global patient ID.
    GlobalId(&'w GlobalPatientId),
    /// Those with an ID of this issuer.
    Issuer(&'w Issuer),
}

/// The issuers, one look into the table each, as SQLite has no other way than to read it whole.
const ISSUERS: &str = "WITH RECURSIVE known (issuer) AS (SELECT min(issuer) FROM patient_identity UNION ALL \
    SELECT (SELECT min(i.issuer) FROM patient_identity i WHERE i.issuer > known.issuer) FROM known \
    WHERE known.issuer IS NOT NULL)";

const IDENTITIES: &str = "SELECT i.person, p.global_id, i.issuer, i.patient_id FROM patient_identity i \
    JOIN person p ON p.person = i.person";

const IN_ORDER: &str = "ORDER BY i.person, i.issuer, i.patient_id";

impl Store {
    /// The number of the newest change of the cross-reference; 0 where there was none. Cheap, to be asked often.
    pub fn cross_reference_change(&self) -> Result<u64, StoreError> {
        let sql = "SELECT coalesce(max(change), 0) FROM cross_reference_change";
        self.sqlite(self.connection.query_row(sql, [], |row| row.get(0)))
    }

    /// The whole cross-reference, and the number of the change that it is of.
    pub fn cross_reference(&self) -> Result<(CrossReference, u64), StoreError> {
        let _snapshot = self.begin_read()?;
        let change = self.cross_reference_change()?;
        let known = self.sqlite(self.read_identities(&format!("{IDENTITIES} {IN_ORDER}"), []))?;
        Ok((known, change))
    }

    /// What the cross-reference says of the persons with this ID, whoever assigned it, and of the one with this global
    /// patient ID: all that a query by them has a use for.
    pub fn cross_reference_of(
        &self,
        id: Option<&str>,
        global_id: Option<&str>,
    ) -> Result<CrossReference, StoreError> {
        let sql = format!(
            "{ISSUERS} {IDENTITIES} WHERE i.person IN (SELECT person FROM patient_identity WHERE patient_id = ?1 \
             AND issuer IN (SELECT issuer FROM known WHERE issuer IS NOT NULL) \
             UNION SELECT person FROM person WHERE global_id = ?2) {IN_ORDER}"
        );
        self.sqlite(self.read_identities(&sql, params![id, global_id]))
    }

    /// Gives the persons to `take`, one by one, in the order in which they became known, until it refuses one.
    pub fn persons<E>(
        &self,
        which: Which<'_>,
        mut take: impl FnMut(KnownPerson) -> Result<(), E>,
    ) -> Result<(), EditError<E>> {
        let (condition, values) = match which {
            Which::All => ("", Vec::new()),
            Which::Identity(id) => (
                "WHERE i.person = (SELECT person FROM patient_identity WHERE issuer = ?1 AND patient_id = ?2)",
                vec![id.issuer().as_str(), id.id()],
            ),
            Which::GlobalId(id) => ("WHERE p.global_id = ?1", vec![id.as_str()]),
            Which::Issuer(issuer) => (
                "WHERE i.person IN (SELECT person FROM patient_identity WHERE issuer = ?1)",
                vec![issuer.as_str()],
            ),
        };
        let sql = format!(
            "SELECT i.person, p.global_id, i.issuer, i.patient_id, c.at, c.user, c.reason, c.origin \
             FROM patient_identity i JOIN person p ON p.person = i.person \
             JOIN cross_reference_change c ON c.change = i.change {condition} {IN_ORDER}"
        );
        let mut statement = self.sqlite(self.connection.prepare_cached(&sql))?;
        let mut rows = self.sqlite(statement.query(rusqlite::params_from_iter(values)))?;
        let mut last: Option<(i64, KnownPerson)> = None;
        while let Some(row) = self.sqlite(rows.next())? {
            let (person, global_id, identity) = self.sqlite(linked_identity(row))?;
            match &mut last {
                Some((of, known)) if *of == person => known.identities.push(identity),
                _ => {
                    let next = KnownPerson {
                        global_id,
                        identities: vec![identity],
                    };
                    if let Some((_, known)) = last.replace((person, next)) {
                        take(known).map_err(EditError::Refused)?;
                    }
                }
            }
        }
        last.map_or(Ok(()), |(_, known)| take(known).map_err(EditError::Refused))
    }

    fn read_identities(&self, sql: &str, parameters: impl Params) -> rusqlite::Result<CrossReference> {
        let mut builder = CrossReferenceBuilder::default();
        let mut statement = self.connection.prepare_cached(sql)?;
        let mut rows = statement.query(parameters)?;
        let mut last = None;
        while let Some(row) = rows.next()? {
            let person: i64 = row.get(0)?;
            if last.replace(person) != Some(person) {
                builder.person(row.get_ref(1)?.as_str_or_null()?);
            }
            let (issuer, id) = (row.get_ref(2)?.as_str()?, row.get_ref(3)?.as_str()?);
            builder
                .identity(issuer, id)
                .map_err(|error| unreadable(2, error))?;
        }
        Ok(builder.build())
    }
}

fn linked_identity(row: &Row<'_>) -> rusqlite::Result<(i64, Option<String>, LinkedIdentity)> {
    let text = format!("{}^^^{}", row.get_ref(3)?.as_str()?, row.get_ref(2)?.as_str()?);
    let identity = LinkedIdentity {
        id: text.parse().map_err(|error| unreadable(3, error))?,
        at: moment(row, 4)?.unwrap_or(Timestamp::UNIX_EPOCH),
        user: row.get(5)?,
        reason: row.get(6)?,
        origin: word(row, 7)?,
    };
    Ok((row.get(0)?, row.get(1)?, identity))
}

//! Messages of HL7 v2: each as it came, and what became of it.
//!
//! Invariants: a message is kept once, however often it comes. Those about the same are done in the order in which they
//! came. What waits, or wants a person, is never removed. What a message wants is not known here; how it is done once is
//! `settle`'s.

mod settle;

use jiff::{SignedDuration, Timestamp};
use rusqlite::{Connection, OptionalExtension, Row, params};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::configuration::{list, moment, word};
use super::{Store, StoreError, audit_log};
use crate::audit::{Attribution, Event, Hl7Dropped};
use crate::model::hl7::AcknowledgmentCode;
use crate::model::{StateField, Uid};

pub use settle::{Hl7Settlement, SettledHl7};

/// How many old messages are removed for each that comes, at most.
const REMOVED_FOR_EACH: usize = 8;

/// What is to be done with a message, or was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Hl7State {
    /// It is to be done, once its study is here or its archive answers.
    Waiting,
    /// It is done.
    Done,
    /// It can't be done: a person is to look.
    Failed,
    /// A person has given it up.
    Dropped,
}

impl Hl7State {
    /// The word: `waiting`.
    pub fn as_str(self) -> &'static str {
        match self {
            Hl7State::Waiting => "waiting",
            Hl7State::Done => "done",
            Hl7State::Failed => "failed",
            Hl7State::Dropped => "dropped",
        }
    }
}

/// A message that has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hl7Arrival {
    /// Its bytes.
    pub body: Vec<u8>,
    /// The sender's address, or the file.
    pub source: String,
    /// Sending application and facility (MSH-3, MSH-4).
    pub sender: String,
    /// MSH-10.
    pub control_id: String,
    /// Type and event (MSH-9), like `ADT^A08`.
    pub kind: String,
    /// What is answered.
    pub answer: AcknowledgmentCode,
    /// Why it is refused, where it is.
    pub refused: Option<String>,
    /// What it is about.
    pub subjects: Vec<String>,
}

/// What became of a message that has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeptHl7 {
    /// Its number.
    pub number: i64,
    /// Whether it had come before.
    pub is_duplicate: bool,
    /// Whether it is, or was, answered that it is stored.
    pub was_accepted: bool,
}

/// What a message did to a study.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hl7Deed {
    /// The study.
    pub study: Uid,
    /// The update that it made; `None` where all was so already.
    pub update: Option<Uid>,
    /// The fields that it changed.
    pub changed: Vec<StateField>,
    /// Whether it made a review notice.
    pub review: bool,
}

/// A message that is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hl7Message {
    /// Its number here.
    pub number: i64,
    /// When it came.
    pub at: Timestamp,
    /// From where.
    pub source: String,
    /// Sending application and facility.
    pub sender: String,
    /// Its control ID.
    pub control_id: String,
    /// Type and event.
    pub kind: String,
    /// What was answered.
    pub answer: AcknowledgmentCode,
    /// What became of it.
    pub state: Hl7State,
    /// Why, where there is more to say.
    pub reason: Option<String>,
    /// What it did.
    pub did: Vec<Hl7Deed>,
    /// How often it was tried.
    pub attempts: u32,
    /// Since when it waits, or waited.
    pub since: Timestamp,
    /// When it is tried next, while it waits.
    pub next_try: Timestamp,
    /// Its bytes; empty in a list.
    pub body: Vec<u8>,
}

/// How many messages want something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Hl7Counts {
    /// Those that wait.
    pub waiting: u64,
    /// Those that want a person.
    pub failed: u64,
}

const COLUMNS: &str =
    "number, at, source, sender, control_id, kind, answer, state, reason, did, attempts, since, next_try";

impl Store {
    /// Keeps a message, unless it is kept already. One that was refused and is not any more waits now. Those that are done
    /// or dropped for `keep_days` days may be removed.
    pub fn keep_hl7(&self, arrival: &Hl7Arrival, keep_days: usize) -> Result<KeptHl7, StoreError> {
        let transaction = self.begin_write()?;
        let now = Timestamp::now();
        let kept = keep(&transaction, arrival, now)
            .and_then(|kept| prune(&transaction, now, keep_days).map(|()| kept))
            .and_then(|kept| transaction.commit().map(|()| kept));
        self.sqlite(kept)
    }

    /// The waiting messages whose time has come and that none before them about the same holds up; so no two of them are
    /// about the same. At most `limit`, those first that are due longest.
    pub fn due_hl7(&self, now: Timestamp, limit: usize) -> Result<Vec<Hl7Message>, StoreError> {
        let sql = format!(
            "SELECT {COLUMNS}, body FROM hl7_message INDEXED BY hl7_message_waiting WHERE state = 'waiting' \
             AND is_held = 0 AND next_try <= ?1 ORDER BY next_try, number LIMIT ?2"
        );
        let read = || {
            let mut statement = self.connection.prepare_cached(&sql)?;
            statement
                .query_map(params![now.as_microsecond(), limit], message)?
                .collect()
        };
        self.sqlite(read())
    }

    /// Has a message tried again that failed or waits; says whether it is one of those. `subjects` is what it is about.
    pub fn retry_hl7(&self, number: i64, subjects: &[String]) -> Result<bool, StoreError> {
        let transaction = self.begin_write()?;
        let now = Timestamp::now().as_microsecond();
        let retried = transaction
            .execute(
                "UPDATE hl7_message SET state = 'waiting', since = ?2, next_try = ?2, attempts = 0, changed_at = ?2 \
                 WHERE number = ?1 AND state IN ('waiting', 'failed')",
                params![number, now],
            )
            .and_then(|count| {
                if count > 0 {
                    concern(&transaction, number, subjects)?;
                }
                transaction.commit().map(|()| count > 0)
            });
        self.sqlite(retried)
    }

    /// Gives up a message that failed or waits; says whether it is one of those.
    pub fn drop_hl7(&self, attribution: &Attribution, number: i64) -> Result<bool, StoreError> {
        let why = attribution.reason.as_ref().map(|reason| format!(": {reason}"));
        let reason = format!("dropped by {}{}", attribution.person(), why.unwrap_or_default());
        let transaction = self.begin_write()?;
        let dropped = transaction
            .execute(
                "UPDATE hl7_message SET state = 'dropped', reason = ?2, changed_at = ?3 \
                 WHERE number = ?1 AND state IN ('waiting', 'failed')",
                params![number, reason, Timestamp::now().as_microsecond()],
            )
            .and_then(|count| {
                if count > 0 {
                    release(&transaction, number)?;
                    let event = Event::Hl7Dropped(Hl7Dropped { message: number });
                    audit_log::append(&transaction, &self.cluster_uid, attribution, &event)?;
                }
                transaction.commit().map(|()| count > 0)
            });
        self.sqlite(dropped)
    }

    /// The messages in that state, without their bytes; newest first, at most `limit`.
    pub fn hl7_messages(&self, state: Hl7State, limit: Option<u32>) -> Result<Vec<Hl7Message>, StoreError> {
        let sql =
            format!("SELECT {COLUMNS}, x'' FROM hl7_message WHERE state = ?1 ORDER BY number DESC LIMIT ?2");
        let read = || {
            let mut statement = self.connection.prepare_cached(&sql)?;
            let limit = limit.map_or(-1, i64::from);
            statement
                .query_map(params![state.as_str(), limit], message)?
                .collect()
        };
        self.sqlite(read())
    }

    /// The message of that number.
    pub fn hl7_message(&self, number: i64) -> Result<Option<Hl7Message>, StoreError> {
        let sql = format!("SELECT {COLUMNS}, body FROM hl7_message WHERE number = ?1");
        let read = || {
            self.connection
                .prepare_cached(&sql)?
                .query_row([number], message)
                .optional()
        };
        self.sqlite(read())
    }

    /// How many messages want something.
    pub fn hl7_counts(&self) -> Result<Hl7Counts, StoreError> {
        let sql = "SELECT (SELECT count(*) FROM hl7_message WHERE state = 'waiting'), \
                   (SELECT count(*) FROM hl7_message WHERE state = 'failed')";
        self.sqlite(self.connection.query_row(sql, [], |row| {
            Ok(Hl7Counts {
                waiting: row.get(0)?,
                failed: row.get(1)?,
            })
        }))
    }
}

fn keep(connection: &Connection, arrival: &Hl7Arrival, now: Timestamp) -> rusqlite::Result<KeptHl7> {
    let digest: [u8; 32] = Sha256::digest(arrival.body.trim_ascii()).into();
    let known = connection
        .prepare_cached(
            "SELECT number, answer = 'AA' OR state IN ('waiting', 'done'), state = 'failed' FROM hl7_message \
             WHERE digest = ?1",
        )?
        .query_row([digest], |row| {
            Ok((
                row.get::<_, i64>(0)?,
                row.get::<_, bool>(1)?,
                row.get::<_, bool>(2)?,
            ))
        })
        .optional()?;
    let state = match arrival.refused {
        Some(_) => Hl7State::Failed,
        None => Hl7State::Waiting,
    };
    let at = now.as_microsecond();
    let number = match known {
        // Refused before, and understood now.
        Some((number, false, true)) if state == Hl7State::Waiting => {
            connection
                .prepare_cached(
                    "UPDATE hl7_message SET answer = ?2, state = ?3, reason = NULL, since = ?4, next_try = ?4, \
                     changed_at = ?4 WHERE number = ?1",
                )?
                .execute(params![number, arrival.answer.as_str(), state.as_str(), at])?;
            number
        }
        Some((number, was_accepted, _)) => {
            return Ok(KeptHl7 {
                number,
                is_duplicate: true,
                was_accepted,
            });
        }
        None => {
            connection
                .prepare_cached(
                    "INSERT INTO hl7_message (at, source, sender, control_id, kind, digest, answer, state, reason, \
                     since, next_try, changed_at, body) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?1, ?1, ?1, ?10)",
                )?
                .execute(params![
                    at,
                    arrival.source,
                    arrival.sender,
                    arrival.control_id,
                    arrival.kind,
                    digest,
                    arrival.answer.as_str(),
                    state.as_str(),
                    arrival.refused,
                    arrival.body,
                ])?;
            connection.last_insert_rowid()
        }
    };
    if state == Hl7State::Waiting {
        concern(connection, number, &arrival.subjects)?;
        // What waits for its study is looked at again before what came later about the same.
        connection
            .prepare_cached(
                "UPDATE hl7_message SET next_try = ?2 WHERE state = 'waiting' AND next_try > ?2 AND number IN \
                 (SELECT (SELECT min(other.number) FROM hl7_subject other WHERE other.subject = its.subject) \
                 FROM hl7_subject its WHERE its.number = ?1)",
            )?
            .execute(params![number, at])?;
    }
    Ok(KeptHl7 {
        number,
        is_duplicate: false,
        was_accepted: state == Hl7State::Waiting,
    })
}

/// Notes what a message is about that waits: those before it about the same hold it up, and it holds up those after it.
fn concern(connection: &Connection, number: i64, subjects: &[String]) -> rusqlite::Result<()> {
    let mut insert = connection
        .prepare_cached("INSERT INTO hl7_subject (subject, number) VALUES (?1, ?2) ON CONFLICT DO NOTHING")?;
    for subject in subjects {
        insert.execute(params![subject, number])?;
    }
    hold(connection, number)?;
    connection
        .prepare_cached(
            "UPDATE hl7_message SET is_held = 1 WHERE number IN (SELECT other.number FROM hl7_subject its \
             JOIN hl7_subject other ON other.subject = its.subject AND other.number > its.number \
             WHERE its.number = ?1)",
        )?
        .execute([number])
        .map(drop)
}

/// Lets those go on that a message held up which waits no longer.
fn release(connection: &Connection, number: i64) -> rusqlite::Result<()> {
    let next: Vec<Option<i64>> = connection
        .prepare_cached(
            "SELECT (SELECT min(other.number) FROM hl7_subject other WHERE other.subject = its.subject \
             AND other.number > its.number) FROM hl7_subject its WHERE its.number = ?1",
        )?
        .query_map([number], |row| row.get(0))?
        .collect::<rusqlite::Result<_>>()?;
    connection
        .prepare_cached("DELETE FROM hl7_subject WHERE number = ?1")?
        .execute([number])?;
    next.into_iter()
        .flatten()
        .try_for_each(|next| hold(connection, next))
}

/// Sees whether a message is held up.
fn hold(connection: &Connection, number: i64) -> rusqlite::Result<()> {
    connection
        .prepare_cached(
            "UPDATE hl7_message SET is_held = EXISTS (SELECT 1 FROM hl7_subject its JOIN hl7_subject other \
             ON other.subject = its.subject AND other.number < its.number WHERE its.number = ?1) WHERE number = ?1",
        )?
        .execute([number])
        .map(drop)
}

fn prune(connection: &Connection, now: Timestamp, keep_days: usize) -> rusqlite::Result<()> {
    let kept = SignedDuration::from_hours(24 * i64::try_from(keep_days).unwrap_or(i64::from(u16::MAX)));
    let oldest = now.checked_sub(kept).unwrap_or(Timestamp::UNIX_EPOCH);
    connection
        .prepare_cached(
            "DELETE FROM hl7_message WHERE number IN (SELECT number FROM hl7_message \
             WHERE state IN ('done', 'dropped') AND changed_at < ?1 ORDER BY changed_at LIMIT ?2)",
        )?
        .execute(params![oldest.as_microsecond(), REMOVED_FOR_EACH])
        .map(drop)
}

fn message(row: &Row<'_>) -> rusqlite::Result<Hl7Message> {
    let at = |column| moment(row, column).map(|at| at.unwrap_or(Timestamp::UNIX_EPOCH));
    Ok(Hl7Message {
        number: row.get(0)?,
        at: at(1)?,
        source: row.get(2)?,
        sender: row.get(3)?,
        control_id: row.get(4)?,
        kind: row.get(5)?,
        answer: word(row, 6)?,
        state: word(row, 7)?,
        reason: row.get(8)?,
        did: list(row, 9)?,
        attempts: row.get(10)?,
        since: at(11)?,
        next_try: at(12)?,
        body: row.get(13)?,
    })
}

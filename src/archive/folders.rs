//! The folders that files are put into, filled one after the other.
//!
//! Invariant: a folder is marked as in use, by a commit that is synced, before a file is put there, and unmarked, by
//! another, after the last of its files is in the index. A folder belongs to one process while it is in use.

use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use rusqlite::{Connection, OptionalExtension, TransactionBehavior};

use super::ArchiveError;
use super::index::set_durable;
use super::layout::{Layout, sync_folder};

/// How many files a folder gets.
const FULL: i64 = 4096;

/// A folder in use. Who puts a file there holds it until the file is in the index.
#[derive(Debug)]
pub(super) struct Folder {
    pub(super) number: i64,
}

/// Hands out folders.
#[derive(Debug)]
pub(super) struct Folders {
    layout: Layout,
    state: Mutex<State>,
    incoming: AtomicU64,
}

#[derive(Debug)]
struct State {
    connection: Connection,
    current: Option<Arc<Folder>>,
    /// How many more files the current one gets.
    room: i64,
    /// Full ones, whose last files may not be in the index yet.
    full: Vec<Arc<Folder>>,
}

impl Folders {
    pub(super) fn new(layout: Layout, connection: Connection) -> Self {
        let state = State {
            connection,
            current: None,
            room: 0,
            full: Vec::new(),
        };
        Folders {
            layout,
            state: Mutex::new(state),
            incoming: AtomicU64::new(0),
        }
    }

    /// A folder for one more file.
    pub(super) fn take(&self) -> Result<Arc<Folder>, ArchiveError> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(current) = state.current.clone()
            && state.room > 0
        {
            state.room -= 1;
            return Ok(current);
        }
        let before = state.current.take();
        state.full.extend(before);
        release_unheld(&mut state)?;
        let (number, files) = claim(&mut state.connection)?;
        let path = self.layout.folder(number);
        match DirBuilder::new().mode(0o700).create(&path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            result => result.map_err(ArchiveError::io("create", &path))?,
        }
        sync_folder(&self.layout.files())?;
        let folder = Arc::new(Folder { number });
        state.current = Some(Arc::clone(&folder));
        state.room = FULL - files - 1;
        Ok(folder)
    }

    /// A number for the name of a file that is being received.
    pub(super) fn next_incoming(&self) -> u64 {
        self.incoming.fetch_add(1, Ordering::Relaxed)
    }

    /// Gives all folders back that nobody holds.
    pub(super) fn close(&self) -> Result<(), ArchiveError> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let current = state.current.take();
        state.full.extend(current);
        release_unheld(&mut state)
    }
}

/// Marks a folder as in use and gives its number and how many files it has: the last, where it has room, else a new one.
fn claim(connection: &mut Connection) -> Result<(i64, i64), ArchiveError> {
    set_durable(connection, true)?;
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let last: Option<(i64, bool)> = transaction
        .query_row(
            "SELECT number, in_use FROM folder ORDER BY number DESC LIMIT 1",
            [],
            |row| Ok((row.get(0)?, row.get(1)?)),
        )
        .optional()?;
    let files_in = |number: i64| {
        transaction.query_row(
            "SELECT count(*) FROM instance WHERE folder = ?1",
            [number],
            |row| row.get(0),
        )
    };
    let claimed = match last {
        Some((number, false)) if files_in(number)? < FULL / 2 => (number, files_in(number)?),
        _ => (last.map_or(1, |(number, _)| number + 1), 0),
    };
    transaction.execute(
        "INSERT INTO folder (number, in_use) VALUES (?1, 1) ON CONFLICT (number) DO UPDATE SET in_use = 1",
        [claimed.0],
    )?;
    transaction.commit()?;
    Ok(claimed)
}

fn release_unheld(state: &mut State) -> Result<(), ArchiveError> {
    let State { connection, full, .. } = state;
    // Decided once: a folder may be let go while this runs, but none that nobody holds comes to be held.
    let is_held = |folder: &&Arc<Folder>| Arc::strong_count(folder) > 1;
    let unheld: Vec<i64> = full
        .iter()
        .filter(|folder| !is_held(folder))
        .map(|folder| folder.number)
        .collect();
    if unheld.is_empty() {
        return Ok(());
    }
    set_durable(connection, true)?;
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    for number in &unheld {
        transaction.execute("UPDATE folder SET in_use = 0 WHERE number = ?1", [number])?;
    }
    transaction.commit()?;
    full.retain(|folder| !unheld.contains(&folder.number));
    Ok(())
}

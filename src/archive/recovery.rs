//! What the index lacks is taken from the files: of the folders in use after a crash, or of all when it is rebuilt.
//!
//! Invariant: only who has the archive for itself does this. No whole object is ever removed, but for one that is
//! stored a second time or was removed before; what can't be read stays where it is and is counted.

use std::collections::HashSet;
use std::fs;
use std::path::Path;

use rusqlite::{Connection, ErrorCode, TransactionBehavior};

use super::description::Description;
use super::index::{self, Placement, insert, placement, set_durable};
use super::layout::{Layout, aside_name, file_name, is_incoming, names_in, remove_file, sync_folder};
use super::lock::ArchiveLock;
use super::object::{ObjectFile, are_equal, data_set, digest};
use super::removal;
use super::{ArchiveError, arrivals, aside, sound};
use crate::model::AsideReason;

/// How many files are put into the index in one transaction.
const BATCH: usize = 1000;

/// What was found in the files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Recovered {
    /// Whole objects that were not in the index, and are now.
    pub adopted: u64,
    /// Files that were being received when the process ended; removed.
    pub unfinished: u64,
    /// Files that are no whole objects; left where they are.
    pub unreadable: u64,
}

/// What of the adopted files is listed besides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Lists {
    Nothing,
    /// Who sent them may send them no more, now that they are stored.
    Arrivals,
}

/// Looks through the folders in use, and releases them.
pub(super) fn recover(layout: &Layout, connection: &mut Connection) -> Result<Recovered, ArchiveError> {
    removal::finish(layout, connection)?;
    let mut recovered = Recovered::default();
    let in_use: Vec<i64> = connection
        .prepare("SELECT number FROM folder WHERE in_use = 1")?
        .query_map([], |row| row.get(0))?
        .collect::<rusqlite::Result<_>>()?;
    for &folder in &in_use {
        adopt_folder(
            layout,
            connection,
            folder,
            Lists::Arrivals,
            &mut recovered,
            &mut |_| {},
        )?;
    }
    adopt_aside(layout, connection, &mut recovered)?;
    if !in_use.is_empty() {
        set_durable(connection, true)?;
        connection.execute("UPDATE folder SET in_use = 0", [])?;
        set_durable(connection, false)?;
    }
    Ok(recovered)
}

/// Makes the index of the archive in `root` again from its files, and tells after each folder what was found so far.
///
/// The old index stays in force until the new one is whole. Nobody else may use the archive meanwhile.
pub fn reindex(root: &Path, mut progress: impl FnMut(&Recovered)) -> Result<Recovered, ArchiveError> {
    let layout = Layout::create(root)?;
    let in_use = || ArchiveError::InUse(root.to_owned());
    let _lock = ArchiveLock::exclusive(&layout)?.ok_or_else(in_use)?;
    finish_removals(&layout)?;
    let draft = layout.draft_index();
    let mut connection = index::create(&draft)?;
    // A draft that a crash leaves behind is thrown away.
    connection.pragma_update(None, "synchronous", "OFF")?;
    let mut recovered = Recovered::default();
    for folder in layout.folders()? {
        connection.execute("INSERT INTO folder (number, in_use) VALUES (?1, 0)", [folder])?;
        adopt_folder(
            &layout,
            &mut connection,
            folder,
            Lists::Nothing,
            &mut recovered,
            &mut progress,
        )?;
    }
    recovered.adopted += take_over(&layout, &mut connection)?;
    adopt_aside(&layout, &mut connection, &mut recovered)?;
    progress(&recovered);
    connection.pragma_update(None, "journal_mode", "DELETE")?;
    connection.close().map_err(|(_, error)| error)?;
    let synced = fs::File::open(&draft).and_then(|file| file.sync_all());
    synced.map_err(ArchiveError::io("sync", &draft))?;
    swap(&layout, &draft)?;
    Ok(recovered)
}

/// Removes what the old index lists for removal, as far as it can be read: it knows, and the files do not.
fn finish_removals(layout: &Layout) -> Result<(), ArchiveError> {
    let path = layout.index();
    if !path.exists() {
        return Ok(());
    }
    let finished = index::open_for_writing(&path).and_then(|mut old| removal::finish(layout, &mut old));
    match finished {
        Err(ArchiveError::Index(_)) => Ok(()),
        other => other,
    }
}

/// Takes over what the old index lists as arrived and as kept aside, and its digests, as far as it can be read: the files don't tell.
/// Returns how many objects those are that are kept aside.
fn take_over(layout: &Layout, connection: &mut Connection) -> Result<u64, ArchiveError> {
    let path = layout.index();
    if !path.exists() {
        return Ok(0);
    }
    let taken = index::open_for_writing(&path).and_then(|mut old| {
        index::migrate(&path, &mut old)?;
        arrivals::take_over(&old, connection)?;
        sound::take_over(&old, connection)?;
        aside::take_over(layout, &old, connection)
    });
    match taken {
        // The new index has no room, which says nothing of the old one.
        Err(ArchiveError::Index(error)) if error.sqlite_error_code() == Some(ErrorCode::DiskFull) => {
            Err(error.into())
        }
        Err(ArchiveError::Index(_) | ArchiveError::Migration(_) | ArchiveError::MadeByNewer(_)) => Ok(0),
        other => other,
    }
}

/// Puts the new index in the place of the old one, whose write-ahead log must not be taken for the new one's.
fn swap(layout: &Layout, draft: &Path) -> Result<(), ArchiveError> {
    let path = layout.index();
    if path.exists() {
        // So that the old one is whole without its log, should this process end before the rename; where the old one
        // is broken it can't be saved, and need not be.
        let folded = index::open_for_writing(&path)
            .and_then(|old| Ok(old.pragma_update(None, "journal_mode", "DELETE")?));
        if folded.is_err() {
            index::remove(&path)?;
        }
        for suffix in ["-wal", "-shm"] {
            let mut name = path.clone().into_os_string();
            name.push(suffix);
            remove_file(Path::new(&name))?;
        }
    }
    fs::rename(draft, &path).map_err(ArchiveError::io("rename to", &path))?;
    sync_folder(&layout.root)
}

fn adopt_folder(
    layout: &Layout,
    connection: &mut Connection,
    folder: i64,
    lists: Lists,
    recovered: &mut Recovered,
    progress: &mut impl FnMut(&Recovered),
) -> Result<(), ArchiveError> {
    let path = layout.folder(folder);
    let indexed: HashSet<String> = connection
        .prepare("SELECT uid FROM instance WHERE folder = ?1")?
        .query_map([folder], |row| row.get::<_, String>(0).map(|uid| file_name(&uid)))?
        .collect::<rusqlite::Result<_>>()?;
    let mut files = Vec::new();
    for name in names_in(&path)?
        .into_iter()
        .filter(|name| !indexed.contains(name))
    {
        if is_incoming(&name) {
            remove_file(&path.join(name))?;
            recovered.unfinished += 1;
            continue;
        }
        let file = path.join(&name);
        let found = fs::symlink_metadata(&file).map_err(ArchiveError::io("read", &file))?;
        if !found.is_file() {
            recovered.unreadable += 1;
            continue;
        }
        let written = found.modified().map_err(ArchiveError::io("read", &file))?;
        files.push((written, name));
    }
    // In the order of arrival, because the first instance names the patient.
    files.sort();
    for batch in files.chunks(BATCH) {
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        for (_, name) in batch {
            match adopt(layout, &transaction, folder, name, lists)? {
                true => recovered.adopted += 1,
                false => recovered.unreadable += 1,
            }
        }
        transaction.commit()?;
        progress(recovered);
    }
    sync_folder_if_there(&path)
}

/// Puts a file into the index; `false` where it is no whole object or has another's name.
fn adopt(
    layout: &Layout,
    transaction: &Connection,
    folder: i64,
    name: &str,
    lists: Lists,
) -> Result<bool, ArchiveError> {
    let path = layout.folder(folder).join(name);
    let Some((description, placement_here)) = read(&path, folder)? else {
        return Ok(false);
    };
    let uid = description.sop_instance_uid.as_str();
    if file_name(uid) != name {
        return Ok(false);
    }
    let Some(stored) = placement(transaction, uid)? else {
        let inserted = insert(transaction, &description, &placement_here)?;
        if lists == Lists::Arrivals {
            arrivals::list(transaction, inserted, true)?;
        }
        return Ok(true);
    };
    let stored_path = layout.file(stored.folder, uid);
    let is_same = stored_path.exists() && {
        let stored_data = data_set(&stored_path, stored.data_set_offset)?;
        let data = data_set(&path, placement_here.data_set_offset)?;
        are_equal(stored_data, data).map_err(ArchiveError::io("read", &path))?
    };
    if is_same {
        remove_file(&path)?;
        return Ok(true);
    }
    let digest = digest(data_set(&path, placement_here.data_set_offset)?);
    let name = aside_name(uid, &digest.map_err(ArchiveError::io("read", &path))?);
    let target = layout.aside().join(&name);
    fs::rename(&path, &target).map_err(ArchiveError::io("rename to", &target))?;
    aside::list_found(
        transaction,
        &target,
        (&description, &placement_here),
        Some(AsideReason::Differs),
    )?;
    Ok(true)
}

fn adopt_aside(
    layout: &Layout,
    connection: &mut Connection,
    recovered: &mut Recovered,
) -> Result<(), ArchiveError> {
    let listed: HashSet<String> = connection
        .prepare("SELECT name FROM kept_aside")?
        .query_map([], |row| row.get(0))?
        .collect::<rusqlite::Result<_>>()?;
    let names: Vec<String> = names_in(&layout.aside())?
        .into_iter()
        .filter(|name| !listed.contains(name))
        .collect();
    if names.is_empty() {
        return Ok(());
    }
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    for name in names {
        let path = layout.aside().join(&name);
        let found = fs::symlink_metadata(&path).map_err(ArchiveError::io("read", &path))?;
        let object = if found.is_file() { read(&path, 0)? } else { None };
        match object {
            Some((description, placement)) => {
                aside::list_found(&transaction, &path, (&description, &placement), None)?;
                recovered.adopted += 1;
            }
            None => recovered.unreadable += 1,
        }
    }
    Ok(transaction.commit()?)
}

/// Reads an object; `None` where the file is none, or not a whole one.
fn read(path: &Path, folder: i64) -> Result<Option<(Description, Placement)>, ArchiveError> {
    let Some(mut object) = ObjectFile::open(path)? else {
        return Ok(None);
    };
    match object.describe(path) {
        Ok(description) => {
            let placement = Placement {
                folder,
                transfer_syntax_uid: object.meta.transfer_syntax_uid,
                data_set_offset: object.meta.data_set_offset,
                bytes: object.bytes,
                digest: None,
                is_damaged: false,
            };
            Ok(Some((description, placement)))
        }
        Err(ArchiveError::Unreadable(_) | ArchiveError::NoPlace(_)) => Ok(None),
        Err(error) => Err(error),
    }
}

fn sync_folder_if_there(path: &Path) -> Result<(), ArchiveError> {
    if path.exists() { sync_folder(path) } else { Ok(()) }
}

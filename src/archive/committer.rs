//! The one thread that puts received files in their places and into the index, as many at once as are waiting.
//!
//! Invariant: a file that is told to be stored was synced, has its name, its folder was synced, and its row is
//! committed, in this order. A name is never taken from another file, except from a damaged one, by the data that it
//! had. What fails leaves no row, and no file that recovery would not find.

use std::collections::{BTreeSet, HashSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, SyncSender, sync_channel};
use std::thread::{self, JoinHandle};

use jiff::Timestamp;
use rusqlite::{Connection, Transaction, TransactionBehavior};
use rustix::fs::{CWD, RenameFlags, renameat_with};

use super::description::Description;
use super::folders::Folder;
use super::index::{Placement, insert, placement, replace_file, set_durable};
use super::layout::{Layout, remove_file, sync_folder};
use super::removal;
use super::{ArchiveError, arrivals, aside};
use crate::model::{AeTitle, AsideReason};

/// The most that is committed at once.
const MAX_BATCH: usize = 512;

/// A file that was received whole, checked and synced.
#[derive(Debug)]
pub(super) struct Received {
    pub(super) temporary: PathBuf,
    pub(super) description: Description,
    pub(super) placement: Placement,
    /// Held until the row is committed.
    pub(super) folder: Arc<Folder>,
    pub(super) place: Place,
    /// Who sent it.
    pub(super) source: Option<AeTitle>,
    /// Whether it is among the arrivals once it is stored.
    pub(super) is_acquired: bool,
}

/// Where a received file goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Place {
    /// Among the stored instances.
    Stored,
    /// Among them, instead of the file that is no longer what arrived, with the same data as that had.
    Instead(Placement),
    /// Aside, under this name and for this reason.
    Aside(String, AsideReason),
}

/// What became of it; its temporary file is gone unless it lost a race.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Committed {
    Done,
    /// Another file under the same UID came first, or is still being removed.
    LostRace,
}

type Reply = Result<Committed, ArchiveError>;
type Job = (Received, SyncSender<Reply>);

/// Takes received files from any thread.
#[derive(Debug)]
pub(super) struct Committer {
    jobs: Option<Sender<Job>>,
    thread: Option<JoinHandle<()>>,
}

impl Committer {
    pub(super) fn start(layout: Layout, connection: Connection) -> Result<Self, ArchiveError> {
        let (jobs, waiting) = std::sync::mpsc::channel();
        let worker = Worker { layout, connection };
        let path = worker.layout.root.clone();
        let thread = thread::Builder::new().name("archive-commit".to_owned());
        let thread = thread.spawn(move || worker.run(&waiting));
        Ok(Committer {
            jobs: Some(jobs),
            thread: Some(thread.map_err(ArchiveError::io("start a thread for", &path))?),
        })
    }

    /// Commits a file, and returns when that is done.
    pub(super) fn commit(&self, received: Received) -> Reply {
        let (reply, answer) = sync_channel(1);
        let jobs = self.jobs.as_ref().ok_or(ArchiveError::Closing)?;
        jobs.send((received, reply)).map_err(|_| ArchiveError::Closing)?;
        answer.recv().map_err(|_| ArchiveError::Closing)?
    }
}

impl Drop for Committer {
    fn drop(&mut self) {
        self.jobs = None;
        if let Some(thread) = self.thread.take() {
            // A panic of that thread has been told to all who waited for it.
            let _ = thread.join();
        }
    }
}

struct Worker {
    layout: Layout,
    connection: Connection,
}

impl Worker {
    fn run(mut self, waiting: &Receiver<Job>) {
        while let Ok(first) = waiting.recv() {
            let mut batch = vec![first];
            batch.extend(waiting.try_iter().take(MAX_BATCH - 1));
            self.commit_batch(batch);
        }
    }

    /// One transaction from the look at the index to the rows: no other process stores under the same UID meanwhile.
    fn commit_batch(&mut self, batch: Vec<Job>) {
        // What can't be removed keeps only those who want its place.
        let unremoved = removal::finish(&self.layout, &mut self.connection)
            .err()
            .map(Arc::new);
        // Why an object was kept aside its file does not say: the row must outlive a loss of power.
        let is_durable = batch.iter().any(|(received, _)| received.place != Place::Stored);
        if is_durable && let Err(error) = set_durable(&self.connection, true) {
            return refuse(batch.iter(), error.into());
        }
        self.commit_together(batch, unremoved);
        if is_durable {
            // Left durable, commits are slower and nothing is lost.
            let _ = set_durable(&self.connection, false);
        }
    }

    fn commit_together(&mut self, batch: Vec<Job>, unremoved: Option<Arc<ArchiveError>>) {
        let begun = self
            .connection
            .transaction_with_behavior(TransactionBehavior::Immediate);
        let transaction = match begun {
            Ok(transaction) => transaction,
            Err(error) => return refuse(batch.iter(), error.into()),
        };
        let mut placed = Vec::with_capacity(batch.len());
        let mut uids = HashSet::new();
        for (received, reply) in batch {
            match put_in_place(&self.layout, &transaction, &received, &mut uids, &unremoved) {
                Ok(Committed::Done) => placed.push((received, reply)),
                other => answer(&reply, other),
            }
        }
        match make_last(&self.layout, transaction, &placed) {
            Ok(()) => placed
                .iter()
                .for_each(|(_, reply)| answer(reply, Ok(Committed::Done))),
            Err(error) => take_back(&self.layout, &placed, error),
        }
    }
}

impl Received {
    fn folder(&self, layout: &Layout) -> PathBuf {
        match self.place {
            Place::Stored | Place::Instead(_) => layout.folder(self.folder.number),
            Place::Aside(..) => layout.aside(),
        }
    }

    /// Whether the file that it replaces has the name that this one gets.
    fn replaces_in_folder(&self) -> bool {
        matches!(&self.place, Place::Instead(old) if old.folder == self.folder.number)
    }

    fn target(&self, layout: &Layout) -> PathBuf {
        match &self.place {
            Place::Stored | Place::Instead(_) => {
                layout.file(self.folder.number, self.description.sop_instance_uid.as_str())
            }
            Place::Aside(name, _) => layout.aside().join(name),
        }
    }
}

fn put_in_place(
    layout: &Layout,
    transaction: &Connection,
    received: &Received,
    uids: &mut HashSet<String>,
    unremoved: &Option<Arc<ArchiveError>>,
) -> Reply {
    let uid = received.description.sop_instance_uid.as_str();
    let stored = placement(transaction, uid)?;
    let is_stored = stored.is_some();
    match &received.place {
        // What was there has just been removed.
        Place::Aside(_, AsideReason::Differs) if !is_stored => return Ok(Committed::LostRace),
        Place::Stored if is_stored || !uids.insert(uid.to_owned()) => return Ok(Committed::LostRace),
        Place::Instead(old) if stored.as_ref() != Some(old) || !uids.insert(uid.to_owned()) => {
            return Ok(Committed::LostRace);
        }
        Place::Stored | Place::Instead(_)
            if removal::is_listed(transaction, received.folder.number, uid)? =>
        {
            return match unremoved {
                Some(error) => Err(ArchiveError::NotCommitted(Arc::clone(error))),
                None => Ok(Committed::LostRace),
            };
        }
        _ => {}
    }
    let target = received.target(layout);
    let flags = match received.replaces_in_folder() {
        true => RenameFlags::empty(),
        false => RenameFlags::NOREPLACE,
    };
    match renameat_with(CWD, &received.temporary, CWD, &target, flags) {
        // Under the same name aside there are the same data.
        Err(rustix::io::Errno::EXIST) if matches!(received.place, Place::Aside(..)) => {
            remove_file(&received.temporary)?;
        }
        result => result.map_err(|error| ArchiveError::io("rename to", &target)(error.into()))?,
    }
    Ok(Committed::Done)
}

fn make_last(layout: &Layout, transaction: Transaction<'_>, placed: &[Job]) -> Result<(), ArchiveError> {
    let folders: BTreeSet<PathBuf> = placed
        .iter()
        .map(|(received, _)| received.folder(layout))
        .collect();
    folders.iter().try_for_each(|folder| sync_folder(folder))?;
    for (received, _) in placed {
        let Received {
            description,
            placement,
            place,
            source,
            is_acquired,
            ..
        } = received;
        match place {
            Place::Stored => {
                let inserted = insert(&transaction, description, placement)?;
                if *is_acquired {
                    arrivals::list(&transaction, inserted, false)?;
                }
            }
            Place::Instead(old) => {
                replace_file(
                    &transaction,
                    description.sop_instance_uid.as_str(),
                    old,
                    placement,
                )?;
            }
            Place::Aside(name, reason) => {
                let now = Timestamp::now().as_millisecond();
                aside::list(
                    &transaction,
                    name,
                    (description, placement),
                    reason,
                    (source.as_ref(), now),
                )?;
            }
        }
    }
    Ok(transaction.commit()?)
}

/// Undoes the renames, as far as that goes: recovery does the rest.
fn take_back(layout: &Layout, placed: &[Job], error: ArchiveError) {
    for (received, _) in placed
        .iter()
        .filter(|(received, _)| !matches!(received.place, Place::Aside(..)) && !received.replaces_in_folder())
    {
        let _ = remove_file(&received.target(layout));
    }
    refuse(placed.iter(), error);
}

fn refuse<'a>(jobs: impl Iterator<Item = &'a Job>, error: ArchiveError) {
    let error = Arc::new(error);
    jobs.for_each(|(_, reply)| answer(reply, Err(ArchiveError::NotCommitted(Arc::clone(&error)))));
}

fn answer(reply: &SyncSender<Reply>, result: Reply) {
    // Who asked may have gone away; then nobody needs to know.
    let _ = reply.send(result);
}

//! Objects of a C-GET into the embedded archive.
//!
//! Invariants: of an object only a few fragments are in memory, and so many objects are on their way to the disk at
//! most. The next object comes while those before it are synced: our answer to the source says that we have the whole
//! object, not yet that it is durable. Nobody relies on it: the source keeps its copy, and what counts in the end is
//! what the archive lists.

use std::collections::BTreeSet;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::line::Trouble;
use crate::archive::{Announced, Archive, ArchiveError, Expected, Outcome};
use crate::dimse::{Error, GotObject, Status};
use crate::model::{AeTitle, AsideReason, Uid, in_full};

/// How many fragments of an object wait to be written.
const WAITING_FRAGMENTS: usize = 8;
/// How many objects are being written or synced.
const OBJECTS_AT_ONCE: usize = 16;

/// What takes the objects of a source.
#[derive(Debug)]
pub(super) struct Storing {
    archive: Archive,
    source: AeTitle,
    expected: Expected,
    /// The instances that are under way.
    under_way: BTreeSet<Uid>,
    running: JoinSet<(Uid, Result<Option<Outcome>, ArchiveError>)>,
    /// What is stored.
    pub(super) got: BTreeSet<Uid>,
    pub(super) kept_aside: Vec<Uid>,
    /// Why an object was not stored.
    pub(super) detail: Option<String>,
}

enum Fragment {
    Bytes(Vec<u8>),
    End,
}

impl Storing {
    /// Of objects of other studies or patients than `expected` none is taken.
    pub(super) fn new(archive: Archive, source: AeTitle, expected: Expected) -> Self {
        Storing {
            archive,
            source,
            expected,
            under_way: BTreeSet::new(),
            running: JoinSet::new(),
            got: BTreeSet::new(),
            kept_aside: Vec::new(),
            detail: None,
        }
    }

    /// Takes one object and answers it; how many bytes it had.
    pub(super) async fn take(
        &mut self,
        mut object: GotObject<'_>,
        within: Duration,
    ) -> Result<Result<u64, Error>, Trouble> {
        // The first of several objects under one UID is the one to be stored: the next must not overtake it.
        let is_under_way = |this: &Self| this.under_way.contains(&object.announced.sop_instance_uid);
        while self.running.len() >= OBJECTS_AT_ONCE || is_under_way(self) {
            self.finish_one().await?;
        }
        let (sender, fragments) = mpsc::channel(WAITING_FRAGMENTS);
        let (archive, source, expected) = (self.archive.clone(), self.source.clone(), self.expected.clone());
        let context = object.announced.context.clone();
        let uid = object.announced.sop_instance_uid.clone();
        let announced = Announced {
            sop_class_uid: context.sop_class_uid,
            sop_instance_uid: uid.clone(),
            transfer_syntax_uid: context.transfer_syntax_uid,
            source: Some(source),
        };
        self.under_way.insert(uid.clone());
        self.running
            .spawn_blocking(move || (uid, write(&archive, announced, expected, fragments)));
        let mut length = 0;
        let status = loop {
            let fragment = match object.next(within).await {
                Ok(Some(bytes)) => {
                    length += bytes.len() as u64;
                    Fragment::Bytes(bytes)
                }
                Ok(None) => Fragment::End,
                // The writer sees the channel end without an end of the object, and leaves nothing behind.
                Err(error) => return Ok(Err(error)),
            };
            let is_end = matches!(fragment, Fragment::End);
            if sender.send(fragment).await.is_err() {
                // The writer says why when it is joined.
                break Status::PROCESSING_FAILURE;
            }
            if is_end {
                break Status::SUCCESS;
            }
        };
        Ok(object.answer(status, within).await.map(|()| length))
    }

    /// Waits until all objects are on the disk.
    pub(super) async fn finish(&mut self) -> Result<(), Trouble> {
        while !self.running.is_empty() {
            self.finish_one().await?;
        }
        Ok(())
    }

    async fn finish_one(&mut self) -> Result<(), Trouble> {
        let Some(joined) = self.running.join_next().await else {
            return Ok(());
        };
        let (uid, stored) = joined.map_err(|_| Trouble::Archive(ArchiveError::Closing))?;
        self.under_way.remove(&uid);
        match stored {
            Ok(Some(Outcome::KeptAside(AsideReason::Differs))) => self.kept_aside.push(uid),
            Ok(Some(Outcome::KeptAside(reason))) => {
                self.detail = Some(format!("an object was kept aside: {reason}"));
            }
            Ok(Some(Outcome::Stored | Outcome::AlreadyStored)) => {
                self.got.insert(uid);
            }
            Ok(None) => {}
            // The object's own fault.
            Err(
                error @ (ArchiveError::Unreadable(_)
                | ArchiveError::NoPlace(_)
                | ArchiveError::Contradiction(_)),
            ) => self.detail = Some(format!("an object was refused: {}", in_full(&error))),
            Err(error) => return Err(Trouble::Archive(error)),
        }
        Ok(())
    }
}

/// `None` where the object did not come to its end.
fn write(
    archive: &Archive,
    announced: Announced,
    expected: Expected,
    mut fragments: mpsc::Receiver<Fragment>,
) -> Result<Option<Outcome>, ArchiveError> {
    let mut incoming = archive.receive(announced)?.only_of(expected);
    while let Some(fragment) = fragments.blocking_recv() {
        match fragment {
            Fragment::Bytes(bytes) => incoming.write(&bytes)?,
            Fragment::End => return incoming.finish().map(Some),
        }
    }
    Ok(None)
}

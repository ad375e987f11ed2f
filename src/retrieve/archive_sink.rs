//! Objects into the embedded archive.
//!
//! Invariants: of an object only a few fragments are in memory, and so many objects are on their way to the disk at
//! most. The next object comes while those before it are synced: our answer to the source says that we have the whole
//! object and that it is what was listed, not yet that it is durable. Nobody relies on it: the source keeps its copy, and
//! what counts in the end is what the archive lists.

use std::collections::BTreeSet;

use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::object::{CheckedObject, ObjectHeader, ObjectStream, SourceBroke};
use crate::archive::{Announced, Archive, ArchiveError, Outcome};
use crate::dimse::Status;
use crate::model::{AeTitle, AsideReason, Uid, in_full};

/// How many fragments of an object wait to be written.
const WAITING_FRAGMENTS: usize = 8;
/// How many objects are being written or synced.
const OBJECTS_AT_ONCE: usize = 16;

/// The embedded archive as a sink.
#[derive(Debug)]
pub(crate) struct ArchiveSink {
    archive: Archive,
    /// The AE title of the present source.
    pub(super) source: Option<AeTitle>,
    /// The instances that are being written.
    under_way: BTreeSet<Uid>,
    running: JoinSet<(Uid, Result<Option<Outcome>, ArchiveError>)>,
    pub(super) kept_aside: Vec<Uid>,
    /// Why an object was not stored.
    pub(super) detail: Option<String>,
    failed: Option<ArchiveError>,
}

enum Fragment {
    Bytes(Vec<u8>),
    End,
}

impl ArchiveSink {
    pub(crate) fn new(archive: Archive) -> Self {
        ArchiveSink {
            archive,
            source: None,
            under_way: BTreeSet::new(),
            running: JoinSet::new(),
            kept_aside: Vec::new(),
            detail: None,
            failed: None,
        }
    }

    /// Whether the archive has failed: then nothing more is stored.
    pub(super) fn has_failed(&self) -> bool {
        self.failed.is_some()
    }

    /// Takes one object, to be kept aside where it was `refused`: the status to answer with, and how many bytes it had.
    pub(super) async fn store<S: ObjectStream>(
        &mut self,
        header: &ObjectHeader,
        mut object: CheckedObject<'_, S>,
        refused: Option<AsideReason>,
    ) -> Result<(Status, u64), SourceBroke> {
        // The first of several objects under one UID is the one to be stored: the next must not overtake it.
        while self.running.len() >= OBJECTS_AT_ONCE || self.under_way.contains(&header.instance) {
            self.finish_one().await;
        }
        let (sender, fragments) = mpsc::channel(WAITING_FRAGMENTS);
        let (archive, uid) = (self.archive.clone(), header.instance.clone());
        let announced = Announced {
            sop_class_uid: header.kind.0.clone(),
            sop_instance_uid: uid.clone(),
            transfer_syntax_uid: header.kind.1.clone(),
            source: self.source.clone(),
        };
        self.under_way.insert(uid.clone());
        self.running
            .spawn_blocking(move || (uid, write(&archive, announced, refused, fragments)));
        let mut length = 0;
        loop {
            // Where the source breaks, the writer sees the channel end without an end of the object, and leaves nothing.
            let fragment = match object.next().await? {
                Some(bytes) => {
                    length += bytes.len() as u64;
                    Fragment::Bytes(bytes)
                }
                None => Fragment::End,
            };
            let is_end = matches!(fragment, Fragment::End);
            if sender.send(fragment).await.is_err() {
                // The writer says why when it is joined.
                return Ok((Status::PROCESSING_FAILURE, length));
            }
            if is_end {
                return Ok((Status::SUCCESS, length));
            }
        }
    }

    /// Waits until all objects are on the disk; the error is the archive's own.
    pub(super) async fn finish(&mut self) -> Result<(), ArchiveError> {
        while !self.running.is_empty() {
            self.finish_one().await;
        }
        self.failed.take().map_or(Ok(()), Err)
    }

    async fn finish_one(&mut self) {
        let Some(joined) = self.running.join_next().await else {
            return;
        };
        if let Ok((uid, _)) = &joined {
            self.under_way.remove(uid);
        }
        match joined {
            Ok((uid, Ok(Some(Outcome::KeptAside(AsideReason::Differs))))) => self.kept_aside.push(uid),
            Ok((_, Ok(_))) => {}
            // The object's own fault.
            Ok((
                _,
                Err(
                    error @ (ArchiveError::Unreadable(_)
                    | ArchiveError::NoPlace(_)
                    | ArchiveError::Contradiction(_)),
                ),
            )) => self.detail = Some(format!("an object was refused: {}", in_full(&error))),
            Ok((_, Err(error))) => self.failed = Some(error),
            Err(_) => self.failed = Some(ArchiveError::Closing),
        }
    }
}

/// `None` where the object did not come to its end.
fn write(
    archive: &Archive,
    announced: Announced,
    refused: Option<AsideReason>,
    mut fragments: mpsc::Receiver<Fragment>,
) -> Result<Option<Outcome>, ArchiveError> {
    let mut incoming = archive.receive(announced)?;
    if let Some(reason) = refused {
        incoming = incoming.checked_by(move |_| Err(reason.clone()));
    }
    while let Some(fragment) = fragments.blocking_recv() {
        match fragment {
            Fragment::Bytes(bytes) => incoming.write(&bytes)?,
            Fragment::End => return incoming.finish().map(Some),
        }
    }
    Ok(None)
}

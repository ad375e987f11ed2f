//! Objects of the embedded archive, read by a blocking thread a little ahead of where they go.
//!
//! Invariant: no more than [`WAITING_PIECES`] pieces of files wait in memory.

use tokio::sync::mpsc;

use super::object::{ObjectHeader, ObjectStream, SourceBroke};
use super::peer::{Attempt, Source};
use super::transfer::Transfer;
use crate::archive::{Archive, ArchiveError, SoundReader, StoredInstance};
use crate::model::in_full;

/// How many pieces of files wait to be sent.
const WAITING_PIECES: usize = 8;
/// The size of a piece, in bytes.
const PIECE: u64 = 128 * 1024;

/// What is read, in order.
enum FilePiece {
    Begin(ObjectHeader),
    Bytes(Vec<u8>),
    End,
    Broke,
}

/// Transfers what the embedded archive has of what is wanted of the study.
pub(super) async fn transfer(source: &Source<'_>, transfer: &mut Transfer<'_, '_>) -> Attempt {
    let archive = source.resources.archive.clone();
    let configuration = source.resources.configuration.clone();
    let study = source.study.clone();
    let listed = tokio::task::spawn_blocking(move || {
        let archive = archive.open(&configuration.settings)?;
        let instances = archive.instances(study.as_str(), None)?;
        Ok::<_, ArchiveError>((archive, instances))
    });
    let (archive, instances) = match listed.await {
        Ok(Ok(listed)) => listed,
        Ok(Err(error)) => return Attempt::failed(format!("the embedded archive: {}", in_full(&error))),
        Err(error) => return Attempt::failed(format!("the embedded archive: {error}")),
    };
    let wanted: Vec<(ObjectHeader, StoredInstance)> = instances
        .into_iter()
        .filter_map(|instance| Some((header(&instance)?, instance)))
        .filter(|(header, _)| transfer.wants(&header.instance))
        .collect();
    transfer.ahead = wanted.iter().map(|(header, _)| header.kind.clone()).collect();
    transfer.ahead.sort_unstable();
    transfer.ahead.dedup();
    let (sender, mut pieces) = mpsc::channel(WAITING_PIECES);
    tokio::task::spawn_blocking(move || read_all(&archive, &wanted, &sender));
    let mut attempt = Attempt::default();
    loop {
        let piece = tokio::select! {
            biased;
            () = transfer.interrupted() => return attempt,
            piece = pieces.recv() => piece,
        };
        match piece {
            None => return attempt,
            Some(FilePiece::Begin(object)) => {
                let mut file = FilePieces(&mut pieces);
                // A file that can't be read stays wanted.
                if transfer.receive(&object, &mut file, &source.gate).await.is_err() {
                    attempt.detail = Some("a file can't be read: see the log".to_owned());
                }
                if transfer.is_over() {
                    return attempt;
                }
            }
            // Of an object that was not taken to its end.
            Some(_) => {}
        }
    }
}

fn header(instance: &StoredInstance) -> Option<ObjectHeader> {
    Some(ObjectHeader {
        kind: (
            instance.sop_class_uid.parse().ok()?,
            instance.transfer_syntax_uid.parse().ok()?,
        ),
        instance: instance.sop_instance_uid.parse().ok()?,
    })
}

/// Reads the files one after the other, until nobody takes them.
fn read_all(
    archive: &Archive,
    instances: &[(ObjectHeader, StoredInstance)],
    sender: &mpsc::Sender<FilePiece>,
) {
    for (header, instance) in instances {
        if sender.blocking_send(FilePiece::Begin(header.clone())).is_err() {
            return;
        }
        let end = match read(instance, sender) {
            Ok(()) => FilePiece::End,
            Err(error) => {
                tracing::warn!("the embedded archive: {}", in_full(&error));
                note_damage(archive, instance, &error);
                FilePiece::Broke
            }
        };
        if sender.blocking_send(end).is_err() {
            return;
        }
    }
}

/// Marks an object that is not what was stored.
fn note_damage(archive: &Archive, instance: &StoredInstance, error: &ArchiveError) {
    if let ArchiveError::Damaged(_, damage) = error
        && let Err(error) = archive.note_damage(instance, *damage)
    {
        tracing::warn!("the embedded archive: {}", in_full(&error));
    }
}

fn read(instance: &StoredInstance, sender: &mpsc::Sender<FilePiece>) -> Result<(), ArchiveError> {
    let mut object = SoundReader::open(instance)?;
    while let Some(bytes) = object.read(PIECE)? {
        if sender.blocking_send(FilePiece::Bytes(bytes)).is_err() {
            break;
        }
    }
    Ok(())
}

struct FilePieces<'p>(&'p mut mpsc::Receiver<FilePiece>);

impl ObjectStream for FilePieces<'_> {
    async fn next(&mut self) -> Result<Option<Vec<u8>>, SourceBroke> {
        match self.0.recv().await {
            Some(FilePiece::Bytes(bytes)) => Ok(Some(bytes)),
            Some(FilePiece::End) => Ok(None),
            _ => Err(SourceBroke),
        }
    }
}

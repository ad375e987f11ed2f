//! Objects of the embedded archive, read by a blocking thread a little ahead of where they go.
//!
//! Invariants: no more than [`WAITING_PIECES`] pieces of files wait in memory. An object goes as it is stored where that is
//! accepted; else it is converted while it is read, where its pixel data are not compressed.

use std::collections::BTreeSet;
use std::io::{self, BufWriter, Cursor, Read, Write};

use tokio::sync::mpsc;

use super::ObjectKind;
use super::kinds::{proposed_kinds, sent_kind};
use super::object::{ObjectHeader, ObjectStream, SourceBroke};
use super::peer::{Attempt, Source};
use super::transfer::{Sink, Transfer};
use crate::archive::{Archive, ArchiveError, SoundReader, StoredInstance};
use crate::dimse::{MAX_CONTEXTS, TransferSyntax, convert};
use crate::model::{Uid, in_full};

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
    let mut attempt = Attempt::default();
    for of_kinds in by_kinds(wanted) {
        transfer_kinds(source, &archive, of_kinds, transfer, &mut attempt).await;
        if transfer.is_over() {
            break;
        }
    }
    attempt
}

/// Transfers objects whose presentation contexts fit one association.
async fn transfer_kinds(
    source: &Source<'_>,
    archive: &Archive,
    wanted: Vec<(ObjectHeader, StoredInstance)>,
    transfer: &mut Transfer<'_, '_>,
    attempt: &mut Attempt,
) {
    let kinds: BTreeSet<&ObjectKind> = wanted.iter().map(|(header, _)| &header.kind).collect();
    transfer.ahead = proposed_kinds(&kinds);
    let accepted = transfer.accepted_kinds(transfer.ahead.clone()).await;
    if transfer.is_over() {
        if let Sink::Station(station) = &transfer.sink
            && station.is_lost()
        {
            *attempt = Attempt::failed(station.refusal());
        }
        return;
    }
    let mut to_send = Vec::new();
    for (mut header, instance) in wanted {
        match sent_kind(&header.kind, &accepted) {
            Ok(kind) => {
                header.kind = kind;
                to_send.push((header, instance));
            }
            // Another source may have it in a transfer syntax that is accepted.
            Err(reason) => {
                attempt.detail = Some(reason.to_owned());
                transfer.not_accepted.insert(header.instance, reason);
            }
        }
    }
    let (sender, mut pieces) = mpsc::channel(WAITING_PIECES);
    let archive = archive.clone();
    tokio::task::spawn_blocking(move || read_all(&archive, &to_send, &sender));
    loop {
        let piece = tokio::select! {
            biased;
            () = transfer.interrupted() => return,
            piece = pieces.recv() => piece,
        };
        match piece {
            None => return,
            Some(FilePiece::Begin(object)) => {
                let mut file = FilePieces(&mut pieces);
                // A file that can't be read stays wanted.
                if transfer.receive(&object, &mut file, &source.gate).await.is_err() {
                    attempt.detail = Some("a file can't be read: see the log".to_owned());
                }
                if transfer.is_over() {
                    return;
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

/// The same objects in lists whose kinds fit one association, each with those it may be converted to.
fn by_kinds(mut wanted: Vec<(ObjectHeader, StoredInstance)>) -> Vec<Vec<(ObjectHeader, StoredInstance)>> {
    let kinds: BTreeSet<ObjectKind> = wanted.iter().map(|(header, _)| header.kind.clone()).collect();
    let kinds: Vec<ObjectKind> = kinds.into_iter().collect();
    let mut lists = Vec::new();
    for kinds in kinds.chunks(MAX_CONTEXTS / (1 + TransferSyntax::ALL.len())) {
        let (of_kinds, others) = wanted
            .into_iter()
            .partition(|(header, _)| kinds.contains(&header.kind));
        lists.push(of_kinds);
        wanted = others;
    }
    lists
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
        let end = match read(instance, &header.kind.1, sender) {
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

fn read(
    instance: &StoredInstance,
    transfer_syntax: &Uid,
    sender: &mpsc::Sender<FilePiece>,
) -> Result<(), ArchiveError> {
    let mut object = SoundReader::open(instance)?;
    let target = TransferSyntax::from_uid(transfer_syntax.as_str());
    if let Some(target) = target.filter(|target| target.uid() != instance.transfer_syntax_uid) {
        return read_converted(instance, object, target, sender);
    }
    while let Some(bytes) = object.read(PIECE)? {
        if sender.blocking_send(FilePiece::Bytes(bytes)).is_err() {
            break;
        }
    }
    Ok(())
}

fn read_converted(
    instance: &StoredInstance,
    object: SoundReader,
    target: TransferSyntax,
    sender: &mpsc::Sender<FilePiece>,
) -> Result<(), ArchiveError> {
    let mut source = SoundBytes {
        object,
        read: Cursor::default(),
        failure: None,
    };
    let mut pieces = BufWriter::with_capacity(PIECE as usize, PieceWriter(sender));
    let converted = convert(&mut source, &instance.transfer_syntax_uid, target, &mut pieces);
    match (converted.and_then(|()| pieces.flush()), source.failure) {
        (_, Some(failure)) => Err(failure),
        // Nobody takes it any more.
        (Err(_), None) if sender.is_closed() => Ok(()),
        (result, None) => result.map_err(|source| ArchiveError::Io {
            operation: "convert",
            path: instance.path.clone(),
            source,
        }),
    }
}

/// An object as a stream of bytes, which keeps the reason why it can't be read.
struct SoundBytes {
    object: SoundReader,
    read: Cursor<Vec<u8>>,
    failure: Option<ArchiveError>,
}

impl Read for SoundBytes {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.read.position() >= self.read.get_ref().len() as u64 {
            match self.object.read(PIECE) {
                Ok(bytes) => self.read = Cursor::new(bytes.unwrap_or_default()),
                Err(failure) => {
                    self.failure = Some(failure);
                    return Err(io::Error::other("the object can't be read"));
                }
            }
        }
        self.read.read(buffer)
    }
}

/// Passes on what is written, piece by piece.
struct PieceWriter<'s>(&'s mpsc::Sender<FilePiece>);

impl Write for PieceWriter<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let sent = self.0.blocking_send(FilePiece::Bytes(bytes.to_vec()));
        sent.map_err(|_| io::ErrorKind::BrokenPipe)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
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

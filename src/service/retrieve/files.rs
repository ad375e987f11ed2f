//! Objects of the embedded archive, read by a blocking thread a little ahead of where they go.
//!
//! Invariant: no more than [`WAITING_PIECES`] pieces of files wait in memory.

use std::collections::HashMap;
use std::io::Read;

use tokio::sync::mpsc;

use super::Source;
use super::delivery::{Announced, Delivery, Pieces, SourceBroke};
use crate::archive::{ArchiveError, StoredInstance};
use crate::model::{Station, Uid, in_full};
use crate::service::Service;

/// How many pieces of files wait to be sent.
const WAITING_PIECES: usize = 8;
/// The size of a piece, in bytes.
const PIECE: usize = 128 * 1024;

/// What is read, in order.
enum FilePiece {
    Begin(Announced),
    Bytes(Vec<u8>),
    End,
    Broke,
}

/// In which transfer syntaxes objects of the embedded archive are to be had, by SOP class; nothing where there is none.
pub(in crate::service) async fn held_syntaxes(service: &Service) -> HashMap<Uid, Vec<Uid>> {
    let snapshot = service.in_force.pin();
    let mut stations = snapshot.configuration().stations.iter();
    if !stations.any(Station::is_embedded) {
        return HashMap::new();
    }
    let archive = service.archive.clone();
    let listed = tokio::task::spawn_blocking(move || archive.open(snapshot.settings())?.usual_syntaxes());
    let mut held: HashMap<Uid, Vec<Uid>> = HashMap::new();
    // Without it the caller's first choice is taken.
    for (class, syntax) in listed.await.ok().and_then(Result::ok).unwrap_or_default() {
        if let (Ok(class), Ok(syntax)) = (class.parse(), syntax.parse()) {
            held.entry(class).or_default().push(syntax);
        }
    }
    held
}

/// Delivers what the embedded archive has of the study.
pub(super) async fn deliver(source: &Source<'_>, delivery: &mut Delivery<'_, '_>) {
    source.service.records.in_use(&source.study.uid);
    let archive = source.service.archive.clone();
    let settings = source.snapshot.settings().clone();
    let study = source.study.uid.clone();
    let listed =
        tokio::task::spawn_blocking(move || archive.open(&settings)?.instances(study.as_str(), None));
    let instances = match listed.await {
        Ok(Ok(instances)) => instances,
        Ok(Err(error)) => return tracing::warn!("the embedded archive: {}", in_full(&error)),
        Err(error) => return tracing::error!("the embedded archive: {error}"),
    };
    let wanted: Vec<(Announced, StoredInstance)> = instances
        .into_iter()
        .filter_map(|instance| Some((announced(&instance)?, instance)))
        .filter(|(announced, _)| delivery.wants(&announced.instance))
        .collect();
    delivery.ahead = wanted
        .iter()
        .map(|(announced, _)| announced.kind.clone())
        .collect();
    delivery.ahead.sort_unstable();
    delivery.ahead.dedup();
    let (sender, mut pieces) = mpsc::channel(WAITING_PIECES);
    tokio::task::spawn_blocking(move || read_all(&wanted, &sender));
    loop {
        let piece = tokio::select! {
            biased;
            () = delivery.responder.interrupted() => return,
            piece = pieces.recv() => piece,
        };
        match piece {
            None => return,
            Some(FilePiece::Begin(object)) => {
                // A file that can't be read stays wanted.
                let _ = delivery.deliver(&object, &mut FilePieces(&mut pieces)).await;
                if delivery.is_over() {
                    return;
                }
            }
            // Of an object that was not taken to its end.
            Some(_) => {}
        }
    }
}

fn announced(instance: &StoredInstance) -> Option<Announced> {
    Some(Announced {
        kind: (
            instance.sop_class_uid.parse().ok()?,
            instance.transfer_syntax_uid.parse().ok()?,
        ),
        instance: instance.sop_instance_uid.parse().ok()?,
    })
}

/// Reads the files one after the other, until nobody takes them.
fn read_all(instances: &[(Announced, StoredInstance)], sender: &mpsc::Sender<FilePiece>) {
    for (announced, instance) in instances {
        if sender.blocking_send(FilePiece::Begin(announced.clone())).is_err() {
            return;
        }
        let end = match read(instance, sender) {
            Ok(()) => FilePiece::End,
            Err(error) => {
                tracing::warn!("the embedded archive: {}", in_full(&error));
                FilePiece::Broke
            }
        };
        if sender.blocking_send(end).is_err() {
            return;
        }
    }
}

fn read(instance: &StoredInstance, sender: &mpsc::Sender<FilePiece>) -> Result<(), ArchiveError> {
    let mut file = instance.open()?;
    loop {
        let mut bytes = Vec::with_capacity(PIECE);
        let read = file.by_ref().take(PIECE as u64).read_to_end(&mut bytes);
        read.map_err(|source| ArchiveError::Io {
            operation: "read",
            path: instance.path.clone(),
            source,
        })?;
        if bytes.is_empty() || sender.blocking_send(FilePiece::Bytes(bytes)).is_err() {
            return Ok(());
        }
    }
}

struct FilePieces<'p>(&'p mut mpsc::Receiver<FilePiece>);

impl Pieces for FilePieces<'_> {
    async fn next(&mut self) -> Result<Option<Vec<u8>>, SourceBroke> {
        match self.0.recv().await {
            Some(FilePiece::Bytes(bytes)) => Ok(Some(bytes)),
            Some(FilePiece::End) => Ok(None),
            _ => Err(SourceBroke),
        }
    }
}

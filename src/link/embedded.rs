//! The embedded archive among the stations of a linked query: asked by the same keys as a peer, without any association.
//!
//! Invariant: the archive is read on blocking threads alone; at most [`WAITING_ROWS`] rows of a find wait in memory. A
//! find that stopped before its end is never taken for one that ended well.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use dicom_core::{Tag, VR};
use dicom_dictionary_std::tags;
use tokio::sync::mpsc;

use crate::archive::{self, Archive, ArchiveError, Attributes, QueryError, Row, Value};
use crate::dimse::{DataSet, DataSetBuilder, EncodeError, TransferSyntax};
use crate::model::{AeTitle, Settings, Station};

use super::conversation::{Interrupt, Unaskable};
use super::identifier::{Keys, describe};
use super::stop::StopSignal;

/// How many rows of a find wait to be taken.
const WAITING_ROWS: usize = 64;

/// The archive that impaxlink itself keeps; opened when it is first needed, then kept open.
#[derive(Debug, Clone)]
pub struct EmbeddedArchive {
    store: PathBuf,
    open: Arc<Mutex<Option<Archive>>>,
}

impl EmbeddedArchive {
    /// The archive of the cluster whose store is at `store`.
    pub fn of_store(store: &Path) -> Self {
        EmbeddedArchive {
            store: store.to_owned(),
            open: Arc::default(),
        }
    }

    /// The store of its cluster.
    pub fn store(&self) -> &Path {
        &self.store
    }

    /// Opens it where the settings say, unless it is open there already. Blocks.
    pub fn open(&self, settings: &Settings) -> Result<Archive, ArchiveError> {
        let path = settings.archive_path(&self.store);
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(archive) = open.as_ref().filter(|archive| archive.path() == path) {
            return Ok(archive.clone());
        }
        let archive = Archive::open(&path)?;
        *open = Some(archive.clone());
        Ok(archive)
    }
}

/// How the embedded archive is asked.
#[derive(Debug, Clone)]
pub(super) struct EmbeddedCall {
    archive: EmbeddedArchive,
    settings: Settings,
    /// The title under which its studies can be retrieved.
    ae_title: AeTitle,
}

impl EmbeddedCall {
    pub(super) fn new(station: &Station, settings: &Settings, archive: &EmbeddedArchive) -> Self {
        EmbeddedCall {
            archive: archive.clone(),
            settings: settings.clone(),
            ae_title: station.ae_title.clone(),
        }
    }

    /// Begins a find.
    pub(super) fn find(&self, keys: &Keys, stop: StopSignal) -> Result<EmbeddedMatches, Interrupt> {
        let search = archive::Search::new(&query_of(keys)).map_err(unaskable)?;
        let (sender, messages) = mpsc::channel(WAITING_ROWS);
        let (call, keys) = (self.clone(), keys.clone());
        tokio::task::spawn_blocking(move || {
            let ended = call.give_all(&search, &keys, &sender);
            // Nobody is left to be told where the find was stopped.
            let _ = sender.blocking_send(Message::Ended(ended));
        });
        Ok(EmbeddedMatches {
            messages,
            stop,
            malformed: 0,
        })
    }

    fn give_all(
        &self,
        search: &archive::Search,
        keys: &Keys,
        sender: &mpsc::Sender<Message>,
    ) -> Result<(), ArchiveError> {
        let archive = self.archive.open(&self.settings)?;
        let is_wanted = || !sender.is_closed();
        let given = archive.find_while(search, is_wanted, |row| {
            let data_set = self.data_set(&row, keys);
            match sender.blocking_send(Message::Row(data_set)) {
                Ok(()) => ControlFlow::Continue(()),
                Err(_) => ControlFlow::Break(()),
            }
        });
        given.map(drop)
    }

    /// A row as a peer would answer it, in UTF-8.
    fn data_set(&self, row: &Row, keys: &Keys) -> Result<DataSet, EncodeError> {
        let mut answer = elements(&row.0).put(tags::SPECIFIC_CHARACTER_SET, VR::CS, "ISO_IR 192");
        for key in keys.iter() {
            answer = match key.tag {
                tags::QUERY_RETRIEVE_LEVEL => answer.put(key.tag, VR::CS, key.value.as_str()),
                tags::RETRIEVE_AE_TITLE => answer.put(key.tag, VR::AE, self.ae_title.as_str()),
                tags::INSTANCE_AVAILABILITY => answer.put(key.tag, VR::CS, "ONLINE"),
                _ => answer,
            };
        }
        answer.encode(TransferSyntax::ExplicitVrLittleEndian)
    }
}

#[derive(Debug)]
enum Message {
    Row(Result<DataSet, EncodeError>),
    Ended(Result<(), ArchiveError>),
}

/// The rows of a find as they come.
#[derive(Debug)]
pub(super) struct EmbeddedMatches {
    messages: mpsc::Receiver<Message>,
    stop: StopSignal,
    malformed: u64,
}

impl EmbeddedMatches {
    /// How many rows could not be written as data sets.
    pub(super) fn malformed(&self) -> u64 {
        self.malformed
    }

    /// The next row; `None` at the good end.
    pub(super) async fn next(&mut self) -> Result<Option<DataSet>, Interrupt> {
        loop {
            let message = tokio::select! {
                biased;
                stop = self.stop.raised() => return Err(Interrupt::Stopped(stop)),
                message = self.messages.recv() => message,
            };
            match message {
                Some(Message::Row(Ok(data_set))) => return Ok(Some(data_set)),
                Some(Message::Row(Err(_))) => self.malformed += 1,
                Some(Message::Ended(Ok(()))) => return Ok(None),
                Some(Message::Ended(Err(error))) => return Err(Interrupt::Archive(error)),
                // The thread ended without a word.
                None => return Err(Interrupt::Archive(ArchiveError::Closing)),
            }
        }
    }
}

fn query_of(keys: &Keys) -> archive::Query {
    let level = keys.iter().find(|key| key.tag == tags::QUERY_RETRIEVE_LEVEL);
    let level = match level.map(|key| key.value.as_str()) {
        Some("PATIENT") => archive::Level::Patient,
        Some("SERIES") => archive::Level::Series,
        Some("IMAGE") => archive::Level::Image,
        _ => archive::Level::Study,
    };
    let keys = keys.iter().map(|key| match key.vr {
        VR::SQ => archive::Key::item(key.tag, Vec::new()),
        _ => archive::Key::text(key.tag, key.value.as_str()),
    });
    archive::Query {
        root: archive::Root::Study,
        level,
        keys: keys.collect(),
        combined_datetime: false,
    }
}

/// Without the value, which is not for the ledger.
fn unaskable(error: QueryError) -> Interrupt {
    let keyword = |tag: Tag| describe(tag).1;
    Interrupt::Unaskable(match error {
        QueryError::Unmatchable { tag, .. } => Unaskable::Unmatchable(keyword(tag)),
        QueryError::NoSuchLevel => Unaskable::Unmatchable(keyword(tags::QUERY_RETRIEVE_LEVEL)),
    })
}

fn elements(attributes: &Attributes) -> DataSetBuilder {
    attributes
        .iter()
        .fold(DataSetBuilder::new(), |elements, attribute| {
            match &attribute.value {
                Value::Items(items) => {
                    elements.put_items(attribute.tag, items.iter().map(self::elements).collect())
                }
                Value::Text(text) => elements.put(attribute.tag, attribute.vr, bytes(attribute.vr, text)),
            }
        })
}

/// The value field, in little endian, of text as the archive keeps it.
fn bytes(vr: VR, text: &str) -> Vec<u8> {
    fn numbers<N: std::str::FromStr, const SIZE: usize>(text: &str, bytes: fn(N) -> [u8; SIZE]) -> Vec<u8> {
        let numbers = text.split('\\').filter_map(|number| number.parse().ok());
        numbers.flat_map(bytes).collect()
    }
    match vr {
        VR::US => numbers(text, u16::to_le_bytes),
        VR::SS => numbers(text, i16::to_le_bytes),
        VR::UL => numbers(text, u32::to_le_bytes),
        VR::SL => numbers(text, i32::to_le_bytes),
        VR::FL => numbers(text, f32::to_le_bytes),
        VR::FD => numbers(text, f64::to_le_bytes),
        _ => text.as_bytes().to_vec(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_as_their_representation_wants() {
        assert_eq!(bytes(VR::US, "512\\1"), [0, 2, 1, 0]);
        assert_eq!(bytes(VR::SS, "-1"), [0xff, 0xff]);
        assert_eq!(bytes(VR::FD, "0.5").len(), 8);
        assert_eq!(bytes(VR::IS, "12"), b"12");
        assert!(bytes(VR::US, "").is_empty());
    }
}

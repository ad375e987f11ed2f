//! An object in a file: what it is, and whether its data are those of another.
//!
//! Invariant: memory is bounded; of large values that the index does not want, nothing is read but the length.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};
use std::path::Path;

use sha2::{Digest, Sha256};

use super::ArchiveError;
use super::description::Description;
use super::part10::{Meta, read_meta};
use super::scanner::{Scanner, Unreadable};

/// Values shorter than this are read over, not sought over.
const WORTH_SEEKING: u64 = 64 * 1024;

/// A DICOM file that is open.
#[derive(Debug)]
pub(super) struct ObjectFile {
    pub(super) meta: Meta,
    pub(super) bytes: u64,
    reader: BufReader<File>,
}

impl ObjectFile {
    /// Opens a file; `None` where it is no DICOM file.
    pub(super) fn open(path: &Path) -> Result<Option<Self>, ArchiveError> {
        let failed = ArchiveError::io;
        let file = File::open(path).map_err(failed("open", path))?;
        let bytes = file.metadata().map_err(failed("read", path))?.len();
        let mut reader = BufReader::with_capacity(64 * 1024, file);
        let Some(meta) = read_meta(&mut reader).map_err(failed("read", path))? else {
            return Ok(None);
        };
        Ok(Some(ObjectFile { meta, bytes, reader }))
    }

    /// Reads what the index wants to know.
    pub(super) fn describe(&mut self, path: &Path) -> Result<Description, ArchiveError> {
        let mut scanner = Scanner::new(&self.meta.transfer_syntax_uid);
        let scanned = self.scan(&mut scanner);
        scanned
            .map_err(ArchiveError::io("read", path))?
            .map_err(ArchiveError::Unreadable)?;
        let kept = scanner.finish().map_err(ArchiveError::Unreadable)?;
        Description::read(&kept, &self.meta.transfer_syntax_uid).map_err(ArchiveError::NoPlace)
    }

    fn scan(&mut self, scanner: &mut Scanner) -> io::Result<Result<(), Unreadable>> {
        let mut at = self.meta.data_set_offset;
        self.reader.seek(SeekFrom::Start(at))?;
        loop {
            let skippable = scanner.skippable();
            if skippable > WORTH_SEEKING {
                at += skippable;
                if at > self.bytes {
                    return Ok(Err(Unreadable::Truncated));
                }
                self.reader.seek_relative(skippable as i64)?;
                scanner.skip();
                continue;
            }
            let bytes = self.reader.fill_buf()?;
            if bytes.is_empty() {
                return Ok(Ok(()));
            }
            // In short pieces, so that a long value is noticed before much of it has been read.
            let piece = bytes.get(..4096).unwrap_or(bytes);
            let length = piece.len();
            if let Err(unreadable) = scanner.feed(piece) {
                return Ok(Err(unreadable));
            }
            self.reader.consume(length);
            at += length as u64;
        }
    }

    /// A reader of the whole file, from its beginning.
    pub(super) fn into_whole(mut self) -> io::Result<impl Read> {
        self.reader.seek(SeekFrom::Start(0))?;
        Ok(self.reader)
    }
}

/// The bytes of a data set, from its offset in a file to the end.
pub(super) fn data_set(path: &Path, offset: u64) -> Result<impl BufRead + use<>, ArchiveError> {
    let mut file = File::open(path).map_err(ArchiveError::io("open", path))?;
    file.seek(SeekFrom::Start(offset))
        .map_err(ArchiveError::io("read", path))?;
    Ok(BufReader::with_capacity(64 * 1024, file))
}

/// Whether two readers give the same bytes.
pub(super) fn are_equal(mut one: impl BufRead, mut other: impl BufRead) -> io::Result<bool> {
    loop {
        let (left, right) = (one.fill_buf()?, other.fill_buf()?);
        let length = left.len().min(right.len());
        if length == 0 {
            return Ok(left.len() == right.len());
        }
        if left.get(..length) != right.get(..length) {
            return Ok(false);
        }
        one.consume(length);
        other.consume(length);
    }
}

/// The SHA-256 of all that a reader gives.
pub(super) fn digest(mut reader: impl BufRead) -> io::Result<Vec<u8>> {
    let mut digest = Sha256::new();
    loop {
        let bytes = reader.fill_buf()?;
        if bytes.is_empty() {
            return Ok(digest.finalize().to_vec());
        }
        digest.update(bytes);
        let length = bytes.len();
        reader.consume(length);
    }
}

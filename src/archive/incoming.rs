//! An object while it is received: in a temporary file, checked as it streams in.
//!
//! Invariant: memory is bounded whatever the object's size. Until [`Incoming::finish`] has returned, nothing is stored;
//! an object that is dropped before leaves nothing behind.

use std::fmt;
use std::fs::File;
use std::io::{BufWriter, Read, Write};
use std::path::PathBuf;
use std::sync::Arc;

use dicom_core::Tag;
use dicom_dictionary_std::tags;

use sha2::{Digest, Sha256};

use super::committer::{Committed, Place, Received};
use super::description::Description;
use super::folders::Folder;
use super::index::{self, Placement};
use super::layout::{aside_name, create_file, remove_file};
use super::object::{ObjectFile, are_equal, data_set};
use super::scanner::Scanner;
use super::{Archive, ArchiveError, part10};
use crate::model::{AeTitle, AsideReason, ExpectedPatient, IssuerDomain, ObjectIdentity, PatientId, Uid};

const BUFFER: usize = 256 * 1024;

/// What a C-STORE-RQ says of the object that comes with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Announced {
    /// Affected SOP Class UID.
    pub sop_class_uid: Uid,
    /// Affected SOP Instance UID.
    pub sop_instance_uid: Uid,
    /// The transfer syntax of the presentation context.
    pub transfer_syntax_uid: Uid,
    /// Who sends it, to be noted in the file.
    pub source: Option<AeTitle>,
}

/// Whose an object must be that was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expected {
    /// The study.
    pub study_instance_uid: Uid,
    /// The patient, where that was made sure of; one whose issuer nobody names is known by the ID alone.
    pub patient_id: Option<PatientId>,
}

/// What became of an object that was received whole.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// It is stored, be it in the place of a damaged file of the same instance.
    Stored,
    /// The same data under the same UID were stored before.
    AlreadyStored,
    /// It is kept aside: other data are stored under its UID, or the check refused it.
    KeptAside(AsideReason),
}

/// An object that is being received.
#[derive(Debug)]
pub struct Incoming {
    archive: Archive,
    announced: Option<Announced>,
    check: Option<ObjectCheck>,
    source: Option<AeTitle>,
    is_acquired: bool,
    transfer_syntax_uid: String,
    data_set_offset: u64,
    bytes: u64,
    /// Of the data set.
    digest: Sha256,
    scanner: Scanner,
    file: BufWriter<File>,
    temporary: Temporary,
}

impl Incoming {
    /// Begins to receive an object over the network.
    pub(super) fn announced(
        archive: &Archive,
        announced: Announced,
        is_acquired: bool,
    ) -> Result<Self, ArchiveError> {
        let Announced {
            sop_class_uid,
            sop_instance_uid,
            transfer_syntax_uid,
            source,
        } = &announced;
        let opening = part10::opening(
            sop_class_uid,
            sop_instance_uid,
            transfer_syntax_uid,
            source.as_ref(),
        );
        let opening = opening.map_err(ArchiveError::io("write a file of", archive.path()))?;
        let mut incoming = Self::begin(archive, transfer_syntax_uid.as_str(), opening.len() as u64)?;
        incoming.put(&opening)?;
        incoming.source = announced.source.clone();
        incoming.announced = Some(announced);
        incoming.is_acquired = is_acquired;
        Ok(incoming)
    }

    /// Takes a whole DICOM file.
    pub(super) fn copy(
        archive: &Archive,
        object: ObjectFile,
        is_acquired: bool,
    ) -> Result<Outcome, ArchiveError> {
        let offset = object.meta.data_set_offset;
        let mut incoming = Self::begin(archive, &object.meta.transfer_syntax_uid, offset)?;
        incoming.source = object.sender();
        incoming.is_acquired = is_acquired;
        let path = incoming.temporary.path.clone();
        let mut source = object.into_whole().map_err(ArchiveError::io("read for", &path))?;
        let mut opening = vec![0; usize::try_from(offset).unwrap_or_default()];
        source
            .read_exact(&mut opening)
            .map_err(ArchiveError::io("read for", &path))?;
        incoming.put(&opening)?;
        let mut buffer = vec![0; 64 * 1024];
        loop {
            let length = source
                .read(&mut buffer)
                .map_err(ArchiveError::io("read for", &path))?;
            match buffer.get(..length) {
                None | Some([]) => return incoming.finish(),
                Some(bytes) => incoming.write(bytes)?,
            }
        }
    }

    fn begin(
        archive: &Archive,
        transfer_syntax_uid: &str,
        data_set_offset: u64,
    ) -> Result<Self, ArchiveError> {
        let temporary = Temporary::new(archive)?;
        let file = create_file(&temporary.path)?;
        Ok(Incoming {
            archive: archive.clone(),
            announced: None,
            check: None,
            source: None,
            is_acquired: false,
            transfer_syntax_uid: transfer_syntax_uid.to_owned(),
            data_set_offset,
            bytes: 0,
            digest: Sha256::new(),
            scanner: Scanner::new(transfer_syntax_uid),
            file: BufWriter::with_capacity(BUFFER, file),
            temporary,
        })
    }

    /// The same object, which is stored only where `check` lets it pass; else it is kept aside for the reason given.
    ///
    /// An object that contradicts its announcement is then kept aside too, and no error.
    pub fn checked_by(
        mut self,
        check: impl Fn(&ObjectIdentity) -> Result<(), AsideReason> + Send + 'static,
    ) -> Self {
        self.check = Some(ObjectCheck(Box::new(check)));
        self
    }

    /// The same, kept aside where it is not what is expected.
    pub fn only_of(self, expected: Expected) -> Self {
        self.checked_by(move |object| expected.check(object))
    }

    /// Takes the next bytes of the data set. After an error the object is lost; the caller may drop it at once.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), ArchiveError> {
        self.scanner.feed(bytes).map_err(ArchiveError::Unreadable)?;
        self.digest.update(bytes);
        self.put(bytes)
    }

    /// Ends the object and stores it. When this returns, the object survives whatever happens to the machine.
    ///
    /// Blocks until the disk has it: not for an async thread. Concurrent calls share their commits.
    pub fn finish(self) -> Result<Outcome, ArchiveError> {
        self.finish_of_study().map(|(outcome, _)| outcome)
    }

    /// As [`Incoming::finish`], and tells of which study the object is.
    pub fn finish_of_study(self) -> Result<(Outcome, Uid), ArchiveError> {
        let kept = self.scanner.finish().map_err(ArchiveError::Unreadable)?;
        let description =
            Description::read(&kept, &self.transfer_syntax_uid).map_err(ArchiveError::NoPlace)?;
        let announced = self.announced.as_ref();
        let contradicted = announced.and_then(|announced| contradiction(announced, &description));
        let refused = match (&self.check, contradicted) {
            (None, Some((tag, _))) => return Err(ArchiveError::Contradiction(tag)),
            (None, None) => None,
            (Some(_), Some((_, reason))) => Some(reason),
            (Some(ObjectCheck(check)), None) => check(&description.identity()).err(),
        };
        let study = description.study_instance_uid.clone();
        let path = &self.temporary.path;
        let file = self.file.into_inner().map_err(|error| error.into_error());
        let file = file.map_err(ArchiveError::io("write", path))?;
        let mut finished = Finished {
            archive: self.archive,
            description,
            refused,
            source: self.source,
            is_acquired: self.is_acquired,
            placement: Placement {
                folder: self.temporary.folder.number,
                transfer_syntax_uid: self.transfer_syntax_uid,
                data_set_offset: self.data_set_offset,
                bytes: self.bytes,
                digest: Some(self.digest.finalize().into()),
                is_damaged: false,
            },
            file,
            is_synced: false,
            temporary: self.temporary,
        };
        loop {
            if let Some(outcome) = finished.store()? {
                return Ok((outcome, study));
            }
        }
    }

    fn put(&mut self, bytes: &[u8]) -> Result<(), ArchiveError> {
        self.bytes += bytes.len() as u64;
        let written = self.file.write_all(bytes);
        written.map_err(ArchiveError::io("write", &self.temporary.path))
    }
}

/// What an object must pass to be stored.
struct ObjectCheck(Box<Check>);

type Check = dyn Fn(&ObjectIdentity) -> Result<(), AsideReason> + Send;

impl fmt::Debug for ObjectCheck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ObjectCheck")
    }
}

fn contradiction(announced: &Announced, description: &Description) -> Option<(Tag, AsideReason)> {
    let (class, instance) = (&announced.sop_class_uid, &announced.sop_instance_uid);
    if *instance != description.sop_instance_uid {
        let expected = instance.clone();
        return Some((tags::SOP_INSTANCE_UID, AsideReason::OtherInstance { expected }));
    }
    let expected = class.clone();
    (*class != description.sop_class_uid)
        .then_some((tags::SOP_CLASS_UID, AsideReason::OtherSopClass { expected }))
}

impl Expected {
    fn check(&self, object: &ObjectIdentity) -> Result<(), AsideReason> {
        if object.study_instance_uid != self.study_instance_uid {
            let expected = self.study_instance_uid.clone();
            return Err(AsideReason::OtherStudy { expected });
        }
        let Some(patient) = &self.patient_id else {
            return Ok(());
        };
        let issuer = match &patient.domain {
            IssuerDomain::Named(issuer) => Some(issuer.clone()),
            IssuerDomain::Inferred(_) => None,
        };
        let is_issuer = issuer
            .as_ref()
            .is_none_or(|issuer| object.issuer.is_empty() || object.issuer == issuer.as_str());
        let expected = ExpectedPatient {
            id: patient.id.clone(),
            issuer,
        };
        match &*object.patient_id {
            id if id == patient.id && is_issuer => Ok(()),
            "" => Err(AsideReason::NoPatientId { expected }),
            _ => Err(AsideReason::OtherPatient { expected }),
        }
    }
}

/// A file in a folder of the archive that is gone when this is dropped, unless it was renamed.
#[derive(Debug)]
struct Temporary {
    path: PathBuf,
    folder: Arc<Folder>,
}

impl Temporary {
    fn new(archive: &Archive) -> Result<Self, ArchiveError> {
        let folders = &archive.0.folders;
        let folder = folders.take()?;
        let path = archive.0.layout.incoming(folder.number, folders.next_incoming());
        Ok(Temporary { path, folder })
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        // It may be in its place by now; and what can't be removed here is removed by recovery.
        let _ = remove_file(&self.path);
    }
}

/// An object that was received whole and is not in its place yet.
struct Finished {
    archive: Archive,
    description: Description,
    /// Why it is not to be stored.
    refused: Option<AsideReason>,
    source: Option<AeTitle>,
    is_acquired: bool,
    placement: Placement,
    file: File,
    is_synced: bool,
    temporary: Temporary,
}

impl Finished {
    /// Stores it, or finds what to do with it; `None` where another object under its UID has just come
    /// first, or has just gone.
    fn store(&mut self) -> Result<Option<Outcome>, ArchiveError> {
        let stored = self.stored()?;
        let place = match &stored {
            _ if let Some(reason) = &self.refused => Place::Aside(self.aside_name(), reason.clone()),
            None => Place::Stored,
            Some(placement) => match self.is_same_as(placement) {
                Ok(true) if !placement.is_damaged => return Ok(Some(Outcome::AlreadyStored)),
                // It is being removed.
                Err(_) if self.stored()? != stored => return Ok(None),
                same if matches!(same, Ok(true)) || self.is_what_arrived(placement) => {
                    Place::Instead(placement.clone())
                }
                Err(error) if !placement.is_damaged => return Err(error),
                _ => Place::Aside(self.aside_name(), AsideReason::Differs),
            },
        };
        if !self.is_synced {
            self.file
                .sync_all()
                .map_err(ArchiveError::io("sync", &self.temporary.path))?;
            self.is_synced = true;
        }
        let outcome = match &place {
            Place::Stored | Place::Instead(_) => Outcome::Stored,
            Place::Aside(_, reason) => Outcome::KeptAside(reason.clone()),
        };
        let committed = self.archive.0.committer.commit(Received {
            temporary: self.temporary.path.clone(),
            description: self.description.clone(),
            placement: self.placement.clone(),
            folder: Arc::clone(&self.temporary.folder),
            place,
            source: self.source.clone(),
            is_acquired: self.is_acquired,
        })?;
        Ok((committed == Committed::Done).then_some(outcome))
    }

    /// Where an object under its UID is stored.
    fn stored(&self) -> Result<Option<Placement>, ArchiveError> {
        let uid = self.description.sop_instance_uid.as_str();
        let readers = &self.archive.0.readers;
        readers.with(|index| Ok(index::placement(index, uid)?))
    }

    fn is_same_as(&self, stored: &Placement) -> Result<bool, ArchiveError> {
        if stored.transfer_syntax_uid != self.placement.transfer_syntax_uid {
            return Ok(false);
        }
        let path = self
            .archive
            .0
            .layout
            .file(stored.folder, self.description.sop_instance_uid.as_str());
        let stored = data_set(&path, stored.data_set_offset)?;
        let received = data_set(&self.temporary.path, self.placement.data_set_offset)?;
        are_equal(stored, received).map_err(ArchiveError::io("read", &path))
    }

    /// Whether these are the data that arrived first, whatever their file is now.
    fn is_what_arrived(&self, stored: &Placement) -> bool {
        stored.digest.is_some()
            && stored.digest == self.placement.digest
            && stored.transfer_syntax_uid == self.placement.transfer_syntax_uid
    }

    fn aside_name(&self) -> String {
        let uid = self.description.sop_instance_uid.as_str();
        aside_name(uid, &self.placement.digest.unwrap_or_default())
    }
}

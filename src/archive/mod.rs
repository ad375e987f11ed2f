//! The embedded archive: objects as DICOM files, and an index of them that answers C-FIND.
//!
//! Invariants:
//! - Stored means: the file is synced and has its name, its folder is synced, its row is committed. Only then does
//!   [`Incoming::finish`] return, and whatever happens to the process or the machine afterwards, the object is there.
//! - An object is kept as it was received, whatever its SOP class and transfer syntax, and never overwritten. Other data
//!   under the same UID are kept aside.
//! - The files are the truth; the index can be made again from them ([`reindex`]), and makes up by itself for what a
//!   crash cost it ([`Archive::open`]).
//! - Nothing from a peer or a file is read before its structure was checked, becomes part of a path, or takes more than
//!   bounded memory.
//!
//! All of this blocks: async callers use blocking threads.
//!
//! Where things are:
//! - `scanner`, `encoding`, `description`, `head`, `part10`, `object`: objects, read
//! - `catalogue`, `attributes`: what the index keeps of them
//! - `layout`, `lock`, `folders`, `incoming`, `committer`: storing
//! - `index`, `recovery`: the database
//! - `query`, `matching`, `temporal`, `fold`, `find`: searching
//! - `import`, `retrieve`, `sound`: taking files in, and giving them out as they arrived or not at all
//! - `aside`, `release`: what is kept aside and why, and what a person decides about it
//! - `holding`, `removal`: looking at what is stored of a study, and removing it
//! - `arrivals`: what was acquired here, until others have been told of it
//!
//! Start reading at `incoming`, and at `find`. Not here: associations, statuses, who may ask.

mod arrivals;
mod aside;
mod attributes;
mod catalogue;
mod committer;
mod description;
mod encoding;
mod error;
mod find;
mod fold;
mod folders;
mod head;
mod holding;
mod import;
mod incoming;
mod index;
mod layout;
mod lock;
mod matching;
mod object;
mod part10;
mod query;
mod recovery;
mod release;
mod removal;
mod retrieve;
mod scanner;
mod sound;
mod temporal;

use std::path::Path;
use std::sync::Arc;

pub use arrivals::{Arrival, ArrivedStudy};
pub use aside::{KeptAside, count_kept_aside};
pub use attributes::{Attribute, Attributes, Value};
pub use description::NoPlace;
pub use error::ArchiveError;
pub use find::{Row, Search};
pub use fold::fold_name;
pub use head::HeadReader;
pub use holding::Holding;
pub use import::{ImportCounts, Imported};
pub use incoming::{Announced, Expected, Incoming, Outcome};
pub use query::{Key, KeyValue, Level, Query, QueryError, Root};
pub use recovery::{Recovered, reindex};
pub use release::{Release, StoredInstead};
pub use retrieve::{Stats, StoredInstance};
pub use scanner::Unreadable;
pub use sound::{Damage, SoundReader};

use committer::Committer;
use folders::Folders;
use index::Readers;
use layout::{Layout, names_in};
use lock::ArchiveLock;

/// An open archive; cloning is cheap, and any thread may use it.
#[derive(Debug, Clone)]
pub struct Archive(Arc<OpenArchive>);

#[derive(Debug)]
struct OpenArchive {
    layout: Layout,
    readers: Readers,
    // Dropped before the lock, once all that was received is committed.
    committer: Committer,
    folders: Folders,
    recovered: Recovered,
    _lock: ArchiveLock,
}

impl Archive {
    /// Opens the archive in the folder `root`, and makes it where there is none.
    ///
    /// Several processes may have it open. The first of them brings the index up to what a crash has left in the files.
    pub fn open(root: &Path) -> Result<Self, ArchiveError> {
        let layout = Layout::create(root)?;
        let (lock, recovered) = match ArchiveLock::exclusive(&layout)? {
            Some(lock) => {
                let recovered = prepare(&layout)?;
                (lock.into_shared()?, recovered)
            }
            None => (ArchiveLock::shared(&layout)?, Recovered::default()),
        };
        let path = layout.index();
        let committer = Committer::start(layout.clone(), index::open_for_writing(&path)?)?;
        let folders = Folders::new(layout.clone(), index::open_for_writing(&path)?);
        Ok(Archive(Arc::new(OpenArchive {
            layout,
            readers: Readers::new(path),
            committer,
            folders,
            recovered,
            _lock: lock,
        })))
    }

    /// The folder of the archive.
    pub fn path(&self) -> &Path {
        &self.0.layout.root
    }

    /// What the opening found in the files that the index did not know.
    pub fn recovered(&self) -> Recovered {
        self.0.recovered
    }

    /// Begins to receive an object.
    pub fn receive(&self, announced: Announced) -> Result<Incoming, ArchiveError> {
        Incoming::announced(self, announced, false)
    }

    /// Begins to receive an object that was acquired in this cluster: once stored it is among the
    /// [arrivals](Archive::arrivals).
    pub fn acquire(&self, announced: Announced) -> Result<Incoming, ArchiveError> {
        Incoming::announced(self, announced, true)
    }
}

impl Drop for OpenArchive {
    fn drop(&mut self) {
        // A folder that could not be released is looked through by the next recovery.
        let _ = self.folders.close();
    }
}

/// Makes or migrates the index, and brings it up to date.
fn prepare(layout: &Layout) -> Result<Recovered, ArchiveError> {
    let path = layout.index();
    let mut connection = if path.exists() {
        index::open_for_writing(&path)?
    } else if names_in(&layout.files())?.is_empty() {
        index::create(&path)?
    } else {
        return Err(ArchiveError::IndexMissing(layout.root.clone()));
    };
    index::migrate(&path, &mut connection)?;
    recovery::recover(layout, &mut connection)
}

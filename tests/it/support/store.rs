//! Stores to test with: a folder of their own, and small changes to save.

use std::convert::Infallible;
use std::path::PathBuf;

use impaxlink::audit::Attribution;
use impaxlink::model::{Configuration, Endpoint, Station, parse_port};
use impaxlink::store::{Access, SaveError, Saved, Store};

/// A folder in which a store is made on first use.
pub struct StoreFolder {
    folder: tempfile::TempDir,
}

impl StoreFolder {
    pub fn new() -> Self {
        StoreFolder {
            folder: tempfile::tempdir().unwrap(),
        }
    }

    /// Where the store is: two folders deeper, which aren't there yet.
    pub fn path(&self) -> PathBuf {
        self.folder.path().join("lib/impaxlink/impaxlink.db")
    }

    pub fn open(&self) -> Store {
        Store::open(&self.path(), Access::ReadWrite).unwrap()
    }

    /// A connection past the store, to do what only a stranger would.
    pub fn raw(&self) -> rusqlite::Connection {
        rusqlite::Connection::open(self.path()).unwrap()
    }
}

pub fn jdoe() -> Attribution {
    Attribution {
        user: "root".to_owned(),
        uid: 0,
        real_user: Some("jdoe".to_owned()),
        command: "impaxlink station set".to_owned(),
        reason: Some("CHG1190".to_owned()),
    }
}

pub fn station(name: &str) -> Station {
    let endpoint = Endpoint {
        host: "10.2.0.5".parse().unwrap(),
        port: parse_port("104").unwrap(),
    };
    Station::new(name.parse().unwrap(), name.parse().unwrap(), Some(endpoint))
}

/// Saves a change that nothing refuses.
pub fn save(store: &Store, edit: impl FnOnce(&mut Configuration)) -> Saved {
    try_save(store, edit).unwrap()
}

pub fn try_save(
    store: &Store,
    edit: impl FnOnce(&mut Configuration),
) -> Result<Saved, SaveError<Infallible>> {
    store.save(&jdoe(), None, |configuration| {
        edit(configuration);
        Ok(())
    })
}

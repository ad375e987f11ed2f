//! Where the control socket of a store is.
//!
//! Invariant: the same for the service and for its clients, whoever runs them: it follows from the store alone, not
//! from anyone's environment.

use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use crate::store::resolve;

/// The longest path of a socket (`sun_path` of unix(7)), without the NUL at its end.
const LONGEST: usize = 107;

/// The control socket of the store at `store`: beside it, or in the runtime folder of the store's owner where that
/// path is longer than a socket's may be.
pub fn socket_path(store: &Path) -> io::Result<PathBuf> {
    let store = resolve(store);
    let owner = owner(&store)?;
    let beside = beside(&store);
    if beside.as_os_str().len() <= LONGEST {
        Ok(beside)
    } else {
        Ok(in_runtime_folder(&store, &runtime_folder(owner)))
    }
}

/// The user whose store it is; where it was deleted, whose folder it was in.
pub(super) fn owner(store: &Path) -> io::Result<u32> {
    let folder = store.parent().unwrap_or(Path::new("."));
    let metadata = fs::metadata(store).or_else(|_| fs::metadata(folder))?;
    Ok(metadata.uid())
}

fn beside(store: &Path) -> PathBuf {
    let mut path = store.as_os_str().to_owned();
    path.push(".sock");
    path.into()
}

/// `/run` for root, else the user's folder in it, else the folder for temporary files of all users. Its socket can be
/// made by anyone there, so clients ask who is at its other end.
fn runtime_folder(owner: u32) -> PathBuf {
    let of_user = PathBuf::from(format!("/run/user/{owner}"));
    match owner {
        0 => PathBuf::from("/run"),
        _ if of_user.is_dir() => of_user,
        _ => PathBuf::from("/tmp"),
    }
}

fn in_runtime_folder(store: &Path, folder: &Path) -> PathBuf {
    let digest = Sha256::digest(store.as_os_str().as_bytes());
    let name: String = digest.iter().take(16).map(|byte| format!("{byte:02x}")).collect();
    folder.join(format!("impaxlink-{name}.sock"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_socket_is_beside_the_store() {
        let folder = tempfile::tempdir().unwrap();
        let store = folder.path().join("impaxlink.db");
        let before = socket_path(&store).unwrap();
        fs::write(&store, "").unwrap();
        let path = socket_path(&store).unwrap();
        assert_eq!(path, before, "a store that was deleted has the same");
        assert_eq!(path.file_name().unwrap(), "impaxlink.db.sock");
        assert_eq!(path.parent(), fs::canonicalize(&store).unwrap().parent());
    }

    #[test]
    fn a_long_path_has_a_short_socket_of_its_own() {
        let folder = tempfile::tempdir().unwrap();
        let paths = ["a", "b"].map(|letter| {
            let deep = folder.path().join(letter.repeat(120));
            fs::create_dir(&deep).unwrap();
            fs::write(deep.join("impaxlink.db"), "").unwrap();
            socket_path(&deep.join("impaxlink.db")).unwrap()
        });
        assert_ne!(paths[0], paths[1]);
        for path in paths {
            assert!(path.as_os_str().len() <= LONGEST, "{}", path.display());
        }
    }
}

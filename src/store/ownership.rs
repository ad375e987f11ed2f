//! Who may use the files of a store: its owner alone, or the group of its folder.
//!
//! Invariant: a file is 0600, or 0660 where the folder is made for a group (setgid and writable for it: mode 2770).
//! SQLite gives the files that it makes beside the database the database's mode and, as root, its owner.

use std::fs::{File, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;

/// The mode of a folder that a group shares: new files in it are of its group, and its members may write.
const SHARED_FOLDER: u32 = 0o2020;

/// Makes a file that isn't there yet.
pub(super) fn create(path: &Path) -> io::Result<File> {
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)?;
    let folder = path.parent().unwrap_or(Path::new(".")).metadata()?;
    // Root may be setting things up for the user whose folder it is.
    if rustix::process::geteuid().is_root() && folder.uid() != 0 {
        std::os::unix::fs::fchown(&file, Some(folder.uid()), Some(folder.gid()))?;
    }
    if folder.mode() & SHARED_FOLDER == SHARED_FOLDER {
        file.set_permissions(Permissions::from_mode(0o660))?;
    }
    Ok(file)
}

/// Who else than its owner may read or write the store, where that is more than the store was made for; a sentence each.
pub fn exposures(store: &Path) -> Vec<String> {
    let folder = store
        .parent()
        .filter(|folder| *folder != Path::new(""))
        .unwrap_or(Path::new("."));
    let mode = |path: &Path| path.metadata().ok().map(|metadata| metadata.mode() & 0o7777);
    let (Some(of_store), Some(of_folder)) = (mode(store), mode(folder)) else {
        return Vec::new();
    };
    let is_shared = of_folder & SHARED_FOLDER == SHARED_FOLDER;
    let mut found = Vec::new();
    if of_store & 0o007 != 0 {
        found.push(format!(
            "the store is open to every user of this machine (mode {:04o}): chmod o= it",
            of_store & 0o777
        ));
    } else if of_store & 0o020 != 0 && !is_shared {
        found.push(format!(
            "the store may be written by its group (mode {:04o}): chmod g-w it",
            of_store & 0o777
        ));
    }
    if of_folder & 0o002 != 0 {
        found.push(format!(
            "every user of this machine may write to the store's folder (mode {of_folder:04o}): chmod o-w it"
        ));
    } else if of_folder & 0o020 != 0 && !is_shared {
        found.push(format!(
            "the group of the store's folder may write to it (mode {of_folder:04o}): chmod g-w it, or 2770 to share it"
        ));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode_in_folder_of(mode: u32) -> u32 {
        let folder = tempfile::tempdir().unwrap();
        std::fs::set_permissions(folder.path(), Permissions::from_mode(mode)).unwrap();
        let file = create(&folder.path().join("file")).unwrap();
        file.metadata().unwrap().mode() & 0o777
    }

    #[test]
    fn a_file_is_private_unless_its_folder_is_made_for_a_group() {
        assert_eq!(mode_in_folder_of(0o700), 0o600);
        assert_eq!(mode_in_folder_of(0o775), 0o600);
        assert_eq!(mode_in_folder_of(0o2755), 0o600);
        assert_eq!(mode_in_folder_of(0o2770), 0o660);
    }
}

//! The archive after kill -9: what was acknowledged is there, whole, and index and files agree.

use std::collections::HashSet;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use dicom_dictionary_std::tags;
use impaxlink::archive::{Archive, Outcome, reindex};

use super::support::archive::Object;
use super::support::killed::Killed;

const ROOT: &str = "ARCHIVE_CRASH_ROOT";
const FIRST: &str = "ARCHIVE_CRASH_FIRST";
const SENDERS: usize = 4;
const ROUND: usize = 100_000;

/// Not a test but the process that is killed: stores without end and says what was acknowledged.
#[test]
fn store_until_killed() {
    let (Ok(root), Ok(first)) = (std::env::var(ROOT), std::env::var(FIRST)) else {
        return;
    };
    let first: usize = first.parse().unwrap();
    let archive = Archive::open(Path::new(&root)).unwrap();
    std::thread::scope(|scope| {
        for sender in 0..SENDERS {
            let archive = &archive;
            scope.spawn(move || {
                for number in (first + sender..).step_by(SENDERS) {
                    let comments = "x".repeat(number % 7 * 1000);
                    let object = Object::new(number).with(tags::PATIENT_COMMENTS, &comments);
                    assert_eq!(object.store(archive).unwrap(), Outcome::Stored);
                    writeln!(std::io::stdout(), "\nacknowledged {number}").unwrap();
                }
            });
        }
    });
}

/// Has that process store until so many objects were acknowledged, kills it, and gives which they were.
fn store_and_kill(root: &Path, first: usize, count: usize) -> Vec<usize> {
    let (root, first) = (root.to_str().unwrap(), first.to_string());
    let mut storing = Killed::start(
        "archive_crash::store_until_killed",
        &[(ROOT, root), (FIRST, &first)],
    );
    let acknowledged = storing.after(count).into_iter();
    acknowledged.map(isize::unsigned_abs).collect()
}

fn object_files(root: &Path) -> HashSet<PathBuf> {
    let folders = fs::read_dir(root.join("files"))
        .unwrap()
        .map(|entry| entry.unwrap().path());
    folders
        .flat_map(|folder| fs::read_dir(folder).unwrap())
        .map(|entry| entry.unwrap().path())
        .collect()
}

#[test]
fn whatever_was_acknowledged_survives_a_kill() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("archive");
    let mut acknowledged = Vec::new();
    for (round, count) in [1, 7, 40, 90, 23].into_iter().enumerate() {
        acknowledged.extend(store_and_kill(&root, round * ROUND, count));
        if round == 3 {
            // Two crashes in a row, the second of a process that recovers.
            continue;
        }
        let archive = Archive::open(&root).unwrap();
        assert_whole(&archive, &acknowledged);
    }
    let before = Archive::open(&root).unwrap().stats().unwrap();
    reindex(&root, |_| {}).unwrap();
    assert_eq!(Archive::open(&root).unwrap().stats().unwrap(), before);
}

fn assert_whole(archive: &Archive, acknowledged: &[usize]) {
    let mut indexed = HashSet::new();
    for &number in acknowledged {
        let object = Object::new(number).with(tags::PATIENT_COMMENTS, &"x".repeat(number % 7 * 1000));
        let [stored] = &archive
            .instances(object.value(tags::STUDY_INSTANCE_UID), None)
            .unwrap()[..]
        else {
            panic!("{number} was acknowledged and is gone")
        };
        let data_set = object.bytes(impaxlink::dimse::TransferSyntax::ExplicitVrLittleEndian);
        assert!(fs::read(&stored.path).unwrap().ends_with(&data_set), "{number}");
        indexed.insert(stored.path.clone());
    }
    let files = object_files(archive.path());
    assert!(indexed.is_subset(&files));
    // At most one more for each sender was stored and not told any more, in each round.
    assert_eq!(files.len() as u64, archive.stats().unwrap().instances);
    assert!(
        files
            .iter()
            .all(|path| path.extension().is_some_and(|end| end == "dcm")),
        "{files:?}"
    );
}

#[test]
fn what_the_index_lost_with_the_power_comes_back_from_the_files() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("archive");
    let acknowledged = store_and_kill(&root, 0, 30);
    // The last commits of the index were not synced; all of them are gone with the write-ahead log but for the first,
    // which was. That one is made again here: the folder is in use.
    let index = root.join("index.db");
    let connection = rusqlite::Connection::open(&index).unwrap();
    connection
        .execute_batch(
            "PRAGMA foreign_keys = OFF; DELETE FROM instance; DELETE FROM series; DELETE FROM study;
             DELETE FROM patient_name; DELETE FROM patient; UPDATE folder SET in_use = 1",
        )
        .unwrap();
    drop(connection);
    let archive = Archive::open(&root).unwrap();
    assert!(archive.recovered().adopted >= 30);
    assert_whole(&archive, &acknowledged);
}

//! The archive after kill -9: what was acknowledged is there, whole, and index and files agree.

use std::collections::HashSet;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use dicom_dictionary_std::tags;
use impaxlink::archive::{Archive, Outcome, reindex};

use super::support::archive::Object;

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

struct Storing(Child);

impl Storing {
    fn start(root: &Path, first: usize) -> Self {
        let program = std::env::current_exe().expect("this test binary");
        let mut command = Command::new(program);
        command.args(["--exact", "archive_crash::store_until_killed", "--nocapture"]);
        command.env(ROOT, root).env(FIRST, first.to_string());
        Storing(
            command
                .stdout(Stdio::piped())
                .stderr(Stdio::null())
                .spawn()
                .expect("a child"),
        )
    }

    /// Waits for so many acknowledgements, kills, and gives all that were made.
    fn kill_after(&mut self, count: usize) -> Vec<usize> {
        let output = self.0.stdout.take().expect("a pipe");
        let mut acknowledged = Vec::new();
        for line in BufReader::new(output).lines() {
            let line = line.expect("a line");
            acknowledged.extend(
                line.strip_prefix("acknowledged ")
                    .and_then(|number| number.parse::<usize>().ok()),
            );
            if acknowledged.len() == count {
                self.0.kill().expect("a running child");
            }
        }
        assert!(acknowledged.len() >= count, "the child ended by itself");
        acknowledged
    }
}

impl Drop for Storing {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
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
        let mut storing = Storing::start(&root, round * ROUND);
        acknowledged.extend(storing.kill_after(count));
        drop(storing);
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
    let mut storing = Storing::start(&root, 0);
    let acknowledged = storing.kill_after(30);
    drop(storing);
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

//! The store under many processes at once, and under processes that are killed, or that may not write, or can't.
//!
//! Each process is this test binary again, told by its environment what to do with which store.

use std::convert::Infallible;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use impaxlink::audit::Hash;
use impaxlink::store::{Access, ErrorClass, SaveError, Store, StoreError};

use crate::support::store::{StoreFolder, jdoe, save, station, try_save};

const JOB: &str = "IMPAXLINK_TEST_JOB";
const STORE: &str = "IMPAXLINK_TEST_STORE";

const WRITERS: u64 = 10;
const SAVES: u64 = 100;
const KILLS: u64 = 30;

#[test]
fn ten_processes_make_one_store_and_save_a_hundred_times_each() {
    let folder = StoreFolder::new();
    let mut writers: Vec<Child> = (0..WRITERS)
        .map(|number| spawn(&mut job(&format!("set W{number}"), &folder.path())))
        .collect();
    // They all wait for the end of their input, so that they begin at the same moment.
    let begin = Instant::now();
    writers.iter_mut().for_each(|writer| drop(writer.stdin.take()));
    for writer in writers {
        finish(writer);
    }
    eprintln!("{} saves in {:?}", WRITERS * SAVES, begin.elapsed());
    let store = folder.open();
    let configuration = store.configuration().unwrap();
    assert_eq!(configuration.generation, WRITERS * SAVES);
    assert_eq!(configuration.stations.len() as u64, WRITERS);
    for station in &configuration.stations {
        assert_eq!(station.priority as u64, SAVES, "{}", station.name);
    }
    assert_eq!(store.verify_audit(None).unwrap().records, WRITERS * SAVES);
}

#[test]
fn a_killed_process_leaves_whole_changes_only() {
    let folder = StoreFolder::new();
    let mut head: Option<Hash> = None;
    let mut saved_before = 0;
    // On a busy machine the first rounds end before anything is saved: the later ones are longer.
    for round in 0..10 * KILLS {
        if round >= KILLS && saved_before > KILLS {
            break;
        }
        let mut writer = spawn(&mut job("pairs", &folder.path()));
        drop(writer.stdin.take());
        // From before the store is made to some way into the saves.
        std::thread::sleep(Duration::from_micros(3000 * round + 37 * (round * round % 89)));
        writer.kill().unwrap();
        let acknowledged = last_acknowledged(writer).unwrap_or(saved_before);
        let store = folder.open();
        saved_before = assert_whole(&store, acknowledged);
        head = Some(store.verify_audit(head.as_ref()).unwrap().head);
    }
    assert!(saved_before > KILLS, "only {saved_before} saves were made");
}

/// Holds the store to what every save of the job `pairs` left true; gives its generation.
fn assert_whole(store: &Store, acknowledged: u64) -> u64 {
    let connection = rusqlite::Connection::open(store.path()).unwrap();
    let check: String = connection
        .query_row("PRAGMA integrity_check", [], |row| row.get(0))
        .unwrap();
    assert_eq!(check, "ok");
    let newest = store.generation().unwrap();
    let is_expected = newest == acknowledged || newest == acknowledged + 1;
    assert!(
        is_expected,
        "generation {newest}, {acknowledged} was acknowledged"
    );
    for generation in newest.saturating_sub(2)..=newest {
        let configuration = store.configuration_at(generation).unwrap();
        let priorities: Vec<i32> = configuration.stations.iter().map(|s| s.priority).collect();
        let expected = if generation == 0 {
            vec![]
        } else {
            vec![generation as i32; 2]
        };
        assert_eq!(priorities, expected);
    }
    newest
}

#[test]
fn a_store_that_may_not_be_written_is_read() {
    let folder = StoreFolder::new();
    save(&folder.open(), |configuration| {
        configuration.stations.push(station("SITEB"))
    });
    let set_mode = |path: &Path, mode| {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    };
    let path = folder.path();
    let parent = path.parent().unwrap();
    set_mode(&path, 0o400);
    finish(spawn(&mut bound_by_permissions("refused", &path)));
    set_mode(parent, 0o500);
    finish(spawn(&mut bound_by_permissions("refused", &path)));
    set_mode(&path, 0o600);
    finish(spawn(&mut bound_by_permissions("refused", &path)));
    set_mode(parent, 0o700);
    finish(spawn(&mut bound_by_permissions("set W1", &path)));
}

#[test]
fn a_store_on_a_read_only_medium_is_read() {
    let folder = StoreFolder::new();
    save(&folder.open(), |configuration| {
        configuration.stations.push(station("SITEB"))
    });
    let mount = "mount --bind \"$D\" \"$D\" && mount -o remount,bind,ro \"$D\"";
    finish(spawn(&mut within_mount(mount, "refused", &folder.path())));
}

#[test]
fn a_full_disk_is_told_and_costs_nothing_that_was_saved() {
    let folder = StoreFolder::new();
    std::fs::create_dir_all(folder.path().parent().unwrap()).unwrap();
    let mount = "mount -t tmpfs -o size=1m,mode=700 none \"$D\"";
    finish(spawn(&mut within_mount(mount, "fill", &folder.path())));
}

#[test]
#[ignore = "runs in processes that the other tests begin"]
fn process() {
    let path = std::env::var_os(STORE).unwrap();
    let path = Path::new(&path);
    let job = std::env::var(JOB).unwrap();
    std::io::stdin().read_to_end(&mut Vec::new()).unwrap();
    match job.split_once(' ').unwrap_or((&job, "")) {
        ("set", name) => set_again_and_again(path, name),
        ("pairs", _) => save_pairs(path),
        ("refused", _) => read_and_be_refused(path),
        ("fill", _) => fill_the_disk(path),
        _ => panic!("{job}"),
    }
}

/// As `impaxlink station set NAME --priority N` does: each time the store is opened anew.
fn set_again_and_again(path: &Path, name: &str) {
    for number in 1..=SAVES {
        let store = Store::open(path, Access::ReadWrite).unwrap();
        let saved = save(&store, |configuration| {
            let at = configuration
                .stations
                .iter()
                .position(|s| s.name.as_str() == name);
            let at = at.unwrap_or_else(|| {
                configuration.stations.push(station(name));
                configuration.stations.len() - 1
            });
            configuration.stations[at].priority = number as i32;
        });
        assert!(!saved.changes.is_empty());
    }
}

/// Two stations whose priority is the generation, in each generation. Ends when it is killed.
fn save_pairs(path: &Path) {
    let store = Store::open(path, Access::ReadWrite).unwrap();
    loop {
        let saved = save(&store, |configuration| {
            if configuration.stations.is_empty() {
                configuration.stations = vec![station("A"), station("B")];
            }
            let next = configuration.generation as i32 + 1;
            for station in &mut configuration.stations {
                station.priority = next;
            }
        });
        eprintln!("saved {}", saved.generation);
    }
}

fn read_and_be_refused(path: &Path) {
    let reader = Store::open(path, Access::ReadOnly).unwrap();
    assert_eq!(reader.configuration().unwrap().stations.len(), 1);
    assert_eq!(reader.verify_audit(None).unwrap().records, 1);
    let preview = reader.preview(None, |configuration| {
        configuration.stations.clear();
        Ok::<_, Infallible>(())
    });
    assert_eq!(preview.unwrap().generation, 2);
    let refused = Store::open(path, Access::ReadWrite)
        .map_err(SaveError::Store)
        .and_then(|store| try_save(&store, |configuration| configuration.stations.clear()));
    match refused {
        Err(SaveError::Store(error)) => assert_eq!(error.class(), ErrorClass::NotPermitted, "{error:?}"),
        other => panic!("{other:?}"),
    }
}

fn fill_the_disk(path: &Path) {
    let ballast = path.with_file_name("ballast");
    let fill = || {
        let mut file = std::fs::File::create(&ballast).unwrap();
        std::io::copy(&mut std::io::repeat(0), &mut file).unwrap_err();
    };
    fill();
    let error = Store::open(path, Access::ReadWrite).unwrap_err();
    assert!(matches!(error, StoreError::Full { .. }), "{error:?}");
    assert!(!path.exists());
    std::fs::remove_file(&ballast).unwrap();

    let store = Store::open(path, Access::ReadWrite).unwrap();
    save(&store, |configuration| {
        configuration.stations.push(station("SITEB"))
    });
    fill();
    let mut saved = 1;
    let error = loop {
        let longer = |configuration: &mut impaxlink::model::Configuration| {
            configuration.stations[0].priority += 1;
        };
        match store.save(&jdoe(), None, |configuration| {
            longer(configuration);
            Ok::<_, Infallible>(())
        }) {
            Ok(done) => saved = done.generation,
            Err(error) => break error,
        }
    };
    assert!(
        matches!(error, SaveError::Store(StoreError::Full { .. })),
        "{error:?}"
    );
    assert_eq!(store.generation().unwrap(), saved);
    drop(store);
    std::fs::remove_file(&ballast).unwrap();
    let store = Store::open(path, Access::ReadWrite).unwrap();
    assert_eq!(store.verify_audit(None).unwrap().records, saved);
    save(&store, |configuration| configuration.stations[0].priority = -1);
}

/// This binary as a process with a job.
fn job(job: &str, store: &Path) -> Command {
    as_job(Command::new(std::env::current_exe().unwrap()), job, store)
}

/// The same, and root is held to the permission bits like anyone.
fn bound_by_permissions(job: &str, store: &Path) -> Command {
    if !rustix::process::geteuid().is_root() {
        return self::job(job, store);
    }
    let mut command = Command::new("setpriv");
    command.arg("--bounding-set=-dac_override,-dac_read_search");
    command.arg(std::env::current_exe().unwrap());
    as_job(command, job, store)
}

/// The same, after `mount` in a mount namespace of its own, where `$D` is the store's folder.
fn within_mount(mount: &str, job: &str, store: &Path) -> Command {
    let mut command = Command::new("unshare");
    command.arg("--mount");
    if !rustix::process::geteuid().is_root() {
        command.arg("--map-root-user");
    }
    command.args(["sh", "-c", &format!("{mount} && exec \"$0\" \"$@\"")]);
    command.arg(std::env::current_exe().unwrap());
    command.env("D", store.parent().unwrap());
    as_job(command, job, store)
}

fn as_job(mut command: Command, job: &str, store: &Path) -> Command {
    command.args(["--ignored", "--exact", "store_processes::process", "--nocapture"]);
    command.env(JOB, job).env(STORE, store);
    command
}

fn spawn(command: &mut Command) -> Child {
    let piped = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    piped.spawn().unwrap()
}

/// Waits for the process; its test must have run and passed.
fn finish(mut child: Child) {
    drop(child.stdin.take());
    let output = child.wait_with_output().unwrap();
    let stdout = String::from_utf8_lossy(&output.stdout);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{stdout}\n{stderr}");
    assert!(stdout.contains("1 passed"), "{stdout}\n{stderr}");
}

/// The number in the last whole line `saved N`.
fn last_acknowledged(child: Child) -> Option<u64> {
    let output = child.wait_with_output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    let (whole_lines, _) = stderr.rsplit_once('\n')?;
    assert!(!stderr.contains("panicked"), "{stderr}");
    whole_lines.lines().last()?.strip_prefix("saved ")?.parse().ok()
}

//! Files of the store that others may use, or that are not what they should be.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;

use impaxlink::store::{Access, Store};

use super::support::env::Env;

fn site() -> Env {
    let env = Env::new();
    env.impaxlink(&["station", "add", "OWN", "--kind", "archive", "--embedded"])
        .success();
    env
}

fn set_mode(path: &std::path::Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

/// Case: a store that others may write
#[test]
fn every_command_that_opens_an_exposed_store_warns_once() {
    let env = site();
    let warned = |what: &str| {
        let run = env.impaxlink(&["station", "list"]);
        run.success();
        assert_eq!(
            run.stderr.matches("warning: ").count(),
            usize::from(!what.is_empty()),
            "{run:?}"
        );
        assert!(run.stderr.contains(what), "{run:?}");
        let save = env.impaxlink(&["config", "set", "issuer", "NORTH"]);
        assert!(save.stderr.contains(what), "{save:?}");
        assert_eq!(env.impaxlink(&["-q", "station", "list"]).stderr, "");
    };
    warned("");
    let folder = env.store().parent().unwrap().to_owned();
    for (path, mode, what) in [
        (
            env.store(),
            0o666,
            "open to every user of this machine (mode 0666)",
        ),
        (
            env.store(),
            0o604,
            "open to every user of this machine (mode 0604)",
        ),
        (env.store(), 0o660, "may be written by its group (mode 0660)"),
        (
            folder.clone(),
            0o777,
            "every user of this machine may write to the store's folder",
        ),
        (
            folder.clone(),
            0o770,
            "the group of the store's folder may write to it",
        ),
    ] {
        let before = path.metadata().unwrap().permissions();
        set_mode(&path, mode);
        warned(what);
        let check = env.impaxlink(&["check"]);
        assert_eq!(check.status, Some(1));
        assert!(env.impaxlink(&["-q", "status"]).stderr.contains(what));
        fs::set_permissions(&path, before).unwrap();
    }
    warned("");
}

/// Case: a lock file that is a symbolic link
#[test]
fn a_lock_file_that_is_a_symbolic_link_is_refused() {
    let env = site();
    let victim = env.path().join("victim");
    fs::write(&victim, "whole").unwrap();
    let mut lock = env.store().into_os_string();
    lock.push(".service.lock");
    let _ = fs::remove_file(&lock);
    std::os::unix::fs::symlink(&victim, &lock).unwrap();
    for command in [&["config", "set", "issuer", "NORTH"][..], &["serve"]] {
        env.impaxlink(command)
            .fails_with(1, "it is a symbolic link, and must be a regular file");
        assert_eq!(fs::read_to_string(&victim).unwrap(), "whole");
    }
}

/// Case: lock files of runners that were killed
#[test]
fn lock_files_of_killed_runners_do_not_accumulate() {
    let env = site();
    let folder = env.store().parent().unwrap().to_owned();
    let runners = || {
        let names = fs::read_dir(&folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name());
        names
            .filter(|name| name.to_str().unwrap().contains(".runner-"))
            .count()
    };
    for number in 0..5 {
        fs::write(folder.join(format!("impaxlink.db.runner-{number}.lock")), "").unwrap();
    }
    let store = Store::open(&env.store(), Access::ReadWrite).unwrap();
    let (one, two) = (store.prefetch_runner().unwrap(), store.prefetch_runner().unwrap());
    assert_eq!(runners(), 2, "those of runners at work stay");
    drop((one, two));
    assert_eq!(runners(), 0);
}

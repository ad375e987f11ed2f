//! `demo`: what it shows is what happens, it is quick, and it leaves nothing behind.

use std::path::Path;
use std::time::{Duration, Instant};

use super::support::env::Env;

fn left_behind(env: &Env) -> usize {
    std::fs::read_dir(env.path().join("tmp")).unwrap().count()
}

#[test]
fn the_demo_shows_the_main_job_and_leaves_nothing_behind() {
    let env = Env::new();
    let begun = Instant::now();
    let run = env.impaxlink(&["demo"]);
    let shown = run.success();
    assert!(begun.elapsed() < Duration::from_secs(40), "{:?}", begun.elapsed());
    for line in [
        "3 studies from 1 station.",
        "saved as generation 7, in force",
        "HARBOUR, cache (3 of 20 here)",
        "4 studies from 2 stations.",
        "CONFLICT: same UID  Müller^Jürgen  4711 (HARBOUR)",
        "3 studies from 1 of 2 stations. INCOMPLETE:",
        "(exit status 3)",
        "saved as generation 8, in force",
        "records, whole; head",
    ] {
        assert!(shown.contains(line), "no {line:?} in {shown}");
    }
    assert_eq!(left_behind(&env), 0);
    assert!(!env.store().exists(), "the user's own store is not touched");
}

#[test]
fn a_kept_demo_can_be_used_and_ended_as_it_says() {
    let env = Env::new();
    let run = env.impaxlink(&["demo", "--keep"]);
    let after = |start: &str| {
        let line = run.success().lines().find(|line| line.starts_with(start));
        line.unwrap_or_else(|| panic!("no {start:?} in {run:#?}"))
            .to_owned()
    };
    let store = after("export IMPAXLINK_STORE=").replace("export IMPAXLINK_STORE=", "");
    assert!(Path::new(&store).exists());
    env.impaxlink(&[
        "--store",
        &store,
        "station",
        "set",
        "HARBOUR",
        "--cluster-linking",
        "--link-internal",
    ])
    .success();
    let query = env.impaxlink(&["--store", &store, "query", "--patient-name", "DOE^JANE", "--json"]);
    let ended = env.command("sh").args(["-c", &after("kill ")]).status().unwrap();
    assert!(ended.success());
    query.success();
    assert_eq!(query.json()["items"].as_array().unwrap().len(), 4);
    assert_eq!(left_behind(&env), 0);
}

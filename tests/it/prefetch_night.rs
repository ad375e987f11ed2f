//! The nightly cron job on a worklist of 200 patients, with priors at three clusters: a measurement.
//!
//! Invariant: it runs only when it is asked for.

use std::time::{Duration, Instant};

use crate::support::cluster::{
    add_source, add_worklist, chest_ct, expected, held, import, local_cluster, tomorrow,
};
use crate::support::dcmqrscp::Dcmqrscp;
use crate::support::env::Env;
use crate::support::links::add_station;
use crate::support::orthanc::Orthanc;
use crate::support::process::{Process, free_port};
use crate::support::service;
use crate::support::studies::Study;
use crate::support::wlmscpfs::Wlmscpfs;

/// Another impaxlink with these studies; the process and the environment it lives in.
fn impaxlink_site<'a>(ae_title: &str, studies: impl IntoIterator<Item = &'a Study>) -> (Process, Env, u16) {
    let env = local_cluster();
    let port = free_port();
    env.impaxlink(&["config", "set", "ae_title", ae_title]).success();
    env.impaxlink(&["config", "set", "listen", &format!("127.0.0.1:{port}")])
        .success();
    add_station(&env, "NORTH", "IMPAXLINK", 104, &["--cluster-linking"]);
    import(&env, studies);
    (service::start(&env), env, port)
}

#[test]
#[ignore = "a measurement"]
fn two_hundred_patients_with_priors_at_three_clusters() {
    let ids: Vec<String> = (0..200).map(|number| format!("P{number}")).collect();
    let of = |every: usize, year: u32| -> Vec<Study> {
        let chosen = ids.iter().enumerate().filter(|(number, _)| number % every == 0);
        chosen.map(|(_, id)| chest_ct(id, year, 8)).collect()
    };
    let (at_b, at_c, at_d) = (of(1, 2025), of(2, 2024), of(3, 2023));
    let siteb = Dcmqrscp::start("SITEB", &at_b);
    let sitec = Orthanc::start("SITEC", &at_c);
    let (_sited, _of_d, port_of_d) = impaxlink_site("SITED", &at_d);
    let env = local_cluster();
    add_source(&env, "SITEB", siteb.port);
    add_source(&env, "SITEC", sitec.port);
    add_source(&env, "SITED", port_of_d);
    import(&env, at_b.iter().step_by(10));
    let names: Vec<&str> = ids.iter().map(String::as_str).collect();
    let worklist = Wlmscpfs::start("WORKLIST", &tomorrow(&names));
    add_worklist(&env, &worklist);
    let began = Instant::now();
    let mut first = env.start(&["prefetch", "--worklist", "tomorrow"]);
    let mut overlapping = env.start(&["prefetch", "--worklist", "tomorrow"]);
    for night in [&mut first, &mut overlapping] {
        let status = night.wait(Duration::from_secs(600));
        eprintln!("{status}: {}", night.output().trim_end());
    }
    eprintln!("two that overlap: {:.1?}", began.elapsed());
    let all = at_b.iter().chain(&at_c).chain(&at_d);
    assert_eq!(held(&env), expected(all));
    let began = Instant::now();
    let mut again = env.start(&["prefetch", "--worklist", "tomorrow"]);
    let status = again.wait(Duration::from_secs(600));
    eprintln!(
        "again, {:.1?}: {status}: {}",
        began.elapsed(),
        again.output().trim_end()
    );
}

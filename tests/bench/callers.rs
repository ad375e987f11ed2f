//! Callers of a C-FIND SCP, for measurements: so many associations at once, each of which queries again and again.
//!
//! Prints one line of `NAME=VALUE` for a shell: how many queries and matches, and how long they took. They present
//! themselves as no impaxlink. Where a query does not end with success, it stops and fails.

use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};

use clap::Parser;

#[allow(dead_code, reason = "what the tests ask of a viewer")]
#[path = "../it/support/viewer.rs"]
mod viewer;

use viewer::Viewer;

/// Query an SCP from many associations at once.
#[derive(Parser)]
struct Options {
    /// Where it listens on this machine.
    #[arg(long)]
    port: u16,
    /// Whom to call.
    #[arg(long, default_value = "IMPAXLINK")]
    called: String,
    /// As whom to call.
    #[arg(long, default_value = "READER")]
    calling: String,
    /// How many associations at once.
    #[arg(long, default_value_t = 1)]
    associations: usize,
    /// How many queries over each.
    #[arg(long, default_value_t = 1)]
    queries: usize,
    /// Open a new association for each query, and count that in.
    #[arg(long)]
    reassociate: bool,
    /// Queries over each association that are not measured.
    #[arg(long, default_value_t = 1)]
    warmup: usize,
    /// Further keys, like PatientID=4711.
    #[arg(long = "key")]
    keys: Vec<String>,
}

/// What `impaxlink query` asks for, too.
const KEYS: [&str; 11] = [
    "SpecificCharacterSet",
    "StudyInstanceUID",
    "PatientName",
    "PatientID",
    "PatientBirthDate",
    "PatientSex",
    "StudyDate",
    "StudyTime",
    "AccessionNumber",
    "StudyDescription",
    "NumberOfStudyRelatedInstances",
];

/// One query's times, from its request.
struct Times {
    first: Duration,
    whole: Duration,
    matches: usize,
}

fn main() {
    let options = Options::parse();
    // Those that measure begin together.
    let ready = Barrier::new(options.associations + 1);
    let (times, elapsed) = thread::scope(|scope| {
        let callers: Vec<_> = (0..options.associations)
            .map(|_| {
                let builder = thread::Builder::new().stack_size(256 * 1024);
                let caller = builder.spawn_scoped(scope, || call(&options, &ready));
                caller.expect("a thread")
            })
            .collect();
        ready.wait();
        let begun = Instant::now();
        let times: Vec<Vec<Times>> = callers
            .into_iter()
            .map(|caller| caller.join().expect("a caller that was answered"))
            .collect();
        (times, begun.elapsed())
    });
    tell(&times, elapsed);
}

fn call(options: &Options, ready: &Barrier) -> Vec<Times> {
    let mut viewer = open(options);
    for _ in 0..options.warmup {
        ask(&mut viewer, options);
    }
    ready.wait();
    let times = (0..options.queries)
        .map(|_| {
            if !options.reassociate {
                return ask(&mut viewer, options);
            }
            let begun = Instant::now();
            let mut viewer = open(options);
            let times = ask(&mut viewer, options);
            viewer.release();
            Times {
                whole: begun.elapsed(),
                ..times
            }
        })
        .collect();
    viewer.release();
    times
}

fn open(options: &Options) -> Viewer {
    Viewer::open_to(options.port, &options.calling, &options.called)
}

fn ask(viewer: &mut Viewer, options: &Options) -> Times {
    let further = options.keys.iter().map(String::as_str);
    let keys: Vec<&str> = KEYS.into_iter().chain(further).collect();
    let begun = Instant::now();
    viewer.begin("STUDY", &keys);
    let (mut first, mut matches) = (None, 0);
    loop {
        let message = viewer.next();
        let status = message.command.status.expect("a status");
        first.get_or_insert_with(|| begun.elapsed());
        if !status.is_pending() {
            let comment = message.command.error_comment.unwrap_or_default();
            assert!(
                status.is_success() && comment.is_empty(),
                "ended with {status}: {comment:?}"
            );
            break;
        }
        matches += 1;
    }
    Times {
        first: first.unwrap_or_default(),
        whole: begun.elapsed(),
        matches,
    }
}

fn tell(times: &[Vec<Times>], elapsed: Duration) {
    let all = || times.iter().flatten();
    let sorted = |duration: fn(&Times) -> Duration| {
        let mut durations: Vec<Duration> = all().map(duration).collect();
        durations.sort_unstable();
        durations
    };
    let (whole, first) = (sorted(|times| times.whole), sorted(|times| times.first));
    let at = |sorted: &[Duration], percent: usize| {
        let place = (sorted.len() * percent / 100).min(sorted.len() - 1);
        sorted[place].as_secs_f64() * 1000.0
    };
    println!(
        "queries={} matches={} per_second={:.1} median_ms={:.3} p99_ms={:.3} max_ms={:.3} first_ms={:.3}",
        whole.len(),
        all().map(|times| times.matches).sum::<usize>(),
        whole.len() as f64 / elapsed.as_secs_f64(),
        at(&whole, 50),
        at(&whole, 99),
        at(&whole, 100),
        at(&first, 50),
    );
}

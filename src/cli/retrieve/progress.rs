//! A retrieve while it runs: how far it is, Ctrl-C, and the time it may take.
//!
//! Invariant: a line that is redrawn on a terminal; elsewhere a plain line where something begins, and then rarely.

use std::io::{self, Write};
use std::time::Duration;

use indicatif::ProgressBar;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::time::{Instant, interval, sleep_until};
use tokio_util::sync::CancellationToken;

use crate::cli::output::Ui;
use crate::model::show_duration;
use crate::retrieve::{Progress, RetrieveError, RetrieveRequest, Retrieved, retrieve};

const DRAWN_EVERY: Duration = Duration::from_millis(200);
const PLAIN_LINE_EVERY: Duration = Duration::from_secs(10);
/// How long a bound is where none is set.
const FAR: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// What ended it before its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stopped {
    /// Ctrl-C.
    Interrupted,
    /// `--timeout`.
    TimedOut,
}

/// Runs retrieves, one after the other.
pub struct Retrieving {
    bar: ProgressBar,
    tells_lines: bool,
    until: Instant,
    stopped: Option<Stopped>,
}

impl Retrieving {
    pub fn new(ui: &Ui, timeout: Option<Duration>) -> Self {
        let bar = ui.progress_line();
        Retrieving {
            tells_lines: bar.is_hidden() && !ui.is_quiet(),
            bar,
            until: Instant::now() + timeout.unwrap_or(FAR),
            stopped: None,
        }
    }

    /// What ended the last one.
    pub fn stopped(&self) -> Option<Stopped> {
        self.stopped
    }

    /// Brings one study; `None` where Ctrl-C was pressed a second time.
    pub async fn run(&mut self, request: &RetrieveRequest) -> Result<Option<Retrieved>, RetrieveError> {
        self.bar.reset();
        let (sender, progress) = watch::channel(Progress::default());
        let cancel = CancellationToken::new();
        let mut retrieving = std::pin::pin!(retrieve(request, sender, cancel.clone()));
        // Where the signal can't be had, Ctrl-C ends the process as it always does.
        let mut interrupts = signal(SignalKind::interrupt()).ok();
        let mut ticks = interval(DRAWN_EVERY);
        let mut teller = Teller::new(request);
        loop {
            let interrupted = async {
                match &mut interrupts {
                    Some(interrupts) => interrupts.recv().await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                retrieved = &mut retrieving => {
                    self.bar.finish_and_clear();
                    return retrieved.map(Some);
                }
                _ = interrupted => {
                    if self.stopped.replace(Stopped::Interrupted).is_some() {
                        return Ok(None);
                    }
                    cancel.cancel();
                }
                () = sleep_until(self.until), if self.stopped.is_none() => {
                    self.stopped = Some(Stopped::TimedOut);
                    cancel.cancel();
                }
                _ = ticks.tick() => {
                    let state = progress.borrow().clone();
                    if !self.bar.is_hidden() {
                        self.bar.set_message(teller.state(&state));
                    } else if self.tells_lines && teller.is_due(&state) {
                        // Nothing is left to be told where standard error itself is closed.
                        let _ = writeln!(io::stderr().lock(), "{}", teller.state(&state));
                    }
                }
            }
        }
    }
}

/// Puts progress into words.
struct Teller {
    study: String,
    began: Instant,
    told_at: Instant,
    told_of: Option<(Progress, Instant)>,
}

impl Teller {
    fn new(request: &RetrieveRequest) -> Self {
        let now = Instant::now();
        Teller {
            study: request.study_instance_uid.to_string(),
            began: now,
            told_at: now,
            told_of: None,
        }
    }

    /// Whether a plain line is due: a source begins, or much time has passed.
    fn is_due(&mut self, state: &Progress) -> bool {
        let is_new = match &self.told_of {
            None => state.station.is_some(),
            Some((told, _)) => (&told.station, told.method) != (&state.station, state.method),
        };
        let is_due = is_new || (state.station.is_some() && self.told_at.elapsed() >= PLAIN_LINE_EVERY);
        if is_due {
            self.told_at = Instant::now();
        }
        is_due
    }

    /// `1.2.3: 412 of 1000 instances from SITEB by get, 85/s, 7s left`
    fn state(&mut self, state: &Progress) -> String {
        let Some(station) = &state.station else {
            return format!("{}: asking who has it", self.study);
        };
        let is_same_attempt = self
            .told_of
            .as_ref()
            .is_some_and(|(told, _)| (&told.station, told.method) == (&state.station, state.method));
        let since = match &self.told_of {
            Some((_, since)) if is_same_attempt => *since,
            _ => Instant::now(),
        };
        self.told_of = Some((state.clone(), since));
        let mut text = format!(
            "{}: {} of {} instances from {station}",
            self.study, state.instances, state.of
        );
        if let Some(method) = state.method {
            text.push_str(&format!(" by {}", method.as_str()));
        }
        let came = state.instances.saturating_sub(state.there_before);
        let seconds = since.elapsed().as_secs_f64();
        if came > 0 && seconds > 0.5 {
            let rate = came as f64 / seconds;
            let left = state.of.saturating_sub(state.instances) as f64 / rate;
            text.push_str(&format!(", {rate:.0}/s"));
            if state.bytes > 0 {
                let megabytes = state.bytes as f64 / 1e6 / self.began.elapsed().as_secs_f64();
                text.push_str(&format!(", {megabytes:.1} MB/s"));
            }
            let left = Duration::from_secs(left.ceil().clamp(0.0, 1e9) as u64);
            text.push_str(&format!(", {} left", show_duration(left)));
        }
        text
    }
}

//! A linked query under way: all stations asked at the same moment, their answers read fairly in turn.
//!
//! Invariants: one station's failure or silence costs no other's answers. Memory is bounded by the channels, whatever
//! the stations send. Linked rows wait for the local ones at most `query.local_first`; once the others have finished, a
//! linked cluster holds up the end at most `query.deadline`, counted only while the caller waits for us. Dropping the
//! query ends all associations.

use std::collections::{BTreeMap, VecDeque};
use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};

use crate::model::{Configuration, CrossReference, LedgerEntry, Outcome, Query, StationName};
use crate::store::LinkHealth;

use super::embedded::EmbeddedArchive;
use super::event::{Ended, Event};
use super::policy::{Role, Target};
use super::session::Session;
use super::stated::StudyStates;
use super::stop::{Stop, StopSender};
use super::tls::LinkTls;
use super::turns::Turns;

/// How many answers of a station wait for the caller.
const WAITING_ANSWERS: usize = 64;
/// How long to wait where no bound is set.
pub const FAR: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// What is to be asked.
#[derive(Debug, Clone)]
pub struct Request {
    /// The configuration under which the query runs to its end.
    pub configuration: Arc<Configuration>,
    /// The query.
    pub query: Arc<Query>,
    /// Which patient IDs are one person's, as far as the query has a use for it.
    pub cross_reference: Arc<CrossReference>,
    /// Whom to ask, as `plan` says.
    pub targets: Vec<Target>,
    /// How the links fared before.
    pub health: BTreeMap<StationName, LinkHealth>,
    /// TLS towards the stations that are asked over it.
    pub tls: LinkTls,
    /// The embedded archive, should a station be it.
    pub archive: EmbeddedArchive,
    /// What is on record of studies; `None` where that is nothing, or does not matter.
    pub states: Option<StudyStates>,
    /// How long the whole query may take.
    pub timeout: Option<Duration>,
    /// Linked stations that keep failing, each with the time before which it is not asked.
    pub resting: BTreeMap<StationName, Timestamp>,
    /// The turns at stations, where queries share them.
    pub turns: Option<Arc<Turns>>,
}

/// A linked query under way.
#[derive(Debug)]
pub struct LinkedQuery {
    lanes: Vec<Lane>,
    /// The lane that is read next.
    turn: usize,
    /// What needs no station to be known.
    ready: VecDeque<Event>,
    stop_archives: StopSender,
    stop_linked: StopSender,
    /// Until when linked rows wait for local ones; `None` once they flow.
    hold_linked_until: Option<Instant>,
    deadline: Duration,
    /// How long the caller has waited since a station last ended.
    waited: Duration,
    waiting_since: Option<Instant>,
    times_out: Option<(Instant, Duration)>,
    /// Ends the sessions when the query is dropped.
    sessions: JoinSet<()>,
}

/// The answers of one station.
#[derive(Debug)]
struct Lane {
    target: usize,
    station: StationName,
    role: Role,
    events: mpsc::Receiver<Event>,
    is_open: bool,
}

impl LinkedQuery {
    /// Begins to ask. Must be called within a tokio runtime.
    pub fn start(request: Request) -> Self {
        let settings = &request.configuration.settings;
        let began = Instant::now();
        let mut query = LinkedQuery {
            lanes: Vec::new(),
            turn: 0,
            ready: VecDeque::new(),
            stop_archives: StopSender::new(),
            stop_linked: StopSender::new(),
            hold_linked_until: Some(began + settings.duration("query.local_first")),
            deadline: settings.duration("query.deadline"),
            waited: Duration::ZERO,
            waiting_since: None,
            times_out: request.timeout.map(|timeout| (began + timeout, timeout)),
            sessions: JoinSet::new(),
        };
        for (index, target) in request.targets.iter().enumerate() {
            query.add(&request, index, target);
        }
        query.let_linked_flow_after_archives();
        query
    }

    /// Asks a target, or tells why not.
    fn add(&mut self, request: &Request, index: usize, target: &Target) {
        let Some(station) = request.configuration.stations.get(target.station) else {
            return;
        };
        if let Some(skip) = target.skip {
            let mut entry = LedgerEntry::new(station.name.clone(), Outcome::Skipped);
            entry.was_due = skip.was_due();
            entry.detail = Some(skip.to_string());
            self.ready.push_back(ended(index, entry));
            return;
        }
        if let (Role::Linked, Some(retry_at)) = (target.role, request.resting.get(&station.name)) {
            let mut entry = LedgerEntry::new(station.name.clone(), Outcome::Failed);
            entry.retry_at = Some(*retry_at);
            entry.detail = Some("it keeps failing, and was not asked".to_owned());
            self.ready.push_back(ended(index, entry));
            return;
        }
        let (sender, events) = mpsc::channel(WAITING_ANSWERS);
        let stop = match target.role {
            Role::Archive => &self.stop_archives,
            Role::Linked => &self.stop_linked,
        };
        let session = Session {
            target: index,
            configuration: Arc::clone(&request.configuration),
            station: target.station,
            may_speak_linked: target.may_speak_linked,
            query: Arc::clone(&request.query),
            cross_reference: Arc::clone(&request.cross_reference),
            tls: request.tls.clone(),
            archive: request.archive.clone(),
            states: request.states.clone(),
            known_sets: request
                .health
                .get(&station.name)
                .and_then(|health| health.character_sets.clone()),
            failures_in_a_row: request
                .health
                .get(&station.name)
                .map_or(0, |health| health.failures_in_a_row),
            events: sender,
            stop: stop.signal(),
            turns: request.turns.clone(),
        };
        self.sessions.spawn(session.run());
        self.lanes.push(Lane {
            target: index,
            station: station.name.clone(),
            role: target.role,
            events,
            is_open: true,
        });
    }

    /// Tells every station to stop, by C-CANCEL. What comes after is only the stations' ends, within about two seconds.
    pub fn cancel(&self) {
        self.stop_archives.send(Stop::Cancelled);
        self.stop_linked.send(Stop::Cancelled);
    }

    /// The next event; `None` after the last station's end. Cancel-safe.
    pub async fn next(&mut self) -> Option<Event> {
        loop {
            if let Some(event) = self.take_ready() {
                return Some(event);
            }
            if self.lanes.iter().all(|lane| !lane.is_open) {
                return None;
            }
            let since = *self.waiting_since.get_or_insert_with(Instant::now);
            let until = self.next_bound(since);
            let polled = timeout_at(until, poll_fn(|context| self.poll(context)));
            match pin!(polled).await {
                Ok(event) => return Some(event),
                Err(_) => self.pass_bounds(since),
            }
        }
    }

    /// An event that is there already, without waiting.
    pub fn take_ready(&mut self) -> Option<Event> {
        if let Some(event) = self.ready.pop_front() {
            return Some(event);
        }
        // Also where answers come so fast that nobody ever waits.
        if self.hold_linked_until.is_some() || self.times_out.is_some() {
            self.pass_fixed_bounds(Instant::now());
        }
        match self.poll(&mut Context::from_waker(std::task::Waker::noop())) {
            Poll::Ready(event) => Some(event),
            Poll::Pending => None,
        }
    }

    /// Looks at each lane once, beginning with the one whose turn it is.
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Event> {
        for step in 0..self.lanes.len() {
            let index = (self.turn + step) % self.lanes.len();
            let holds = self.hold_linked_until.is_some();
            let Some(lane) = self.lanes.get_mut(index) else {
                continue;
            };
            if !lane.is_open || (holds && lane.role == Role::Linked) {
                continue;
            }
            if let Poll::Ready(event) = lane.events.poll_recv(context) {
                self.turn = index + 1;
                return Poll::Ready(self.received(index, event));
            }
        }
        Poll::Pending
    }

    fn received(&mut self, index: usize, event: Option<Event>) -> Event {
        if let Some(since) = self.waiting_since.take() {
            self.waited += since.elapsed();
        }
        let event = match (event, self.lanes.get_mut(index)) {
            (Some(event), _) => event,
            (None, Some(lane)) => died(lane),
            (None, None) => unreachable!("a lane that was read exists"),
        };
        if let (Event::Ended(_), Some(lane)) = (&event, self.lanes.get_mut(index)) {
            lane.is_open = false;
            self.waited = Duration::ZERO;
            self.let_linked_flow_after_archives();
        }
        event
    }

    fn archives_have_ended(&self) -> bool {
        self.lanes
            .iter()
            .all(|lane| lane.role == Role::Linked || !lane.is_open)
    }

    fn let_linked_flow_after_archives(&mut self) {
        if self.archives_have_ended() {
            self.hold_linked_until = None;
        }
    }

    /// When something is to be done though no station says anything.
    fn next_bound(&self, since: Instant) -> Instant {
        let overdue = self.overdue_at(since);
        let times_out = self.times_out.map(|(at, _)| at);
        let bounds = [self.hold_linked_until, overdue, times_out];
        bounds.into_iter().flatten().min().unwrap_or_else(|| since + FAR)
    }

    /// When linked clusters have held up the end for too long.
    fn overdue_at(&self, since: Instant) -> Option<Instant> {
        let is_running = self.archives_have_ended() && !self.stop_linked.is_sent();
        is_running.then(|| since + self.deadline.saturating_sub(self.waited))
    }

    fn pass_bounds(&mut self, since: Instant) {
        let now = Instant::now();
        if self.overdue_at(since).is_some_and(|at| at <= now) {
            self.stop_linked.send(Stop::Overdue(self.deadline));
        }
        self.pass_fixed_bounds(now);
    }

    fn pass_fixed_bounds(&mut self, now: Instant) {
        if let Some((_, timeout)) = self.times_out.take_if(|(at, _)| *at <= now) {
            self.stop_archives.send(Stop::TimedOut(timeout));
            self.stop_linked.send(Stop::TimedOut(timeout));
        }
        if self.hold_linked_until.is_some_and(|until| until <= now) {
            self.hold_linked_until = None;
        }
    }
}

fn ended(target: usize, entry: LedgerEntry) -> Event {
    Event::Ended(Box::new(Ended {
        target,
        entry,
        report: None,
    }))
}

/// The end of a session that went away without one: a fault of ours, which must not look like a good answer.
fn died(lane: &Lane) -> Event {
    let mut entry = LedgerEntry::new(lane.station.clone(), Outcome::Failed);
    entry.detail = Some("its search ended by an internal fault".to_owned());
    ended(lane.target, entry)
}

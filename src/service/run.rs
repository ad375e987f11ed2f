//! The life of the service: lock, configuration, sockets, signals, and an end that lets operations finish.
//!
//! Invariant: one service runs on a store, and it holds the lock from before it reads the store to after it has removed
//! its socket. What can be refused is refused before it says that it is ready.

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use jiff::Timestamp;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::announce::announce_arrivals;
use super::arriving::ArrivingStudies;
use super::control::{Answer, ControlSocket, Failure, LinkTry, Request, ServiceStatus, socket_path};
use super::cross_reference::KnownPatients;
use super::expiry::expire_visitors;
use super::find::OpenQuestions;
use super::health::watch_links;
use super::hl7::work_off_messages;
use super::host_names::{HostNames, keep_host_names};
use super::lasting::keep_at;
use super::limits::WaitingRoom;
use super::listener::{Bound, Transport};
use super::poll::poll_archives;
use super::prefetch::Prefetch;
use super::pull::pull_objects;
use super::records::Records;
use super::relay::relay_updates;
use super::reload::{AllListening, ReloadRequests, Reloader};
use super::schedule::Schedule;
use super::update::Updates;
use super::{Associations, InForce, RejectionLog, Service, Snapshot, State, Unusable, locked, notify};
use crate::audit::Attribution;
use crate::dimse::limit_bytes_in_flight;
use crate::link::{EmbeddedArchive, StudyStates, Turns};
use crate::store::{Access, HeldStore, ServiceLock, ServiceLockError, SharedStore, Store, StoreError};
use crate::updates::hl7::feed::Feed;

/// How many connections may wait to ask for an association, all sources together.
const WAITING_CONNECTIONS: usize = 256;

/// How often the files of the store are looked at.
const STORE_TICK: Duration = Duration::from_millis(500);

/// How many bytes of data sets are held at once that came from peers, all associations together: with what a few
/// hundred associations need besides, the service stays below 256 MiB.
const BYTES_IN_FLIGHT: usize = 96 * 1024 * 1024;

/// How long threads that read or write the store are waited for at the end.
const LAST_WRITES: Duration = Duration::from_secs(2);

/// Why the service did not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServeError {
    /// Another one runs on the store, or its lock can't be had.
    #[error("the service can't start")]
    Lock(#[source] ServiceLockError),
    /// The store can't be read.
    #[error("the service can't start")]
    Store(#[source] StoreError),
    /// The newest generation can't be used.
    #[error("the saved configuration is unusable")]
    Unusable(#[source] Unusable),
    /// The address is not to be had.
    #[error("cannot listen on {address}")]
    Listen {
        /// Which.
        address: SocketAddr,
        /// Why not.
        source: io::Error,
    },
    /// The control socket can't be made.
    #[error("cannot make the control socket {}", .path.display())]
    Control {
        /// Where.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The system gives us no threads or signals.
    #[error("the service can't start")]
    System(#[source] io::Error),
}

/// How the service ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// As it was asked to; `cut_off` associations were still open when their time was up.
    Drained {
        /// How many.
        cut_off: usize,
    },
    /// At once, because it was told so twice.
    AtOnce,
}

/// Runs the service on the store at `path` until a signal ends it. What it removes is recorded as done by `attribution`.
pub fn run(path: &Path, attribution: Attribution) -> Result<Ended, ServeError> {
    if !path.exists() {
        // Makes it with its folders, where the lock's file can then be.
        Store::open(path, Access::ReadWrite).map_err(ServeError::Store)?;
    }
    let lock = ServiceLock::acquire(path).map_err(ServeError::Lock)?;
    allow_many_sockets();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(ServeError::System)?;
    let ended = runtime.block_on(serve(path, lock, attribution));
    match ended {
        Ok(Ended::AtOnce) => runtime.shutdown_background(),
        _ => runtime.shutdown_timeout(LAST_WRITES),
    }
    ended
}

/// The usual limit of 1,024 descriptors is for programs that use select(2); the hard one is the administrator's.
fn allow_many_sockets() {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        ..limit
    };
    if let Err(error) = setrlimit(Resource::Nofile, raised) {
        tracing::debug!("the limit of open files stays at {:?}: {error}", limit.current);
    }
}

async fn serve(path: &Path, lock: ServiceLock, attribution: Attribution) -> Result<Ended, ServeError> {
    // First of all: a signal that comes while we start must not kill us half-way.
    let mut signals = Signals::new().map_err(ServeError::System)?;
    let held = HeldStore::open(path, lock).map_err(ServeError::Store)?;
    let open = || held.connection().map_err(ServeError::Store);
    let (store, health_store, copies) = (open()?, open()?, open()?);
    let configuration = store
        .with_blocking(Store::configuration)
        .map_err(ServeError::Store)?;
    let snapshot = Snapshot::load(configuration).map_err(ServeError::Unusable)?;
    let address = snapshot.settings().listen();
    let bind = |address| Bound::new(address).map_err(|source| ServeError::Listen { address, source });
    limit_bytes_in_flight(BYTES_IN_FLIGHT);
    let bound = bind(address)?;
    let bound_for_tls = snapshot.settings().tls_listen().map(bind).transpose()?;
    let bound_for_hl7 = snapshot.settings().hl7().listen.map(bind).transpose()?;
    let control = bind_control(path, held.lock())?;
    let prefetch = Prefetch::of(open()?, held.path()).map_err(ServeError::Store)?;
    let (records, record_writer) = Records::new(open()?);
    let known_patients = KnownPatients::load(open()?).map_err(ServeError::Store)?;
    let (updates, keeper) = Updates::new(open()?, attribution.clone());
    let of_updates = [open()?, open()?, open()?, open()?];
    let hl7 = Feed::new(open()?);
    let service = new_service(
        &held,
        snapshot,
        bound.local(),
        (records, open()?),
        known_patients,
        updates,
        hl7,
    );
    let service = Arc::new(service);
    let listening = bound.serve(&service, Transport::Plain);
    let listening_for_tls = bound_for_tls.map(|bound| {
        tracing::info!("listening for TLS on {}", bound.local());
        bound.serve(&service, Transport::Tls)
    });
    let listening_for_hl7 = bound_for_hl7.map(|bound| {
        tracing::info!("listening for HL7 on {}", bound.local());
        bound.serve(&service, Transport::Hl7)
    });
    let (reloads, requests) = ReloadRequests::new();
    let all_listening = AllListening {
        plain: listening,
        tls: listening_for_tls,
        hl7: listening_for_hl7,
    };
    tokio::spawn(Reloader::new(Arc::clone(&service), store, all_listening).run(requests));
    tokio::spawn(watch_store(Arc::clone(&service)));
    tokio::spawn(watch_links(Arc::clone(&service), health_store));
    tokio::spawn(keep_host_names(Arc::clone(&service)));
    tokio::spawn(keeper.run());
    work_on_updates(&service, of_updates, &attribution);
    tokio::spawn(expire_visitors(Arc::clone(&service), copies, attribution));
    prefetch.start(&service);
    tokio::spawn(notify::keep_watchdog_quiet());
    let answers = Answers {
        service: Arc::clone(&service),
        reloads: reloads.clone(),
    };
    let serving = control.serve(move |request| answers.clone().answer(request));
    notify::ready();
    let (generation, address) = (service.in_force.pin().generation(), service.state().listen);
    tracing::info!("listening on {address}, generation {generation} in force");
    let last_records = CancellationToken::new();
    let writing = tokio::spawn(record_writer.run(last_records.clone()));
    let ended = tokio::select! {
        () = serving => Ended::AtOnce,
        ended = until_ended(&service, &mut signals, reloads) => ended,
    };
    last_records.cancel();
    if ended != Ended::AtOnce {
        // Later than that they are lost, as in a power cut.
        let _ = timeout(LAST_WRITES, writing).await;
    }
    Ok(ended)
}

/// Begins all that makes, sends and follows updates; each ends when the service drains.
fn work_on_updates(service: &Arc<Service>, stores: [SharedStore; 4], by: &Attribution) {
    let [relayed, announced, polled, pulled] = stores;
    let announcing = announce_arrivals(Arc::clone(service), announced, by.clone());
    service.connections.spawn(announcing);
    keep_at_it(service, "the relay of updates", by, move |service, by| {
        relay_updates(service, relayed.clone(), by)
    });
    keep_at_it(
        service,
        "asking archives for what is new",
        by,
        move |service, by| poll_archives(service, polled.clone(), by),
    );
    keep_at_it(service, "the pulling of new objects", by, move |service, _| {
        pull_objects(service, pulled.clone())
    });
    keep_at_it(service, "working off HL7 messages", by, work_off_messages);
}

fn keep_at_it<F: Future<Output = ()> + Send + 'static>(
    service: &Arc<Service>,
    what: &'static str,
    by: &Attribution,
    work: impl Fn(Arc<Service>, Attribution) -> F + Send + 'static,
) {
    let (here, by) = (Arc::clone(service), by.clone());
    let begin = move || work(Arc::clone(&here), by.clone());
    let working = keep_at(what, service.drain.clone(), begin);
    service.connections.spawn(working);
}

fn bind_control(store: &Path, lock: &ServiceLock) -> Result<ControlSocket, ServeError> {
    let failed = |path: &Path, source| ServeError::Control {
        path: path.to_owned(),
        source,
    };
    let path = socket_path(store).map_err(|source| failed(store, source))?;
    ControlSocket::bind(&path, store, lock).map_err(|source| failed(&path, source))
}

fn new_service(
    store: &Arc<HeldStore>,
    snapshot: Snapshot,
    listen: SocketAddr,
    (records, expectations): (Records, SharedStore),
    known_patients: Arc<KnownPatients>,
    updates: Updates,
    hl7: Feed,
) -> Service {
    let now = Timestamp::now();
    Service {
        started: now,
        store: Arc::clone(store),
        cluster_uid: store.cluster_uid().clone(),
        in_force: InForce::new(snapshot),
        associations: Arc::new(Associations::default()),
        waiting_room: WaitingRoom::new(WAITING_CONNECTIONS),
        rejections: RejectionLog::default(),
        host_names: HostNames::default(),
        open_questions: OpenQuestions::default(),
        links: Mutex::new(Schedule::default()),
        turns: Arc::new(Turns::default()),
        retrieve_turns: Arc::default(),
        destination_turns: Arc::default(),
        arriving: ArrivingStudies::default(),
        archive: EmbeddedArchive::of_store(store.path()),
        states: StudyStates::of_store(store.path()),
        arrivals: Arc::default(),
        expectations,
        known_patients,
        records,
        updates,
        hl7,
        poll_troubles: Mutex::default(),
        state: Mutex::new(State {
            in_force_since: now,
            listen,
            refused: None,
        }),
        drain: CancellationToken::new(),
        connections: TaskTracker::new(),
    }
}

/// The signals that the service obeys.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hang_up: Signal,
}

impl Signals {
    fn new() -> io::Result<Self> {
        Ok(Signals {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hang_up: signal(SignalKind::hangup())?,
        })
    }

    /// Waits for the order to end.
    async fn end(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

/// Notices within `STORE_TICK` that the store is not the one at its path any more, also where nobody writes.
async fn watch_store(service: Arc<Service>) {
    while service
        .drain
        .run_until_cancelled(sleep(STORE_TICK))
        .await
        .is_some()
    {
        let held = Arc::clone(&service.store);
        // It logs what it finds.
        let _ = tokio::task::spawn_blocking(move || held.look()).await;
    }
}

async fn until_ended(service: &Service, signals: &mut Signals, reloads: ReloadRequests) -> Ended {
    loop {
        tokio::select! {
            _ = signals.terminate.recv() => break,
            _ = signals.interrupt.recv() => break,
            _ = signals.hang_up.recv() => {
                let reloads = reloads.clone();
                // What came of it is in the log.
                tokio::spawn(async move { reloads.reload().await });
            }
        }
    }
    notify::stopping();
    let limit = service.in_force.pin().settings().duration("timeout.drain");
    let open = service.associations.count();
    tracing::info!(
        "ending: {open} associations have {} s to finish",
        limit.as_secs_f32()
    );
    service.drain.cancel();
    service.connections.close();
    tokio::select! {
        biased;
        () = signals.end() => Ended::AtOnce,
        finished = timeout(limit, service.connections.wait()) => {
            let cut_off = if finished.is_ok() { 0 } else { service.associations.count() };
            tracing::info!("ended, {cut_off} associations cut off");
            Ended::Drained { cut_off }
        }
    }
}

/// Answers the control socket.
#[derive(Clone)]
struct Answers {
    service: Arc<Service>,
    reloads: ReloadRequests,
}

impl Answers {
    async fn answer(self, request: Request) -> Answer {
        match request {
            Request::Ping => Answer::Pong,
            Request::Status => Answer::Status(self.status()),
            Request::Reload { timeout_ms } => self.reload(Duration::from_millis(timeout_ms)).await,
            Request::Updates => {
                self.service.updates.wake();
                Answer::Updates
            }
            Request::CrossReference => self.take_cross_reference().await,
        }
    }

    async fn reload(&self, limit: Duration) -> Answer {
        let began = Instant::now();
        let in_force = || self.service.in_force.pin().generation();
        match timeout(limit, self.reloads.reload()).await {
            Ok(Some(Ok(mut report))) => {
                report.elapsed_ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
                Answer::Reload(report)
            }
            Ok(Some(Err(reason))) => Answer::Failure(Failure::NotInForce {
                in_force: in_force(),
                reason,
            }),
            Ok(None) => Answer::Failure(Failure::Ending),
            Err(_) => Answer::Failure(Failure::TimedOut { in_force: in_force() }),
        }
    }

    async fn take_cross_reference(&self) -> Answer {
        match self.service.known_patients.take_newest().await {
            Ok(change) => Answer::CrossReference { change },
            Err(reason) => Answer::Failure(Failure::CrossReferenceStays { reason }),
        }
    }

    fn status(&self) -> ServiceStatus {
        let service = &self.service;
        let now = Timestamp::now();
        let links = locked(&service.links)
            .waits(Instant::now())
            .map(|(station, wait)| LinkTry {
                station: station.to_string(),
                next_try: wait.map(|wait| now + wait),
            })
            .collect();
        let state = service.state();
        ServiceStatus {
            pid: std::process::id(),
            program: env!("CARGO_PKG_VERSION").to_owned(),
            started: service.started,
            generation: service.in_force.pin().generation(),
            in_force_since: state.in_force_since,
            listen: state.listen,
            associations: service.associations.count(),
            ending: service.drain.is_cancelled(),
            refused: state.refused.clone(),
            store_lost: service.store.refuse_lost().err().map(|error| error.to_string()),
            links,
            poll_troubles: locked(&service.poll_troubles)
                .iter()
                .map(|(station, why)| (station.to_string(), why.clone()))
                .collect(),
        }
    }
}

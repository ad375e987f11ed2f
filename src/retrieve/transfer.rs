//! Objects on their way from sources through the gate to a sink, and the counts of them.
//!
//! Invariants: nothing reaches a sink that the gate refuses. Each instance is counted once. For a station or a caller an
//! object is held back until it is whole or [`HOLD_BACK`] bytes of it are here: a source that breaks before costs nobody
//! an association.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::archive_sink::ArchiveSink;
use super::copies::Copy;
use super::object::{CheckedObject, ObjectHeader, ObjectStream, SourceBroke, check};
use super::outgoing::send_all;
use super::station_sink::{NotTaken, StationSink};
use super::{Gate, ObjectKind, Progress, Refusal, Resources};
use crate::archive::ArchiveError;
use crate::dimse::{CallerGone, Error, RetrieveResponder, Status, StatusClass, StoreObject, SubOperations};
use crate::model::{AeTitle, Station, Uid, in_full};

/// How much of an object is waited for before the first of it is sent, in bytes.
const HOLD_BACK: usize = 1024 * 1024;

/// Where objects go.
pub(crate) enum Sink<'s> {
    /// The embedded archive.
    Archive(ArchiveSink),
    /// A station, by C-STORE.
    Station(Box<StationSink<'s>>),
    /// The caller of a C-GET, who may take so long to answer.
    Caller(Duration),
}

/// Who waits for the transfer, and may end it.
pub(crate) enum Client<'t, 'r> {
    /// The caller of a C-MOVE or C-GET.
    Caller(&'t mut RetrieveResponder<'r>),
    /// A part of this process.
    Process {
        /// Ends the transfer.
        cancel: CancellationToken,
        /// How far it is.
        progress: watch::Sender<Progress>,
    },
}

/// What became of an instance that is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Wanted,
    Completed,
    Warned,
    Failed,
}

/// A transfer under way.
pub(crate) struct Transfer<'t, 'r> {
    pub(crate) client: Client<'t, 'r>,
    pub(super) sink: Sink<'t>,
    resources: &'t Resources,
    /// The AE title of the present source.
    pub(super) source: Option<AeTitle>,
    aside: Option<Box<ArchiveSink>>,
    states: HashMap<Uid, State>,
    /// Kinds of objects to come, as far as known.
    pub(super) ahead: Vec<ObjectKind>,
    /// How many instances there should be, where not all are known by name.
    expected: usize,
    counts: [usize; 4],
    /// What the gate has refused, by instance.
    pub(super) refused: BTreeMap<Uid, Refusal>,
    /// Why the sink did not take an object.
    pub(super) not_taken: Option<String>,
    /// What the embedded archive has and the sink accepts in no presentation context, with the reason.
    pub(super) not_accepted: BTreeMap<Uid, &'static str>,
}

impl<'t, 'r> Transfer<'t, 'r> {
    /// A transfer of which nothing is wanted yet.
    pub(crate) fn new(resources: &'t Resources, client: Client<'t, 'r>, sink: Sink<'t>) -> Self {
        Transfer {
            client,
            sink,
            resources,
            source: None,
            aside: None,
            states: HashMap::new(),
            ahead: Vec::new(),
            expected: 0,
            counts: [0; 4],
            refused: BTreeMap::new(),
            not_taken: None,
            not_accepted: BTreeMap::new(),
        }
    }

    /// Wants these instances and no others; `expected` is how many there are, by name or by number.
    pub(crate) fn want(&mut self, wanted: impl IntoIterator<Item = Uid>, expected: usize) {
        self.states = wanted.into_iter().map(|uid| (uid, State::Wanted)).collect();
        self.counts = [self.states.len(), 0, 0, 0];
        self.expected = expected.max(self.states.len());
    }

    /// Whether nothing more can or shall be delivered.
    pub(crate) fn is_over(&self) -> bool {
        let is_lost = match &self.sink {
            Sink::Station(station) => station.is_lost(),
            Sink::Archive(archive) => archive.has_failed(),
            Sink::Caller(_) => false,
        };
        is_lost || self.is_interrupted()
    }

    fn is_interrupted(&self) -> bool {
        match &self.client {
            Client::Caller(responder) => responder.is_cancelled() || responder.is_gone(),
            Client::Process { cancel, .. } => cancel.is_cancelled(),
        }
    }

    /// Completes when the client has cancelled, or is gone. Cancel-safe.
    pub(super) async fn interrupted(&mut self) {
        match &mut self.client {
            Client::Caller(responder) => responder.interrupted().await,
            Client::Process { cancel, .. } => cancel.cancelled().await,
        }
    }

    /// Whether an instance is still to be delivered.
    pub(crate) fn wants(&self, instance: &Uid) -> bool {
        self.states.get(instance) == Some(&State::Wanted)
    }

    /// Whether a copy has what is still to be delivered, as far as is known.
    pub(crate) fn lacks(&self, copy: &Copy) -> bool {
        match copy.is_whole() {
            true => copy.instances.keys().any(|instance| self.wants(instance)),
            false => self.remaining() > 0,
        }
    }

    /// Whether an instance that comes from a copy is taken: what is wanted, and what nobody has named before where the
    /// copy does not list all. An archive also looks at what comes twice.
    pub(super) fn accepts(&mut self, instance: &Uid, copy: &Copy) -> bool {
        let is_known = self.states.contains_key(instance);
        if !is_known && !copy.is_whole() {
            self.states.insert(instance.clone(), State::Wanted);
            self.counts[State::Wanted as usize] += 1;
        }
        let looks_again = matches!(self.client, Client::Process { .. });
        match looks_again {
            true => !copy.is_whole() || copy.instances.contains_key(instance),
            false => self.wants(instance),
        }
    }

    fn remaining(&self) -> usize {
        let [wanted, completed, warned, failed] = self.counts;
        wanted.max(self.expected.saturating_sub(completed + warned + failed))
    }

    /// How many instances have been taken.
    pub(super) fn taken(&self) -> usize {
        let [_, completed, warned, _] = self.counts;
        completed + warned
    }

    /// Which of these kinds of objects the sink takes.
    pub(super) async fn accepted_kinds(&mut self, kinds: Vec<ObjectKind>) -> Vec<ObjectKind> {
        match (&mut self.sink, &self.client) {
            (Sink::Archive(_), _) => kinds,
            (Sink::Station(station), _) => station.takes(kinds).await,
            (Sink::Caller(_), Client::Caller(responder)) => {
                let contexts = responder.sending_contexts().iter();
                let taken = contexts
                    .map(|context| (context.sop_class_uid.clone(), context.transfer_syntax_uid.clone()));
                let classes: Vec<Uid> = kinds.into_iter().map(|(class, _)| class).collect();
                taken.filter(|(class, _)| classes.contains(class)).collect()
            }
            (Sink::Caller(_), Client::Process { .. }) => Vec::new(),
        }
    }

    /// Passes one object on, if the gate lets it, and counts it; the status to answer its sender with.
    pub(super) async fn receive<S: ObjectStream>(
        &mut self,
        header: &ObjectHeader,
        stream: &mut S,
        gate: &Gate,
    ) -> Result<Status, SourceBroke> {
        let hold_back = match &self.sink {
            Sink::Archive(_) => 0,
            _ => HOLD_BACK,
        };
        let object = check(header, stream, gate, hold_back).await?;
        if let Some(refusal) = &object.refusal {
            let refusal = refusal.clone();
            tracing::warn!("an object was refused: {refusal}");
            let status = refusal.status();
            self.refused.insert(header.instance.clone(), refusal.clone());
            if let (Refusal::NotAsListed(reason), Some(archive)) = (refusal, self.aside().await) {
                archive.store(header, object, Some(reason)).await?;
            }
            // It stays wanted: another source may have the right one.
            return Ok(status);
        }
        let sent = self.send(header, object).await;
        let (state, status) = match sent {
            Ok((status, _)) => match status.class() {
                StatusClass::Success => (State::Completed, status),
                StatusClass::Warning => (State::Warned, status),
                _ => (State::Failed, status),
            },
            Err(NotSent::Sink(status)) => (State::Failed, status),
            Err(NotSent::Source) => return Err(SourceBroke),
        };
        if !matches!(state, State::Failed) {
            self.refused.remove(&header.instance);
            self.not_accepted.remove(&header.instance);
        }
        self.settle(&header.instance, state);
        self.report(sent.map_or(0, |(_, bytes)| bytes)).await;
        Ok(status)
    }

    /// The embedded archive, where one is configured, to keep refused objects aside.
    async fn aside(&mut self) -> Option<&mut ArchiveSink> {
        if let Sink::Archive(archive) = &mut self.sink {
            return Some(archive);
        }
        let resources = self.resources;
        let mut stations = resources.configuration.stations.iter();
        if self.aside.is_none() && stations.any(Station::is_embedded) {
            let (archive, configuration) = (resources.archive.clone(), resources.configuration.clone());
            let opened = tokio::task::spawn_blocking(move || archive.open(&configuration.settings));
            match opened.await {
                Ok(Ok(archive)) => self.aside = Some(Box::new(ArchiveSink::new(archive))),
                Ok(Err(error)) => {
                    tracing::warn!("a refused object was not kept aside: {}", in_full(&error));
                }
                Err(error) => tracing::error!("a refused object was not kept aside: {error}"),
            }
        }
        let source = self.source.clone();
        let archive = self.aside.as_deref_mut()?;
        archive.source = source;
        Some(archive)
    }

    fn settle(&mut self, instance: &Uid, state: State) {
        if let Some(known) = self.states.get_mut(instance) {
            self.counts[*known as usize] -= 1;
            self.counts[state as usize] += 1;
            *known = state;
        }
    }

    async fn report(&mut self, more_bytes: u64) {
        let (counts, taken) = (self.sub_operations(), self.taken() as u64);
        match &mut self.client {
            // Whether the caller is gone is asked by whoever goes on.
            Client::Caller(responder) => {
                let _ = responder.pending(counts).await;
            }
            Client::Process { progress, .. } => {
                progress.send_modify(|progress| progress.advance(taken, more_bytes));
            }
        }
    }

    async fn send<S: ObjectStream>(
        &mut self,
        header: &ObjectHeader,
        object: CheckedObject<'_, S>,
    ) -> Result<(Status, u64), NotSent> {
        match (&mut self.sink, &mut self.client) {
            (Sink::Archive(archive), _) => {
                return archive.store(header, object, None).await.map_err(NotSent::from);
            }
            (Sink::Station(station), _) => {
                let sent = send_to_station(station, header, &self.ahead, object).await;
                if let Ok((status, _)) = &sent
                    && !matches!(status.class(), StatusClass::Success | StatusClass::Warning)
                {
                    let name = &station.station().name;
                    self.not_taken = Some(format!("{name} did not take an object: {status}"));
                }
                sent
            }
            (Sink::Caller(patience), Client::Caller(responder)) => {
                let mut contexts = responder.sending_contexts().iter();
                let context = contexts
                    .find(|it| it.sop_class_uid == header.kind.0 && it.transfer_syntax_uid == header.kind.1);
                let context = context
                    .cloned()
                    .ok_or(NotSent::Sink(Status::SOP_CLASS_NOT_SUPPORTED))?;
                let announced = StoreObject {
                    sop_instance_uid: header.instance.clone(),
                    priority: 0,
                    move_originator: None,
                };
                let store = responder.store(&context, &announced)?;
                let sent = send_all(store, object, *patience).await;
                if matches!(sent, Err(NotSent::Source)) {
                    responder.abort().await;
                }
                sent
            }
            (Sink::Caller(_), Client::Process { .. }) => Err(NotSent::Sink(Status::PROCESSING_FAILURE)),
        }
    }

    /// Waits until all that was taken is where it should be; an embedded archive that failed says why.
    pub(super) async fn settle_sink(&mut self) -> Result<(), ArchiveError> {
        match &mut self.sink {
            Sink::Archive(archive) => archive.finish().await,
            _ => match &mut self.aside {
                Some(archive) => archive.finish().await,
                None => Ok(()),
            },
        }
    }

    /// Closes the association with a station that objects were sent to.
    pub(crate) async fn close(&mut self) {
        if let Some(archive) = &mut self.aside
            && let Err(error) = archive.finish().await
        {
            tracing::warn!("a refused object was not kept aside: {}", in_full(&error));
        }
        if let Sink::Station(station) = &mut self.sink {
            station.close().await;
        }
    }

    /// How many instances are delivered, failed, and still to come.
    pub(crate) fn sub_operations(&self) -> SubOperations {
        let count = |count: usize| Some(u16::try_from(count).unwrap_or(u16::MAX));
        let [_, completed, warned, failed] = self.counts;
        SubOperations {
            remaining: count(self.remaining()),
            completed: count(completed),
            failed: count(failed),
            warning: count(warned),
        }
    }

    /// Whether the client has cancelled.
    pub(crate) fn is_cancelled(&self) -> bool {
        match &self.client {
            Client::Caller(responder) => responder.is_cancelled(),
            Client::Process { cancel, .. } => cancel.is_cancelled(),
        }
    }

    /// Counts what never came as failed, unless it was cancelled; the instances that failed and are known by name.
    pub(crate) fn fail_the_rest(&mut self, is_cancelled: bool) -> Vec<Uid> {
        if !is_cancelled {
            let unnamed = self.remaining() - self.counts[State::Wanted as usize];
            for state in self.states.values_mut().filter(|it| **it == State::Wanted) {
                *state = State::Failed;
            }
            self.counts[State::Failed as usize] += self.counts[State::Wanted as usize] + unnamed;
            self.counts[State::Wanted as usize] = 0;
            self.expected = 0;
        }
        let failed = self.states.iter().filter(|(_, state)| **state == State::Failed);
        let mut failed: Vec<Uid> = failed.map(|(uid, _)| uid.clone()).collect();
        failed.sort_unstable();
        failed
    }

    /// What the gate refused in all, else what the sink accepts in no presentation context, in words; `None` where it was
    /// nothing.
    pub(crate) fn refusals(&self) -> Option<String> {
        let Some(first) = self.refused.values().next() else {
            return self.not_accepted().map(str::to_owned);
        };
        Some(match self.refused.len() {
            1 => format!("an object was refused: {first}"),
            count => format!("{count} objects were refused: {first}"),
        })
    }

    /// Why objects of the embedded archive were not sent; `None` where all were that are there.
    pub(crate) fn not_accepted(&self) -> Option<&'static str> {
        self.not_accepted.values().next().copied()
    }
}

async fn send_to_station<S: ObjectStream>(
    station: &mut StationSink<'_>,
    header: &ObjectHeader,
    ahead: &[ObjectKind],
    object: CheckedObject<'_, S>,
) -> Result<(Status, u64), NotSent> {
    let (announced, patience) = (station.announce(&header.instance), station.patience());
    let (association, context) = station.ready_for(&header.kind, ahead).await?;
    let sent = match association.store(&context, &announced) {
        Ok(store) => send_all(store, object, patience).await,
        Err(error) => Err(ToStation::Lost(error)),
    };
    match sent {
        Ok((status, bytes)) => {
            station.answered(status);
            Ok((status, bytes))
        }
        Err(ToStation::Lost(error)) => {
            station.lose(&error);
            Err(NotSent::Sink(Status::PROCESSING_FAILURE))
        }
        // The station must not take a part for the whole.
        Err(ToStation::Source) => {
            station.abort().await;
            Err(NotSent::Source)
        }
    }
}

/// Why an object was not sent to its end.
enum NotSent {
    /// The sink did not take it; what the source is answered.
    Sink(Status),
    Source,
}

impl From<CallerGone> for NotSent {
    fn from(_: CallerGone) -> Self {
        NotSent::Sink(Status::PROCESSING_FAILURE)
    }
}

impl From<NotTaken> for NotSent {
    fn from(reason: NotTaken) -> Self {
        NotSent::Sink(match reason {
            NotTaken::Kind => Status::SOP_CLASS_NOT_SUPPORTED,
            NotTaken::Unreachable => Status::PROCESSING_FAILURE,
        })
    }
}

impl From<SourceBroke> for NotSent {
    fn from(_: SourceBroke) -> Self {
        NotSent::Source
    }
}

/// The same of an object for a station, whose association may break.
enum ToStation {
    Lost(Error),
    Source,
}

impl From<Error> for ToStation {
    fn from(error: Error) -> Self {
        ToStation::Lost(error)
    }
}

impl From<SourceBroke> for ToStation {
    fn from(_: SourceBroke) -> Self {
        ToStation::Source
    }
}

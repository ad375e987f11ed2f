//! Objects on their way to the destination of a C-MOVE or the caller of a C-GET, and what is told of them.
//!
//! Invariants: each instance is counted once. An object is held back until it is whole or [`HOLD_BACK`] bytes of it are
//! here: a source that breaks before costs nobody an association. No more of an object is ever in memory.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use super::destination::{Destination, NotTaken};
use super::holdings::{Holding, StudyHeld};
use crate::dimse::{
    CallerGone, Error, RetrieveEnd, RetrieveResponder, Status, StatusClass, Store, StoreObject,
    StoreToCaller, SubOperations,
};
use crate::model::Uid;
use crate::retrieve::ObjectKind;

/// How much of an object is waited for before the first of it is sent, in bytes.
const HOLD_BACK: usize = 1024 * 1024;

/// Where objects go.
pub(super) enum Sink<'s> {
    /// To the caller, who may take so long to answer.
    Caller(Duration),
    Destination(Box<Destination<'s>>),
}

/// An object as it is announced.
#[derive(Debug, Clone)]
pub(super) struct Announced {
    pub(super) kind: ObjectKind,
    pub(super) instance: Uid,
}

/// The data set of an object, piece by piece.
pub(super) trait Pieces {
    /// The next bytes; `None` after the last.
    async fn next(&mut self) -> Result<Option<Vec<u8>>, SourceBroke>;
}

/// The rest of an object will not come.
#[derive(Debug)]
pub(super) struct SourceBroke;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Wanted,
    Completed,
    Warned,
    Failed,
}

/// A retrieve under way.
pub(super) struct Delivery<'d, 'r> {
    pub(super) responder: &'d mut RetrieveResponder<'r>,
    sink: Sink<'d>,
    fates: HashMap<Uid, Fate>,
    /// Kinds of objects to come, as far as known.
    pub(super) ahead: Vec<ObjectKind>,
    /// How many instances there should be, where not all are known by name.
    expected: usize,
    counts: [usize; 4],
}

impl<'d, 'r> Delivery<'d, 'r> {
    pub(super) fn new(
        responder: &'d mut RetrieveResponder<'r>,
        sink: Sink<'d>,
        wanted: HashSet<Uid>,
        expected: usize,
    ) -> Self {
        let fates: HashMap<Uid, Fate> = wanted.into_iter().map(|uid| (uid, Fate::Wanted)).collect();
        Delivery {
            responder,
            sink,
            expected: expected.max(fates.len()),
            counts: [fates.len(), 0, 0, 0],
            fates,
            ahead: Vec::new(),
        }
    }

    /// Whether nothing more can or shall be delivered.
    pub(super) fn is_over(&self) -> bool {
        let lost = matches!(&self.sink, Sink::Destination(destination) if destination.is_lost());
        lost || self.responder.is_cancelled() || self.responder.is_gone()
    }

    /// Whether an instance is still to be delivered.
    pub(super) fn wants(&self, instance: &Uid) -> bool {
        self.fates.get(instance) == Some(&Fate::Wanted)
    }

    /// Whether a source has what is still to be delivered, as far as is known.
    pub(super) fn lacks(&self, study: &StudyHeld, holding: &Holding) -> bool {
        match holding.is_whole {
            true => holding.listed.keys().any(|instance| self.wants(instance)),
            false => study.wanted.iter().any(|instance| self.wants(instance)) || self.unnamed() > 0,
        }
    }

    /// Takes an instance that nobody has named before.
    pub(super) fn expect(&mut self, instance: &Uid) {
        if !self.fates.contains_key(instance) {
            self.fates.insert(instance.clone(), Fate::Wanted);
            self.counts[Fate::Wanted as usize] += 1;
        }
    }

    fn remaining(&self) -> usize {
        let [wanted, completed, warned, failed] = self.counts;
        wanted.max(self.expected.saturating_sub(completed + warned + failed))
    }

    /// How many of those that remain nobody has named.
    fn unnamed(&self) -> usize {
        self.remaining() - self.counts[Fate::Wanted as usize]
    }

    /// Which of these kinds of objects are taken where they go.
    pub(super) async fn takes(&mut self, kinds: Vec<ObjectKind>) -> Vec<ObjectKind> {
        match &mut self.sink {
            Sink::Caller(_) => {
                let contexts = self.responder.sending_contexts().iter();
                let taken = contexts
                    .map(|context| (context.sop_class_uid.clone(), context.transfer_syntax_uid.clone()));
                let classes: Vec<Uid> = kinds.into_iter().map(|(class, _)| class).collect();
                taken.filter(|(class, _)| classes.contains(class)).collect()
            }
            Sink::Destination(destination) => destination.takes(kinds).await,
        }
    }

    /// Delivers one object that is wanted, and tells the caller.
    pub(super) async fn deliver(
        &mut self,
        object: &Announced,
        pieces: &mut impl Pieces,
    ) -> Result<(), SourceBroke> {
        let mut held = Vec::new();
        let mut length = 0;
        let mut is_whole = false;
        while length < HOLD_BACK && !is_whole {
            match pieces.next().await? {
                Some(bytes) => {
                    length += bytes.len();
                    held.push(bytes);
                }
                None => is_whole = true,
            }
        }
        let sent = self.send(object, held, (!is_whole).then_some(pieces)).await;
        let fate = match sent {
            Ok(status) => match status.class() {
                StatusClass::Success => Fate::Completed,
                StatusClass::Warning => Fate::Warned,
                _ => Fate::Failed,
            },
            Err(NotSent::Sink) => Fate::Failed,
            Err(NotSent::Source) => return Err(SourceBroke),
        };
        self.settle(&object.instance, fate);
        let counts = self.sub_operations();
        // Whether the caller is gone is asked by whoever goes on.
        let _ = self.responder.pending(counts).await;
        Ok(())
    }

    fn settle(&mut self, instance: &Uid, fate: Fate) {
        if let Some(known) = self.fates.get_mut(instance) {
            self.counts[*known as usize] -= 1;
            self.counts[fate as usize] += 1;
            *known = fate;
        }
    }

    async fn send(
        &mut self,
        object: &Announced,
        held: Vec<Vec<u8>>,
        rest: Option<&mut impl Pieces>,
    ) -> Result<Status, NotSent> {
        match &mut self.sink {
            Sink::Caller(patience) => {
                let mut contexts = self.responder.sending_contexts().iter();
                let context = contexts
                    .find(|it| it.sop_class_uid == object.kind.0 && it.transfer_syntax_uid == object.kind.1);
                let context = context.cloned().ok_or(NotSent::Sink)?;
                let announced = StoreObject {
                    sop_instance_uid: object.instance.clone(),
                    priority: 0,
                    move_originator: None,
                };
                let store = self.responder.store(&context, &announced)?;
                let sent = send_all(store, held, rest, *patience).await;
                if matches!(sent, Err(NotSent::Source)) {
                    self.responder.abort().await;
                }
                sent
            }
            Sink::Destination(destination) => {
                let (announced, patience) = (destination.announce(&object.instance), destination.patience());
                let (association, context) = destination.ready_for(&object.kind, &self.ahead).await?;
                let sent = match association.store(&context, &announced) {
                    Ok(store) => send_all(store, held, rest, patience).await,
                    Err(error) => Err(ToDestination::Lost(error)),
                };
                match sent {
                    Ok(status) => {
                        destination.answered(status);
                        Ok(status)
                    }
                    Err(ToDestination::Lost(error)) => {
                        destination.lose(&error);
                        Err(NotSent::Sink)
                    }
                    Err(ToDestination::Source) => {
                        destination.abort().await;
                        Err(NotSent::Source)
                    }
                }
            }
        }
    }

    fn sub_operations(&self) -> SubOperations {
        let count = |count: usize| Some(u16::try_from(count).unwrap_or(u16::MAX));
        let [_, completed, warned, failed] = self.counts;
        SubOperations {
            remaining: count(self.remaining()),
            completed: count(completed),
            failed: count(failed),
            warning: count(warned),
        }
    }

    /// Closes what is open, counts what never came as failed, and says how all ended.
    pub(super) async fn end(mut self, remark: String) -> RetrieveEnd {
        if let Sink::Destination(destination) = &mut self.sink {
            destination.close().await;
        }
        let is_cancelled = self.responder.is_cancelled();
        if !is_cancelled {
            let unnamed = self.unnamed();
            self.fates
                .values_mut()
                .filter(|fate| **fate == Fate::Wanted)
                .for_each(|fate| *fate = Fate::Failed);
            self.counts[Fate::Failed as usize] += self.counts[Fate::Wanted as usize] + unnamed;
            self.counts[Fate::Wanted as usize] = 0;
            self.expected = 0;
        }
        let [_, completed, warned, failed] = self.counts;
        let status = match (completed + warned, warned + failed) {
            _ if is_cancelled => Status::CANCEL,
            (_, 0) => Status::SUCCESS,
            (0, _) => Status::CANNOT_PERFORM,
            _ => Status::WARNING,
        };
        let failed = self.fates.iter().filter(|(_, fate)| **fate == Fate::Failed);
        let mut failed_instances: Vec<Uid> = failed.map(|(uid, _)| uid.clone()).collect();
        failed_instances.sort_unstable();
        RetrieveEnd {
            status,
            comment: (!remark.is_empty()).then_some(remark),
            sub_operations: self.sub_operations(),
            failed_instances,
        }
    }
}

/// Why an object was not sent to its end.
enum NotSent {
    Sink,
    Source,
}

impl From<CallerGone> for NotSent {
    fn from(_: CallerGone) -> Self {
        NotSent::Sink
    }
}

impl From<NotTaken> for NotSent {
    fn from(_: NotTaken) -> Self {
        NotSent::Sink
    }
}

impl From<SourceBroke> for NotSent {
    fn from(_: SourceBroke) -> Self {
        NotSent::Source
    }
}

/// The same of an object for a destination, whose association may break.
enum ToDestination {
    Lost(Error),
    Source,
}

impl From<Error> for ToDestination {
    fn from(error: Error) -> Self {
        ToDestination::Lost(error)
    }
}

impl From<SourceBroke> for ToDestination {
    fn from(_: SourceBroke) -> Self {
        ToDestination::Source
    }
}

/// A C-STORE under way, to whomever.
trait Storing {
    type Lost;
    async fn send(&mut self, bytes: &[u8]) -> Result<(), Self::Lost>;
    async fn finish(self, within: Duration) -> Result<Status, Self::Lost>;
}

impl Storing for Store<'_> {
    type Lost = Error;
    async fn send(&mut self, bytes: &[u8]) -> Result<(), Error> {
        Store::send(self, bytes).await
    }
    async fn finish(self, within: Duration) -> Result<Status, Error> {
        Store::finish(self, within).await
    }
}

impl Storing for StoreToCaller<'_> {
    type Lost = CallerGone;
    async fn send(&mut self, bytes: &[u8]) -> Result<(), CallerGone> {
        StoreToCaller::send(self, bytes).await
    }
    async fn finish(self, within: Duration) -> Result<Status, CallerGone> {
        StoreToCaller::finish(self, within).await
    }
}

async fn send_all<S: Storing, E: From<S::Lost> + From<SourceBroke>>(
    mut store: S,
    held: Vec<Vec<u8>>,
    rest: Option<&mut impl Pieces>,
    patience: Duration,
) -> Result<Status, E> {
    for bytes in held {
        store.send(&bytes).await?;
    }
    if let Some(rest) = rest {
        while let Some(bytes) = rest.next().await? {
            store.send(&bytes).await?;
        }
    }
    Ok(store.finish(patience).await?)
}

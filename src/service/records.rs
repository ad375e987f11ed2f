//! What queries and retrieves leave in the store: ledgers, what was seen of links, that a study was in use, conflicts.
//!
//! Invariant: no query waits for the store. What comes faster than it can be written, beyond a bounded number, is lost
//! and counted in the log. What was handed over before the end is written at the end.

use jiff::Timestamp;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::chain;
use crate::model::{QueryLedger, StudyConflict, Uid};
use crate::store::{LinkReport, SharedStore, StudyUse};

/// How many records wait to be written.
const WAITING: usize = 4096;
/// How many are written in one transaction.
const BATCH: usize = 256;

/// One thing to be written.
#[derive(Debug)]
enum Record {
    Ledger(Box<QueryLedger>),
    Link(LinkReport),
    Use(StudyUse),
    Conflict(Box<StudyConflict>),
}

/// Takes what is to be written.
#[derive(Debug)]
pub(super) struct Records(mpsc::Sender<Record>);

/// Writes it.
#[derive(Debug)]
pub(super) struct RecordWriter {
    store: SharedStore,
    waiting: mpsc::Receiver<Record>,
}

impl Records {
    /// What takes records, and what writes them to `store`.
    pub(super) fn new(store: SharedStore) -> (Self, RecordWriter) {
        let (sender, waiting) = mpsc::channel(WAITING);
        let writer = RecordWriter { store, waiting };
        (Records(sender), writer)
    }

    /// Keeps the ledger of a query.
    pub(super) fn ledger(&self, ledger: QueryLedger) {
        self.put(Record::Ledger(Box::new(ledger)));
    }

    /// Keeps what was seen of a link.
    pub(super) fn link(&self, report: LinkReport) {
        self.put(Record::Link(report));
    }

    /// Keeps that a client is given the study: a visitor in use does not expire.
    pub(super) fn in_use(&self, study: &Uid) {
        self.put(Record::Use(StudyUse {
            study_instance_uid: study.clone(),
            at: Timestamp::now(),
        }));
    }

    /// Keeps that a study UID was found with two patients.
    pub(super) fn conflict(&self, conflict: StudyConflict) {
        self.put(Record::Conflict(Box::new(conflict)));
    }

    fn put(&self, record: Record) {
        if self.0.try_send(record).is_err() {
            tracing::warn!("the record of a query was not kept: {WAITING} wait to be written");
        }
    }
}

impl RecordWriter {
    /// Writes until `end`, and then what is left.
    pub(super) async fn run(mut self, end: CancellationToken) {
        loop {
            let mut records = Vec::new();
            tokio::select! {
                biased;
                count = self.waiting.recv_many(&mut records, BATCH) => match count {
                    0 => return,
                    _ => self.write(records).await,
                },
                () = end.cancelled() => return,
            }
        }
    }

    async fn write(&self, records: Vec<Record>) {
        let written = self.store.with(move |store| {
            let (mut ledgers, mut reports) = (Vec::new(), Vec::new());
            let (mut uses, mut conflicts) = (Vec::new(), Vec::new());
            for record in records {
                match record {
                    Record::Ledger(ledger) => ledgers.push(*ledger),
                    Record::Link(report) => reports.push(report),
                    Record::Use(used) => uses.push(used),
                    Record::Conflict(conflict) => conflicts.push(*conflict),
                }
            }
            // One that fails costs the others nothing.
            let written = [
                store.record_ledgers(&ledgers),
                store.note_uses(&uses),
                store.note_conflicts(&conflicts),
                store.record_link_health(&reports),
            ];
            written.into_iter().collect::<Result<(), _>>()
        });
        if let Err(error) = written.await {
            tracing::warn!("what queries leave was not kept: {}", chain(&error));
        }
    }
}

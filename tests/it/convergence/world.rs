//! Clusters that are stores alone, and links between them over which updates go as the relay sends them: read from the
//! outbox, in order for each study, as objects on the wire, settled when answered.
//!
//! Invariant: nothing is known here that the stores don't say, but what was acknowledged, and which links are cut.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use impaxlink::audit::{Event, UpdateAct};
use impaxlink::model::{StationName, Uid, Update, UpdatesDirection};
use impaxlink::store::{
    AfterStudy, Applied, AuditFilter, Draft, LinkOutcome, LinkReport, OutboxFilter, OutboxState, Received,
    Settled, StatedStudy, Store,
};
use impaxlink::updates::object;
use jiff::{SignedDuration, Timestamp};

use crate::support::store::{StoreFolder, jdoe, save, station};

/// Who issues the patient IDs; every cluster speaks for all of them.
pub const ISSUERS: [&str; 2] = ["NORTH", "HARBOUR"];

/// From one cluster to another.
pub type Link = (usize, usize);

/// A cluster: its store, closed while it is being reopened.
struct Cluster {
    name: StationName,
    folder: StoreFolder,
    store: Option<Store>,
}

/// How a sending ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// Every answer came.
    Answered,
    /// The last answer did not come, and the sender starts again.
    AnswerLost,
    /// The receiver's transaction breaks off when it writes to this table, and it says so.
    ReceiverFails(&'static str),
}

/// What happened, to be told.
#[derive(Debug, Default, Clone, Copy)]
pub struct Figures {
    pub acknowledged: usize,
    pub delivered: usize,
    pub duplicates: usize,
    pub lost_answers: usize,
    pub aborted: usize,
    pub reopened: usize,
    pub conflicts: usize,
}

pub struct World {
    clusters: Vec<Cluster>,
    links: Vec<Link>,
    cut: BTreeSet<Link>,
    /// Those that a person, or what was found of them, has changed.
    switched: BTreeSet<Link>,
    acknowledged: Vec<Update>,
    /// What went over each link, to be repeated.
    sent: Vec<(Link, Update)>,
    /// How far the state is queued over each link.
    queued: BTreeMap<Link, AfterStudy>,
    /// How far the clocks of queues are ahead.
    ahead: SignedDuration,
    pub figures: Figures,
}

impl World {
    /// Clusters of which the pairs know each other; each one's clock is so many seconds ahead.
    pub fn new(clocks_ahead: &[u32], pairs: &[(usize, usize)]) -> Self {
        let mut clusters = Vec::new();
        for (number, ahead) in clocks_ahead.iter().enumerate() {
            let folder = StoreFolder::new();
            let store = folder.open();
            let neighbours = neighbours(number, pairs);
            save(&store, |configuration| {
                configuration.stations = neighbours.iter().map(|number| door(*number)).collect();
            });
            let clock = Timestamp::now() + SignedDuration::from_secs(i64::from(*ahead));
            let clock = format!("{:016x}.{:08x}", clock.as_millisecond(), 0);
            let sql = "INSERT INTO update_clock (id, last) VALUES (1, ?1)";
            folder.raw().execute(sql, [clock]).expect("a clock");
            clusters.push(Cluster {
                name: name(number),
                folder,
                store: Some(store),
            });
        }
        let links: Vec<Link> = pairs
            .iter()
            .flat_map(|(one, other)| [(*one, *other), (*other, *one)])
            .collect();
        // All flags are on from the beginning: that nothing was to be told yet is told first.
        let mut world = World {
            clusters,
            links,
            cut: BTreeSet::new(),
            switched: BTreeSet::new(),
            acknowledged: Vec::new(),
            sent: Vec::new(),
            queued: BTreeMap::new(),
            ahead: SignedDuration::ZERO,
            figures: Figures::default(),
        };
        for link in world.links.clone() {
            let shown = world.store(link.1).cluster_uid().clone();
            let (store, to) = (world.store(link.0), &world.clusters[link.1].name);
            store.relay_opened(to, &shown).expect("a write");
            while world.queue_state(link) {}
        }
        world
    }

    pub fn count(&self) -> usize {
        self.clusters.len()
    }

    /// The link of that number.
    pub fn link(&self, number: usize) -> Link {
        self.links[number % self.links.len()]
    }

    fn store(&self, cluster: usize) -> &Store {
        self.clusters[cluster].store.as_ref().expect("an open store")
    }

    /// A change that is acknowledged where it is made.
    pub fn say(&mut self, at: usize, draft: &Draft) {
        let made = self
            .store(at)
            .make_updates(&jdoe(), std::slice::from_ref(draft))
            .expect("a store that can be written");
        // A status that would fall back is no change.
        if let Some(Ok(made)) = made.into_iter().next() {
            self.acknowledged.extend(made.update);
        }
    }

    /// A change whose transaction breaks off when it writes to this table, before it is acknowledged.
    pub fn fail_to_say(&mut self, at: usize, draft: &Draft, table: &str) {
        let failing = self.failing(at, table);
        let made = self.store(at).make_updates(&jdoe(), std::slice::from_ref(draft));
        self.mend(at, failing);
        match made {
            Err(_) => self.figures.aborted += 1,
            // It did not come to write there.
            Ok(made) => self
                .acknowledged
                .extend(made.into_iter().flatten().filter_map(|made| made.update)),
        }
    }

    /// Closes the store and opens it again.
    pub fn reopen(&mut self, at: usize) {
        let cluster = &mut self.clusters[at];
        cluster.store = None;
        cluster.store = Some(cluster.folder.open());
        self.figures.reopened += 1;
    }

    pub fn cut(&mut self, link: Link, is_cut: bool) {
        match is_cut {
            true => self.cut.insert(link),
            false => self.cut.remove(&link),
        };
    }

    /// Sends what is due, as the relay does, at most `most` updates, so many in one transaction of the receiver's.
    pub fn send(&mut self, link: Link, most: usize, together: usize, seed: u64, ending: Ending) {
        self.ahead += SignedDuration::from_secs(20);
        if self.cut.contains(&link) || self.is_resync_due(link) && self.queue_state(link) {
            return;
        }
        let now = Timestamp::now() + self.ahead;
        let to = self.clusters[link.1].name.clone();
        let due = self.store(link.0).due_updates(&to, now, 100).expect("rows");
        let due = due.into_iter().map(|due| due.update).collect();
        let mut order = interleaved(due, seed);
        order.truncate(most);
        let count = order.chunks(together).count();
        for (number, updates) in order.chunks(together).enumerate() {
            let ending = if number + 1 == count {
                ending
            } else {
                Ending::Answered
            };
            if !self.deliver(link, updates, ending) {
                break;
            }
        }
    }

    /// Whether the sender may go on.
    fn deliver(&mut self, link: Link, updates: &[Update], ending: Ending) -> bool {
        let (from, to) = link;
        let failing = match ending {
            Ending::ReceiverFails(table) => Some(self.failing(to, table)),
            _ => None,
        };
        let applied = self.receive(link, updates);
        if let Some(failing) = failing {
            self.mend(to, failing);
        }
        if ending == Ending::AnswerLost {
            self.figures.lost_answers += 1;
            self.reopen(from);
            return false;
        }
        let now = Timestamp::now() + self.ahead;
        let settled = match &applied {
            Ok(applied) if applied.iter().any(|one| matches!(one, Applied::Refused(_))) => return false,
            Ok(_) => Settled::Delivered,
            Err(_) => Settled::TryAgain {
                at: now + SignedDuration::from_secs(60),
                reason: "A700".to_owned(),
            },
        };
        let settled: Vec<_> = updates
            .iter()
            .map(|update| (update.id.clone(), settled.clone()))
            .collect();
        let station = self.clusters[to].name.clone();
        self.store(from)
            .settle_outbox(&station, &settled)
            .expect("a store that can be written");
        // Those of the same studies that come after are not sent: they are not due.
        applied.is_ok()
    }

    fn receive(&mut self, link: Link, updates: &[Update]) -> Result<Vec<Applied>, ()> {
        let (from, to) = link;
        let received: Vec<Received> = updates
            .iter()
            .map(|update| {
                let written = object::write(update).expect("an update that can be written");
                let read = object::read(&update.id, &written).expect("an update that can be read");
                assert_eq!(read, *update, "it is read as it was written");
                Received {
                    update: read,
                    from: self.clusters[from].name.clone(),
                }
            })
            .collect();
        let applied = self.store(to).apply_updates(&jdoe(), &received);
        let Ok(applied) = applied else {
            self.figures.aborted += 1;
            return Err(());
        };
        let duplicates = applied.iter().filter(|one| **one == Applied::Duplicate);
        self.figures.duplicates += duplicates.count();
        self.figures.delivered += applied.len();
        self.sent
            .extend(updates.iter().map(|update| (link, update.clone())));
        Ok(applied)
    }

    /// Something that went over a link before comes once more.
    pub fn repeat(&mut self, number: usize) {
        if self.sent.is_empty() {
            return;
        }
        let (link, update) = self.sent[number % self.sent.len()].clone();
        let applied = self.receive(link, &[update]).expect("a receiver in order");
        assert!(
            matches!(applied[0], Applied::Duplicate | Applied::Refused(_)),
            "{applied:?}"
        );
    }

    fn failing(&self, at: usize, table: &str) -> rusqlite::Connection {
        let raw = self.clusters[at].folder.raw();
        raw.execute_batch(&format!(
            "CREATE TRIGGER breaks_off BEFORE INSERT ON {table} BEGIN SELECT raise(ABORT, 'breaks off'); END"
        ))
        .expect("a trigger");
        raw
    }

    fn mend(&self, at: usize, failing: rusqlite::Connection) {
        failing
            .execute_batch("DROP TRIGGER breaks_off")
            .expect("no trigger");
        drop(failing);
        // A statement that was prepared before sees the schema as it is: the next one is to find no fault.
        self.store(at).generation().expect("a store in order");
    }

    fn is_resync_due(&self, link: Link) -> bool {
        let peers = self.store(link.0).relay_peers().expect("peers");
        let peer = peers.get(&self.clusters[link.1].name);
        peer.is_some_and(|peer| peer.is_resync_due)
    }

    /// Queues the state of one more study; whether there may be more.
    pub fn queue_state(&mut self, link: Link) -> bool {
        let to = door(link.1);
        let after = self.queued.remove(&link);
        let queued = self
            .store(link.0)
            .queue_state(&to, after.as_ref(), 1)
            .expect("a store that can be written");
        let is_more = queued.is_some();
        self.queued.extend(queued.map(|after| (link, after)));
        is_more || self.is_resync_due(link)
    }

    pub fn resync(&self, link: Link) {
        let to = &self.clusters[link.1].name;
        self.store(link.0).relay_resync(to).expect("a write");
    }

    /// Switches updates off or on at the sending end of a link, or has it only accept.
    pub fn switch(&mut self, link: Link, is_on: bool, direction: UpdatesDirection) {
        self.switched.insert(link);
        let to = self.clusters[link.1].name.clone();
        save(self.store(link.0), |configuration| {
            let mut stations = configuration.stations.iter_mut();
            let station = stations.find(|station| station.name == to).expect("a door");
            station.links.cluster_updates = is_on;
            station.updates_direction = direction;
        });
    }

    /// A query finds that the other end takes the linked syntax, or that it does not; then the relay may find so too.
    pub fn notice_syntax(&mut self, link: Link, speaks_linked: bool, is_relay: bool) {
        self.switched.insert(link);
        let (store, to) = (self.store(link.0), &self.clusters[link.1].name);
        let report = LinkReport {
            station: to.clone(),
            at: Timestamp::now(),
            outcome: LinkOutcome::Answered {
                latency: Duration::from_millis(1),
                speaks_linked: Some(speaks_linked),
                character_sets: None,
            },
        };
        store.record_link_health(&[report]).expect("a write");
        if is_relay && !speaks_linked {
            store.relay_give_up(to).expect("a write");
        }
    }

    /// All links are up and all flags on, and all is sent.
    pub fn settle(&mut self) {
        self.cut.clear();
        self.ahead += SignedDuration::from_hours(1);
        for link in std::mem::take(&mut self.switched) {
            self.switch(link, true, UpdatesDirection::Both);
            self.notice_syntax(link, true, true);
        }
        for round in 0.. {
            assert!(round < 1_000, "it comes to an end");
            for link in self.links.clone() {
                self.send(link, usize::MAX, 3, round, Ending::Answered);
            }
            let is_done = |link: &Link| {
                let queues = self.store(link.0).queue_lengths().expect("lengths");
                queues.is_empty() && !self.is_resync_due(*link)
            };
            if self.links.iter().all(is_done) {
                break;
            }
        }
        self.figures.acknowledged = self.acknowledged.len();
        let states = self.states(0);
        let in_conflict = states
            .iter()
            .filter(|stated| stated.state.conflicts().next().is_some());
        self.figures.conflicts = in_conflict.count();
    }

    /// All that was said of studies.
    pub fn states(&self, cluster: usize) -> Vec<StatedStudy> {
        let studies: BTreeSet<Uid> = self
            .acknowledged
            .iter()
            .map(|update| update.study.clone())
            .collect();
        let studies: Vec<Uid> = studies.into_iter().collect();
        let mut states = self.store(cluster).study_states(&studies).expect("states");
        states.sort_by(|one, two| (&one.study, &one.patient).cmp(&(&two.study, &two.patient)));
        states
    }

    /// How many records tell that each update was applied; the chain of records is whole.
    pub fn applied_records(&self, cluster: usize) -> BTreeMap<Uid, usize> {
        let store = self.store(cluster);
        store.verify_audit(None).expect("an audit record that is whole");
        let mut applied = BTreeMap::new();
        for record in store.audit_records(&AuditFilter::default()).expect("records") {
            if let Event::Update(update) = record.event().expect("an event")
                && update.act == UpdateAct::Applied
            {
                *applied.entry(update.update).or_default() += 1;
            }
        }
        applied
    }

    /// Every acknowledged update is in that log and in that audit record once, and nothing else is; none was sent back.
    pub fn assert_all_came_once(&self, cluster: usize) {
        let expected: BTreeMap<Uid, usize> = self
            .acknowledged
            .iter()
            .map(|update| (update.id.clone(), 1))
            .collect();
        assert_eq!(
            self.applied_records(cluster),
            expected,
            "the audit record of {cluster}"
        );
        let rows = self
            .store(cluster)
            .outbox(&OutboxFilter::default(), None)
            .expect("rows");
        let delivered = rows.iter().all(|row| row.state == OutboxState::Delivered);
        assert!(delivered, "{rows:#?}");
        let mut logged = 0;
        for update in &self.acknowledged {
            let log = self.store(cluster).logged_update(&update.id).expect("the log");
            let log = log.unwrap_or_else(|| panic!("{cluster} has lost {update:?}"));
            assert_eq!(log.update, *update);
            let made_by = self.clusters.iter().find(|made_by| {
                let store = made_by.store.as_ref().expect("an open store");
                *store.cluster_uid() == update.origin
            });
            let is_back = |station: &StationName| {
                log.from.as_ref() == Some(station) || made_by.is_some_and(|made_by| made_by.name == *station)
            };
            let of_update = rows.iter().filter(|row| row.update.id == update.id);
            let to: Vec<_> = of_update.map(|row| &row.station).collect();
            assert!(
                !to.iter().any(|station| is_back(station)),
                "sent back: {update:?}"
            );
            logged += 1;
        }
        let sql = "SELECT count(*) FROM update_log";
        let raw = self.clusters[cluster].folder.raw();
        let count: usize = raw.query_row(sql, [], |row| row.get(0)).expect("a count");
        assert_eq!(count, logged);
    }

    /// The review notices of all studies, by their updates.
    pub fn notices(&self, cluster: usize) -> BTreeSet<Uid> {
        let studies = self.acknowledged.iter().map(|update| &update.study);
        let notices = studies.flat_map(|study| self.store(cluster).review_notices(study).expect("notices"));
        notices.map(|notice| notice.update).collect()
    }
}

fn name(cluster: usize) -> StationName {
    format!("SITE{cluster}").parse().expect("a name")
}

fn door(cluster: usize) -> impaxlink::model::Station {
    let mut door = station(name(cluster).as_str());
    door.links.cluster_linking = true;
    door.links.cluster_updates = true;
    door.issuers = ISSUERS.map(|issuer| issuer.parse().expect("an issuer")).into();
    door
}

fn neighbours(cluster: usize, pairs: &[(usize, usize)]) -> Vec<usize> {
    let neighbour = |(one, other): &(usize, usize)| match (*one == cluster, *other == cluster) {
        (true, _) => Some(*other),
        (_, true) => Some(*one),
        _ => None,
    };
    pairs.iter().filter_map(neighbour).collect()
}

/// In order for each study, in any order across studies.
fn interleaved(updates: Vec<Update>, mut seed: u64) -> Vec<Update> {
    let mut queues: BTreeMap<Uid, VecDeque<Update>> = BTreeMap::new();
    for update in updates {
        queues.entry(update.study.clone()).or_default().push_back(update);
    }
    let mut order = Vec::new();
    while !queues.is_empty() {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let number = (seed >> 33) as usize % queues.len();
        let (study, queue) = queues.iter_mut().nth(number).expect("a queue");
        order.extend(queue.pop_front());
        if queue.is_empty() {
            let study = study.clone();
            queues.remove(&study);
        }
    }
    order
}

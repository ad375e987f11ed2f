//! Clusters that relay updates to each other, each a running service.
//!
//! Invariant: a cluster knows another by the AE title that is its name; no flag is on but those that a test sets.

use std::collections::BTreeMap;

use impaxlink::audit::Attribution;
use impaxlink::model::{Configuration, FieldValue, StateField, Station, StudyPatient, Uid, Update};
use impaxlink::service::control;
use impaxlink::store::{Access, Draft, OutboxFilter, OutboxRow, Store};

use super::process::Process;
use super::service::{self, PATIENCE, Service, set, station, wait_for};

/// A running service of a cluster.
pub struct Cluster {
    pub service: Service,
}

impl Cluster {
    /// A cluster of this AE title that knows nobody yet.
    pub fn start(name: &str) -> Self {
        Cluster {
            service: Service::start_with(|configuration| set(configuration, "ae_title", name)),
        }
    }

    /// The door to this cluster as another one has it: linked for updates both ways, speaking for `issuers`.
    pub fn door(&self, name: &str, issuers: &[&str]) -> Station {
        let mut door = station(name, self.service.port);
        door.links.cluster_linking = true;
        door.links.cluster_updates = true;
        door.issuers = issuers.iter().map(|issuer| issuer.parse().unwrap()).collect();
        door
    }

    /// Saves a change of the configuration and brings it into force.
    pub fn change(&self, change: impl FnOnce(&mut Configuration)) {
        self.service.save(change);
        control::reload(&self.service.env.store(), PATIENCE).expect("a reload");
    }

    /// Registers stations.
    pub fn knows(&self, stations: Vec<Station>) {
        self.change(|configuration| configuration.stations.extend(stations));
    }

    /// Changes a station.
    pub fn change_station(&self, name: &str, change: impl FnOnce(&mut Station)) {
        super::sites::change_station(&self.service, name, change);
    }

    /// The store, as another process would open it.
    pub fn store(&self) -> Store {
        Store::open(&self.service.env.store(), Access::ReadWrite).expect("a store")
    }

    /// Makes an update of a study's comments and tells the service.
    pub fn says(&self, study: &str, issuer: &str, comments: &str) -> Update {
        let update = self.says_silently(study, issuer, comments);
        self.wake();
        update
    }

    /// The same, with the service not told.
    pub fn says_silently(&self, study: &str, issuer: &str, comments: &str) -> Update {
        let field = StateField::StudyComments;
        let draft = Draft {
            study: study.parse().unwrap(),
            patient: StudyPatient {
                id: "4711".to_owned(),
                issuer: Some(issuer.parse().unwrap()),
            },
            wanted: BTreeMap::from([(field, FieldValue::new(field, comments).unwrap())]),
            is_correction: false,
            new_objects: None,
            review: None,
        };
        let mut made = self.store().make_updates(&tester(), &[draft]).expect("an update");
        let made = made.pop().expect("one").expect("no status falls back");
        made.update.expect("a change")
    }

    /// Has the service look for what is to be sent.
    pub fn wake(&self) {
        control::send_updates(&self.service.env.store(), PATIENCE).expect("the service is told");
    }

    /// Has everything tried again at once.
    pub fn retry(&self) {
        let store = self.store();
        store.relay_retry(None).expect("a write");
        store.retry_outbox(&OutboxFilter::default()).expect("a write");
        self.wake();
    }

    /// What is known of a study's comments.
    pub fn comments(&self, study: &str) -> Option<String> {
        let study: Uid = study.parse().unwrap();
        let states = self.store().study_states(&[study]).expect("states");
        let state = &states.first()?.state;
        state
            .value(StateField::StudyComments)
            .map(|value| value.as_str().to_owned())
    }

    /// Waits until the comments of a study are these.
    #[track_caller]
    pub fn wait_for_comments(&self, study: &str, comments: &str) {
        wait_for(comments, || self.comments(study).as_deref() == Some(comments));
    }

    /// The rows of the queue of that station.
    pub fn rows(&self, station: &str) -> Vec<OutboxRow> {
        let filter = OutboxFilter {
            station: Some(station.parse().unwrap()),
            ..OutboxFilter::default()
        };
        self.store().outbox(&filter, None).expect("rows")
    }

    /// What keeps updates from that station.
    pub fn trouble(&self, station: &str) -> Option<String> {
        let peers = self.store().relay_peers().expect("peers");
        let peer = peers.get(&station.parse().unwrap())?;
        peer.trouble.as_ref().map(|trouble| trouble.reason.clone())
    }

    /// Kills the service as a power cut would, and does not start it again.
    pub fn kill(&mut self) {
        self.service.process.signal(rustix::process::Signal::KILL);
        self.service.process.wait(PATIENCE);
    }

    /// Starts the service again.
    pub fn restart(&mut self) {
        let started: Process = service::start(&self.service.env);
        self.service.process = started;
    }
}

/// Who makes changes in tests.
pub fn tester() -> Attribution {
    Attribution {
        user: "tester".to_owned(),
        uid: 1000,
        real_user: None,
        command: "a test".to_owned(),
        reason: None,
    }
}

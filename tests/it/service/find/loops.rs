//! A query goes from one cluster to the next and no further, however the clusters are linked, over strict DICOM.

use impaxlink::model::Station;

use crate::support::brought::{self, study};
use crate::support::fake_peer::FakePeer;
use crate::support::fake_peer::script::{Step, answer};
use crate::support::service::{PATIENCE, Service, set, station, wait_for};
use crate::support::sites::{archive, internal, open_link};
use crate::support::viewer::Viewer;

/// A cluster with one study, its own `serve`, and an archive that notes what it is asked.
struct Cluster {
    name: &'static str,
    service: Service,
    archive: FakePeer,
}

impl Cluster {
    fn start(name: &'static str, uid: &'static str) -> Self {
        let peer = FakePeer::start(answer([study(uid)]));
        let service = Service::start_with(|configuration| {
            set(configuration, "ae_title", name);
            set(configuration, "issuer", "NORTH");
            configuration.stations = vec![archive("PACS", "PACS", peer.port), station("OUTSIDE", 104)];
        });
        Cluster {
            name,
            service,
            archive: peer,
        }
    }

    fn add(&self, stations: Vec<Station>) {
        self.service
            .save(|configuration| configuration.stations.extend(stations));
        self.service.env.impaxlink(&["reload"]).success();
    }

    /// Makes `next` a cluster that is asked by this one, each known to the other as linked.
    fn links_to(&self, next: &Cluster) {
        self.add(vec![open_link(next.name, next.name, next.service.port)]);
    }

    /// Makes `next` a cluster that is asked by this one, which is known there as an external station alone.
    fn links_secretly_to(&self, next: &Cluster) {
        let title = format!("{}_EXT", self.name);
        let mut door = open_link(next.name, next.name, next.service.port);
        door.calling_ae = Some(title.parse().unwrap());
        self.add(vec![door]);
        next.add(vec![station(&title, 104)]);
    }

    fn asked(&self) -> usize {
        let associations = self.archive.associations();
        let requests = associations.iter().flat_map(|association| &association.requests);
        requests.filter(|request| request.command == 0x0020).count()
    }

    #[track_caller]
    fn finds(&self, uids: &[&str]) {
        let mut viewer = Viewer::open_to(self.service.port, "OUTSIDE", self.name);
        let seen = viewer.find(&["StudyInstanceUID", "PatientID"]);
        assert_eq!((seen.status, seen.comment.as_str()), (0, ""));
        assert_eq!(seen.values("StudyInstanceUID"), uids, "asked at {}", self.name);
        viewer.release();
    }
}

#[track_caller]
fn assert_asked(clusters: &[&Cluster], times: &[usize]) {
    let asked: Vec<usize> = clusters.iter().map(|cluster| cluster.asked()).collect();
    assert_eq!(asked, times);
}

/// Case: clusters linked in a ring
#[test]
fn a_to_b_to_a_ends_at_b() {
    let (a, b) = (Cluster::start("SITEA", "1.1"), Cluster::start("SITEB", "1.2"));
    a.links_to(&b);
    b.links_to(&a);
    a.finds(&["1.1", "1.2"]);
    assert_asked(&[&a, &b], &[1, 1]);
    b.finds(&["1.1", "1.2"]);
    assert_asked(&[&a, &b], &[2, 2]);
}

/// Case: clusters linked in a ring
#[test]
fn a_to_b_to_c_to_a_ends_at_b() {
    let (a, b, c) = (
        Cluster::start("SITEA", "1.1"),
        Cluster::start("SITEB", "1.2"),
        Cluster::start("SITEC", "1.3"),
    );
    for (from, to) in [(&a, &b), (&b, &c), (&c, &a), (&b, &a), (&c, &b), (&a, &c)] {
        from.links_to(to);
    }
    a.finds(&["1.1", "1.2", "1.3"]);
    assert_asked(&[&a, &b, &c], &[1, 1, 1]);
}

/// Case: clusters linked in a ring
#[test]
fn a_cluster_that_is_taken_for_an_external_station_is_known_by_its_implementation() {
    let (a, b, c) = (
        Cluster::start("SITEA", "1.1"),
        Cluster::start("SITEB", "1.2"),
        Cluster::start("SITEC", "1.3"),
    );
    a.links_secretly_to(&b);
    b.links_secretly_to(&c);
    c.links_secretly_to(&a);
    a.finds(&["1.1", "1.2"]);
    assert_asked(&[&a, &b, &c], &[1, 1, 0]);
    c.finds(&["1.1", "1.3"]);
    assert_asked(&[&a, &b, &c], &[2, 1, 1]);
}

/// Case: our own question comes back under another title
#[test]
fn a_proxy_that_asks_us_our_own_question_gets_local_answers_alone() {
    let (local, proxy) = (
        FakePeer::start(answer([study("1.1")])),
        FakePeer::start(vec![
            brought::accept(),
            Step::AwaitRequest,
            Step::Pause(PATIENCE),
            Step::End(0, ""),
        ]),
    );
    let service = Service::start_with(|configuration| {
        set(configuration, "query.deadline", "3s");
        configuration.stations = vec![
            archive("PACS", "PACS", local.port),
            open_link("PROXY", "PROXY", proxy.port),
            station("SECOND", 104),
            internal("READER"),
        ];
    });
    let requests = || {
        let associations = proxy.associations();
        let requests = associations.iter().flat_map(|association| &association.requests);
        requests.filter(|request| request.command == 0x0020).count()
    };
    let keys = ["StudyInstanceUID", "PatientID=4711"];
    let mut reader = Viewer::open(service.port, "READER");
    reader.begin("STUDY", &keys);
    wait_for("our question at the proxy", || requests() == 1);

    let mut second = Viewer::open(service.port, "SECOND");
    let seen = second.find(&keys);
    assert_eq!(seen.status, 0, "{}", seen.comment);
    assert_eq!(seen.values("StudyInstanceUID"), ["1.1"]);
    assert_eq!(requests(), 1, "it is not forwarded");
    let log = service.process.output();
    assert!(log.contains("query of SECOND is our own"), "{log}");
    wait_for("its ledger", || {
        let ledgers = service.env.impaxlink(&["ledger", "list", "--json"]).json();
        ledgers.to_string().contains("our own query, put to us again")
    });
    let mut other = Viewer::open(service.port, "READER");
    other.begin("STUDY", &keys);
    wait_for("another viewer's like question at the proxy", || requests() == 2);
    second.begin("STUDY", &["StudyInstanceUID", "PatientID=88"]);
    wait_for("another question at the proxy", || requests() == 3);
}

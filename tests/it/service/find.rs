//! Queries of real clients, answered by the service for real archives: each flag on, off, and changed under an open
//! association.

use std::collections::BTreeSet;

use impaxlink::model::{Configuration, Kind, Station};
use impaxlink::service::control;

use crate::support::dcmqrscp::Dcmqrscp;
use crate::support::findscu;
use crate::support::orthanc::Orthanc;
use crate::support::service::{PATIENCE, Service, station};
use crate::support::studies::Federation;
use crate::support::viewer::Viewer;

/// The local archive PACS, the linked SITEB and SITEC, an internal and an external viewer.
struct Sites {
    federation: Federation,
    service: Service,
    _pacs: Dcmqrscp,
    _siteb: Orthanc,
    _sitec: Dcmqrscp,
}

fn archive(name: &str, ae_title: &str, port: u16) -> Station {
    let mut station = known(name, ae_title, port);
    station.kind = Kind::Archive;
    station
}

fn linked(name: &str, ae_title: &str, port: u16) -> Station {
    let mut station = known(name, ae_title, port);
    station.links.cluster_linking = true;
    station
}

fn known(name: &str, ae_title: &str, port: u16) -> Station {
    Station {
        ae_title: ae_title.parse().unwrap(),
        ..station(name, port)
    }
}

fn internal(name: &str) -> Station {
    Station {
        kind: Kind::Internal,
        ..station(name, 104)
    }
}

fn sites(seed: u64, change: impl FnOnce(&mut Configuration)) -> Sites {
    let federation = Federation::new(seed, 12);
    let pacs = Dcmqrscp::start("SITEA", &federation.site("SITEA").studies);
    let siteb = Orthanc::start("SITEB", &federation.site("SITEB").studies);
    let sitec = Dcmqrscp::start("SITEC", &federation.site("SITEC").studies);
    let service = Service::start_with(|configuration| {
        configuration.stations = vec![
            archive("PACS", "SITEA", pacs.port),
            linked("SITEB", "SITEB", siteb.port),
            linked("SITEC", "SITEC", sitec.port),
            internal("READER"),
            station("OUTSIDE", 104),
        ];
        change(configuration);
    });
    Sites {
        federation,
        service,
        _pacs: pacs,
        _siteb: siteb,
        _sitec: sitec,
    }
}

impl Sites {
    fn change(&self, name: &str, change: impl FnOnce(&mut Station)) {
        self.service.save(|configuration| {
            let mut stations = configuration.stations.iter_mut();
            change(stations.find(|station| station.name.as_str() == name).unwrap());
        });
        control::reload(&self.service.env.store(), PATIENCE).unwrap();
    }

    /// The studies at these sites.
    fn at(&self, sites: &[&str]) -> BTreeSet<String> {
        let sites = sites.iter().map(|site| self.federation.site(site));
        sites
            .flat_map(|site| site.studies.iter().map(|study| study.uid.clone()))
            .collect()
    }

    /// What findscu finds as `calling`.
    fn found_by(&self, calling: &str) -> BTreeSet<String> {
        let keys = ["QueryRetrieveLevel=STUDY", "StudyInstanceUID", "PatientName"];
        let found = findscu::find(calling, "IMPAXLINK", self.service.port, &["-S"], &keys);
        assert!(found.success, "{}", found.log);
        let uids = found.values("StudyInstanceUID");
        let all: BTreeSet<String> = uids.iter().map(|uid| (*uid).to_owned()).collect();
        assert_eq!(all.len(), uids.len(), "each study once");
        all
    }
}

#[test]
fn each_query_flag_means_what_it_says() {
    let sites = sites(31, |_| ());
    let local = sites.at(&["SITEA"]);
    let with_b = sites.at(&["SITEA", "SITEB"]);
    assert_eq!(sites.found_by("READER"), local, "no option is on");
    assert_eq!(sites.found_by("OUTSIDE"), local);

    sites.change("SITEB", |station| station.links.internal_queries = true);
    assert_eq!(sites.found_by("READER"), with_b);
    assert_eq!(sites.found_by("OUTSIDE"), local);

    sites.change("SITEB", |station| {
        station.links.internal_queries = false;
        station.links.external_queries = true;
    });
    assert_eq!(sites.found_by("READER"), local);
    assert_eq!(sites.found_by("OUTSIDE"), with_b);

    sites.change("SITEB", |station| station.links.cluster_linking = false);
    assert_eq!(sites.found_by("OUTSIDE"), local, "the master switch closes all");
}

#[test]
fn a_held_association_obeys_the_flags_of_the_moment() {
    let sites = sites(32, |_| ());
    let mut reader = Viewer::open(sites.service.port, "READER");
    let mut outside = Viewer::open(sites.service.port, "OUTSIDE");
    let mut both = || {
        let uids = |viewer: &mut Viewer| -> BTreeSet<String> {
            let seen = viewer.find(&["StudyInstanceUID"]);
            assert_eq!((seen.status, seen.comment.as_str()), (0, ""));
            seen.values("StudyInstanceUID").into_iter().collect()
        };
        (uids(&mut reader), uids(&mut outside))
    };
    let (local, with_b, all) = (
        sites.at(&["SITEA"]),
        sites.at(&["SITEA", "SITEB"]),
        sites.at(&["SITEA", "SITEB", "SITEC"]),
    );
    let set = |station: &str, flag: &str| {
        let run = sites.service.env.impaxlink(&["station", "set", station, flag]);
        assert!(run.success().contains(station), "{run:#?}");
    };
    assert_eq!(both(), (local.clone(), local.clone()));
    set("SITEB", "--link-internal-queries");
    assert_eq!(both(), (with_b.clone(), local.clone()));
    set("SITEC", "--link-internal-queries");
    set("SITEB", "--link-external-queries");
    assert_eq!(both(), (all.clone(), with_b.clone()));
    set("SITEB", "--no-cluster-linking");
    assert_eq!(both(), (sites.at(&["SITEA", "SITEC"]), local.clone()));
    reader.release();
    outside.release();
}

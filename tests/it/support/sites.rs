//! Three sites of a federation as one running service sees them: its own archive, two linked clusters, and viewers.
//!
//! Invariant: the archives are real ones and hold what the federation says; no option of a link is on until a test
//! sets it.

use std::collections::BTreeSet;

use impaxlink::model::{Configuration, Kind, Station};
use impaxlink::service::control;

use super::dcmqrscp::Dcmqrscp;
use super::findscu::{self, Found};
use super::orthanc::Orthanc;
use super::service::{PATIENCE, Service, station};
use super::studies::Federation;

/// The local archive PACS, the linked SITEB and SITEC, an internal READER and an external OUTSIDE.
pub struct Sites {
    pub federation: Federation,
    pub service: Service,
    _pacs: Dcmqrscp,
    _siteb: Orthanc,
    _sitec: Dcmqrscp,
}

impl Sites {
    /// Starts all, with a configuration that `change` has changed.
    pub fn start(seed: u64, change: impl FnOnce(&mut Configuration)) -> Self {
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

    /// Saves a change of a station and brings it into force.
    pub fn change(&self, name: &str, change: impl FnOnce(&mut Station)) {
        change_station(&self.service, name, change);
    }

    /// The UIDs of the studies at these sites.
    pub fn at(&self, sites: &[&str]) -> BTreeSet<String> {
        let sites = sites.iter().map(|site| self.federation.site(site));
        sites
            .flat_map(|site| site.studies.iter().map(|study| study.uid.clone()))
            .collect()
    }

    /// What findscu brings as `calling`.
    pub fn findscu(&self, calling: &str, options: &[&str], keys: &[&str]) -> Found {
        findscu::find(calling, "IMPAXLINK", self.service.port, options, keys)
    }

    /// The UIDs of the studies that findscu finds as `calling`, each once.
    #[track_caller]
    pub fn found_by(&self, calling: &str) -> BTreeSet<String> {
        let keys = ["QueryRetrieveLevel=STUDY", "StudyInstanceUID", "PatientName"];
        let found = self.findscu(calling, &["-S"], &keys);
        assert!(found.success, "{}", found.log);
        let uids = found.values("StudyInstanceUID");
        let all: BTreeSet<String> = uids.iter().map(|uid| (*uid).to_owned()).collect();
        assert_eq!(all.len(), uids.len(), "each study once");
        all
    }
}

/// Saves a change of a station of a running service and brings it into force.
pub fn change_station(service: &Service, name: &str, change: impl FnOnce(&mut Station)) {
    service.save(|configuration| change(station_of(configuration, name)));
    control::reload(&service.env.store(), PATIENCE).expect("a reload");
}

/// The station of that name.
pub fn station_of<'c>(configuration: &'c mut Configuration, name: &str) -> &'c mut Station {
    let mut stations = configuration.stations.iter_mut();
    let found = stations.find(|station| station.name.as_str() == name);
    found.unwrap_or_else(|| panic!("no station {name}"))
}

/// An archive of the local cluster.
pub fn archive(name: &str, ae_title: &str, port: u16) -> Station {
    Station {
        kind: Kind::Archive,
        ..titled(name, ae_title, port)
    }
}

/// The door to a linked cluster, with every option off.
pub fn linked(name: &str, ae_title: &str, port: u16) -> Station {
    let mut station = titled(name, ae_title, port);
    station.links.cluster_linking = true;
    station
}

/// The door to a linked cluster, linked for internal and external queries.
pub fn open_link(name: &str, ae_title: &str, port: u16) -> Station {
    let mut station = linked(name, ae_title, port);
    station.links.internal_queries = true;
    station.links.external_queries = true;
    station
}

/// A viewer of the local cluster.
pub fn internal(name: &str) -> Station {
    Station {
        kind: Kind::Internal,
        ..station(name, 104)
    }
}

fn titled(name: &str, ae_title: &str, port: u16) -> Station {
    Station {
        ae_title: ae_title.parse().expect("an AE title"),
        ..station(name, port)
    }
}

//! What the local cluster is to others: its identity, where it listens, where studies are moved to.
//!
//! Invariant: pure. Our address depends on who looks, and is not here.

use super::ServiceState;
use crate::model::{AeTitle, Configuration, Station, StationName, Uid};

/// The local cluster, as others are asked about it.
#[derive(Debug)]
pub(super) struct Ours<'a> {
    pub(super) configuration: &'a Configuration,
    pub(super) cluster_uid: &'a Uid,
    /// Where the service listens, the port for plain DICOM first.
    pub(super) ports: Vec<u16>,
    pub(super) vocabulary_digest: String,
    pub(super) prefetch_rule_digest: String,
}

/// Where studies are moved to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Destination {
    /// The AE title by which the station must know it.
    pub title: AeTitle,
    /// The archive station that it is.
    pub archive: StationName,
    /// Its host; `None` for the embedded archive.
    pub host: Option<String>,
    /// The ports on which it listens, the usual one first.
    pub ports: Vec<u16>,
}

impl Destination {
    /// The port that others are told.
    pub fn port(&self) -> u16 {
        self.ports.first().copied().unwrap_or_default()
    }
}

impl<'a> Ours<'a> {
    pub(super) fn new(
        configuration: &'a Configuration,
        cluster_uid: &'a Uid,
        service: &ServiceState,
    ) -> Self {
        Ours {
            configuration,
            cluster_uid,
            ports: ports(configuration, service),
            prefetch_rule_digest: configuration.prefetch_rules_in_force().digest(),
            vocabulary_digest: configuration.mapping_in_force().vocabulary_digest(),
        }
    }

    /// The port that others are told.
    pub(super) fn port(&self) -> u16 {
        self.ports.first().copied().unwrap_or_default()
    }

    /// Where studies of that station are moved to.
    pub(super) fn destination(&self, station: &Station) -> Option<Destination> {
        destination(self.configuration, station, &self.ports)
    }
}

/// The ports on which the service listens, the one for plain DICOM first.
pub(super) fn ports(configuration: &Configuration, service: &ServiceState) -> Vec<u16> {
    let settings = &configuration.settings;
    let plain = match service {
        ServiceState::Running { listen, .. } => listen.port(),
        _ => settings.listen().port(),
    };
    let tls = settings.tls_listen().map(|address| address.port());
    [plain].into_iter().chain(tls).collect()
}

/// The archive station that studies are brought to where no other is asked for, as `station` must know it. The embedded
/// one is where the service listens.
pub(super) fn destination(
    configuration: &Configuration,
    station: &Station,
    ports: &[u16],
) -> Option<Destination> {
    let (_, archive) = configuration.destination(None)?;
    let endpoint = archive.endpoint.as_ref();
    Some(Destination {
        title: station
            .move_destination
            .as_ref()
            .unwrap_or(&archive.ae_title)
            .clone(),
        archive: archive.name.clone(),
        host: endpoint.map(|endpoint| endpoint.host.to_string()),
        ports: endpoint.map_or_else(|| ports.to_vec(), |endpoint| vec![endpoint.port.get()]),
    })
}

//! What the other side must register of us, and what we must know of it.
//!
//! Invariant: it holds facts alone, no sentences: how it is told is for whoever shows it. Nobody is asked anything but
//! the system's routes and name service.

use std::net::IpAddr;
use std::time::Duration;

use super::ServiceState;
use super::ask::our_address_towards;
pub use super::ours::Destination;
use super::ours::{destination, ports};
use crate::link::calling;
use crate::link::tls::own_certificate;
use crate::model::{AeTitle, Configuration, Fingerprint, Station};

/// What one station's administrators need.
#[derive(Debug, Clone)]
pub struct Handover {
    /// The station.
    pub station: Station,
    /// Our AE title towards it.
    pub ae_title: AeTitle,
    /// Our address on the way to it; `None` where it can't be told from here.
    pub address: Option<IpAddr>,
    /// Where the service listens: plain DICOM, or TLS where the station is set to it.
    pub port: u16,
    /// Where its studies are moved to.
    pub destination: Option<Destination>,
    /// The fingerprint of our certificate, where one is set and can be read.
    pub fingerprint: Option<Fingerprint>,
}

/// Gathers it, waiting for the name service no longer than `within`.
pub async fn handover(
    configuration: &Configuration,
    service: &ServiceState,
    station: &Station,
    within: Duration,
) -> Handover {
    let address = match &station.endpoint {
        Some(endpoint) => our_address_towards(endpoint, within).await,
        None => None,
    };
    let mut ports = ports(configuration, service);
    if station.tls {
        ports.reverse();
    }
    Handover {
        ae_title: calling(station, &configuration.settings),
        address,
        port: ports.first().copied().unwrap_or_default(),
        destination: destination(configuration, station, &ports),
        fingerprint: own_certificate(&configuration.settings)
            .and_then(Result::ok)
            .map(|certificate| certificate.fingerprint()),
        station: station.clone(),
    }
}

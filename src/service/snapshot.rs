//! The configuration of one generation as the service holds it in memory, with the indexes that admission needs and
//! what its files hold for TLS.
//!
//! Invariant: a snapshot never changes and has passed `Configuration::check`. It is replaced whole, so an operation
//! that pinned one ends under the configuration it began with.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;

use arc_swap::ArcSwap;
use tokio::sync::watch;

use crate::dimse::AcceptorTls;
use crate::link::tls::{LinkTls, TlsError, acceptor_tls, check_files};
use crate::model::{Configuration, Generation, Invalid, Settings, Station};

/// One generation, ready to answer from.
#[derive(Debug)]
pub struct Snapshot {
    configuration: Arc<Configuration>,
    callers: HashMap<String, Vec<usize>>,
    tls: LinkTls,
    acceptor_tls: Option<AcceptorTls>,
}

/// Why a configuration can't be answered from.
#[derive(Debug, thiserror::Error)]
pub enum Unusable {
    /// It breaks a rule.
    #[error(transparent)]
    Invalid(#[from] Invalid),
    /// TLS can't be spoken with what it names.
    #[error(transparent)]
    Tls(Arc<TlsError>),
    /// Two listeners want one address.
    #[error("{one} and {other} can't both listen on {address}")]
    SameAddress {
        /// The setting of one.
        one: &'static str,
        /// The setting of the other.
        other: &'static str,
        /// The address.
        address: SocketAddr,
    },
}

/// Whether the service could start with this configuration, or take it by a reload; what can be asked without a peer and
/// without a socket. It reads also the files that nothing needs yet.
pub fn check_usable(configuration: Configuration) -> Result<(), Unusable> {
    let snapshot = Snapshot::load(configuration)?;
    check_files(snapshot.settings()).map_err(|error| Unusable::Tls(Arc::new(error)))
}

/// An address of all interfaces takes the port from every other one.
fn refuse_shared_address(settings: &Settings) -> Result<(), Unusable> {
    let listeners = [
        ("listen", Some(settings.listen())),
        ("tls.listen", settings.tls_listen()),
        ("hl7.listen", settings.hl7().listen),
    ];
    let all = || {
        listeners
            .iter()
            .filter_map(|(key, address)| Some((*key, (*address)?)))
    };
    for (place, (one, address)) in all().enumerate() {
        let is_shared = |(_, other): &(&str, SocketAddr)| {
            let is_all = other.ip().is_unspecified() || address.ip().is_unspecified();
            address.port() != 0 && other.port() == address.port() && (is_all || other.ip() == address.ip())
        };
        if let Some((other, address)) = all().skip(place + 1).find(is_shared) {
            return Err(Unusable::SameAddress { one, other, address });
        }
    }
    Ok(())
}

impl Snapshot {
    /// Takes a configuration, if it is one that can be used.
    pub fn new(configuration: Configuration) -> Result<Self, Invalid> {
        configuration.check()?;
        let mut callers: HashMap<String, Vec<usize>> = HashMap::new();
        for (index, station) in configuration.stations.iter().enumerate() {
            // The embedded archive is this very process: it calls nobody.
            if station.is_embedded() {
                continue;
            }
            for title in std::iter::once(&station.ae_title).chain(&station.also_calls_as) {
                let stations = callers.entry(title.as_str().to_owned()).or_default();
                if stations.last() != Some(&index) {
                    stations.push(index);
                }
            }
        }
        Ok(Snapshot {
            configuration: Arc::new(configuration),
            callers,
            tls: LinkTls::default(),
            acceptor_tls: None,
        })
    }

    /// Takes a configuration and reads the files that it names. Blocks.
    pub fn load(configuration: Configuration) -> Result<Self, Unusable> {
        let mut snapshot = Snapshot::new(configuration)?;
        refuse_shared_address(snapshot.settings())?;
        snapshot.tls = LinkTls::of(&snapshot.configuration);
        if let Some(error) = snapshot.tls.error() {
            return Err(Unusable::Tls(Arc::clone(error)));
        }
        let acceptor_tls = acceptor_tls(&snapshot.configuration);
        snapshot.acceptor_tls = acceptor_tls.map_err(|error| Unusable::Tls(Arc::new(error)))?;
        Ok(snapshot)
    }

    /// TLS towards the stations that are asked over it.
    pub fn tls(&self) -> &LinkTls {
        &self.tls
    }

    /// TLS for callers, where the service listens for it.
    pub fn acceptor_tls(&self) -> Option<&AcceptorTls> {
        self.acceptor_tls.as_ref()
    }

    /// Whether anything depends on files, which may have changed while the configuration did not.
    pub fn depends_on_files(&self) -> bool {
        self.acceptor_tls.is_some() || self.configuration.stations.iter().any(|station| station.tls)
    }

    /// The whole configuration.
    pub fn configuration(&self) -> &Arc<Configuration> {
        &self.configuration
    }

    /// Which generation it is.
    pub fn generation(&self) -> Generation {
        self.configuration.generation
    }

    /// The local cluster's own settings.
    pub fn settings(&self) -> &Settings {
        &self.configuration.settings
    }

    /// The stations that call as `title`: by their AE title or by one of their further ones.
    pub fn callers(&self, title: &str) -> impl Iterator<Item = &Station> {
        let indexes = self.callers.get(title).map_or(&[][..], Vec::as_slice);
        indexes
            .iter()
            .filter_map(|&index| self.configuration.stations.get(index))
    }
}

/// The snapshot in force. Cheap to pin from many threads at once.
#[derive(Debug)]
pub struct InForce {
    snapshot: ArcSwap<Snapshot>,
    generation: watch::Sender<Generation>,
}

impl InForce {
    /// Begins with `snapshot`.
    pub fn new(snapshot: Snapshot) -> Self {
        InForce {
            generation: watch::Sender::new(snapshot.generation()),
            snapshot: ArcSwap::from_pointee(snapshot),
        }
    }

    /// The snapshot in force now. An operation takes it once and keeps it to its end.
    pub fn pin(&self) -> Arc<Snapshot> {
        self.snapshot.load_full()
    }

    /// Puts `next` in force for every operation that begins from now on.
    pub fn replace(&self, next: Snapshot) {
        let generation = next.generation();
        self.snapshot.store(Arc::new(next));
        self.generation.send_replace(generation);
    }

    /// Tells when another generation comes in force.
    pub fn watch(&self) -> watch::Receiver<Generation> {
        self.generation.subscribe()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::service::examples::{configuration, station};

    /// Case: one site under several AE titles and addresses
    #[test]
    fn callers_are_found_by_each_of_their_titles_once() {
        let mut door = station("SITEB", "SITEB", "10.0.0.1");
        door.also_calls_as = vec!["SITEB".parse().unwrap(), "SITEB_ST".parse().unwrap()];
        let snapshot = Snapshot::new(configuration(vec![door])).unwrap();
        for title in ["SITEB", "SITEB_ST"] {
            assert_eq!(snapshot.callers(title).count(), 1, "{title}");
        }
        assert_eq!(snapshot.callers("siteb").count(), 0);
    }

    #[test]
    fn an_unusable_configuration_makes_no_snapshot() {
        let twice = vec![station("A", "A", "10.0.0.1"), station("a", "B", "10.0.0.2")];
        assert!(Snapshot::new(configuration(twice)).is_err());
    }

    #[test]
    fn a_pinned_snapshot_outlives_its_replacement() {
        let in_force = InForce::new(Snapshot::new(configuration(vec![])).unwrap());
        let pinned = in_force.pin();
        let next = Configuration {
            generation: 2,
            ..configuration(vec![station("A", "A", "10.0.0.1")])
        };
        in_force.replace(Snapshot::new(next).unwrap());
        assert!(pinned.configuration().stations.is_empty());
        assert_eq!(in_force.pin().generation(), 2);
        assert_eq!(*in_force.watch().borrow(), 2);
    }
}

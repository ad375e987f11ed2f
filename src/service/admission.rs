//! Who may associate: a caller is known by its AE title, then by its address; a tie is rejected.
//!
//! Invariant: pure over a snapshot. Limits are not here (they depend on what is open now), nor what a caller may ask: that is `link`'s policy.

use std::net::IpAddr;

use super::Snapshot;
use super::host_names::HostNames;
use super::listener::Transport;
use crate::dimse::{AssociationRequest, Rejection, uids};
use crate::link::answers_as;
use crate::model::{AeTitle, Asker, Caller, Fingerprint, Station, TlsCallers};

/// Why a caller may not associate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotAdmitted {
    /// No station calls by this AE title.
    #[error("no station has this calling AE title")]
    UnknownTitle,
    /// Stations call by this AE title, but none of them from this address.
    #[error("no station with this calling AE title calls from this address")]
    UnknownAddress,
    /// It calls from an address by which the station is not known, and `access.require_address` is on.
    #[error(
        "the station is not known by this address, and access.require_address is on; if it calls from here, add \
         --from-address {0} to it"
    )]
    NotAtItsAddress(IpAddr),
    /// More than one station may be meant.
    #[error("several stations have this calling AE title and address; give them different --from-address")]
    Tie,
    /// The caller wants to talk to somebody else.
    #[error("the called AE title is not ours")]
    NotCalled,
    /// It is known to speak over TLS alone: an AE title can be typed by anyone.
    #[error("the station calls over TLS alone (station set --no-tls allows it otherwise)")]
    NotOverTls,
    /// It is known to speak over TLS, and has not shown who it is.
    #[error("the station shows no certificate (where none can, set tls.callers to none)")]
    NoCertificate,
    /// It shows a certificate by which it is not known.
    #[error("the certificate is not the station's; where it truly is, set --tls-fingerprint {0}")]
    OtherCertificate(Fingerprint),
}

impl NotAdmitted {
    /// What the caller is told (PS3.8 9.3.4).
    pub fn rejection(self) -> Rejection {
        match self {
            NotAdmitted::NotCalled => Rejection::CALLED_AE_TITLE,
            NotAdmitted::NotOverTls | NotAdmitted::NoCertificate | NotAdmitted::OtherCertificate(_) => {
                Rejection::NO_REASON
            }
            NotAdmitted::UnknownTitle
            | NotAdmitted::UnknownAddress
            | NotAdmitted::NotAtItsAddress(_)
            | NotAdmitted::Tie => Rejection::CALLING_AE_TITLE,
        }
    }
}

/// How a caller presents itself: by this it is known under one snapshot after the other.
#[derive(Debug, Clone)]
pub(super) struct Calls {
    calling: String,
    called: String,
    address: IpAddr,
    transport: Transport,
    certificate: Option<ShownCertificate>,
    is_impaxlink: bool,
    speaks_linked: bool,
}

/// A certificate that was trusted in the handshake.
#[derive(Debug, Clone, Copy)]
struct ShownCertificate {
    fingerprint: Fingerprint,
    /// Whether some station is known by it: it may be trusted for that station alone, as no authority need vouch for it.
    is_named: bool,
}

impl Calls {
    /// As an association request has it, which came over a connection that was made under `handshake`.
    pub(super) fn of(request: &AssociationRequest, transport: Transport, handshake: &Snapshot) -> Self {
        let shown = request.peer.certificate.as_ref();
        let certificate = shown.map(|certificate| {
            let fingerprint = certificate.fingerprint();
            let mut named = handshake.configuration().named_certificates();
            ShownCertificate {
                fingerprint,
                is_named: named.any(|named| *named == fingerprint),
            }
        });
        Calls {
            certificate,
            calling: request.calling.raw.clone(),
            called: request.called.raw.clone(),
            address: request.peer.address.ip(),
            transport,
            is_impaxlink: request.peer.implementation_class_uid == uids::IMPLEMENTATION_CLASS_UID,
            speaks_linked: (request.abstract_syntaxes.iter())
                .any(|syntax| syntax == uids::LINKED_CLUSTER_QUERY),
        }
    }

    /// The station that it is under `snapshot`.
    pub(super) fn station<'a>(&self, snapshot: &'a Snapshot) -> Result<&'a Station, NotAdmitted> {
        let station = admit(snapshot, &self.calling, &self.called, self.address)?;
        if station.tls {
            self.prove(station, snapshot.settings().tls_callers())?;
        }
        Ok(station)
    }

    /// Whether it has proven to be `station`, as far as `tls.callers` asks for that: an AE title can be typed by anyone.
    fn prove(&self, station: &Station, callers: TlsCallers) -> Result<(), NotAdmitted> {
        if self.transport == Transport::Plain {
            return Err(NotAdmitted::NotOverTls);
        }
        if callers == TlsCallers::None {
            return Ok(());
        }
        let shown = self.certificate.ok_or(NotAdmitted::NoCertificate)?;
        let named = &station.tls_fingerprints;
        let is_its_own = match named.is_empty() {
            true => !shown.is_named,
            false => named.contains(&shown.fingerprint),
        };
        match is_its_own {
            true => Ok(()),
            false => Err(NotAdmitted::OtherCertificate(shown.fingerprint)),
        }
    }

    /// Whether more than an AE title, which anyone can type, shows that it is `station`: its address, also where it is
    /// known by a name that leads there, or its certificate.
    pub(super) async fn is_proven(&self, station: &Station, names: &HostNames) -> bool {
        let is_certified = station.tls && self.certificate.is_some();
        is_certified || self.comes_from(station, names).await
    }

    /// Whether it calls from an address of `station`, also where that is known by a name.
    pub(super) async fn comes_from(&self, station: &Station, names: &HostNames) -> bool {
        let peer = self.address.to_canonical();
        if calls_from(station, peer) || is_at(station, peer) {
            return true;
        }
        match &station.endpoint {
            Some(endpoint) if endpoint.host.address().is_none() => names.lead(&endpoint.host, peer).await,
            _ => false,
        }
    }

    /// The title it calls as, where that is one.
    pub(super) fn title(&self) -> Option<AeTitle> {
        self.calling.parse().ok()
    }

    /// As whom it asks, where its title is one.
    pub(super) fn asker(&self) -> Option<Asker> {
        Some(Asker::Station {
            ae_title: self.title()?,
            address: self.address,
        })
    }

    /// Where it calls from.
    pub(super) fn address(&self) -> IpAddr {
        self.address
    }

    /// Whether it has proposed the linked syntax.
    pub(super) fn speaks_linked(&self) -> bool {
        self.speaks_linked
    }

    /// As what it queries, being `station`. Another impaxlink asks for a cluster of its own, known to be linked or not.
    pub(super) fn queries_as(&self, station: &Station) -> Caller {
        match self.is_impaxlink || self.speaks_linked {
            true => Caller::LinkedCluster,
            false => Caller::of(station),
        }
    }
}

/// The station that calls as `calling` from `peer`, if it is one we know and it calls us.
pub fn admit<'a>(
    snapshot: &'a Snapshot,
    calling: &str,
    called: &str,
    peer: IpAddr,
) -> Result<&'a Station, NotAdmitted> {
    let station = identify(snapshot, calling.trim_matches(' '), peer.to_canonical())?;
    match answers_as(called.trim_matches(' '), station, snapshot.settings()) {
        true => Ok(station),
        false => Err(NotAdmitted::NotCalled),
    }
}

/// Those who call from named addresses alone are out elsewhere. Of those who are left, the ones known by this very
/// address come before the ones that may call from anywhere.
fn identify<'a>(snapshot: &'a Snapshot, calling: &str, peer: IpAddr) -> Result<&'a Station, NotAdmitted> {
    let mut by_title = snapshot.callers(calling).peekable();
    if by_title.peek().is_none() {
        return Err(NotAdmitted::UnknownTitle);
    }
    let may_call: Vec<&Station> = by_title
        .filter(|station| station.from_addresses.is_empty() || calls_from(station, peer))
        .collect();
    let by_address: Vec<&Station> = may_call
        .iter()
        .copied()
        .filter(|station| calls_from(station, peer) || is_at(station, peer))
        .collect();
    match (by_address.as_slice(), may_call.as_slice()) {
        ([station], _) | ([], [station]) => Ok(station),
        ([], []) => Err(NotAdmitted::UnknownAddress),
        _ => Err(NotAdmitted::Tie),
    }
}

fn calls_from(station: &Station, peer: IpAddr) -> bool {
    station
        .from_addresses
        .iter()
        .any(|address| address.to_canonical() == peer)
}

fn is_at(station: &Station, peer: IpAddr) -> bool {
    let host = station
        .endpoint
        .as_ref()
        .and_then(|endpoint| endpoint.host.address());
    host.is_some_and(|address| address.to_canonical() == peer)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::service::examples::{configuration, station};

    fn caller(stations: Vec<Station>, calling: &str, peer: &str) -> Result<String, NotAdmitted> {
        let snapshot = Snapshot::new(configuration(stations)).unwrap();
        let peer = peer.parse().unwrap();
        admit(&snapshot, calling, "IMPAXLINK", peer).map(|station| station.name.to_string())
    }

    fn from(mut station: Station, addresses: &[&str]) -> Station {
        station.from_addresses = addresses.iter().map(|text| text.parse().unwrap()).collect();
        station
    }

    #[test]
    fn one_station_is_known_by_its_title_from_anywhere() {
        let known = || vec![station("A", "PACS", "10.0.0.1")];
        assert_eq!(caller(known(), "PACS", "10.9.9.9").unwrap(), "A");
        assert_eq!(caller(known(), " PACS ", "10.9.9.9").unwrap(), "A");
        assert_eq!(
            caller(known(), "pacs", "10.0.0.1"),
            Err(NotAdmitted::UnknownTitle)
        );
    }

    #[test]
    fn a_station_that_names_its_addresses_calls_from_nowhere_else() {
        let known = || vec![from(station("A", "PACS", "10.0.0.1"), &["10.0.0.7", "fd00::7"])];
        for peer in ["10.0.0.7", "::ffff:10.0.0.7", "fd00::7"] {
            assert_eq!(caller(known(), "PACS", peer).unwrap(), "A", "{peer}");
        }
        assert_eq!(
            caller(known(), "PACS", "10.0.0.1"),
            Err(NotAdmitted::UnknownAddress)
        );
    }

    /// Case: one site under several AE titles and addresses
    #[test]
    fn two_sites_with_one_title_are_told_apart_by_address() {
        let known = || {
            vec![
                station("A", "PACS", "10.0.0.1"),
                from(station("B", "PACS", "b.example"), &["10.0.0.2"]),
            ]
        };
        assert_eq!(caller(known(), "PACS", "10.0.0.1").unwrap(), "A");
        assert_eq!(caller(known(), "PACS", "10.0.0.2").unwrap(), "B");
        // B calls from its own address alone, A from anywhere.
        assert_eq!(caller(known(), "PACS", "10.0.0.3").unwrap(), "A");
    }

    #[test]
    fn a_tie_is_rejected() {
        let known = |host| {
            vec![
                station("A", "PACS", "10.0.0.1"),
                Station {
                    endpoint: station("B", "PACS", host)
                        .endpoint
                        .map(|endpoint| crate::model::Endpoint {
                            port: crate::model::parse_port("105").unwrap(),
                            ..endpoint
                        }),
                    ..station("B", "PACS", host)
                },
            ]
        };
        assert_eq!(
            caller(known("10.0.0.1"), "PACS", "10.0.0.1"),
            Err(NotAdmitted::Tie)
        );
        assert_eq!(
            caller(known("10.0.0.2"), "PACS", "10.0.0.3"),
            Err(NotAdmitted::Tie)
        );
        assert_eq!(caller(known("10.0.0.2"), "PACS", "10.0.0.2").unwrap(), "B");
    }

    #[test]
    fn only_our_own_titles_may_be_called() {
        let mut door = station("A", "PACS", "10.0.0.1");
        door.calling_ae = Some("LINK2".parse().unwrap());
        let snapshot = Snapshot::new(configuration(vec![door, station("B", "B", "10.0.0.2")])).unwrap();
        let peer = "10.0.0.1".parse().unwrap();
        for called in ["IMPAXLINK", "LINK2"] {
            assert!(admit(&snapshot, "PACS", called, peer).is_ok(), "{called}");
        }
        assert_eq!(
            admit(&snapshot, "B", "LINK2", peer).unwrap_err(),
            NotAdmitted::NotCalled
        );
        assert_eq!(NotAdmitted::NotCalled.rejection(), Rejection::CALLED_AE_TITLE);
        assert_eq!(NotAdmitted::Tie.rejection(), Rejection::CALLING_AE_TITLE);
    }

    #[test]
    fn a_station_over_tls_proves_who_it_is() {
        let [its, other] = [7, 8].map(|byte| Fingerprint::new([byte; 32]));
        let over_tls = |fingerprints: &[Fingerprint]| Station {
            tls: true,
            tls_fingerprints: fingerprints.to_vec(),
            ..station("A", "A", "10.0.0.1")
        };
        let prove = |named: &[Fingerprint], transport, shown: Option<(Fingerprint, bool)>, callers| {
            let certificate = shown.map(|(fingerprint, is_named)| ShownCertificate {
                fingerprint,
                is_named,
            });
            let calls = Calls {
                calling: "A".to_owned(),
                called: "IMPAXLINK".to_owned(),
                address: "10.0.0.1".parse().unwrap(),
                transport,
                certificate,
                is_impaxlink: false,
                speaks_linked: false,
            };
            calls.prove(&over_tls(named), callers)
        };
        use NotAdmitted::{NoCertificate, NotOverTls, OtherCertificate};
        use TlsCallers::{None as NotAsked, Optional, Required};
        use Transport::{Plain, Tls};
        for (named, transport, shown, callers, proven) in [
            (&[][..], Plain, None, NotAsked, Err(NotOverTls)),
            (&[], Tls, None, NotAsked, Ok(())),
            (&[its], Tls, None, NotAsked, Ok(())),
            (&[], Tls, None, Optional, Err(NoCertificate)),
            (&[], Tls, Some((other, false)), Required, Ok(())),
            (
                &[],
                Tls,
                Some((other, true)),
                Required,
                Err(OtherCertificate(other)),
            ),
            (&[its], Tls, None, Optional, Err(NoCertificate)),
            (&[its], Tls, Some((its, true)), Optional, Ok(())),
            (
                &[its],
                Tls,
                Some((other, false)),
                Required,
                Err(OtherCertificate(other)),
            ),
            (&[its, other], Tls, Some((other, true)), Required, Ok(())),
        ] {
            let told = prove(named, transport, shown, callers);
            assert_eq!(told, proven, "{named:?} {transport:?} {shown:?} {callers:?}");
        }
    }
}

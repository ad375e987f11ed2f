//! A station as JSON: the flat document that the store's history, `export` and scripts share.
//!
//! Invariant: its field names are a contract (documented for scripts); reading it back gives the same station.

use std::net::IpAddr;
use std::num::NonZeroU16;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{
    AeTitle, CharacterSet, ClusterName, Description, Endpoint, Fingerprint, Host, Invalid, Issuer, Kind,
    LinkFlags, OnPartial, Station, StationName, SuccessComment, Suspension, Syntax, UpdatesDirection,
};

/// The fields of a station, flat and by their documented names.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StationDocument {
    name: StationName,
    ae_title: AeTitle,
    host: Option<Host>,
    port: Option<NonZeroU16>,
    kind: Kind,
    embedded: bool,
    description: Option<Description>,
    cluster: Option<ClusterName>,
    cluster_linking: bool,
    link_internal_queries: bool,
    link_external_queries: bool,
    link_cluster_updates: bool,
    link_prefetching: bool,
    updates_direction: UpdatesDirection,
    constrained: bool,
    priority: i32,
    issuers: Vec<Issuer>,
    charset: Option<CharacterSet>,
    syntax: Syntax,
    timeout_ms: u64,
    calling_ae: Option<AeTitle>,
    also_calls_as: Vec<AeTitle>,
    from_addresses: Vec<IpAddr>,
    move_destination: Option<AeTitle>,
    on_partial: Option<OnPartial>,
    /// Not in documents that were recorded before there was one.
    #[serde(default)]
    success_comment: SuccessComment,
    suspended_until: Option<Suspension>,
    tls: bool,
    /// Not in documents that were recorded before there were any.
    #[serde(default)]
    tls_fingerprints: Vec<Fingerprint>,
}

impl From<Station> for StationDocument {
    fn from(station: Station) -> Self {
        let (host, port) = match station.endpoint {
            Some(Endpoint { host, port }) => (Some(host), Some(port)),
            None => (None, None),
        };
        StationDocument {
            embedded: host.is_none(),
            name: station.name,
            ae_title: station.ae_title,
            host,
            port,
            kind: station.kind,
            description: station.description,
            cluster: station.cluster,
            cluster_linking: station.links.cluster_linking,
            link_internal_queries: station.links.internal_queries,
            link_external_queries: station.links.external_queries,
            link_cluster_updates: station.links.cluster_updates,
            link_prefetching: station.links.prefetching,
            updates_direction: station.updates_direction,
            constrained: station.constrained,
            priority: station.priority,
            issuers: station.issuers,
            charset: station.charset,
            syntax: station.syntax,
            timeout_ms: station.timeout.as_millis() as u64,
            calling_ae: station.calling_ae,
            also_calls_as: station.also_calls_as,
            from_addresses: station.from_addresses,
            move_destination: station.move_destination,
            on_partial: station.on_partial,
            success_comment: station.success_comment,
            suspended_until: station.suspended,
            tls: station.tls,
            tls_fingerprints: station.tls_fingerprints,
        }
    }
}

impl TryFrom<StationDocument> for Station {
    type Error = Invalid;

    fn try_from(document: StationDocument) -> Result<Self, Invalid> {
        let endpoint = match (document.embedded, document.host, document.port) {
            (true, None, None) => None,
            (false, Some(host), Some(port)) => Some(Endpoint { host, port }),
            _ => {
                let rule = "it has both host and port, or is embedded and has neither";
                return Err(Invalid::new("station", document.name.as_str(), rule));
            }
        };
        let station = Station {
            endpoint,
            name: document.name,
            ae_title: document.ae_title,
            kind: document.kind,
            description: document.description,
            cluster: document.cluster,
            links: LinkFlags {
                cluster_linking: document.cluster_linking,
                internal_queries: document.link_internal_queries,
                external_queries: document.link_external_queries,
                cluster_updates: document.link_cluster_updates,
                prefetching: document.link_prefetching,
            },
            updates_direction: document.updates_direction,
            constrained: document.constrained,
            priority: document.priority,
            issuers: document.issuers,
            charset: document.charset,
            syntax: document.syntax,
            timeout: Duration::from_millis(document.timeout_ms),
            calling_ae: document.calling_ae,
            also_calls_as: document.also_calls_as,
            from_addresses: document.from_addresses,
            move_destination: document.move_destination,
            on_partial: document.on_partial,
            success_comment: document.success_comment,
            suspended: document.suspended_until,
            tls: document.tls,
            tls_fingerprints: document.tls_fingerprints,
        };
        station.check()?;
        Ok(station)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn siteb() -> Station {
        let endpoint = Endpoint {
            host: "10.2.0.5".parse().unwrap(),
            port: NonZeroU16::new(104).unwrap(),
        };
        Station::new(
            "SITEB".parse().unwrap(),
            "SITEB_QR".parse().unwrap(),
            Some(endpoint),
        )
    }

    #[test]
    fn the_document_has_the_documented_fields_and_reads_back() {
        let mut station = siteb();
        station.suspended = Some(Suspension::Indefinite);
        let json = serde_json::to_value(&station).unwrap();
        let names: Vec<&str> = json.as_object().unwrap().keys().map(String::as_str).collect();
        let documented = "name, ae_title, host, port, kind, embedded, description, cluster, cluster_linking, \
            link_internal_queries, link_external_queries, link_cluster_updates, link_prefetching, updates_direction, \
            constrained, priority, issuers, charset, syntax, timeout_ms, calling_ae, also_calls_as, from_addresses, \
            move_destination, on_partial, success_comment, suspended_until, tls, tls_fingerprints";
        let mut documented: Vec<&str> = documented.split(", ").collect();
        let mut names = names;
        documented.sort_unstable();
        names.sort_unstable();
        assert_eq!(names, documented);
        assert_eq!(serde_json::from_value::<Station>(json).unwrap(), station);
    }

    #[test]
    fn a_document_of_the_past_lacks_the_fields_that_came_later() {
        let mut json = serde_json::to_value(siteb()).unwrap();
        for later in ["tls_fingerprints", "success_comment"] {
            json.as_object_mut().unwrap().remove(later);
        }
        assert_eq!(serde_json::from_value::<Station>(json).unwrap(), siteb());
    }

    #[test]
    fn an_archive_is_never_linked() {
        let mut station = siteb();
        station.kind = Kind::Archive;
        station.links.cluster_linking = true;
        let json = serde_json::to_value(&station).unwrap();
        assert!(serde_json::from_value::<Station>(json).is_err());
    }
}

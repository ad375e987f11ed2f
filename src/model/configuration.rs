//! The whole configuration of one generation: settings, stations, mapping tables and
//! prefetch rules, and what must hold between them.
//!
//! Invariants (checked by `Configuration::check`): station names differ, ignoring case; (AE title, host, port) differ;
//! there is at most one embedded archive.

use std::cmp::Reverse;
use std::collections::{HashMap, HashSet};

use super::{Fingerprint, Invalid, Kind, MappingTable, PrefetchRules, Settings, Station, StationName};

/// The number of a saved configuration; 0 is the empty one of a new store.
pub type Generation = u64;

/// Settings, stations, mapping tables and prefetch rules of one generation.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Configuration {
    /// Which one it is.
    pub generation: Generation,
    /// The local cluster's own settings.
    pub settings: Settings,
    /// All stations, by name.
    pub stations: Vec<Station>,
    /// The cluster's own mapping tables; `None` where the shipped ones are in force.
    pub mapping: Option<MappingTable>,
    /// The cluster's own prefetch rules; `None` where the shipped ones are in force.
    pub prefetch_rules: Option<PrefetchRules>,
}

impl Configuration {
    /// The station of that name, to the letter.
    pub fn station(&self, name: &StationName) -> Option<&Station> {
        self.stations.iter().find(|station| station.name == *name)
    }

    /// The archive station that studies are brought to, and its place: the one of that name, else the one of the highest
    /// priority, of several the first by name.
    pub fn destination(&self, named: Option<&StationName>) -> Option<(usize, &Station)> {
        let archives = self.stations.iter().enumerate().filter(|(_, station)| {
            station.kind == Kind::Archive && named.is_none_or(|name| station.name == *name)
        });
        archives.min_by_key(|(_, station)| (Reverse(station.priority), &station.name))
    }

    /// The stations that are doors to linked clusters.
    pub fn linked_stations(&self) -> impl Iterator<Item = &Station> {
        self.stations.iter().filter(|station| station.is_linked())
    }

    /// The certificates by which stations are known over TLS.
    pub fn named_certificates(&self) -> impl Iterator<Item = &Fingerprint> {
        let over_tls = self.stations.iter().filter(|station| station.tls);
        over_tls.flat_map(|station| &station.tls_fingerprints)
    }

    /// The mapping tables that are in force.
    pub fn mapping_in_force(&self) -> &MappingTable {
        match &self.mapping {
            Some(own) => own,
            None => MappingTable::shipped(),
        }
    }

    /// The prefetch rules that are in force.
    pub fn prefetch_rules_in_force(&self) -> &PrefetchRules {
        match &self.prefetch_rules {
            Some(own) => own,
            None => PrefetchRules::shipped(),
        }
    }

    /// Holds the stations to what they must be, alone and together.
    pub fn check(&self) -> Result<(), Invalid> {
        let mut names = HashSet::new();
        let mut addresses = HashMap::new();
        let mut embedded = None;
        for station in &self.stations {
            station.check()?;
            let name = station.name.as_str();
            if !names.insert(name.to_lowercase()) {
                return Err(Invalid::new(
                    "station name",
                    name,
                    "another station has this name",
                ));
            }
            match &station.endpoint {
                None => {
                    if let Some(other) = embedded.replace(name) {
                        let rule = format!("{other} is the embedded archive already");
                        return Err(Invalid::new("station", name, rule));
                    }
                }
                Some(endpoint) => {
                    if let Some(other) = addresses.insert((&station.ae_title, endpoint), name) {
                        let address = format!("{}@{endpoint}", station.ae_title);
                        let rule = format!("{other} and {name} can't both have it");
                        return Err(Invalid::new("address", &address, rule));
                    }
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Endpoint, parse_port};

    fn station(name: &str, ae_title: &str, port: &str) -> Station {
        let endpoint = Endpoint {
            host: "10.0.0.1".parse().unwrap(),
            port: parse_port(port).unwrap(),
        };
        Station::new(name.parse().unwrap(), ae_title.parse().unwrap(), Some(endpoint))
    }

    fn check(stations: Vec<Station>) -> Result<(), Invalid> {
        Configuration {
            stations,
            ..Configuration::default()
        }
        .check()
    }

    #[test]
    fn two_sites_may_both_be_called_pacs_but_not_at_one_address() {
        assert!(check(vec![station("A", "PACS", "104"), station("B", "PACS", "105")]).is_ok());
        let error = check(vec![station("A", "PACS", "104"), station("B", "PACS", "104")]).unwrap_err();
        assert!(error.to_string().contains("PACS@10.0.0.1:104"), "{error}");
    }

    #[test]
    fn names_differ_by_more_than_case() {
        assert!(check(vec![station("siteb", "A", "104"), station("SITEB", "B", "104")]).is_err());
    }
}

//! Configurations for the unit tests of this room.

use crate::model::{Configuration, Endpoint, Station, parse_port};

/// A station on port 104 of `host` with every option at its default.
pub fn station(name: &str, ae_title: &str, host: &str) -> Station {
    let endpoint = Endpoint {
        host: host.parse().unwrap(),
        port: parse_port("104").unwrap(),
    };
    Station::new(name.parse().unwrap(), ae_title.parse().unwrap(), Some(endpoint))
}

/// Generation 1, with these stations and the settings at their defaults.
pub fn configuration(stations: Vec<Station>) -> Configuration {
    Configuration {
        generation: 1,
        stations,
        ..Configuration::default()
    }
}

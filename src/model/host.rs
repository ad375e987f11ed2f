//! Where a peer can be reached: a host and a port.
//!
//! Invariant: a `Host` is an IPv4 address, an IPv6 address or a name by the rules of RFC 1123; an IPv6 address is
//! written with brackets only beside a port. Name resolution is not here: it waits on the network.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::num::NonZeroU16;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::Invalid;

/// A host name or address, in its canonical spelling.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Host(String);

impl Host {
    /// The name or address, without brackets.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The address, where the host is one and needs no name resolution.
    pub fn address(&self) -> Option<IpAddr> {
        self.0.parse().ok()
    }
}

impl FromStr for Host {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let bare = text
            .strip_prefix('[')
            .and_then(|rest| rest.strip_suffix(']'))
            .unwrap_or(text);
        if let Ok(address) = bare.parse::<IpAddr>() {
            return Ok(Host(address.to_string()));
        }
        match broken_name_rule(bare) {
            None => Ok(Host(bare.to_ascii_lowercase())),
            Some(rule) => Err(Invalid::new("host", text, rule)),
        }
    }
}

/// The rule of RFC 1123 2.1 that `name` breaks, if any.
fn broken_name_rule(name: &str) -> Option<&'static str> {
    if name.is_empty() {
        return Some("it must not be empty");
    }
    if name.contains(':') {
        return Some("it is not an IPv6 address; give the port with --port");
    }
    let labels = name.strip_suffix('.').unwrap_or(name);
    if labels.len() > 253 {
        return Some("a host name has at most 253 characters (RFC 1123)");
    }
    let label_is_valid = |label: &str| {
        (1..=63).contains(&label.len())
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
    };
    if !labels.split('.').all(label_is_valid) {
        return Some("a host name is made of letters, digits, '-' and '.' (RFC 1123)");
    }
    let last = labels.rsplit('.').next().unwrap_or_default();
    if last.bytes().all(|b| b.is_ascii_digit()) {
        return Some("it is neither a name nor an IPv4 address (four numbers from 0 to 255)");
    }
    None
}

impl TryFrom<String> for Host {
    type Error = Invalid;

    fn try_from(text: String) -> Result<Self, Invalid> {
        text.parse()
    }
}

impl From<Host> for String {
    fn from(host: Host) -> String {
        host.0
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// A host and a TCP port. Displays as `HOST:PORT`, an IPv6 address in brackets.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Endpoint {
    /// The host.
    pub host: Host,
    /// The TCP port.
    pub port: NonZeroU16,
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.0.parse::<Ipv6Addr>().is_ok() {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

/// Reads a TCP port: 1 to 65535.
pub fn parse_port(text: &str) -> Result<NonZeroU16, Invalid> {
    text.parse()
        .map_err(|_| Invalid::new("port", text, "it must be a whole number from 1 to 65535"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_names_and_addresses() {
        for (text, canonical) in [
            ("pacs.north.example", "pacs.north.example"),
            ("PACS-1", "pacs-1"),
            ("10.2.0.5", "10.2.0.5"),
            ("[::1]", "::1"),
            ("2001:DB8::0001", "2001:db8::1"),
        ] {
            assert_eq!(text.parse::<Host>().unwrap().as_str(), canonical);
        }
    }

    #[test]
    fn refuses_what_is_no_host() {
        for text in [
            "",
            "a b",
            "-a",
            "10.2.0.256",
            "10.2.0.5:104",
            "a..b",
            "x\u{7}",
            "::g",
            "1.2.3",
        ] {
            assert!(text.parse::<Host>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn an_ipv6_endpoint_has_brackets() {
        let endpoint = Endpoint {
            host: "::1".parse().unwrap(),
            port: parse_port("104").unwrap(),
        };
        assert_eq!(endpoint.to_string(), "[::1]:104");
        assert!(parse_port("0").is_err() && parse_port("65536").is_err());
    }
}

//! On whose behalf a query runs: what decides who is asked.
//!
//! Invariant: a station that is linked asks as a linked cluster, whatever its kind. Who is asked then is `link`'s.

use super::{Invalid, Kind, Station};

/// On whose behalf a query runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Caller {
    /// A station of the local cluster, or the command line.
    Internal,
    /// Another system.
    External,
    /// A linked cluster: what it asks is not forwarded.
    LinkedCluster,
}

impl Caller {
    /// What a known station asks as. Cluster linking overrides its kind.
    pub fn of(station: &Station) -> Self {
        match station.kind {
            _ if station.is_linked() => Caller::LinkedCluster,
            Kind::Internal | Kind::Archive => Caller::Internal,
            Kind::External => Caller::External,
        }
    }

    /// As it is shown and recorded: `internal`, `external`, `linked`.
    pub fn as_str(&self) -> &'static str {
        match self {
            Caller::Internal => "internal",
            Caller::External => "external",
            Caller::LinkedCluster => "linked",
        }
    }
}

impl std::str::FromStr for Caller {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        match text {
            "internal" => Ok(Caller::Internal),
            "external" => Ok(Caller::External),
            "linked" => Ok(Caller::LinkedCluster),
            _ => Err(Invalid::new(
                "caller",
                text,
                "it is 'internal', 'external' or 'linked'",
            )),
        }
    }
}

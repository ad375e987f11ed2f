//! Who asks, and who is asked then: the policy table of a linked query.
//!
//! Invariant: a pure function of the caller, the configuration, the query and the time. A query from a linked cluster
//! goes to the archive stations alone, whatever else is asked for, so A→B→A and A→B→C→A end here. A caller that is
//! unknown is rejected before, where associations are accepted; that is not here.

use std::fmt;

use jiff::Timestamp;

pub use crate::model::Caller;
use crate::model::{Configuration, Kind, Query, Station, StationName, Suspension, accepts_updates};

/// What the caller leaves out of the stations that the policy allows, or adds to them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Narrowing {
    /// Only these stations (`--from`); empty means all.
    pub from: Vec<StationName>,
    /// Only the archive stations (`--local`).
    pub local_only: bool,
    /// Also stations named in `from` that the link flags don't allow (`--regardless`).
    pub regardless: bool,
    /// What it is asked for.
    pub purpose: Purpose,
}

/// What a query is asked for: which link flag lets it out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Purpose {
    /// Someone asks: *link internal queries* or *link external queries*.
    #[default]
    Query,
    /// Relevant priors are looked for: *link prefetching*.
    Prefetch,
    /// New objects that an update told of: *link cluster updates*, or *link internal queries*.
    Updates,
}

/// What a station is to the query.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Role {
    /// It holds the local cluster's studies.
    Archive,
    /// It is the door to a linked cluster.
    Linked,
}

/// One station that the query concerns.
#[derive(Debug, Clone, PartialEq)]
pub struct Target {
    /// Its place in `Configuration::stations`.
    pub station: usize,
    /// What it is to the query.
    pub role: Role,
    /// Whether the linked syntax may be spoken to it. Archive stations, external queries, and stations that are not
    /// linked are strict DICOM's.
    pub may_speak_linked: bool,
    /// Why it is not asked; `None` where it is.
    pub skip: Option<Skip>,
}

/// Why a station is not asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Skip {
    /// It is suspended: the answer is partial meanwhile.
    Suspended(Suspension),
    /// A link flag is off; the flag by its name on the command line.
    FlagOff(&'static str),
    /// It is constrained, and the query is too open.
    Constrained,
    /// The caller is a linked cluster.
    NotForwarded,
    /// The query is our own, put to us again by a station that is being asked.
    OwnQuestion,
}

impl Skip {
    /// Whether the station should have answered, so that the answer is partial without it.
    pub fn was_due(self) -> bool {
        matches!(self, Skip::Suspended(_))
    }
}

impl fmt::Display for Skip {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Skip::Suspended(Suspension::Until(until)) => write!(f, "suspended to {until:.0}"),
            Skip::Suspended(Suspension::Indefinite) => f.write_str("suspended until it is resumed"),
            Skip::FlagOff(flag) => write!(f, "{flag} is off"),
            Skip::Constrained => f.write_str(
                "constrained: it is asked only with a patient ID, accession number or study UID without wildcards, \
                 or three characters of a name",
            ),
            Skip::OwnQuestion => f.write_str("our own query, put to us again by a station that is asked: not forwarded"),
            Skip::NotForwarded => f.write_str("the caller is a linked cluster: its queries are not forwarded"),
        }
    }
}

/// The stations that a query concerns, archive stations first, each asked or skipped with the reason.
pub fn plan(
    configuration: &Configuration,
    caller: &Caller,
    query: &Query,
    narrowing: &Narrowing,
    now: Timestamp,
) -> Vec<Target> {
    let named = |station: &Station| narrowing.from.contains(&station.name);
    let mut targets: Vec<Target> = configuration
        .stations
        .iter()
        .enumerate()
        .filter_map(|(index, station)| {
            let role = role(station, narrowing, named(station))?;
            let flags = match role {
                Role::Archive => None,
                Role::Linked
                    if narrowing.regardless && named(station) && *caller != Caller::LinkedCluster =>
                {
                    None
                }
                Role::Linked => flags_against(caller, station, narrowing.purpose),
            };
            let skip = flags.or_else(|| state_against(station, query, now));
            Some(Target {
                station: index,
                role,
                may_speak_linked: role == Role::Linked && *caller == Caller::Internal && station.is_linked(),
                skip,
            })
        })
        .collect();
    targets.sort_by_key(|target| target.role);
    targets
}

/// What the station is to the query; `None` where it has no part in it.
fn role(station: &Station, narrowing: &Narrowing, named: bool) -> Option<Role> {
    if !narrowing.from.is_empty() && !named {
        None
    } else if station.kind == Kind::Archive {
        Some(Role::Archive)
    } else if !narrowing.local_only && (named || station.is_linked()) {
        Some(Role::Linked)
    } else {
        None
    }
}

fn flags_against(caller: &Caller, station: &Station, purpose: Purpose) -> Option<Skip> {
    let links = station.links;
    let (allows, option) = match (caller, purpose) {
        (Caller::LinkedCluster, _) => return Some(Skip::NotForwarded),
        (_, Purpose::Prefetch) => (links.allows_prefetching(), "--link-prefetch"),
        (_, Purpose::Updates) => {
            let accepts = accepts_updates(station) || links.allows_internal_queries();
            (accepts, "--link-cluster-updates")
        }
        (Caller::Internal, _) => (links.allows_internal_queries(), "--link-internal-queries"),
        (Caller::External, _) => (links.allows_external_queries(), "--link-external-queries"),
    };
    if allows {
        return None;
    }
    let master_is_off = !links.cluster_linking;
    Some(Skip::FlagOff(if master_is_off {
        "--cluster-linking"
    } else {
        option
    }))
}

fn state_against(station: &Station, query: &Query, now: Timestamp) -> Option<Skip> {
    match station.suspended {
        Some(suspension) if suspension.is_in_force(now) => Some(Skip::Suspended(suspension)),
        _ if station.constrained && !query.is_narrow() => Some(Skip::Constrained),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Endpoint, LinkFlags, parse_port};

    const NOW: Timestamp = Timestamp::UNIX_EPOCH;

    fn station(name: &str, change: impl FnOnce(&mut Station)) -> Station {
        let endpoint = Endpoint {
            host: format!("{name}.example").parse().unwrap(),
            port: parse_port("104").unwrap(),
        };
        let mut station = Station::new(name.parse().unwrap(), name.parse().unwrap(), Some(endpoint));
        change(&mut station);
        station
    }

    fn linked(name: &str, internal_queries: bool, external_queries: bool) -> Station {
        station(name, |station| {
            station.links = LinkFlags {
                cluster_linking: true,
                internal_queries,
                external_queries,
                ..LinkFlags::default()
            };
        })
    }

    fn sites() -> Configuration {
        Configuration {
            stations: vec![
                linked("BOTH", true, true),
                linked("EXT", false, true),
                linked("INT", true, false),
                linked("NONE", false, false),
                station("PACS", |station| station.kind = Kind::Archive),
                station("VIEWER", |station| station.kind = Kind::Internal),
            ],
            ..Configuration::default()
        }
    }

    fn told(sites: &Configuration, caller: &Caller, query: &Query, narrowing: &Narrowing) -> Vec<String> {
        plan(sites, caller, query, narrowing, NOW)
            .iter()
            .map(|target| {
                let name = &sites.stations[target.station].name;
                match target.skip {
                    None => format!("{name} asked"),
                    Some(skip) => format!("{name} {skip}"),
                }
            })
            .collect()
    }

    fn asked(caller: Caller) -> Vec<String> {
        let all = told(&sites(), &caller, &Query::default(), &Narrowing::default());
        all.into_iter().filter(|line| line.ends_with("asked")).collect()
    }

    #[test]
    fn an_internal_query_goes_to_the_archive_and_to_links_of_internal_queries() {
        assert_eq!(asked(Caller::Internal), ["PACS asked", "BOTH asked", "INT asked"]);
    }

    #[test]
    fn an_external_query_goes_to_the_archive_and_to_links_of_external_queries() {
        assert_eq!(asked(Caller::External), ["PACS asked", "BOTH asked", "EXT asked"]);
    }

    #[test]
    fn priors_are_looked_for_where_link_prefetching_is_on_whatever_queries_may() {
        let mut sites = sites();
        let linked = |prefetching| LinkFlags {
            cluster_linking: true,
            prefetching,
            internal_queries: !prefetching,
            ..LinkFlags::default()
        };
        sites.stations[0].links = linked(true);
        sites.stations[1].links = linked(false);
        sites.stations[2].links = LinkFlags {
            cluster_linking: false,
            ..linked(true)
        };
        sites.stations[3].links = linked(true);
        sites.stations[3].suspended = Some(Suspension::Indefinite);
        let priors = Narrowing {
            purpose: Purpose::Prefetch,
            ..Narrowing::default()
        };
        let expected = [
            "PACS asked",
            "BOTH asked",
            "EXT --link-prefetch is off",
            "NONE suspended until it is resumed",
        ];
        for caller in [Caller::Internal, Caller::External] {
            assert_eq!(told(&sites, &caller, &Query::default(), &priors), expected);
        }
        let of_linked = told(&sites, &Caller::LinkedCluster, &Query::default(), &priors);
        assert_eq!(of_linked.iter().filter(|line| line.ends_with("asked")).count(), 1);
    }

    #[test]
    fn objects_that_updates_name_are_asked_of_links_of_updates_and_of_internal_queries() {
        let mut sites = sites();
        sites.stations[1].links.cluster_updates = true;
        sites.stations[3].links.cluster_updates = true;
        sites.stations[3].updates_direction = crate::model::UpdatesDirection::Send;
        let updates = Narrowing {
            purpose: Purpose::Updates,
            ..Narrowing::default()
        };
        let expected = [
            "PACS asked",
            "BOTH asked",
            "EXT asked",
            "INT asked",
            "NONE --link-cluster-updates is off",
        ];
        assert_eq!(
            told(&sites, &Caller::Internal, &Query::default(), &updates),
            expected
        );
    }

    /// Case: clusters linked in a ring
    #[test]
    fn a_query_from_a_linked_cluster_is_never_forwarded() {
        assert_eq!(asked(Caller::LinkedCluster), ["PACS asked"]);
        let narrowing = Narrowing {
            from: vec!["BOTH".parse().unwrap()],
            regardless: true,
            ..Narrowing::default()
        };
        let told = told(&sites(), &Caller::LinkedCluster, &Query::default(), &narrowing);
        assert_eq!(
            told,
            ["BOTH the caller is a linked cluster: its queries are not forwarded"]
        );
    }

    #[test]
    fn linked_syntax_is_for_internal_queries_of_linked_stations() {
        let narrowing = Narrowing {
            from: vec![
                "BOTH".parse().unwrap(),
                "PACS".parse().unwrap(),
                "VIEWER".parse().unwrap(),
            ],
            regardless: true,
            ..Narrowing::default()
        };
        let linked = |caller| {
            let targets = plan(&sites(), &caller, &Query::default(), &narrowing, NOW);
            let spoken = targets.iter().filter(|target| target.may_speak_linked);
            spoken.map(|target| target.station).collect::<Vec<_>>()
        };
        assert_eq!(linked(Caller::Internal), [0]);
        assert_eq!(linked(Caller::External), [0_usize; 0]);
    }

    #[test]
    fn cluster_linking_overrides_kind() {
        let mut caller = linked("SITEB", true, true);
        caller.kind = Kind::Internal;
        assert_eq!(Caller::of(&caller), Caller::LinkedCluster);
        caller.links.cluster_linking = false;
        assert_eq!(Caller::of(&caller), Caller::Internal);
        caller.kind = Kind::External;
        assert_eq!(Caller::of(&caller), Caller::External);
    }

    #[test]
    fn a_skip_names_the_flag_and_leaves_the_answer_complete() {
        let plan = plan(
            &sites(),
            &Caller::Internal,
            &Query::default(),
            &Narrowing::default(),
            NOW,
        );
        let skips: Vec<Skip> = plan.iter().filter_map(|target| target.skip).collect();
        assert_eq!(skips, [Skip::FlagOff("--link-internal-queries"); 2]);
        assert!(skips.iter().all(|skip| !skip.was_due()));
    }

    #[test]
    fn the_options_have_no_effect_while_the_master_switch_is_off() {
        let mut sites = sites();
        sites.stations[0].links.cluster_linking = false;
        let from_both = Narrowing {
            from: vec!["BOTH".parse().unwrap()],
            ..Narrowing::default()
        };
        let query = Query::default();
        assert_eq!(
            told(&sites, &Caller::Internal, &query, &from_both),
            ["BOTH --cluster-linking is off"]
        );
        let all = told(&sites, &Caller::Internal, &query, &Narrowing::default());
        assert!(!all.iter().any(|line| line.starts_with("BOTH")), "{all:?}");
    }

    #[test]
    fn from_narrows_and_regardless_widens_to_what_is_named() {
        let mut narrowing = Narrowing {
            from: vec!["EXT".parse().unwrap(), "VIEWER".parse().unwrap()],
            ..Narrowing::default()
        };
        let query = Query::default();
        assert_eq!(
            told(&sites(), &Caller::Internal, &query, &narrowing),
            [
                "EXT --link-internal-queries is off",
                "VIEWER --cluster-linking is off"
            ]
        );
        narrowing.regardless = true;
        let told = told(&sites(), &Caller::Internal, &query, &narrowing);
        assert_eq!(told, ["EXT asked", "VIEWER asked"]);
    }

    #[test]
    fn local_leaves_the_linked_clusters_out() {
        let local = Narrowing {
            local_only: true,
            ..Narrowing::default()
        };
        let told = told(&sites(), &Caller::Internal, &Query::default(), &local);
        assert_eq!(told, ["PACS asked"]);
    }

    /// Case: an open query and a constrained station
    #[test]
    fn a_constrained_station_is_kept_from_open_queries() {
        let mut sites = sites();
        sites.stations[0].constrained = true;
        let narrow = Query {
            accession_number: Some("A1".to_owned()),
            ..Query::default()
        };
        let skip = |query| plan(&sites, &Caller::Internal, query, &Narrowing::default(), NOW)[1].skip;
        assert_eq!(skip(&narrow), None);
        assert_eq!(skip(&Query::default()), Some(Skip::Constrained));
        assert!(!Skip::Constrained.was_due());
    }

    #[test]
    fn a_suspended_station_leaves_the_answer_partial() {
        let mut sites = sites();
        sites.stations[4].suspended = Some(Suspension::Indefinite);
        sites.stations[0].suspended = Some(Suspension::Until(NOW));
        let plan = plan(
            &sites,
            &Caller::Internal,
            &Query::default(),
            &Narrowing::default(),
            NOW,
        );
        assert!(plan[0].skip.is_some_and(Skip::was_due));
        assert_eq!(plan[1].skip, None, "the suspension of BOTH has ended");
    }
}

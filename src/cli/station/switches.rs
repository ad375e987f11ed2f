//! The switches of a station: each bare, as `=on` or `=off`, with a `--no-…` twin and the short names people type.

use clap::{Arg, ArgAction, ArgMatches, Args, Command, FromArgMatches};

use crate::cli::value;
use crate::model::Station;

/// One switch of a station.
struct Switch {
    long: &'static str,
    no_long: &'static str,
    aliases: &'static [&'static str],
    no_aliases: &'static [&'static str],
    help: &'static str,
    of: fn(&mut Station) -> &mut bool,
}

const SWITCHES: [Switch; 7] = [
    Switch {
        long: "cluster-linking",
        no_long: "no-cluster-linking",
        aliases: &[],
        no_aliases: &[],
        help: "Open the station to other clusters; off: the four options below are kept, but have no effect",
        of: |station| &mut station.links.cluster_linking,
    },
    Switch {
        long: "link-internal-queries",
        no_long: "no-link-internal-queries",
        aliases: &["link-internal"],
        no_aliases: &["no-link-internal"],
        help: "Send internal queries to this linked cluster too",
        of: |station| &mut station.links.internal_queries,
    },
    Switch {
        long: "link-external-queries",
        no_long: "no-link-external-queries",
        aliases: &["link-external"],
        no_aliases: &["no-link-external"],
        help: "Send external queries to this linked cluster too, in strict DICOM",
        of: |station| &mut station.links.external_queries,
    },
    Switch {
        long: "link-cluster-updates",
        no_long: "no-link-cluster-updates",
        aliases: &["link-updates"],
        no_aliases: &["no-link-updates"],
        help: "Relay changes to this linked cluster, and accept changes from it",
        of: |station| &mut station.links.cluster_updates,
    },
    Switch {
        long: "link-prefetch",
        no_long: "no-link-prefetch",
        aliases: &["link-prefetching"],
        no_aliases: &["no-link-prefetching"],
        help: "Count this linked cluster's studies among the relevant priors",
        of: |station| &mut station.links.prefetching,
    },
    Switch {
        long: "constrained",
        no_long: "no-constrained",
        aliases: &[],
        no_aliases: &[],
        help: "Keep open queries from it: ask it only by patient, accession number or study",
        of: |station| &mut station.constrained,
    },
    Switch {
        long: "tls",
        no_long: "no-tls",
        aliases: &[],
        no_aliases: &[],
        help: "Speak with it over TLS alone, and know it by its certificate when it calls",
        of: |station| &mut station.tls,
    },
];

/// The switches named on the command line.
#[derive(Debug, Clone, Default)]
pub struct Switches {
    given: [Option<bool>; SWITCHES.len()],
}

impl Switches {
    /// Puts the switches that were named onto `station`.
    pub fn apply(&self, station: &mut Station) {
        for (switch, given) in SWITCHES.iter().zip(self.given) {
            if let Some(value) = given {
                *(switch.of)(station) = value;
            }
        }
    }
}

impl Args for Switches {
    fn augment_args(command: Command) -> Command {
        SWITCHES.iter().fold(command, |command, switch| {
            let heading = if switch.long.contains("link") {
                "Link flags"
            } else {
                "Switches"
            };
            let set = Arg::new(switch.long)
                .long(switch.long)
                .aliases(switch.aliases.iter().copied())
                .value_name("on|off")
                .num_args(0..=1)
                .require_equals(true)
                .default_missing_value("on")
                .value_parser(value::on_off)
                .overrides_with_all([switch.long, switch.no_long])
                .help_heading(heading)
                .help(format!("{} [twin: --{}]", switch.help, switch.no_long));
            let unset = Arg::new(switch.no_long)
                .long(switch.no_long)
                .aliases(switch.no_aliases.iter().copied())
                .action(ArgAction::SetTrue)
                .overrides_with_all([switch.long, switch.no_long])
                .hide(true);
            command.arg(set).arg(unset)
        })
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for Switches {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let mut switches = Switches::default();
        switches.update_from_arg_matches(matches)?;
        Ok(switches)
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        for (switch, given) in SWITCHES.iter().zip(&mut self.given) {
            if matches.get_flag(switch.no_long) {
                *given = Some(false);
            } else if let Some(value) = matches.get_one::<bool>(switch.long) {
                *given = Some(*value);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Endpoint, parse_port};

    fn apply(arguments: &[&str]) -> Station {
        let command = Switches::augment_args(Command::new("set").no_binary_name(true));
        let matches = command.try_get_matches_from(arguments).unwrap();
        let endpoint = Endpoint {
            host: "10.0.0.1".parse().unwrap(),
            port: parse_port("104").unwrap(),
        };
        let mut station = Station::new("A".parse().unwrap(), "A".parse().unwrap(), Some(endpoint));
        station.links.prefetching = true;
        Switches::from_arg_matches(&matches).unwrap().apply(&mut station);
        station
    }

    #[test]
    fn bare_is_on_and_the_last_word_counts() {
        assert!(apply(&["--cluster-linking"]).links.cluster_linking);
        assert!(apply(&["--link-internal=on"]).links.internal_queries);
        assert!(!apply(&["--link-prefetch=off"]).links.prefetching);
        assert!(!apply(&["--no-link-prefetching"]).links.prefetching);
        assert!(apply(&[]).links.prefetching);
        assert!(!apply(&["--tls", "--no-tls"]).tls);
        assert!(apply(&["--no-tls", "--tls"]).tls);
        assert!(!apply(&["--tls", "--tls=off"]).tls);
    }
}

//! Which addresses the host names of stations lead to: by them a station that is registered by a name alone is proven.
//!
//! Invariants: no association waits for the resolver, but for a moment at the first sight of a name. What a name was last
//! found to lead to holds for a bounded time; one that leads nowhere proves nobody.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use super::{Service, locked};
use crate::model::{Host, accepts_updates};

/// How often all names are resolved anew.
const REFRESH: Duration = Duration::from_secs(60);
/// How long the resolver may take then.
const DEADLINE: Duration = Duration::from_secs(20);
/// How long it is waited for at the first sight of a name.
const FIRST_SIGHT: Duration = Duration::from_millis(500);
/// How long an answer holds while there is no newer one.
const HOLDS: Duration = Duration::from_secs(10 * 60);

/// What names were last found to lead to.
#[derive(Debug, Default)]
pub(super) struct HostNames(Mutex<HashMap<Host, Found>>);

#[derive(Debug)]
struct Found {
    addresses: Vec<IpAddr>,
    at: Instant,
}

impl HostNames {
    /// Whether a name leads to that address.
    pub(super) async fn lead(&self, host: &Host, address: IpAddr) -> bool {
        let known = locked(&self.0).get(host).map(|found| found.leads_to(address));
        match known {
            Some(leads) => leads,
            None => {
                self.resolve(host, FIRST_SIGHT).await;
                let found = locked(&self.0);
                found.get(host).is_some_and(|found| found.leads_to(address))
            }
        }
    }

    /// Where the resolver fails, what was found before holds for its time; the first failure is remembered too, so that
    /// nobody waits again.
    async fn resolve(&self, host: &Host, within: Duration) {
        let looking = timeout(within, tokio::net::lookup_host((host.as_str(), 0)));
        let addresses = match looking.await {
            Ok(Ok(found)) => Some(found.map(|address| address.ip().to_canonical()).collect()),
            _ => None,
        };
        let mut known = locked(&self.0);
        if addresses.is_some() || !known.contains_key(host) {
            let found = Found {
                addresses: addresses.unwrap_or_default(),
                at: Instant::now(),
            };
            known.insert(host.clone(), found);
        }
    }
}

impl Found {
    fn leads_to(&self, address: IpAddr) -> bool {
        self.at.elapsed() < HOLDS && self.addresses.contains(&address.to_canonical())
    }
}

/// Resolves the names of the stations whose updates are accepted: at once, with every new configuration, and now and
/// then, until the service drains.
pub(super) async fn keep_host_names(service: Arc<Service>) {
    let mut generation = service.in_force.watch();
    loop {
        let names = names(&service);
        locked(&service.host_names.0).retain(|host, _| names.contains(host));
        let mut resolving = JoinSet::new();
        for host in names {
            let service = Arc::clone(&service);
            resolving.spawn(async move { service.host_names.resolve(&host, DEADLINE).await });
        }
        tokio::select! {
            () = service.drain.cancelled() => return,
            // Those that are still looked up are given up: they are among the next.
            Ok(()) = generation.changed() => {}
            () = async { while resolving.join_next().await.is_some() {}; sleep(REFRESH).await } => {}
        }
    }
}

fn names(service: &Service) -> Vec<Host> {
    let snapshot = service.in_force.pin();
    let stations = snapshot.configuration().stations.iter();
    let hosts = stations
        .filter(|station| accepts_updates(station))
        .filter_map(|station| Some(station.endpoint.as_ref()?.host.clone()));
    hosts.filter(|host| host.address().is_none()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn leads(names: &HostNames, host: &str, address: &str) -> bool {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(names.lead(&host.parse().unwrap(), address.parse().unwrap()))
    }

    #[test]
    fn a_name_leads_where_it_resolves_to_and_nowhere_else() {
        let names = HostNames::default();
        let home = ["127.0.0.1", "::1"];
        assert!(home.iter().any(|address| leads(&names, "localhost", address)));
        assert!(!leads(&names, "localhost", "10.0.0.1"));
        for address in home {
            assert!(!leads(&names, "no-such-host.invalid", address));
        }
    }

    #[test]
    fn what_was_found_holds_for_its_time() {
        let old = Instant::now().checked_sub(HOLDS);
        for (at, holds) in [(Some(Instant::now()), true), (old, false)] {
            let Some(at) = at else { continue };
            let addresses = vec!["10.0.0.1".parse().unwrap()];
            let found = Found { addresses, at };
            assert_eq!(found.leads_to("::ffff:10.0.0.1".parse().unwrap()), holds);
        }
    }
}

//! How much is open at once: associations in all and from each station's each address, and connections that have not
//! asked yet. Anyone can type an AE title, so that one who does takes no slot of who calls from elsewhere.
//!
//! Invariant: what was counted in is counted out when its guard is dropped, however the association ended.

use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;

use super::locked;
use crate::dimse::Rejection;
use crate::model::{Settings, StationName};

/// Why an association of a known caller can't be taken now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum LimitReached {
    /// The service holds `limits.associations`.
    #[error("limits.associations ({0}) reached")]
    Associations(usize),
    /// Callers who have shown no more than an AE title hold as many as such callers may.
    #[error(
        "limits.associations reached: the last {0} are kept for stations at known addresses (--from-address)"
    )]
    Unproven(usize),
    /// The station holds `limits.associations_per_station` from this address.
    #[error("limits.associations_per_station ({0}) reached from this address")]
    OfStation(usize),
}

impl LimitReached {
    /// What the caller is told (PS3.8 9.3.4).
    pub fn rejection(self) -> Rejection {
        Rejection::LOCAL_LIMIT_EXCEEDED
    }
}

/// The associations that are open now.
#[derive(Debug, Default)]
pub struct Associations {
    open: Mutex<HashMap<(StationName, IpAddr), usize>>,
}

/// The caller of an association.
#[derive(Debug, Clone, Copy)]
pub struct CallerSlot<'a> {
    /// As which station it was admitted.
    pub station: &'a StationName,
    /// Where it calls from.
    pub address: IpAddr,
    /// Whether more than its AE title shows that it is that station.
    pub is_proven: bool,
}

/// One open association; dropping it counts it out.
#[derive(Debug)]
pub struct OpenAssociation {
    associations: Arc<Associations>,
    caller: (StationName, IpAddr),
}

impl Associations {
    /// How many there are.
    pub fn count(&self) -> usize {
        locked(&self.open).values().sum()
    }

    /// Counts one in for `caller`, within the limits of `settings`. An eighth of all is kept for callers who are proven.
    pub fn open(
        self: &Arc<Self>,
        caller: CallerSlot<'_>,
        settings: &Settings,
    ) -> Result<OpenAssociation, LimitReached> {
        let in_all = settings.count("limits.associations");
        let of_station = settings.count("limits.associations_per_station");
        let key = (caller.station.clone(), caller.address.to_canonical());
        let mut open = locked(&self.open);
        let now = open.values().sum::<usize>();
        let kept = in_all / 8;
        if now >= in_all {
            return Err(LimitReached::Associations(in_all));
        }
        if !caller.is_proven && now >= in_all - kept {
            return Err(LimitReached::Unproven(kept));
        }
        if open.get(&key).is_some_and(|open| *open >= of_station) {
            return Err(LimitReached::OfStation(of_station));
        }
        *open.entry(key.clone()).or_default() += 1;
        Ok(OpenAssociation {
            associations: Arc::clone(self),
            caller: key,
        })
    }
}

impl Drop for OpenAssociation {
    fn drop(&mut self) {
        let mut all = locked(&self.associations.open);
        if let Some(open) = all.get_mut(&self.caller) {
            *open -= 1;
            if *open == 0 {
                all.remove(&self.caller);
            }
        }
    }
}

/// How long a connection may be silent before it gives way to a new one, where there is no room for both.
const GIVES_WAY_AFTER: Duration = Duration::from_secs(1);

/// Room for connections that have not asked for an association yet.
///
/// When it is full, the one that has been silent longest gives way to the next: a flood of connections that never ask
/// costs the others a second, not the ARTIM time of each.
#[derive(Debug)]
pub struct WaitingRoom {
    room: usize,
    waiting: Mutex<VecDeque<(u64, Instant, CancellationToken)>>,
    left: Notify,
    next: std::sync::atomic::AtomicU64,
}

/// The place of one connection; dropping it makes room.
#[derive(Debug)]
pub struct WaitingPlace {
    room: Arc<WaitingRoom>,
    id: u64,
    gives_way: CancellationToken,
}

impl WaitingRoom {
    /// Room for so many connections.
    pub fn new(room: usize) -> Arc<Self> {
        Arc::new(WaitingRoom {
            room: room.max(1),
            waiting: Mutex::default(),
            left: Notify::new(),
            next: 0.into(),
        })
    }

    /// Waits for a place; at most so long as the longest waiter has a claim to its own.
    pub async fn enter(self: &Arc<Self>) -> WaitingPlace {
        loop {
            let left = self.left.notified();
            let gives_way_at = {
                let mut waiting = locked(&self.waiting);
                let front = waiting.front().map(|(_, since, _)| *since + GIVES_WAY_AFTER);
                match front {
                    Some(at) if waiting.len() >= self.room && at > Instant::now() => at,
                    Some(_) if waiting.len() >= self.room => {
                        if let Some((_, _, gives_way)) = waiting.pop_front() {
                            gives_way.cancel();
                        }
                        return self.place(&mut waiting);
                    }
                    _ => return self.place(&mut waiting),
                }
            };
            // Either way the room is looked at again.
            let _ = timeout_at(gives_way_at, left).await;
        }
    }

    fn place(self: &Arc<Self>, waiting: &mut VecDeque<(u64, Instant, CancellationToken)>) -> WaitingPlace {
        let id = self.next.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let gives_way = CancellationToken::new();
        waiting.push_back((id, Instant::now(), gives_way.clone()));
        WaitingPlace {
            room: Arc::clone(self),
            id,
            gives_way,
        }
    }
}

impl WaitingPlace {
    /// Completes when the connection has to give way.
    pub fn gives_way(&self) -> CancellationToken {
        self.gives_way.clone()
    }
}

impl Drop for WaitingPlace {
    fn drop(&mut self) {
        locked(&self.room.waiting).retain(|(id, _, _)| *id != self.id);
        self.room.left.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(in_all: &str, of_station: &str) -> Settings {
        let mut settings = Settings::default();
        settings.set("limits.associations", in_all).unwrap();
        settings
            .set("limits.associations_per_station", of_station)
            .unwrap();
        settings
    }

    fn caller(station: &StationName, address: u8, is_proven: bool) -> CallerSlot<'_> {
        CallerSlot {
            station,
            address: [10, 0, 0, address].into(),
            is_proven,
        }
    }

    /// Case: a stranger with a station's AE title takes all its slots
    #[test]
    fn a_stranger_takes_the_slots_of_its_own_address_and_never_the_last_ones() {
        let associations = Arc::new(Associations::default());
        let settings = settings("16", "10");
        let station: StationName = "A".parse().unwrap();
        let stranger = |address| associations.open(caller(&station, address, false), &settings);
        let _held: Vec<_> = (0..10).map(|_| stranger(1).unwrap()).collect();
        assert_eq!(stranger(1).unwrap_err(), LimitReached::OfStation(10));
        let _more: Vec<_> = (0..4).map(|_| stranger(2).unwrap()).collect();
        assert_eq!(stranger(3).unwrap_err(), LimitReached::Unproven(2));
        assert!(associations.open(caller(&station, 4, true), &settings).is_ok());
    }

    #[test]
    fn both_limits_hold_and_ended_associations_make_room() {
        let associations = Arc::new(Associations::default());
        let settings = settings("3", "2");
        let (a, b): (StationName, StationName) = ("A".parse().unwrap(), "B".parse().unwrap());
        let first = associations.open(caller(&a, 1, false), &settings).unwrap();
        let _second = associations.open(caller(&a, 1, false), &settings).unwrap();
        assert_eq!(
            associations.open(caller(&a, 1, false), &settings).unwrap_err(),
            LimitReached::OfStation(2)
        );
        let _third = associations.open(caller(&b, 1, false), &settings).unwrap();
        assert_eq!(
            associations.open(caller(&b, 1, false), &settings).unwrap_err(),
            LimitReached::Associations(3)
        );
        drop(first);
        assert_eq!(associations.count(), 2);
        assert!(associations.open(caller(&a, 1, false), &settings).is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn the_longest_silent_connection_gives_way_after_a_second() {
        let room = WaitingRoom::new(2);
        let first = room.enter().await;
        let second = room.enter().await;
        let began = Instant::now();
        let _third = room.enter().await;
        assert!(began.elapsed() >= GIVES_WAY_AFTER);
        assert!(first.gives_way().is_cancelled());
        assert!(!second.gives_way().is_cancelled());
    }

    #[tokio::test(start_paused = true)]
    async fn a_place_that_was_left_is_taken_at_once() {
        let room = WaitingRoom::new(1);
        drop(room.enter().await);
        let began = Instant::now();
        let _next = room.enter().await;
        assert_eq!(began.elapsed(), Duration::ZERO);
    }
}

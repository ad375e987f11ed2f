//! Turns at stations: each is asked over so many associations at once, whatever number of queries there is.
//!
//! Invariant: queries get their turn in the order in which they came; a turn is given back when it is dropped. How
//! long one waits for it is the session's to bound.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::model::StationName;

/// The turns at all stations, shared by the queries of a service.
#[derive(Debug, Default)]
pub struct Turns {
    stations: Mutex<HashMap<StationName, Seats>>,
}

/// The right to hold one association with a station.
pub type Turn = OwnedSemaphorePermit;

#[derive(Debug)]
struct Seats {
    count: usize,
    free: Arc<Semaphore>,
}

impl Turns {
    /// Waits for a turn at a station that takes `limit` associations; `None` never comes of it. Cancel-safe.
    pub async fn wait(&self, station: &StationName, limit: usize) -> Option<Turn> {
        let free = self.seats(station, limit);
        free.acquire_owned().await.ok()
    }

    /// The seats of a station, brought to `limit`. Those taken away are gone once they are free.
    fn seats(&self, station: &StationName, limit: usize) -> Arc<Semaphore> {
        let limit = limit.clamp(1, Semaphore::MAX_PERMITS);
        let mut stations = self.stations.lock().unwrap_or_else(PoisonError::into_inner);
        let seats = stations.entry(station.clone()).or_insert_with(|| Seats {
            count: limit,
            free: Arc::new(Semaphore::new(limit)),
        });
        if seats.count < limit {
            seats.free.add_permits(limit - seats.count);
            seats.count = limit;
        } else if seats.count > limit {
            seats.count -= seats.free.forget_permits(seats.count - limit);
        }
        Arc::clone(&seats.free)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn free(turns: &Turns, limit: usize) -> usize {
        turns.seats(&"SITEB".parse().unwrap(), limit).available_permits()
    }

    #[tokio::test]
    async fn a_limit_may_change_while_turns_are_taken() {
        let turns = Turns::default();
        let station = "SITEB".parse().unwrap();
        let first = turns.wait(&station, 2).await.unwrap();
        let second = turns.wait(&station, 2).await.unwrap();
        assert_eq!(free(&turns, 3), 1);
        assert_eq!(free(&turns, 1), 0);
        drop(first);
        assert_eq!(free(&turns, 1), 0, "one more is out than may be");
        drop(second);
        assert_eq!(free(&turns, 1), 1);
    }

    #[tokio::test]
    async fn other_stations_have_their_own() {
        let turns = Turns::default();
        let _taken = turns.wait(&"SITEB".parse().unwrap(), 1).await;
        assert!(turns.wait(&"SITEC".parse().unwrap(), 1).await.is_some());
    }
}

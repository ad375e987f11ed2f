//! The account of rejected associations in the log: one line each, as long as one source does not fill it.
//!
//! Invariant: what a peer wrote is quoted with its control characters escaped, and memory is bounded whatever number
//! of sources there is.

use std::collections::HashMap;
use std::fmt;
use std::net::IpAddr;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use super::locked;
use crate::dimse::AssociationRequest;

/// How many lines one address gets in each period.
const LINES: u32 = 20;
const PERIOD: Duration = Duration::from_secs(60);

/// How many addresses are remembered.
const SOURCES: usize = 4096;

/// Who was heard how often in its present period.
#[derive(Debug, Default)]
pub struct RejectionLog {
    sources: Mutex<HashMap<IpAddr, Heard>>,
}

#[derive(Debug)]
struct Heard {
    since: Instant,
    times: u32,
}

impl RejectionLog {
    /// Logs that the association was rejected, or that the connection was no association, for `reason`.
    pub fn log(&self, address: IpAddr, request: Option<&AssociationRequest>, reason: &dyn fmt::Display) {
        let Some(unsaid) = self.may_speak_of(address, Instant::now()) else {
            return;
        };
        let what = request.map_or("connection".to_owned(), |request| {
            let (calling, called) = (&request.calling.raw, &request.called.raw);
            format!("association from {calling:?} to {called:?}")
        });
        tracing::warn!("rejected {what} at {address}: {reason}");
        if unsaid > 0 {
            tracing::warn!("{unsaid} more from {address} were not logged");
        }
    }

    /// Whether there is a line left for `address`, and how many rejections had none in its last period.
    fn may_speak_of(&self, address: IpAddr, now: Instant) -> Option<u32> {
        let mut sources = locked(&self.sources);
        if sources.len() >= SOURCES && !sources.contains_key(&address) {
            sources.retain(|_, heard| now.duration_since(heard.since) < PERIOD);
            if sources.len() >= SOURCES {
                return None;
            }
        }
        let heard = sources.entry(address).or_insert(Heard { since: now, times: 0 });
        let mut unsaid = 0;
        if now.duration_since(heard.since) >= PERIOD {
            unsaid = heard.times.saturating_sub(LINES);
            *heard = Heard { since: now, times: 0 };
        }
        heard.times = heard.times.saturating_add(1);
        (heard.times <= LINES).then_some(unsaid)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_source_does_not_fill_the_log() {
        let log = RejectionLog::default();
        let (loud, other) = ("10.0.0.1".parse().unwrap(), "10.0.0.2".parse().unwrap());
        let now = Instant::now();
        let lines = (0..LINES + 5).filter(|_| log.may_speak_of(loud, now).is_some());
        assert_eq!(lines.count(), LINES as usize);
        assert_eq!(log.may_speak_of(other, now), Some(0));
        assert_eq!(log.may_speak_of(loud, now + PERIOD), Some(5));
    }

    #[test]
    fn a_flood_of_sources_is_forgotten_in_time() {
        let log = RejectionLog::default();
        let now = Instant::now();
        for source in 0..SOURCES as u32 {
            log.may_speak_of(IpAddr::from(source.to_be_bytes()), now);
        }
        let late = "10.9.9.9".parse().unwrap();
        assert_eq!(log.may_speak_of(late, now), None);
        assert_eq!(log.may_speak_of(late, now + PERIOD), Some(0));
    }
}

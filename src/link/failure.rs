//! Why a station did not answer, in words with which an administrator can act.
//!
//! Invariant: the address or title that has to be looked at is named; nothing of the query is.

use std::error::Error as _;
use std::io;

use crate::dimse::{Awaited, Error, FindEnd, Rejection, Status, TlsFailure};
use crate::model::{AeTitle, Station, in_full, show_duration};

use super::stop::Stop;

/// Tells of a failed association with `station`, which was called as `calling`.
pub fn of_association(error: &Error, station: &Station, calling: &AeTitle) -> String {
    let endpoint = station
        .endpoint
        .as_ref()
        .map(ToString::to_string)
        .unwrap_or_default();
    if let Some(told) = of_tls(error, station) {
        return format!("{told} ({endpoint})");
    }
    match error {
        Error::Connect { address, source } => format!("{} ({address})", of_io(source)),
        Error::Rejected(Rejection::CALLING_AE_TITLE) => format!("{error} (register {calling} there)"),
        Error::Rejected(Rejection::CALLED_AE_TITLE) => {
            format!("{error} (it is not {} there)", station.ae_title)
        }
        Error::Aborted(_) => format!("{error} (it may not know {calling})"),
        Error::TimedOut { awaited, after } => {
            let place = match awaited {
                Awaited::NameResolution | Awaited::Connection | Awaited::AssociationResponse => {
                    format!(" ({endpoint})")
                }
                _ => String::new(),
            };
            format!(
                "no answer within {}, waiting for {awaited}{place}",
                show_duration(*after)
            )
        }
        Error::Tls(source) => format!("TLS failed: {} ({endpoint})", in_full(source)),
        Error::NotDicom if !station.tls => {
            format!("{error} ({endpoint}); it may speak over TLS alone (--tls)")
        }
        Error::NotDicom => format!("{error} ({endpoint})"),
        _ => match error.source() {
            Some(source) => format!("{error}: {source}"),
            None => error.to_string(),
        },
    }
}

/// Tells why TLS with `station` failed and what to do about it, where that is why the association failed, and known.
pub fn of_tls(error: &Error, station: &Station) -> Option<String> {
    let (what, remedy) = tls_trouble(error, station)?;
    Some(format!("{what}; {remedy}"))
}

/// Why TLS with `station` failed, and what to do about it.
pub fn tls_trouble(error: &Error, station: &Station) -> Option<(String, String)> {
    let host = station
        .endpoint
        .as_ref()
        .map(|endpoint| endpoint.host.to_string());
    let host = host.unwrap_or_default();
    let (what, remedy) = match error.tls_failure()? {
        TlsFailure::Unvouched(shown) => (
            "its certificate is not trusted".to_owned(),
            format!(
                "the file of tls.authorities must hold its authority, or, where it is truly its own, set \
                 --tls-fingerprint {shown}"
            ),
        ),
        TlsFailure::NotNamed(shown) => (
            format!("its certificate is not the one of --tls-fingerprint, but {shown}"),
            "ask there whether it was renewed".to_owned(),
        ),
        TlsFailure::Expired => (
            "its certificate has expired".to_owned(),
            "renew it there".to_owned(),
        ),
        TlsFailure::NotYetValid => (
            "its certificate is not valid yet".to_owned(),
            "compare the clocks".to_owned(),
        ),
        TlsFailure::OtherName => (
            format!("its certificate does not name {host}"),
            "renew it there, or call it by a name that it has (--host)".to_owned(),
        ),
        TlsFailure::OurCertificate => (
            "it does not accept our certificate".to_owned(),
            "set tls.certificate and tls.key as it asks".to_owned(),
        ),
        TlsFailure::NotSpoken => (
            "it does not speak TLS".to_owned(),
            "look at --port, or set --no-tls".to_owned(),
        ),
        TlsFailure::Unanswered => (
            "no answer to the TLS handshake".to_owned(),
            "it may not speak TLS: look at --port, or set --no-tls".to_owned(),
        ),
    };
    Some((format!("TLS failed: {what}"), remedy))
}

fn of_io(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => "connection refused".to_owned(),
        io::ErrorKind::HostUnreachable => "no route to the host".to_owned(),
        io::ErrorKind::NetworkUnreachable => "network unreachable".to_owned(),
        _ => error.to_string(),
    }
}

/// Says how a find ended that the station ended with another status than success, with the station's comment: not to be
/// stored, as that may hold patient data.
pub fn of_find(end: &FindEnd) -> String {
    match &end.comment {
        Some(comment) => format!("{}: {comment}", of_status(end.status)),
        None => of_status(end.status),
    }
}

/// Says with which status an answer ended.
pub fn of_status(status: Status) -> String {
    format!("ended with {status}")
}

/// Tells of a stop.
pub(super) fn of_stop(stop: Stop) -> String {
    match stop {
        Stop::Cancelled => "cancelled before its end".to_owned(),
        Stop::Overdue(after) => {
            format!(
                "held up the end for {} after the others (query.deadline)",
                show_duration(after)
            )
        }
        Stop::TimedOut(after) => format!("not at its end within {} (--timeout)", show_duration(after)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Endpoint, parse_port};
    use std::time::Duration;

    #[test]
    fn says_what_to_look_at() {
        let endpoint = Endpoint {
            host: "10.3.0.9".parse().unwrap(),
            port: parse_port("11112").unwrap(),
        };
        let station = Station::new("SITEC".parse().unwrap(), "PACS".parse().unwrap(), Some(endpoint));
        let told = |error| of_association(&error, &station, &"IMPAXLINK".parse().unwrap());
        let refused = Error::Connect {
            address: "10.3.0.9:11112".to_owned(),
            source: io::ErrorKind::ConnectionRefused.into(),
        };
        assert_eq!(told(refused), "connection refused (10.3.0.9:11112)");
        assert_eq!(
            told(Error::Rejected(Rejection::CALLING_AE_TITLE)),
            "association rejected: calling AE title not recognized (register IMPAXLINK there)"
        );
        assert_eq!(
            told(Error::Rejected(Rejection::CALLED_AE_TITLE)),
            "association rejected: called AE title not recognized (it is not PACS there)"
        );
        let silent = Error::TimedOut {
            awaited: Awaited::Connection,
            after: Duration::from_secs(5),
        };
        assert_eq!(
            told(silent),
            "no answer within 5s, waiting for the TCP connection (10.3.0.9:11112)"
        );
    }
}

//! Why TLS failed, told apart as far as whoever has to mend it can tell it apart.
//!
//! Invariant: holds nothing of a certificate, which a peer wrote, but its fingerprint. What is to be done about it is not here: these
//! rooms know no settings.

use std::io;

use tokio_rustls::rustls::{AlertDescription, CertificateError, Error as Rustls};

use super::tls_verifier::Untrusted;
use super::{Awaited, Error};
use crate::model::Fingerprint;

/// What was wrong with TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum TlsFailure {
    /// None of our authorities vouches for the peer's certificate, which is this one.
    Unvouched(Fingerprint),
    /// The peer's certificate is this one, and none of those that were named.
    NotNamed(Fingerprint),
    /// The peer's certificate has expired.
    Expired,
    /// The peer's certificate is not valid yet.
    NotYetValid,
    /// The peer's certificate is for another name than the one that was called.
    OtherName,
    /// The peer wants a certificate of ours, or another one.
    OurCertificate,
    /// The peer does not speak TLS.
    NotSpoken,
    /// The peer closed the connection in the handshake, or never answered: it may not speak TLS.
    Unanswered,
}

impl Error {
    /// What was wrong with TLS, where that is known and is why the association failed.
    pub fn tls_failure(&self) -> Option<TlsFailure> {
        match self {
            Error::Tls(source) => of_io(source),
            Error::TimedOut {
                awaited: Awaited::TlsHandshake,
                ..
            } => Some(TlsFailure::Unanswered),
            _ => None,
        }
    }
}

fn of_io(error: &io::Error) -> Option<TlsFailure> {
    use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, UnexpectedEof};
    match error.get_ref().and_then(|inner| inner.downcast_ref::<Rustls>()) {
        Some(error) => of_rustls(error),
        None => match error.kind() {
            BrokenPipe | ConnectionAborted | ConnectionReset | UnexpectedEof => Some(TlsFailure::Unanswered),
            _ => None,
        },
    }
}

fn of_rustls(error: &Rustls) -> Option<TlsFailure> {
    match error {
        Rustls::InvalidCertificate(error) => of_certificate(error),
        Rustls::InvalidMessage(_) => Some(TlsFailure::NotSpoken),
        Rustls::AlertReceived(alert) => of_alert(*alert),
        _ => None,
    }
}

fn of_certificate(error: &CertificateError) -> Option<TlsFailure> {
    use CertificateError as E;
    match error {
        E::Other(other) => other.0.downcast_ref().map(|untrusted| match *untrusted {
            Untrusted::Unvouched(shown) => TlsFailure::Unvouched(shown),
            Untrusted::NotNamed(shown) => TlsFailure::NotNamed(shown),
        }),
        E::Expired | E::ExpiredContext { .. } => Some(TlsFailure::Expired),
        E::NotValidYet | E::NotValidYetContext { .. } => Some(TlsFailure::NotYetValid),
        E::NotValidForName | E::NotValidForNameContext { .. } => Some(TlsFailure::OtherName),
        _ => None,
    }
}

fn of_alert(alert: AlertDescription) -> Option<TlsFailure> {
    use AlertDescription as A;
    let is_of_our_certificate = matches!(
        alert,
        A::CertificateRequired
            | A::NoCertificate
            | A::BadCertificate
            | A::UnsupportedCertificate
            | A::CertificateRevoked
            | A::CertificateExpired
            | A::CertificateUnknown
            | A::UnknownCA
            | A::AccessDenied
    );
    is_of_our_certificate.then_some(TlsFailure::OurCertificate)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use tokio_rustls::rustls::OtherError;

    #[test]
    fn failures_are_told_apart() {
        let failure = |error| Error::Tls(io::Error::new(io::ErrorKind::InvalidData, error)).tls_failure();
        let certificate = |error| failure(Rustls::InvalidCertificate(error));
        let alert = |alert| failure(Rustls::AlertReceived(alert));
        let shown = Fingerprint::new([7; 32]);
        let other = |why| certificate(CertificateError::Other(OtherError(Arc::new(why))));
        assert_eq!(
            other(Untrusted::Unvouched(shown)),
            Some(TlsFailure::Unvouched(shown))
        );
        assert_eq!(
            other(Untrusted::NotNamed(shown)),
            Some(TlsFailure::NotNamed(shown))
        );
        assert_eq!(certificate(CertificateError::Expired), Some(TlsFailure::Expired));
        assert_eq!(
            certificate(CertificateError::NotValidForName),
            Some(TlsFailure::OtherName)
        );
        assert_eq!(certificate(CertificateError::Revoked), None);
        assert_eq!(
            alert(AlertDescription::CertificateRequired),
            Some(TlsFailure::OurCertificate)
        );
        assert_eq!(alert(AlertDescription::InternalError), None);
        let closed = Error::Tls(io::ErrorKind::UnexpectedEof.into());
        assert_eq!(closed.tls_failure(), Some(TlsFailure::Unanswered));
        assert_eq!(Error::NotDicom.tls_failure(), None);
    }
}

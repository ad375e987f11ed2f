//! Whether a peer's certificate is trusted: because an authority vouches for it, or because it is one of those that
//! were named by their fingerprint.
//!
//! Invariant: whoever is trusted has proven to hold the certificate's key. Of a certificate that was named by its
//! fingerprint nothing else counts, not its names nor its dates: who named it vouches for all of it. A certificate that
//! is not trusted is told by its fingerprint, so that it can be compared with the true one.

use std::collections::BTreeSet;
use std::sync::Arc;

use sha2::{Digest, Sha256};
use tokio_rustls::rustls::client::WebPkiServerVerifier;
use tokio_rustls::rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use tokio_rustls::rustls::crypto::{
    WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature,
};
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use tokio_rustls::rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use tokio_rustls::rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, OtherError, SignatureScheme,
};

use crate::model::Fingerprint;

/// Why a certificate is not trusted, where rustls has no words that say which one it is.
#[derive(Debug, Clone, Copy, thiserror::Error)]
pub(super) enum Untrusted {
    #[error("no authority that we trust vouches for the certificate {0}")]
    Unvouched(Fingerprint),
    #[error("the certificate {0} is none of those named")]
    NotNamed(Fingerprint),
}

/// The fingerprint of a certificate in DER form.
pub(super) fn fingerprint(der: &[u8]) -> Fingerprint {
    Fingerprint::new(Sha256::digest(der).into())
}

fn untrusted(why: Untrusted) -> Error {
    Error::InvalidCertificate(CertificateError::Other(OtherError(Arc::new(why))))
}

/// Says of which certificate it is that no authority vouches for it.
fn with_fingerprint(error: Error, certificate: &CertificateDer<'_>) -> Error {
    use CertificateError as E;
    match error {
        // An authority of the same name and another key is another authority. A certificate that somebody has signed
        // for himself is often one of an authority, which webpki does not take for a peer's: that is under `Other`.
        Error::InvalidCertificate(E::UnknownIssuer | E::BadSignature | E::Other(_)) => {
            untrusted(Untrusted::Unvouched(fingerprint(certificate)))
        }
        error => error,
    }
}

/// Whom we trust when we call.
#[derive(Debug)]
pub(super) enum ServerTrust {
    /// Whom an authority vouches for, by the name that we call.
    Vouched(Arc<WebPkiServerVerifier>),
    /// Who has one of these certificates.
    Named(Vec<Fingerprint>),
}

/// Verifies those whom we call.
#[derive(Debug)]
pub(super) struct ServerVerifier {
    pub(super) trust: ServerTrust,
    pub(super) algorithms: WebPkiSupportedAlgorithms,
}

impl ServerCertVerifier for ServerVerifier {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        match &self.trust {
            ServerTrust::Vouched(verifier) => verifier
                .verify_server_cert(certificate, intermediates, name, ocsp_response, now)
                .map_err(|error| with_fingerprint(error, certificate)),
            ServerTrust::Named(named) => {
                let shown = fingerprint(certificate);
                if named.contains(&shown) {
                    Ok(ServerCertVerified::assertion())
                } else {
                    Err(untrusted(Untrusted::NotNamed(shown)))
                }
            }
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signature, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signature, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

/// Verifies those who call us: an authority vouches for them, or their certificate is named.
#[derive(Debug)]
pub(super) struct CallerVerifier {
    pub(super) vouched: Option<Arc<dyn ClientCertVerifier>>,
    pub(super) named: BTreeSet<Fingerprint>,
    pub(super) is_required: bool,
    pub(super) algorithms: WebPkiSupportedAlgorithms,
}

impl ClientCertVerifier for CallerVerifier {
    fn client_auth_mandatory(&self) -> bool {
        self.is_required
    }

    /// The authorities that we trust. None where certificates are named: who has one that nobody vouches for would not
    /// show it.
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        match &self.vouched {
            Some(verifier) if self.named.is_empty() => verifier.root_hint_subjects(),
            _ => &[],
        }
    }

    fn verify_client_cert(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let shown = fingerprint(certificate);
        if self.named.contains(&shown) {
            return Ok(ClientCertVerified::assertion());
        }
        match &self.vouched {
            Some(verifier) => verifier
                .verify_client_cert(certificate, intermediates, now)
                .map_err(|error| with_fingerprint(error, certificate)),
            None => Err(untrusted(Untrusted::NotNamed(shown))),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signature, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signature, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

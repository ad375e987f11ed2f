//! TLS for associations (PS3.15 annex B): whom we trust, and who we are.
//!
//! Invariant: a peer's certificate is always verified where one is asked for, by the authorities or the fingerprints
//! that were given; there is no way to switch that off. Protocol versions and cipher suites are rustls's defaults: TLS 1.2 and 1.3 with forward
//! secrecy, as the BCP 195 profile asks. Reading files is not here, nor what a certificate's holder may do.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use jiff::Timestamp;
use tokio::net::TcpStream;
use tokio_rustls::rustls::client::WebPkiServerVerifier;
use tokio_rustls::rustls::crypto::{CryptoProvider, ring};
use tokio_rustls::rustls::pki_types::pem::{self, PemObject};
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio_rustls::rustls::server::danger::ClientCertVerifier;
use tokio_rustls::rustls::server::{VerifierBuilderError, WebPkiClientVerifier};
use tokio_rustls::rustls::{self, ClientConfig, RootCertStore, ServerConfig};
use tokio_rustls::{TlsAcceptor, TlsConnector};
use x509_cert::der::Decode;

use super::Error;
use super::socket::Socket;
use super::tls_verifier::{CallerVerifier, ServerTrust, ServerVerifier, fingerprint};
use crate::model::{Fingerprint, Host};

/// Why TLS cannot be set up with what was given.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsSetupError {
    /// The text is no PEM, or holds no certificate or key.
    #[error("no {0} in PEM form")]
    Pem(&'static str, #[source] pem::Error),
    /// The certificate or the key cannot be used.
    #[error("unusable certificate or key")]
    Unusable(#[source] rustls::Error),
    /// The authorities cannot be used.
    #[error("unusable certificates of authorities")]
    Authorities(#[source] VerifierBuilderError),
}

/// Who we are: a certificate, with those between it and its authority, and its key.
#[derive(Debug)]
pub struct Identity {
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
}

impl Clone for Identity {
    fn clone(&self) -> Self {
        Identity {
            chain: self.chain.clone(),
            key: self.key.clone_key(),
        }
    }
}

impl Identity {
    /// Reads a chain of certificates, our own first, and the key of the first, all in PEM form.
    pub fn from_pem(chain: &[u8], key: &[u8]) -> Result<Self, TlsSetupError> {
        let key =
            PrivateKeyDer::from_pem_slice(key).map_err(|error| TlsSetupError::Pem("private key", error))?;
        Ok(Identity {
            chain: certificates(chain)?,
            key,
        })
    }

    /// Our certificate, as peers see it.
    pub fn certificate(&self) -> Option<PeerCertificate> {
        self.chain.first().map(|der| PeerCertificate::new(der))
    }
}

/// Whose signature on a certificate is trusted.
#[derive(Debug, Clone)]
pub struct Authorities(Arc<RootCertStore>);

impl Authorities {
    /// Reads certificates of authorities in PEM form.
    pub fn from_pem(certificates_pem: &[u8]) -> Result<Self, TlsSetupError> {
        let mut store = RootCertStore::empty();
        for certificate in certificates(certificates_pem)? {
            store.add(certificate).map_err(TlsSetupError::Unusable)?;
        }
        Ok(Authorities(Arc::new(store)))
    }
}

/// Whether callers must show a certificate.
#[derive(Debug, Clone)]
pub enum CallerCertificates {
    /// They are not asked for one.
    NotAsked,
    /// One that they show must be trusted.
    Optional(CallerTrust),
    /// They must show a trusted one.
    Required(CallerTrust),
}

/// Which certificates of callers are trusted.
#[derive(Debug, Clone, Default)]
pub struct CallerTrust {
    /// Those that these vouch for.
    pub authorities: Option<Authorities>,
    /// And these, whoever vouches for them.
    pub named: BTreeSet<Fingerprint>,
}

/// TLS for associations that we open.
#[derive(Clone)]
pub struct RequestorTls(TlsConnector);

impl RequestorTls {
    /// Trusts peers whose certificate one of `authorities` signed for the host name that we call, and shows them
    /// `identity` where they ask.
    pub fn new(authorities: &Authorities, identity: Option<Identity>) -> Result<Self, TlsSetupError> {
        let verifier = WebPkiServerVerifier::builder_with_provider(authorities.0.clone(), provider());
        let verifier = verifier.build().map_err(TlsSetupError::Authorities)?;
        Self::trusting(ServerTrust::Vouched(verifier), identity)
    }

    /// Trusts peers that have one of the certificates `named`, and shows them `identity` where they ask.
    pub fn naming(named: &[Fingerprint], identity: Option<Identity>) -> Result<Self, TlsSetupError> {
        Self::trusting(ServerTrust::Named(named.to_vec()), identity)
    }

    fn trusting(trust: ServerTrust, identity: Option<Identity>) -> Result<Self, TlsSetupError> {
        let provider = provider();
        let verifier = ServerVerifier {
            trust,
            algorithms: provider.signature_verification_algorithms,
        };
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(TlsSetupError::Unusable)?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier));
        let config = match identity {
            None => config.with_no_client_auth(),
            Some(Identity { chain, key }) => config
                .with_client_auth_cert(chain, key)
                .map_err(TlsSetupError::Unusable)?,
        };
        Ok(RequestorTls(Arc::new(config).into()))
    }

    /// Does the handshake. For the caller to bound in time.
    pub(super) async fn connect(&self, socket: TcpStream, host: &Host) -> Result<Socket, Error> {
        let name = ServerName::try_from(host.as_str().to_owned());
        let name = name.map_err(|error| Error::Tls(std::io::Error::other(error)))?;
        let stream = self.0.connect(name, socket).await.map_err(Error::Tls)?;
        Ok(Socket::Tls(Box::new(stream.into())))
    }
}

/// TLS for associations that others open.
#[derive(Clone)]
pub struct AcceptorTls(TlsAcceptor);

impl AcceptorTls {
    /// Shows `identity` to callers, and asks for their certificates as told.
    pub fn new(identity: Identity, callers: CallerCertificates) -> Result<Self, TlsSetupError> {
        let verifier = match callers {
            CallerCertificates::NotAsked => WebPkiClientVerifier::no_client_auth(),
            CallerCertificates::Optional(trust) => caller_verifier(trust, false)?,
            CallerCertificates::Required(trust) => caller_verifier(trust, true)?,
        };
        let config = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .map_err(TlsSetupError::Unusable)?
            .with_client_cert_verifier(verifier)
            .with_single_cert(identity.chain, identity.key)
            .map_err(TlsSetupError::Unusable)?;
        Ok(AcceptorTls(Arc::new(config).into()))
    }

    /// Does the handshake; where it fails, the socket comes back, for a close that lets the peer read why. For the
    /// caller to bound in time.
    pub(super) async fn accept(&self, socket: TcpStream) -> Result<Socket, (std::io::Error, TcpStream)> {
        let stream = self.0.accept(socket).into_fallible().await?;
        Ok(Socket::Tls(Box::new(stream.into())))
    }
}

fn caller_verifier(
    trust: CallerTrust,
    is_required: bool,
) -> Result<Arc<dyn ClientCertVerifier>, TlsSetupError> {
    let provider = provider();
    let vouched = match trust.authorities {
        Some(Authorities(roots)) => {
            let builder = WebPkiClientVerifier::builder_with_provider(roots, Arc::clone(&provider));
            Some(builder.build().map_err(TlsSetupError::Authorities)?)
        }
        None => None,
    };
    Ok(Arc::new(CallerVerifier {
        vouched,
        named: trust.named,
        is_required,
        algorithms: provider.signature_verification_algorithms,
    }))
}

impl fmt::Debug for RequestorTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RequestorTls")
    }
}

impl fmt::Debug for AcceptorTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AcceptorTls")
    }
}

/// A peer's certificate, verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerCertificate {
    der: Vec<u8>,
}

impl PeerCertificate {
    pub(super) fn new(der: &[u8]) -> Self {
        PeerCertificate { der: der.to_vec() }
    }

    /// The certificate in DER form.
    pub fn der(&self) -> &[u8] {
        &self.der
    }

    /// Its SHA-256 fingerprint.
    pub fn fingerprint(&self) -> Fingerprint {
        fingerprint(&self.der)
    }

    /// The end of its validity (RFC 5280 4.1.2.5); `None` where that can't be read.
    pub fn expires(&self) -> Option<Timestamp> {
        let certificate = x509_cert::Certificate::from_der(&self.der).ok()?;
        let end = certificate.tbs_certificate().validity().not_after;
        Timestamp::from_second(i64::try_from(end.to_unix_duration().as_secs()).ok()?).ok()
    }
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

fn certificates(text: &[u8]) -> Result<Vec<CertificateDer<'static>>, TlsSetupError> {
    let no_certificate = |error| TlsSetupError::Pem("certificate", error);
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(text).collect();
    let certificates = certificates.map_err(no_certificate)?;
    if certificates.is_empty() {
        return Err(no_certificate(pem::Error::NoItemsFound));
    }
    Ok(certificates)
}

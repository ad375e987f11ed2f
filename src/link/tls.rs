//! TLS as the settings `tls.…` have it: the files they name, read and made ready for associations.
//!
//! Invariant: what is asked for over TLS is never asked without it. Files are read here and nowhere else; the service
//! reads them anew with each reload, a query of the command line with each run.

use std::fs::File;
use std::io::{self, Read};
use std::path::PathBuf;
use std::sync::Arc;

use crate::dimse::{AcceptorTls, Authorities, CallerCertificates, Identity, RequestorTls, TlsSetupError};
use crate::model::{Configuration, Settings, TlsCallers};

/// Why TLS can't be spoken with what the settings name.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A setting is needed and not set.
    #[error("TLS needs the setting {0}")]
    Unset(&'static str),
    /// A file can't be read.
    #[error("can't read {} ({key})", path.display())]
    Unreadable {
        /// The setting that names it.
        key: &'static str,
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// What is in the files can't be used.
    #[error("can't use {} ({key})", path.display())]
    Unusable {
        /// The setting that names it.
        key: &'static str,
        /// The file.
        path: PathBuf,
        /// Why not.
        source: TlsSetupError,
    },
}

/// The most that is read of a file, in bytes.
const MOST_READ: u64 = 1 << 20;

const CERTIFICATE: &str = "tls.certificate";
const KEY: &str = "tls.key";
const AUTHORITIES: &str = "tls.authorities";

/// TLS towards the stations that are asked over it.
#[derive(Debug, Clone, Default)]
pub struct LinkTls(Option<Result<RequestorTls, Arc<TlsError>>>);

impl LinkTls {
    /// Reads what the settings name, where any station is asked over TLS.
    pub fn of(configuration: &Configuration) -> Self {
        let is_needed = configuration.stations.iter().any(|station| station.tls);
        LinkTls(is_needed.then(|| requestor(&configuration.settings).map_err(Arc::new)))
    }

    /// Why it can't be spoken, where it is needed and can't.
    pub fn error(&self) -> Option<&Arc<TlsError>> {
        self.0.as_ref()?.as_ref().err()
    }

    /// What an association needs.
    pub fn requestor(&self) -> Result<RequestorTls, Arc<TlsError>> {
        match &self.0 {
            Some(tls) => tls.clone(),
            None => Err(Arc::new(TlsError::Unset(AUTHORITIES))),
        }
    }
}

fn requestor(settings: &Settings) -> Result<RequestorTls, TlsError> {
    let (authorities, path) = authorities(settings)?;
    let identity = match settings.path(CERTIFICATE) {
        Some(_) => Some(identity(settings)?),
        None => None,
    };
    RequestorTls::new(&authorities, identity).map_err(|source| TlsError::Unusable {
        key: AUTHORITIES,
        path,
        source,
    })
}

/// TLS for the callers of the service, where `tls.listen` is set.
pub fn acceptor_tls(settings: &Settings) -> Result<Option<AcceptorTls>, TlsError> {
    if settings.tls_listen().is_none() {
        return Ok(None);
    }
    let callers = match settings.tls_callers() {
        TlsCallers::None => CallerCertificates::NotAsked,
        TlsCallers::Optional => CallerCertificates::Optional(authorities(settings)?.0),
        TlsCallers::Required => CallerCertificates::Required(authorities(settings)?.0),
    };
    let path = settings.path(CERTIFICATE).ok_or(TlsError::Unset(CERTIFICATE))?;
    AcceptorTls::new(identity(settings)?, callers)
        .map(Some)
        .map_err(|source| TlsError::Unusable {
            key: CERTIFICATE,
            path,
            source,
        })
}

fn authorities(settings: &Settings) -> Result<(Authorities, PathBuf), TlsError> {
    let (pem, path) = read(settings, AUTHORITIES)?;
    match Authorities::from_pem(&pem) {
        Ok(authorities) => Ok((authorities, path)),
        Err(source) => Err(TlsError::Unusable {
            key: AUTHORITIES,
            path,
            source,
        }),
    }
}

fn identity(settings: &Settings) -> Result<Identity, TlsError> {
    let (chain, path) = read(settings, CERTIFICATE)?;
    let (key, _) = read(settings, KEY)?;
    Identity::from_pem(&chain, &key).map_err(|source| TlsError::Unusable {
        key: CERTIFICATE,
        path,
        source,
    })
}

fn read(settings: &Settings, key: &'static str) -> Result<(Vec<u8>, PathBuf), TlsError> {
    let path = settings.path(key).ok_or(TlsError::Unset(key))?;
    let mut pem = Vec::new();
    let read = File::open(&path).and_then(|file| file.take(MOST_READ).read_to_end(&mut pem));
    match read {
        Ok(_) => Ok((pem, path)),
        Err(source) => Err(TlsError::Unreadable { key, path, source }),
    }
}

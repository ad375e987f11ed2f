//! TLS as the settings `tls.…` have it: the files they name, read and made ready for associations.
//!
//! Invariant: what is asked for over TLS is never asked without it. Files are read here and nowhere else; the service
//! reads them anew with each reload, a query of the command line with each run.

use std::fs::{self, File};
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
    /// The path leads to no file, or to one too large.
    #[error("{} ({key}) is not a file of at most {MOST_READ} bytes", path.display())]
    NoFile {
        /// The setting that names it.
        key: &'static str,
        /// The path.
        path: PathBuf,
    },
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
    let authorities = authorities(settings)?;
    let identity = match settings.path(CERTIFICATE) {
        Some(_) => Some(identity(settings)?),
        None => None,
    };
    RequestorTls::new(&authorities, identity).map_err(|source| unusable(settings, source))
}

/// TLS for the callers of the service, where `tls.listen` is set.
pub fn acceptor_tls(settings: &Settings) -> Result<Option<AcceptorTls>, TlsError> {
    if settings.tls_listen().is_none() {
        return Ok(None);
    }
    let callers = match settings.tls_callers() {
        TlsCallers::None => CallerCertificates::NotAsked,
        TlsCallers::Optional => CallerCertificates::Optional(authorities(settings)?),
        TlsCallers::Required => CallerCertificates::Required(authorities(settings)?),
    };
    AcceptorTls::new(identity(settings)?, callers)
        .map(Some)
        .map_err(|source| unusable(settings, source))
}

fn authorities(settings: &Settings) -> Result<Authorities, TlsError> {
    let (pem, path) = read(settings, AUTHORITIES)?;
    Authorities::from_pem(&pem).map_err(|source| TlsError::Unusable {
        key: AUTHORITIES,
        path,
        source,
    })
}

fn identity(settings: &Settings) -> Result<Identity, TlsError> {
    let (chain, _) = read(settings, CERTIFICATE)?;
    let (key, _) = read(settings, KEY)?;
    Identity::from_pem(&chain, &key).map_err(|source| unusable(settings, source))
}

/// Names the file at fault; the certificate where it and the key don't fit each other.
fn unusable(settings: &Settings, source: TlsSetupError) -> TlsError {
    let key = match source {
        TlsSetupError::Authorities(_) => AUTHORITIES,
        TlsSetupError::Pem("private key", _) => KEY,
        _ => CERTIFICATE,
    };
    TlsError::Unusable {
        key,
        path: settings.path(key).unwrap_or_default(),
        source,
    }
}

/// Reads a regular file alone: a pipe may never end.
fn read(settings: &Settings, key: &'static str) -> Result<(Vec<u8>, PathBuf), TlsError> {
    let path = settings.path(key).ok_or(TlsError::Unset(key))?;
    let metadata = match fs::metadata(&path) {
        Ok(metadata) => metadata,
        Err(source) => return Err(TlsError::Unreadable { key, path, source }),
    };
    if !metadata.is_file() || metadata.len() > MOST_READ {
        return Err(TlsError::NoFile { key, path });
    }
    let mut pem = Vec::new();
    let read = File::open(&path).and_then(|file| file.take(MOST_READ).read_to_end(&mut pem));
    match read {
        Ok(_) => Ok((pem, path)),
        Err(source) => Err(TlsError::Unreadable { key, path, source }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(values: &[(&str, &str)]) -> Settings {
        let mut settings = Settings::default();
        for (key, value) in values {
            settings.set(key, value).unwrap();
        }
        settings
    }

    #[test]
    fn says_which_setting_is_missing_and_which_file() {
        let told = |values: &[(&str, &str)]| acceptor_tls(&settings(values)).unwrap_err().to_string();
        let listen = ("tls.listen", "127.0.0.1:2762");
        let none = ("tls.callers", "none");
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path().to_str().unwrap();
        assert_eq!(told(&[listen]), "TLS needs the setting tls.authorities");
        assert_eq!(told(&[listen, none]), "TLS needs the setting tls.certificate");
        let absent = format!("{folder}/absent.pem");
        assert_eq!(
            told(&[listen, none, ("tls.certificate", &absent)]),
            format!("can't read {absent} (tls.certificate)")
        );
        let no_file = told(&[listen, none, ("tls.certificate", folder)]);
        assert!(no_file.contains("(tls.certificate) is not a file"), "{no_file}");
    }

    #[test]
    fn nothing_is_read_where_nobody_speaks_tls() {
        let settings = settings(&[("tls.authorities", "/nowhere")]);
        assert!(acceptor_tls(&settings).unwrap().is_none());
        let configuration = Configuration {
            settings,
            ..Configuration::default()
        };
        assert!(LinkTls::of(&configuration).error().is_none());
    }
}

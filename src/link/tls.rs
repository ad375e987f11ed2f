//! TLS as the settings `tls.…` have it: the files they name, read and made ready for associations.
//!
//! Invariant: what is asked for over TLS is never asked without it. Files are read here and nowhere else; the service
//! reads them anew with each reload, a query of the command line with each run.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::PathBuf;
use std::sync::Arc;

use crate::dimse::{
    AcceptorTls, Authorities, CallerCertificates, CallerTrust, Identity, PeerCertificate, RequestorTls,
    TlsSetupError,
};
use crate::model::{Configuration, Fingerprint, Settings, Station, TlsCallers};

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
    /// Our certificate and key don't serve.
    #[error("can't use our certificate and key (tls.certificate, tls.key)")]
    Identity(#[source] TlsSetupError),
}

/// The most that is read of a file, in bytes.
const MOST_READ: u64 = 1 << 20;

const CERTIFICATE: &str = "tls.certificate";
const KEY: &str = "tls.key";
const AUTHORITIES: &str = "tls.authorities";

/// TLS towards the stations that are asked over it.
#[derive(Debug, Clone)]
pub struct LinkTls {
    /// Who we are, where a certificate is set.
    identity: Result<Option<Identity>, Arc<TlsError>>,
    /// Towards stations that an authority vouches for, where there are any.
    vouched: Option<Result<RequestorTls, Arc<TlsError>>>,
}

impl Default for LinkTls {
    /// For no station at all.
    fn default() -> Self {
        LinkTls {
            identity: Ok(None),
            vouched: None,
        }
    }
}

impl TlsError {
    /// Whether a file can't be read by this user, who may not be the service's.
    pub fn is_not_permitted(&self) -> bool {
        matches!(self, TlsError::Unreadable { source, .. } if source.kind() == io::ErrorKind::PermissionDenied)
    }
}

impl LinkTls {
    /// Reads what the settings name, where any station is asked over TLS.
    pub fn of(configuration: &Configuration) -> Self {
        let stations = || configuration.stations.iter().filter(|station| station.tls);
        if stations().next().is_none() {
            return LinkTls::default();
        }
        let settings = &configuration.settings;
        let identity = match settings.path(CERTIFICATE) {
            Some(_) => identity(settings).map(Some).map_err(Arc::new),
            None => Ok(None),
        };
        let is_vouched = |station: &Station| station.tls_fingerprints.is_empty();
        let vouched = stations().any(is_vouched).then(|| {
            let authorities = authorities(settings).map_err(Arc::new)?;
            RequestorTls::new(&authorities, identity.clone()?)
                .map_err(|source| Arc::new(unusable(settings, source)))
        });
        LinkTls { identity, vouched }
    }

    /// Why it can't be spoken with some station, where it can't.
    pub fn error(&self) -> Option<&Arc<TlsError>> {
        let vouched = self.vouched.as_ref().and_then(|vouched| vouched.as_ref().err());
        self.identity.as_ref().err().or(vouched)
    }

    /// What an association with `station` needs.
    pub fn requestor(&self, station: &Station) -> Result<RequestorTls, Arc<TlsError>> {
        if !station.tls_fingerprints.is_empty() {
            let identity = self.identity.clone()?;
            return RequestorTls::naming(&station.tls_fingerprints, identity)
                .map_err(|source| Arc::new(TlsError::Identity(source)));
        }
        match &self.vouched {
            Some(tls) => tls.clone(),
            None => Err(Arc::new(TlsError::Unset(AUTHORITIES))),
        }
    }
}

/// Our certificate, where one is set.
pub fn own_certificate(settings: &Settings) -> Option<Result<PeerCertificate, TlsError>> {
    settings.path(CERTIFICATE)?;
    identity(settings)
        .map(|identity| identity.certificate())
        .transpose()
}

/// Reads all files that the settings name, also those that nothing needs yet.
pub fn check_files(settings: &Settings) -> Result<(), TlsError> {
    if settings.path(AUTHORITIES).is_some() {
        authorities(settings)?;
    }
    match (settings.path(CERTIFICATE), settings.path(KEY)) {
        // Whether they fit each other is found out where both are used.
        (Some(_), Some(_)) => AcceptorTls::new(identity(settings)?, CallerCertificates::NotAsked)
            .map(drop)
            .map_err(|source| unusable(settings, source)),
        (Some(_), None) => read(settings, CERTIFICATE).map(drop),
        (None, Some(_)) => read(settings, KEY).map(drop),
        (None, None) => Ok(()),
    }
}

/// The mode of the file of our private key, where every user of the machine may read or write it.
pub fn exposed_key(settings: &Settings) -> Option<(PathBuf, u32)> {
    use std::os::unix::fs::MetadataExt as _;
    let path = settings.path(KEY)?;
    let mode = fs::metadata(&path).ok()?.mode() & 0o777;
    (mode & 0o007 != 0).then_some((path, mode))
}

/// TLS for the callers of the service, where `tls.listen` is set.
pub fn acceptor_tls(configuration: &Configuration) -> Result<Option<AcceptorTls>, TlsError> {
    let settings = &configuration.settings;
    if settings.tls_listen().is_none() {
        return Ok(None);
    }
    let callers = match settings.tls_callers() {
        TlsCallers::None => CallerCertificates::NotAsked,
        TlsCallers::Optional => CallerCertificates::Optional(caller_trust(configuration)?),
        TlsCallers::Required => CallerCertificates::Required(caller_trust(configuration)?),
    };
    AcceptorTls::new(identity(settings)?, callers)
        .map(Some)
        .map_err(|source| unusable(settings, source))
}

/// Authorities may do without where certificates are named.
fn caller_trust(configuration: &Configuration) -> Result<CallerTrust, TlsError> {
    let named: BTreeSet<Fingerprint> = configuration.named_certificates().copied().collect();
    let settings = &configuration.settings;
    let authorities = match settings.path(AUTHORITIES) {
        None if !named.is_empty() => None,
        _ => Some(authorities(settings)?),
    };
    Ok(CallerTrust { authorities, named })
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
    use crate::model::{Endpoint, parse_port};

    fn configuration(values: &[(&str, &str)]) -> Configuration {
        let mut configuration = Configuration::default();
        for (key, value) in values {
            configuration.settings.set(key, value).unwrap();
        }
        configuration
    }

    fn over_tls(fingerprints: &[Fingerprint]) -> Station {
        let endpoint = "10.0.0.1".parse().map(|host| Endpoint {
            host,
            port: parse_port("104").unwrap(),
        });
        let mut station = Station::new("A".parse().unwrap(), "A".parse().unwrap(), endpoint.ok());
        station.tls = true;
        station.tls_fingerprints = fingerprints.to_vec();
        station
    }

    #[test]
    fn says_which_setting_is_missing_and_which_file() {
        let told = |values: &[(&str, &str)]| acceptor_tls(&configuration(values)).unwrap_err().to_string();
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
        let configuration = configuration(&[("tls.authorities", "/nowhere")]);
        assert!(acceptor_tls(&configuration).unwrap().is_none());
        assert!(LinkTls::of(&configuration).error().is_none());
    }

    #[test]
    fn who_is_known_by_a_fingerprint_needs_no_authority() {
        let mut configuration = configuration(&[]);
        let (named, vouched) = (over_tls(&[Fingerprint::new([7; 32])]), over_tls(&[]));
        configuration.stations = vec![named.clone()];
        let tls = LinkTls::of(&configuration);
        assert!(tls.error().is_none() && tls.requestor(&named).is_ok());
        assert!(tls.requestor(&vouched).is_err());
        configuration.stations.push(vouched.clone());
        let tls = LinkTls::of(&configuration);
        assert!(tls.requestor(&named).is_ok() && tls.requestor(&vouched).is_err());
        assert_eq!(
            tls.error().unwrap().to_string(),
            "TLS needs the setting tls.authorities"
        );
    }
}

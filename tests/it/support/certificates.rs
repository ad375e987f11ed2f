//! Certificates for tests, made by `openssl`: an authority, and who it vouches for.
//!
//! Invariant: everything is in a temporary folder that goes when the authority is dropped.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use impaxlink::model::Fingerprint;
use tempfile::TempDir;

/// An authority that tests trust, or not.
pub struct Authority {
    folder: TempDir,
}

/// The files of a certificate and its key.
pub struct Certificate {
    pub certificate: PathBuf,
    pub key: PathBuf,
}

impl Certificate {
    /// Its SHA-256 fingerprint, as `openssl` has it.
    pub fn fingerprint(&self) -> Fingerprint {
        let output = Command::new("openssl")
            .args(["x509", "-noout", "-fingerprint", "-sha256", "-in"])
            .arg(&self.certificate)
            .output()
            .expect("openssl runs");
        let line = String::from_utf8(output.stdout).expect("a line of text");
        let (_, fingerprint) = line.trim().split_once('=').expect("NAME=FINGERPRINT");
        fingerprint.parse().expect("a fingerprint")
    }
}

impl Authority {
    /// Its own certificate and key, for a peer that has signed for itself.
    pub fn itself(&self) -> Certificate {
        Certificate {
            certificate: self.file(),
            key: self.path("ca.key"),
        }
    }

    /// Makes an authority of this name.
    pub fn new(name: &str) -> Self {
        let authority = Authority {
            folder: tempfile::tempdir().expect("a temporary folder"),
        };
        let subject = format!("/CN={name}");
        authority.openssl(
            &[
                "req", "-x509", "-nodes", "-keyout", "ca.key", "-out", "ca.pem", "-subj", &subject,
            ],
            CURVE,
        );
        authority
    }

    /// The file of its own certificate.
    pub fn file(&self) -> PathBuf {
        self.path("ca.pem")
    }

    /// Vouches for `name` at 127.0.0.1.
    pub fn certify(&self, name: &str) -> Certificate {
        self.certify_at(name, "IP:127.0.0.1", 2)
    }

    /// Vouches for `name` at a place (an alternative name as OpenSSL writes it), for so many days from now, which may
    /// be over.
    pub fn certify_at(&self, name: &str, place: &str, days: i32) -> Certificate {
        let [key, request, certificate] = ["key", "csr", "pem"].map(|ending| format!("{name}.{ending}"));
        let subject = format!("/CN={name}");
        self.openssl(
            &[
                "req", "-nodes", "-keyout", &key, "-out", &request, "-subj", &subject,
            ],
            CURVE,
        );
        fs::write(self.path("extensions"), format!("subjectAltName = {place}\n"))
            .expect("a file of extensions");
        let signing = [
            "x509",
            "-req",
            "-in",
            &request,
            "-out",
            &certificate,
            "-CA",
            "ca.pem",
            "-CAkey",
            "ca.key",
        ];
        self.openssl(
            &signing,
            &[
                "-CAcreateserial",
                "-extfile",
                "extensions",
                "-days",
                &days.to_string(),
            ],
        );
        Certificate {
            certificate: self.path(&certificate),
            key: self.path(&key),
        }
    }

    fn path(&self, name: impl AsRef<Path>) -> PathBuf {
        self.folder.path().join(name)
    }

    fn openssl(&self, arguments: &[&str], more: &[&str]) {
        let mut command = Command::new("openssl");
        let output = command
            .current_dir(self.folder.path())
            .args(arguments)
            .args(more)
            .output();
        let output = output.expect("openssl runs");
        assert!(output.status.success(), "{output:?}");
    }
}

const CURVE: &[&str] = &["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"];

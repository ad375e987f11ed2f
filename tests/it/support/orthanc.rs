//! Orthanc, a real archive, with studies in it.
//!
//! Invariant: it answers over DICOM when `start` returns. Its texts come back in UTF-8 (`DefaultEncoding`) unless a
//! test says otherwise: it drops what the default encoding can't hold. The HTTP client is one connection and one kind of request: no more.

use std::fs;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::time::Duration;

use serde_json::json;
use tempfile::TempDir;

use super::archive_options::ArchiveOptions;
use super::process::{Process, bound_to_us, free_port, listens};
use super::studies::Study;

/// A running Orthanc.
pub struct Orthanc {
    pub ae_title: String,
    pub port: u16,
    process: Process,
    _folder: TempDir,
}

impl Orthanc {
    /// Starts an archive of this AE title that holds `studies`.
    pub fn start<'a>(ae_title: &'static str, studies: impl IntoIterator<Item = &'a Study>) -> Self {
        Self::start_with(&ArchiveOptions::new(ae_title), studies)
    }

    /// Starts it with options.
    pub fn start_with<'a>(options: &ArchiveOptions, studies: impl IntoIterator<Item = &'a Study>) -> Self {
        let ae_title = options.ae_title;
        let folder = tempfile::tempdir().expect("a temporary folder");
        let (port, http_port) = (free_port(), free_port());
        let configuration = folder.path().join("orthanc.json");
        let storage = folder.path().join("storage");
        let modalities: serde_json::Map<_, _> = options
            .move_destinations
            .iter()
            .map(|(title, port)| (format!("to{title}"), json!([title, "127.0.0.1", port])))
            .collect();
        let mut text = json!({
            "Name": ae_title, "StorageDirectory": storage, "IndexDirectory": storage,
            "HttpServerEnabled": true, "HttpPort": http_port, "RemoteAccessAllowed": false,
            "AuthenticationEnabled": false, "HttpThreadsCount": 4, "KeepAlive": true,
            "DicomServerEnabled": true, "DicomAet": ae_title, "DicomPort": port, "DicomCheckCalledAet": true,
            "DicomAlwaysAllowEcho": true, "DicomAlwaysAllowStore": true, "DicomAlwaysAllowFind": true,
            "DicomAlwaysAllowGet": true, "DicomAlwaysAllowMove": true, "DicomModalities": modalities, "MaximumPduLength": options.max_pdu,
            "Plugins": [], "DefaultEncoding": options.encoding, "LimitFindResults": 0, "SaveJobs": false,
            "StorageCompression": false, "SynchronousCMove": true, "UnknownSopClassAccepted": options.takes_anything,
        });
        if let Some(tls) = &options.tls {
            text["DicomTlsEnabled"] = json!(true);
            text["DicomTlsCertificate"] = json!(tls.certificate);
            text["DicomTlsPrivateKey"] = json!(tls.key);
            text["DicomTlsTrustedCertificates"] = json!(tls.authorities);
        }
        fs::write(&configuration, text.to_string()).expect("a configuration can be written");
        let mut process = Process::start(
            bound_to_us("Orthanc")
                .arg(&configuration)
                .env("TCP_NODELAY", if options.tcp_nodelay { "1" } else { "0" }),
            folder.path().join("orthanc.log"),
        );
        process.wait_until("Orthanc's ports", || listens(http_port) && listens(port));
        load(http_port, studies).unwrap_or_else(|error| panic!("Orthanc took no studies: {error}"));
        Orthanc {
            ae_title: ae_title.to_owned(),
            port,
            process,
            _folder: folder,
        }
    }

    /// What it has logged.
    pub fn log(&self) -> String {
        self.process.output()
    }
}

fn load<'a>(http_port: u16, studies: impl IntoIterator<Item = &'a Study>) -> io::Result<()> {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, http_port))?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(Duration::from_secs(30)))?;
    let mut answers = BufReader::new(stream.try_clone()?);
    for (uid, file) in studies.into_iter().flat_map(Study::files) {
        let mut request = format!(
            "POST /instances HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/dicom\r\nContent-Length: {}\r\n\r\n",
            file.len()
        )
        .into_bytes();
        request.extend(file);
        stream.write_all(&request)?;
        let status = read_answer(&mut answers)?;
        if !status.contains(" 200 ") {
            return Err(io::Error::other(format!("{uid}: {status}")));
        }
    }
    Ok(())
}

/// Reads one answer whole, so that the connection serves the next request, and returns its status line.
fn read_answer(answers: &mut impl BufRead) -> io::Result<String> {
    let mut status = String::new();
    answers.read_line(&mut status)?;
    let mut length = 0;
    loop {
        let mut line = String::new();
        answers.read_line(&mut line)?;
        match line.trim_end().split_once(':') {
            None => break,
            Some((name, value)) if name.eq_ignore_ascii_case("content-length") => {
                length = value.trim().parse().map_err(io::Error::other)?;
            }
            Some(_) => {}
        }
    }
    io::copy(&mut answers.take(length), &mut io::sink())?;
    Ok(status.trim_end().to_owned())
}

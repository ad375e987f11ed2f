//! How a real archive is started, whichever it is.

/// What a test can ask of a real archive.
pub struct ArchiveOptions {
    pub ae_title: &'static str,
    /// In bytes; 4096 to 131072.
    pub max_pdu: u32,
    /// AE title and port of each move destination on this machine.
    pub move_destinations: Vec<(&'static str, u16)>,
    /// Off, each small answer may wait 40 ms for an acknowledgement, as with most installations.
    pub tcp_nodelay: bool,
    /// Further arguments of its command line; dcmqrscp takes them.
    pub arguments: Vec<&'static str>,
    /// Take presentation contexts that it has never heard of for such of images; Orthanc can.
    pub takes_anything: bool,
    /// The character set of its answers; Orthanc has one.
    pub encoding: &'static str,
    /// Speak over TLS alone; Orthanc can.
    pub tls: Option<ArchiveTls>,
}

/// The PEM files of an archive that speaks over TLS.
pub struct ArchiveTls {
    pub certificate: std::path::PathBuf,
    pub key: std::path::PathBuf,
    /// Of the authorities that vouch for callers.
    pub authorities: std::path::PathBuf,
}

impl ArchiveOptions {
    /// An archive of this AE title, with nothing else out of the ordinary.
    pub fn new(ae_title: &'static str) -> Self {
        ArchiveOptions {
            ae_title,
            max_pdu: 16_384,
            move_destinations: Vec::new(),
            tcp_nodelay: true,
            arguments: Vec::new(),
            takes_anything: false,
            encoding: "Utf8",
            tls: None,
        }
    }
}

//! What a retrieve needs besides what it is asked.

use std::sync::Arc;

use super::arrivals::Arrivals;
use crate::link::tls::LinkTls;
use crate::link::{EmbeddedArchive, Turns};
use crate::model::{Configuration, CrossReference};

/// What a retrieve needs besides what it is asked, the same from its first moment to its last.
#[derive(Debug, Clone)]
pub struct Resources {
    /// The configuration in force when it began.
    pub configuration: Arc<Configuration>,
    /// Which patient IDs are one person's.
    pub cross_reference: Arc<CrossReference>,
    /// TLS towards the stations that are called over it.
    pub tls: LinkTls,
    /// The embedded archive, should a station be it.
    pub archive: EmbeddedArchive,
    /// The turns at stations, where they are shared.
    pub turns: Option<Arc<Turns>>,
    /// The turns of retrieves among them.
    pub retrieve_turns: Option<Arc<Turns>>,
    /// The turns at stations that objects are sent to. They are others than those at sources and taken first, so that no
    /// two retrieves wait for each other.
    pub destination_turns: Option<Arc<Turns>>,
    /// Where our listener hands over what sources send to it, if this process has one.
    pub arrivals: Option<Arc<Arrivals>>,
}

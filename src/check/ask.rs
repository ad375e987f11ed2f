//! Asking one station all that a review wants to know, over one association.
//!
//! Invariant: what was learned stays when something later fails or the time is up; nothing here is judged, and nothing
//! is changed at the station. The one study that is asked for exists nowhere.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use dicom_core::VR;
use dicom_dictionary_std::tags;
use tokio::time::{Instant, timeout};

use crate::dimse::{
    Association, DataSetBuilder, Error, FindEnd, FindEvent, Peer, PresentationContext, Status, StatusClass,
    TransferSyntax, connect, uids,
};
use crate::link::cluster_query::{ClusterTold, ClusterUntold, ask_cluster};
use crate::link::tls::LinkTls;
use crate::link::{Unaskable, address_towards, requestor_options};
use crate::model::{AeTitle, Endpoint, Settings, Station, Syntax};

/// What asking a station brought, as far as it came.
#[derive(Debug, Default)]
pub(super) struct Asked {
    /// How opening an association went.
    pub(super) opened: Option<Result<Opened, Unopened>>,
    /// Our address on the way to the station.
    pub(super) our_address: Option<IpAddr>,
    /// The answer to C-ECHO.
    pub(super) echo: Option<Result<Status, Error>>,
    /// The end of a C-FIND for a study that nobody has.
    pub(super) find: Option<Result<FindEnd, Error>>,
    /// The ends of C-FINDs for that study with a name beyond ASCII, in UTF-8 and, where that was refused, in ISO_IR 100.
    pub(super) find_in: Vec<(&'static str, Result<FindEnd, Error>)>,
    /// What the cluster says of itself, in the linked syntax.
    pub(super) cluster: Option<Result<ClusterTold, ClusterUntold>>,
    /// The addresses of those stations there that have our AE title, one list a station.
    pub(super) ours_there: Vec<Vec<IpAddr>>,
}

/// An association that was accepted.
#[derive(Debug)]
pub(super) struct Opened {
    pub(super) took: Duration,
    pub(super) peer: Peer,
    /// The SOP classes that were accepted.
    pub(super) accepted: Vec<String>,
}

impl Opened {
    pub(super) fn takes(&self, sop_class: &str) -> bool {
        self.accepted.iter().any(|accepted| accepted == sop_class)
    }
}

/// Why there is no association.
#[derive(Debug)]
pub(super) enum Unopened {
    Unaskable(Unaskable),
    Failed(Error),
}

/// Asks a station, in all for no longer than `limit`.
pub(super) async fn ask(station: &Station, settings: &Settings, tls: &LinkTls, limit: Duration) -> Asked {
    let mut asked = Asked::default();
    // What came until then stays.
    let _ = timeout(limit, fill(&mut asked, station, settings, tls, limit)).await;
    asked
}

async fn fill(asked: &mut Asked, station: &Station, settings: &Settings, tls: &LinkTls, limit: Duration) {
    let mut options = match requestor_options(station, settings, tls, contexts(station.syntax)) {
        Ok(options) => options,
        Err(error) => {
            asked.opened = Some(Err(Unopened::Unaskable(error)));
            return;
        }
    };
    let Some(endpoint) = &station.endpoint else { return };
    // The time is up a little later, so that it is told what was waited for.
    let shorter = |wait: Duration| wait.min(limit * 9 / 10);
    options.connect_timeout = shorter(options.connect_timeout);
    options.tls_timeout = shorter(options.tls_timeout);
    options.associate_timeout = shorter(options.associate_timeout);
    asked.our_address = our_address_towards(endpoint, options.connect_timeout).await;
    let began = Instant::now();
    let mut association = match connect(endpoint, &options).await {
        Ok(association) => association,
        Err(error) => {
            asked.opened = Some(Err(Unopened::Failed(error)));
            return;
        }
    };
    asked.opened = Some(Ok(Opened {
        took: began.elapsed(),
        peer: association.peer().clone(),
        accepted: (association.contexts().iter())
            .map(|context| context.abstract_syntax.clone())
            .collect(),
    }));
    let within = shorter(station.timeout);
    let is_charset_wanted = station.charset.is_none();
    let calling = &options.calling;
    converse(asked, &mut association, calling, is_charset_wanted, within).await;
    // All is known that was to be known.
    let _ = association.release().await;
}

async fn converse(
    asked: &mut Asked,
    association: &mut Association,
    calling: &AeTitle,
    is_charset_wanted: bool,
    within: Duration,
) {
    let echo = association.echo(within).await;
    let goes_on = matches!(echo, Ok(_) | Err(Error::ContextRefused { .. }));
    asked.echo = Some(echo);
    if !goes_on {
        return;
    }
    if association.context_for(uids::LINKED_CLUSTER_QUERY).is_ok() {
        let told = ask_cluster(association, within).await;
        if let Ok(told) = &told {
            let ours = told.answer.stations.iter();
            for ours in ours.filter(|there| there.ae_title == calling.as_str()) {
                asked.ours_there.push(addresses(&ours.host, within).await);
            }
        }
        asked.cluster = Some(told);
    }
    if association.context_for(uids::STUDY_ROOT_FIND).is_ok() {
        let found = find_nothing(association, None, within).await;
        let is_answered = matches!(&found, Ok(end) if end.status.class() == StatusClass::Success);
        asked.find = Some(found);
        if is_answered && is_charset_wanted {
            find_in_charsets(asked, association, within).await;
        }
    }
}

/// A name beyond ASCII that no query is likely to match, written in two character sets.
const NAMES: [(&str, &[u8]); 2] = [
    ("ISO_IR 192", "ÄÖÜ^CHECK".as_bytes()),
    ("ISO_IR 100", b"\xC4\xD6\xDC^CHECK"),
];

async fn find_in_charsets(asked: &mut Asked, association: &mut Association, within: Duration) {
    for (charset, name) in NAMES {
        let found = find_nothing(association, Some((charset, name)), within).await;
        let goes_on = matches!(&found, Ok(end) if end.status.class() == StatusClass::Failure);
        asked.find_in.push((charset, found));
        if !goes_on {
            return;
        }
    }
}

/// Puts a query that no study matches: whether queries are answered can be seen by nothing else.
async fn find_nothing(
    association: &mut Association,
    name: Option<(&str, &[u8])>,
    within: Duration,
) -> Result<FindEnd, Error> {
    let context = association.context_for(uids::STUDY_ROOT_FIND)?.clone();
    let nobodys = format!("2.25.{}", uuid::Uuid::new_v4().as_u128());
    let mut keys = DataSetBuilder::new();
    if let Some((charset, name)) = name {
        keys = keys
            .put(tags::SPECIFIC_CHARACTER_SET, VR::CS, charset)
            .put(tags::PATIENT_NAME, VR::PN, name);
    }
    let identifier = keys
        .put(tags::QUERY_RETRIEVE_LEVEL, VR::CS, "STUDY")
        .put(tags::STUDY_INSTANCE_UID, VR::UI, nobodys)
        .put_empty(tags::PATIENT_ID, VR::LO)
        .encode(context.transfer_syntax)
        .map_err(|_| Error::Unencodable("an identifier"))?;
    let mut find = association.find(&context, &identifier).await?;
    loop {
        if let FindEvent::Done(end) = find.next(within).await? {
            return Ok(end);
        }
    }
}

/// All that linking may need of a station.
fn contexts(syntax: Syntax) -> Vec<PresentationContext> {
    let strict = [
        uids::VERIFICATION,
        uids::STUDY_ROOT_FIND,
        uids::PATIENT_ROOT_FIND,
        uids::STUDY_ROOT_MOVE,
        uids::STUDY_ROOT_GET,
    ];
    let linked = [uids::LINKED_CLUSTER_QUERY, uids::CLUSTER_UPDATE];
    let linked = linked.map(|sop_class| PresentationContext {
        abstract_syntax: sop_class.to_owned(),
        transfer_syntaxes: vec![TransferSyntax::ExplicitVrLittleEndian],
    });
    let linked = linked.into_iter().filter(|_| syntax != Syntax::Dicom);
    strict
        .map(PresentationContext::new)
        .into_iter()
        .chain(linked)
        .collect()
}

/// Our address on the way to an endpoint; `None` where that has no address that is known in time.
pub(super) async fn our_address_towards(endpoint: &Endpoint, within: Duration) -> Option<IpAddr> {
    let addresses = addresses(endpoint.host.as_str(), within).await;
    address_towards(SocketAddr::new(*addresses.first()?, endpoint.port.get()))
}

/// The addresses of a host; none where that is not known in time.
async fn addresses(host: &str, within: Duration) -> Vec<IpAddr> {
    if let Ok(address) = host.parse() {
        return vec![address];
    }
    match timeout(within, tokio::net::lookup_host((host, 0))).await {
        Ok(Ok(found)) => found.map(|address| address.ip().to_canonical()).collect(),
        _ => Vec::new(),
    }
}

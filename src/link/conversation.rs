//! One association with one station, over which C-FIND requests are put one after the other.
//!
//! Invariant: every wait for the peer has its deadline and ends at once when the query is stopped. A cancelled find is
//! told to the peer by C-CANCEL, waited for at most [`CANCEL_WITHIN`], then aborted.

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use tokio::time::timeout;

use crate::archive::ArchiveError;
use crate::dimse::{
    Association, Context, DataSet, Error, Find, FindEnd, FindEvent, Limits, PresentationContext,
    RequestorOptions, Status, StatusClass, TransferSyntax, connect, uids,
};
use crate::model::{AeTitle, CharacterSet, Endpoint, Settings, Station, SuccessComment, Syntax, in_full};
use crate::store::StoreError;

use super::completeness::{FinalResponse, is_of_our_kind};
use super::identifier::{Keys, WriteError};
use super::keys::{KeyError, Root};
use super::linked_syntax::UnansweredStation;
use super::repertoire::{Repertoire, Trial};
use super::stop::{Stop, StopSignal};
use super::tls::LinkTls;

/// How long a peer may take to end a find that was cancelled.
pub const CANCEL_WITHIN: Duration = Duration::from_secs(2);

/// Why a station can't be asked at all.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unaskable {
    /// The query can't be put to it.
    #[error(transparent)]
    Keys(#[from] KeyError),
    /// Its keys can't be written for it.
    #[error(transparent)]
    Write(#[from] WriteError),
    /// It is to be asked in linked syntax alone, and this query can't be.
    #[error(
        "only the linked syntax is allowed there (--syntax linked), and this query is asked in strict DICOM"
    )]
    LinkedOnly,
    /// It is to be asked in linked syntax alone, and does not take it.
    #[error("it does not take the linked syntax from us, and no other is allowed there (--syntax linked)")]
    LacksLinkedSyntax,
    /// It is to be asked over TLS alone, and we can't.
    #[error("it is to be asked over TLS: {0}")]
    Tls(String),
    /// It has no address.
    #[error("it has no host and port to be asked at")]
    NoEndpoint,
    /// The embedded archive can't make sense of a key's value.
    #[error("the value asked for in {0} can't be matched")]
    Unmatchable(String),
}

/// What ends the search of a station before its end.
#[derive(Debug)]
pub(super) enum Interrupt {
    /// It can't be asked.
    Unaskable(Unaskable),
    /// So many associations to it are allowed, and all were taken.
    NoTurn(usize),
    /// The query was stopped.
    Stopped(Stop),
    /// The association failed.
    Peer(Error),
    /// The embedded archive failed.
    Archive(ArchiveError),
    /// What was said of the studies can't be read.
    States(StoreError),
    /// The station ended a find with another status than success.
    Ended(FindEnd),
}

impl From<Unaskable> for Interrupt {
    fn from(reason: Unaskable) -> Self {
        Interrupt::Unaskable(reason)
    }
}

impl From<KeyError> for Interrupt {
    fn from(error: KeyError) -> Self {
        Interrupt::Unaskable(error.into())
    }
}

impl From<WriteError> for Interrupt {
    fn from(error: WriteError) -> Self {
        Interrupt::Unaskable(error.into())
    }
}

impl From<Error> for Interrupt {
    fn from(error: Error) -> Self {
        Interrupt::Peer(error)
    }
}

/// How a station is to be called.
#[derive(Debug)]
pub(super) struct Call {
    endpoint: Endpoint,
    options: RequestorOptions,
    repertoire: Repertoire,
    /// What it is asked in: never `Linked` or `Auto` where the policy does not allow the linked syntax.
    syntax: Syntax,
    /// The longest silence between whole messages.
    silence: Duration,
    /// What a comment beside success says of its answers.
    success_comment: SuccessComment,
}

impl Call {
    /// How `station` is called, and in which character sets it is asked.
    pub(super) fn new(
        station: &Station,
        settings: &Settings,
        tls: &LinkTls,
        repertoire: Repertoire,
        may_speak_linked: bool,
    ) -> Result<Self, Unaskable> {
        let endpoint = station.endpoint.clone().ok_or(Unaskable::NoEndpoint)?;
        let syntax = match (station.syntax, may_speak_linked) {
            (Syntax::Linked, false) => return Err(Unaskable::LinkedOnly),
            (_, false) => Syntax::Dicom,
            (syntax, true) => syntax,
        };
        Ok(Call {
            endpoint,
            options: requestor_options(station, settings, tls, contexts(syntax))?,
            repertoire,
            syntax,
            silence: station.timeout,
            success_comment: station.success_comment,
        })
    }

    /// The information model in which it is asked first.
    pub(super) fn first_root(&self) -> Root {
        match self.syntax {
            Syntax::Dicom => Root::Study,
            Syntax::Auto | Syntax::Linked => Root::Linked,
        }
    }

    /// Says before anything is sent whether the keys can be written for this station.
    pub(super) fn check(&self, all: &[Keys], root: Root) -> Result<(), WriteError> {
        all.iter().try_for_each(|keys| {
            let syntax = TransferSyntax::ExplicitVrLittleEndian;
            let set = self.trial(keys).next().flatten();
            encode(keys, root, set.as_ref(), syntax).map(drop)
        })
    }

    /// The attempts by which these keys are put to the station in strict DICOM.
    pub(super) fn trial(&self, keys: &Keys) -> Trial {
        self.repertoire.trial(keys)
    }
}

fn encode(
    keys: &Keys,
    root: Root,
    charset: Option<&CharacterSet>,
    syntax: TransferSyntax,
) -> Result<DataSet, WriteError> {
    if root == Root::Linked {
        return keys.encode_in_utf8(syntax);
    }
    keys.encode(charset, syntax)
}

/// How associations with a station are opened.
pub fn requestor_options(
    station: &Station,
    settings: &Settings,
    tls: &LinkTls,
    contexts: Vec<PresentationContext>,
) -> Result<RequestorOptions, Unaskable> {
    let tls = match station.tls {
        true => Some(
            tls.requestor(station)
                .map_err(|error| Unaskable::Tls(in_full(&*error)))?,
        ),
        false => None,
    };
    let calling = calling(station, settings);
    Ok(RequestorOptions {
        connect_timeout: settings.duration("timeout.connect"),
        tls,
        tls_timeout: settings.duration("timeout.association"),
        associate_timeout: settings.duration("timeout.association"),
        limits: Limits {
            max_pdu_length: settings.count("limits.pdu").try_into().unwrap_or(u32::MAX),
            max_data_set: settings.count("limits.message"),
            send_timeout: station.timeout,
            ..Limits::default()
        },
        contexts,
        ..RequestorOptions::new(calling, station.ae_title.clone(), &[])
    })
}

/// Our own address on the way to a peer. Nothing is sent.
pub fn address_towards(peer: SocketAddr) -> Option<IpAddr> {
    let any: SocketAddr = match peer {
        SocketAddr::V4(_) => ([0; 4], 0).into(),
        SocketAddr::V6(_) => ([0; 16], 0).into(),
    };
    let socket = UdpSocket::bind(any).ok()?;
    socket.connect(peer).ok()?;
    socket.local_addr().ok().map(|address| address.ip())
}

/// Whether the service lets a station call it by this title.
pub fn answers_as(title: &str, station: &Station, settings: &Settings) -> bool {
    let ours = [Some(settings.ae_title()), station.calling_ae.clone()];
    ours.iter().flatten().any(|ours| ours.as_str() == title)
}

/// Our AE title towards a station.
pub fn calling(station: &Station, settings: &Settings) -> AeTitle {
    station.calling_ae.clone().unwrap_or_else(|| settings.ae_title())
}

/// What is proposed to a station: also where strict DICOM is not allowed, so that no peer is left without anything to
/// accept, and it is known that the linked syntax alone was refused.
fn contexts(syntax: Syntax) -> Vec<PresentationContext> {
    let linked = PresentationContext {
        abstract_syntax: uids::LINKED_CLUSTER_QUERY.to_owned(),
        transfer_syntaxes: vec![TransferSyntax::ExplicitVrLittleEndian],
    };
    let strict = [uids::STUDY_ROOT_FIND, uids::PATIENT_ROOT_FIND].map(PresentationContext::new);
    let linked = (syntax != Syntax::Dicom).then_some(linked);
    linked.into_iter().chain(strict).collect()
}

/// The best of what the peer has accepted: the linked syntax, Study Root, Patient Root.
fn choose(syntax: Syntax, association: &Association) -> Result<(Context, Root), Interrupt> {
    let accepted = |uid, root| {
        association
            .context_for(uid)
            .map(|context| (context.clone(), root))
    };
    let linked = match syntax {
        Syntax::Dicom => None,
        Syntax::Auto | Syntax::Linked => accepted(uids::LINKED_CLUSTER_QUERY, Root::Linked).ok(),
    };
    match linked {
        Some(linked) => Ok(linked),
        None if syntax == Syntax::Linked => Err(Unaskable::LacksLinkedSyntax.into()),
        None => accepted(uids::STUDY_ROOT_FIND, Root::Study)
            .or_else(|refused| accepted(uids::PATIENT_ROOT_FIND, Root::Patient).map_err(|_| refused))
            .map_err(Interrupt::from),
    }
}

/// An open association with a station.
#[derive(Debug)]
pub(super) struct Conversation {
    association: Association,
    context: Context,
    root: Root,
    /// Whether a find has run over it to its end.
    is_used: bool,
    /// How long opening it took.
    latency: Duration,
    stop: StopSignal,
}

impl Conversation {
    pub(super) async fn open(call: &Call, mut stop: StopSignal) -> Result<Self, Interrupt> {
        let began = Instant::now();
        let association = tokio::select! {
            biased;
            stop = stop.raised() => return Err(Interrupt::Stopped(stop)),
            association = connect(&call.endpoint, &call.options) => association?,
        };
        let latency = began.elapsed();
        match choose(call.syntax, &association) {
            Ok((context, root)) => Ok(Conversation {
                association,
                context,
                root,
                is_used: false,
                latency,
                stop,
            }),
            Err(refused) => {
                let mut association = association;
                // It is the refusal that is told, however the release goes.
                let _ = association.release().await;
                Err(refused)
            }
        }
    }

    pub(super) fn root(&self) -> Root {
        self.root
    }

    pub(super) fn is_used(&self) -> bool {
        self.is_used
    }

    pub(super) fn latency(&self) -> Duration {
        self.latency
    }

    /// Puts a find to the station, with keys beyond ASCII written in `charset`.
    pub(super) async fn find<'c>(
        &'c mut self,
        call: &Call,
        keys: &Keys,
        charset: Option<&CharacterSet>,
    ) -> Result<Matches<'c>, Interrupt> {
        let identifier = encode(keys, self.root, charset, self.context.transfer_syntax)?;
        let is_of_our_kind = is_of_our_kind(self.association.peer());
        let find = self.association.find(&self.context, &identifier).await?;
        Ok(Matches {
            find,
            is_used: &mut self.is_used,
            silence: call.silence,
            stop: &mut self.stop,
            is_linked: self.root == Root::Linked,
            is_of_our_kind,
            success_comment: call.success_comment,
            count: 0,
            unusable: 0,
            unanswered: Vec::new(),
            status: None,
            comment: None,
        })
    }

    /// Ends the association: by release where no find is under way, else by abort.
    pub(super) async fn close(mut self, is_idle: bool) {
        if is_idle {
            // The answers are complete whatever the peer makes of the release.
            let _ = self.association.release().await;
        } else {
            self.association.abort().await;
        }
    }
}

/// The matches of one find.
#[derive(Debug)]
pub(super) struct Matches<'c> {
    find: Find<'c>,
    is_used: &'c mut bool,
    silence: Duration,
    stop: &'c mut StopSignal,
    is_linked: bool,
    is_of_our_kind: bool,
    success_comment: SuccessComment,
    count: u64,
    unusable: u64,
    unanswered: Vec<UnansweredStation>,
    status: Option<Status>,
    comment: Option<String>,
}

impl Matches<'_> {
    /// How many have come, those that could not be read included.
    pub(super) fn count(&self) -> u64 {
        self.count
    }

    /// How many could not be read, or came where none may.
    pub(super) fn unusable(&self) -> u64 {
        self.unusable
    }

    /// Stations behind this one that, as it says, did not answer in full.
    pub(super) fn unanswered(&self) -> &[UnansweredStation] {
        &self.unanswered
    }

    /// The comment of the final response.
    pub(super) fn comment(&self) -> Option<&str> {
        self.comment.as_deref()
    }

    /// What the final response says of the answer; `None` before it has come.
    pub(super) fn final_response(&self) -> Option<FinalResponse> {
        let has_comment = self.comment.is_some() && self.unanswered.is_empty();
        self.status
            .map(|status| FinalResponse::read(status, has_comment, self.is_of_our_kind, self.success_comment))
    }

    /// The final status, once it has come.
    pub(super) fn status(&self) -> Option<Status> {
        self.status
    }

    /// The next match; `None` at the good end. Only here is the peer waited for: what the caller does between two
    /// calls is not counted against it.
    pub(super) async fn next(&mut self) -> Result<Option<DataSet>, Interrupt> {
        loop {
            let event = tokio::select! {
                biased;
                stop = self.stop.raised() => return Err(self.stopped(stop).await),
                event = self.find.next(self.silence) => event?,
            };
            match event {
                FindEvent::Match { identifier, .. } => {
                    if self.is_linked
                        && let Some(unanswered) = UnansweredStation::read_all(&identifier)
                    {
                        self.unanswered.extend(unanswered);
                        continue;
                    }
                    self.count += 1;
                    return Ok(Some(identifier));
                }
                FindEvent::MalformedMatch(_) => {
                    self.count += 1;
                    self.unusable += 1;
                }
                FindEvent::MisplacedMatch => self.unusable += 1,
                FindEvent::Done(end) => {
                    *self.is_used = true;
                    self.status = Some(end.status);
                    self.comment.clone_from(&end.comment);
                    return match end.status.class() {
                        StatusClass::Success | StatusClass::Warning => Ok(None),
                        _ => Err(Interrupt::Ended(end)),
                    };
                }
            }
        }
    }

    /// Tells the peer of a cancel, and waits a little for it to end.
    pub(super) async fn stopped(&mut self, stop: Stop) -> Interrupt {
        if stop == Stop::Cancelled {
            let cancelled = async {
                self.find.cancel().await?;
                loop {
                    if let FindEvent::Done(end) = self.find.next(CANCEL_WITHIN).await? {
                        return Ok::<Status, Error>(end.status);
                    }
                }
            };
            if let Ok(Ok(status)) = timeout(CANCEL_WITHIN, cancelled).await {
                self.status = Some(status);
            }
        }
        Interrupt::Stopped(stop)
    }
}

//! Who answers a station's part of a query: a peer over an association, or the embedded archive within this process.
//!
//! Invariant: the search asks both alike, and sees no difference but that the archive has no association to count, to
//! measure or to release.

use std::time::Duration;

use crate::dimse::{DataSet, Status};
use crate::model::{CharacterSet, Settings, Station};

use super::completeness::FinalResponse;
use super::conversation::{Call, Conversation, Interrupt, Matches, Unaskable};
use super::embedded::{EmbeddedArchive, EmbeddedCall, EmbeddedMatches};
use super::identifier::{Keys, WriteError};
use super::keys::Root;
use super::linked_syntax::UnansweredStation;
use super::repertoire::Trial;
use super::stop::{Stop, StopSignal};

/// Who is to be asked.
#[derive(Debug)]
pub(super) enum Respondent {
    Peer(Box<Call>),
    Embedded(EmbeddedCall),
}

impl Respondent {
    /// How `station` is to be asked; see [`Call::new`].
    pub(super) fn of(
        station: &Station,
        settings: &Settings,
        archive: &EmbeddedArchive,
        call: impl FnOnce() -> Result<Call, Unaskable>,
    ) -> Result<Self, Unaskable> {
        if station.is_embedded() {
            return Ok(Respondent::Embedded(EmbeddedCall::new(
                station, settings, archive,
            )));
        }
        call().map(|call| Respondent::Peer(Box::new(call)))
    }

    /// The information model in which it is asked first.
    pub(super) fn first_root(&self) -> Root {
        match self {
            Respondent::Peer(call) => call.first_root(),
            Respondent::Embedded(_) => Root::Study,
        }
    }

    /// The attempts by which these keys are put to it in that information model.
    pub(super) fn trial(&self, keys: &Keys, root: Root) -> Trial {
        match self {
            Respondent::Peer(call) if root != Root::Linked => call.trial(keys),
            _ => Trial::in_unicode(),
        }
    }

    /// Says before anything is asked whether the keys can be written for it. The archive takes Unicode.
    pub(super) fn check(&self, all: &[Keys], root: Root) -> Result<(), WriteError> {
        match self {
            Respondent::Peer(call) => call.check(all, root),
            Respondent::Embedded(_) => Ok(()),
        }
    }

    /// Begins to talk to it.
    pub(super) async fn open(&self, stop: StopSignal) -> Result<Dialogue<'_>, Interrupt> {
        match self {
            Respondent::Peer(call) => {
                let conversation = Conversation::open(call, stop).await?;
                Ok(Dialogue::Peer(call, Box::new(conversation)))
            }
            Respondent::Embedded(call) => Ok(Dialogue::Embedded(call, stop)),
        }
    }
}

/// Talking to who answers.
#[derive(Debug)]
pub(super) enum Dialogue<'r> {
    Peer(&'r Call, Box<Conversation>),
    Embedded(&'r EmbeddedCall, StopSignal),
}

impl Dialogue<'_> {
    pub(super) fn root(&self) -> Root {
        match self {
            Dialogue::Peer(_, conversation) => conversation.root(),
            Dialogue::Embedded(..) => Root::Study,
        }
    }

    /// The syntax that is spoken, for the ledger; none within this process.
    pub(super) fn syntax(&self) -> Option<&'static str> {
        match self {
            Dialogue::Peer(..) if self.root() == Root::Linked => Some("linked"),
            Dialogue::Peer(..) => Some("dicom"),
            Dialogue::Embedded(..) => None,
        }
    }

    /// Whether a find has run over its association to the end.
    pub(super) fn is_used(&self) -> bool {
        match self {
            Dialogue::Peer(_, conversation) => conversation.is_used(),
            Dialogue::Embedded(..) => false,
        }
    }

    /// How long opening the association took.
    pub(super) fn latency(&self) -> Option<Duration> {
        match self {
            Dialogue::Peer(_, conversation) => Some(conversation.latency()),
            Dialogue::Embedded(..) => None,
        }
    }

    /// Begins a find, with keys beyond ASCII written in `charset`, where that is not Unicode anyway.
    pub(super) async fn find(
        &mut self,
        keys: &Keys,
        charset: Option<&CharacterSet>,
    ) -> Result<Found<'_>, Interrupt> {
        match self {
            Dialogue::Peer(call, conversation) => {
                let matches = conversation.find(call, keys, charset).await?;
                Ok(Found::Peer(Box::new(matches)))
            }
            Dialogue::Embedded(call, stop) => call.find(keys, stop.clone()).map(Found::Embedded),
        }
    }

    /// Ends it; see [`Conversation::close`].
    pub(super) async fn close(self, is_idle: bool) {
        if let Dialogue::Peer(_, conversation) = self {
            conversation.close(is_idle).await;
        }
    }
}

/// What a find brings.
#[derive(Debug)]
pub(super) enum Found<'d> {
    Peer(Box<Matches<'d>>),
    Embedded(EmbeddedMatches),
}

impl Found<'_> {
    /// The final status, once a peer has sent it.
    pub(super) fn status(&self) -> Option<Status> {
        match self {
            Found::Peer(matches) => matches.status(),
            Found::Embedded(_) => None,
        }
    }

    /// How many have come of a peer, those that could not be read included; the archive cuts nothing short.
    pub(super) fn count(&self) -> u64 {
        match self {
            Found::Peer(matches) => matches.count(),
            Found::Embedded(_) => 0,
        }
    }

    /// The comment of a peer's final response.
    pub(super) fn comment(&self) -> Option<&str> {
        match self {
            Found::Peer(matches) => matches.comment(),
            Found::Embedded(_) => None,
        }
    }

    /// What a peer's final response says of the answer, once it has come.
    pub(super) fn final_response(&self) -> Option<FinalResponse> {
        match self {
            Found::Peer(matches) => matches.final_response(),
            Found::Embedded(_) => None,
        }
    }

    /// Stations behind a peer that, as it says, did not answer in full.
    pub(super) fn unanswered(&self) -> &[UnansweredStation] {
        match self {
            Found::Peer(matches) => matches.unanswered(),
            Found::Embedded(_) => &[],
        }
    }

    /// How many could not be read, or came where none may.
    pub(super) fn unusable(&self) -> u64 {
        match self {
            Found::Peer(matches) => matches.unusable(),
            Found::Embedded(matches) => matches.malformed(),
        }
    }

    /// The next match; `None` at the good end.
    pub(super) async fn next(&mut self) -> Result<Option<DataSet>, Interrupt> {
        match self {
            Found::Peer(matches) => matches.next().await,
            Found::Embedded(matches) => matches.next().await,
        }
    }

    /// Stops it before its end.
    pub(super) async fn stopped(&mut self, stop: Stop) -> Interrupt {
        match self {
            Found::Peer(matches) => matches.stopped(stop).await,
            Found::Embedded(_) => Interrupt::Stopped(stop),
        }
    }
}

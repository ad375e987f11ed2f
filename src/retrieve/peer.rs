//! Objects from a source: out of the embedded archive, by C-GET, or, where a station knows none, by C-MOVE to ourselves.
//!
//! Invariants: a station is proposed only such objects as the sink takes, so that nothing has to be encoded anew. Where
//! the presentation contexts don't fit one association, further ones ask for what is still lacking.

use std::time::Duration;

use super::association::{OpenAssociation, choose, failure, open, unsuccessful};
use super::copies::Copy;
use super::get::get;
use super::kinds::{kinds_of, received};
use super::move_here::move_here;
use super::selection::{Selection, requests};
use super::transfer::{Sink, Transfer};
use super::{Gate, Method, ObjectKind, Resources, Scope, files};
use crate::dimse::{Context, RetrieveEnd, Status, uids};
use crate::link::completeness::{FinalResponse, is_of_our_kind};
use crate::model::{Station, Uid};

const GET: [&str; 2] = [uids::STUDY_ROOT_GET, uids::PATIENT_ROOT_GET];
const MOVE: [&str; 2] = [uids::STUDY_ROOT_MOVE, uids::PATIENT_ROOT_MOVE];

/// A copy of a study as a source of it.
pub(crate) struct Source<'a> {
    pub(crate) resources: &'a Resources,
    pub(crate) station: &'a Station,
    pub(crate) study: &'a Uid,
    pub(crate) copy: &'a Copy,
    /// What of the study is asked for.
    pub(crate) scope: &'a Scope,
    /// The series of the instances asked for, where the request names it.
    pub(crate) series: Option<&'a Uid>,
    pub(crate) gate: Gate,
    /// How long a turn at the station is waited for; `None`: until the client gives up.
    pub(crate) turn_within: Option<Duration>,
}

/// What requests to a source came to.
#[derive(Debug, Default)]
pub(crate) struct Attempt {
    /// How the objects came, where that is another way than was tried first.
    pub(super) method: Option<Method>,
    /// The status of the last final response.
    pub(crate) status: Option<Status>,
    /// What went wrong at the source, or on the way to the sink.
    pub(crate) detail: Option<String>,
    /// The comment of a final response. It may hold patient data, so it is shown and never stored or logged.
    pub(super) comment: Option<String>,
    /// What to do about it.
    pub(crate) hint: Option<String>,
    /// Whether the source has said beside success that what it has sent is not all.
    pub(crate) says_partial: bool,
    /// Whether the source has said to each request that it sent all.
    pub(crate) has_sent_all: bool,
    /// Whether an association or the source failed, so that what it says it has done is not relied on.
    pub(crate) has_failed: bool,
}

impl Attempt {
    pub(super) fn failed(detail: String) -> Self {
        Attempt {
            detail: Some(detail),
            has_failed: true,
            ..Attempt::default()
        }
    }

    /// Notes the final response of a station to a request.
    pub(super) fn note(&mut self, end: &RetrieveEnd, station: &Station, is_of_our_kind: bool) {
        let (has_comment, comments) = (end.comment.is_some(), station.success_comment);
        let response = FinalResponse::read(end.status, has_comment, is_of_our_kind, comments);
        // What a warning says is missing may come from another source: that is seen by what is there in the end.
        let says_partial = response.is_partial && end.status.is_success();
        let has_sent_all = end.status.is_success() && !says_partial;
        self.has_sent_all = (self.has_sent_all || self.status.is_none()) && has_sent_all;
        self.says_partial |= says_partial;
        self.status = Some(end.status);
        if let Some(words) = unsuccessful(end).or(response.remark.filter(|_| says_partial)) {
            self.detail = Some(words);
            self.comment.clone_from(&end.comment);
        }
    }
}

impl<'a> Source<'a> {
    /// The requests that ask it for what is wanted.
    pub(super) fn requests(&self, by_name: bool, wants: impl Fn(&Uid) -> bool) -> Vec<Selection> {
        requests(self.copy, self.scope, self.series, by_name, wants)
    }

    /// The patient ID where the information model is Patient Root.
    pub(super) fn patient_key(&self, context: &Context) -> Option<&'a str> {
        let is_patient_root = [uids::PATIENT_ROOT_GET, uids::PATIENT_ROOT_MOVE];
        let is_patient_root = is_patient_root.contains(&context.abstract_syntax.as_str());
        is_patient_root.then_some(self.copy.patient_id.id.as_str())
    }

    /// Transfers what the source has of what is wanted.
    pub(crate) async fn transfer(&self, transfer: &mut Transfer<'_, '_>) -> Attempt {
        transfer.source = Some(self.station.ae_title.clone());
        if let Sink::Archive(archive) = &mut transfer.sink {
            archive.source.clone_from(&transfer.source);
        }
        if self.station.is_embedded() {
            return files::transfer(self, transfer).await;
        }
        let asked_for = |uid: &Uid, it: &super::Instance, transfer: &Transfer<'_, '_>| {
            self.scope.takes(&it.series, uid) && transfer.wants(uid)
        };
        let lists = kinds_of(self.copy, |uid, it| asked_for(uid, it, transfer));
        let mut attempt = Attempt::default();
        for kinds in lists {
            let taken_before = transfer.taken();
            self.transfer_kinds(kinds, transfer, &mut attempt).await;
            let is_done = match self.copy.is_whole() {
                true => !transfer.lacks(self.copy),
                false => transfer.taken() == taken_before,
            };
            if is_done || attempt.has_failed || transfer.is_over() {
                break;
            }
        }
        if let Some(not_taken) = transfer.not_taken.take() {
            attempt.detail = Some(not_taken);
        }
        attempt
    }

    /// Transfers what comes in the presentation contexts of one association.
    async fn transfer_kinds(
        &self,
        kinds: Vec<ObjectKind>,
        transfer: &mut Transfer<'_, '_>,
        attempt: &mut Attempt,
    ) {
        transfer.ahead.clone_from(&kinds);
        let kinds = transfer.accepted_kinds(kinds).await;
        if kinds.is_empty() {
            *attempt = Attempt::failed(match &transfer.sink {
                Sink::Station(station) => station.refusal(),
                _ => "no objects of these kinds are taken".to_owned(),
            });
            return;
        }
        if transfer.is_over() {
            return;
        }
        let arrivals = self.resources.arrivals.as_ref();
        let mut services = GET.to_vec();
        services.extend(arrivals.iter().flat_map(|_| MOVE));
        let opening = open(
            self.resources,
            self.station,
            &services,
            received(kinds),
            self.turn_within,
        );
        let opened = tokio::select! {
            biased;
            () = transfer.interrupted() => return,
            opened = opening => opened,
        };
        let mut opened = match opened {
            Ok(opened) => opened,
            Err(detail) => return *attempt = Attempt::failed(detail),
        };
        match self.request_all(&mut opened, transfer, attempt).await {
            // All that it sent is answered.
            Ok(true) => drop(opened.association.release().await),
            Ok(false) => opened.association.abort().await,
            Err(detail) => {
                opened.association.abort().await;
                attempt.detail = Some(detail);
                attempt.has_failed = true;
            }
        }
    }

    /// Puts all requests; false where the transfer was over before the last response.
    async fn request_all(
        &self,
        opened: &mut OpenAssociation,
        transfer: &mut Transfer<'_, '_>,
        attempt: &mut Attempt,
    ) -> Result<bool, String> {
        let association = &mut opened.association;
        let is_of_our_kind = is_of_our_kind(association.peer());
        let by_get = choose(association, &GET).cloned();
        let sends_objects = !association.object_contexts().is_empty();
        let arrivals = self.resources.arrivals.as_deref();
        let by_move = arrivals.and_then(|arrivals| {
            let context = choose(association, &MOVE).ok()?;
            Some((context.clone(), arrivals))
        });
        let (context, arrivals) = match (by_get, by_move) {
            (Ok(context), _) if sends_objects => (context, None),
            (_, Some((context, arrivals))) => (context, Some(arrivals)),
            (Ok(_), None) => return Err("it offers no objects of these kinds by C-GET".to_owned()),
            (Err(refused), None) => return Err(refused),
        };
        attempt.method = arrivals.map(|_| Method::Move);
        for selection in self.requests(arrivals.is_some(), |uid| transfer.wants(uid)) {
            let key = self.patient_key(&context);
            let identifier = selection.identifier(self.study, key, context.transfer_syntax);
            let identifier = identifier.map_err(|error| error.to_string())?;
            let end = match arrivals {
                None => get(association, &context, &identifier, self, transfer).await,
                Some(arrivals) => {
                    move_here(association, (&context, &identifier), self, arrivals, transfer).await
                }
            };
            let end = end.map_err(|error| failure(self.resources, self.station, &error))?;
            let Some(end) = end else { return Ok(false) };
            attempt.note(&end, self.station, is_of_our_kind);
            if arrivals.is_some() && end.status == Status::DESTINATION_UNKNOWN {
                attempt.hint = Some(format!(
                    "register at {} our AE title with our address as a move destination",
                    self.station.name
                ));
            }
        }
        Ok(true)
    }
}

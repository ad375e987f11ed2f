//! C-GET from a source: into the embedded archive, or on to another one.
//!
//! Invariants: only what was asked for is taken. Where the presentation contexts don't fit one association, further ones
//! ask for what is still lacking.

use std::collections::BTreeSet;
use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use super::copies::Copy;
use super::errand::{Attempt, Errand};
use super::line::{Line, Trouble, choose, open, tell, tell_end};
use super::passing_on::PassingOn;
use super::proposals::proposals;
use super::storing::Storing;
use super::wanted::{Wanted, requests};
use crate::archive::Expected;
use crate::dimse::{Context, Error, GetEvent, GotObject, ProposedObjects, RetrieveEnd, Status, uids};
use crate::link::CANCEL_WITHIN;
use crate::model::{Station, Uid};

const SERVICES: [&str; 2] = [uids::STUDY_ROOT_GET, uids::PATIENT_ROOT_GET];

/// What takes the objects.
enum Taker<'r> {
    Storing(Box<Storing>),
    PassingOn(Box<PassingOn<'r>>),
}

/// Gets what is lacking from a copy.
pub(super) async fn get(errand: &Errand<'_>, copy: &Copy, lacking: &BTreeSet<Uid>) -> Attempt {
    let mut attempt = Attempt::default();
    let mut rest = lacking.clone();
    for kinds in proposals(copy, lacking) {
        let got_before = attempt.got.len();
        if let Err(trouble) = get_kinds(errand, copy, &rest, kinds, &mut attempt).await {
            attempt.trouble = Some(trouble);
            break;
        }
        rest.retain(|uid| !attempt.got.contains(uid));
        let is_done = if copy.is_whole {
            rest.is_empty()
        } else {
            attempt.got.len() == got_before
        };
        if is_done {
            break;
        }
    }
    attempt
}

/// Gets what comes in these contexts.
async fn get_kinds(
    errand: &Errand<'_>,
    copy: &Copy,
    lacking: &BTreeSet<Uid>,
    mut kinds: Vec<ProposedObjects>,
    attempt: &mut Attempt,
) -> Result<(), Trouble> {
    let source = errand.station(copy);
    let mut taker = match &errand.destination.archive {
        Some(archive) => {
            let expected = Expected {
                study_instance_uid: errand.request.study_instance_uid.clone(),
                patient_id: errand.request.patient.is_some().then(|| copy.patient_id.clone()),
            };
            let (archive, source) = (archive.clone(), source.ae_title.clone());
            Taker::Storing(Box::new(Storing::new(archive, source, expected)))
        }
        None => {
            let passing_on = PassingOn::open(errand.request, errand.destination.station, &kinds).await?;
            kinds = passing_on.taken(kinds);
            Taker::PassingOn(Box::new(passing_on))
        }
    };
    if kinds.is_empty() {
        return Err(Trouble::Destination(format!(
            "{} takes no objects of these kinds",
            errand.destination.station.name
        )));
    }
    let line = open(errand.request, source, &SERVICES, kinds).await;
    let mut line = line.map_err(Trouble::Source)?;
    let context = choose(&line.association, &SERVICES).cloned();
    let ended = match context {
        Ok(context) => {
            let mut getting = Getting {
                errand,
                source,
                copy,
                lacking,
                taker: &mut taker,
                line: &mut line,
                attempt,
            };
            getting.get_all(&context).await
        }
        Err(refused) => Err(Trouble::Source(refused)),
    };
    if ended.is_err() {
        line.association.abort().await;
    } else {
        // What came has been answered, whatever the peer makes of the release.
        let _ = line.association.release().await;
    }
    let finished = taker.finish(attempt).await;
    ended.and(finished)
}

impl Taker<'_> {
    async fn take(&mut self, object: GotObject<'_>, within: Duration) -> Result<Result<u64, Error>, Trouble> {
        match self {
            Taker::Storing(storing) => storing.take(object, within).await,
            Taker::PassingOn(passing_on) => passing_on.take(object, within).await,
        }
    }

    fn got(&self) -> usize {
        match self {
            Taker::Storing(storing) => storing.got.len(),
            Taker::PassingOn(passing_on) => passing_on.got.len(),
        }
    }

    async fn finish(self, attempt: &mut Attempt) -> Result<(), Trouble> {
        let (got, detail, finished) = match self {
            Taker::Storing(mut storing) => {
                let finished = storing.finish().await;
                attempt.kept_aside.append(&mut storing.kept_aside);
                (storing.got, storing.detail, finished)
            }
            Taker::PassingOn(mut passing_on) => {
                passing_on.close().await;
                (passing_on.got, passing_on.detail, Ok(()))
            }
        };
        attempt.got.extend(got);
        attempt.detail = detail.or(attempt.detail.take());
        finished
    }
}

/// The requests over one association.
struct Getting<'g, 'e, 'r> {
    errand: &'g Errand<'e>,
    source: &'g Station,
    copy: &'g Copy,
    lacking: &'g BTreeSet<Uid>,
    taker: &'g mut Taker<'r>,
    line: &'g mut Line,
    attempt: &'g mut Attempt,
}

impl Getting<'_, '_, '_> {
    async fn get_all(&mut self, context: &Context) -> Result<(), Trouble> {
        if self.line.association.object_contexts().is_empty() {
            return Err(Trouble::Source(
                "it offers no objects of these kinds by C-GET".to_owned(),
            ));
        }
        for wanted in requests(self.copy, self.lacking, &self.errand.request.scope) {
            let end = self.get_one(context, &wanted).await?;
            self.attempt.status = Some(end.status);
            if let Some(told) = tell_end(&end) {
                self.attempt.detail = Some(told);
            }
        }
        Ok(())
    }

    async fn get_one(&mut self, context: &Context, wanted: &Wanted) -> Result<RetrieveEnd, Trouble> {
        let (request, source) = (self.errand.request, self.source);
        let failed = |error: Error| Trouble::Source(tell(request, source, &error));
        let patient_id =
            (context.abstract_syntax == uids::PATIENT_ROOT_GET).then_some(&*self.copy.patient_id.id);
        let study = &request.study_instance_uid;
        let identifier = wanted.identifier(study, patient_id, context.transfer_syntax);
        let identifier = identifier.map_err(|error| Trouble::Source(error.to_string()))?;
        let mut get = self
            .line
            .association
            .get(context, &identifier)
            .await
            .map_err(failed)?;
        let mut cancelled_at: Option<Instant> = None;
        loop {
            let within = match cancelled_at {
                Some(at) => CANCEL_WITHIN.saturating_sub(at.elapsed()),
                None => source.timeout,
            };
            let event = tokio::select! {
                biased;
                () = self.errand.cancel.cancelled(), if cancelled_at.is_none() => None,
                event = get.next(within) => Some(event),
            };
            match event {
                None => {
                    cancelled_at = Some(Instant::now());
                    get.cancel().await.map_err(failed)?;
                }
                Some(Err(_)) if cancelled_at.is_some() => return Err(Trouble::Cancelled),
                Some(Err(error)) => return Err(failed(error)),
                Some(Ok(GetEvent::Progress(_))) => {}
                Some(Ok(GetEvent::Done(_))) if cancelled_at.is_some() => return Err(Trouble::Cancelled),
                Some(Ok(GetEvent::Done(end))) => return Ok(end),
                Some(Ok(GetEvent::Object(object))) => {
                    let uid = &object.announced.sop_instance_uid;
                    if self.copy.is_whole && !self.copy.instances.contains_key(uid) {
                        self.attempt.detail = Some("it sent objects that were not asked for".to_owned());
                        object
                            .answer(Status::NOT_AUTHORIZED, source.timeout)
                            .await
                            .map_err(failed)?;
                        continue;
                    }
                    let taking = self.taker.take(object, source.timeout);
                    let taken = match cancelled_at {
                        None => taking.await,
                        // The last object under way, if it is not too long.
                        Some(at) => timeout_at(at + CANCEL_WITHIN, taking)
                            .await
                            .unwrap_or(Err(Trouble::Cancelled)),
                    };
                    let bytes = taken?.map_err(failed)?;
                    self.errand.tell(self.taker.got() as u64, bytes);
                }
            }
        }
    }
}

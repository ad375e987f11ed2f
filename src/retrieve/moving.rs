//! C-MOVE from a source to the destination.
//!
//! Invariant: a source that says nothing for its timeout is waited for only as long as the destination's count grows.

use std::collections::BTreeSet;

use tokio::time::{Instant, sleep_until, timeout};

use super::copies::Copy;
use super::errand::{Attempt, Errand};
use super::line::{Line, Trouble, choose, open, tell, tell_end};
use super::wanted::{Wanted, requests};
use crate::dimse::{Context, Error, Move, MoveEvent, RetrieveEnd, Status, SubOperations, uids};
use crate::link::FAR;
use crate::link::{CANCEL_WITHIN, address_towards};
use crate::model::{AeTitle, Station, Uid, show_duration};

const SERVICES: [&str; 2] = [uids::STUDY_ROOT_MOVE, uids::PATIENT_ROOT_MOVE];

/// Has the source move what is lacking to the destination.
pub(super) async fn move_to(errand: &Errand<'_>, copy: &Copy, lacking: &BTreeSet<Uid>) -> Attempt {
    let mut attempt = Attempt::default();
    let source = errand.station(copy);
    let mut line = match open(errand.request, source, &SERVICES, Vec::new()).await {
        Ok(line) => line,
        Err(detail) => {
            attempt.trouble = Some(Trouble::Source(detail));
            return attempt;
        }
    };
    let context = choose(&line.association, &SERVICES).cloned();
    let moved = match context {
        Ok(context) => move_all(errand, copy, lacking, &context, &mut line, &mut attempt).await,
        Err(refused) => Err(Trouble::Source(refused)),
    };
    let has_failed = moved.is_err();
    attempt.trouble = moved.err();
    if has_failed {
        line.association.abort().await;
    } else {
        // What came of it is seen at the destination, whatever the peer makes of the release.
        let _ = line.association.release().await;
    }
    attempt
}

async fn move_all(
    errand: &Errand<'_>,
    copy: &Copy,
    lacking: &BTreeSet<Uid>,
    context: &Context,
    line: &mut Line,
    attempt: &mut Attempt,
) -> Result<(), Trouble> {
    let destination = errand.move_destination(errand.station(copy));
    let mut done = 0;
    for wanted in requests(copy, lacking, &errand.request.scope) {
        let end = move_one(errand, copy, context, line, (&destination, &wanted), &mut done).await?;
        attempt.status = Some(end.status);
        let Some(told) = tell_end(&end) else { continue };
        attempt.detail = Some(told);
        let has_done_nothing = end.sub_operations.completed.unwrap_or_default() == 0;
        if end.status == Status::DESTINATION_UNKNOWN || has_done_nothing {
            attempt.hint = Some(hint(errand, errand.station(copy), &destination, line));
        }
        if end.status == Status::DESTINATION_UNKNOWN {
            let detail = format!(
                "it does not know the move destination {destination}: {}",
                end.status
            );
            attempt.detail = Some(detail);
            return Ok(());
        }
    }
    Ok(())
}

/// What must be registered at the source, fit to be pasted.
fn hint(errand: &Errand<'_>, source: &Station, destination: &AeTitle, line: &Line) -> String {
    let settings = &errand.request.configuration.settings;
    let peer = line.association.peer().address;
    let address = match &errand.destination.station.endpoint {
        Some(endpoint) => format!("host {}, port {}", endpoint.host, endpoint.port),
        None => {
            let listen = settings.listen();
            let host = if listen.ip().is_unspecified() {
                address_towards(peer)
            } else {
                Some(listen.ip())
            };
            let host = host.map_or_else(|| "(this machine)".to_owned(), |host| host.to_string());
            format!("host {host}, port {}; 'impaxlink serve' must run", listen.port())
        }
    };
    format!(
        "register at {} ({}) the move destination: AE title {destination}, {address}",
        source.name, source.ae_title
    )
}

async fn move_one(
    errand: &Errand<'_>,
    copy: &Copy,
    context: &Context,
    line: &mut Line,
    (destination, wanted): (&AeTitle, &Wanted),
    done: &mut u64,
) -> Result<RetrieveEnd, Trouble> {
    let (request, source) = (errand.request, errand.station(copy));
    let failed = |error: Error| Trouble::Source(tell(request, source, &error));
    let patient_id = (context.abstract_syntax == uids::PATIENT_ROOT_MOVE).then_some(&*copy.patient_id.id);
    let identifier = wanted.identifier(&request.study_instance_uid, patient_id, context.transfer_syntax);
    let identifier = identifier.map_err(|error| Trouble::Source(error.to_string()))?;
    let moving = line.association.move_to(context, destination, &identifier).await;
    let mut moving = moving.map_err(failed)?;
    let before = *done;
    let mut there = errand.here();
    let mut last_sign = Instant::now();
    loop {
        tokio::select! {
            biased;
            () = errand.cancel.cancelled() => {
                cancel(&mut moving).await;
                return Err(Trouble::Cancelled);
            }
            event = moving.next(FAR) => match event.map_err(failed)? {
                MoveEvent::Progress(counts) => {
                    *done = before + arrived(counts);
                    errand.tell(*done, 0);
                }
                MoveEvent::Done(end) => {
                    *done = before + arrived(end.sub_operations);
                    return Ok(end);
                }
            },
            () = sleep_until(last_sign + source.timeout) => {
                let now_there = errand.count_there().await?;
                if now_there <= there {
                    cancel(&mut moving).await;
                    let silence = show_duration(source.timeout);
                    return Err(Trouble::Source(format!("no response and nothing arrived within {silence}")));
                }
                there = now_there;
            }
        }
        last_sign = Instant::now();
    }
}

fn arrived(counts: SubOperations) -> u64 {
    let known = [counts.completed, counts.warning].into_iter().flatten();
    known.map(u64::from).sum()
}

/// Tells the peer to cancel, and waits a little for it to end.
async fn cancel(moving: &mut Move<'_>) {
    let cancelled = async {
        moving.cancel().await?;
        while let MoveEvent::Progress(_) = moving.next(CANCEL_WITHIN).await? {}
        Ok::<(), Error>(())
    };
    // Whatever comes of it: the association is ended next.
    let _ = timeout(CANCEL_WITHIN, cancelled).await;
}

//! C-MOVE from a source directly to the archive station.
//!
//! Nothing of ours sees the objects on their way, unless the archive is the embedded one: there the service's listener
//! holds them to the expectation that is on record.
//!
//! Invariant: a source that says nothing for its timeout is waited for only as long as the destination's count grows.

use std::collections::BTreeSet;

use tokio::time::{Instant, sleep_until, timeout};

use super::association::{OpenAssociation, choose, failure, open};
use super::peer::{Attempt, Source};
use super::selection::Selection;
use super::to_archive::ArchiveRetrieve;
use crate::dimse::{Context, Error, Move, MoveEvent, RetrieveEnd, Status, SubOperations, uids};
use crate::link::completeness::is_of_our_kind;
use crate::link::{CANCEL_WITHIN, FAR, address_towards};
use crate::model::{AeTitle, Uid, show_duration};

const SERVICES: [&str; 2] = [uids::STUDY_ROOT_MOVE, uids::PATIENT_ROOT_MOVE];

/// Why a move ended before its end.
enum Ended {
    Failed(String),
    Cancelled,
}

/// Has the source move what is lacking to the archive station.
pub(super) async fn move_to(
    retrieve: &ArchiveRetrieve<'_>,
    source: &Source<'_>,
    lacking: &BTreeSet<Uid>,
) -> Attempt {
    let mut attempt = Attempt::default();
    let opened = open(
        source.resources,
        source.station,
        &SERVICES,
        Vec::new(),
        source.turn_within,
    );
    let mut opened = match opened.await {
        Ok(opened) => opened,
        Err(detail) => return Attempt::failed(detail),
    };
    let context = choose(&opened.association, &SERVICES).cloned();
    let moved = match context {
        Ok(context) => move_all(retrieve, source, lacking, &context, &mut opened, &mut attempt).await,
        Err(refused) => Err(Ended::Failed(refused)),
    };
    match moved {
        // What came of it is seen at the destination, whatever the peer makes of the release.
        Ok(()) => drop(opened.association.release().await),
        Err(ended) => {
            opened.association.abort().await;
            attempt.has_failed = true;
            if let Ended::Failed(detail) = ended {
                attempt.detail = Some(detail);
            }
        }
    }
    attempt
}

async fn move_all(
    retrieve: &ArchiveRetrieve<'_>,
    source: &Source<'_>,
    lacking: &BTreeSet<Uid>,
    context: &Context,
    opened: &mut OpenAssociation,
    attempt: &mut Attempt,
) -> Result<(), Ended> {
    let destination = retrieve.move_destination(source.station);
    let is_of_our_kind = is_of_our_kind(opened.association.peer());
    let mut done = 0;
    for selection in source.requests(false, |uid| lacking.contains(uid)) {
        let to = (&destination, &selection);
        let end = move_one(retrieve, source, context, opened, to, &mut done).await?;
        attempt.note(&end, source.station, is_of_our_kind);
        if end.status.is_success() {
            continue;
        }
        let has_done_nothing = end.sub_operations.completed.unwrap_or_default() == 0;
        if end.status == Status::DESTINATION_UNKNOWN || has_done_nothing {
            attempt.hint = Some(hint(retrieve, source, &destination, opened));
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
fn hint(
    retrieve: &ArchiveRetrieve<'_>,
    source: &Source<'_>,
    destination: &AeTitle,
    opened: &OpenAssociation,
) -> String {
    let settings = &source.resources.configuration.settings;
    let peer = opened.association.peer().address;
    let address = match &retrieve.destination.station.endpoint {
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
    let station = source.station;
    format!(
        "register at {} ({}) the move destination: AE title {destination}, {address}",
        station.name, station.ae_title
    )
}

async fn move_one(
    retrieve: &ArchiveRetrieve<'_>,
    source: &Source<'_>,
    context: &Context,
    opened: &mut OpenAssociation,
    (destination, selection): (&AeTitle, &Selection),
    done: &mut u64,
) -> Result<RetrieveEnd, Ended> {
    let station = source.station;
    let failed = |error: Error| Ended::Failed(failure(source.resources, station, &error));
    let key = source.patient_key(context);
    let identifier = selection.identifier(source.study, key, context.transfer_syntax);
    let identifier = identifier.map_err(|error| Ended::Failed(error.to_string()))?;
    let moving = opened
        .association
        .move_to(context, destination, &identifier)
        .await;
    let mut moving = moving.map_err(failed)?;
    let before = *done;
    let mut there = retrieve.instances_there();
    let mut last_sign = Instant::now();
    loop {
        tokio::select! {
            biased;
            () = retrieve.cancel.cancelled() => {
                cancel(&mut moving).await;
                return Err(Ended::Cancelled);
            }
            event = moving.next(FAR) => match event.map_err(failed)? {
                MoveEvent::Progress(counts) => {
                    *done = before + arrived(counts);
                    retrieve.report(*done);
                }
                MoveEvent::Done(end) => {
                    *done = before + arrived(end.sub_operations);
                    return Ok(end);
                }
            },
            () = sleep_until(last_sign + station.timeout) => {
                let now_there = retrieve.count_there().await.map_err(Ended::Failed)?;
                if now_there <= there {
                    cancel(&mut moving).await;
                    let silence = show_duration(station.timeout);
                    return Err(Ended::Failed(format!("no response and nothing arrived within {silence}")));
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

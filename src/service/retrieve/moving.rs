//! Objects by a C-MOVE at a source to ourselves: they come to our listener, and from there to the retrieve that waits.
//!
//! Invariant: only the instances that this source was asked for are taken so.

use tokio::time::timeout;

use super::Source;
use super::delivery::Delivery;
use super::peers::CANCEL_WITHIN;
use crate::dimse::{Association, Context, DataSet, Error, Move, MoveEvent, Status};
use crate::link::{answers_as, calling};
use crate::model::{AeTitle, Settings, Station};

/// Puts one request to the source, and passes on what comes; false where nothing more is to come.
pub(super) async fn pass(
    association: &mut Association,
    context: &Context,
    identifier: &DataSet,
    source: &Source<'_>,
    station: &Station,
    delivery: &mut Delivery<'_, '_>,
) -> Result<bool, Error> {
    let destination = ourselves(station, source.snapshot.settings());
    let listed = source.holding.listed.keys();
    let instances = listed
        .filter(|instance| delivery.wants(instance))
        .cloned()
        .collect();
    let message_id = association.message_id_ahead();
    let mut expected = source
        .service
        .arrivals
        .expect(&station.name, message_id, instances);
    let mut moving = association.move_to(context, &destination, identifier).await?;
    loop {
        if delivery.is_over() {
            // Whatever it says to that, it is not asked again.
            let _ = timeout(CANCEL_WITHIN, cancel(&mut moving)).await;
            return Ok(false);
        }
        let event = tokio::select! {
            biased;
            () = delivery.responder.interrupted() => continue,
            Some(mut arrival) = expected.objects.recv() => {
                let announced = arrival.announced.clone();
                let delivered = match delivery.wants(&announced.instance) {
                    true => delivery.deliver(&announced, &mut arrival).await,
                    false => Ok(()),
                };
                arrival.answer(delivered.map_or(Status::PROCESSING_FAILURE, |()| Status::SUCCESS));
                continue;
            }
            event = moving.next(station.timeout) => event?,
        };
        if let MoveEvent::Done(end) = event {
            match end.status {
                Status::DESTINATION_UNKNOWN => tracing::warn!(
                    "{} as a source: ended with {}; register {destination} there, with our address",
                    station.name,
                    end.status
                ),
                status if !status.is_success() => {
                    tracing::warn!("{} as a source: ended with {status}", station.name);
                }
                _ => {}
            }
            return Ok(true);
        }
    }
}

/// The AE title by which the station sends to our listener. Where studies moved by default go to another archive, that
/// one's title is of no use here: they would stay there.
fn ourselves(station: &Station, settings: &Settings) -> AeTitle {
    let known_as = station.move_destination.clone();
    let known_as = known_as.filter(|title| answers_as(title.as_str(), station, settings));
    known_as.unwrap_or_else(|| calling(station, settings))
}

async fn cancel(moving: &mut Move<'_>) -> Result<(), Error> {
    moving.cancel().await?;
    while !matches!(moving.next(CANCEL_WITHIN).await?, MoveEvent::Done(_)) {}
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::service::examples;

    #[test]
    fn what_passes_through_is_never_moved_to_another_archive() {
        let settings = Settings::default();
        let mut station = examples::station("SITEB", "SITEB", "10.0.0.1");
        let mut as_seen = |calling_ae: Option<&str>, move_destination: Option<&str>| {
            station.calling_ae = calling_ae.map(|title| title.parse().unwrap());
            station.move_destination = move_destination.map(|title| title.parse().unwrap());
            ourselves(&station, &settings).to_string()
        };
        assert_eq!(as_seen(None, None), "IMPAXLINK");
        assert_eq!(as_seen(None, Some("PACS")), "IMPAXLINK");
        assert_eq!(as_seen(Some("LINK2"), Some("PACS")), "LINK2");
        assert_eq!(as_seen(Some("LINK2"), Some("IMPAXLINK")), "IMPAXLINK");
    }
}

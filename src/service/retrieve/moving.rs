//! Objects by a C-MOVE at a source to ourselves: they come to our listener, and from there to the retrieve that waits.
//!
//! Invariant: only the instances that this source was asked for are taken so.

use tokio::time::timeout;

use super::Source;
use super::delivery::Delivery;
use super::peers::CANCEL_WITHIN;
use crate::dimse::{Association, Context, DataSet, Error, Move, MoveEvent, Status};
use crate::link::calling;
use crate::model::Station;

/// Puts one request to the source, and passes on what comes; false where nothing more is to come.
pub(super) async fn pass(
    association: &mut Association,
    context: &Context,
    identifier: &DataSet,
    source: &Source<'_>,
    station: &Station,
    delivery: &mut Delivery<'_, '_>,
) -> Result<bool, Error> {
    let ours = calling(station, source.snapshot.settings());
    let destination = station.move_destination.clone().unwrap_or(ours);
    let instances = source
        .holding
        .instances
        .iter()
        .flat_map(|instances| instances.keys());
    let instances = instances
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

async fn cancel(moving: &mut Move<'_>) -> Result<(), Error> {
    moving.cancel().await?;
    while !matches!(moving.next(CANCEL_WITHIN).await?, MoveEvent::Done(_)) {}
    Ok(())
}

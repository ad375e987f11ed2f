//! C-MOVE at a source to ourselves, where it knows no C-GET: what it sends to our listener is handed over from there.
//!
//! Invariant: only the instances that this source was asked for are taken so.

use tokio::time::timeout;

use super::arrivals::Arrivals;
use super::peer::Source;
use super::transfer::Transfer;
use crate::dimse::{Association, Context, DataSet, Error, Move, MoveEvent, RetrieveEnd, Status};
use crate::link::{CANCEL_WITHIN, answers_as, calling};
use crate::model::{AeTitle, Settings, Station};

/// Puts one request to the source and passes on what arrives; `None` where the retrieve was over before the response.
pub(super) async fn move_here(
    association: &mut Association,
    (context, identifier): (&Context, &DataSet),
    source: &Source<'_>,
    arrivals: &Arrivals,
    transfer: &mut Transfer<'_, '_>,
) -> Result<Option<RetrieveEnd>, Error> {
    let station = source.station;
    let destination = ourselves(station, &source.resources.configuration.settings);
    let listed = source.copy.instances.keys();
    let instances = listed.filter(|instance| transfer.wants(instance));
    let instances = instances.cloned().collect();
    let message_id = association.message_id_ahead();
    let mut expected = arrivals.expect(&station.name, message_id, instances);
    let mut moving = association.move_to(context, &destination, identifier).await?;
    loop {
        if transfer.is_over() {
            // Whatever it says to that, it is not asked again.
            let _ = timeout(CANCEL_WITHIN, cancel(&mut moving)).await;
            return Ok(None);
        }
        let event = tokio::select! {
            biased;
            () = transfer.interrupted() => continue,
            Some(mut arrival) = expected.objects.recv() => {
                let header = arrival.header.clone();
                let status = match transfer.wants(&header.instance) {
                    true => transfer.receive(&header, &mut arrival, &source.gate).await,
                    false => Ok(Status::SUCCESS),
                };
                arrival.answer(status.unwrap_or(Status::PROCESSING_FAILURE));
                continue;
            }
            event = moving.next(station.timeout) => event?,
        };
        if let MoveEvent::Done(end) = event {
            return Ok(Some(end));
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

    #[test]
    fn what_passes_through_is_never_moved_to_another_archive() {
        let settings = Settings::default();
        let mut station = Station::new("SITEB".parse().unwrap(), "SITEB".parse().unwrap(), None);
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

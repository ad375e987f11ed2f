//! Objects that were acquired in the embedded archive, told to linked clusters.
//!
//! Invariant: the archive and the store are used on a blocking thread alone. What could not be told stays on the list,
//! and is tried again; what a person should know is logged when it is news.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::sleep;

use super::{Service, chain};
use crate::audit::Attribution;
use crate::store::Store;
use crate::updates::announce::{AnnounceError, Announced, Arrivals};

/// How often it is looked whether a study has arrived.
const TICK: Duration = Duration::from_secs(1);
/// How long after a failure.
const AFTER_FAILURE: Duration = Duration::from_secs(10);

/// Tells of arrivals until the service drains.
pub(super) async fn announce_arrivals(service: Arc<Service>, store: Store, attribution: Attribution) {
    let attribution = Arc::new(attribution);
    let mut store = Some(store);
    let (mut failure, mut warned) = (None, false);
    while let Some(taken) = store.take() {
        let (here, attribution) = (Arc::clone(&service), Arc::clone(&attribution));
        let looked = tokio::task::spawn_blocking(move || {
            let announced = announce_due(&here, &taken, &attribution);
            (announced, taken)
        });
        let Ok((announced, taken)) = looked.await else {
            return tracing::error!("telling of new objects broke off: it goes on after a restart");
        };
        store = Some(taken);
        let wait = match announced {
            Ok(of_nobody) => {
                failure = None;
                if of_nobody > 0 && !warned {
                    warned = true;
                    tracing::warn!(
                        "{of_nobody} new objects are not told to linked clusters: they name no patient ID, or the \
                         issuer of it is not known (config set issuer); others like them will not be told either"
                    );
                }
                TICK
            }
            Err(error) => {
                let why = chain(&error);
                if failure.as_ref() != Some(&why) {
                    tracing::warn!("new objects wait to be told: {why}");
                    failure = Some(why);
                }
                AFTER_FAILURE
            }
        };
        tokio::select! {
            () = service.drain.cancelled() => return,
            () = sleep(wait) => {}
        }
    }
}

/// Tells of the studies that have arrived; how many objects can't be told.
fn announce_due(service: &Service, store: &Store, attribution: &Attribution) -> Result<usize, AnnounceError> {
    let snapshot = service.in_force.pin();
    let configuration = snapshot.configuration();
    let mut stations = configuration.stations.iter();
    let Some(embedded) = stations.find(|station| station.is_embedded()) else {
        return Ok(0);
    };
    let archive = service.archive.open(snapshot.settings())?;
    let arrivals = Arrivals {
        store,
        archive: &archive,
        configuration,
    };
    let mut of_nobody = 0;
    for study in arrivals.due()? {
        if service.drain.is_cancelled() {
            break;
        }
        let announced = arrivals.announce(&study, embedded, attribution)?;
        of_nobody += announced.of_nobody;
        let Announced { updates, objects, .. } = announced;
        if updates > 0 {
            let study = &study.study_instance_uid;
            tracing::info!("{objects} new objects of study {study} are told in {updates} updates");
            service.updates.wake();
        }
    }
    Ok(of_nobody)
}

//! Objects that were acquired in the embedded archive, told to linked clusters.
//!
//! Invariant: the archive and the store are used on a blocking thread alone. What could not be told stays on the list,
//! and is tried again; what a person should know is logged when it is news.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::time::sleep;

use super::{Service, chain, locked};
use crate::archive::ArrivedStudy;
use crate::audit::Attribution;
use crate::store::{SharedStore, Store};
use crate::updates::announce::{AnnounceError, Announced, Arrivals};

/// How often it is looked whether a study has arrived.
const TICK: Duration = Duration::from_secs(1);
/// How long after a failure.
const AFTER_FAILURE: Duration = Duration::from_secs(10);

/// Tells of arrivals until the service drains.
pub(super) async fn announce_arrivals(service: Arc<Service>, store: SharedStore, attribution: Attribution) {
    let announcing = Arc::new(Mutex::new(Announcing {
        store,
        attribution,
        failure: None,
        has_warned: false,
    }));
    loop {
        let (here, announcing) = (Arc::clone(&service), Arc::clone(&announcing));
        let looked = tokio::task::spawn_blocking(move || locked(&announcing).look(&here));
        let wait = looked.await.unwrap_or_else(|error| {
            tracing::error!("telling of new objects broke off: {error}");
            AFTER_FAILURE
        });
        tokio::select! {
            () = service.drain.cancelled() => return,
            () = sleep(wait) => {}
        }
    }
}

struct Announcing {
    store: SharedStore,
    attribution: Attribution,
    /// What was logged last of what is not well.
    failure: Option<String>,
    /// Whether it was logged that there are objects that can't be told.
    has_warned: bool,
}

impl Announcing {
    /// Tells of what is due; how long to wait then.
    fn look(&mut self, service: &Service) -> Duration {
        let store = self.store.clone();
        let Err(error) = store.with_blocking(|store| self.announce(service, store)) else {
            self.failure = None;
            return TICK;
        };
        let why = chain(&error);
        if self.failure.as_ref() != Some(&why) {
            tracing::warn!("new objects wait to be told: {why}");
            self.failure = Some(why);
        }
        AFTER_FAILURE
    }

    /// A study that can't be told keeps no other waiting.
    fn announce(&mut self, service: &Service, store: &Store) -> Result<(), AnnounceError> {
        let snapshot = service.in_force.pin();
        let configuration = snapshot.configuration();
        let mut stations = configuration.stations.iter();
        let Some(embedded) = stations.find(|station| station.is_embedded()) else {
            return Ok(());
        };
        let archive = service.archive.open(snapshot.settings())?;
        let arrivals = Arrivals {
            store,
            archive: &archive,
            configuration,
        };
        let (mut of_nobody, mut failed) = (0, Ok(()));
        for study in arrivals.due()? {
            if service.drain.is_cancelled() {
                break;
            }
            match arrivals.announce(&study, embedded, &self.attribution) {
                Ok(announced) => {
                    of_nobody += announced.of_nobody;
                    tell(service, &study, announced);
                }
                Err(error) => failed = failed.and(Err(error)),
            }
        }
        if of_nobody > 0 && !self.has_warned {
            self.has_warned = true;
            tracing::warn!(
                "{of_nobody} new objects are not told to linked clusters: they name no patient ID, or the issuer of it \
                 is not known (config set issuer); others like them will not be told either"
            );
        }
        failed
    }
}

fn tell(service: &Service, study: &ArrivedStudy, announced: Announced) {
    let Announced { updates, objects, .. } = announced;
    if updates > 0 {
        let study = &study.study_instance_uid;
        tracing::info!("{objects} new objects of study {study} are told in {updates} updates");
        service.updates.wake();
    }
}

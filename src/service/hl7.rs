//! Messages of HL7 that the RIS sends to the service: kept, answered, and done.
//!
//! Invariant: what they change is in force, and on its way to linked clusters, at once.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::sleep;

use super::{Service, chain};
use crate::audit::Attribution;
use crate::store::StoreError;
use crate::updates::hl7::apply::Applier;
use crate::updates::hl7::feed::work_off;
use crate::updates::local_studies::LocalStudies;

/// How long after a failure of the store messages are looked at again.
const AFTER_FAILURE: Duration = Duration::from_secs(10);

/// Serves a sender until it ends, or the service drains and nothing has begun.
pub(super) async fn serve_sender(service: Arc<Service>, stream: TcpStream, address: SocketAddr) {
    let idle = service.in_force.pin().settings().duration("timeout.idle");
    let settings = || service.in_force.pin().settings().hl7();
    let serving = service.hl7.serve(stream, address, settings, idle, &service.drain);
    if let Err(error) = serving.await {
        let why = format!("HL7: {}", chain(&error));
        service.rejections.log(address.ip(), None, &why);
    }
}

/// Does what messages want, until the service drains. What is left then is the next service's.
pub(super) async fn work_off_messages(service: Arc<Service>, attribution: Attribution) {
    let mut told = None;
    while !service.drain.is_cancelled() {
        let wait = match work_off_due(&service, &attribution).await {
            Ok(()) => {
                told = None;
                Duration::ZERO
            }
            Err(error) => {
                let why = chain(&error);
                if told.as_ref() != Some(&why) {
                    tracing::warn!("HL7 messages wait: {why}");
                    told = Some(why);
                }
                AFTER_FAILURE
            }
        };
        tokio::select! {
            () = service.drain.cancelled() => return,
            () = async { sleep(wait).await; service.hl7.wait().await } => {}
        }
    }
}

async fn work_off_due(service: &Service, attribution: &Attribution) -> Result<(), StoreError> {
    let mut has_linked = true;
    while has_linked {
        let snapshot = service.in_force.pin();
        let applier = Applier {
            store: service.hl7.store(),
            studies: LocalStudies {
                configuration: Arc::clone(snapshot.configuration()),
                cross_reference: service.known_patients.pin(),
                tls: snapshot.tls().clone(),
                archive: service.archive.clone(),
                turns: Some(Arc::clone(&service.turns)),
            },
            attribution: attribution.clone(),
        };
        let worked = work_off(&applier, &service.drain).await?;
        if worked.has_updates {
            service.updates.wake();
        }
        has_linked = worked.has_linked;
        if has_linked {
            // It says itself in the log where it can't be read.
            let _ = service.known_patients.take_newest().await;
        }
    }
    Ok(())
}

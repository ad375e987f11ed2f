//! C-STORE of the service: objects into the embedded archive.
//!
//! Invariant: success is answered when the object is durable, and never before. Of an object only a few fragments are in
//! memory; it is checked and written by one blocking thread while it comes in.

use std::sync::Arc;

use jiff::Timestamp;
use tokio::sync::mpsc;

use super::{Service, chain};
use crate::archive::{Announced, ArchiveError, Outcome};
use crate::dimse::{IncomingObject, Status, StoreRequest, uids};
use crate::link::EmbeddedArchive;
use crate::model::{
    AeTitle, AsideReason, CrossReference, ObjectIdentity, PREFETCH_ON_ARRIVAL, Settings, StationName, Uid,
    relay_targets,
};
use crate::retrieve::Gate;
use crate::store::SharedStore;

/// How many fragments wait to be written.
const WAITING_FRAGMENTS: usize = 8;

/// Whether objects of this SOP class are taken: the standard's storage classes, and private ones that are not our own.
pub(super) fn is_storage(sop_class_uid: &Uid) -> bool {
    let uid = sop_class_uid.as_str();
    let ours = [uids::LINKED_CLUSTER_QUERY, uids::CLUSTER_UPDATE];
    match uid.strip_prefix("1.2.840.10008.") {
        Some(standard) => standard.starts_with("5.1.4.1.1.") || standard == "5.1.4.34.7",
        None => !ours.contains(&uid),
    }
}

/// Stores one object of `station`, and gives the status of the response.
pub(super) async fn store(
    service: &Service,
    station: &StationName,
    request: StoreRequest,
    object: &mut IncomingObject<'_>,
) -> Status {
    if let Some(status) = service.arrivals.hand_over(station, &request, object).await {
        return status;
    }
    // Which archive it belongs to, and whom it is to be announced to, is in the store.
    if let Err(error) = service.store.refuse_lost() {
        tracing::warn!("an object from {station} was not stored: {error}");
        return Status::OUT_OF_RESOURCES;
    }
    let snapshot = service.in_force.pin();
    let stations = &snapshot.configuration().stations;
    if !stations.iter().any(|station| station.is_embedded()) {
        return Status::NOT_AUTHORIZED;
    }
    let source = stations.iter().find(|known| known.name == *station);
    // What a linked cluster sends is a visitor: it has no visitors of its own, and is no news.
    let is_acquired = source.is_none_or(|station| !station.is_linked());
    let is_news = is_acquired && relay_targets(snapshot.configuration(), None).next().is_some();
    let announced = Announced {
        sop_class_uid: request.context.sop_class_uid,
        sop_instance_uid: request.sop_instance_uid,
        transfer_syntax_uid: request.context.transfer_syntax_uid,
        source: source.map(|station| AeTitle::clone(&station.ae_title)),
    };
    let (fragments, to_write) = mpsc::channel(WAITING_FRAGMENTS);
    let (archive, settings) = (service.archive.clone(), snapshot.settings().clone());
    let expectations = Expectations {
        store: service.expectations.clone(),
        source: station.clone(),
        cross_reference: service.known_patients.pin(),
    };
    let writing = tokio::task::spawn_blocking(move || {
        write(&archive, &settings, announced, is_news, expectations, to_write)
    });
    loop {
        let fragment = match object.next().await {
            Ok(Some(bytes)) => Fragment::Bytes(bytes),
            Ok(None) => Fragment::End,
            // The writer sees the channel end without an end of the object, and leaves nothing behind.
            Err(_) => break,
        };
        let is_end = matches!(fragment, Fragment::End);
        // The writer has gone where it failed, and says why below.
        if fragments.send(fragment).await.is_err() || is_end {
            break;
        }
    }
    drop(fragments);
    match writing.await {
        Ok(Ok(Some((outcome, study)))) => {
            if outcome == Outcome::Stored && is_acquired && snapshot.settings().is_on(PREFETCH_ON_ARRIVAL) {
                service.arriving.note(study);
            }
            if let Outcome::KeptAside(reason) = &outcome {
                tracing::warn!("an object from {station} was kept aside: {reason}");
                if *reason != AsideReason::Differs {
                    return Status::DOES_NOT_MATCH_SOP_CLASS;
                }
            }
            Status::SUCCESS
        }
        // The caller is gone.
        Ok(Ok(None)) => Status::PROCESSING_FAILURE,
        Ok(Err(error)) => {
            tracing::warn!("an object from {station} was not stored: {}", chain(&error));
            status_of(&error)
        }
        Err(error) => {
            tracing::error!("storing an object from {station} broke off: {error}");
            Status::PROCESSING_FAILURE
        }
    }
}

enum Fragment {
    Bytes(Vec<u8>),
    End,
}

/// `None` where the object did not come to its end.
fn write(
    archive: &EmbeddedArchive,
    settings: &Settings,
    announced: Announced,
    is_news: bool,
    expectations: Expectations,
    mut fragments: mpsc::Receiver<Fragment>,
) -> Result<Option<(Outcome, Uid)>, ArchiveError> {
    let archive = archive.open(settings)?;
    let mut incoming = match is_news {
        true => archive.acquire(announced)?,
        false => archive.receive(announced)?,
    };
    incoming = incoming.checked_by(move |object| expectations.check(object));
    while let Some(fragment) = fragments.blocking_recv() {
        match fragment {
            Fragment::Bytes(bytes) => incoming.write(&bytes)?,
            Fragment::End => return incoming.finish_of_study().map(Some),
        }
    }
    Ok(None)
}

/// Whose objects the retrieves that are open from a station wait for.
struct Expectations {
    store: SharedStore,
    source: StationName,
    cross_reference: Arc<CrossReference>,
}

impl Expectations {
    /// Whether an object is what a retrieve from its sender waits for; any is where none is open of its study.
    fn check(&self, object: &ObjectIdentity) -> Result<(), AsideReason> {
        let study = &object.study_instance_uid;
        let expected = self
            .store
            .with_blocking(|store| store.expected_patients(study, &self.source, Timestamp::now()));
        let expected = match expected {
            Ok(expected) => expected,
            Err(error) => {
                // What can't be looked up is not let through as the right patient's.
                tracing::warn!(
                    "what is expected of {} can't be read: {}",
                    self.source,
                    chain(&error)
                );
                return Err(AsideReason::Unknown);
            }
        };
        let announced = (&object.sop_class_uid, &object.sop_instance_uid);
        expected.iter().try_for_each(|patient| {
            let gate = Gate::new(
                study.clone(),
                patient,
                Arc::default(),
                Arc::clone(&self.cross_reference),
            );
            gate.check(announced, object)
        })
    }
}

fn status_of(error: &ArchiveError) -> Status {
    match error {
        ArchiveError::NotCommitted(cause) => status_of(cause),
        ArchiveError::Full(_) => Status::OUT_OF_RESOURCES,
        ArchiveError::Contradiction(_) | ArchiveError::NoPlace(_) => Status::DOES_NOT_MATCH_SOP_CLASS,
        ArchiveError::Unreadable(_) => Status::UNABLE_TO_PROCESS,
        _ => Status::PROCESSING_FAILURE,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn storage_classes_are_told_from_others() {
        let is = |uid: &str| is_storage(&uid.parse().unwrap());
        assert!(
            is("1.2.840.10008.5.1.4.1.1.2") && is("1.2.840.10008.5.1.4.34.7") && is("1.3.12.2.1107.5.9.1")
        );
        assert!(!is("1.2.840.10008.5.1.4.1.2.1.2") && !is("1.2.840.10008.5.1.4.31"));
        assert!(!is(uids::CLUSTER_UPDATE) && !is(uids::LINKED_CLUSTER_QUERY));
    }

    #[test]
    fn a_full_disk_is_told_as_such_also_where_it_spoiled_a_commit() {
        let full = ArchiveError::NotCommitted(ArchiveError::Full("archive".into()).into());
        assert_eq!(status_of(&full), Status::OUT_OF_RESOURCES);
        assert_eq!(status_of(&ArchiveError::Closing), Status::PROCESSING_FAILURE);
    }
}

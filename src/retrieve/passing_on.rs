//! Objects of a C-GET, passed on by C-STORE to an archive station that is not embedded.
//!
//! Invariants: an object is passed on as it comes, fragment by fragment, in the transfer syntax it came in. The source
//! gets the status that the archive has given.

use std::collections::BTreeSet;
use std::time::Duration;

use super::RetrieveRequest;
use super::line::{Line, Trouble, tell};
use crate::dimse::{Error, GotObject, ObjectFlow, ProposedObjects, Status, StatusClass, StoreObject};
use crate::model::{Station, Uid};

/// What takes the objects of a source.
#[derive(Debug)]
pub(super) struct PassingOn<'r> {
    request: &'r RetrieveRequest,
    archive: &'r Station,
    line: Line,
    /// What the archive has taken.
    pub(super) got: BTreeSet<Uid>,
    /// Why it did not take an object.
    pub(super) detail: Option<String>,
}

impl<'r> PassingOn<'r> {
    /// Opens an association with the archive for objects of these kinds.
    pub(super) async fn open(
        request: &'r RetrieveRequest,
        archive: &'r Station,
        kinds: &[ProposedObjects],
    ) -> Result<Self, Trouble> {
        let sent = kinds.iter().map(|kind| ProposedObjects {
            flow: ObjectFlow::Sent,
            ..kind.clone()
        });
        let line = super::line::open(request, archive, &[], sent.collect()).await;
        let line = line.map_err(|detail| Trouble::Destination(format!("{}: {detail}", archive.name)))?;
        Ok(PassingOn {
            request,
            archive,
            line,
            got: BTreeSet::new(),
            detail: None,
        })
    }

    /// Those of the kinds that the archive takes.
    pub(super) fn taken(&self, kinds: Vec<ProposedObjects>) -> Vec<ProposedObjects> {
        let contexts = self.line.association.sending_contexts();
        let is_taken = |kind: &ProposedObjects| {
            contexts.iter().any(|context| {
                context.sop_class_uid == kind.sop_class_uid
                    && kind.transfer_syntax_uids.contains(&context.transfer_syntax_uid)
            })
        };
        kinds.into_iter().filter(is_taken).collect()
    }

    /// Passes one object on and answers it; how many bytes it had. An outer error is the archive's, an inner one the
    /// source's.
    pub(super) async fn take(
        &mut self,
        mut object: GotObject<'_>,
        within: Duration,
    ) -> Result<Result<u64, Error>, Trouble> {
        let (request, archive) = (self.request, self.archive);
        let failed = |error: Error| {
            Trouble::Destination(format!("{}: {}", archive.name, tell(request, archive, &error)))
        };
        let kind = &object.announced.context;
        let uid = object.announced.sop_instance_uid.clone();
        let association = &mut self.line.association;
        let context = association.sending_context(&kind.sop_class_uid, &kind.transfer_syntax_uid);
        let Some(context) = context.cloned() else {
            return Ok(object
                .answer(Status::SOP_CLASS_NOT_SUPPORTED, within)
                .await
                .map(|()| 0));
        };
        let stored = StoreObject {
            sop_instance_uid: uid.clone(),
            priority: 0,
            move_originator: None,
        };
        let mut store = association.store(&context, &stored).map_err(failed)?;
        let mut length = 0;
        loop {
            match object.next(within).await {
                Ok(Some(bytes)) => {
                    length += bytes.len() as u64;
                    store.send(&bytes).await.map_err(failed)?;
                }
                Ok(None) => break,
                // The archive must not take a part for the whole.
                Err(error) => {
                    self.line.association.abort().await;
                    return Ok(Err(error));
                }
            }
        }
        let status = store.finish(archive.timeout).await.map_err(failed)?;
        match status.class() {
            StatusClass::Success | StatusClass::Warning => {
                self.got.insert(uid);
            }
            _ => self.detail = Some(format!("{} did not take an object: {status}", archive.name)),
        }
        Ok(object.answer(status, within).await.map(|()| length))
    }

    /// Ends the association.
    pub(super) async fn close(&mut self) {
        // What was passed on has been answered, whatever the archive makes of the release.
        let _ = self.line.association.release().await;
    }
}

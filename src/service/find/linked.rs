//! What this cluster adds to its answers in the linked syntax, and what it says of itself at level `CLUSTER`.
//!
//! Invariant: only a linked caller gets here. What is not known is left empty.

use dicom_dictionary_std::tags;
use jiff::Timestamp;

use crate::dimse::charset::Decoder;
use crate::dimse::{DataSet, FindEnd, FindRequest, FindResponder, Status, trim_padding};
use crate::link::linked_syntax::{
    CLUSTER_LEVEL, ClusterAnswer, ClusterStation, LinkedAttributes, own_cluster_name,
};
use crate::link::mapped;
use crate::model::{ClusterName, MappingTable, Station, StudyAnswer, Uid};
use crate::service::{Service, Snapshot};

/// The local cluster, as it appears in each of its answers.
pub(super) struct LocalCluster<'a> {
    name: Option<ClusterName>,
    uid: &'a Uid,
    mapping: &'a MappingTable,
}

impl<'a> LocalCluster<'a> {
    pub(super) fn new(service: &'a Service, snapshot: &'a Snapshot) -> Self {
        LocalCluster {
            name: own_cluster_name(snapshot.settings()),
            uid: &service.cluster_uid,
            mapping: snapshot.configuration().mapping_in_force(),
        }
    }

    /// What is added to the answer of a station of ours about a study.
    pub(super) fn attributes(
        &self,
        study: &StudyAnswer,
        data_set: &DataSet,
        decoder: &Decoder,
    ) -> LinkedAttributes {
        let mapped = mapped(self.mapping, study, data_set, decoder);
        LinkedAttributes {
            interpretation_status: study.interpretation_status.clone(),
            best_study_location: study.availability,
            specialty: mapped.specialty().map(str::to_owned),
            body_part: mapped.body_part().map(str::to_owned),
            verification: study.verification,
            cluster_name: self.name.clone(),
            cluster_uid: Some(self.uid.clone()),
            global_patient_id: study.global_patient_id.clone(),
        }
    }

    /// What it says of itself.
    pub(super) fn answer(&self, snapshot: &Snapshot) -> ClusterAnswer {
        let stations = snapshot.configuration().stations.iter();
        ClusterAnswer {
            name: self.name.clone(),
            uid: self.uid.clone(),
            software_version: env!("CARGO_PKG_VERSION").to_owned(),
            stations: stations.map(told).collect(),
            vocabulary_digest: self.mapping.vocabulary_digest(),
            prefetch_rule_digest: snapshot.configuration().prefetch_rules_in_force().digest(),
            clock: Timestamp::now(),
        }
    }
}

/// Answers a query at level `CLUSTER`, once.
pub(super) async fn tell_of_cluster(
    service: &Service,
    snapshot: &Snapshot,
    request: &FindRequest,
    responder: &FindResponder,
) -> FindEnd {
    let answer = LocalCluster::new(service, snapshot).answer(snapshot);
    let written = answer.to_builder().encode(request.context.transfer_syntax);
    let status = match written {
        Ok(identifier) => {
            // A caller that is gone misses its answer, and nobody else does.
            let _ = responder.give(Status::PENDING, identifier).await;
            Status::SUCCESS
        }
        Err(_) => Status::UNABLE_TO_PROCESS,
    };
    FindEnd {
        status,
        comment: None,
        offending_elements: Vec::new(),
    }
}

/// Whether an identifier asks for the cluster itself.
pub(super) fn asks_for_cluster(identifier: &DataSet) -> bool {
    let level = identifier.element(tags::QUERY_RETRIEVE_LEVEL).unwrap_or_default();
    trim_padding(level) == CLUSTER_LEVEL.as_bytes()
}

fn told(station: &Station) -> ClusterStation {
    let endpoint = station.endpoint.as_ref();
    ClusterStation {
        name: station.name.to_string(),
        ae_title: station.ae_title.to_string(),
        host: endpoint.map_or(String::new(), |endpoint| endpoint.host.to_string()),
        port: endpoint.map(|endpoint| endpoint.port.get()),
    }
}

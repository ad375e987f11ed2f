//! What is asked of a source: which objects may come, and which are wanted.
//!
//! Invariant: each kind of object is one SOP class in one transfer syntax, so that a source sends it as it has it.

use std::collections::BTreeSet;

use dicom_core::VR;
use dicom_dictionary_std::tags;

use super::Source;
use super::delivery::Delivery;
use super::destination::ObjectKind;
use crate::dimse::{DataSetBuilder, MAX_CONTEXTS};
use crate::link::retrieve::{SOP_CLASSES, TRANSFER_SYNTAXES};
use crate::model::Uid;

/// Contexts that are no objects': those of the requests.
const OTHERS: usize = 2;
/// How many instances are named in one request.
const INSTANCES_AT_ONCE: usize = 100;

/// The kinds of objects that may come: its SOP classes, in as many transfer syntaxes as can be proposed.
pub(super) fn kinds(source: &Source<'_>) -> Vec<ObjectKind> {
    let instances = source
        .holding
        .instances
        .iter()
        .flat_map(|instances| instances.values());
    let told: BTreeSet<Option<Uid>> = instances.map(|it| it.sop_class_uid.clone()).collect();
    let mut classes: Vec<Uid> = told.iter().flatten().cloned().collect();
    if told.is_empty() || told.contains(&None) {
        let usual = SOP_CLASSES.iter().filter_map(|uid| uid.parse().ok());
        classes.extend(usual.filter(|uid| !told.contains(&Some(Uid::clone(uid)))));
    }
    let syntaxes = TRANSFER_SYNTAXES.iter().filter_map(|uid| uid.parse::<Uid>().ok());
    let kinds = syntaxes.flat_map(|syntax| {
        let with = move |class: &Uid| (class.clone(), syntax.clone());
        classes.iter().map(with).collect::<Vec<_>>()
    });
    kinds.take(MAX_CONTEXTS - OTHERS).collect()
}

/// What is asked of a source: all it has, where that is all wanted, else the instances by name.
pub(super) fn requests(source: &Source<'_>, delivery: &Delivery<'_, '_>) -> Vec<DataSetBuilder> {
    let study = source.study.uid.as_str();
    let at = |level: &str| {
        DataSetBuilder::new()
            .put(tags::QUERY_RETRIEVE_LEVEL, VR::CS, level)
            .put(tags::STUDY_INSTANCE_UID, VR::UI, study)
    };
    let Some(instances) = &source.holding.instances else {
        let asked = source.asked;
        return vec![match (asked.series.as_slice(), asked.instances.as_slice()) {
            ([], []) => at("STUDY"),
            (series, []) => at("SERIES").put(tags::SERIES_INSTANCE_UID, VR::UI, list(series)),
            (series, instances) => at("IMAGE")
                .put(tags::SERIES_INSTANCE_UID, VR::UI, list(series))
                .put(tags::SOP_INSTANCE_UID, VR::UI, list(instances)),
        }];
    };
    let wanted: Vec<(&Uid, Option<&Uid>)> = instances
        .iter()
        .filter(|(uid, _)| delivery.wants(uid))
        .map(|(uid, instance)| (uid, instance.series_instance_uid.as_ref()))
        .collect();
    if wanted.len() == source.holding.in_all {
        return vec![at("STUDY")];
    }
    let series: BTreeSet<Option<&Uid>> = wanted.iter().map(|(_, series)| *series).collect();
    let of_series = |series: Option<&Uid>| {
        let instances: Vec<Uid> = wanted
            .iter()
            .filter(|(_, of)| *of == series)
            .map(|(uid, _)| (*uid).clone())
            .collect();
        let parents = at("IMAGE").put(tags::SERIES_INSTANCE_UID, VR::UI, series.map_or("", Uid::as_str));
        let parts = instances.chunks(INSTANCES_AT_ONCE);
        let parts = parts.map(|part| parents.clone().put(tags::SOP_INSTANCE_UID, VR::UI, list(part)));
        parts.collect::<Vec<_>>()
    };
    series.into_iter().flat_map(of_series).collect()
}

fn list(uids: &[Uid]) -> String {
    let uids: Vec<&str> = uids.iter().map(Uid::as_str).collect();
    uids.join("\\")
}

//! What is asked of a source: the whole study, whole series, or lists of instances.
//!
//! Invariant: pure. What is asked for covers what is lacking, and nothing that is there unless it comes with a whole.

use std::collections::{BTreeMap, BTreeSet};

use dicom_core::VR;
use dicom_dictionary_std::tags;

use super::Scope;
use super::copies::{Copy, Instance};
use crate::dimse::{DataSet, DataSetBuilder, EncodeError, TransferSyntax};
use crate::model::Uid;

/// The most UIDs in one key: below the limit of a value in explicit VR, and of what peers are known to take.
const MAX_UIDS: usize = 100;

/// One request of C-MOVE or C-GET.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wanted {
    /// All of the study.
    Study,
    /// All of one series.
    Series(Uid),
    /// Instances of one series, where it is known.
    Instances(Option<Uid>, Vec<Uid>),
}

/// The requests that bring `lacking` from `copy`.
pub(super) fn requests(copy: &Copy, lacking: &BTreeSet<Uid>, scope: &Scope) -> Vec<Wanted> {
    if !copy.is_whole {
        // What it lists may not be all: the whole is asked for, and what is there comes once more.
        match scope {
            Scope::Study => return vec![Wanted::Study],
            Scope::Series(series) => return series.iter().cloned().map(Wanted::Series).collect(),
            Scope::Instances(_) => {}
        }
    }
    // Where nothing is listed, the whole is all that can be asked for.
    let is_whole = copy.is_whole || copy.instances.is_empty();
    wanted_of(&copy.instances, is_whole, |uid| lacking.contains(uid))
}

/// The requests for what is wanted of these instances: for the whole study or a whole series where that is all wanted, and
/// the list `is_whole`; else more would come than is wanted.
pub fn wanted_of(
    listed: &BTreeMap<Uid, Instance>,
    is_whole: bool,
    is_wanted: impl Fn(&Uid) -> bool,
) -> Vec<Wanted> {
    let mut by_series: BTreeMap<&Uid, (usize, Vec<Uid>)> = BTreeMap::new();
    for (uid, instance) in listed {
        let (count, wanted) = by_series.entry(&instance.series).or_default();
        *count += 1;
        if is_wanted(uid) {
            wanted.push(uid.clone());
        }
    }
    let is_all = |(count, wanted): &(usize, Vec<Uid>)| is_whole && wanted.len() == *count;
    if is_whole && by_series.values().all(is_all) {
        return vec![Wanted::Study];
    }
    by_series
        .into_iter()
        .flat_map(|(series, of_series)| match is_all(&of_series) {
            true => vec![Wanted::Series(series.clone())],
            false => of_series
                .1
                .chunks(MAX_UIDS)
                .map(|chunk| Wanted::Instances(Some(series.clone()), chunk.to_vec()))
                .collect(),
        })
        .collect()
}

impl Wanted {
    /// The identifier of the request; `patient_id` where the model is Patient Root.
    pub fn identifier(
        &self,
        study: &Uid,
        patient_id: Option<&str>,
        syntax: TransferSyntax,
    ) -> Result<DataSet, EncodeError> {
        let (level, series, instances) = match self {
            Wanted::Study => ("STUDY", None, None),
            Wanted::Series(series) => ("SERIES", Some(series.as_str()), None),
            Wanted::Instances(series, instances) => {
                let series = series.as_ref().map_or("", Uid::as_str);
                ("IMAGE", Some(series), Some(instances))
            }
        };
        let mut keys = DataSetBuilder::new()
            .put(tags::QUERY_RETRIEVE_LEVEL, VR::CS, level)
            .put(tags::STUDY_INSTANCE_UID, VR::UI, study.as_str());
        if let Some(series) = series {
            keys = keys.put(tags::SERIES_INSTANCE_UID, VR::UI, series);
        }
        if let Some(instances) = instances {
            let list: Vec<&str> = instances.iter().map(Uid::as_str).collect();
            keys = keys.put(tags::SOP_INSTANCE_UID, VR::UI, list.join("\\"));
        }
        if let Some(patient_id) = patient_id {
            keys = keys.put(tags::PATIENT_ID, VR::LO, patient_id);
        }
        keys.encode(syntax)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn uid(text: &str) -> Uid {
        text.parse().unwrap()
    }

    fn copy(instances: &[(&str, &str)]) -> Copy {
        let instance = |series| Instance {
            series: uid(series),
            sop_class_uid: None,
        };
        let instances = instances.iter().map(|(series, it)| (uid(it), instance(series)));
        Copy {
            station: 0,
            instances: instances.collect(),
            is_whole: true,
            count: None,
            patient_id: crate::model::PatientId {
                id: String::new(),
                domain: crate::model::IssuerDomain::Inferred("SITEB".parse().unwrap()),
            },
        }
    }

    #[test]
    fn as_much_is_asked_for_at_once_as_is_lacking() {
        let copy = copy(&[("1", "1.1"), ("1", "1.2"), ("2", "2.1"), ("2", "2.2")]);
        let asked = |lacking: &[&str]| {
            let lacking = lacking.iter().map(|it| uid(it)).collect();
            requests(&copy, &lacking, &Scope::Study)
        };
        assert_eq!(asked(&["1.1", "1.2", "2.1", "2.2"]), [Wanted::Study]);
        let some = Wanted::Instances(Some(uid("1")), vec![uid("1.2")]);
        assert_eq!(asked(&["1.2", "2.1", "2.2"]), [some, Wanted::Series(uid("2"))]);
        assert_eq!(asked(&[]), []);
    }

    #[test]
    fn many_instances_are_asked_for_in_several_lists() {
        let uids: Vec<String> = (0..250).map(|number| format!("1.{number}")).collect();
        let copy = copy(&uids.iter().map(|it| ("1", it.as_str())).collect::<Vec<_>>());
        let lacking = uids.iter().skip(1).map(|it| uid(it)).collect();
        let lists = requests(&copy, &lacking, &Scope::Study);
        let lengths = lists.iter().map(|list| match list {
            Wanted::Instances(_, uids) => uids.len(),
            other => panic!("{other:?}"),
        });
        assert_eq!(lengths.collect::<Vec<_>>(), [100, 100, 49]);
    }

    #[test]
    fn a_listing_that_may_lack_something_is_not_relied_on() {
        let mut copy = copy(&[("1", "1.1")]);
        copy.is_whole = false;
        assert_eq!(requests(&copy, &BTreeSet::new(), &Scope::Study), [Wanted::Study]);
        let series = Scope::Series(vec![uid("2")]);
        assert_eq!(
            requests(&copy, &BTreeSet::new(), &series),
            [Wanted::Series(uid("2"))]
        );
        let instances = Scope::Instances([uid("1.1")].into());
        assert_eq!(
            requests(&copy, &[uid("1.1")].into(), &instances),
            [Wanted::Instances(Some(uid("1")), vec![uid("1.1")])]
        );
    }
}

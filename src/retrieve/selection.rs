//! What a request to a source names: the whole study, whole series, or lists of instances.
//!
//! Invariant: pure. Requests cover what is wanted, and nothing else unless it comes with a whole.

use std::collections::BTreeMap;

use dicom_core::VR;
use dicom_dictionary_std::tags;

use super::copies::Copy;
use super::{Instance, Scope};
use crate::dimse::{DataSet, DataSetBuilder, EncodeError, TransferSyntax};
use crate::model::Uid;

/// The most UIDs in one key: below the limit of a value in explicit VR, and of what peers are known to take.
const MAX_UIDS: usize = 100;

/// What one C-MOVE or C-GET request names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Selection {
    /// All of the study.
    Study,
    /// All of one series.
    Series(Uid),
    /// Instances of one series, where it is known.
    Instances(Option<Uid>, Vec<Uid>),
}

/// The requests that bring what is wanted from a copy. Where it may have more than it lists, they are for what was asked
/// for, unless only what is asked for by name can be taken (`by_name`); instances that it does not list are asked for in
/// `series`.
pub(super) fn requests(
    copy: &Copy,
    scope: &Scope,
    series: Option<&Uid>,
    by_name: bool,
    wants: impl Fn(&Uid) -> bool,
) -> Vec<Selection> {
    if copy.is_whole() || by_name && !copy.instances.is_empty() {
        return selections(&copy.instances, copy.is_whole(), wants);
    }
    match scope {
        Scope::Study => vec![Selection::Study],
        Scope::Series(series) => series.iter().cloned().map(Selection::Series).collect(),
        Scope::Instances(instances) => {
            let mut selected = selections(&copy.instances, false, &wants);
            let unlisted = instances
                .iter()
                .filter(|uid| !copy.instances.contains_key(uid) && wants(uid));
            let unlisted: Vec<Uid> = unlisted.cloned().collect();
            let lists = unlisted.chunks(MAX_UIDS);
            selected.extend(lists.map(|list| Selection::Instances(series.cloned(), list.to_vec())));
            selected
        }
    }
}

/// The requests for what is wanted of these instances: for the whole study or a whole series where that is all wanted, and
/// the list `is_whole`; else more would come than is wanted.
fn selections(
    listed: &BTreeMap<Uid, Instance>,
    is_whole: bool,
    is_wanted: impl Fn(&Uid) -> bool,
) -> Vec<Selection> {
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
        return vec![Selection::Study];
    }
    by_series
        .into_iter()
        .flat_map(|(series, of_series)| match is_all(&of_series) {
            true => vec![Selection::Series(series.clone())],
            false => of_series
                .1
                .chunks(MAX_UIDS)
                .map(|chunk| Selection::Instances(Some(series.clone()), chunk.to_vec()))
                .collect(),
        })
        .collect()
}

impl Selection {
    /// The identifier of the request; `patient_id` where the model is Patient Root.
    pub(super) fn identifier(
        &self,
        study: &Uid,
        patient_id: Option<&str>,
        syntax: TransferSyntax,
    ) -> Result<DataSet, EncodeError> {
        let (level, series, instances) = match self {
            Selection::Study => ("STUDY", None, None),
            Selection::Series(series) => ("SERIES", Some(series.as_str()), None),
            Selection::Instances(series, instances) => {
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
    use std::collections::BTreeSet;

    use super::*;
    use crate::retrieve::copies::Listing;

    fn uid(text: &str) -> Uid {
        text.parse().unwrap()
    }

    fn copy(instances: &[(&str, &str)]) -> Copy {
        let instance = |series| Instance {
            series: uid(series),
            sop_class_uid: None,
        };
        let instances = instances.iter().map(|(series, it)| (uid(it), instance(series)));
        Copy::example(instances.collect())
    }

    fn of(copy: &Copy, scope: &Scope, lacking: &[&str]) -> Vec<Selection> {
        let lacking: BTreeSet<Uid> = lacking.iter().map(|it| uid(it)).collect();
        requests(copy, scope, None, false, |uid| lacking.contains(uid))
    }

    #[test]
    fn as_much_is_asked_for_at_once_as_is_lacking() {
        let copy = copy(&[("1", "1.1"), ("1", "1.2"), ("2", "2.1"), ("2", "2.2")]);
        let asked = |lacking: &[&str]| of(&copy, &Scope::Study, lacking);
        assert_eq!(asked(&["1.1", "1.2", "2.1", "2.2"]), [Selection::Study]);
        let some = Selection::Instances(Some(uid("1")), vec![uid("1.2")]);
        assert_eq!(asked(&["1.2", "2.1", "2.2"]), [some, Selection::Series(uid("2"))]);
        assert_eq!(asked(&[]), []);
    }

    #[test]
    fn many_instances_are_asked_for_in_several_lists() {
        let uids: Vec<String> = (0..250).map(|number| format!("1.{number}")).collect();
        let copy = copy(&uids.iter().map(|it| ("1", it.as_str())).collect::<Vec<_>>());
        let lacking: Vec<&str> = uids.iter().skip(1).map(String::as_str).collect();
        let lists = of(&copy, &Scope::Study, &lacking);
        let lengths = lists.iter().map(|list| match list {
            Selection::Instances(_, uids) => uids.len(),
            other => panic!("{other:?}"),
        });
        assert_eq!(lengths.collect::<Vec<_>>(), [100, 100, 49]);
    }

    #[test]
    fn a_listing_that_may_lack_something_is_not_relied_on() {
        let mut copy = copy(&[("1", "1.1")]);
        copy.listing = Listing::Short;
        assert_eq!(of(&copy, &Scope::Study, &[]), [Selection::Study]);
        let series = Scope::Series([uid("2")].into());
        assert_eq!(of(&copy, &series, &[]), [Selection::Series(uid("2"))]);
        let instances = Scope::Instances([uid("1.1"), uid("1.2")].into());
        assert_eq!(
            of(&copy, &instances, &["1.1", "1.2"]),
            [
                Selection::Instances(Some(uid("1")), vec![uid("1.1")]),
                Selection::Instances(None, vec![uid("1.2")])
            ]
        );
    }
}

//! What the identifier of a C-MOVE or C-GET asks for (PS3.4 C.4.2.1.4 and C.4.3.1.3).
//!
//! Invariant: the unique keys of the level and of those above it are there; of the levels above it, one value each.

use dicom_dictionary_std::tags;

use crate::dimse::{DataSet, RetrieveRequest, trim_padding, uids};
use crate::model::{PatientIdKey, Query, Uid};
use crate::retrieve::Scope;

/// What is asked for.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct RetrieveKeys {
    /// In Patient Root.
    pub(super) patient_id: Option<PatientIdKey>,
    /// Empty for all studies of the patient.
    pub(super) studies: Vec<Uid>,
    /// Empty for all of the study.
    pub(super) series: Vec<Uid>,
    /// Empty for all of the series.
    pub(super) instances: Vec<Uid>,
}

impl RetrieveKeys {
    /// Reads the identifier; the error says what is wrong with it.
    pub(super) fn read(request: &RetrieveRequest) -> Result<Self, &'static str> {
        let identifier = &request.identifier;
        let model = request.context.abstract_syntax.as_str();
        let is_patient_root = matches!(model, uids::PATIENT_ROOT_MOVE | uids::PATIENT_ROOT_GET);
        let mut keys = RetrieveKeys {
            patient_id: None,
            studies: Vec::new(),
            series: Vec::new(),
            instances: Vec::new(),
        };
        if is_patient_root {
            keys.patient_id = Some(patient_id(identifier).ok_or("Patient Root needs a patient ID")?);
        }
        let level = identifier.element(tags::QUERY_RETRIEVE_LEVEL).unwrap_or_default();
        let depth = match trim_padding(level) {
            b"PATIENT" if is_patient_root => return Ok(keys),
            b"STUDY" => 1,
            b"SERIES" => 2,
            b"IMAGE" => 3,
            _ => return Err("no level of this information model"),
        };
        let lists = [
            (tags::STUDY_INSTANCE_UID, &mut keys.studies),
            (tags::SERIES_INSTANCE_UID, &mut keys.series),
            (tags::SOP_INSTANCE_UID, &mut keys.instances),
        ];
        for (place, (tag, list)) in (1..=depth).zip(lists) {
            *list = uid_list(identifier.element(tag).unwrap_or_default()).ok_or("a UID that is none")?;
            // The series of an instance is left out by some, and is not needed to find it.
            let may_lack = place == 2 && depth == 3;
            match list.len() {
                0 if !may_lack => return Err("a unique key is missing"),
                2.. if place < depth => return Err("several values above the level asked for"),
                _ => {}
            }
        }
        Ok(keys)
    }

    /// What of it makes a query.
    pub(super) fn query(&self) -> Query {
        Query {
            patient_id: self.patient_id.clone(),
            study_uids: self.studies.clone(),
            ..Query::default()
        }
    }

    /// What is asked for of each study.
    pub(super) fn scope(&self) -> Scope {
        match (&self.series[..], &self.instances[..]) {
            ([], []) => Scope::Study,
            (series, []) => Scope::Series(series.iter().cloned().collect()),
            (_, instances) => Scope::Instances(instances.iter().cloned().collect()),
        }
    }
}

fn patient_id(identifier: &DataSet) -> Option<PatientIdKey> {
    let value = trim_padding(identifier.element(tags::PATIENT_ID)?);
    let id = std::str::from_utf8(value).ok()?;
    let issuer = identifier.element(tags::ISSUER_OF_PATIENT_ID).unwrap_or_default();
    let issuer = std::str::from_utf8(trim_padding(issuer)).ok()?;
    let is_unique = !id.is_empty() && !id.contains(['*', '?', '\\']);
    is_unique.then(|| PatientIdKey {
        id: id.to_owned(),
        issuer: issuer.parse().ok(),
    })
}

/// `None` where a value is no UID.
fn uid_list(value: &[u8]) -> Option<Vec<Uid>> {
    let text = std::str::from_utf8(trim_padding(value)).ok()?;
    let values = text.split('\\').filter(|uid| !uid.is_empty());
    values.map(|uid| uid.parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use dicom_core::{Tag, VR};

    use super::*;
    use crate::dimse::{Context, DataSetBuilder, RetrieveTo, TransferSyntax};

    fn read(model: &str, elements: &[(Tag, &str)]) -> Result<RetrieveKeys, &'static str> {
        let syntax = TransferSyntax::ImplicitVrLittleEndian;
        let builder = elements
            .iter()
            .fold(DataSetBuilder::new(), |builder, (tag, value)| {
                builder.put(*tag, VR::UI, *value)
            });
        RetrieveKeys::read(&RetrieveRequest {
            context: Context {
                id: 1,
                abstract_syntax: model.to_owned(),
                transfer_syntax: syntax,
            },
            identifier: builder.encode(syntax).unwrap(),
            message_id: 1,
            priority: 0,
            to: RetrieveTo::Caller,
        })
    }

    #[test]
    fn each_level_needs_its_keys_and_one_of_those_above() {
        use tags::{
            PATIENT_ID, QUERY_RETRIEVE_LEVEL as LEVEL, SERIES_INSTANCE_UID as SERIES,
            SOP_INSTANCE_UID as INSTANCE, STUDY_INSTANCE_UID as STUDY,
        };
        let study = |elements: &[(Tag, &str)]| read(uids::STUDY_ROOT_MOVE, elements);
        let patient = |elements: &[(Tag, &str)]| read(uids::PATIENT_ROOT_GET, elements);
        assert_eq!(
            study(&[(LEVEL, "STUDY"), (STUDY, "1.2\\1.3")])
                .unwrap()
                .studies
                .len(),
            2
        );
        let image = study(&[(LEVEL, "IMAGE"), (STUDY, "1.2"), (INSTANCE, "1.4\\1.5")]).unwrap();
        let scope = image.scope();
        let wants = |instance: &str| scope.takes(&"1.3".parse().unwrap(), &instance.parse().unwrap());
        assert!(wants("1.5") && !wants("1.6"));
        assert!(
            patient(&[(LEVEL, "PATIENT"), (PATIENT_ID, "4711")])
                .unwrap()
                .studies
                .is_empty()
        );
        for elements in [
            &[(LEVEL, "PATIENT"), (STUDY, "1.2")][..],
            &[(LEVEL, "STUDY")],
            &[(LEVEL, "STUDY"), (STUDY, "1.*")],
            &[(LEVEL, "SERIES"), (STUDY, "1.2\\1.3"), (SERIES, "1.4")],
            &[(LEVEL, "SERIES"), (SERIES, "1.4")],
            &[(STUDY, "1.2")],
        ] {
            assert!(study(elements).is_err(), "{elements:?}");
        }
        assert!(patient(&[(LEVEL, "STUDY"), (STUDY, "1.2")]).is_err());
        assert!(patient(&[(LEVEL, "PATIENT"), (PATIENT_ID, "47*")]).is_err());
    }
}

//! The JSON shapes of a query, on which scripts depend.
//!
//! Invariant: as CLI.md documents them; absent is null. Dates and times are ISO 8601.

use jiff::Timestamp;
use jiff::civil::{Date, Time};
use serde::Serialize;

use crate::link::merge::{Conflict, Location, MergedStudy, Source};
use crate::model::{
    AeTitle, Availability, ImageAnswer, IssuerDomain, LedgerEntry, PatientId, SeriesAnswer, StudyAnswer, Uid,
};

/// The whole answer as one document.
#[derive(Debug, Serialize)]
pub struct QueryDocument<'a> {
    pub id: String,
    pub complete: bool,
    pub items: Vec<StudyView<'a>>,
    pub ledger: Vec<EntryView<'a>>,
}

/// STUDY.
#[derive(Debug, Serialize)]
pub struct StudyView<'a> {
    study_instance_uid: &'a Uid,
    #[serde(flatten)]
    patient: PatientView<'a>,
    issuer_inferred: bool,
    global_patient_id: Option<&'a str>,
    patient_birth_date: Option<Date>,
    patient_sex: Option<&'a str>,
    study_date: Option<Date>,
    study_time: Option<Time>,
    accession_number: Option<&'a str>,
    modalities: &'a [String],
    study_description: Option<&'a str>,
    referring_physician: Option<&'a str>,
    instances: Option<u32>,
    interpretation_status: Option<&'a str>,
    specialty: Option<&'a str>,
    body_part: Option<&'a str>,
    verified: Option<bool>,
    best_location: Option<BestLocationView<'a>>,
    locations: Vec<LocationView<'a>>,
    conflicts: Vec<ConflictView<'a>>,
    series: Vec<SeriesView<'a>>,
}

#[derive(Debug, Serialize)]
struct PatientView<'a> {
    patient_id: Option<&'a str>,
    issuer_of_patient_id: &'a str,
    patient_name: Option<&'a str>,
}

#[derive(Debug, Serialize)]
struct BestLocationView<'a> {
    station: &'a str,
    availability: Option<&'static str>,
    instances: Option<u32>,
    /// `None` where another copy may be larger.
    whole: Option<bool>,
}

#[derive(Debug, Serialize)]
struct LocationView<'a> {
    station: &'a str,
    instances: Option<u32>,
    availability: Option<&'static str>,
    retrieve_ae_titles: &'a [AeTitle],
}

#[derive(Debug, Serialize)]
struct ConflictView<'a> {
    station: &'a str,
    #[serde(flatten)]
    patient: PatientView<'a>,
}

#[derive(Debug, Serialize)]
struct SeriesView<'a> {
    series_instance_uid: &'a Uid,
    modality: Option<&'a str>,
    series_number: Option<i32>,
    series_description: Option<&'a str>,
    body_part_examined: Option<&'a str>,
    instances: Option<u32>,
    images: Vec<ImageView<'a>>,
}

#[derive(Debug, Serialize)]
struct ImageView<'a> {
    sop_instance_uid: &'a Uid,
    sop_class_uid: Option<&'a Uid>,
    instance_number: Option<i32>,
}

/// ENTRY.
#[derive(Debug, Serialize)]
pub struct EntryView<'a> {
    station: &'a str,
    outcome: &'static str,
    matches: u64,
    filtered: u64,
    dropped: u64,
    elapsed_ms: u64,
    syntax: Option<&'static str>,
    dicom_status: Option<String>,
    unverified_keys: &'a [String],
    retry_at: Option<Timestamp>,
    detail: Option<String>,
}

/// A line of ndjson: a study at first sight.
#[derive(Debug, Serialize)]
pub struct StudyLine<'a> {
    r#type: &'static str,
    #[serde(flatten)]
    study: StudyView<'a>,
}

/// A line of ndjson: a further copy.
#[derive(Debug, Serialize)]
pub struct LocationLine<'a> {
    r#type: &'static str,
    study_instance_uid: &'a Uid,
    #[serde(flatten)]
    location: LocationView<'a>,
    series: Vec<SeriesView<'a>>,
}

/// A line of ndjson: the UID of a study seen before, with another patient.
#[derive(Debug, Serialize)]
pub struct ConflictLine<'a> {
    r#type: &'static str,
    study_instance_uid: &'a Uid,
    #[serde(flatten)]
    conflict: ConflictView<'a>,
}

/// A line of ndjson: a station's line in the ledger.
#[derive(Debug, Serialize)]
pub struct LedgerLine<'a> {
    r#type: &'static str,
    #[serde(flatten)]
    entry: EntryView<'a>,
}

/// The last line of ndjson.
#[derive(Debug, Serialize)]
pub struct EndLine {
    schema: u32,
    r#type: &'static str,
    id: String,
    complete: bool,
}

impl<'a> StudyView<'a> {
    /// The view of a merged study.
    pub fn of(merged: &'a MergedStudy, sources: &'a [Source]) -> Self {
        let at = |source: usize| sources.get(source);
        let locations = merged.locations.iter();
        let locations =
            locations.filter_map(|location| Some(LocationView::of(location, at(location.source)?)));
        let conflicts = merged.conflicts.iter();
        let conflicts =
            conflicts.filter_map(|conflict| Some(ConflictView::of(conflict, at(conflict.source)?)));
        let best = merged.best_location();
        Self::new(
            &merged.study,
            best.and_then(|best| {
                Some(BestLocationView::of(
                    best,
                    merged.is_whole(best),
                    at(best.source)?,
                ))
            }),
            locations.collect(),
            conflicts.collect(),
        )
    }

    fn new(
        study: &'a StudyAnswer,
        best_location: Option<BestLocationView<'a>>,
        locations: Vec<LocationView<'a>>,
        conflicts: Vec<ConflictView<'a>>,
    ) -> Self {
        StudyView {
            study_instance_uid: &study.study_instance_uid,
            patient: PatientView::of(&study.patient_id, study.patient_name.as_deref()),
            issuer_inferred: matches!(study.patient_id.domain, IssuerDomain::Inferred(_)),
            global_patient_id: study.global_patient_id.as_deref(),
            patient_birth_date: study.patient_birth_date,
            patient_sex: study.patient_sex.as_deref(),
            study_date: study.study_date,
            study_time: study.study_time,
            accession_number: study.accession_number.as_deref(),
            modalities: &study.modalities,
            study_description: study.study_description.as_deref(),
            referring_physician: study.referring_physician.as_deref(),
            instances: study.instances,
            interpretation_status: study.interpretation_status.as_deref(),
            specialty: study.specialty.as_deref(),
            body_part: study.body_part.as_deref(),
            verified: study.is_verified(),
            best_location,
            locations,
            conflicts,
            series: series(&study.series),
        }
    }
}

impl<'a> PatientView<'a> {
    fn of(patient: &'a PatientId, name: Option<&'a str>) -> Self {
        PatientView {
            patient_id: Some(patient.id.as_str()).filter(|id| !id.is_empty()),
            issuer_of_patient_id: match &patient.domain {
                IssuerDomain::Named(issuer) => issuer.as_str(),
                IssuerDomain::Inferred(station) => station.as_str(),
            },
            patient_name: name,
        }
    }
}

impl<'a> BestLocationView<'a> {
    fn of(location: &Location, is_whole: Option<bool>, source: &'a Source) -> Self {
        BestLocationView {
            station: source.station.as_str(),
            availability: location.availability.map(Availability::as_str),
            instances: location.instances,
            whole: is_whole,
        }
    }
}

impl<'a> LocationView<'a> {
    fn of(location: &'a Location, source: &'a Source) -> Self {
        LocationView {
            station: source.station.as_str(),
            instances: location.instances,
            availability: location.availability.map(Availability::as_str),
            retrieve_ae_titles: &location.retrieve_ae_titles,
        }
    }

    fn of_answer(study: &'a StudyAnswer, source: &'a Source) -> Self {
        LocationView {
            station: source.station.as_str(),
            instances: study.instances,
            availability: study.availability.map(Availability::as_str),
            retrieve_ae_titles: &study.retrieve_ae_titles,
        }
    }
}

impl<'a> ConflictView<'a> {
    fn of(conflict: &'a Conflict, source: &'a Source) -> Self {
        ConflictView {
            station: source.station.as_str(),
            patient: PatientView::of(&conflict.patient_id, conflict.patient_name.as_deref()),
        }
    }
}

fn series(all: &[SeriesAnswer]) -> Vec<SeriesView<'_>> {
    all.iter().map(SeriesView::of).collect()
}

impl<'a> SeriesView<'a> {
    fn of(series: &'a SeriesAnswer) -> Self {
        SeriesView {
            series_instance_uid: &series.series_instance_uid,
            modality: series.modality.as_deref(),
            series_number: series.series_number,
            series_description: series.series_description.as_deref(),
            body_part_examined: series.body_part_examined.as_deref(),
            instances: series.instances,
            images: series.images.iter().map(ImageView::of).collect(),
        }
    }
}

impl<'a> ImageView<'a> {
    fn of(image: &'a ImageAnswer) -> Self {
        ImageView {
            sop_instance_uid: &image.sop_instance_uid,
            sop_class_uid: image.sop_class_uid.as_ref(),
            instance_number: image.instance_number,
        }
    }
}

impl<'a> EntryView<'a> {
    /// The view of a line of the ledger.
    pub fn of(entry: &'a LedgerEntry) -> Self {
        EntryView {
            station: entry.station.as_str(),
            outcome: entry.outcome.as_str(),
            matches: entry.matches,
            filtered: entry.filtered,
            dropped: entry.dropped,
            elapsed_ms: u64::try_from(entry.elapsed.as_millis()).unwrap_or(u64::MAX),
            syntax: entry.syntax,
            dicom_status: entry.dicom_status.map(|status| format!("{status:04X}")),
            unverified_keys: &entry.unverified_keys,
            retry_at: entry.retry_at,
            detail: entry.shown_detail(),
        }
    }
}

impl<'a> StudyLine<'a> {
    /// The line of an answer that is the first of its study.
    pub fn new(study: &'a StudyAnswer, source: &'a Source) -> Self {
        let is_source = study.availability != Some(Availability::Unavailable);
        let best = is_source.then(|| BestLocationView {
            station: source.station.as_str(),
            availability: study.availability.map(Availability::as_str),
            instances: study.instances,
            whole: None,
        });
        let locations = vec![LocationView::of_answer(study, source)];
        StudyLine {
            r#type: "study",
            study: StudyView::new(study, best, locations, Vec::new()),
        }
    }
}

impl<'a> LocationLine<'a> {
    /// The line of a further copy.
    pub fn new(study: &'a StudyAnswer, source: &'a Source) -> Self {
        LocationLine {
            r#type: "location",
            study_instance_uid: &study.study_instance_uid,
            location: LocationView::of_answer(study, source),
            series: series(&study.series),
        }
    }
}

impl<'a> ConflictLine<'a> {
    /// The line of an answer with another patient.
    pub fn new(study: &'a StudyAnswer, source: &'a Source) -> Self {
        ConflictLine {
            r#type: "conflict",
            study_instance_uid: &study.study_instance_uid,
            conflict: ConflictView {
                station: source.station.as_str(),
                patient: PatientView::of(&study.patient_id, study.patient_name.as_deref()),
            },
        }
    }
}

impl<'a> LedgerLine<'a> {
    /// The line of a ledger entry.
    pub fn new(entry: &'a LedgerEntry) -> Self {
        LedgerLine {
            r#type: "ledger",
            entry: EntryView::of(entry),
        }
    }
}

impl EndLine {
    /// The last line.
    pub fn new(id: String, complete: bool) -> Self {
        EndLine {
            schema: 1,
            r#type: "end",
            id,
            complete,
        }
    }
}

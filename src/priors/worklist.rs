//! Who is scheduled, as a modality worklist SCP says (PS3.4 annex K).
//!
//! Invariants: an item without a study UID, or malformed, is counted and left out; so is one of another day or modality
//! than asked for, where the SCP ignores a key. A study is one patient's: an item that gives it another is counted and
//! left out. Every wait for the SCP has its deadline; at most [`MOST_ITEMS`] studies are taken, and not endlessly many
//! items read. What an item says of its study is what `relevance` needs of a study that is not there yet.

use dicom_core::{Tag, VR};
use dicom_dictionary_std::tags;

use crate::dimse::{
    Association, DataSet, DataSetBuilder, EncodeError, Error, FindEvent, PresentationContext, Status,
    StatusClass, connect, trim_padding, uids,
};
use crate::link::answer::{AnswerReader, date, time};
use crate::link::completeness::{FinalResponse, is_of_our_kind};
use crate::link::tls::LinkTls;
use crate::link::{Unaskable, association_failure, calling, requestor_options, status_ended};
use crate::model::{
    AeTitle, Configuration, DateRange, IssuerDomain, Station, StationName, StudyAnswer, StudyFacts,
};

/// How many studies are taken of one worklist.
pub const MOST_ITEMS: usize = 10_000;

/// How many items are read, also of other days and of studies that are known, where the SCP ignores keys.
const MOST_READ: usize = 100_000;

/// What of a worklist is asked for.
#[derive(Debug, Clone)]
pub struct WorklistQuestion {
    /// The days of the scheduled procedure steps.
    pub days: DateRange,
    /// Only steps of these modalities; all where empty.
    pub modalities: Vec<String>,
    /// Only steps at this modality (Scheduled Station AE Title).
    pub scheduled_station: Option<AeTitle>,
}

/// What a worklist says.
#[derive(Debug, Clone, Default)]
pub struct Worklist {
    /// The scheduled studies, each once, as they will be: of their steps they have the modalities and the earliest time.
    pub studies: Vec<StudyAnswer>,
    /// How many items could not be used: without study UID or patient ID, of another patient than its study, malformed.
    pub dropped: u64,
    /// Whether there may be more than were taken.
    pub is_truncated: bool,
    /// Why the answer may lack items, where it ended so that it may; without patient data.
    pub partial: Option<String>,
}

impl Worklist {
    /// Why the answer of `station` may not be the whole of its worklist, in words for each reason.
    pub fn shortfalls(&self, station: &StationName) -> impl Iterator<Item = String> {
        let truncated = self
            .is_truncated
            .then(|| format!("the worklist of {station} has more than is taken of it"));
        let partial = self.partial.as_ref();
        let partial = partial.map(|why| format!("the worklist of {station} may lack items: {why}"));
        let dropped = (self.dropped > 0).then(|| {
            format!(
                "{} items of the worklist of {station} could not be used",
                self.dropped
            )
        });
        truncated.into_iter().chain(partial).chain(dropped)
    }
}

/// Why a worklist could not be had.
#[derive(Debug, thiserror::Error)]
pub enum WorklistError {
    /// None is named, or there is no such station.
    #[error("no worklist station is named")]
    Unnamed,
    /// The station named is none of the configuration.
    #[error("there is no station {0} to be asked for its worklist")]
    Unknown(StationName),
    /// The station can't be asked.
    #[error("the worklist of {station} can't be asked")]
    Unaskable {
        /// Which.
        station: StationName,
        /// Why not.
        source: Unaskable,
    },
    /// The keys can't be written.
    #[error("the worklist can't be asked for that")]
    Keys(#[from] EncodeError),
    /// It did not answer, or not to the end.
    #[error("the worklist of {station} failed: {detail}")]
    Failed {
        /// Which.
        station: StationName,
        /// Why, without patient data.
        detail: String,
    },
}

/// The station whose worklist is asked: the one named, else that of `prefetch.worklist.station`.
pub fn worklist_station<'c>(
    configuration: &'c Configuration,
    named: Option<&StationName>,
) -> Result<&'c Station, WorklistError> {
    let set = configuration.settings.worklist_station();
    let name = named.or(set.as_ref()).ok_or(WorklistError::Unnamed)?;
    configuration
        .station(name)
        .ok_or_else(|| WorklistError::Unknown(name.clone()))
}

/// Asks `station` for its worklist.
pub async fn ask_worklist(
    configuration: &Configuration,
    station: &Station,
    tls: &LinkTls,
    question: &WorklistQuestion,
) -> Result<Worklist, WorklistError> {
    let settings = &configuration.settings;
    let unaskable = |source| WorklistError::Unaskable {
        station: station.name.clone(),
        source,
    };
    let endpoint = station
        .endpoint
        .as_ref()
        .ok_or(unaskable(Unaskable::NoEndpoint))?;
    let contexts = vec![PresentationContext::new(uids::MODALITY_WORKLIST_FIND)];
    let options = requestor_options(station, settings, tls, contexts).map_err(unaskable)?;
    let mut reading = Reading {
        configuration,
        station,
        question,
        reader: AnswerReader::new(station, settings.issuer().as_ref()),
        items: 0,
        worklist: Worklist::default(),
    };
    let failed = |detail| WorklistError::Failed {
        station: station.name.clone(),
        detail,
    };
    let of_peer = |error: Error| failed(association_failure(&error, station, &calling(station, settings)));
    let mut association = connect(endpoint, &options).await.map_err(of_peer)?;
    // Several alternatives in a key that is no UID are no key: one question for each.
    let mut modalities: Vec<&str> = question.modalities.iter().map(String::as_str).collect();
    if modalities.is_empty() {
        modalities.push("");
    }
    for modality in modalities {
        match reading.ask(&mut association, modality).await {
            Ok(()) if reading.worklist.is_truncated => break,
            Ok(()) => {}
            Err(interrupt) => {
                let detail = match interrupt {
                    Interrupt::Keys(error) => return Err(error.into()),
                    Interrupt::Peer(error) => {
                        association_failure(&error, station, &calling(station, settings))
                    }
                    Interrupt::Ended(status) => status_ended(status),
                };
                // What has come is used, whatever came after it.
                if reading.items == 0 {
                    return Err(failed(detail));
                }
                reading.worklist.partial.get_or_insert(detail);
                break;
            }
        }
    }
    // The answers are complete whatever the peer makes of the release.
    let _ = association.release().await;
    Ok(reading.worklist)
}

/// What ends a question before its end.
enum Interrupt {
    Keys(EncodeError),
    Peer(Error),
    Ended(Status),
}

impl From<Error> for Interrupt {
    fn from(error: Error) -> Self {
        Interrupt::Peer(error)
    }
}

struct Reading<'w> {
    configuration: &'w Configuration,
    station: &'w Station,
    question: &'w WorklistQuestion,
    reader: AnswerReader,
    /// How many have come.
    items: usize,
    worklist: Worklist,
}

impl Reading<'_> {
    async fn ask(&mut self, association: &mut Association, modality: &str) -> Result<(), Interrupt> {
        let context = association.context_for(uids::MODALITY_WORKLIST_FIND)?.clone();
        let identifier = identifier(self.question, modality)
            .encode(context.transfer_syntax)
            .map_err(Interrupt::Keys)?;
        let is_of_our_kind = is_of_our_kind(association.peer());
        let mut find = association.find(&context, &identifier).await?;
        loop {
            match find.next(self.station.timeout).await? {
                FindEvent::Match { identifier, .. } => self.take(&identifier),
                FindEvent::MalformedMatch(_) | FindEvent::MisplacedMatch => self.worklist.dropped += 1,
                FindEvent::Done(end) => {
                    let comments = self.station.success_comment;
                    let response =
                        FinalResponse::read(end.status, end.comment.is_some(), is_of_our_kind, comments);
                    if response.is_partial {
                        self.worklist.partial = response.remark;
                    }
                    return match end.status.class() {
                        StatusClass::Success | StatusClass::Warning => Ok(()),
                        _ => Err(Interrupt::Ended(end.status)),
                    };
                }
            }
            self.items += 1;
            if self.items >= MOST_READ || self.worklist.studies.len() >= MOST_ITEMS {
                self.worklist.is_truncated = true;
                // What comes all the same, the release passes over.
                return Ok(find.cancel().await?);
            }
        }
    }

    fn take(&mut self, item: &DataSet) {
        let Some(study) = self.read(item) else {
            self.worklist.dropped += 1;
            return;
        };
        if !self.was_asked_for(&study) {
            return;
        }
        let mut known = self.worklist.studies.iter_mut();
        match known.find(|known| known.study_instance_uid == study.study_instance_uid) {
            None => self.worklist.studies.push(study),
            Some(known) if known.patient_id != study.patient_id => self.worklist.dropped += 1,
            Some(known) => {
                let began = |study: &StudyAnswer| (study.study_date, study.study_time);
                let earlier = began(known).min(began(&study));
                (known.study_date, known.study_time) = earlier;
                let more = study.modalities.into_iter();
                let new: Vec<_> = more
                    .filter(|modality| !known.modalities.contains(modality))
                    .collect();
                known.modalities.extend(new);
            }
        }
    }

    /// The study of an item, with the attributes of its first scheduled procedure step.
    fn read(&mut self, item: &DataSet) -> Option<StudyAnswer> {
        let mut study = self.reader.study(item)?;
        if study.patient_id.id.is_empty() {
            return None;
        }
        if let (IssuerDomain::Inferred(_), Some(issuer)) =
            (&study.patient_id.domain, self.configuration.settings.issuer())
        {
            // The worklist is of this house unless its station or the item says otherwise.
            study.patient_id.domain = IssuerDomain::Named(issuer);
        }
        let decoder = self.reader.decoder();
        let text = |value: Option<&[u8]>, vr| {
            let text = decoder.decode(trim_padding(value?), vr);
            (!text.is_empty()).then(|| text.into_owned())
        };
        let step = item.items(tags::SCHEDULED_PROCEDURE_STEP_SEQUENCE).next()?;
        let of_step = |tag: Tag| step.clone().value(tag).map(trim_padding);
        study.study_date = of_step(tags::SCHEDULED_PROCEDURE_STEP_START_DATE).and_then(date);
        study.study_time = of_step(tags::SCHEDULED_PROCEDURE_STEP_START_TIME).and_then(time);
        study.modalities.clear();
        study.modalities.extend(text(of_step(tags::MODALITY), VR::CS));
        study.study_description = text(item.element(tags::REQUESTED_PROCEDURE_DESCRIPTION), VR::LO)
            .or_else(|| text(of_step(tags::SCHEDULED_PROCEDURE_STEP_DESCRIPTION), VR::LO));
        let codes = item.items(tags::REQUESTED_PROCEDURE_CODE_SEQUENCE);
        let codes: Vec<String> = codes
            .filter_map(|code| text(code.value(tags::CODE_VALUE), VR::SH))
            .collect();
        let mapped = self.configuration.mapping_in_force().compute(&StudyFacts {
            procedure_codes: &codes,
            description: study.study_description.as_deref(),
            modalities: &study.modalities,
            body_parts_examined: &[],
        });
        let (body_part, specialty) = (mapped.body_part(), mapped.specialty());
        study.body_part = body_part.map(str::to_owned);
        study.specialty = specialty.map(str::to_owned);
        Some(study)
    }

    /// Some worklists ignore keys.
    fn was_asked_for(&self, study: &StudyAnswer) -> bool {
        let asked = &self.question.modalities;
        let is_of_modality =
            |modality: &String| asked.iter().any(|asked| asked.eq_ignore_ascii_case(modality));
        study
            .study_date
            .is_none_or(|day| self.question.days.contains(day))
            && (asked.is_empty() || study.modalities.iter().any(is_of_modality))
    }
}

fn identifier(question: &WorklistQuestion, modality: &str) -> DataSetBuilder {
    let scheduled_station = question.scheduled_station.as_ref().map_or("", AeTitle::as_str);
    let step = DataSetBuilder::new()
        .put(tags::MODALITY, VR::CS, modality)
        .put(tags::SCHEDULED_STATION_AE_TITLE, VR::AE, scheduled_station)
        .put(
            tags::SCHEDULED_PROCEDURE_STEP_START_DATE,
            VR::DA,
            question.days.to_string(),
        )
        .put_empty(tags::SCHEDULED_PROCEDURE_STEP_START_TIME, VR::TM)
        .put_empty(tags::SCHEDULED_PROCEDURE_STEP_DESCRIPTION, VR::LO);
    let returned = [
        (tags::SPECIFIC_CHARACTER_SET, VR::CS),
        (tags::ACCESSION_NUMBER, VR::SH),
        (tags::PATIENT_NAME, VR::PN),
        (tags::PATIENT_ID, VR::LO),
        (tags::ISSUER_OF_PATIENT_ID, VR::LO),
        (tags::PATIENT_BIRTH_DATE, VR::DA),
        (tags::PATIENT_SEX, VR::CS),
        (tags::STUDY_INSTANCE_UID, VR::UI),
        (tags::REQUESTED_PROCEDURE_DESCRIPTION, VR::LO),
    ];
    let identifier = returned
        .into_iter()
        .fold(DataSetBuilder::new(), |keys, (tag, vr)| keys.put_empty(tag, vr));
    identifier
        .put_items(tags::REQUESTED_PROCEDURE_CODE_SEQUENCE, Vec::new())
        .put_items(tags::SCHEDULED_PROCEDURE_STEP_SEQUENCE, vec![step])
}

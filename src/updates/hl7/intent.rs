//! What a message wants: of a report, of a patient, or of two patients that are one.
//!
//! Invariants: pure. A patient is an ID with its issuer; what a message leaves out stays as it is, and `""` clears it.

use std::collections::BTreeMap;

use super::acknowledgement::Verdict;
use super::message::{Message, Part, Segment};
use crate::model::hl7::{FieldPath, FieldPaths, Hl7Settings, ReportCode};
use crate::model::{FieldValue, PatientIdKey, StateField, StudyPatient, Uid};

/// The segments that begin the next report of a message with several.
const ORDER: &str = "OBR";

/// Kinds of numbers that are a patient's also where they name no authority (HL7 table 0203).
const PATIENT_NUMBERS: [&str; 5] = ["", "MR", "PI", "PT", "PN"];

/// Kinds that are no patient ID, whoever assigns them: of accounts, visits, guarantors, payers, cards and documents.
const OTHER_NUMBERS: [&str; 22] = [
    "AC", "AM", "AN", "ANC", "AND", "ANT", "BA", "BC", "DI", "DL", "DS", "FI", "GN", "HC", "MA", "MC", "MS",
    "PPN", "SS", "TAX", "VN", "VS",
];

/// By what a study is found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StudyKey {
    /// Its UID.
    Uid(Uid),
    /// Its accession number.
    Accession(String),
}

/// What a message wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Intent {
    /// A report has come to this status.
    Report {
        /// Of which study.
        study: StudyKey,
        /// Whose it is, by all IDs that the message names; none where it names none.
        patients: Vec<StudyPatient>,
        /// The status.
        status: FieldValue,
        /// Whether it may take the report back.
        is_correction: bool,
    },
    /// A patient has these names and dates.
    Demographics {
        /// Who, by all IDs that the message names.
        patients: Vec<StudyPatient>,
        /// The fields with the values they are to have.
        wanted: BTreeMap<StateField, FieldValue>,
    },
    /// Two patients are one.
    Merge {
        /// The IDs that stay, one for each that was given up.
        surviving: Vec<StudyPatient>,
        /// Those that were given up.
        prior: Vec<StudyPatient>,
        /// All IDs of the patient who stays.
        named: Vec<StudyPatient>,
    },
}

/// What `message` wants; nothing where its codes say nothing, or its type is ignored. Else why it is refused.
pub fn intents(message: &Message<'_>, settings: &Hl7Settings) -> Result<Vec<Intent>, Verdict> {
    let processing = message.header(11);
    if !processing.is_empty() && !processing.starts_with('P') {
        return Err(Verdict::Rejected(format!(
            "processing ID {processing} is not taken here: only P"
        )));
    }
    let version = message.header(12);
    if !version.is_empty() && !version.starts_with("2.") {
        return Err(Verdict::Rejected(format!(
            "version {version} is not taken here: only 2.x"
        )));
    }
    if message.header(10).is_empty() {
        return Err(error("MSH-10 is empty: it has no control ID"));
    }
    let (kind, event) = message.kind();
    if settings.ignored.include(&kind, &event) {
        return Ok(Vec::new());
    }
    match (kind.as_str(), event.as_str()) {
        ("ORU", "R01") | ("ORM", "O01") | ("OMI", "O23") | ("OMG", "O19") => reports(message, settings),
        ("ADT", "A08" | "A31") => demographics(message, settings).map(|intent| vec![intent]),
        ("ADT", "A40") => merge(message, settings).map(|intent| vec![intent]),
        _ => Err(Verdict::Rejected(format!(
            "message type {kind}^{event} is not taken here (hl7.ignore)"
        ))),
    }
}

fn error(reason: impl Into<String>) -> Verdict {
    Verdict::Error(reason.into())
}

fn reports(message: &Message<'_>, settings: &Hl7Settings) -> Result<Vec<Intent>, Verdict> {
    let is_of_results = message.kind().0 == "ORU";
    let mut intents = Vec::new();
    let orders = orders(message)?;
    if orders.is_empty() {
        return Err(error("it has no order: neither ORC nor OBR"));
    }
    for order in &orders {
        let codes = found(&order.segments, &settings.status_fields);
        if codes.is_empty() && is_of_results {
            return Err(error(
                "no code of the report's status is in its fields (hl7.status_fields)",
            ));
        }
        let mut least: Option<(FieldValue, bool)> = None;
        for code in codes {
            match settings.codes.get(&code) {
                None => {
                    return Err(error(format!(
                        "the code {code} is not known: hl7.status says what codes are"
                    )));
                }
                Some(ReportCode::Nothing) => {}
                // A report is as far as the least of its results.
                Some(ReportCode::Status {
                    status,
                    is_correction,
                }) => {
                    if least
                        .as_ref()
                        .is_none_or(|(least, _)| status.status_rank() < least.status_rank())
                    {
                        least = Some((status.clone(), *is_correction));
                    }
                }
            }
        }
        let Some((status, is_correction)) = least else {
            continue;
        };
        let patients = match order.patient {
            Some(segment) => identities(segment.field(3), settings)?,
            None => Vec::new(),
        };
        // ZDS stands where it likes.
        let whole = (orders.len() == 1).then(|| message.segments().collect::<Vec<_>>());
        intents.push(Intent::Report {
            study: study(order, &whole.unwrap_or_default(), !patients.is_empty(), settings)?,
            patients,
            status,
            is_correction,
        });
    }
    Ok(intents)
}

/// An order of a message.
struct Order<'t> {
    /// Whose it is: the PID before it.
    patient: Option<Segment<'t>>,
    segments: Vec<Segment<'t>>,
}

/// The orders: each from an ORC, or an OBR that follows none, to the next, or the next patient. Segments before are of none.
fn orders<'t>(message: &Message<'t>) -> Result<Vec<Order<'t>>, Verdict> {
    let mut orders: Vec<Order<'t>> = Vec::new();
    let (mut patient, mut is_within) = (None, false);
    let without_order = || error("a PID is followed by no order: which patient is meant?");
    for segment in message.segments() {
        let has_order = |order: &Order<'_>| order.segments.iter().any(|segment| segment.name() == ORDER);
        let begins = match segment.name() {
            "PID" if patient.is_some() && !is_within => return Err(without_order()),
            "PID" => {
                (patient, is_within) = (Some(segment), false);
                continue;
            }
            "ORC" => true,
            ORDER => !is_within || orders.last().is_none_or(has_order),
            _ => false,
        };
        match orders.last_mut() {
            Some(order) if is_within && !begins => order.segments.push(segment),
            _ if !begins => {}
            _ => {
                is_within = true;
                let segments = vec![segment];
                orders.push(Order { patient, segments });
            }
        }
    }
    match patient.is_some() && !is_within {
        true => Err(without_order()),
        false => Ok(orders),
    }
}

/// The values of the first of these fields that has any.
fn found(group: &[Segment<'_>], paths: &FieldPaths) -> Vec<String> {
    let values = paths.0.iter().map(|path| of_path(group, path));
    values
        .into_iter()
        .find(|values| !values.is_empty())
        .unwrap_or_default()
}

fn of_path(group: &[Segment<'_>], path: &FieldPath) -> Vec<String> {
    let segments = group.iter().filter(|segment| {
        let has_code = |code: &String| segment.field(3).component(1).text() == *code;
        segment.name() == path.segment && path.code.as_ref().is_none_or(has_code)
    });
    let texts = segments.map(|segment| segment.field(path.field).component(path.component).text());
    texts.filter(|text| !text.is_empty()).collect()
}

fn study(
    order: &Order<'_>,
    elsewhere: &[Segment<'_>],
    has_patient: bool,
    settings: &Hl7Settings,
) -> Result<StudyKey, Verdict> {
    let mut uids = found(&order.segments, &settings.study_fields);
    if uids.is_empty() {
        uids = found(elsewhere, &settings.study_fields);
    }
    if let Some(uid) = the_one(uids)? {
        return uid
            .parse()
            .map(StudyKey::Uid)
            .map_err(|_| error("its Study Instance UID is none"));
    }
    match the_one(found(&order.segments, &settings.accession_fields))? {
        Some(number) if number.contains(['*', '?', '\\']) || number.chars().count() > 16 => {
            Err(error("its accession number is none (PS3.5 6.2, SH)"))
        }
        Some(_) if !has_patient => Err(error(
            "an accession number alone names no study: PID-3 names no patient",
        )),
        Some(number) => Ok(StudyKey::Accession(number)),
        None => Err(error(
            "it names no study: neither UID (hl7.study_fields) nor accession number (hl7.accession_fields)",
        )),
    }
}

/// The one value among these.
fn the_one(mut values: Vec<String>) -> Result<Option<String>, Verdict> {
    values.dedup();
    match values.len() {
        0 | 1 => Ok(values.pop()),
        _ => Err(error("an order of it names several studies")),
    }
}

fn demographics(message: &Message<'_>, settings: &Hl7Settings) -> Result<Intent, Verdict> {
    let segment = only(message, "PID")?;
    let patients = identities(segment.field(3), settings)?;
    if patients.is_empty() {
        return Err(error("PID-3 names no patient ID"));
    }
    let mut wanted = BTreeMap::new();
    let mut want = |field, number, text: Option<String>| -> Result<(), Verdict> {
        let part = segment.field(number);
        let text = match text {
            _ if part.is_null() => String::new(),
            Some(text) if !text.is_empty() => text,
            _ => return Ok(()),
        };
        if text.contains(char::REPLACEMENT_CHARACTER) {
            return Err(error(format!(
                "PID-{number}: it is not in the character set that MSH-18 names"
            )));
        }
        // Not the value: the reason is in answers and lists.
        let value = FieldValue::new(field, &text)
            .map_err(|invalid| error(format!("PID-{number}: {}", invalid.rule)))?;
        wanted.insert(field, value);
        Ok(())
    };
    want(StateField::PatientName, 5, Some(person_name(segment.field(5))))?;
    let birth: String = segment.field(7).component(1).text().chars().take(8).collect();
    // A year alone is no date of DICOM's; what is known stays.
    let is_partial = matches!(birth.len(), 4 | 6) && birth.bytes().all(|byte| byte.is_ascii_digit());
    want(
        StateField::PatientBirthDate,
        7,
        Some(birth).filter(|_| !is_partial),
    )?;
    let sex = segment.field(8).component(1).text().to_ascii_uppercase();
    let sex = match sex.as_str() {
        "A" | "N" => "O".to_owned(),
        // Unknown is no news.
        "U" => String::new(),
        _ => sex,
    };
    want(StateField::PatientSex, 8, Some(sex))?;
    Ok(Intent::Demographics { patients, wanted })
}

fn merge(message: &Message<'_>, settings: &Hl7Settings) -> Result<Intent, Verdict> {
    let mut named = identities(only(message, "PID")?.field(3), settings)?;
    let mut given_up = identities(only(message, "MRG")?.field(1), settings)?;
    if given_up.is_empty() {
        return Err(error("MRG-1 names no patient ID"));
    }
    if named.is_empty() {
        return Err(error("PID-3 names no patient ID"));
    }
    // What both records had stays; an ID that is given up may be named beside the one that stays.
    let both: Vec<_> = given_up.iter().filter(|id| named.contains(id)).cloned().collect();
    if both.len() < given_up.len() {
        given_up.retain(|id| !both.contains(id));
    }
    named.retain(|id| !given_up.contains(id));
    let first = named
        .first()
        .ok_or_else(|| error("PID-3 and MRG-1 are the same patient ID"))?;
    // Each into the one of its issuer, where there is one.
    let (mut surviving, mut prior) = (Vec::new(), Vec::new());
    for id in given_up {
        let same_issuer = named.iter().find(|patient| patient.issuer == id.issuer);
        surviving.push(same_issuer.unwrap_or(first).clone());
        prior.push(id);
    }
    if surviving
        .iter()
        .chain(&prior)
        .any(|patient| patient.issuer.is_none())
    {
        return Err(error(
            "a patient ID names no assigning authority, and no issuer is set here",
        ));
    }
    Ok(Intent::Merge {
        surviving,
        prior,
        named,
    })
}

/// The segment of that name, of which a message of its type has one.
fn only<'t>(message: &Message<'t>, name: &str) -> Result<Segment<'t>, Verdict> {
    let mut segments = message.segments().filter(|segment| segment.name() == name);
    match (segments.next(), segments.next()) {
        (Some(segment), None) => Ok(segment),
        (None, _) => Err(error(format!("it has no {name}"))),
        (Some(_), Some(_)) => Err(error(format!("it has several {name}: which patient is meant?"))),
    }
}

/// The patient IDs of a CX field, each with its issuer. Numbers of accounts, visits and the like are left out: the
/// authority that assigns them may have given the same number to another patient. So is one that names neither.
fn identities(field: Part<'_>, settings: &Hl7Settings) -> Result<Vec<StudyPatient>, Verdict> {
    let mut found = Vec::new();
    for repetition in field.repetitions() {
        let id = repetition.component(1).text();
        let authority = repetition.component(4);
        let (namespace, universal) = (authority.subcomponent(1).text(), authority.subcomponent(2).text());
        let kind = repetition.component(5).text();
        let is_unnamed = namespace.is_empty() && universal.is_empty();
        let is_patients = match is_unnamed {
            true => PATIENT_NUMBERS.contains(&kind.as_str()),
            false => !OTHER_NUMBERS.contains(&kind.as_str()),
        };
        if id.is_empty() || !is_patients {
            continue;
        }
        let set = settings
            .authorities
            .get(&namespace)
            .or_else(|| settings.authorities.get(&universal));
        let own = if namespace.is_empty() {
            &universal
        } else {
            &namespace
        };
        let issuer = match set {
            Some(issuer) => Some(issuer.clone()),
            None if is_unnamed => settings.local_issuer.clone(),
            None => Some(
                own.parse()
                    .map_err(|_| error("an assigning authority is no issuer: hl7.issuers says which"))?,
            ),
        };
        let key: PatientIdKey = id
            .parse()
            .map_err(|_| error("a patient ID is none (PS3.5 6.2, LO)"))?;
        if key.issuer.is_some() || id.contains(['*', '?', '^']) {
            return Err(error("a patient ID holds a character that is not taken: ^ * ?"));
        }
        let patient = StudyPatient { id: key.id, issuer };
        if !found.contains(&patient) {
            found.push(patient);
        }
    }
    Ok(found)
}

/// A name in the order of DICOM (PS3.5 6.2.1): the legal one, with its ideographic and phonetic forms where there are.
fn person_name(field: Part<'_>) -> String {
    let form = |wanted: &[&str]| {
        let of_form = |name: &Part<'_>| wanted.contains(&name.component(8).text().as_str());
        let names: Vec<Part<'_>> = field.repetitions().filter(of_form).collect();
        let legal = names.iter().find(|name| name.component(7).text() == "L");
        legal.or(names.first()).map_or(String::new(), |name| {
            let part = |number| {
                name.component(number)
                    .subcomponent(1)
                    .text()
                    .replace(['^', '='], " ")
            };
            // HL7 has the suffix before the prefix.
            let parts = [part(1), part(2), part(3), part(5), part(4)].join("^");
            parts.trim_end_matches('^').to_owned()
        })
    };
    let forms = [form(&["", "A"]), form(&["I"]), form(&["P"])].join("=");
    forms.trim_end_matches('=').to_owned()
}

#[cfg(test)]
mod tests;

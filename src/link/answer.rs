//! The identifier of a C-FIND response as an answer of the domain.
//!
//! Invariants: an answer without a usable study UID is none; whatever else can't be read is absent, never guessed and
//! never a reason to lose the row. Text is decoded by the answer's own character set, else by the station's, and
//! holds no control characters. Reading is one walk over the elements.

use dicom_core::{Tag, VR};
use dicom_dictionary_std::tags;
use jiff::civil::{Date, Time};
use jiff::tz::Offset;

use super::linked_syntax::{BlockReader, LinkedAttributes};
use crate::dimse::charset::Decoder;
use crate::dimse::{DataSet, trim_padding};
use crate::model::{
    AeTitle, Availability, CharacterSet, ImageAnswer, Issuer, IssuerDomain, Kind, PatientId, SeriesAnswer,
    Station, StudyAnswer, Uid,
};

/// The most values of one attribute that are looked at in an answer. No study has a tenth of them; a peer that sends
/// hundreds of thousands must not keep us busy.
const MAX_VALUES: usize = 1000;
/// The longest text, in bytes, that is read as one value: what VRs with a short length hold at most (PS3.5 7.1.2).
const MAX_TEXT: usize = 64 * 1024;
/// The most different values of one attribute that are kept.
const MAX_KEPT_VALUES: usize = 100;

/// One station's answer about one patient.
#[derive(Debug, Clone, PartialEq)]
pub struct PatientAnswer {
    /// The ID, where it came back.
    pub id: Option<String>,
    domain: IssuerDomain,
    /// Whether the answer names the issuer of the ID.
    pub names_issuer: bool,
    name: Option<String>,
    birth_date: Option<Date>,
    sex: Option<String>,
}

impl PatientAnswer {
    /// Gives a study of this patient what an answer at study level may leave out in Patient Root. `names_issuer` is
    /// whether that answer names the issuer.
    pub fn complete(&self, study: &mut StudyAnswer, names_issuer: bool) {
        if study.patient_id.id.is_empty() {
            study.patient_id.id = self.id.clone().unwrap_or_default();
        }
        if !names_issuer {
            study.patient_id.domain = self.domain.clone();
        }
        study.patient_name = study.patient_name.take().or_else(|| self.name.clone());
        study.patient_birth_date = study.patient_birth_date.or(self.birth_date);
        study.patient_sex = study.patient_sex.take().or_else(|| self.sex.clone());
    }
}

/// The issuer of a station's patient IDs where its answers name none: the station's own, for an archive of the local
/// cluster that has none `local`, the cluster's.
pub fn issuer_of_answers<'i>(station: &'i Station, local: Option<&'i Issuer>) -> Option<&'i Issuer> {
    match &station.issuers[..] {
        [issuer] => Some(issuer),
        [] if station.kind == Kind::Archive => local,
        _ => None,
    }
}

/// Reads the answers of one station.
#[derive(Debug)]
pub struct AnswerReader {
    charset: Option<CharacterSet>,
    domain: IssuerDomain,
    decoder: Decoder,
    /// The Specific Character Set that `decoder` was made for.
    decoder_is_for: Option<Vec<u8>>,
    assumed_a_charset: bool,
    answers_cut: u64,
}

impl AnswerReader {
    /// A reader that takes what answers leave open from the station, and from the local cluster's issuer where the
    /// station is one of its archives.
    pub fn new(station: &Station, local_issuer: Option<&Issuer>) -> Self {
        AnswerReader {
            charset: station.charset.clone(),
            domain: match issuer_of_answers(station, local_issuer) {
                Some(issuer) => IssuerDomain::Named(issuer.clone()),
                None => IssuerDomain::Inferred(station.name.clone()),
            },
            decoder: Decoder::for_answer(None, station.charset.as_ref()),
            decoder_is_for: None,
            assumed_a_charset: false,
            answers_cut: 0,
        }
    }

    /// Whether text beyond ASCII had to be read as Latin-1, because neither its answer nor the station names a charset.
    pub fn assumed_a_charset(&self) -> bool {
        self.assumed_a_charset
    }

    /// How many lists of values were longer than is kept of them.
    pub fn answers_cut(&self) -> u64 {
        self.answers_cut
    }

    /// The decoder of the last answer's text.
    pub fn decoder(&self) -> &Decoder {
        &self.decoder
    }

    /// Reads an answer at study level; `None` where it has no study UID.
    pub fn study(&mut self, data_set: &DataSet) -> Option<StudyAnswer> {
        self.begin(data_set);
        let uid = uid(data_set.element(tags::STUDY_INSTANCE_UID)?)?;
        let patient_id = PatientId {
            id: String::new(),
            domain: self.domain.clone(),
        };
        let mut answer = StudyAnswer::new(uid, patient_id);
        let mut modality = None;
        let (mut block, mut linked) = (BlockReader::default(), LinkedAttributes::default());
        for element in data_set.elements() {
            let value = trim_padding(element.value);
            if value.is_empty() {
                continue;
            }
            if let Some(known) = block.element(&element) {
                if let Some(text) = self.text(value, known.vr()) {
                    linked.learn(known, text);
                }
                continue;
            }
            match element.tag {
                tags::MODALITY => modality = self.text(value, VR::CS),
                tag => self.fill_study(&mut answer, tag, value),
            }
        }
        if answer.modalities.is_empty() {
            // Not of this level, but what some peers have instead of ModalitiesInStudy.
            answer.modalities.extend(modality);
        }
        fill_linked(&mut answer, linked);
        Some(answer)
    }

    fn fill_study(&mut self, answer: &mut StudyAnswer, tag: Tag, value: &[u8]) {
        match tag {
            tags::STUDY_DATE => answer.study_date = date(value),
            tags::STUDY_TIME => answer.study_time = time(value),
            tags::TIMEZONE_OFFSET_FROM_UTC => answer.utc_offset = utc_offset(value),
            tags::ACCESSION_NUMBER => answer.accession_number = self.text(value, VR::SH),
            tags::MODALITIES_IN_STUDY => answer.modalities = self.texts(value, VR::CS),
            tags::STUDY_DESCRIPTION => answer.study_description = self.text(value, VR::LO),
            tags::REFERRING_PHYSICIAN_NAME => answer.referring_physician = self.text(value, VR::PN),
            tags::NUMBER_OF_STUDY_RELATED_INSTANCES => answer.instances = number(value),
            tags::INSTANCE_AVAILABILITY => {
                answer.availability = self
                    .text(value, VR::CS)
                    .and_then(|code| Availability::from_code(&code));
            }
            tags::RETRIEVE_AE_TITLE => answer.retrieve_ae_titles = self.ae_titles(value),
            tags::PATIENT_ID => answer.patient_id.id = self.text(value, VR::LO).unwrap_or_default(),
            tags::ISSUER_OF_PATIENT_ID => {
                if let Some(issuer) = self.text(value, VR::LO).and_then(|text| text.parse().ok()) {
                    answer.patient_id.domain = IssuerDomain::Named(issuer);
                }
            }
            tags::PATIENT_NAME => answer.patient_name = self.text(value, VR::PN),
            tags::PATIENT_BIRTH_DATE => answer.patient_birth_date = date(value),
            tags::PATIENT_SEX => answer.patient_sex = self.text(value, VR::CS),
            _ => {}
        }
    }

    /// Reads an answer at patient level.
    pub fn patient(&mut self, data_set: &DataSet) -> PatientAnswer {
        self.begin(data_set);
        let value = |tag| data_set.element(tag).unwrap_or_default();
        let issuer = self.issuer(data_set);
        PatientAnswer {
            id: self.text(value(tags::PATIENT_ID), VR::LO),
            names_issuer: issuer.is_some(),
            domain: issuer.map_or_else(|| self.domain.clone(), IssuerDomain::Named),
            name: self.text(value(tags::PATIENT_NAME), VR::PN),
            birth_date: date(trim_padding(value(tags::PATIENT_BIRTH_DATE))),
            sex: self.text(value(tags::PATIENT_SEX), VR::CS),
        }
    }

    /// Whether an answer names the issuer of its patient ID.
    pub fn names_issuer(&mut self, data_set: &DataSet) -> bool {
        self.begin(data_set);
        self.issuer(data_set).is_some()
    }

    fn issuer(&mut self, data_set: &DataSet) -> Option<Issuer> {
        let value = data_set.element(tags::ISSUER_OF_PATIENT_ID)?;
        self.text(value, VR::LO)?.parse().ok()
    }

    /// Reads an answer at series level; `None` where it has no series UID.
    pub fn series(&mut self, data_set: &DataSet) -> Option<SeriesAnswer> {
        self.begin(data_set);
        let mut answer = SeriesAnswer {
            series_instance_uid: uid(data_set.element(tags::SERIES_INSTANCE_UID)?)?,
            modality: None,
            series_number: None,
            series_description: None,
            body_part_examined: None,
            instances: None,
            images: Vec::new(),
        };
        for element in data_set.elements() {
            let value = trim_padding(element.value);
            match element.tag {
                tags::MODALITY => answer.modality = self.text(value, VR::CS),
                tags::SERIES_NUMBER => answer.series_number = number(value),
                tags::SERIES_DESCRIPTION => answer.series_description = self.text(value, VR::LO),
                tags::BODY_PART_EXAMINED => answer.body_part_examined = self.text(value, VR::CS),
                tags::NUMBER_OF_SERIES_RELATED_INSTANCES => answer.instances = number(value),
                _ => {}
            }
        }
        Some(answer)
    }

    /// Reads an answer at image level; `None` where it has no instance UID.
    pub fn image(&mut self, data_set: &DataSet) -> Option<ImageAnswer> {
        Some(ImageAnswer {
            sop_instance_uid: uid(data_set.element(tags::SOP_INSTANCE_UID)?)?,
            sop_class_uid: data_set.element(tags::SOP_CLASS_UID).and_then(uid),
            instance_number: data_set.element(tags::INSTANCE_NUMBER).and_then(number),
        })
    }

    fn begin(&mut self, data_set: &DataSet) {
        let charset = data_set.specific_character_set();
        if charset != self.decoder_is_for.as_deref() {
            self.decoder = Decoder::for_answer(charset, self.charset.as_ref());
            self.decoder_is_for = charset.map(<[u8]>::to_vec);
        }
    }

    /// One value of text; `None` where nothing is left of it without padding and control characters, and where it is
    /// longer than any value of such an attribute may be.
    fn text(&mut self, value: &[u8], vr: VR) -> Option<String> {
        if value.len() > MAX_TEXT {
            self.answers_cut += 1;
            return None;
        }
        self.assumed_a_charset |= self.decoder.assumes(value);
        let text = self.decoder.decode(value, vr);
        (!text.is_empty()).then(|| text.into_owned())
    }

    /// Several values of text, each once.
    fn texts(&mut self, value: &[u8], vr: VR) -> Vec<String> {
        self.distinct(value, |reader, value| reader.text(value, vr))
    }

    fn ae_titles(&mut self, value: &[u8]) -> Vec<AeTitle> {
        self.distinct(value, |_, value| {
            std::str::from_utf8(trim_padding(value)).ok()?.parse().ok()
        })
    }

    /// The values of a list, each once, as far as they are kept; a longer list is counted.
    fn distinct<T: PartialEq>(
        &mut self,
        value: &[u8],
        mut read: impl FnMut(&mut Self, &[u8]) -> Option<T>,
    ) -> Vec<T> {
        let mut values = value.split(|byte| *byte == b'\\');
        let mut distinct = Vec::new();
        for value in values.by_ref().take(MAX_VALUES) {
            if let Some(value) = read(self, value)
                && !distinct.contains(&value)
            {
                if distinct.len() == MAX_KEPT_VALUES {
                    self.answers_cut += 1;
                    return distinct;
                }
                distinct.push(value);
            }
        }
        self.answers_cut += u64::from(values.next().is_some());
        distinct
    }
}

fn fill_linked(answer: &mut StudyAnswer, linked: LinkedAttributes) {
    answer.interpretation_status = linked.interpretation_status;
    answer.specialty = linked.specialty;
    answer.body_part = linked.body_part;
    answer.verification = linked.verification;
    answer.global_patient_id = linked.global_patient_id;
    // What the cluster says of all its stations is more than what one of them says of itself.
    answer.availability = linked.best_study_location.or(answer.availability);
}

pub(super) fn uid(value: &[u8]) -> Option<Uid> {
    std::str::from_utf8(trim_padding(value)).ok()?.parse().ok()
}

/// A number of VR IS, or of DS without a fraction, as some peers send it.
fn number<T: std::str::FromStr>(value: &[u8]) -> Option<T> {
    let text = std::str::from_utf8(trim_padding(value)).ok()?;
    let whole = text.split_once('.').map_or(text, |(whole, _)| whole);
    whole.parse().ok()
}

/// `YYYYMMDD`, also with the separators of ACR-NEMA and of people.
pub fn date(value: &[u8]) -> Option<Date> {
    let digits = digits::<8>(value, b".-/")?;
    let number = |from: usize, to: usize| decimal(digits.get(from..to)?);
    Date::new(
        number(0, 4)?,
        number(4, 6)?.try_into().ok()?,
        number(6, 8)?.try_into().ok()?,
    )
    .ok()
}

/// `HH`, `HHMM`, `HHMMSS` with or without a fraction, also with colons.
pub fn time(value: &[u8]) -> Option<Time> {
    let whole = value.split(|byte| *byte == b'.').next()?;
    let mut parts = [0_i8; 3];
    let digits: Vec<u8> = whole.iter().copied().filter(|byte| *byte != b':').collect();
    if digits.is_empty() || digits.len() > 6 || !digits.len().is_multiple_of(2) {
        return None;
    }
    for (part, pair) in parts.iter_mut().zip(digits.chunks(2)) {
        *part = decimal(pair)?.try_into().ok()?;
    }
    let [hour, minute, second] = parts;
    // A leap second is the second before it.
    Time::new(hour, minute, second.min(59), 0).ok()
}

/// `+HHMM` or `-HHMM`.
fn utc_offset(value: &[u8]) -> Option<Offset> {
    let (sign, rest) = value.split_first()?;
    let sign = match sign {
        b'+' => 1,
        b'-' => -1,
        _ => return None,
    };
    let digits = digits::<4>(rest, b":")?;
    let minutes = i32::from(decimal(&digits[..2])?) * 60 + i32::from(decimal(&digits[2..])?);
    Offset::from_seconds(sign * minutes * 60).ok()
}

/// Exactly `N` digits, separators left out.
fn digits<const N: usize>(value: &[u8], separators: &[u8]) -> Option<[u8; N]> {
    let mut digits = [0; N];
    let mut found = value.iter().copied().filter(|byte| !separators.contains(byte));
    for digit in &mut digits {
        *digit = found.next().filter(u8::is_ascii_digit)?;
    }
    found.next().is_none().then_some(digits)
}

fn decimal(digits: &[u8]) -> Option<i16> {
    digits.iter().try_fold(0_i16, |number, digit| {
        let digit = digit.is_ascii_digit().then(|| i16::from(digit - b'0'))?;
        number.checked_mul(10)?.checked_add(digit)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dimse::{DataSetBuilder, TransferSyntax};
    use crate::model::{Endpoint, parse_port};

    fn station(kind: Kind, issuers: &[&str]) -> Station {
        let endpoint = Endpoint {
            host: "10.0.0.1".parse().unwrap(),
            port: parse_port("104").unwrap(),
        };
        let mut station = Station::new("SITEB".parse().unwrap(), "SITEB".parse().unwrap(), Some(endpoint));
        station.kind = kind;
        station.issuers = issuers.iter().map(|issuer| issuer.parse().unwrap()).collect();
        station
    }

    fn data_set(elements: &[(Tag, VR, &[u8])]) -> DataSet {
        let builder = elements
            .iter()
            .fold(DataSetBuilder::new(), |builder, (tag, vr, value)| {
                builder.put(*tag, *vr, *value)
            });
        builder.encode(TransferSyntax::ExplicitVrLittleEndian).unwrap()
    }

    const UID: (Tag, VR, &[u8]) = (tags::STUDY_INSTANCE_UID, VR::UI, b"1.2.3");

    fn read(elements: &[(Tag, VR, &[u8])]) -> StudyAnswer {
        let mut reader = AnswerReader::new(&station(Kind::External, &[]), None);
        reader.study(&data_set(elements)).unwrap()
    }

    #[test]
    fn reads_what_a_row_shows() {
        let answer = read(&[
            UID,
            (tags::SPECIFIC_CHARACTER_SET, VR::CS, b"ISO_IR 100"),
            (tags::PATIENT_NAME, VR::PN, b"M\xfcller^J\x1b[31m"),
            (tags::STUDY_DATE, VR::DA, b"2024.03.02"),
            (tags::STUDY_TIME, VR::TM, b"101530.25"),
            (tags::TIMEZONE_OFFSET_FROM_UTC, VR::SH, b"-0530"),
            (tags::MODALITIES_IN_STUDY, VR::CS, b"CT\\SR \\CT"),
            (tags::NUMBER_OF_STUDY_RELATED_INSTANCES, VR::IS, b" 412 "),
            (tags::INSTANCE_AVAILABILITY, VR::CS, b"ONLINE"),
            (tags::RETRIEVE_AE_TITLE, VR::AE, b"PACS \\ARCHIVE2"),
        ]);
        assert!(answer.patient_name.as_deref().unwrap().starts_with("Müller^J"));
        assert!(!answer.patient_name.unwrap().contains('\x1b'));
        assert_eq!(answer.study_date, Some(jiff::civil::date(2024, 3, 2)));
        assert_eq!(answer.study_time, Some(jiff::civil::time(10, 15, 30, 0)));
        assert_eq!(answer.utc_offset.map(Offset::seconds), Some(-5 * 3600 - 1800));
        assert_eq!(answer.modalities, ["CT", "SR"]);
        assert_eq!(answer.instances, Some(412));
        assert_eq!(answer.availability, Some(Availability::Cache));
        let titles: Vec<&str> = answer.retrieve_ae_titles.iter().map(AeTitle::as_str).collect();
        assert_eq!(titles, ["PACS", "ARCHIVE2"]);
    }

    #[test]
    fn what_cannot_be_read_is_absent_and_the_row_stays() {
        let answer = read(&[
            UID,
            (tags::STUDY_DATE, VR::DA, b"20240230"),
            (tags::STUDY_TIME, VR::TM, b"noon"),
            (tags::TIMEZONE_OFFSET_FROM_UTC, VR::SH, b"CET"),
            (tags::NUMBER_OF_STUDY_RELATED_INSTANCES, VR::IS, b"-1"),
            (tags::RETRIEVE_AE_TITLE, VR::AE, b"\\\x01"),
            (tags::PATIENT_NAME, VR::PN, b"  "),
        ]);
        assert_eq!(
            answer,
            StudyAnswer::new(answer.study_instance_uid.clone(), answer.patient_id.clone())
        );
    }

    /// Case: an answer without a study UID
    #[test]
    fn without_study_uid_there_is_no_answer() {
        let mut reader = AnswerReader::new(&station(Kind::External, &[]), None);
        assert!(
            reader
                .study(&data_set(&[(tags::PATIENT_ID, VR::LO, b"4711")]))
                .is_none()
        );
        assert!(
            reader
                .study(&data_set(&[(tags::STUDY_INSTANCE_UID, VR::UI, b"x")]))
                .is_none()
        );
        let padded = data_set(&[(tags::STUDY_INSTANCE_UID, VR::UI, b"1.2 ")]);
        assert_eq!(reader.study(&padded).unwrap().study_instance_uid.as_str(), "1.2");
    }

    /// Case: nobody names the issuer
    #[test]
    fn whose_patient_it_is() {
        let north: Issuer = "NORTH".parse().unwrap();
        let domain = |kind, issuers: &[&str], elements: &[(Tag, VR, &[u8])]| {
            let mut reader = AnswerReader::new(&station(kind, issuers), Some(&north));
            reader
                .study(&data_set(elements))
                .unwrap()
                .patient_id
                .domain
                .to_string()
        };
        let named = [UID, (tags::ISSUER_OF_PATIENT_ID, VR::LO, b"VALLEY".as_slice())];
        assert_eq!(domain(Kind::External, &["HARBOUR"], &named), "VALLEY");
        assert_eq!(domain(Kind::External, &["HARBOUR"], &[UID]), "HARBOUR");
        assert_eq!(domain(Kind::External, &["HARBOUR", "VALLEY"], &[UID]), "SITEB?");
        assert_eq!(domain(Kind::External, &[], &[UID]), "SITEB?");
        assert_eq!(domain(Kind::Archive, &[], &[UID]), "NORTH");
        assert_eq!(domain(Kind::Archive, &["HARBOUR"], &[UID]), "HARBOUR");
    }
}

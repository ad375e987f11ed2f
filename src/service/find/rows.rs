//! The identifiers of our responses: what a station has answered, as the caller has asked for it.
//!
//! Invariants: a row has the attributes of the request, empty where the station gave none, its level, our title to
//! retrieve from, and the character set of its text: the caller's where that can write it, else UTF-8. Values come from
//! one station alone, never mixed of several, but for those that clusters have stated since. Counts over a patient's studies are empty where more than one station was asked:
//! none of them knows the others'.

use std::borrow::Cow;

use dicom_core::{Tag, VR};
use dicom_dictionary_std::tags;

use super::identifier::{Asked, AskedLevel, vr_of};
use super::linked::LocalCluster;
use crate::dimse::charset::{Decoder, Encoder, Unencodable};
use crate::dimse::{DataSet, DataSetBuilder, Element, ElementsByTag, EncodeError, TransferSyntax};
use crate::link::linked_syntax::LinkedAttributes;
use crate::link::{Answer, LowerRow};
use crate::model::{AeTitle, CharacterSet, IssuerDomain, Level, PatientId, Station, StudyAnswer};

const UTF_8: &str = "ISO_IR 192";

/// Writes the rows of one caller's query.
pub(super) struct Rows<'a> {
    asked: &'a Asked,
    syntax: TransferSyntax,
    our_title: AeTitle,
    has_several_sources: bool,
    /// The local cluster, where the linked syntax is spoken: its text is UTF-8.
    cluster: Option<LocalCluster<'a>>,
    /// The character sets for text beyond ASCII, the most wanted first; the last can write all.
    charsets: Vec<(String, Encoder)>,
}

impl<'a> Rows<'a> {
    /// Rows for a caller that prefers `charset`.
    pub(super) fn new(
        asked: &'a Asked,
        syntax: TransferSyntax,
        our_title: AeTitle,
        has_several_sources: bool,
        charset: Option<&CharacterSet>,
        cluster: Option<LocalCluster<'a>>,
    ) -> Self {
        let utf_8 = UTF_8.parse().ok();
        let charset = charset.filter(|_| cluster.is_none());
        let wanted = charset.into_iter().chain(&utf_8);
        let charsets = wanted.map(|charset| (charset.to_string(), Encoder::for_station(charset)));
        Rows {
            asked,
            syntax,
            our_title,
            has_several_sources,
            cluster,
            charsets: charsets.collect(),
        }
    }

    /// The transfer syntax of all rows.
    pub(super) fn transfer_syntax(&self) -> TransferSyntax {
        self.syntax
    }

    /// The row of an answer, or of one of the rows below it.
    pub(super) fn row(
        &self,
        answer: &Answer,
        lower: Option<&LowerRow>,
        station: &Station,
        shown_as: &PatientId,
    ) -> Result<DataSet, EncodeError> {
        let below = lower
            .into_iter()
            .flat_map(|row| std::iter::once(&row.data_set).chain(&row.series));
        let sources = below.chain(std::iter::once(&answer.data_set));
        let sources: Vec<Source<'_>> = sources
            .map(|data_set| Source {
                elements: data_set.elements_by_tag(),
                decoder: Decoder::for_answer(data_set.specific_character_set(), station.charset.as_ref()),
            })
            .collect();
        let linked = self.linked(answer, &sources);
        let written = self
            .charsets
            .iter()
            .find_map(|(name, encoder)| self.write((answer, shown_as), &sources, name, encoder).ok())
            .unwrap_or_default();
        let written = match linked {
            Some(linked) => linked.put(written, &self.asked.linked),
            None => written,
        };
        written.encode(self.syntax)
    }

    fn linked(&self, answer: &Answer, sources: &[Source<'_>]) -> Option<LinkedAttributes> {
        let is_wanted = self.asked.level == AskedLevel::Linked(Level::Study) && !self.asked.linked.is_empty();
        let cluster = self.cluster.as_ref().filter(|_| is_wanted)?;
        let decoder = &sources.last()?.decoder;
        Some(cluster.attributes(&answer.study, &answer.data_set, decoder))
    }

    fn write(
        &self,
        (answer, shown_as): (&Answer, &PatientId),
        sources: &[Source<'_>],
        charset: &str,
        encoder: &Encoder,
    ) -> Result<DataSetBuilder, Unencodable> {
        let study = &*answer.study;
        let stated = |tag: Tag| answer.stated.iter().find(|stated| stated.tag == tag);
        let mut row = DataSetBuilder::new();
        for (tag, vr) in &self.asked.returned {
            let is_below = self.asked.level == AskedLevel::Patient && tag.group() != 0x0010;
            let is_of_several = self.has_several_sources && is_count_over_studies(*tag);
            row = if *shown_as != study.patient_id && is_of_identity(*tag) {
                put_identity(row, *tag, &study.patient_id, shown_as, encoder)?
            } else if is_below || is_of_several || is_from_where(*tag) {
                row.put_empty(*tag, *vr)
            } else if let Some(stated) = stated(*tag) {
                row.put(*tag, stated.vr, encoder.encode(stated.value.as_str())?)
            } else if let Some((source, element)) = find(sources, *tag) {
                put(row, element, *vr, &source.decoder, encoder)?
            } else {
                let known = known(study, *tag).unwrap_or_default();
                row.put(*tag, *vr, encoder.encode(&known)?)
            };
        }
        Ok(row
            .put(tags::SPECIFIC_CHARACTER_SET, VR::CS, charset)
            .put(tags::QUERY_RETRIEVE_LEVEL, VR::CS, self.asked.level.as_str())
            .put(tags::RETRIEVE_AE_TITLE, VR::AE, self.our_title.as_str()))
    }
}

/// One data set of a station, and how its text is read.
struct Source<'a> {
    elements: ElementsByTag<'a>,
    decoder: Decoder,
}

/// The longest value that a row repeats, in bytes: what VRs with a short length hold at most (PS3.5 7.1.2), and many
/// times what an attribute of a query may have.
const MAX_VALUE: usize = 64 * 1024;

/// The attribute where it has a value first. One that is too long to be a value of a query is not repeated.
fn find<'s>(sources: &'s [Source<'s>], tag: Tag) -> Option<(&'s Source<'s>, Element<'s>)> {
    sources.iter().find_map(|source| {
        let element = source.elements.element(tag)?;
        let is_of_use =
            element.value.len() <= MAX_VALUE && !element.value.iter().all(|byte| matches!(byte, b' ' | 0));
        is_of_use.then_some((source, element))
    })
}

/// What is known of a study though the data set does not say it: Patient Root leaves the patient out at study level.
fn known(study: &StudyAnswer, tag: Tag) -> Option<Cow<'_, str>> {
    let text = |text: &'_ Option<String>| text.clone().map(Cow::Owned);
    match tag {
        tags::STUDY_INSTANCE_UID => Some(study.study_instance_uid.as_str().into()),
        tags::PATIENT_ID => Some(study.patient_id.id.as_str().into()),
        tags::ISSUER_OF_PATIENT_ID => match &study.patient_id.domain {
            IssuerDomain::Named(issuer) => Some(issuer.as_str().into()),
            IssuerDomain::Inferred(_) => None,
        },
        tags::MODALITIES_IN_STUDY => Some(study.modalities.join("\\").into()),
        tags::PATIENT_NAME => text(&study.patient_name),
        tags::PATIENT_SEX => text(&study.patient_sex),
        tags::PATIENT_BIRTH_DATE => {
            let date = study.patient_birth_date?;
            Some(date.strftime("%Y%m%d").to_string().into())
        }
        _ => None,
    }
}

/// Whether an attribute says by which ID a patient is known.
fn is_of_identity(tag: Tag) -> bool {
    matches!(
        tag,
        tags::PATIENT_ID
            | tags::ISSUER_OF_PATIENT_ID
            | tags::ISSUER_OF_PATIENT_ID_QUALIFIERS_SEQUENCE
            | tags::OTHER_PATIENT_I_DS_SEQUENCE
    )
}

/// Puts such an attribute where the study is given under another ID than its own, which is among the other IDs then.
fn put_identity(
    row: DataSetBuilder,
    tag: Tag,
    own: &PatientId,
    shown_as: &PatientId,
    encoder: &Encoder,
) -> Result<DataSetBuilder, Unencodable> {
    Ok(match tag {
        tags::PATIENT_ID => row.put(tag, VR::LO, encoder.encode(&shown_as.id)?),
        tags::ISSUER_OF_PATIENT_ID => row.put(tag, VR::LO, encoder.encode(issuer(shown_as))?),
        tags::OTHER_PATIENT_I_DS_SEQUENCE => {
            let item = DataSetBuilder::new()
                .put(tags::PATIENT_ID, VR::LO, encoder.encode(&own.id)?)
                .put(tags::ISSUER_OF_PATIENT_ID, VR::LO, encoder.encode(issuer(own))?)
                .put(tags::TYPE_OF_PATIENT_ID, VR::CS, "TEXT");
            row.put_items(tag, vec![item])
        }
        // It qualifies the issuer of the own ID.
        _ => row.put_empty(tag, VR::SQ),
    })
}

fn issuer(patient: &PatientId) -> &str {
    match &patient.domain {
        IssuerDomain::Named(issuer) => issuer.as_str(),
        IssuerDomain::Inferred(_) => "",
    }
}

/// Where and how a copy is had at the station that has it: a caller retrieves from us.
fn is_from_where(tag: Tag) -> bool {
    matches!(
        tag,
        tags::STORAGE_MEDIA_FILE_SET_ID
            | tags::STORAGE_MEDIA_FILE_SET_UID
            | tags::RETRIEVE_URL
            | tags::RETRIEVE_URI
            | tags::RETRIEVE_LOCATION_UID
    )
}

fn is_count_over_studies(tag: Tag) -> bool {
    matches!(
        tag,
        tags::NUMBER_OF_PATIENT_RELATED_STUDIES
            | tags::NUMBER_OF_PATIENT_RELATED_SERIES
            | tags::NUMBER_OF_PATIENT_RELATED_INSTANCES
    )
}

/// Puts an element as it came, its text in the caller's character set. `asked` is its VR where the bytes name none.
fn put(
    row: DataSetBuilder,
    element: Element<'_>,
    asked: VR,
    decoder: &Decoder,
    encoder: &Encoder,
) -> Result<DataSetBuilder, Unencodable> {
    let vr = element.vr().unwrap_or(asked);
    if vr == VR::SQ {
        let items = element.items().map(|item| {
            item.filter(|element| element.tag != tags::SPECIFIC_CHARACTER_SET)
                .try_fold(DataSetBuilder::new(), |row, element| {
                    put(row, element, vr_of(&element), decoder, encoder)
                })
        });
        return Ok(row.put_items(element.tag, items.collect::<Result<_, _>>()?));
    }
    let is_plain = element.value.iter().all(|byte| matches!(byte, b' '..=b'~'));
    let is_written_by_charset = matches!(vr, VR::LO | VR::LT | VR::PN | VR::SH | VR::ST | VR::UC | VR::UT);
    if is_plain || !is_written_by_charset {
        return Ok(row.put(element.tag, vr, element.value));
    }
    let text = decoder.decode(element.value, vr);
    Ok(row.put(element.tag, vr, encoder.encode(&text)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dimse::Status;
    use crate::model::{Level, Query};
    use crate::service::examples::station;

    const EXPLICIT: TransferSyntax = TransferSyntax::ExplicitVrLittleEndian;
    const IMPLICIT: TransferSyntax = TransferSyntax::ImplicitVrLittleEndian;

    fn asked(returned: &[(Tag, VR)]) -> Asked {
        Asked {
            level: AskedLevel::Linked(Level::Study),
            query: Query::default(),
            returned: returned.to_vec(),
            linked: Vec::new(),
            asks_for_unanswered: false,
            pending: Status::PENDING,
        }
    }

    fn answer(data_set: DataSetBuilder) -> Answer {
        let patient_id = PatientId {
            id: "4711".to_owned(),
            domain: IssuerDomain::Named("NORTH".parse().unwrap()),
        };
        Answer {
            target: 0,
            study: Box::new(StudyAnswer::new("1.2".parse().unwrap(), patient_id)),
            data_set: data_set.encode(IMPLICIT).unwrap(),
            stated: Vec::new(),
            lower: Vec::new(),
        }
    }

    fn row(asked: &Asked, answer: &Answer, charset: Option<&str>) -> DataSet {
        let charset = charset.map(|charset| charset.parse().unwrap());
        let rows = Rows::new(
            asked,
            EXPLICIT,
            "LINK".parse().unwrap(),
            true,
            charset.as_ref(),
            None,
        );
        let mut source = station("PACS", "PACS", "10.0.0.1");
        source.charset = Some("ISO_IR 100".parse().unwrap());
        rows.row(answer, None, &source, &answer.study.patient_id).unwrap()
    }

    fn text(row: &DataSet, tag: Tag) -> Option<String> {
        let value = row.element(tag)?;
        Some(
            String::from_utf8_lossy(value)
                .trim_matches([' ', '\0'])
                .to_owned(),
        )
    }

    #[test]
    fn a_row_has_what_was_asked_for_and_what_every_row_has() {
        let asked = asked(&[
            (tags::PATIENT_ID, VR::LO),
            (tags::ISSUER_OF_PATIENT_ID, VR::LO),
            (tags::STUDY_DATE, VR::DA),
            (tags::NUMBER_OF_PATIENT_RELATED_STUDIES, VR::IS),
            (tags::STUDY_ID, VR::SH),
            (tags::RETRIEVE_URL, VR::UR),
        ]);
        let answer = answer(
            DataSetBuilder::new()
                .put(tags::STUDY_DATE, VR::DA, "20240131")
                .put(tags::STUDY_TIME, VR::TM, "1200")
                .put(tags::RETRIEVE_AE_TITLE, VR::AE, "PACS")
                .put(tags::RETRIEVE_URL, VR::UR, "http://pacs.example/")
                .put(tags::NUMBER_OF_PATIENT_RELATED_STUDIES, VR::IS, "7"),
        );
        let row = row(&asked, &answer, None);
        let all: Vec<Tag> = row.elements().map(|element| element.tag).collect();
        assert_eq!(all.len(), 9, "{all:?}");
        for (tag, value) in [
            (tags::SPECIFIC_CHARACTER_SET, "ISO_IR 192"),
            (tags::QUERY_RETRIEVE_LEVEL, "STUDY"),
            (tags::RETRIEVE_AE_TITLE, "LINK"),
            (tags::PATIENT_ID, "4711"),
            (tags::ISSUER_OF_PATIENT_ID, "NORTH"),
            (tags::STUDY_DATE, "20240131"),
            (tags::NUMBER_OF_PATIENT_RELATED_STUDIES, ""),
            (tags::STUDY_ID, ""),
            (tags::RETRIEVE_URL, ""),
        ] {
            assert_eq!(text(&row, tag).as_deref(), Some(value), "{tag}");
        }
    }

    #[test]
    fn a_study_given_under_another_id_says_its_own_among_the_others() {
        let asked = asked(&[
            (tags::PATIENT_ID, VR::LO),
            (tags::ISSUER_OF_PATIENT_ID, VR::LO),
            (tags::ISSUER_OF_PATIENT_ID_QUALIFIERS_SEQUENCE, VR::SQ),
            (tags::OTHER_PATIENT_I_DS_SEQUENCE, VR::SQ),
        ]);
        let item = DataSetBuilder::new().put(tags::UNIVERSAL_ENTITY_ID, VR::UT, "1.2");
        let answer = answer(
            DataSetBuilder::new()
                .put(tags::PATIENT_ID, VR::LO, "4711")
                .put(tags::ISSUER_OF_PATIENT_ID, VR::LO, "NORTH")
                .put_items(tags::ISSUER_OF_PATIENT_ID_QUALIFIERS_SEQUENCE, vec![item]),
        );
        let shown_as = PatientId {
            id: "88".to_owned(),
            domain: IssuerDomain::Named("HARBOUR".parse().unwrap()),
        };
        let rows = Rows::new(&asked, EXPLICIT, "LINK".parse().unwrap(), true, None, None);
        let source = station("PACS", "PACS", "10.0.0.1");
        let row = rows.row(&answer, None, &source, &shown_as).unwrap();
        assert_eq!(text(&row, tags::PATIENT_ID).as_deref(), Some("88"));
        assert_eq!(text(&row, tags::ISSUER_OF_PATIENT_ID).as_deref(), Some("HARBOUR"));
        let qualifiers = row.items(tags::ISSUER_OF_PATIENT_ID_QUALIFIERS_SEQUENCE);
        assert_eq!(qualifiers.count(), 0, "they are of the own issuer");
        let other = row.items(tags::OTHER_PATIENT_I_DS_SEQUENCE).next().unwrap();
        assert_eq!(other.clone().value(tags::PATIENT_ID), Some(&b"4711"[..]));
        assert_eq!(other.value(tags::ISSUER_OF_PATIENT_ID), Some(&b"NORTH "[..]));
    }

    #[test]
    fn text_is_in_the_callers_character_set_or_in_utf_8() {
        let asked = asked(&[(tags::PATIENT_NAME, VR::PN)]);
        let latin = answer(DataSetBuilder::new().put(tags::PATIENT_NAME, VR::PN, &b"M\xfcller"[..]));
        for (wanted, used, bytes) in [
            (None, "ISO_IR 192", "Müller ".as_bytes()),
            (Some("ISO_IR 100"), "ISO_IR 100", b"M\xfcller"),
            (Some("ISO_IR 144"), "ISO_IR 192", "Müller ".as_bytes()),
        ] {
            let row = row(&asked, &latin, wanted);
            assert_eq!(text(&row, tags::SPECIFIC_CHARACTER_SET).as_deref(), Some(used));
            assert_eq!(
                row.element(tags::PATIENT_NAME).map(<[u8]>::trim_ascii_end),
                Some(bytes.trim_ascii_end())
            );
        }
    }

    #[test]
    fn sequences_come_whole() {
        let code = DataSetBuilder::new().put(tags::CODE_VALUE, VR::SH, "C1").put(
            tags::CODE_MEANING,
            VR::LO,
            &b"Sch\xe4del"[..],
        );
        let asked = asked(&[(tags::PROCEDURE_CODE_SEQUENCE, VR::SQ)]);
        let sent = DataSetBuilder::new().put_items(tags::PROCEDURE_CODE_SEQUENCE, vec![code]);
        let row = row(&asked, &answer(sent), None);
        let item = row.items(tags::PROCEDURE_CODE_SEQUENCE).next().unwrap();
        assert_eq!(item.clone().value(tags::CODE_VALUE), Some(&b"C1"[..]));
        assert_eq!(item.value(tags::CODE_MEANING), Some("Schädel".as_bytes()));
    }
}

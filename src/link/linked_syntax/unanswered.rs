//! The stations of a cluster that did not answer a query in full: the last pending response of a linked query.
//!
//! Invariants: it is sent only to who asks for it by [`LinkedElement::UnansweredStations`], and tells nothing of
//! patients. What is read of it is short, whatever was sent.

use std::fmt;

use dicom_core::VR;
use dicom_dictionary_std::tags;

use super::{BlockReader, CHARACTER_SET, CREATOR, CREATOR_TAG, LinkedElement};
use crate::dimse::charset::Decoder;
use crate::dimse::{DataSet, DataSetBuilder, Elements, trim_padding};
use crate::link::identifier::Key;
use crate::model::{LedgerEntry, Outcome};

/// Query/Retrieve Level (0008,0052) of the response.
pub const LEVEL: &str = "PARTIAL";

/// The most stations that are written or read.
const MOST_STATIONS: usize = 64;
/// The most characters of a name that are read.
const NAME_LENGTH: usize = 64;
/// The most characters of a detail that are written or read, which fit its value representation in any script.
const DETAIL_LENGTH: usize = 240;

/// A station that did not answer a query in full, as its cluster says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnansweredStation {
    /// Its name there.
    pub name: String,
    /// What became of it.
    pub outcome: Outcome,
    /// Why.
    pub detail: Option<String>,
}

impl UnansweredStation {
    /// The station of a ledger entry; `None` where it answered in full, or was not to be asked.
    pub fn of(entry: &LedgerEntry) -> Option<Self> {
        entry.is_missing().then(|| UnansweredStation {
            name: entry.station.to_string(),
            outcome: entry.outcome,
            detail: entry.detail.clone(),
        })
    }

    /// The identifier of the response.
    pub fn to_builder(stations: &[Self]) -> DataSetBuilder {
        let items = stations.iter().take(MOST_STATIONS).map(Self::item).collect();
        DataSetBuilder::new()
            .put(tags::SPECIFIC_CHARACTER_SET, VR::CS, CHARACTER_SET)
            .put(tags::QUERY_RETRIEVE_LEVEL, VR::CS, LEVEL)
            .put(CREATOR_TAG, VR::LO, CREATOR)
            .put_items(LinkedElement::UnansweredStations.tag(), items)
    }

    /// An item is a data set of its own, and so has its own creator element (PS3.5 7.8.1).
    fn item(&self) -> DataSetBuilder {
        let outcome = self.outcome.as_str().to_ascii_uppercase();
        let detail: String = self
            .detail
            .iter()
            .flat_map(|detail| detail.chars())
            .take(DETAIL_LENGTH)
            .collect();
        let values = [
            (LinkedElement::StationName, self.name.as_str()),
            (LinkedElement::StationOutcome, &outcome),
            (LinkedElement::OutcomeDetail, &detail),
        ];
        let item = DataSetBuilder::new().put(CREATOR_TAG, VR::LO, CREATOR);
        values.into_iter().fold(item, |item, (element, value)| {
            item.put(element.tag(), element.vr(), value)
        })
    }

    /// Reads the response; `None` where it is a match instead.
    pub fn read_all(data_set: &DataSet) -> Option<Vec<Self>> {
        let level = data_set.element(tags::QUERY_RETRIEVE_LEVEL).unwrap_or_default();
        if trim_padding(level) != LEVEL.as_bytes() {
            return None;
        }
        let decoder = Decoder::for_answer(data_set.specific_character_set(), None);
        let (mut block, mut stations) = (BlockReader::default(), Vec::new());
        for element in data_set.elements() {
            let known = block.element(&element);
            if known == Some(LinkedElement::UnansweredStations) && element.vr() == Some(VR::SQ) {
                let items = element.items().take(MOST_STATIONS);
                stations = items.map(|item| Self::read(item, &decoder)).collect();
            }
        }
        Some(stations)
    }

    /// Reads an item. An outcome that is not known is a failure.
    fn read(item: Elements<'_>, decoder: &Decoder) -> Self {
        let text = |value: &[u8], vr, most| -> String {
            let text = decoder.decode(trim_padding(value), vr);
            text.chars().filter(|c| !c.is_control()).take(most).collect()
        };
        let mut block = BlockReader::default();
        let mut station = UnansweredStation {
            name: String::new(),
            outcome: Outcome::Failed,
            detail: None,
        };
        for element in item {
            match block.element(&element) {
                Some(LinkedElement::StationName) => station.name = text(element.value, VR::LO, NAME_LENGTH),
                Some(LinkedElement::StationOutcome) => {
                    let word = text(element.value, VR::CS, NAME_LENGTH).to_ascii_lowercase();
                    station.outcome = word.parse().unwrap_or(Outcome::Failed);
                }
                Some(LinkedElement::OutcomeDetail) => {
                    let detail = text(element.value, VR::ST, DETAIL_LENGTH);
                    station.detail = (!detail.is_empty()).then_some(detail);
                }
                _ => {}
            }
        }
        station
    }
}

impl fmt::Display for UnansweredStation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "its station {} {}", self.name, self.outcome.as_str())?;
        match &self.detail {
            Some(detail) => write!(f, " ({detail})"),
            None => Ok(()),
        }
    }
}

/// The keys that ask for the response.
pub(in crate::link) fn keys() -> [Key; 2] {
    let key = |tag, vr, value: &str| Key {
        tag,
        vr,
        value: value.to_owned(),
    };
    [
        key(CREATOR_TAG, VR::LO, CREATOR),
        key(LinkedElement::UnansweredStations.tag(), VR::SQ, ""),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dimse::TransferSyntax;

    fn written(stations: &[UnansweredStation]) -> DataSet {
        let identifier = UnansweredStation::to_builder(stations);
        identifier.encode(TransferSyntax::ExplicitVrLittleEndian).unwrap()
    }

    #[test]
    fn what_is_written_is_read() {
        let station = |name: &str, outcome, detail: Option<&str>| UnansweredStation {
            name: name.to_owned(),
            outcome,
            detail: detail.map(str::to_owned),
        };
        let stations = [
            station(
                "PACS2",
                Outcome::Failed,
                Some("connection refused (10.0.0.2:104)"),
            ),
            station("KÜSTE", Outcome::Truncated, None),
            station("OLD", Outcome::Skipped, Some("suspended")),
        ];
        assert_eq!(
            UnansweredStation::read_all(&written(&stations)),
            Some(stations.to_vec())
        );
    }

    #[test]
    fn what_is_read_is_short_and_clean_and_a_match_is_no_account() {
        let long = UnansweredStation {
            name: "A".to_owned(),
            outcome: Outcome::Failed,
            detail: Some(format!("\u{1b}[31m{}", "ü".repeat(5000))),
        };
        let read = UnansweredStation::read_all(&written(&[long.clone(), long])).unwrap();
        let detail = read[1].detail.as_deref().unwrap();
        assert!(detail.chars().count() <= DETAIL_LENGTH && !detail.contains('\u{1b}'));
        let a_match = DataSetBuilder::new().put(tags::QUERY_RETRIEVE_LEVEL, VR::CS, "STUDY");
        let a_match = a_match.encode(TransferSyntax::ExplicitVrLittleEndian).unwrap();
        assert_eq!(UnansweredStation::read_all(&a_match), None);
    }

    #[test]
    fn only_what_is_missing_is_told() {
        let entry = |outcome, was_due| LedgerEntry {
            was_due,
            ..LedgerEntry::new("PACS".parse().unwrap(), outcome)
        };
        let told = |outcome, was_due| UnansweredStation::of(&entry(outcome, was_due)).is_some();
        assert!(told(Outcome::Failed, true) && told(Outcome::Skipped, true));
        assert!(!told(Outcome::Searched, true) && !told(Outcome::Skipped, false));
        assert!(!told(Outcome::Cancelled, true));
    }
}

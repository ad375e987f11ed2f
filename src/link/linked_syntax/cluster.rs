//! What a cluster says of itself to a linked one: the answer at Query/Retrieve Level `CLUSTER`.
//!
//! Invariant: stations are read as they are told, as text: what another cluster calls a station need not be a name here.

use dicom_core::VR;
use dicom_dictionary_std::tags;
use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::Offset;

use super::{BlockReader, CHARACTER_SET, CREATOR, CREATOR_TAG, LinkedElement};
use crate::dimse::charset::Decoder;
use crate::dimse::{DataSet, DataSetBuilder, Elements, trim_padding};
use crate::model::{ClusterName, Settings, Uid};

/// Query/Retrieve Level (0008,0052) of the question and the answer.
pub const LEVEL: &str = "CLUSTER";

const DATE_TIME: &str = "%Y%m%d%H%M%S%.6f";

/// What a cluster says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClusterAnswer {
    /// Its name, where it has one.
    pub name: Option<ClusterName>,
    /// Its identity.
    pub uid: Uid,
    /// The version of its impaxlink.
    pub software_version: String,
    /// The stations that it knows.
    pub stations: Vec<ClusterStation>,
    /// By which its specialties and body parts are compared with ours.
    pub vocabulary_digest: String,
    /// By which its prefetch rules are compared with ours; empty where it does not say.
    pub prefetch_rule_digest: String,
    /// What its clock says, to the microsecond.
    pub clock: Timestamp,
}

/// A station, as a cluster tells of it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ClusterStation {
    /// Its name there.
    pub name: String,
    /// Its AE title.
    pub ae_title: String,
    /// Its host, empty where it has no endpoint.
    pub host: String,
    /// Its port, where it has an endpoint.
    pub port: Option<u16>,
}

impl ClusterAnswer {
    /// The identifier of the answer.
    pub fn to_builder(&self) -> DataSetBuilder {
        let name = self.name.as_ref().map_or("", ClusterName::as_str);
        let clock = Offset::UTC
            .to_datetime(self.clock)
            .strftime(DATE_TIME)
            .to_string();
        let identifier = DataSetBuilder::new()
            .put(tags::SPECIFIC_CHARACTER_SET, VR::CS, CHARACTER_SET)
            .put(tags::QUERY_RETRIEVE_LEVEL, VR::CS, LEVEL)
            .put(tags::SOFTWARE_VERSIONS, VR::LO, self.software_version.as_str())
            .put(CREATOR_TAG, VR::LO, CREATOR);
        let stations = self.stations.iter().map(ClusterStation::to_builder).collect();
        put(identifier, LinkedElement::ClusterName, name)
            .put(LinkedElement::ClusterUid.tag(), VR::UI, self.uid.as_str())
            .put(
                LinkedElement::VocabularyDigest.tag(),
                VR::LO,
                self.vocabulary_digest.as_str(),
            )
            .put(
                LinkedElement::PrefetchRuleDigest.tag(),
                VR::LO,
                self.prefetch_rule_digest.as_str(),
            )
            .put_items(LinkedElement::Stations.tag(), stations)
            .put(LinkedElement::ClusterClock.tag(), VR::DT, format!("{clock}+0000"))
    }

    /// Reads an answer; `None` where it has no identity or no clock, without which it is of no use.
    pub fn read(data_set: &DataSet) -> Option<Self> {
        let decoder = Decoder::for_answer(data_set.specific_character_set(), None);
        let text = |value: &[u8]| decoder.decode(value, VR::LO).into_owned();
        let (mut block, mut uid, mut clock) = (BlockReader::default(), None, None);
        let (mut name, mut stations) = (None, Vec::new());
        let (mut vocabulary_digest, mut prefetch_rule_digest) = (String::new(), String::new());
        for element in data_set.elements() {
            match block.element(&element) {
                Some(LinkedElement::ClusterName) => name = text(element.value).parse().ok(),
                Some(LinkedElement::ClusterUid) => uid = text(element.value).parse().ok(),
                Some(LinkedElement::VocabularyDigest) => vocabulary_digest = text(element.value),
                Some(LinkedElement::PrefetchRuleDigest) => prefetch_rule_digest = text(element.value),
                Some(LinkedElement::ClusterClock) => clock = date_time(&text(element.value)),
                Some(LinkedElement::Stations) if element.vr() == Some(VR::SQ) => {
                    let items = element.items().map(|item| ClusterStation::read(item, &decoder));
                    stations = items.collect();
                }
                _ => {}
            }
        }
        Some(ClusterAnswer {
            name,
            uid: uid?,
            software_version: text(data_set.element(tags::SOFTWARE_VERSIONS).unwrap_or_default()),
            stations,
            vocabulary_digest,
            prefetch_rule_digest,
            clock: clock?,
        })
    }
}

impl ClusterStation {
    /// An item is a data set of its own, and so has its own creator element (PS3.5 7.8.1).
    fn to_builder(&self) -> DataSetBuilder {
        let item = DataSetBuilder::new()
            .put(tags::RETRIEVE_AE_TITLE, VR::AE, self.ae_title.as_str())
            .put(CREATOR_TAG, VR::LO, CREATOR);
        let item = put(item, LinkedElement::StationName, &self.name);
        let item = put(item, LinkedElement::StationHost, &self.host);
        let port = self.port.map_or(Vec::new(), |port| port.to_le_bytes().to_vec());
        item.put(LinkedElement::StationPort.tag(), VR::US, port)
    }

    fn read(item: Elements<'_>, decoder: &Decoder) -> Self {
        let text = |value: &[u8]| decoder.decode(value, VR::LO).into_owned();
        let (mut block, mut station) = (BlockReader::default(), ClusterStation::default());
        for element in item {
            if element.tag == tags::RETRIEVE_AE_TITLE {
                station.ae_title = text(element.value);
            }
            match block.element(&element) {
                Some(LinkedElement::StationName) => station.name = text(element.value),
                Some(LinkedElement::StationHost) => station.host = text(element.value),
                Some(LinkedElement::StationPort) => {
                    station.port = element.value.try_into().ok().map(u16::from_le_bytes);
                }
                _ => {}
            }
        }
        station
    }
}

/// The name under which the local cluster tells of itself: as set, else the host's where that is fit for one.
pub fn own_cluster_name(settings: &Settings) -> Option<ClusterName> {
    let host = || rustix::system::uname().nodename().to_str().ok()?.parse().ok();
    settings.cluster_name().or_else(host)
}

fn put(builder: DataSetBuilder, element: LinkedElement, value: &str) -> DataSetBuilder {
    builder.put(element.tag(), element.vr(), value)
}

/// A value of VR DT whose offset is UTC, as the linked syntax wants it.
fn date_time(value: &str) -> Option<Timestamp> {
    let bare = trim_padding(value.as_bytes()).strip_suffix(b"+0000")?;
    let local = DateTime::strptime("%Y%m%d%H%M%S%.f", bare).ok()?;
    Offset::UTC.to_timestamp(local).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::dimse::TransferSyntax;

    fn any_station() -> impl Strategy<Value = ClusterStation> {
        let parts = (
            "[A-Zä]{1,16}",
            "[A-Z]{1,16}",
            "[a-z0-9.]{0,40}",
            prop::option::of(any::<u16>()),
        );
        parts.prop_map(|(name, ae_title, host, port)| ClusterStation {
            name,
            ae_title,
            host,
            port,
        })
    }

    fn any_answer() -> impl Strategy<Value = ClusterAnswer> {
        let parts = (
            prop::option::of("[A-Z][a-zäöü]{0,20}"),
            "2\\.25\\.[1-9][0-9]{0,30}",
            "[0-9]\\.[0-9]",
            prop::collection::vec(any_station(), 0..5),
            "[0-9a-f]{64}",
            "[0-9a-f]{64}",
            0_i64..4_000_000_000_000_000,
        );
        parts.prop_map(
            |(name, uid, software_version, stations, vocabulary_digest, prefetch_rule_digest, clock)| {
                ClusterAnswer {
                    name: name.map(|name| name.parse().unwrap()),
                    uid: uid.parse().unwrap(),
                    software_version,
                    stations,
                    vocabulary_digest,
                    prefetch_rule_digest,
                    clock: Timestamp::from_microsecond(clock).unwrap(),
                }
            },
        )
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(answer in any_answer()) {
            let written = answer.to_builder().encode(TransferSyntax::ExplicitVrLittleEndian).unwrap();
            prop_assert_eq!(ClusterAnswer::read(&written), Some(answer));
        }
    }

    #[test]
    fn a_station_is_an_item_with_a_creator_of_its_own() {
        let station = ClusterStation {
            name: "PACS".to_owned(),
            ae_title: "PACS_QR".to_owned(),
            host: "10.0.0.1".to_owned(),
            port: Some(104),
        };
        let item = station
            .to_builder()
            .encode(TransferSyntax::ExplicitVrLittleEndian)
            .unwrap();
        let elements: Vec<_> = item
            .elements()
            .map(|element| (element.tag.0, element.tag.1, element.value))
            .collect();
        let expected: [(u16, u16, &[u8]); 5] = [
            (0x0008, 0x0054, b"PACS_QR "),
            (0x2711, 0x0010, b"IMPAXLINK LINK 1"),
            (0x2711, 0x100E, b"PACS"),
            (0x2711, 0x100F, b"10.0.0.1"),
            (0x2711, 0x1010, &[104, 0]),
        ];
        assert_eq!(elements, expected);
    }

    #[test]
    fn an_answer_without_an_identity_is_none() {
        let of_nobody = DataSetBuilder::new().put(CREATOR_TAG, VR::LO, CREATOR).put(
            LinkedElement::ClusterClock.tag(),
            VR::DT,
            "20240101000000.000000+0000",
        );
        let data_set = of_nobody.encode(TransferSyntax::ExplicitVrLittleEndian).unwrap();
        assert_eq!(ClusterAnswer::read(&data_set), None);
    }
}

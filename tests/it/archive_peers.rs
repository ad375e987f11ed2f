//! The archive's answers against those of Orthanc and dcmqrscp, for the same studies and some hundred generated queries.
//!
//! Where they differ, a row of `DIFFERENCES` says who is right and why; a difference without a row fails, and so does a
//! row that no query needs.

use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use dicom_core::Tag;
use dicom_core::dictionary::{DataDictionary, DataDictionaryEntry};
use dicom_dictionary_std::{StandardDataDictionary, tags};
use impaxlink::archive::{Archive, Key, Level, Query, Root, Row};
use tempfile::TempDir;

use super::support::archive::{query, rows};
use super::support::dcmqrscp::{Dcmqrscp, OUR_AE_TITLE};
use super::support::findscu;
use super::support::orthanc::Orthanc;
use super::support::studies::{Federation, Site, Study};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Peer {
    Orthanc,
    Dcmqrscp,
}

/// A query with one key that matters, and the study it is asked of at the lower levels.
#[derive(Debug, Clone)]
struct Asked {
    level: Level,
    keys: Vec<(Tag, String)>,
}

impl Asked {
    fn new(level: Level, keys: &[(Tag, &str)]) -> Self {
        let keys = keys.iter().map(|(tag, value)| (*tag, (*value).to_owned()));
        Asked {
            level,
            keys: keys.collect(),
        }
    }

    fn value(&self, tag: Tag) -> &str {
        self.keys
            .iter()
            .find(|(it, _)| *it == tag)
            .map_or("", |(_, value)| value)
    }

    fn any(&self, test: impl Fn(Tag, &str) -> bool) -> bool {
        self.keys.iter().any(|(tag, value)| test(*tag, value))
    }
}

/// What is known to differ: at whom, when, and why.
struct Difference {
    peer: Peer,
    applies: fn(&Asked) -> bool,
    why: &'static str,
}

const DIFFERENCES: &[Difference] = &[
    Difference {
        peer: Peer::Orthanc,
        applies: ends_with_an_hour,
        why: "it compares the end of a range of times as text, so that 03 ends before 0310; to us it is all of that hour",
    },
    Difference {
        peer: Peer::Dcmqrscp,
        applies: ends_with_an_hour,
        why: "as Orthanc",
    },
    Difference {
        peer: Peer::Orthanc,
        applies: has_leading_zero,
        why: "it compares IS as text; to us 01 is 1 (PS3.5 6.2)",
    },
    Difference {
        peer: Peer::Dcmqrscp,
        applies: has_leading_zero,
        why: "as Orthanc",
    },
    Difference {
        peer: Peer::Orthanc,
        applies: |asked| asked.value(tags::STUDY_INSTANCE_UID).ends_with('*'),
        why: "it fails on wildcards in a UID; PS3.4 has none there, so to us no UID is that text",
    },
    Difference {
        peer: Peer::Orthanc,
        applies: |asked| asked.any(|tag, _| tag == tags::NUMBER_OF_STUDY_RELATED_INSTANCES),
        why: "it matches a count against files, which have none; we match what we return",
    },
    Difference {
        peer: Peer::Dcmqrscp,
        applies: |asked| {
            let ignored = [
                tags::MODALITIES_IN_STUDY,
                tags::NUMBER_OF_STUDY_RELATED_INSTANCES,
                tags::SERIES_DESCRIPTION,
            ];
            asked.any(|tag, _| ignored.contains(&tag))
        },
        why: "it keeps no such attribute, ignores the key and returns everything",
    },
    Difference {
        peer: Peer::Dcmqrscp,
        applies: |asked| asked.any(|tag, value| tag == tags::PATIENT_NAME && value == value.to_lowercase()),
        why: "its names match with regard to case, which PS3.4 C.2.2.2.1 leaves to the archive; Orthanc's do as ours",
    },
    Difference {
        peer: Peer::Dcmqrscp,
        applies: |asked| asked.value(tags::PATIENT_NAME).contains("たろう"),
        why: "it does not decode names with code extensions (ISO 2022 IR 87)",
    },
    Difference {
        peer: Peer::Dcmqrscp,
        applies: |asked| asked.any(|tag, value| tag != tags::STUDY_INSTANCE_UID && value.contains('\\')),
        why: "it takes lists of UIDs alone, as PS3.4 has it; Orthanc and we take alternatives in all text",
    },
];

fn ends_with_an_hour(asked: &Asked) -> bool {
    let time = asked.value(tags::STUDY_TIME);
    time.starts_with('-') && time.len() == 3
}

fn has_leading_zero(asked: &Asked) -> bool {
    asked.value(tags::SERIES_NUMBER) == "01"
}

fn uid_of(level: Level) -> Tag {
    match level {
        Level::Patient => tags::PATIENT_ID,
        Level::Study => tags::STUDY_INSTANCE_UID,
        Level::Series => tags::SERIES_INSTANCE_UID,
        Level::Image => tags::SOP_INSTANCE_UID,
    }
}

fn keyword(tag: Tag) -> &'static str {
    StandardDataDictionary
        .by_tag(tag)
        .expect("a standard attribute")
        .alias()
}

fn ours(archive: &Archive, asked: &Asked) -> BTreeSet<String> {
    let mut keys: Vec<Key> = asked
        .keys
        .iter()
        .map(|(tag, value)| Key::text(*tag, value.clone()))
        .collect();
    keys.push(Key::text(uid_of(asked.level), ""));
    let query = Query {
        root: Root::Study,
        level: asked.level,
        keys,
        combined_datetime: false,
    };
    rows(archive, &query)
        .iter()
        .map(|row| row.0.text(uid_of(asked.level)).to_owned())
        .collect()
}

fn theirs(ae_title: &str, port: u16, asked: &Asked) -> Result<BTreeSet<String>, String> {
    let mut keys = vec!["SpecificCharacterSet=ISO_IR 192".to_owned()];
    keys.extend(
        asked
            .keys
            .iter()
            .map(|(tag, value)| format!("{}={value}", keyword(*tag))),
    );
    let uid = uid_of(asked.level);
    if !asked.any(|tag, _| tag == uid) {
        keys.push(keyword(uid).to_owned());
    }
    let level = match asked.level {
        Level::Patient => "PATIENT",
        Level::Study => "STUDY",
        Level::Series => "SERIES",
        Level::Image => "IMAGE",
    };
    keys.push(format!("QueryRetrieveLevel={level}"));
    let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
    let found = findscu::find(OUR_AE_TITLE, ae_title, port, &["-S"], &keys);
    if !found.success {
        return Err(found.log);
    }
    Ok(found
        .values(keyword(uid))
        .into_iter()
        .map(str::to_owned)
        .collect())
}

/// Queries by the values that the studies have, as they are, cut, with wildcards, in ranges and lists.
fn queries(site: &Site) -> Vec<Asked> {
    let mut studies: Vec<_> = site.studies.iter().step_by(7).collect();
    studies.dedup_by_key(|study| study.patient.name);
    let mut queries = Vec::new();
    for study in studies {
        let one = |(tag, value): (Tag, &str)| Asked::new(Level::Study, &[(tag, value)]);
        queries.extend(whole_values(study).into_iter().map(one));
        queries.extend(
            ranges_and_patterns(study)
                .iter()
                .map(|(tag, key)| one((*tag, key))),
        );
        let (id, date) = (study.patient.id.as_str(), study.date.as_str());
        queries.push(Asked::new(
            Level::Study,
            &[(tags::PATIENT_ID, id), (tags::STUDY_DATE, date)],
        ));
        let list = format!("{}\\{}", study.uid, site.studies[1].uid);
        queries.push(one((tags::STUDY_INSTANCE_UID, &list)));
        queries.extend(lower_levels(study));
    }
    let further = [
        (tags::PATIENT_NAME, ""),
        (tags::PATIENT_NAME, "*"),
        (tags::STUDY_DATE, ""),
        (tags::STUDY_DATE, "19000101-19991231"),
        (tags::STUDY_TIME, "235959-"),
        (tags::MODALITIES_IN_STUDY, "CT\\MR"),
        (tags::MODALITIES_IN_STUDY, "C?"),
        (tags::MODALITIES_IN_STUDY, "XX"),
        (tags::STUDY_DESCRIPTION, "CHEST\\BRAIN"),
        (tags::STUDY_INSTANCE_UID, "2.25.*"),
        (tags::ACCESSION_NUMBER, "\"\""),
        (tags::NUMBER_OF_STUDY_RELATED_INSTANCES, "4"),
    ];
    queries.extend(further.map(|key| Asked::new(Level::Study, &[key])));
    queries
}

fn whole_values(study: &Study) -> [(Tag, &str); 12] {
    [
        (tags::PATIENT_NAME, study.patient.name),
        (tags::PATIENT_ID, &study.patient.id),
        (tags::PATIENT_BIRTH_DATE, &study.patient.birth_date),
        (tags::PATIENT_SEX, study.patient.sex),
        (tags::ISSUER_OF_PATIENT_ID, study.patient.issuer),
        (tags::STUDY_DATE, &study.date),
        (tags::STUDY_TIME, &study.time),
        (tags::ACCESSION_NUMBER, &study.accession_number),
        (tags::STUDY_DESCRIPTION, study.description),
        (tags::REFERRING_PHYSICIAN_NAME, study.referring_physician),
        (tags::STUDY_INSTANCE_UID, &study.uid),
        (tags::MODALITIES_IN_STUDY, study.series[0].modality),
    ]
}

fn ranges_and_patterns(study: &Study) -> Vec<(Tag, String)> {
    let (name, id) = (study.patient.name, study.patient.id.as_str());
    let (first, last) = name.split_once('^').expect("a name of two components");
    let date: u32 = study.date.parse().expect("a date");
    let hour = &study.time[..2];
    vec![
        (tags::PATIENT_NAME, format!("{first}*")),
        (tags::PATIENT_NAME, name.to_lowercase()),
        (
            tags::PATIENT_NAME,
            format!("*{}", last.rsplit('^').next().unwrap_or(last)),
        ),
        (
            tags::PATIENT_NAME,
            format!("?{}*", first.chars().skip(1).collect::<String>()),
        ),
        (tags::PATIENT_NAME, first.to_owned()),
        (tags::STUDY_DATE, format!("{date}-")),
        (tags::STUDY_DATE, format!("-{date}")),
        (tags::STUDY_DATE, format!("{}-{}", date - 10_000, date + 10_000)),
        (tags::STUDY_TIME, format!("{hour}0000-{hour}5959")),
        (tags::STUDY_TIME, format!("{hour}-")),
        (tags::STUDY_TIME, format!("-{hour}")),
        (tags::STUDY_TIME, study.time[..4].to_owned()),
        (tags::PATIENT_ID, format!("{}*", &id[..2])),
        (tags::PATIENT_ID, format!("{id}\\nobody")),
        (
            tags::ACCESSION_NUMBER,
            format!("?{}", &study.accession_number[1..]),
        ),
        (tags::STUDY_DESCRIPTION, format!("{}*", &study.description[..4])),
        (tags::STUDY_DESCRIPTION, study.description.to_lowercase()),
    ]
}

fn lower_levels(study: &Study) -> Vec<Asked> {
    let series = &study.series[1];
    let of_study = (tags::STUDY_INSTANCE_UID, study.uid.as_str());
    let of_series = (tags::SERIES_INSTANCE_UID, series.uid.as_str());
    let keys = [
        (tags::SERIES_NUMBER, "1"),
        (tags::SERIES_NUMBER, "01"),
        (tags::MODALITY, series.modality),
        (tags::SERIES_DESCRIPTION, series.description),
        (tags::SERIES_DESCRIPTION, "?*"),
        of_series,
    ];
    let mut queries: Vec<Asked> = keys.map(|key| Asked::new(Level::Series, &[of_study, key])).into();
    queries.push(Asked::new(Level::Image, &[of_study, of_series]));
    queries.push(Asked::new(
        Level::Image,
        &[of_study, of_series, (tags::INSTANCE_NUMBER, "1")],
    ));
    queries
}

struct Archives {
    site: Site,
    archive: Archive,
    orthanc: Orthanc,
    dcmqrscp: Dcmqrscp,
    _folder: TempDir,
}

fn archives() -> Archives {
    let federation = Federation::new(11, 48);
    let [site, ..] = federation.sites;
    let folder = tempfile::tempdir().expect("a temporary folder");
    let source = folder.path().join("source");
    std::fs::create_dir(&source).expect("a folder");
    for study in &site.studies {
        study.write_files(&source);
    }
    let archive = Archive::open(&folder.path().join("archive")).expect("an archive");
    archive
        .import(&[source], false, |_, _, _| ControlFlow::Continue(()))
        .expect("an import");
    Archives {
        archive,
        orthanc: Orthanc::start(site.ae_title, &site.studies),
        dcmqrscp: Dcmqrscp::start(site.ae_title, &site.studies),
        site,
        _folder: folder,
    }
}

#[test]
fn differs_from_the_real_archives_only_as_known() {
    let archives = archives();
    let queries = queries(&archives.site);
    assert!(queries.len() > 200, "{}", queries.len());
    let next = AtomicUsize::new(0);
    let results = Mutex::new((BTreeSet::new(), Vec::new()));
    let compare = |asked: &Asked, peer: Peer, port: u16| {
        let ours = ours(&archives.archive, asked);
        let theirs = theirs(archives.site.ae_title, port, asked);
        if theirs.as_ref() == Ok(&ours) {
            return;
        }
        let known = DIFFERENCES
            .iter()
            .position(|known| known.peer == peer && (known.applies)(asked));
        let mut results = results.lock().expect("results");
        match known {
            Some(known) => drop(results.0.insert(known)),
            None => results.1.push(format!(
                "{peer:?} to {asked:?}\n  ours {ours:?}\n  theirs {theirs:?}"
            )),
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                while let Some(asked) = queries.get(next.fetch_add(1, Ordering::Relaxed)) {
                    compare(asked, Peer::Orthanc, archives.orthanc.port);
                    compare(asked, Peer::Dcmqrscp, archives.dcmqrscp.port);
                }
            });
        }
    });
    let (seen, unexplained) = results.into_inner().expect("results");
    assert!(unexplained.is_empty(), "{}", unexplained.join("\n"));
    for (number, known) in DIFFERENCES.iter().enumerate() {
        assert!(
            seen.contains(&number),
            "no query differs any more at {:?} because {}",
            known.peer,
            known.why
        );
    }
}

#[test]
fn returns_what_the_real_archives_return() {
    let archives = archives();
    let of_both = [
        tags::STUDY_INSTANCE_UID,
        tags::PATIENT_ID,
        tags::STUDY_DATE,
        tags::STUDY_TIME,
        tags::ACCESSION_NUMBER,
        tags::STUDY_ID,
        tags::STUDY_DESCRIPTION,
        tags::REFERRING_PHYSICIAN_NAME,
        tags::PATIENT_SEX,
        tags::PATIENT_BIRTH_DATE,
    ];
    // Only Orthanc returns these, and names in one encoding.
    let of_orthanc = [
        tags::PATIENT_NAME,
        tags::MODALITIES_IN_STUDY,
        tags::NUMBER_OF_STUDY_RELATED_SERIES,
        tags::NUMBER_OF_STUDY_RELATED_INSTANCES,
        tags::SOP_CLASSES_IN_STUDY,
    ];
    let returned = |port: u16, wanted: &[Tag]| {
        let keywords: Vec<&str> = wanted.iter().map(|tag| keyword(*tag)).collect();
        let found = findscu::find_studies(archives.site.ae_title, port, &keywords);
        let values = |answer: &findscu::Answer| {
            let value = |keyword: &&str| answer.get(*keyword).cloned().unwrap_or_default();
            keywords.iter().map(value).collect::<Vec<String>>()
        };
        found.answers.iter().map(values).collect::<BTreeSet<_>>()
    };
    let ours = |wanted: &[Tag]| {
        let keys: Vec<(Tag, &str)> = wanted.iter().map(|tag| (*tag, "")).collect();
        let values = |row: Row| {
            wanted
                .iter()
                .map(|tag| row.0.text(*tag).to_owned())
                .collect::<Vec<String>>()
        };
        rows(&archives.archive, &query(Level::Study, &keys))
            .into_iter()
            .map(values)
            .collect::<BTreeSet<_>>()
    };
    assert_eq!(ours(&of_both).len(), archives.site.studies.len());
    assert_eq!(ours(&of_both), returned(archives.dcmqrscp.port, &of_both));
    let all = [&of_both[..], &of_orthanc].concat();
    assert_eq!(ours(&all), returned(archives.orthanc.port, &all));
}

//! Matching in the archive against a naive reference: the definitions of PS3.4 C.2.2.2 on plain text, in memory.
//!
//! The values and keys are drawn from small pools, so that they meet often, and in every way that a key can be right or
//! nearly right. The reference shares no code with the archive.

use std::sync::LazyLock;

use dicom_core::{Tag, VR};
use dicom_dictionary_std::tags;
use impaxlink::archive::{Archive, Key, Level, Query, Root};
use proptest::prelude::*;
use proptest::sample::select;
use proptest::strategy::ValueTree;
use proptest::test_runner::{Config, RngSeed, TestRunner};
use tempfile::TempDir;

use super::support::archive::{Object, rows, vr};

const NAMES: &[&str] = &[
    "",
    "DOE^JANE",
    "doe^jane^^",
    "DOE^JÁNE",
    "Doe",
    "Müller^Jürgen",
    "MULLER^J",
    "Groß^B",
    "Łuc^A",
    "Yamada^Tarou=山田^太郎=やまだ^たろう",
    "山田^太郎",
];
const NAME_KEYS: &[&str] = &[
    "",
    "*",
    "doe^jane",
    "DOE*",
    "*JANE*",
    "MÜLLER*",
    "muller^?*",
    "GROSS*",
    "luc^a",
    "山田^太郎",
    "山田*",
    "*=山田*",
    "D?E",
    "YAMADA^TAROU",
    "*\\DOE",
    "\"\"",
];
const TEXTS: &[&str] = &["", "CHEST", "Chest", "CHEST PA", "ABDOMEN", "C", "a*b"];
const TEXT_KEYS: &[&str] = &[
    "",
    "**",
    "CHEST",
    "C*",
    "C?EST",
    "*PA",
    "?",
    "chest",
    "C\\ABDOMEN",
    "\"\"",
    " CHEST ",
];
const DATES: &[&str] = &[
    "",
    "20240101",
    "20240131",
    "20231231",
    "2024.01.15",
    "not a date",
    "20240230",
];
const DATE_KEYS: &[&str] = &[
    "",
    "*",
    "20240131",
    "20240101-20240131",
    "-20240101",
    "20240115-",
    "20240201-20240101",
    "2024*",
    "\"\"",
];
const TIMES: &[&str] = &[
    "",
    "10",
    "1030",
    "103000",
    "103000.5",
    "235959.999999",
    "noon",
    "093000",
];
const TIME_KEYS: &[&str] = &[
    "",
    "1030",
    "10-11",
    "1030-",
    "-1030",
    "103000.5-103001",
    "10*",
    "2200-0600",
    "\"\"",
];
const MODALITIES: &[&str] = &["CT", "MR", "SR", ""];
const MODALITY_KEYS: &[&str] = &["", "CT", "CT\\SR", "?R", "*", "XX", "\"\""];
const IDS: &[&str] = &["P1", "P2", "P10", "p1", ""];
const ID_KEYS: &[&str] = &["", "P1", "P?", "P*", "P1\\P2", "*1", "\"\""];
const UIDS: &[&str] = &["1.2.1", "1.2.2", "1.2.3"];
const UID_KEYS: &[&str] = &["", "1.2.1", "1.2.1\\1.2.3", "1.2.*", "1.2"];
const NUMBERS: &[&str] = &["1", "01", "2", "-1", ""];
const NUMBER_KEYS: &[&str] = &["", "1", "2", "10", "+1", "-1", "1\\2", "\"\""];

struct Attribute {
    tag: Tag,
    values: &'static [&'static str],
    keys: &'static [&'static str],
}

const ATTRIBUTES: [Attribute; 9] = [
    Attribute {
        tag: tags::PATIENT_NAME,
        values: NAMES,
        keys: NAME_KEYS,
    },
    Attribute {
        tag: tags::PATIENT_ID,
        values: IDS,
        keys: ID_KEYS,
    },
    Attribute {
        tag: tags::STUDY_DESCRIPTION,
        values: TEXTS,
        keys: TEXT_KEYS,
    },
    Attribute {
        tag: tags::ACCESSION_NUMBER,
        values: TEXTS,
        keys: TEXT_KEYS,
    },
    Attribute {
        tag: tags::STUDY_DATE,
        values: DATES,
        keys: DATE_KEYS,
    },
    Attribute {
        tag: tags::STUDY_TIME,
        values: TIMES,
        keys: TIME_KEYS,
    },
    Attribute {
        tag: tags::MODALITY,
        values: MODALITIES,
        keys: MODALITY_KEYS,
    },
    Attribute {
        tag: tags::FRAME_OF_REFERENCE_UID,
        values: UIDS,
        keys: UID_KEYS,
    },
    Attribute {
        tag: tags::INSTANCE_NUMBER,
        values: NUMBERS,
        keys: NUMBER_KEYS,
    },
];

struct Fixture {
    objects: Vec<Object>,
    archive: Archive,
    _folder: TempDir,
}

static FIXTURE: LazyLock<Fixture> = LazyLock::new(|| {
    let mut runner = runner(1);
    let folder = tempfile::tempdir().expect("a temporary folder");
    let archive = Archive::open(folder.path()).expect("an archive");
    let draw = |runner: &mut TestRunner, values: &'static [&'static str]| {
        select(values).new_tree(runner).expect("a value").current()
    };
    let object = |number: usize| {
        let object = ATTRIBUTES.iter().fold(Object::new(number), |object, attribute| {
            object.with(attribute.tag, draw(&mut runner, attribute.values))
        });
        // Each with an issuer of its own: all patients are others, so that no object takes another's name.
        object.with(tags::ISSUER_OF_PATIENT_ID, &format!("I{number}"))
    };
    let objects: Vec<Object> = (0..250).map(object).collect();
    for object in &objects {
        object.store(&archive).expect("a stored object");
    }
    Fixture {
        objects,
        archive,
        _folder: folder,
    }
});

fn runner(seed: u64) -> TestRunner {
    let cases = 1000;
    TestRunner::new(Config {
        cases,
        rng_seed: RngSeed::Fixed(seed),
        failure_persistence: None,
        ..Config::default()
    })
}

fn keys() -> impl Strategy<Value = Vec<(Tag, &'static str)>> {
    let key = (0..ATTRIBUTES.len()).prop_flat_map(|at| {
        let Attribute { tag, keys, .. } = ATTRIBUTES[at];
        select(keys).prop_map(move |key| (tag, key))
    });
    prop::collection::vec(key, 1..4).prop_map(|mut keys| {
        keys.sort();
        keys.dedup_by_key(|(tag, _)| *tag);
        keys
    })
}

#[test]
fn agrees_with_the_definitions() {
    let (fixture, mut met) = (&*FIXTURE, 0);
    let checked = runner(2).run(&(keys(), any::<bool>()), |(keys, combined_datetime)| {
        let query = Query {
            root: Root::Study,
            level: Level::Image,
            keys: keys
                .iter()
                .map(|(tag, key)| Key::text(*tag, *key))
                .chain([Key::text(tags::SOP_INSTANCE_UID, "")])
                .collect(),
            combined_datetime,
        };
        let rows = rows(&fixture.archive, &query);
        let mut found: Vec<&str> = rows
            .iter()
            .map(|row| row.0.text(tags::SOP_INSTANCE_UID))
            .collect();
        found.sort_unstable();
        let matching = fixture
            .objects
            .iter()
            .filter(|object| matches(object, &keys, combined_datetime));
        let mut expected: Vec<&str> = matching
            .map(|object| object.value(tags::SOP_INSTANCE_UID))
            .collect();
        expected.sort_unstable();
        prop_assert_eq!(found, expected, "{:?} {}", keys, combined_datetime);
        Ok(())
    });
    checked.unwrap_or_else(|failure| panic!("{failure}"));
    for object in &fixture.objects {
        met += usize::from(matches(object, &[(tags::PATIENT_NAME, "DOE*")], false));
    }
    assert!(met > 10, "the pools meet");
}

/// The reference.
fn matches(object: &Object, keys: &[(Tag, &str)], combined_datetime: bool) -> bool {
    let key_of = |tag: Tag| keys.iter().find(|(it, _)| *it == tag).map_or("", |(_, key)| *key);
    let (date, time) = (key_of(tags::STUDY_DATE), key_of(tags::STUDY_TIME));
    let is_range = |key: &str| !key.contains(['*', '"']) && !key.is_empty();
    let combined = combined_datetime && is_range(date) && is_range(time);
    let by_each = keys
        .iter()
        .filter(|(tag, _)| !(combined && *tag == tags::STUDY_TIME));
    let by_each = by_each
        .into_iter()
        .all(|(tag, key)| attribute_matches(*tag, key, object.value(*tag)));
    by_each
        && (!combined
            || moment_matches(
                date,
                time,
                object.value(tags::STUDY_DATE),
                object.value(tags::STUDY_TIME),
            ))
}

fn attribute_matches(tag: Tag, key: &str, value: &str) -> bool {
    let key = key.trim();
    if key.chars().all(|character| character == '*') {
        return true;
    }
    if key == "\"\"" {
        return value.is_empty();
    }
    key.split('\\').any(|key| match vr(tag) {
        VR::PN => {
            let (key, value) = (plain(key), plain(value));
            let whole = value.clone();
            let groups = value
                .split('=')
                .filter(|group| !group.is_empty() && !key.contains('='));
            std::iter::once(whole.as_str())
                .chain(groups)
                .any(|form| glob(&key, form))
        }
        VR::UI => key == value,
        _ if key.contains(['*', '?']) => glob(key, value),
        VR::DA => within(key, value, |text, _| digits_of_date(text)),
        VR::TM => within(key, value, digits_of_time),
        VR::IS => value.parse::<i64>().ok() == key.parse::<i64>().ok() && !value.is_empty(),
        _ => key == value,
    })
}

fn within(key: &str, value: &str, digits: impl Fn(&str, bool) -> Option<String>) -> bool {
    let Some(value) = digits(value, false) else {
        return false;
    };
    match key.split_once('-') {
        None => digits(key, false) == Some(value),
        Some((from, to)) => {
            (from.is_empty() || digits(from, false).is_some_and(|from| from <= value))
                && (to.is_empty() || digits(to, true).is_some_and(|to| value <= to))
        }
    }
}

fn moment_matches(date: &str, time: &str, value_date: &str, value_time: &str) -> bool {
    let Some(day) = digits_of_date(value_date) else {
        return false;
    };
    let ends = |key: &str| {
        key.split_once('-')
            .map_or((key.to_owned(), key.to_owned()), |(a, b)| (a.into(), b.into()))
    };
    let ((from_day, to_day), (from_time, to_time)) = (ends(date), ends(time));
    // One time means its first moment.
    let is_one = !time.contains('-');
    let from = format!(
        "{from_day}{}",
        digits_of_time(&from_time, false).unwrap_or_else(|| "0".repeat(12))
    );
    let to = format!(
        "{to_day}{}",
        digits_of_time(&to_time, !is_one).unwrap_or_else(|| "9".repeat(12))
    );
    let moments = match digits_of_time(value_time, false) {
        Some(time) => [format!("{day}{time}"), format!("{day}{time}")],
        None => [
            format!("{day}{}", "0".repeat(12)),
            format!("{day}{}", "9".repeat(12)),
        ],
    };
    (from_day.is_empty() || from <= moments[1]) && (to_day.is_empty() || moments[0] <= to)
}

fn digits_of_date(text: &str) -> Option<String> {
    let digits = text.replace('.', "");
    let is_date =
        digits.len() == 8 && digits.bytes().all(|byte| byte.is_ascii_digit()) && digits != "20240230";
    is_date.then_some(digits)
}

/// Twelve digits: the first or the last moment that a time can mean.
fn digits_of_time(text: &str, last: bool) -> Option<String> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let is_time = [2, 4, 6].contains(&whole.len()) && whole.bytes().all(|byte| byte.is_ascii_digit());
    let rest = if last { "5959" } else { "0000" };
    let filler = if last { "9" } else { "0" };
    is_time.then(|| {
        let whole = format!("{whole}{}", &rest[..6 - whole.len()]);
        format!("{whole}{fraction}{}", filler.repeat(6 - fraction.len()))
    })
}

/// The names of the pool without case and accents.
fn plain(name: &str) -> String {
    let lower = name.to_lowercase();
    let bare = [("á", "a"), ("ü", "u"), ("ß", "ss"), ("ł", "l")];
    let bare = bare
        .iter()
        .fold(lower, |name, (accented, bare)| name.replace(accented, bare));
    let groups: Vec<&str> = bare.split('=').map(|group| group.trim_end_matches('^')).collect();
    groups.join("=")
}

fn glob(pattern: &str, value: &str) -> bool {
    let mut characters = pattern.chars();
    match characters.next() {
        None => value.is_empty(),
        Some('*') => {
            let mut ends = value.char_indices().map(|(at, _)| at).chain([value.len()]);
            ends.any(|at| glob(characters.as_str(), &value[at..]))
        }
        Some(wanted) => value.chars().next().is_some_and(|first| {
            (wanted == '?' || wanted == first) && glob(characters.as_str(), &value[first.len_utf8()..])
        }),
    }
}

//! Each feature of a rule with its verdict, and what holds for any rules and candidates.

use jiff::civil::{date, time};
use proptest::prelude::*;

use super::*;
use crate::model::{IssuerDomain, PatientId, read_prefetch_csv};

const NOW: &str = "2026-03-10T12:00:00Z";

fn now() -> Timestamp {
    NOW.parse().unwrap()
}

/// A study by `UID MODALITY BODY_PART DATE`; `-` is not known.
fn study(text: &str) -> StudyAnswer {
    let known = |word: &str| (word != "-").then(|| word.replace('_', " "));
    let [uid, modality, part, day] = text.split(' ').collect::<Vec<_>>()[..].try_into().unwrap();
    let patient = PatientId {
        id: "4711".to_owned(),
        domain: IssuerDomain::Named("NORTH".parse().unwrap()),
    };
    let mut study = StudyAnswer::new(uid.parse().unwrap(), patient);
    study.modalities = known(modality).into_iter().collect();
    study.body_part = known(part);
    study.study_date = known(day).map(|day| day.parse().unwrap());
    study
}

fn rules(lines: &str) -> PrefetchRules {
    let heading = crate::model::PREFETCH_COLUMNS.join(",");
    read_prefetch_csv(&format!("{heading}\n{lines}")).unwrap()
}

fn verdicts(rules: &PrefetchRules, current: Option<&StudyAnswer>, studies: &[StudyAnswer]) -> Vec<String> {
    let candidates: Vec<Candidate<'_>> = studies.iter().map(plain).collect();
    let current = current.map(Current::from);
    told(&judge(rules, current.as_ref(), &candidates, now()), studies)
}

fn plain(study: &StudyAnswer) -> Candidate<'_> {
    Candidate {
        study,
        availability: study.availability,
        doubt: None,
    }
}

fn told(judged: &[Judged], studies: &[StudyAnswer]) -> Vec<String> {
    let line = |judged: &Judged| {
        let uid = &studies[judged.candidate].study_instance_uid;
        match &judged.verdict {
            Verdict::Chosen(chosen) => format!("{uid} {}: {}", chosen.rule, chosen.reason),
            Verdict::LeftOut(why) => format!("{uid} - {why}"),
        }
    };
    judged.iter().map(line).collect()
}

/// The verdict of one prior under one rule, the study at hand being a CT of the chest of today.
fn one(rule: &str, prior: StudyAnswer) -> String {
    let current = study("1.1 CT CHEST 2026-03-10");
    verdicts(&rules(rule), Some(&current), &[prior]).remove(0)
}

fn chest_ct(change: impl FnOnce(&mut StudyAnswer)) -> StudyAnswer {
    let mut study = study("1.2 CT CHEST 2026-01-10");
    change(&mut study);
    study
}

#[test]
fn body_part_is_the_same_or_listed() {
    let rule = "r,1,,,,,same,,,,,,";
    assert_eq!(one(rule, chest_ct(|_| {})), "1.2 r: CHEST, 2 mo old");
    assert_eq!(
        one(rule, study("1.2 CT HEAD 2026-01-10")),
        "1.2 - other body part (HEAD)"
    );
    assert_eq!(
        one(rule, study("1.2 CT - 2026-01-10")),
        "1.2 - its body part is not known"
    );
    let listed = "r,1,,,,,HE*|NECK,,,,,,";
    assert_eq!(
        one(listed, study("1.2 CT HEART 2026-03-01")),
        "1.2 r: HEART, 9 d old"
    );
    assert_eq!(one(listed, chest_ct(|_| {})), "1.2 - other body part (CHEST)");
}

#[test]
fn modality_is_the_same_or_listed_and_reports_make_none_alike() {
    let rule = "r,1,,,,same,,,,,,,";
    assert_eq!(one(rule, chest_ct(|_| {})), "1.2 r: CT, 2 mo old");
    assert_eq!(
        one(rule, study("1.2 MR CHEST 2026-01-10")),
        "1.2 - other modality (MR)"
    );
    let mut current = study("1.1 CT CHEST 2026-03-10");
    let mut prior = study("1.2 MR CHEST 2026-01-10");
    current.modalities.push("SR".to_owned());
    prior.modalities.push("SR".to_owned());
    assert_eq!(
        verdicts(&rules(rule), Some(&current), &[prior]),
        ["1.2 - other modality (MR)"]
    );
    assert_eq!(
        one("r,1,,,,MR|PT,,,,,,,", study("1.2 PT - 2025-03-10")),
        "1.2 r: PT, 1 y old"
    );
}

#[test]
fn specialty_is_the_same_or_listed() {
    let thoracic = |study: &mut StudyAnswer| study.specialty = Some("THORACIC".to_owned());
    let rule = "r,1,,,,,,THORACIC,,,,,";
    assert_eq!(one(rule, chest_ct(thoracic)), "1.2 r: THORACIC, 2 mo old");
    assert_eq!(one(rule, chest_ct(|_| {})), "1.2 - its specialty is not known");
    assert_eq!(
        one("r,1,,,,,,same,,,,,", chest_ct(thoracic)),
        "1.2 - other specialty (THORACIC)"
    );
}

#[test]
fn a_rule_may_be_for_some_studies_alone() {
    for (rule, is_for) in [
        ("r,1,CT,,,,,,,,,,", true),
        ("r,1,MG|CR,,,,,,,,,,", false),
        ("r,1,,CHEST,,,,,,,,,", true),
        ("r,1,,HEAD,,,,,,,,,", false),
        ("r,1,,,THORACIC,,,,,,,,", false),
    ] {
        let told = one(rule, chest_ct(|_| {}));
        let expected = match is_for {
            true => "1.2 r: 2 mo old",
            false => "1.2 - no rule is for such a study",
        };
        assert_eq!(told, expected, "{rule}");
    }
}

#[test]
fn age_is_counted_back_from_the_study_at_hand() {
    let rule = "r,1,,,,,,,2y,,,,";
    assert_eq!(one(rule, study("1.2 CT - 2024-03-10")), "1.2 r: 2 y old");
    assert_eq!(one(rule, study("1.2 CT - 2024-03-09")), "1.2 - too old by 1 d");
    assert_eq!(
        one(rule, study("1.2 CT - 2022-12-10")),
        "1.2 - too old by 1 y 3 mo"
    );
    assert_eq!(one(rule, study("1.2 CT - -")), "1.2 - its date is not known");
    let scheduled = study("1.1 CT CHEST 2026-09-10");
    let prior = [study("1.2 CT - 2024-03-10")];
    assert_eq!(
        verdicts(&rules(rule), Some(&scheduled), &prior),
        ["1.2 - too old by 6 mo"]
    );
}

#[test]
fn the_newest_are_taken_up_to_the_number() {
    let priors = ["2020-01-01", "2025-01-01", "2021-01-01", "2024-01-01"];
    let priors: Vec<StudyAnswer> = priors
        .iter()
        .map(|day| study(&format!("1.{} CT CHEST {day}", &day[..4])))
        .collect();
    let current = study("1.1 CT CHEST 2026-01-01");
    assert_eq!(
        verdicts(&rules("r,1,,,,,,,,2,,,"), Some(&current), &priors),
        [
            "1.2025 r: 1 y old, newest of at most 2",
            "1.2024 r: 2 y old, 2nd newest of at most 2",
            "1.2021 - 3rd newest of at most 2",
            "1.2020 - 4th newest of at most 2",
        ]
    );
}

#[test]
fn the_report_must_be_far_enough() {
    let rule = "r,1,,,,,,,,,TRANSCRIBED,,";
    let with = |status: &str| chest_ct(|study| study.interpretation_status = Some(status.to_owned()));
    assert_eq!(one(rule, with("APPROVED")), "1.2 r: report APPROVED, 2 mo old");
    assert_eq!(
        one(rule, with("TRANSCRIBED")),
        "1.2 r: report TRANSCRIBED, 2 mo old"
    );
    assert_eq!(one(rule, with("NEW")), "1.2 - report NEW, below TRANSCRIBED");
    assert_eq!(
        one(rule, with("UNKNOWN")),
        "1.2 - report UNKNOWN, below TRANSCRIBED"
    );
    assert_eq!(
        one(rule, chest_ct(|_| {})),
        "1.2 - its report status is not known, at least TRANSCRIBED is wanted"
    );
}

#[test]
fn verification_may_be_wanted_and_must_not_have_failed() {
    let with = |verification| chest_ct(|study| study.verification = verification);
    let (any, verified) = ("r,1,,,,,,,,,,,", "r,1,,,,,,,,,,yes,");
    assert_eq!(
        one(verified, with(Some(Verification::Verified))),
        "1.2 r: verified, 2 mo old"
    );
    assert_eq!(
        one(verified, with(Some(Verification::Unverified))),
        "1.2 - not verified"
    );
    assert_eq!(one(verified, with(None)), "1.2 - not verified");
    assert_eq!(one(any, with(Some(Verification::Unverified))), "1.2 r: 2 mo old");
    assert_eq!(
        one(any, with(Some(Verification::Failed))),
        "1.2 - its verification failed"
    );
}

#[test]
fn a_copy_may_be_too_far_away() {
    let with = |place| chest_ct(|study| study.availability = place);
    let rule = "r,1,,,,,,,,,,,nearline";
    assert_eq!(one(rule, with(Some(Availability::Nearline))), "1.2 r: 2 mo old");
    assert_eq!(one(rule, with(Some(Availability::Offline))), "1.2 - offline");
    assert_eq!(one(rule, with(None)), "1.2 r: 2 mo old");
    let unavailable = with(Some(Availability::Unavailable));
    assert_eq!(one("r,1,,,,,,,,,,,", unavailable), "1.2 - no copy is to be had");
}

#[test]
fn what_is_in_doubt_is_never_a_prior() {
    let rules = rules("r,1,,,,,,,,,,,");
    let prior = chest_ct(|_| {});
    for (doubt, words) in [
        (Doubt::OtherPatient, "not known to be this patient's"),
        (
            Doubt::Conflict,
            "in conflict: its UID stands for different patients",
        ),
        (Doubt::UnderReview, "under review"),
    ] {
        let candidate = Candidate {
            doubt: Some(doubt),
            ..plain(&prior)
        };
        let judged = judge(&rules, None, &[candidate], now());
        assert_eq!(
            told(&judged, std::slice::from_ref(&prior)),
            [format!("1.2 - {words}")]
        );
    }
}

#[test]
fn neither_the_study_itself_nor_a_later_one_is_a_prior() {
    let rule = "r,1,,,,,,,,,,,";
    assert_eq!(
        one(rule, study("1.1 CT CHEST 2026-03-10")),
        "1.1 - the study itself"
    );
    assert_eq!(
        one(rule, study("1.3 CT CHEST 2026-03-11")),
        "1.3 - not earlier than the study"
    );
    assert_eq!(
        one(rule, study("1.3 CT CHEST 2026-03-10")),
        "1.3 r: 0 d old",
        "of the same day"
    );
}

#[test]
fn the_rule_that_it_came_nearest_to_is_told() {
    let rules = rules("part,1,,,,,same,,,,,,\nct,2,,,,CT,,,1y,,,,\n");
    let current = study("1.1 CT CHEST 2026-03-10");
    let judged = verdicts(&rules, Some(&current), &[study("1.2 CT HEAD 2024-03-10")]);
    assert_eq!(judged, ["1.2 - too old by 1 y"]);
}

#[test]
fn rank_is_by_rule_and_then_newest() {
    let rules = rules("mr,1,,,,MR,,,,,,,\nany,2,,,,,,,,2,,,\n");
    let priors = [
        study("1.2 CT CHEST 2025-03-10"),
        study("1.3 MR CHEST 2020-03-10"),
        study("1.4 MR CHEST 2026-03-01"),
    ];
    assert_eq!(
        verdicts(&rules, None, &priors),
        [
            "1.4 mr: MR, 9 d old",
            "1.3 mr: MR, 6 y old",
            "1.2 any: 1 y old, 2nd newest of at most 2"
        ]
    );
}

#[test]
fn without_a_study_at_hand_same_is_the_priors_own() {
    let judged = verdicts(
        &rules("mg,1,MG,,,same,same,,,,,,"),
        None,
        &[
            study("1.2 MG BREAST 2026-01-10"),
            study("1.3 CT CHEST 2026-01-10"),
        ],
    );
    assert_eq!(
        judged,
        [
            "1.2 mg: MG, BREAST, 2 mo old",
            "1.3 - no rule is for such a study"
        ]
    );
}

/// Case: two sites in two time zones
#[test]
fn the_newest_does_not_depend_on_the_zone_of_a_site() {
    // In Sydney it is the 10th already, and yet an hour earlier than the study in Lisbon.
    let at = |uid: &str, day, hour, offset| {
        let mut study = study(&format!("{uid} CT CHEST {day}"));
        study.study_time = Some(time(hour, 0, 0, 0));
        study.utc_offset = Some(Offset::constant(offset));
        study
    };
    let sydney = at("1.2", "2026-01-10", 8, 11);
    let lisbon = at("1.3", "2026-01-09", 22, 0);
    let mut current = at("1.1", "2026-01-09", 23, 0);
    let judged = verdicts(
        &rules("r,1,,,,,,,,1,,,"),
        Some(&current),
        &[sydney.clone(), lisbon.clone()],
    );
    assert!(judged[0].starts_with("1.3 r"), "{judged:?}");
    assert_eq!(judged[1], "1.2 - 2nd newest of at most 1");
    // A site that does not name its zone may be the one whose clock is ahead.
    let silent = StudyAnswer {
        utc_offset: None,
        ..sydney
    };
    let judged = verdicts(
        &rules("r,1,,,,,,,,,,,"),
        Some(&current),
        std::slice::from_ref(&silent),
    );
    assert!(judged[0].starts_with("1.2 r"), "{judged:?}");
    current.utc_offset = None;
    let judged = verdicts(&rules("r,1,,,,,,,,,,,"), Some(&current), &[silent]);
    assert_eq!(judged, ["1.2 - not earlier than the study"]);
}

#[test]
fn the_shipped_rules_choose_as_a_department_would() {
    let chosen = |current: &str, priors: &[&str]| -> Vec<String> {
        let priors: Vec<StudyAnswer> = priors.iter().map(|prior| study(prior)).collect();
        let told = verdicts(PrefetchRules::shipped(), Some(&study(current)), &priors);
        let chosen = told.into_iter().filter(|line| !line.contains(" - "));
        chosen
            .map(|line| line.split(':').next().unwrap().to_owned())
            .collect()
    };
    let years: Vec<String> = (2015..2026)
        .map(|year| format!("1.{year} MG BREAST {year}-03-01"))
        .collect();
    let years: Vec<&str> = years.iter().map(String::as_str).collect();
    let screening = chosen("1.1 MG BREAST 2026-03-01", &years);
    assert_eq!(screening.len(), 10, "all of ten years: {screening:?}");
    assert_eq!(screening[0], "1.2025 mammography");
    assert_eq!(
        chosen(
            "1.1 DX CHEST 2026-03-01",
            &[
                "1.2 DX CHEST 2026-02-01",
                "1.3 CT CHEST 2024-02-01",
                "1.4 CR CHEST 2022-02-01",
                "1.5 DX HEAD 2026-02-01",
                "1.6 MR LOWER_EXTREMITY 2026-02-01",
                "1.7 DX CHEST 2019-02-01",
            ]
        ),
        [
            "1.2 same-examination",
            "1.3 chest-ct-of-radiograph",
            "1.4 same-body-part",
        ],
        "the newest radiograph is a prior by itself, so that of the head is none"
    );
    assert_eq!(
        chosen(
            "1.1 CT ABDOMEN 2026-03-01",
            &["1.2 PT WHOLE_BODY 2025-02-01", "1.3 MR HEAD 2025-02-01"]
        ),
        ["1.2 trunk"]
    );
}

fn any_study() -> impl Strategy<Value = StudyAnswer> {
    let modality = prop::sample::select(vec!["CT", "MR", "SR", "-"]);
    let part = prop::sample::select(vec!["CHEST", "HEAD", "-"]);
    let parts = (
        0_u8..60,
        modality,
        part,
        0_i64..4000,
        prop::option::of(-11_i8..12),
    );
    parts.prop_map(|(uid, modality, part, days, offset)| {
        let day = date(2026, 3, 10) - jiff::Span::new().days(days);
        let mut study = study(&format!("1.{uid} {modality} {part} {day}"));
        study.utc_offset = offset.map(Offset::constant);
        study
    })
}

fn any_rules() -> impl Strategy<Value = PrefetchRules> {
    let choice = || prop::sample::select(vec!["", "same", "CT|MR", "CHEST"]);
    let rule = (
        choice(),
        choice(),
        1_u16..4,
        prop::sample::select(vec!["", "1y", "30m"]),
    );
    prop::collection::vec(rule, 1..4).prop_map(|all| {
        let lines = all
            .iter()
            .enumerate()
            .map(|(place, (modality, part, number, age))| {
                format!("r{place},{place},,,,{modality},{part},,{age},{number},,,\n")
            });
        rules(&lines.collect::<String>())
    })
}

proptest! {
    #[test]
    fn each_has_one_verdict_whatever_the_order_and_no_rule_takes_more_than_its_number(
        rules in any_rules(),
        studies in prop::collection::vec(any_study(), 0..12),
        by_patient in any::<bool>(),
    ) {
        let current = study("2.1 CT CHEST 2026-03-10");
        let current = (!by_patient).then_some(&current);
        let mut backwards = studies.clone();
        backwards.reverse();
        let judged = verdicts(&rules, current, &studies);
        prop_assert_eq!(judged.len(), studies.len());
        prop_assert_eq!(&judged, &verdicts(&rules, current, &backwards));
        for rule in rules.rules() {
            let prefix = format!(" {}:", rule.name);
            let taken = judged.iter().filter(|line| line.contains(&prefix)).count();
            prop_assert!(taken <= usize::from(rule.max_number.unwrap().get()));
        }
    }
}

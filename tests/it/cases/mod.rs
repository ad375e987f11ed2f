//! Holds the table of hard cases, `tests/cases`, and the tests together: each case is held by tests that exist and
//! run, and each test that claims a case is named by it.
//!
//! Invariant: a case and its tests name each other. Neither can be dropped or renamed alone.

mod sources;
mod table;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use sources::{Claim, Test};
use table::{Case, Table};

/// The rules of federated query and retrieve that the cases are about, numbered from 1.
const RULES: u8 = 47;

/// The rules that belong to work that has not begun. Rule 44 is held for messages, not for truncated answers.
const NOT_YET: [u8; 4] = [40, 45, 46, 47];

#[test]
fn every_case_is_held_by_its_tests_and_every_rule_by_a_case() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let table = table::read(&root.join("tests/cases"));
    let sources = sources::read(&[&root.join("tests/it"), &root.join("src")]);
    assert!(!table.cases.is_empty(), "no case was read");
    let mut violations = case_violations(&table.cases);
    violations.extend(test_violations(&table.cases, &sources.tests));
    violations.extend(claim_violations(&table.cases, &sources.claims));
    violations.extend(rule_violations(&table));
    assert!(violations.is_empty(), "\n{}", violations.join("\n"));
}

/// Cases that share a name, or that do not say what happens.
fn case_violations(cases: &[Case]) -> Vec<String> {
    let mut names = BTreeSet::new();
    let mut violations = Vec::new();
    for case in cases {
        let Case { name, .. } = case;
        if !names.insert(name) {
            violations.push(format!("{}: two cases are called {name:?}", case.file));
        }
        if name.trim() != name || name.is_empty() {
            violations.push(format!("{}: {name:?} is not a name", case.file));
        }
        if case.situation.trim().is_empty() {
            violations.push(format!("{}: {name:?} describes no situation", case.file));
        }
        if !case.outcomes().any(|outcome| !outcome.trim().is_empty()) {
            violations.push(format!("{}: {name:?} states no outcome", case.file));
        }
    }
    violations
}

/// Cases without a test, and tests that are named and do not exist, exist twice or are ignored.
fn test_violations(cases: &[Case], tests: &[Test]) -> Vec<String> {
    let mut known: BTreeMap<&str, Vec<&Test>> = BTreeMap::new();
    for test in tests {
        known.entry(&test.path).or_default().push(test);
    }
    let mut violations = Vec::new();
    for case in cases {
        let place = format!("{}: {:?}", case.file, case.name);
        if case.tests.is_empty() {
            violations.push(format!("{place} has no test"));
        }
        for path in &case.tests {
            match known.get(path.as_str()).map(Vec::as_slice) {
                None => violations.push(format!(
                    "{place} names {path}, which does not exist or is no test"
                )),
                Some([test]) if test.ignored => {
                    violations.push(format!("{place} names {path}, which is ignored"))
                }
                Some([_]) => {}
                Some(_) => violations.push(format!("{place} names {path}, of which there are several")),
            }
        }
    }
    violations
}

/// Claims of cases that do not exist or do not name the test, claims above something that is no test, and tests that
/// do not claim the case that names them.
fn claim_violations(cases: &[Case], claims: &[Claim]) -> Vec<String> {
    let by_name: BTreeMap<&str, &Case> = cases.iter().map(|case| (case.name.as_str(), case)).collect();
    let mut violations = Vec::new();
    let mut claimed = BTreeSet::new();
    for Claim {
        file,
        line,
        case,
        test,
    } in claims
    {
        let Some(test) = test else {
            violations.push(format!(
                "{file}:{line}: `Case: {case}` does not stand above a test"
            ));
            continue;
        };
        claimed.insert((case.as_str(), test.as_str()));
        match by_name.get(case.as_str()) {
            None => violations.push(format!("{file}:{line}: {test} claims {case:?}, which is no case")),
            Some(found) if !found.tests.contains(test) => {
                violations.push(format!(
                    "{file}:{line}: {test} claims {case:?}, which does not name it"
                ));
            }
            Some(_) => {}
        }
    }
    for case in cases {
        for test in &case.tests {
            if !claimed.contains(&(case.name.as_str(), test.as_str())) {
                let Case { file, name, .. } = case;
                violations.push(format!("{file}: {test} has no line `/// Case: {name}` above it"));
            }
        }
    }
    violations
}

/// Rules without a case, cases of rules that do not exist, and exceptions other than those that are known.
fn rule_violations(table: &Table) -> Vec<String> {
    let held: BTreeSet<u8> = table.cases.iter().filter_map(|case| case.rule).collect();
    let not_yet: BTreeSet<u8> = table
        .not_yet
        .iter()
        .filter(|rule| !rule.partly)
        .map(|rule| rule.rule)
        .collect();
    let mut violations: Vec<String> = held
        .iter()
        .filter(|rule| !(1..=RULES).contains(*rule))
        .map(|rule| format!("there is no rule {rule}"))
        .collect();
    if not_yet != BTreeSet::from(NOT_YET) {
        violations.push(format!(
            "not_yet.toml leaves out rules {not_yet:?}, and not {NOT_YET:?}"
        ));
    }
    for rule in &table.not_yet {
        if rule.reason.trim().is_empty() {
            violations.push(format!("not_yet.toml gives no reason for rule {}", rule.rule));
        }
        if rule.partly != held.contains(&rule.rule) {
            violations.push(format!(
                "not_yet.toml is wrong about rule {}: has it a case?",
                rule.rule
            ));
        }
    }
    let missing = (1..=RULES).filter(|rule| !held.contains(rule) && !not_yet.contains(rule));
    violations.extend(missing.map(|rule| format!("rule {rule} has no case")));
    violations
}

mod violations {
    use super::sources::Sources;
    use super::table::NotYet;
    use super::*;

    fn case(name: &str, tests: &[&str]) -> Case {
        Case {
            name: name.to_owned(),
            situation: "A peer says it.".to_owned(),
            cli: Some("It is shown.".to_owned()),
            tests: tests.iter().map(|&test| test.to_owned()).collect(),
            ..Case::default()
        }
    }

    fn sources(text: &str) -> Sources {
        sources::of_files(&[
            ("tests/it/main.rs", vec![], "mod a;\n"),
            ("tests/it/a.rs", vec!["a".to_owned()], text),
        ])
    }

    #[track_caller]
    fn assert_one(violations: &[String], expected: &str) {
        let [violation] = violations else {
            panic!("one violation is expected: {violations:#?}");
        };
        assert!(violation.contains(expected), "{violation}");
    }

    #[test]
    fn a_case_and_its_test_that_name_each_other_are_no_violation() {
        let text = "/// Case: one\n/// Case: two\n#[test]\nfn b() {}\n\nmod m {\n    /// Case: one\n    #[test]\n    fn c() {}\n}\n\n/// Case: two\n#[tokio::test(start_paused = true)]\nasync fn d() {}\n";
        let cases = [case("one", &["a::b", "a::m::c"]), case("two", &["a::b", "a::d"])];
        let sources = sources(text);
        assert_eq!(case_violations(&cases), [""; 0]);
        assert_eq!(test_violations(&cases, &sources.tests), [""; 0]);
        assert_eq!(claim_violations(&cases, &sources.claims), [""; 0]);
    }

    #[test]
    fn a_case_needs_a_name_of_its_own_and_an_outcome() {
        assert_one(
            &case_violations(&[case("one", &[]), case("one", &[])]),
            "two cases",
        );
        assert_one(&case_violations(&[case(" one", &[])]), "is not a name");
        let silent = Case {
            cli: None,
            ..case("one", &[])
        };
        assert_one(&case_violations(&[silent]), "no outcome");
        let nowhere = Case {
            situation: " ".to_owned(),
            ..case("one", &[])
        };
        assert_one(&case_violations(&[nowhere]), "no situation");
    }

    #[test]
    fn a_case_needs_tests_that_exist_and_run() {
        let text = "fn helper() {}\n\n#[test]\n#[ignore = \"slow\"]\nfn slow() {}\n\n#[test]\nfn b() {}\n";
        let tests = sources(text).tests;
        assert_one(&test_violations(&[case("one", &[])], &tests), "has no test");
        assert_one(
            &test_violations(&[case("one", &["a::gone"])], &tests),
            "does not exist",
        );
        assert_one(
            &test_violations(&[case("one", &["a::helper"])], &tests),
            "is no test",
        );
        assert_one(&test_violations(&[case("one", &["b"])], &tests), "does not exist");
        assert_one(
            &test_violations(&[case("one", &["a::slow"])], &tests),
            "is ignored",
        );
        let twice = [tests.clone(), tests].concat();
        assert_one(&test_violations(&[case("one", &["a::b"])], &twice), "several");
    }

    #[test]
    fn a_file_that_is_no_module_has_no_tests() {
        let files = [
            ("tests/it/main.rs", vec![], "mod b;\n"),
            ("tests/it/a.rs", vec!["a".to_owned()], "#[test]\nfn b() {}\n"),
        ];
        assert!(sources::of_files(&files).tests.is_empty());
    }

    #[test]
    fn a_claim_and_its_case_need_each_other() {
        let claims = sources("/// Case: one\n#[test]\nfn b() {}\n").claims;
        assert_one(&claim_violations(&[], &claims), "is no case");
        let elsewhere = [case("one", &[])];
        assert_one(&claim_violations(&elsewhere, &claims), "does not name it");
        assert_one(&claim_violations(&[case("one", &["a::b"])], &[]), "has no line");
        for stray in [
            "/// Case: one\nfn b() {}\n",
            "// Case: one\n",
            "/// Case: one\n\n#[test]\nfn b() {}\n",
        ] {
            assert_one(
                &claim_violations(&[case("one", &[])], &sources(stray).claims),
                "above a test",
            );
        }
    }

    #[test]
    fn every_rule_has_a_case_or_a_reason() {
        let of_rule = |rule| Case {
            rule: Some(rule),
            ..case("one", &[])
        };
        let not_yet = |rule, partly| NotYet {
            rule,
            partly,
            reason: "It comes later.".to_owned(),
        };
        let whole = || Table {
            cases: (1..=RULES)
                .filter(|rule| !NOT_YET.contains(rule))
                .map(of_rule)
                .collect(),
            not_yet: [not_yet(44, true)]
                .into_iter()
                .chain(NOT_YET.map(|rule| not_yet(rule, false)))
                .collect(),
        };
        assert_eq!(rule_violations(&whole()), [""; 0]);
        let mut table = whole();
        table.cases.retain(|case| case.rule != Some(7));
        assert_one(&rule_violations(&table), "rule 7 has no case");
        let mut table = whole();
        table.cases.push(of_rule(48));
        assert_one(&rule_violations(&table), "no rule 48");
        let mut table = whole();
        table.cases.push(of_rule(45));
        assert_one(&rule_violations(&table), "wrong about rule 45");
        let mut table = whole();
        table.not_yet[0].reason.clear();
        assert_one(&rule_violations(&table), "no reason");
        let mut table = whole();
        table.not_yet.push(not_yet(12, false));
        assert_eq!(rule_violations(&table).len(), 2);
    }
}

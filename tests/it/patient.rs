//! `patient`: the cross-reference as an administrator links, lists, imports and exports it.

use serde_json::{Value, json};

use super::support::env::Env;

fn write(env: &Env, name: &str, content: &str) -> String {
    let path = env.path().join(name);
    std::fs::write(&path, content).unwrap();
    path.to_str().unwrap().to_owned()
}

fn link(env: &Env, arguments: &[&str]) -> String {
    env.impaxlink(&[&["patient", "link"], arguments].concat())
        .success()
        .to_owned()
}

/// The IDs of each person, as `ID^^^ISSUER`, and the global ID before them.
fn persons(env: &Env, arguments: &[&str]) -> Vec<(Value, Vec<String>)> {
    let list = env.impaxlink(&[&["patient", "list", "--json"], arguments].concat());
    list.success();
    let items = list.json()["items"].as_array().unwrap().clone();
    let ids = |person: &Value| {
        let identities = person["identities"].as_array().unwrap().iter();
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        identities
            .map(|one| {
                format!(
                    "{}^^^{}",
                    text(&one["patient_id"]),
                    text(&one["issuer_of_patient_id"])
                )
            })
            .collect()
    };
    items
        .iter()
        .map(|person| (person["global_patient_id"].clone(), ids(person)))
        .collect()
}

#[test]
fn ids_are_linked_listed_and_unlinked() {
    let env = Env::new();
    let first = link(&env, &["4711^^^NORTH", "88^^^HARBOUR", "--reason", "CHG1301"]);
    assert_eq!(
        first,
        "cross-reference: 2 IDs added; saved as change 1; no service is running here\n"
    );
    assert_eq!(
        link(&env, &["88^^^HARBOUR", "4711^^^NORTH"]),
        "cross-reference: unchanged\n"
    );
    let with_global = link(&env, &["88^^^HARBOUR", "--global-id", "G1"]);
    assert!(
        with_global.contains("1 person with a global ID; saved as change 2"),
        "{with_global}"
    );
    let expected = vec![(
        json!("G1"),
        vec!["88^^^HARBOUR".to_owned(), "4711^^^NORTH".to_owned()],
    )];
    for which in [
        &["4711^^^NORTH"][..],
        &["--global-id", "G1"],
        &["--issuer", "HARBOUR"],
        &[],
    ] {
        assert_eq!(persons(&env, which), expected, "{which:?}");
    }
    assert!(
        persons(&env, &["88^^^NORTH"]).is_empty(),
        "an ID is nobody's without its issuer"
    );
    let table = env.impaxlink(&["patient", "list"]);
    assert!(table.success().contains("88 (HARBOUR)"), "{table:#?}");
    assert!(table.stdout.contains("CHG1301"), "{table:#?}");

    let unlink = env.impaxlink(&["patient", "unlink", "88^^^HARBOUR"]);
    assert!(unlink.success().contains("1 ID taken out"), "{unlink:#?}");
    assert_eq!(
        persons(&env, &[]),
        [(json!("G1"), vec!["4711^^^NORTH".to_owned()])]
    );
    let again = env.impaxlink(&["patient", "unlink", "88^^^HARBOUR"]);
    assert_eq!(again.success(), "cross-reference: unchanged\n");
}

#[test]
fn a_bare_id_is_of_the_local_issuer_or_refused() {
    let env = Env::new();
    let refused = env.impaxlink(&["patient", "link", "4711", "88^^^HARBOUR"]);
    assert_eq!(refused.status, Some(2), "{refused:#?}");
    assert!(refused.stderr.contains("config set issuer"), "{refused:#?}");
    assert!(
        !refused.stderr.contains("4711"),
        "no patient data in errors: {refused:#?}"
    );
    env.impaxlink(&["config", "set", "issuer", "NORTH"]).success();
    link(&env, &["4711", "88^^^HARBOUR"]);
    assert_eq!(persons(&env, &["4711"]), persons(&env, &["88^^^HARBOUR"]));
    assert_eq!(persons(&env, &["4711"]).len(), 1);
    let alone = env.impaxlink(&["patient", "link", "4711"]);
    assert_eq!(alone.status, Some(2), "{alone:#?}");
    let wildcard = env.impaxlink(&["patient", "link", "47*^^^NORTH", "88^^^HARBOUR"]);
    assert_eq!(wildcard.status, Some(2), "{wildcard:#?}");
}

#[test]
fn two_global_ids_are_never_made_one() {
    let env = Env::new();
    link(&env, &["4711^^^NORTH", "--global-id", "G1"]);
    link(&env, &["88^^^HARBOUR", "--global-id", "G2"]);
    let refused = env.impaxlink(&["patient", "link", "4711^^^NORTH", "88^^^HARBOUR"]);
    assert_eq!(refused.status, Some(1), "{refused:#?}");
    assert!(refused.stderr.contains("two persons"), "{refused:#?}");
    assert!(refused.stderr.contains("hint: "), "{refused:#?}");
    assert!(
        !refused.stderr.contains("4711") && !refused.stderr.contains("G1"),
        "{refused:#?}"
    );
    assert_eq!(persons(&env, &[]).len(), 2);
}

#[test]
fn several_ids_of_one_issuer_are_allowed_and_told() {
    let env = Env::new();
    link(&env, &["4711^^^NORTH", "88^^^HARBOUR"]);
    let merged = env.impaxlink(&["patient", "link", "4711^^^NORTH", "4712^^^NORTH"]);
    merged.success();
    assert!(merged.stderr.contains("several IDs of one issuer"), "{merged:#?}");
    assert_eq!(persons(&env, &["4712^^^NORTH"])[0].1.len(), 3);
}

#[test]
fn ids_need_not_stand_on_the_command_line() {
    let env = Env::new();
    let ids = write(&env, "ids", "4711^^^NORTH\n88^^^HARBOUR\n");
    let at_ids = format!("@{ids}");
    link(&env, &[&at_ids]);
    assert_eq!(persons(&env, &[])[0].1.len(), 2);
    let audit = env.impaxlink(&["audit", "list", "--json"]).json();
    let record = &audit["items"][0];
    assert_eq!(record["kind"], "patients_linked");
    assert_eq!(record["command"], "impaxlink patient link");
    assert_eq!(record["detail"]["added"], 2);
    let table = env.impaxlink(&["audit", "list"]);
    assert!(table.success().contains("patient IDs: 2 added"), "{table:#?}");
    assert!(!table.stdout.contains("4711"), "{table:#?}");
    env.impaxlink(&["audit", "verify"]).success();
}

const FILE: &str = "patient_id,issuer,global_patient_id\n4711,NORTH,G1\n88,HARBOUR,G1\n5,VALLEY,G2\n";

#[test]
fn a_file_is_imported_as_one_change() {
    let env = Env::new();
    env.impaxlink(&["config", "set", "issuer", "NORTH"]).success();
    let file = write(&env, "mpi.csv", FILE);
    let dry = env.impaxlink(&["patient", "import", &file, "--dry-run"]);
    assert!(dry.success().contains("3 IDs added"), "{dry:#?}");
    assert!(dry.stdout.contains("nothing saved"), "{dry:#?}");
    assert!(persons(&env, &[]).is_empty());
    let import = env.impaxlink(&["patient", "import", &file, "--reason", "CHG9"]);
    assert!(
        import
            .success()
            .contains("3 IDs added, 2 persons with a global ID; saved as change 1")
    );
    let again = env.impaxlink(&["patient", "import", &file]);
    assert_eq!(again.success(), "cross-reference: unchanged\n");
    // Pairs, semicolons, another order of columns, a bare ID of the local issuer.
    let pairs =
        "\u{feff}other_issuer;other_patient_id;patient_id;issuer\nNORTH;4711;6;HARBOUR\nVALLEY;7;9;\n";
    let pairs = write(&env, "pairs.csv", pairs);
    env.impaxlink(&["patient", "import", &pairs]).success();
    assert_eq!(persons(&env, &["6^^^HARBOUR"])[0].1.len(), 3);
    assert_eq!(persons(&env, &["9^^^NORTH"])[0].1, ["9^^^NORTH", "7^^^VALLEY"]);
    // An export makes the same elsewhere.
    let export = env.impaxlink(&["patient", "export"]);
    let other = Env::new();
    other
        .impaxlink(&["config", "set", "issuer", "ELSEWHERE"])
        .success();
    let copy = write(&other, "copy.csv", export.success());
    other.impaxlink(&["patient", "import", &copy]).success();
    assert_eq!(persons(&other, &[]), persons(&env, &[]));
}

#[test]
fn one_bad_line_changes_nothing_and_is_named() {
    let env = Env::new();
    env.impaxlink(&["config", "set", "ae_title", "HERE"]).success();
    for (lines, told) in [
        ("4711,NORTH,G1\n88,,G1\n", "line 3: it names no issuer"),
        ("4711,NORTH,G1\n88,HARBOUR,\n", "line 3: it names neither"),
        ("4711,NORTH,G1\n4711,NORTH,G2\n", "line 3: two persons"),
        (
            "4711,NORTH,G1\n4*,NORTH,G1\n",
            "line 3: invalid patient ID: wildcards",
        ),
    ] {
        let file = write(
            &env,
            "bad.csv",
            &format!("patient_id,issuer,global_patient_id\n{lines}"),
        );
        let refused = env.impaxlink(&["patient", "import", &file]);
        assert_eq!(refused.status, Some(1), "{refused:#?}");
        assert!(refused.stderr.contains(told), "{refused:#?}");
        assert!(!refused.stderr.contains("4711"), "{refused:#?}");
        assert!(persons(&env, &[]).is_empty());
    }
    let file = write(&env, "odd.csv", "patient_id,issuer,name\n1,NORTH,DOE\n");
    let refused = env.impaxlink(&["patient", "import", &file]);
    assert!(refused.stderr.contains("unknown column \"name\""), "{refused:#?}");
}

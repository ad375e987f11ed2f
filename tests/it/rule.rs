//! `rule`: the prefetch rules as an administrator reads, changes, exports and imports them.

use serde_json::json;

use super::support::env::Env;

fn write(env: &Env, name: &str, content: &str) -> String {
    let path = env.path().join(name);
    std::fs::write(&path, content).unwrap();
    path.to_str().unwrap().to_owned()
}

/// The rule of that name, as it is in force.
fn rule(env: &Env, name: &str) -> serde_json::Value {
    let list = env.impaxlink(&["rule", "list", "--json"]).json();
    let items = list["items"].as_array().unwrap().clone();
    let mut found = items.into_iter().filter(|rule| rule["name"] == name);
    found.next().unwrap_or(serde_json::Value::Null)
}

#[test]
fn the_shipped_rules_are_in_force_without_a_store() {
    let env = Env::new();
    let list = env.impaxlink(&["rule", "list", "--json"]).json();
    assert_eq!(list["own"], json!(false));
    assert_eq!(rule(&env, "mammography")["max_age"], json!("10y"));
    let table = env.impaxlink(&["rule", "list"]);
    assert!(table.stderr.contains("shipped"), "{table:#?}");
    assert!(table.success().contains("CR|DX of CHEST"), "{table:#?}");
    assert!(!env.store().exists());
}

#[test]
fn the_digest_is_that_of_the_export() {
    use sha2::{Digest, Sha256};
    let env = Env::new();
    let export = env.impaxlink(&["rule", "export"]);
    let hash = Sha256::digest(export.success());
    let expected: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
    let list = env.impaxlink(&["rule", "list", "--json"]).json();
    assert_eq!(list["prefetch_rule_digest"], json!(expected));
}

#[test]
fn a_rule_is_added_changed_removed_and_rolled_back() {
    let env = Env::new();
    let add = |more: &[&str]| {
        let rule = [
            "rule",
            "add",
            "spine",
            "--for-body-part",
            "SPINE",
            "--body-part",
            "same",
            "--modality",
            "ct,mr",
        ];
        env.impaxlink(&[&rule[..], &["--max-age", "5y", "--max-number", "2"], more].concat())
    };
    assert!(add(&["--dry-run"]).success().contains("rule spine added"));
    assert_eq!(rule(&env, "spine"), json!(null));
    let first = add(&["--reason", "CHG1"]);
    let told = "prefetch rules: the shipped ones -> own, 8 rules\nrule spine added\nsaved as generation 1";
    assert!(first.success().starts_with(told), "{first:#?}");
    let saved = rule(&env, "spine");
    assert_eq!(
        (&saved["order"], &saved["modality"]),
        (&json!(100), &json!("CT|MR"))
    );
    assert!(add(&[]).success().contains("unchanged (generation 1)"));
    add(&["--order", "7"]).fails_with(1, "there is a rule spine already");
    assert!(
        add(&["--order", "7", "--if-not-exists"])
            .success()
            .contains("unchanged")
    );

    let set = |more: &[&str]| env.impaxlink(&[&["rule", "set", "SPINE"], more].concat());
    let changed = set(&[
        "--order",
        "7",
        "--max-age",
        "any",
        "--verified",
        "--status",
        "approved",
    ]);
    let told = changed.success().to_owned();
    for line in [
        "order 100 -> 7",
        "max_age 5y -> (none)",
        "verified off -> on",
        "status (none) -> APPROVED",
    ] {
        assert!(told.contains(&format!("rule spine: {line}\n")), "{told}");
    }
    assert!(set(&["--order", "7"]).success().contains("unchanged"));
    set(&["--max-number", "0"]).fails_with(2, "from 1");
    set(&["--for-modality", "same"]).fails_with(2, "for the prior's columns");
    set(&["--if-generation", "1", "--order", "8"]).fails_with(5, "");
    env.impaxlink(&["rule", "set", "nothing", "--order", "7"])
        .fails_with(4, "no rule nothing");
    let diff = env.impaxlink(&["generation", "diff", "1", "2"]);
    assert_eq!(diff.success().lines().count(), 4, "{diff:#?}");

    env.impaxlink(&["rule", "remove", "spine"]).success();
    env.impaxlink(&["rule", "remove", "spine"])
        .fails_with(4, "no rule spine");
    let unchanged = env.impaxlink(&["rule", "remove", "spine", "--if-exists"]);
    assert!(unchanged.success().contains("unchanged"));

    env.impaxlink(&["generation", "rollback", "1"]).success();
    assert_eq!(rule(&env, "spine")["order"], json!(100));
    env.impaxlink(&["generation", "rollback", "0"]).success();
    assert_eq!(
        env.impaxlink(&["rule", "list", "--json"]).json()["own"],
        json!(false)
    );
    env.impaxlink(&["generation", "rollback", "2"]).success();
    assert_eq!(rule(&env, "spine")["status"], json!("APPROVED"));
    let shown = env.impaxlink(&["generation", "show", "--json"]).json();
    assert_eq!(shown["prefetch_rules"].as_array().unwrap().len(), 8);
    env.impaxlink(&["audit", "verify"]).success();
}

#[test]
fn what_is_exported_is_imported_to_the_letter() {
    let env = Env::new();
    let exported = env.impaxlink(&["rule", "export"]).success().to_owned();
    let unedited = write(&env, "shipped.csv", &exported);
    let unchanged = env.impaxlink(&["rule", "import", &unedited]);
    assert!(
        unchanged.success().contains("prefetch rules: unchanged"),
        "{unchanged:#?}"
    );

    let edited = "name,order,for_modality,for_body_part,for_specialty,modality,body_part,specialty,max_age,max_number,\
        status,verified,availability\n\
        all,1,,,,,,,,,,,\n\
        some,2,CT|MR,*EXTREMITY,MUSCULOSKELETAL,same|CR,same,,18m,2,DICTATED,yes,nearline\n";
    let path = write(&env, "edited.csv", edited);
    let dry_run = env.impaxlink(&["rule", "import", &path, "--dry-run"]);
    assert!(
        dry_run.success().contains("rule mammography removed"),
        "{dry_run:#?}"
    );
    assert_eq!(env.impaxlink(&["rule", "export"]).success(), exported);
    env.impaxlink(&["rule", "import", &path]).success();
    assert_eq!(env.impaxlink(&["rule", "export"]).success(), edited);
    env.impaxlink(&["rule", "remove", "all"]).success();
    env.impaxlink(&["rule", "remove", "some"])
        .fails_with(1, "the last rule can't be removed");

    let few_columns =
        env.impaxlink_with_stdin(&["rule", "import", "-"], "order;name;body_part\n5;part;same\n");
    few_columns.success();
    assert_eq!(rule(&env, "part")["body_part"], json!("same"));
    let reset = env.impaxlink(&["rule", "reset"]);
    assert_eq!(
        reset.success().lines().next(),
        Some("prefetch rules: own -> the shipped ones")
    );
    assert_eq!(env.impaxlink(&["rule", "export"]).success(), exported);
}

#[test]
fn a_bad_line_is_named_and_nothing_changes() {
    let env = Env::new();
    let path = write(
        &env,
        "bad.csv",
        "name,order,max_age\ngood,1,5y\nbad,1,5\nworse,x,\n",
    );
    let run = env.impaxlink(&["rule", "import", &path]);
    run.fails_with(1, "line 3: invalid max_age \"5\"");
    assert!(run.stderr.contains("line 4: invalid order"), "{run:#?}");
    assert!(run.stderr.contains("nothing was changed"), "{run:#?}");
    assert_eq!(
        env.impaxlink(&["rule", "list", "--json"]).json()["own"],
        json!(false)
    );
}

//! `mapping`: the tables as an administrator reads, changes, exports and imports them.

use serde_json::json;

use super::support::env::Env;

/// What the tables in force give for a study description: body part and specialty.
fn test(env: &Env, description: &str) -> (String, String) {
    let run = env.impaxlink(&["mapping", "test", "--description", description, "--json"]);
    run.success();
    let value = |target: &str| run.json()[target]["value"].as_str().unwrap_or("-").to_owned();
    (value("body_part"), value("specialty"))
}

fn write(env: &Env, name: &str, content: &str) -> String {
    let path = env.path().join(name);
    std::fs::write(&path, content).unwrap();
    path.to_str().unwrap().to_owned()
}

#[test]
fn the_shipped_tables_are_in_force_without_a_store() {
    let env = Env::new();
    assert_eq!(
        test(&env, "CT Thorax"),
        ("CHEST".to_owned(), "THORACIC".to_owned())
    );
    let list = env.impaxlink(&["mapping", "list", "--json"]).json();
    assert_eq!(list["own"], json!(false));
    assert_eq!(list["vocabulary_digest"].as_str().unwrap().len(), 64);
    let specialties = env.impaxlink(&["mapping", "list", "--target", "specialty"]);
    assert!(specialties.stderr.contains("shipped"), "{specialties:#?}");
    assert!(!specialties.success().contains("body_part "));
    assert!(!env.store().exists());
}

#[test]
fn a_rule_is_set_changed_removed_and_rolled_back() {
    let env = Env::new();
    let set = |value: &str, more: &[&str]| {
        let rule = [
            "mapping",
            "set",
            "body-part",
            value,
            "--description",
            "*cage THORACIQUE*",
        ];
        env.impaxlink(&[&rule[..], more].concat())
    };
    assert!(set("RIBS", &["--dry-run"]).success().contains("added (RIBS)"));
    assert_eq!(test(&env, "Cage thoracique").0, "CHEST");
    let first = set("RIBS", &["--reason", "CHG1"]);
    assert!(
        first
            .success()
            .starts_with("mapping tables: the shipped ones -> own,"),
        "{first:#?}"
    );
    assert_eq!(first.stdout.lines().count(), 3, "{first:#?}");
    assert_eq!(test(&env, "Cage thoracique").0, "RIBS");

    let again = set("RIBS", &[]);
    assert!(again.success().contains("unchanged (generation 1)"), "{again:#?}");
    let changed = set("THORACIC CAGE", &["--order", "60"]);
    let expected = "mapping rule body_part: description '*cage thoracique*': order 50 -> 60\n";
    assert!(changed.success().starts_with(expected), "{changed:#?}");
    assert!(changed.stdout.contains("RIBS -> THORACIC CAGE"), "{changed:#?}");
    // Without --order the rule stays where it is.
    set("CAGE", &[]).success();
    let diff = env.impaxlink(&["generation", "diff", "2", "3"]);
    assert!(diff.success().contains("THORACIC CAGE -> CAGE"), "{diff:#?}");
    assert_eq!(diff.stdout.lines().count(), 1, "{diff:#?}");

    let remove = [
        "mapping",
        "remove",
        "body-part",
        "--description",
        "*cage thoracique*",
    ];
    env.impaxlink(&remove).success();
    assert_eq!(test(&env, "Cage thoracique").0, "CHEST");
    env.impaxlink(&remove).fails_with(4, "no mapping rule");
    let unchanged = env.impaxlink(&[&remove[..], &["--if-exists"]].concat());
    assert!(unchanged.success().contains("unchanged"));

    env.impaxlink(&["generation", "rollback", "1"]).success();
    assert_eq!(test(&env, "Cage thoracique").0, "RIBS");
    env.impaxlink(&["generation", "rollback", "0"]).success();
    assert_eq!(
        env.impaxlink(&["mapping", "list", "--json"]).json()["own"],
        json!(false)
    );
    env.impaxlink(&["generation", "rollback", "3"]).success();
    assert_eq!(test(&env, "Cage thoracique").0, "CAGE");
    let shown = env.impaxlink(&["generation", "show", "--json"]).json();
    assert!(shown["mapping"].as_array().unwrap().len() > 100);
    env.impaxlink(&["audit", "verify"]).success();
}

#[test]
fn what_is_exported_is_imported_to_the_letter() {
    let env = Env::new();
    let exported = env.impaxlink(&["mapping", "export"]).success().to_owned();
    let unedited = write(&env, "shipped.csv", &exported);
    let unchanged = env.impaxlink(&["mapping", "import", &unedited]);
    assert!(
        unchanged.success().contains("mapping tables: unchanged"),
        "{unchanged:#?}"
    );

    let edited = "target,order,value,procedure_code,description,modality,body_part_examined,body_part\n\
        body_part,10,\"CHEST, UPPER\",\"C,1\",*Thorax*,,,\n\
        body_part,20,HEAD,,,MR,BRAIN,\n\
        specialty,1,THORACIC,,,,,\"CHEST, UPPER\"\n";
    let path = write(&env, "edited.csv", edited);
    let dry_run = env.impaxlink(&["mapping", "import", &path, "--dry-run"]);
    assert!(
        dry_run.success().contains("removed (NEURORADIOLOGY)"),
        "{dry_run:#?}"
    );
    assert!(dry_run.stdout.contains("added (CHEST, UPPER)"), "{dry_run:#?}");
    assert_eq!(env.impaxlink(&["mapping", "export"]).success(), exported);

    env.impaxlink(&["mapping", "import", &path]).success();
    assert_eq!(env.impaxlink(&["mapping", "export"]).success(), edited);
    let digest =
        |env: &Env| env.impaxlink(&["mapping", "list", "--json"]).json()["vocabulary_digest"].clone();
    let before = digest(&env);
    let from_stdin = env.impaxlink_with_stdin(&["mapping", "import", "-"], &exported);
    from_stdin.success();
    assert_eq!(env.impaxlink(&["mapping", "export"]).success(), exported);
    assert_ne!(digest(&env), before);

    let reset = env.impaxlink(&["mapping", "reset"]);
    assert_eq!(
        reset.success().lines().next(),
        Some("mapping tables: own -> the shipped ones")
    );
    assert_eq!(
        env.impaxlink(&["mapping", "list", "--json"]).json()["own"],
        json!(false)
    );
    env.impaxlink(&["generation", "rollback", "1"]).success();
    assert_eq!(env.impaxlink(&["mapping", "export"]).success(), edited);
}

#[test]
fn a_bad_line_is_named_and_nothing_changes() {
    let env = Env::new();
    let path = write(
        &env,
        "bad.csv",
        "target,order,value,modality\nbody_part,10,LUNG,CT\nbody_part,10,LUNG,C/T\nbody_part,ten,LUNG,MR\n",
    );
    let run = env.impaxlink(&["mapping", "import", &path]);
    run.fails_with(1, "bad.csv: line 3: invalid modality \"C/T\": ");
    assert!(
        run.stderr.contains("bad.csv: line 4: invalid order \"ten\""),
        "{run:#?}"
    );
    assert!(!env.store().exists());
    env.impaxlink(&["mapping", "import", "/nowhere.csv"])
        .fails_with(1, "can't read /nowhere.csv");
    env.impaxlink(&["mapping", "set", "body-part", "HEAD"])
        .fails_with(2, "it needs a condition");
    env.impaxlink(&["mapping", "set", "organ", "HEAD", "--modality", "CT"])
        .fails_with(2, "it is 'specialty' or 'body_part'");
    env.impaxlink(&["mapping", "set", "body-part", "HEAD", "--body-part", "NECK"])
        .fails_with(2, "only specialty's rules");
    let one = write(
        &env,
        "one.csv",
        "target,order,value,modality\nbody_part,10,LUNG,CT\n",
    );
    env.impaxlink(&["mapping", "import", &one]).success();
    env.impaxlink(&["mapping", "remove", "body-part", "--modality", "CT"])
        .fails_with(1, "the last mapping rule");
}

#[test]
fn a_test_names_the_rule_that_decides() {
    let env = Env::new();
    let run = env.impaxlink(&[
        "mapping",
        "test",
        "--description",
        "MR Knie li.",
        "--modality",
        "MR",
    ]);
    assert!(
        run.success()
            .contains("LOWER EXTREMITY  order 200: description '*knie*'"),
        "{run:#?}"
    );
    assert!(run.stdout.contains("body part 'LOWER EXTREMITY'"), "{run:#?}");
    let none = env
        .impaxlink(&["mapping", "test", "--modality", "OT", "--json"])
        .json();
    assert_eq!(none, json!({"schema": 1, "body_part": null, "specialty": null}));
}

//! What scripts and cron read of a command line that went wrong: one line, the status, nothing saved, no patient data.

use serde_json::json;

use super::support::env::Env;

const SITEB: [&str; 8] = [
    "station",
    "add",
    "SITEB",
    "--ae-title",
    "B",
    "--host",
    "::1",
    "--port",
];

fn one_station() -> Env {
    let env = Env::new();
    env.impaxlink(&[&SITEB[..], &["104"]].concat()).success();
    env
}

#[test]
fn a_format_that_the_command_cannot_write_is_refused_before_it_saves() {
    let mut env = one_station();
    let set = ["station", "set", "SITEB", "--priority", "7"];
    env.impaxlink(&[&set[..], &["--format", "dicom-json"]].concat())
        .fails_with(2, "for 'query' alone");
    env.set("IMPAXLINK_FORMAT", "dicom-json");
    env.impaxlink(&set).fails_with(2, "for 'query' alone");
    let shown = env.impaxlink(&["station", "show", "SITEB", "--json"]).json();
    assert_eq!(shown["station"]["priority"], json!(0));
}

#[test]
fn a_wrong_command_line_is_one_line_and_a_hint() {
    let env = one_station();
    for (words, error, hint) in [
        (
            &["station", "add", "X"][..],
            "the following required arguments were not provided: --ae-title <AET>",
            "hint: it is used as impaxlink station add",
        ),
        (
            &["station", "set", "SITEB", "--syntax", "klingon"],
            "invalid value 'klingon' for '--syntax <SYNTAX>' [possible values: auto, linked, dicom]",
            "",
        ),
        (
            &["station", "set", "SITEB", "--link-prefech"],
            "unexpected argument '--link-prefech' found",
            "hint: a similar argument exists: '--link-prefetch",
        ),
        (
            &["station", "set", "SITEB", "--priority", "high"],
            "--priority <N>: invalid number \"high\"",
            "",
        ),
    ] {
        let run = env.impaxlink(words);
        run.exits(2);
        let mut lines = run.stderr.lines();
        assert!(
            lines.next().unwrap().starts_with(&format!("error: {error}")),
            "{run:#?}"
        );
        assert!(lines.next().unwrap_or_default().starts_with(hint), "{run:#?}");
        assert_eq!(lines.next(), None, "{run:#?}");
    }
}

#[test]
fn with_quiet_an_error_is_one_line() {
    let env = one_station();
    for (words, status) in [
        (&["-q", "reload"][..], 7),
        (&["-q", "station", "show", "SITE-B"], 4),
        (&["station", "set", "SITEB", "--link-prefech", "--quiet"], 2),
    ] {
        let run = env.impaxlink(words);
        run.exits(status);
        assert_eq!(run.stderr.lines().count(), 1, "{run:#?}");
    }
}

#[test]
fn a_filter_that_came_empty_is_not_a_query_for_all_patients() {
    let env = one_station();
    for option in [
        "--patient-id",
        "--patient-name",
        "--accession",
        "--study-uid",
        "--modality",
        "--description",
    ] {
        let run = env.impaxlink(&["query", option, ""]);
        run.fails_with(2, option);
        env.impaxlink_with_stdin(&["query", option, "@-"], "\n")
            .fails_with(2, option);
    }
    env.impaxlink_with_stdin(&["query", "-k", "StudyID=@-"], "")
        .fails_with(2, "StudyID");
    env.impaxlink(&["query", "--accession", "A\u{1b}[2J"])
        .fails_with(2, "control characters");
}

#[test]
fn what_may_be_patient_data_is_not_in_the_error() {
    let env = one_station();
    for option in [
        "--patient-id",
        "--birth-date",
        "--study-uid",
        "--accession",
        "-k=StudyID",
    ] {
        let word = option.replace("-k=StudyID", "-kStudyID=@-");
        let words = ["-q", "query", word.as_str(), "@-"];
        let words = if option.starts_with("-k") {
            &words[..3]
        } else {
            &words[..]
        };
        let run = env.impaxlink_with_stdin(words, "DOE^JANE\\\u{7}");
        run.exits(2);
        assert!(!run.stderr.contains("DOE"), "{run:#?}");
    }
}

#[test]
fn a_key_that_no_station_can_be_asked_is_a_wrong_command_line() {
    let env = one_station();
    for key in ["QueryRetrieveLevel=PATIENT", "0000,0100=1", "Rows=512"] {
        env.impaxlink(&["query", "-k", key]).fails_with(2, "--key");
    }
}

#[test]
fn a_query_says_why_the_store_cannot_be_opened() {
    let env = Env::new();
    let file = env.path().join("notes.txt");
    std::fs::write(&file, "notes").unwrap();
    let store = file.join("impaxlink.db");
    let run = env.impaxlink(&["--store", store.to_str().unwrap(), "query", "--patient-id", "1"]);
    run.exits(1);
    assert!(run.stderr.contains("notes.txt"), "{run:#?}");
}

/// Case: one site under several AE titles and addresses
#[test]
fn a_station_takes_several_addresses_and_shows_them_to_scripts() {
    let env = one_station();
    let addresses = ["10.2.0.5", "10.2.0.6"];
    env.impaxlink(&[&["station", "set", "SITEB", "--from-address"][..], &addresses[..]].concat())
        .success();
    let shown = env.impaxlink(&["station", "show", "SITEB", "--format", "csv"]);
    let fields: Vec<&str> = shown.success().lines().collect();
    for field in [
        "from_addresses,10.2.0.5;10.2.0.6",
        "description,",
        "cluster_linking,false",
    ] {
        assert!(fields.contains(&field), "{shown:#?}");
    }
}

#[test]
fn a_generation_is_shown_with_its_save_and_all_that_is_set() {
    let env = one_station();
    let set = [
        "station",
        "set",
        "SITEB",
        "--cluster-linking",
        "--reason",
        "CHG1182",
    ];
    env.impaxlink(&set).success();
    let run = env.impaxlink(&["generation", "show", "2"]);
    let lines: Vec<&str> = run.success().lines().collect();
    assert!(
        lines[0].starts_with("2 saved by ") && lines[0].ends_with("(CHG1182)"),
        "{run:#?}"
    );
    assert_eq!(
        lines[1..],
        [
            "station SITEB added (B@[::1]:104)",
            "station SITEB: cluster_linking off -> on"
        ]
    );
    let shown = env.impaxlink(&["generation", "show", "2", "--json"]).json();
    assert_eq!(shown["saved"]["reason"], json!("CHG1182"));
    assert_eq!(shown["stations"][0]["cluster_linking"], json!(true));
}

#[test]
fn what_stands_in_the_environment_is_no_part_of_the_usage() {
    let env = Env::new();
    let run = env.impaxlink(&["station", "add", "X", "--host", "127.0.0.1"]);
    run.fails_with(2, "--ae-title <AET>");
    assert!(!run.stderr.contains("--store"), "{run:#?}");
}

//! `station`: what an administrator types, right and wrong, and what comes of it.

use serde_json::json;

use super::support::env::Env;

/// An archive `PACS` and a linked station `SITEB`.
fn two_stations() -> Env {
    let env = Env::new();
    let add = ["station", "add"];
    let pacs = [
        "PACS",
        "--kind",
        "archive",
        "--ae-title",
        "PACS",
        "--host",
        "10.1.0.5",
        "--port",
        "104",
    ];
    let siteb = [
        "SITEB",
        "--ae-title",
        "SITEB_QR",
        "--host",
        "10.2.0.5",
        "--port",
        "104",
        "--cluster-linking",
    ];
    env.impaxlink(&[&add[..], &pacs[..]].concat()).success();
    env.impaxlink(&[&add[..], &siteb[..]].concat()).success();
    env
}

fn station(env: &Env, name: &str) -> serde_json::Value {
    let run = env.impaxlink(&["station", "show", name, "--json"]);
    run.success();
    run.json()["station"].clone()
}

#[test]
fn set_changes_only_what_is_named_and_names_the_station() {
    let env = two_stations();
    let run = env.impaxlink(&["station", "set", "SITEB", "--link-prefetch", "--priority", "-3"]);
    let expected = "station SITEB: link_prefetching off -> on\nstation SITEB: priority 0 -> -3\n\
        saved as generation 3; no service is running here\n";
    assert_eq!(run.success(), expected);
    let station = station(&env, "SITEB");
    assert_eq!(station["link_prefetching"], json!(true));
    assert_eq!(station["priority"], json!(-3));
    assert_eq!(station["cluster_linking"], json!(true));
}

#[test]
fn every_switch_has_its_forms() {
    let env = two_stations();
    for (words, field, expected) in [
        (&["--link-internal"][..], "link_internal_queries", true),
        (&["--link-internal-queries=off"], "link_internal_queries", false),
        (&["--link-external"], "link_external_queries", true),
        (&["--no-link-external-queries"], "link_external_queries", false),
        (&["--link-updates=on"], "link_cluster_updates", true),
        (&["--no-link-updates"], "link_cluster_updates", false),
        (&["--link-prefetching"], "link_prefetching", true),
        (
            &["--link-prefetch", "--no-link-prefetch"],
            "link_prefetching",
            false,
        ),
        (&["--no-cluster-linking"], "cluster_linking", false),
        (&["--cluster-linking"], "cluster_linking", true),
        (&["--constrained"], "constrained", true),
        (&["--no-constrained"], "constrained", false),
    ] {
        env.impaxlink(&[&["station", "set", "SITEB"], words].concat())
            .success();
        assert_eq!(station(&env, "SITEB")[field], json!(expected), "{words:?}");
    }
}

#[test]
fn without_a_name_it_is_the_only_linked_station() {
    let mut env = two_stations();
    let run = env.impaxlink(&["station", "set", "--link-prefetch"]);
    assert!(
        run.success()
            .starts_with("station SITEB: link_prefetching off -> on")
    );
    env.impaxlink(&["station", "set", "SITEB", "--no-cluster-linking"])
        .success();
    env.impaxlink(&["station", "set", "--priority", "1"])
        .fails_with(2, "there are PACS, SITEB");
    env.set("IMPAXLINK_STATION", "PACS");
    assert!(
        env.impaxlink(&["station", "set", "--priority", "1"])
            .success()
            .starts_with("station PACS: priority")
    );
}

#[test]
fn doing_again_what_is_done_says_unchanged_and_saves_nothing() {
    let env = two_stations();
    let run = env.impaxlink(&["station", "set", "SITEB", "--cluster-linking"]);
    assert_eq!(run.success(), "station SITEB: unchanged (generation 2)\n");
    let run = env.impaxlink(&["station", "set", "SITEB", "--cluster-linking", "--json"]);
    run.success();
    assert_eq!(run.json()["unchanged"], json!(true));
    assert_eq!(run.json()["generation"], json!(2));
}

#[test]
fn an_option_without_the_master_switch_is_saved_with_a_notice() {
    let env = two_stations();
    let run = env.impaxlink(&[
        "station",
        "set",
        "SITEB",
        "--no-cluster-linking",
        "--link-prefetch",
    ]);
    run.success();
    assert!(
        run.stderr.contains("cluster linking is off for SITEB"),
        "{run:#?}"
    );
    assert_eq!(station(&env, "SITEB")["link_prefetching"], json!(true));
    let quiet = env.impaxlink(&["-q", "station", "set", "SITEB", "--priority", "2"]);
    assert_eq!((quiet.success(), quiet.stderr.as_str()), ("", ""));
}

#[test]
fn a_bad_value_names_the_field_the_value_and_the_rule() {
    let env = two_stations();
    for (words, field, rule) in [
        (
            ["--ae-title", "ABCDEFGHIJKLMNOPQ"],
            "AE title \"ABCDEFGHIJKLMNOPQ\"",
            "at most 16",
        ),
        (["--ae-title", "   "], "AE title", "only spaces"),
        (["--ae-title", "A\\B"], "AE title", "backslash"),
        (
            ["--ae-title", "A\u{7}B"],
            "AE title \"A\\u{7}B\"",
            "control characters",
        ),
        (["--port", "0"], "port \"0\"", "from 1 to 65535"),
        (["--port", "65536"], "port \"65536\"", "from 1 to 65535"),
        (["--host", "10.2.0.256"], "host \"10.2.0.256\"", "four numbers"),
        (["--host", "a b"], "host \"a b\"", "letters, digits"),
        (["--host", ""], "host \"\"", "not be empty"),
        (["--issuer", "A^B"], "issuer \"A^B\"", "'^' is not allowed"),
        (["--charset", "latin1"], "charset \"latin1\"", "defined term"),
        (["--timeout", "5"], "duration \"5\"", "unit"),
        (["--from-address", "siteb"], "address \"siteb\"", "IPv4 or IPv6"),
        (["--reason", "two\nlines"], "reason", "one line"),
    ] {
        let run = env.impaxlink(&[&["station", "set", "SITEB"][..], &words[..]].concat());
        run.fails_with(2, field);
        assert!(run.stderr.contains(rule), "{run:#?}");
        assert_eq!(run.stderr.lines().count(), 1, "{run:#?}");
    }
    assert_eq!(
        env.impaxlink(&["generation", "list", "--json"]).json()["items"]
            .as_array()
            .unwrap()
            .len(),
        2
    );
}

#[test]
fn hosts_may_be_names_and_both_kinds_of_address() {
    let env = two_stations();
    for (given, kept) in [
        ("Pacs.North.Example", "pacs.north.example"),
        ("2001:DB8::5", "2001:db8::5"),
        ("10.0.0.9", "10.0.0.9"),
    ] {
        env.impaxlink(&["station", "set", "SITEB", "--host", given])
            .success();
        assert_eq!(station(&env, "SITEB")["host"], json!(kept));
    }
    env.impaxlink(&["station", "set", "SITEB", "--host", "::1"])
        .success();
    assert!(
        env.impaxlink(&["station", "list"])
            .success()
            .contains("SITEB_QR@[::1]:104")
    );
}

#[test]
fn what_goes_with_nothing_else_is_refused() {
    let env = two_stations();
    let add = |name, title, port| {
        env.impaxlink(&[
            "station",
            "add",
            name,
            "--ae-title",
            title,
            "--host",
            "10.2.0.5",
            "--port",
            port,
        ])
    };
    add("SITEB", "X", "1").fails_with(1, "station SITEB is registered already");
    add("siteb", "X", "1").fails_with(1, "another station has this name");
    add("COPY", "SITEB_QR", "104").fails_with(1, "COPY and SITEB can't both have it");
    add("local", "X", "1").fails_with(2, "reserved");
    env.impaxlink(&["station", "set", "PACS", "--cluster-linking"])
        .fails_with(1, "can't be linked");
    let again = [
        "station",
        "add",
        "SITEB",
        "--ae-title",
        "X",
        "--host",
        "h",
        "--port",
        "1",
        "--if-not-exists",
    ];
    assert_eq!(
        env.impaxlink(&again).success(),
        "station SITEB: unchanged (generation 2)\n"
    );
}

#[test]
fn a_mistyped_name_brings_a_suggestion() {
    let env = two_stations();
    let run = env.impaxlink(&["station", "show", "SITE-B"]);
    run.fails_with(4, "no station SITE-B");
    assert!(run.stderr.contains("hint: did you mean SITEB?"), "{run:#?}");
    env.impaxlink(&["station", "remove", "NOWHERE"])
        .fails_with(4, "no station NOWHERE");
    env.impaxlink(&["station", "remove", "NOWHERE", "--if-exists"])
        .success();
}

#[test]
fn dry_run_and_if_generation_save_nothing() {
    let env = two_stations();
    let run = env.impaxlink(&["station", "remove", "SITEB", "--dry-run"]);
    let expected =
        "station SITEB removed (SITEB_QR@10.2.0.5:104)\ndry run: nothing saved, generation 2 stays\n";
    assert_eq!(run.success(), expected);
    let run = env.impaxlink(&[
        "station",
        "set",
        "SITEB",
        "--priority",
        "1",
        "--if-generation",
        "1",
    ]);
    run.fails_with(5, "generation 2 was saved by");
    env.impaxlink(&[
        "station",
        "set",
        "SITEB",
        "--priority",
        "1",
        "--if-generation",
        "2",
    ])
    .success();

    let empty = Env::new();
    let add = [
        "station",
        "add",
        "A",
        "--ae-title",
        "A",
        "--host",
        "h",
        "--port",
        "1",
        "--dry-run",
    ];
    empty.impaxlink(&add).success();
    assert!(!empty.store().exists());
}

#[test]
fn rename_and_rollback_lead_back_to_the_same_station() {
    let env = two_stations();
    let before = station(&env, "SITEB");
    let run = env.impaxlink(&["station", "rename", "SITEB", "NORTH", "--reason", "CHG1182"]);
    assert!(run.success().starts_with("station NORTH: name SITEB -> NORTH\n"));
    env.impaxlink(&["station", "set", "NORTH", "--link-updates"])
        .success();
    let diff = env.impaxlink(&["generation", "diff", "2"]);
    assert_eq!(
        diff.success(),
        "station NORTH: name SITEB -> NORTH\nstation NORTH: link_cluster_updates off -> on\n"
    );
    env.impaxlink(&["generation", "rollback", "2"]).success();
    assert_eq!(station(&env, "SITEB"), before);
    let list = env.impaxlink(&["generation", "list", "--json"]).json();
    assert_eq!(list["items"][0]["generation"], json!(5));
    assert_eq!(list["items"][2]["reason"], json!("CHG1182"));
    env.impaxlink(&["generation", "show", "9"])
        .fails_with(4, "no generation 9: the newest is 5");
    env.impaxlink(&["audit", "verify"]).success();
}

#[test]
fn a_suspended_station_says_so_until_it_is_resumed() {
    let env = two_stations();
    env.impaxlink(&["station", "suspend", "SITEB", "--until", "2h"])
        .success();
    assert!(
        env.impaxlink(&["station", "list", "--linked"])
            .success()
            .contains("suspended to ")
    );
    env.impaxlink(&["station", "suspend", "SITEB", "--until", "2020-01-01T00:00:00Z"])
        .fails_with(2, "passed already");
    env.impaxlink(&["station", "resume", "SITEB"]).success();
    assert_eq!(station(&env, "SITEB")["suspended_until"], json!(null));
}

#[test]
fn every_format_lists_the_same_stations() {
    let env = two_stations();
    let list = |format| env.impaxlink(&["station", "list", "--format", format]);
    let json = list("json").json();
    assert_eq!(json["schema"], json!(1));
    let names: Vec<_> = json["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|station| station["name"].clone())
        .collect();
    assert_eq!(names, ["PACS", "SITEB"]);
    assert_eq!(list("ndjson").ndjson().len(), 2);
    let csv = list("csv").stdout;
    assert!(
        csv.starts_with("name,ae_title,host,port,kind,") && csv.lines().count() == 3,
        "{csv}"
    );
    let table = "NAME   KIND      CLUSTER  AE TITLE @ HOST:PORT   LINK  INT  EXT  UPD  PRE  STATE\n\
        PACS   archive   -        PACS@10.1.0.5:104      -     -    -    -    -    -\n\
        SITEB  external  -        SITEB_QR@10.2.0.5:104  on    -    -    -    -    -\n";
    assert_eq!(list("table").success(), table);
    list("dicom-json").fails_with(2, "'query' alone");
}

#[test]
fn a_value_may_come_from_standard_input() {
    let env = two_stations();
    let words = ["station", "set", "SITEB", "--description", "@-"];
    env.impaxlink_with_stdin(&words, "opened in May\n").success();
    assert_eq!(station(&env, "SITEB")["description"], json!("opened in May"));
    env.impaxlink(&["station", "set", "SITEB", "--description", ""])
        .success();
    assert_eq!(station(&env, "SITEB")["description"], json!(null));
}

#[test]
fn lists_of_values_replace_those_before() {
    let env = two_stations();
    env.impaxlink(&[
        "station", "set", "SITEB", "--issuer", "NORTH", "--issuer", "HARBOUR",
    ])
    .success();
    assert_eq!(station(&env, "SITEB")["issuers"], json!(["NORTH", "HARBOUR"]));
    env.impaxlink(&["station", "set", "SITEB", "--issuer", "VALLEY,VALLEY"])
        .success();
    assert_eq!(station(&env, "SITEB")["issuers"], json!(["VALLEY"]));
    env.impaxlink(&["station", "set", "SITEB", "--issuer", ""])
        .success();
    assert_eq!(station(&env, "SITEB")["issuers"], json!([]));
}

//! Settings, the audit and the reload command, as an administrator and a cron job use them.

use std::os::unix::fs::PermissionsExt as _;

use serde_json::json;

use super::support::env::Env;

#[test]
fn a_setting_is_set_read_and_put_back() {
    let env = Env::new();
    assert_eq!(
        env.impaxlink(&["config", "get", "ae_title"]).success(),
        "IMPAXLINK\n"
    );
    let run = env.impaxlink(&["config", "set", "ae_title", "NORTH", "--reason", "CHG1"]);
    assert!(
        run.success().starts_with("setting ae_title: (none) -> NORTH\n"),
        "{run:#?}"
    );
    assert_eq!(env.impaxlink(&["config", "get", "ae_title"]).success(), "NORTH\n");
    env.impaxlink(&["config", "unset", "ae_title"]).success();
    assert_eq!(
        env.impaxlink(&["config", "get", "ae_title"]).success(),
        "IMPAXLINK\n"
    );
    let list = env.impaxlink(&["config", "list", "--json"]).json();
    let item = list["items"]
        .as_array()
        .unwrap()
        .iter()
        .find(|item| item["key"] == json!("timeout.connect"));
    let item = item.unwrap();
    assert_eq!((&item["value"], &item["default"]), (&json!("5s"), &json!("5s")));
    assert!(item["description"].is_string());
}

#[test]
fn a_bad_setting_is_refused() {
    let env = Env::new();
    env.impaxlink(&["config", "set", "timeout.conect", "5s"])
        .fails_with(4, "did you mean timeout.connect?");
    env.impaxlink(&["config", "set", "timeout.connect", "soon"])
        .fails_with(2, "timeout.connect \"soon\"");
    env.impaxlink(&["config", "set", "listen", "11112"])
        .fails_with(2, "an address and a port");
    assert!(
        !env.store().exists() || env.impaxlink(&["audit", "list", "--json"]).json()["items"] == json!([])
    );
}

#[test]
fn the_reload_command_runs_after_each_save_and_its_end_is_told() {
    let env = Env::new();
    let witness = env.path().join("witness");
    let command = format!(
        "echo $IMPAXLINK_GENERATION >> {}; echo to-stderr",
        witness.display()
    );
    let run = env.impaxlink(&["config", "set", "reload.command", &command]);
    assert!(
        run.success().contains("reload command ended with status 0"),
        "{run:#?}"
    );
    assert!(
        run.stderr
            == "to-stderr
" && run.stdout.lines().count() == 2,
        "{run:#?}"
    );
    env.impaxlink(&["config", "set", "issuer", "NORTH"]).success();
    env.impaxlink(&["config", "set", "issuer", "NORTH"]).success();
    env.impaxlink(&["config", "set", "issuer", "HARBOUR", "--no-reload"])
        .success();
    assert_eq!(std::fs::read_to_string(&witness).unwrap(), "1\n2\n");

    env.impaxlink(&["config", "set", "reload.command", "exit 7", "--no-reload"])
        .success();
    let run = env.impaxlink(&["config", "set", "issuer", "NORTH", "--json"]);
    assert_eq!(run.status, Some(1));
    assert_eq!(run.json()["in_force"]["reload_command_status"], json!(7));
    assert!(
        run.stderr
            .contains("saved as generation 5, but the reload command ended with status 7"),
        "{run:#?}"
    );

    env.impaxlink(&["config", "set", "reload.command", "sleep 60", "--no-reload"])
        .success();
    env.impaxlink(&["config", "set", "reload.timeout", "300ms", "--no-reload"])
        .success();
    env.impaxlink(&["config", "set", "issuer", "VALLEY"]).exits(1);
    assert_eq!(env.impaxlink(&["config", "get", "issuer"]).success(), "VALLEY\n");
}

#[test]
fn the_audit_says_who_what_and_why() {
    let mut env = Env::new();
    env.set("SUDO_USER", "jdoe");
    env.impaxlink(&["config", "set", "issuer", "NORTH", "--reason", "CHG1182"])
        .success();
    let list = env.impaxlink(&["audit", "list", "--json"]).json();
    let record = &list["items"][0];
    assert_eq!(record["generation"], json!(1));
    assert_eq!(record["reason"], json!("CHG1182"));
    assert_eq!(
        record["command"],
        json!("impaxlink config set issuer NORTH --reason CHG1182")
    );
    assert_eq!(record["detail"][0]["after"], json!("NORTH"));
    // Where the kernel knows who logged in, that counts before what sudo says.
    let login = std::fs::read_to_string("/proc/self/loginuid").unwrap_or_default();
    if login.trim() == u32::MAX.to_string() || login.is_empty() {
        assert_eq!(record["real_user"], json!("jdoe"));
    }
    assert!(
        env.impaxlink(&["audit", "list"])
            .success()
            .contains("setting issuer: (none) -> NORTH")
    );
    assert!(
        env.impaxlink(&["audit", "list", "--since", "2999-01-01"])
            .success()
            .lines()
            .count()
            <= 1
    );
}

#[test]
fn an_edited_record_and_a_cut_chain_are_found() {
    let env = Env::new();
    env.impaxlink(&["config", "set", "issuer", "NORTH"]).success();
    let head = env.impaxlink(&["audit", "verify", "--json"]).json()["head"]
        .as_str()
        .unwrap()
        .to_owned();
    env.impaxlink(&["config", "set", "issuer", "HARBOUR"]).success();
    env.impaxlink(&["audit", "verify", "--expect", &head]).success();
    env.impaxlink(&["audit", "verify", "--expect", &"0".repeat(64)])
        .fails_with(1, "cut or made anew");
    let edit = "DROP TRIGGER audit_is_never_edited; UPDATE audit SET user = 'nobody' WHERE sequence = 1";
    let edited = env
        .command("sqlite3")
        .arg(env.store())
        .arg(edit)
        .status()
        .unwrap();
    assert!(edited.success());
    env.impaxlink(&["audit", "verify"])
        .fails_with(1, "audit record 1: it was edited");
}

#[test]
fn what_is_made_is_its_owners_alone() {
    let env = Env::new();
    env.impaxlink(&["config", "set", "issuer", "NORTH"]).success();
    let folder = env.store().parent().unwrap().to_owned();
    let mode = |path: &std::path::Path| path.metadata().unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&folder), 0o700);
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        assert_eq!(mode(&path), 0o600, "{}", path.display());
    }
}

#[test]
fn what_is_no_store_is_left_alone() {
    let env = Env::new();
    let path = env.path().join("notes.txt");
    std::fs::write(
        &path,
        "these are notes, and long enough to look like nothing that SQLite knows".repeat(20),
    )
    .unwrap();
    let before = std::fs::read(&path).unwrap();
    let store = path.to_str().unwrap();
    env.impaxlink(&["--store", store, "config", "set", "issuer", "NORTH"])
        .fails_with(1, "is not an impaxlink store");
    env.impaxlink(&["--store", store, "station", "list"])
        .fails_with(1, "is not an impaxlink store");
    assert_eq!(std::fs::read(&path).unwrap(), before);
}

#[test]
fn the_shell_is_offered_station_names() {
    let mut env = Env::new();
    env.impaxlink(&[
        "station",
        "add",
        "SITEB",
        "--ae-title",
        "B",
        "--host",
        "h",
        "--port",
        "104",
    ])
    .success();
    env.set("COMPLETE", "fish");
    let offered = env.impaxlink(&["--", "impaxlink", "station", "show", "si"]);
    assert!(offered.success().contains("SITEB"), "{offered:#?}");
    let offered = env.impaxlink(&["--", "impaxlink", "config", "get", "timeout.c"]);
    assert!(offered.success().contains("timeout.connect"), "{offered:#?}");
}

#[test]
fn a_closed_pipe_is_no_error() {
    let env = Env::new();
    env.impaxlink(&["config", "set", "issuer", "NORTH"]).success();
    let shell = format!(
        "set -o pipefail; {} config list --format ndjson | true",
        env!("CARGO_BIN_EXE_impaxlink")
    );
    let output = env.command("bash").args(["-c", &shell]).output().unwrap();
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
}

#[test]
fn a_group_without_a_command_shows_its_help() {
    let env = Env::new();
    for (words, shown) in [
        (&[][..], "Run the link service"),
        (&["station"], "Register a station"),
    ] {
        let run = env.impaxlink(words);
        run.fails_with(2, shown);
        assert!(run.stderr.contains("Example"), "{run:#?}");
    }
}

#[test]
fn the_command_line_says_the_format_before_the_environment() {
    let mut env = Env::new();
    env.set("IMPAXLINK_FORMAT", "csv");
    assert!(
        env.impaxlink(&["config", "list"])
            .success()
            .starts_with("key,value")
    );
    assert!(env.impaxlink(&["config", "list", "--json"]).json()["items"].is_array());
    env.impaxlink(&["config", "list", "--json", "--format", "csv"])
        .fails_with(2, "cannot be used with");
    env.set("IMPAXLINK_FORMAT", "xml");
    env.impaxlink(&["config", "list"])
        .fails_with(2, "IMPAXLINK_FORMAT \"xml\"");
}

//! A configuration that the service could not start with is refused when it is saved.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use super::support::env::{Env, Run};

fn site() -> Env {
    let env = Env::new();
    env.impaxlink(&[
        "station",
        "add",
        "SITEB",
        "--ae-title",
        "SITEB",
        "--host",
        "10.0.0.2",
        "--port",
        "104",
    ])
    .success();
    env
}

/// A self-signed certificate and its key.
fn pair(env: &Env, name: &str) -> [String; 2] {
    let files = ["pem", "key"].map(|ending| {
        env.path()
            .join(format!("{name}.{ending}"))
            .to_str()
            .unwrap()
            .to_owned()
    });
    let made = env
        .command("openssl")
        .args([
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:prime256v1",
            "-nodes",
        ])
        .args(["-subj", "/CN=north", "-out", &files[0], "-keyout", &files[1]])
        .output()
        .unwrap();
    assert!(made.status.success(), "{made:?}");
    files
}

fn generation(env: &Env) -> u64 {
    Run::json(&env.impaxlink(&["status", "--json"]))["generation_saved"]
        .as_u64()
        .unwrap()
}

#[track_caller]
fn assert_refused(env: &Env, command: &[&str], why: &str) {
    let before = generation(env);
    let run = env.impaxlink(command);
    run.fails_with(1, "nothing was saved");
    assert!(
        run.stderr.contains(why) && run.stderr.contains("hint: "),
        "{run:?}"
    );
    env.impaxlink(&[command, &["--dry-run"]].concat())
        .fails_with(1, why);
    assert_eq!(generation(env), before);
}

/// Case: a setting with which the service would not start
#[test]
fn files_of_tls_are_read_before_they_are_saved() {
    let env = site();
    let [certificate, key] = pair(&env, "one");
    let [other_certificate, other_key] = pair(&env, "two");
    assert_refused(
        &env,
        &["config", "set", "tls.key", "/nope"],
        "can't read /nope (tls.key)",
    );
    assert_refused(
        &env,
        &["config", "set", "tls.authorities", &key],
        "tls.authorities",
    );
    env.impaxlink(&["config", "set", "tls.key", &key]).success();
    assert_refused(
        &env,
        &["config", "set", "tls.certificate", &other_certificate],
        "tls.certificate",
    );
    env.impaxlink(&["config", "set", "tls.certificate", &certificate])
        .success();
    env.impaxlink(&[
        "config",
        "set",
        "tls.certificate",
        &other_certificate,
        "tls.key",
        &other_key,
    ])
    .success();
    env.impaxlink(&["config", "set", "tls.key"]).exits(2);
    env.impaxlink(&["config", "set", "issuer", "NORTH", "ae_title"])
        .fails_with(2, "has no value");
    fs::set_permissions(Path::new(&other_key), Permissions::from_mode(0o644)).unwrap();
    let check = env.impaxlink(&["check", "--timeout", "1s", "--json"]);
    assert!(
        check.stdout.contains("(tls.key) is open to every user"),
        "{}",
        check.stdout
    );
    assert!(
        env.impaxlink(&["status"])
            .stdout
            .contains("(tls.key) is open to every user")
    );
    // What became unusable later may be mended step by step.
    fs::remove_file(&other_key).unwrap();
    let mended = env.impaxlink(&["config", "set", "issuer", "NORTH"]);
    mended.success();
    assert!(
        mended.stderr.contains("can't use the configuration yet"),
        "{mended:?}"
    );
}

/// Case: a setting with which the service would not start
#[test]
fn tls_without_authorities_and_one_address_for_two_are_refused() {
    let env = site();
    assert_refused(
        &env,
        &["station", "set", "SITEB", "--tls"],
        "TLS needs the setting tls.authorities",
    );
    assert_refused(
        &env,
        &["config", "set", "tls.listen", "127.0.0.1:2762"],
        "TLS needs the setting",
    );
    assert_refused(
        &env,
        &["config", "set", "hl7.listen", "127.0.0.1:11112"],
        "listen and hl7.listen can't both listen on 127.0.0.1:11112",
    );
    env.impaxlink(&["config", "set", "hl7.listen", "127.0.0.1:2575"])
        .success();
}

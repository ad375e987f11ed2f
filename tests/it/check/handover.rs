//! What is handed over to the other side.

use serde_json::json;

use super::{Pair, cluster};
use crate::support::env::Env;

#[test]
fn everything_that_the_other_side_needs_is_in_it() {
    let pair = Pair::start();
    let run = pair.north.env.impaxlink(&["check", "HARBOUR", "--handover"]);
    let text = run.success();
    let port = pair.north.port;
    for words in [
        "AE title  NORTH".to_owned(),
        "host      127.0.0.1 (".to_owned(),
        format!("port      {port}"),
        format!("C-MOVE to NORTH must arrive at 127.0.0.1 port {port}"),
        format!("to 127.0.0.1 port {}", pair.harbour.port),
        "1.2.840.10008.5.1.4.1.2.2.2".to_owned(),
        format!("impaxlink station add NORTH --ae-title NORTH --host 127.0.0.1 --port {port}"),
        "--issuer 'NORTH'".to_owned(),
        "issuer of your patient IDs        HARBOUR".to_owned(),
    ] {
        assert!(text.contains(&words), "no {words:?} in\n{text}");
    }
    assert!(text.is_ascii() && !text.contains('\u{1b}'), "{text}");
    let json = pair
        .north
        .env
        .impaxlink(&["check", "--handover", "--json"])
        .json();
    assert_eq!(json["items"][0]["station"], json!("HARBOUR"));
    assert_eq!(json["items"][0]["port"], json!(port));
}

#[test]
fn the_other_side_can_paste_it() {
    let pair = Pair::start();
    let text = pair
        .north
        .env
        .impaxlink(&["check", "HARBOUR", "--handover"])
        .stdout;
    let line = text
        .lines()
        .map(str::trim)
        .find(|line| line.starts_with("impaxlink station add"));
    let other = Env::new();
    let words: Vec<&str> = line.unwrap().split(' ').skip(1).collect();
    let words: Vec<&str> = words.iter().map(|word| word.trim_matches('\'')).collect();
    other.impaxlink(&words).success();
    let station = other.impaxlink(&["station", "show", "NORTH", "--json"]).json();
    assert_eq!(station["station"]["cluster_linking"], json!(true));
}

#[test]
fn nobody_to_hand_over_to() {
    let north = cluster("NORTH");
    north
        .env
        .impaxlink(&["check", "--handover"])
        .fails_with(2, "none is linked");
    north
        .env
        .impaxlink(&["check", "HARBUOR"])
        .fails_with(4, "no station HARBUOR");
    Env::new().impaxlink(&["check"]).fails_with(1, "nothing to check");
}

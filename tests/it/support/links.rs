//! Stations of an environment that stand for peers on this machine.
//!
//! Invariant: what is added is what an administrator would add, by the program itself.

use serde_json::Value;

use super::env::{Env, Run};

/// Registers an archive station of the local cluster.
pub fn add_archive(env: &Env, name: &str, ae_title: &str, port: u16, options: &[&str]) {
    add_station(
        env,
        name,
        ae_title,
        port,
        &[&["--kind", "archive"], options].concat(),
    );
}

/// Registers a station linked for internal queries.
pub fn add_linked(env: &Env, name: &str, ae_title: &str, port: u16, options: &[&str]) {
    let links = ["--cluster-linking", "--link-internal-queries"];
    add_station(env, name, ae_title, port, &[&links, options].concat());
}

/// Registers a station on this machine.
#[track_caller]
pub fn add_station(env: &Env, name: &str, ae_title: &str, port: u16, options: &[&str]) {
    let port = port.to_string();
    let address = [
        "station",
        "add",
        name,
        "--ae-title",
        ae_title,
        "--host",
        "127.0.0.1",
        "--port",
        &port,
    ];
    env.impaxlink(&[&address[..], options].concat()).success();
}

/// Runs a query with `--json` and gives the run and its document.
#[track_caller]
pub fn query(env: &Env, arguments: &[&str]) -> (Run, Value) {
    let run = env.impaxlink(&[&["query", "--json"], arguments].concat());
    let document = run.json();
    (run, document)
}

/// The sorted values of a field over a list of objects.
pub fn values<'a>(items: &'a Value, field: &str) -> Vec<&'a str> {
    let items = items.as_array().expect("a list");
    let mut values: Vec<&str> = items.iter().filter_map(|item| item[field].as_str()).collect();
    values.sort_unstable();
    values
}

/// The object of a list that has this value in a field.
#[track_caller]
pub fn item<'a>(items: &'a Value, field: &str, value: &str) -> &'a Value {
    let mut found = items
        .as_array()
        .expect("a list")
        .iter()
        .filter(|item| item[field] == value);
    found
        .next()
        .unwrap_or_else(|| panic!("no {field} {value} in {items:#}"))
}

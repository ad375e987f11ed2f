//! `check`: a healthy pair of clusters, and pairs that are broken in one way each.
//!
//! Invariant: a broken pair is the healthy one with one thing changed, so that what is told is told of that.

mod broken;
mod charset;
mod handover;
mod healthy;
mod moves;
mod over_tls;
mod told;

use impaxlink::model::{Configuration, Station};
use impaxlink::service::control;
use serde_json::Value;

use crate::support::env::{Env, Run};
use crate::support::service::{PATIENCE, Service, set};
use crate::support::sites::linked;

/// Two linked clusters, each with the embedded archive and its service.
struct Pair {
    north: Service,
    harbour: Service,
}

impl Pair {
    fn start() -> Self {
        let north = cluster("NORTH");
        let harbour = cluster("HARBOUR");
        link(&north, "HARBOUR", harbour.port);
        link(&harbour, "NORTH", north.port);
        Pair { north, harbour }
    }

    /// What NORTH says of the pair, with options.
    fn check(&self, options: &[&str]) -> Review {
        Review::of(&self.north.env, options)
    }
}

/// A cluster of this name, AE title and issuer.
fn cluster(name: &str) -> Service {
    Service::start_with(|configuration| {
        set(configuration, "ae_title", name);
        set(configuration, "cluster_name", name);
        set(configuration, "issuer", name);
        let archive = format!("{name}_PACS");
        let mut archive = Station::new(archive.parse().unwrap(), name.parse().unwrap(), None);
        archive.kind = impaxlink::model::Kind::Archive;
        configuration.stations = vec![archive];
    })
}

/// The door to the cluster `other`, as a healthy pair has it.
fn door(other: &str, port: u16) -> Station {
    let mut door = linked(other, other, port);
    door.cluster = Some(other.parse().unwrap());
    door.issuers = vec![other.parse().unwrap()];
    door.links.internal_queries = true;
    door.from_addresses = vec!["127.0.0.1".parse().unwrap()];
    door
}

fn link(service: &Service, other: &str, port: u16) {
    change(service, |configuration| {
        configuration.stations.push(door(other, port))
    });
}

/// Saves a change and brings it into force.
fn change(service: &Service, edit: impl FnOnce(&mut Configuration)) {
    service.save(edit);
    control::reload(&service.env.store(), PATIENCE).expect("a reload");
}

/// What `check --json` said.
struct Review {
    run: Run,
    document: Value,
}

impl Review {
    fn of(env: &Env, options: &[&str]) -> Self {
        let run = env.impaxlink(&[&["check", "--json"], options].concat());
        let document = run.json();
        Review { run, document }
    }

    /// `SUBJECT CHECK OUTCOME` of all that is not as it should be.
    fn troubles(&self) -> Vec<String> {
        let items = self.document["items"].as_array().unwrap().iter();
        let troubles = items.filter(|item| item["outcome"] != "pass");
        let word = |item: &Value, field: &str| item[field].as_str().unwrap().to_owned();
        let told = |item| {
            ["subject", "check", "outcome"]
                .map(|field| word(item, field))
                .join(" ")
        };
        troubles.map(told).collect()
    }

    /// Asserts that nothing but this is wrong, with these words in its detail and in its hint, and the exit status.
    #[track_caller]
    fn is(&self, trouble: &str, detail: &str, hint: &str) {
        assert_eq!(self.troubles(), [trouble], "{:#}", self.document);
        self.tells(trouble, detail, hint);
        let fails = trouble.ends_with("fail");
        assert_eq!(self.run.status, Some(i32::from(fails)), "{:#}", self.document);
    }

    /// Asserts that this is among what is wrong, with these words in its detail and in its hint.
    #[track_caller]
    fn tells(&self, trouble: &str, detail: &str, hint: &str) {
        let words: Vec<&str> = trouble.split(' ').collect();
        let items = self.document["items"].as_array().unwrap().iter();
        let mut found = items.filter(|item| {
            let told = [&item["subject"], &item["check"], &item["outcome"]];
            told.iter().zip(&words).all(|(told, word)| *told == word)
        });
        let has =
            |item: &Value, field: &str, words: &str| item[field].as_str().unwrap_or_default().contains(words);
        let right = found.any(|item| has(item, "detail", detail) && has(item, "hint", hint));
        assert!(right, "no {trouble}: {detail:?}, {hint:?} in {:#}", self.document);
    }
}

//! Who is sent updates, and whose are taken: only clusters that have shown who they are, by whatever shows it.

use impaxlink::model::UpdatesDirection;
use impaxlink::store::OutboxState;

use super::support::archive_options::ArchiveOptions;
use super::support::certificates::Authority;
use super::support::clusters::Cluster;
use super::support::orthanc::Orthanc;
use super::support::process::free_port;
use super::support::service::{set, wait_for};
use super::support::sites::linked;

const STUDY: &str = "1.2.840.1";
const ISSUERS: &[&str] = &["NORTH"];

/// A sender and a receiver; how the receiver has registered the sender is `registered`.
fn two(registered: impl FnOnce(&mut impaxlink::model::Station)) -> (Cluster, Cluster) {
    let (a, b) = (Cluster::start("SITEA"), Cluster::start("SITEB"));
    let mut door = a.door("SITEA", ISSUERS);
    registered(&mut door);
    b.knows(vec![door]);
    a.knows(vec![b.door("SITEB", ISSUERS)]);
    (a, b)
}

fn at(door: &mut impaxlink::model::Station, host: &str) {
    door.endpoint.as_mut().unwrap().host = host.parse().unwrap();
}

#[test]
fn a_station_that_is_known_by_a_host_name_is_proven_by_where_it_leads() {
    let (a, b) = two(|door| at(door, "localhost"));
    a.says(STUDY, "NORTH", "by name");
    b.wait_for_comments(STUDY, "by name");
}

#[test]
fn a_host_name_that_leads_nowhere_proves_nobody_until_it_is_put_right() {
    let (a, b) = two(|door| at(door, "no-such-host.invalid"));
    a.says(STUDY, "NORTH", "by name");
    wait_for("a reason", || a.trouble("SITEB").is_some());
    let why = a.trouble("SITEB").unwrap();
    assert!(why.contains("0124") && why.contains("not proven"), "{why}");
    assert_eq!(b.comments(STUDY), None);
    b.change_station("SITEA", |door| at(door, "localhost"));
    a.service.env.impaxlink(&["updates", "send"]).success();
    assert_eq!(b.comments(STUDY).as_deref(), Some("by name"));
}

#[test]
fn a_sender_is_proven_by_its_certificate_alone() {
    let authority = Authority::new("ours");
    let tls_port = free_port();
    let cluster = |name: &str, port: Option<u16>| {
        let certificate = authority.certify(name);
        let cluster = Cluster::start(name);
        cluster.change(|configuration| {
            set(
                configuration,
                "tls.authorities",
                authority.file().to_str().unwrap(),
            );
            set(
                configuration,
                "tls.certificate",
                certificate.certificate.to_str().unwrap(),
            );
            set(configuration, "tls.key", certificate.key.to_str().unwrap());
            if let Some(port) = port {
                set(configuration, "tls.listen", &format!("127.0.0.1:{port}"));
            }
        });
        cluster
    };
    let (a, mut b) = (cluster("SITEA", None), cluster("SITEB", Some(tls_port)));
    let mut door = a.door("SITEA", ISSUERS);
    // It calls from elsewhere than where it is registered.
    at(&mut door, "127.0.0.2");
    door.tls = true;
    door.updates_direction = UpdatesDirection::Accept;
    b.knows(vec![door]);
    let mut door = b.door("SITEB", ISSUERS);
    door.endpoint.as_mut().unwrap().port = tls_port.try_into().unwrap();
    door.tls = true;
    a.knows(vec![door]);
    a.says(STUDY, "NORTH", "by certificate");
    b.wait_for_comments(STUDY, "by certificate");
    // Where nobody is asked for a certificate, none proves anything.
    b.change(|configuration| set(configuration, "tls.callers", "none"));
    b.kill();
    b.restart();
    a.says(STUDY, "NORTH", "by nothing");
    wait_for("a reason", || a.trouble("SITEB").is_some());
    let why = a.trouble("SITEB").unwrap();
    assert!(why.contains("not proven"), "{why}");
    assert_eq!(b.comments(STUDY).as_deref(), Some("by certificate"));
}

#[test]
fn a_clone_of_this_cluster_is_told_nothing() {
    let (a, mut b) = two(|_| {});
    b.kill();
    let ours = a.store().cluster_uid().clone();
    let raw = rusqlite::Connection::open(b.service.env.store()).unwrap();
    raw.execute("UPDATE cluster SET uid = ?1", [ours.as_str()])
        .unwrap();
    b.restart();
    a.says(STUDY, "NORTH", "for another");
    a.retry();
    wait_for("a reason", || {
        a.trouble("SITEB").is_some_and(|why| why.contains("own identity"))
    });
    assert_eq!(a.rows("SITEB")[0].state, OutboxState::Queued);
    assert_eq!(b.comments(STUDY), None);
    let status = a.service.env.impaxlink(&["status", "--json"]).json();
    let detail = status["links"][0]["updates_detail"].as_str().unwrap();
    assert!(detail.contains("--new-identity"), "{detail}");
}

#[test]
fn an_archive_that_takes_any_sop_class_is_sent_no_update() {
    let options = ArchiveOptions {
        takes_anything: true,
        ..ArchiveOptions::new("SITEB")
    };
    let orthanc = Orthanc::start_with(&options, []);
    let a = Cluster::start("SITEA");
    let mut door = linked("SITEB", "SITEB", orthanc.port);
    door.links.cluster_updates = true;
    a.knows(vec![door]);
    a.says(STUDY, "NORTH", "not for an archive");
    wait_for("a reason", || a.trouble("SITEB").is_some());
    let why = a.trouble("SITEB").unwrap();
    assert!(why.contains("no linked syntax"), "{why}");
    assert!(a.rows("SITEB").is_empty(), "nothing piles up");
    let env = &a.service.env;
    let status = env.impaxlink(&["status", "--json"]).json();
    assert_eq!(status["links"][0]["updates_detail"], why);
    let check = env.impaxlink(&["check", "SITEB", "--json"]).json();
    let items = check["items"].as_array().unwrap();
    for subject in ["linked_syntax", "updates"] {
        let item = items.iter().find(|item| item["check"] == subject).unwrap();
        assert_eq!(item["outcome"], "warn", "{check:#}");
    }
    let found = env.impaxlink(&["query", "--from", "SITEB", "--regardless", "--patient-id", "4711"]);
    found.success();
    assert!(!orthanc.log().contains("Creating instance"), "{}", orthanc.log());
}

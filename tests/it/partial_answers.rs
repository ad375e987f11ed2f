//! Answers that are only a part: by their final response, by what can't be used of them, or as a cluster says of itself.

use dicom_core::VR;
use dicom_dictionary_std::tags;
use impaxlink::dimse::{DataSetBuilder, FindEvent, PresentationContext, RequestorOptions, connect, uids};
use impaxlink::link::linked_syntax::UNANSWERED_LEVEL;
use impaxlink::model::Station;
use serde_json::{Value, json};

use super::support::brought::{Brought, ask, study};
use super::support::dcmqrscp::Dcmqrscp;
use super::support::env::Env;
use super::support::fake_peer::FakePeer;
use super::support::fake_peer::script::{Acceptance, Identifier, Step, a_match, answer, elements};
use super::support::links::{add_archive, add_linked, item, query};
use super::support::orthanc::Orthanc;
use super::support::process::free_port;
use super::support::service::{PATIENCE, Service, block_on, set, station, wait_for};
use super::support::sites::{archive, internal, open_link};
use super::support::studies::Federation;
use super::support::viewer::Viewer;

const COMMENT: &str = "DOE^JANE: 1 of 2 sites did not answer";

/// What a peer that ends so, and says it is of that implementation, brings where it is asked with these options.
fn ended_with(status: u16, comment: &'static str, implementation: &'static str, options: &[&str]) -> Brought {
    let acceptance = Acceptance {
        implementation_class_uid: implementation,
        ..Acceptance::default()
    };
    let script = vec![
        Step::Accept(acceptance),
        Step::AwaitRequest,
        study("1.2"),
        Step::End(status, comment),
    ];
    ask(FakePeer::start(script), options, &[])
}

/// Case: a query ends with a warning
#[test]
fn a_warning_at_the_end_is_a_partial_answer_from_anyone() {
    for status in [0xB000, 0xB123] {
        let brought = ended_with(status, "", "2.25.1", &[]);
        brought.is(
            3,
            "truncated",
            &["1.1", "1.2"],
            &format!("ended with {status:04X}"),
        );
    }
}

/// Case: a comment beside success
#[test]
fn a_comment_beside_success_is_a_notice_unless_the_peer_is_known_to_mean_it() {
    let notice = ended_with(0, COMMENT, "2.25.1", &[]);
    notice.is(0, "searched", &["1.1", "1.2"], COMMENT);
    let ours = ended_with(0, COMMENT, uids::IMPLEMENTATION_CLASS_UID, &[]);
    ours.is(3, "truncated", &["1.1", "1.2"], COMMENT);
    let registered = ended_with(0, COMMENT, "2.25.1", &["--success-comment", "partial"]);
    registered.is(3, "truncated", &["1.1", "1.2"], COMMENT);
    let silent = ended_with(0, "", uids::IMPLEMENTATION_CLASS_UID, &[]);
    silent.is(0, "searched", &["1.1", "1.2"], "");
}

/// Case: a comment names a patient
#[test]
fn a_comment_is_shown_cut_and_cleaned_and_is_not_in_the_stored_ledger() {
    let long: &str = "DOE^JANE \u{1b}[31m of Elm Street, and so on until nobody reads it any more, really";
    let script = vec![
        Step::Accept(Acceptance::default()),
        Step::AwaitRequest,
        Step::End(0xA700, long),
    ];
    let peer = FakePeer::start(script);
    let env = Env::new();
    add_archive(&env, "PACS", "PACS", peer.port, &[]);
    let (_, document) = query(&env, &[]);
    let detail = document["ledger"][0]["detail"].as_str().unwrap();
    let (_, comment) = detail.split_once("its comment: ").expect(detail);
    assert!(comment.starts_with("DOE^JANE [31m of Elm"), "{detail}");
    assert!(comment.chars().count() <= 64, "{detail}");
    let id = document["id"].as_str().unwrap();
    let stored = env.impaxlink(&["ledger", "show", id, "--json"]).stdout;
    assert!(
        stored.contains("ended with A700") && !stored.contains("DOE"),
        "{stored}"
    );
}

/// Case: an answer that can't be used might have been a study
#[test]
fn an_answer_that_cannot_be_used_makes_the_stations_answer_partial() {
    let nameless = || a_match(&[("PatientID", "4711")]);
    let cut_short = || Step::Match(0xFF00, Identifier::Raw(b"\x20\x00\x0d\x00UI\x40\x001.2".to_vec()));
    let with_the_end = |uid| {
        let row = elements(&[("StudyInstanceUID", uid), ("PatientID", "4711")]);
        vec![
            Step::Accept(Acceptance::default()),
            Step::AwaitRequest,
            study("1.2"),
            Step::Match(0, Identifier::Elements(row)),
        ]
    };
    let scripts = [
        answer([nameless(), study("1.2")]),
        answer([study("1.2"), cut_short()]),
        with_the_end("1.3"),
    ];
    for script in scripts {
        let brought = ask(FakePeer::start(script), &[], &[]);
        brought.is(3, "truncated", &["1.1", "1.2"], "1 answer could not be used");
    }
    let peer = FakePeer::start(answer([nameless()]));
    let env = Env::new();
    add_archive(&env, "PACS", "PACS", peer.port, &[]);
    query(&env, &[]).0.exits(3);
    let failed = env.impaxlink(&["ledger", "list", "--failed", "--json"]).json();
    assert_eq!(failed["items"].as_array().unwrap().len(), 1, "{failed:#}");
}

/// Case: an answer that can't be used might have been a study
#[test]
fn a_viewer_hears_of_answers_that_cannot_be_used() {
    let pacs = FakePeer::start(answer([study("1.1")]));
    let siteb = FakePeer::start(answer([a_match(&[("PatientID", "4711")])]));
    let service = Service::start(vec![
        archive("PACS", "PACS", pacs.port),
        open_link("SITEB", "SITEB", siteb.port),
        internal("READER"),
    ]);
    let seen = Viewer::open(service.port, "READER").find(&["StudyInstanceUID", "PatientID=4711"]);
    assert_eq!(seen.values("StudyInstanceUID"), ["1.1"]);
    assert_eq!(
        (seen.status, seen.comment.as_str()),
        (0, "1 of 2 sites answered in part: SITEB")
    );
}

/// A cluster of this AE title with these archives; SITEA and CLUSTERB are known to it.
fn cluster(title: &str, issuer: &str, archives: Vec<Station>) -> Service {
    Service::start_with(|configuration| {
        set(configuration, "ae_title", title);
        set(configuration, "issuer", issuer);
        configuration.stations = archives;
        configuration.stations.extend([
            open_link("SITEA", "SITEA_L", free_port()),
            station("CLUSTERB", 104),
            internal("READER"),
        ]);
    })
}

/// The cluster SITEA_L as the command line uses it, with its archive and a link to B.
fn site_a(archive_port: u16, b: &Service, options: &[&str]) -> Env {
    let env = Env::new();
    env.impaxlink(&["config", "set", "ae_title", "SITEA_L"]).success();
    add_archive(&env, "PACS", "SITEA", archive_port, &["--issuer", "NORTH"]);
    add_linked(&env, "SITEB", "CLUSTERB", b.port, options);
    env
}

#[track_caller]
fn is_partial(env: &Env, names: &[&str]) -> Value {
    let (run, document) = query(env, &[]);
    run.exits(3);
    assert_eq!(document["complete"], json!(false));
    let entry = item(&document["ledger"], "station", "SITEB").clone();
    assert_eq!(entry["outcome"], json!("truncated"), "{entry:#}");
    let detail = entry["detail"].as_str().unwrap();
    for name in names {
        assert!(detail.contains(name), "no {name:?} in {detail:?}");
    }
    let quiet = env.impaxlink(&["query", "-q"]);
    assert!(quiet.stderr.contains("SITEB truncated ("), "{quiet:#?}");
    entry
}

/// Case: a linked cluster answers for a part of itself
#[test]
fn what_a_linked_cluster_lacks_is_partial_here_and_for_our_viewers() {
    let federation = Federation::new(91, 4);
    let here = Dcmqrscp::start("SITEA", &federation.site("SITEA").studies);
    let there = Orthanc::start("SITEB", &federation.site("SITEB").studies);
    let pacs2 = archive("PACS2", "PACS2", free_port());
    let b = cluster(
        "CLUSTERB",
        "HARBOUR",
        vec![archive("PACSB", "SITEB", there.port), pacs2],
    );
    let env = site_a(here.port, &b, &[]);
    let entry = is_partial(&env, &["its station PACS2 failed (connection refused"]);
    assert_eq!(entry["syntax"], json!("linked"));
    assert_ne!(entry["matches"], json!(0), "{entry}");
    let failed = env.impaxlink(&["ledger", "list", "--failed", "--json"]).json();
    assert_eq!(failed["items"].as_array().unwrap().len(), 2, "{failed:#}");
    let retrieved = env.impaxlink(&["retrieve", &federation.site("SITEA").studies[0].uid, "-q"]);
    retrieved.exits(3);
    assert!(
        retrieved
            .stderr
            .contains("SITEB answered in part (its station PACS2"),
        "{retrieved:#?}"
    );
    // In strict DICOM the comment alone says so.
    env.impaxlink(&["station", "set", "SITEB", "--syntax", "dicom"])
        .success();
    let strict = is_partial(&env, &["its comment: 1 of 2 sites did not answer: PACS2"]);
    assert_eq!(strict["syntax"], json!("dicom"));

    let a = Service::start_with(|configuration| {
        set(configuration, "ae_title", "SITEA_L");
        configuration.stations = vec![
            archive("PACS", "SITEA", here.port),
            open_link("SITEB", "CLUSTERB", b.port),
            internal("READER"),
        ];
    });
    let mut viewer = Viewer::open_to(a.port, "READER", "SITEA_L");
    let seen = viewer.find(&["StudyInstanceUID", "PatientID"]);
    assert_eq!(
        (seen.status, seen.comment.as_str()),
        (0, "1 of 2 sites answered in part: SITEB")
    );
    assert!(
        seen.matches
            .iter()
            .all(|row| row.element(tags::STUDY_INSTANCE_UID).is_some())
    );
}

/// Case: a cluster behind a linked cluster answers for a part of itself
#[test]
fn a_partial_answer_stays_partial_over_two_hops() {
    let federation = Federation::new(92, 4);
    let site = |name: &'static str| Dcmqrscp::start(name, &federation.site(name).studies);
    let (of_a, of_b, of_c) = (site("SITEA"), site("SITEB"), site("SITEC"));
    let down = archive("PACSX", "PACSX", free_port());
    let c = cluster(
        "CLUSTERC",
        "VALLEY",
        vec![archive("PACSC", "SITEC", of_c.port), down],
    );
    let behind = archive("CLUSTERC", "CLUSTERC", c.port);
    let b = cluster(
        "CLUSTERB",
        "HARBOUR",
        vec![archive("PACSB", "SITEB", of_b.port), behind],
    );
    let env = site_a(of_a.port, &b, &[]);
    is_partial(
        &env,
        &["its station CLUSTERC truncated (says that its answer is not complete"],
    );
    let shown = b.env.impaxlink(&["query", "--json"]).json();
    let entry = item(&shown["ledger"], "station", "CLUSTERC");
    assert_eq!(entry["outcome"], json!("truncated"), "{entry:#}");
    assert!(entry["detail"].as_str().unwrap().contains("PACSX"), "{entry:#}");
}

/// Case: an older version asks a cluster that answers for a part of itself
#[test]
fn who_does_not_ask_for_the_stations_that_failed_sees_no_stray_row() {
    let federation = Federation::new(93, 4);
    let studies = &federation.site("SITEB").studies;
    let there = Dcmqrscp::start("SITEB", studies);
    let pacs2 = archive("PACS2", "PACS2", free_port());
    let b = cluster(
        "CLUSTERB",
        "HARBOUR",
        vec![archive("PACSB", "SITEB", there.port), pacs2],
    );
    let (rows, comment) = block_on(as_an_older_version(&b));
    assert_eq!(rows, studies.len());
    assert_eq!(comment, "1 of 2 sites did not answer: PACS2");
    wait_for("the ledger", || {
        let list = b.env.impaxlink(&["ledger", "list", "--failed", "--json"]).json();
        !list["items"].as_array().unwrap().is_empty()
    });
}

/// How many rows a cluster gives in the linked syntax to who asks for studies alone, and its final comment.
async fn as_an_older_version(b: &Service) -> (usize, String) {
    let endpoint = station("CLUSTERB", b.port).endpoint.unwrap();
    let (calling, called) = ("SITEA_L".parse().unwrap(), "CLUSTERB".parse().unwrap());
    let mut options = RequestorOptions::new(calling, called, &[]);
    options
        .contexts
        .push(PresentationContext::new(uids::LINKED_CLUSTER_QUERY));
    let mut association = connect(&endpoint, &options).await.unwrap();
    let context = association
        .context_for(uids::LINKED_CLUSTER_QUERY)
        .unwrap()
        .clone();
    let identifier = DataSetBuilder::new()
        .put(tags::QUERY_RETRIEVE_LEVEL, VR::CS, "STUDY")
        .put_empty(tags::STUDY_INSTANCE_UID, VR::UI);
    let identifier = identifier.encode(context.transfer_syntax).unwrap();
    let mut find = association.find(&context, &identifier).await.unwrap();
    let mut rows = 0;
    loop {
        match find.next(PATIENCE).await.unwrap() {
            FindEvent::Match { identifier, .. } => {
                let level = identifier.element(tags::QUERY_RETRIEVE_LEVEL).unwrap_or_default();
                assert!(!level.starts_with(UNANSWERED_LEVEL.as_bytes()));
                rows += 1;
            }
            FindEvent::Done(end) => return (rows, end.comment.unwrap_or_default()),
            other => panic!("{other:?}"),
        }
    }
}

/// Case: a site does not say how large its copy is
#[test]
fn a_copy_beside_one_of_unknown_size_is_not_called_whole() {
    let copy = |count: &'static str| {
        let row = [
            ("StudyInstanceUID", "1.1"),
            ("PatientID", "4711"),
            ("IssuerOfPatientID", "NORTH"),
            ("NumberOfStudyRelatedInstances", count),
        ];
        FakePeer::start(answer([a_match(&row)]))
    };
    let shown = |counts: [&'static str; 2], format: &str| {
        let [pacs, siteb] = counts.map(copy);
        let env = Env::new();
        add_archive(&env, "PACS", "PACS", pacs.port, &[]);
        add_linked(&env, "SITEB", "SITEB", siteb.port, &[]);
        let run = env.impaxlink(&["query", "--format", format]);
        run.success();
        run
    };
    let whole = |counts| shown(counts, "json").json()["items"][0]["best_location"].clone();
    let best = whole(["3", ""]);
    let told = (&best["station"], &best["instances"], &best["whole"]);
    assert_eq!(told, (&json!("PACS"), &json!(3), &json!(null)));
    assert_eq!(whole(["3", "3"])["whole"], json!(true));
    assert_eq!(whole(["3", "220"])["whole"], json!(true));
    for (counts, expected) in [
        (["3", ""], "3?  PACS (3 here, ? at SITEB)"),
        (["3", "3"], "3  PACS (also SITEB)"),
        (["3", "220"], "220  SITEB (3 of 220 here)"),
    ] {
        let table = shown(counts, "table").stdout;
        assert!(table.contains(expected), "no {expected:?} in {table}");
    }
}

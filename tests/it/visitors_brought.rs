//! Visitors as real programs bring and use them: `retrieve`, and clients of the service.

use std::fs;

use impaxlink::archive::Archive;
use impaxlink::store::{Access, Store};
use tempfile::tempdir;

use super::support::dcmqrscp::Dcmqrscp;
use super::support::env::Env;
use super::support::links::add_linked;
use super::support::process::free_port;
use super::support::retrieve::{embedded, retrieve, study};
use super::support::retrievers::{getscu, instances};
use super::support::service::{self, save, set, station, wait_for};
use super::support::studies::Study;

fn archive(env: &Env) -> Archive {
    Archive::open(&env.store().with_file_name("archive")).unwrap()
}

fn count(env: &Env, study: &Study) -> usize {
    archive(env).instances(&study.uid, None).unwrap().len()
}

/// A cluster that keeps visitors so long, and a linked one that has the study.
fn site(study: &Study, keep: &str) -> (Env, Dcmqrscp) {
    let env = embedded();
    env.impaxlink(&["config", "set", "prefetch.keep", keep]).success();
    let peer = Dcmqrscp::start("SITEA", [study]);
    add_linked(&env, "SITEA", "SITEA", peer.port, &[]);
    (env, peer)
}

#[test]
fn what_was_retrieved_expires_and_is_retrieved_again() {
    let study = study(3);
    let (env, _peer) = site(&study, "1ms");
    for _ in 0..2 {
        let (run, item) = retrieve(&env, &[&study.uid]);
        run.success();
        assert_eq!(item["fetched"], 6, "{item:#}");
        let items = env.impaxlink(&["archive", "expire", "--json"]).json()["items"].clone();
        assert_eq!(
            (&items[0]["expired"], &items[0]["instances"]),
            (&true.into(), &6.into()),
            "{items:#}"
        );
        assert_eq!(count(&env, &study), 0);
    }
    let copies = env.impaxlink(&["study", "copies", &study.uid]);
    assert!(copies.success().contains("expired 2"), "{copies:#?}");
}

#[test]
fn what_is_retrieved_again_or_given_to_a_client_is_in_use() {
    let study = study(3);
    let (env, _peer) = site(&study, "30d");
    let port = free_port();
    save(&env, |configuration| {
        set(configuration, "listen", &format!("127.0.0.1:{port}"));
        configuration.stations.push(station("READER", free_port()));
    });
    retrieve(&env, &[&study.uid]).0.success();
    let last_use = || {
        let store = Store::open(&env.store(), Access::ReadOnly).unwrap();
        store.copies(&study.uid.parse().unwrap()).unwrap()[0].last_use
    };
    let (run, item) = retrieve(&env, &[&study.uid]);
    run.success();
    assert_eq!(item["fetched"], 0, "{item:#}");
    let retrieved = last_use();
    assert!(retrieved.is_some());

    let _process = service::start(&env);
    let folder = tempdir().unwrap();
    let keys = [
        "QueryRetrieveLevel=STUDY",
        &format!("StudyInstanceUID={}", study.uid),
    ];
    let got = getscu(port, "READER", folder.path(), &[], &keys);
    assert_eq!(got.last(), [-1, 6, 0, 0], "{}", got.log);
    wait_for("the use to be on record", || last_use() > retrieved);
}

#[test]
fn a_client_gets_truthful_counts_of_what_expires_meanwhile() {
    let study = study(40);
    let (env, _peer) = site(&study, "1ms");
    let port = free_port();
    save(&env, |configuration| {
        set(configuration, "listen", &format!("127.0.0.1:{port}"));
        configuration.stations.push(station("READER", free_port()));
    });
    let (run, _) = retrieve(&env, &[&study.uid]);
    run.success();
    let _process = service::start(&env);
    let keys = [
        "QueryRetrieveLevel=STUDY",
        &format!("StudyInstanceUID={}", study.uid),
    ];
    for _ in 0..3 {
        let folder = tempdir().unwrap();
        let got = getscu(port, "READER", folder.path(), &[], &keys);
        let [_, completed, failed, _] = got.last();
        let came = instances(folder.path()).len();
        assert_eq!(came as i32, completed.max(0), "{}", got.log);
        assert!(failed > 0 || came == 0 || came == 80, "{}", got.log);
        // What came is whole.
        for file in fs::read_dir(folder.path()).unwrap() {
            assert!(file.unwrap().metadata().unwrap().len() > 0);
        }
        retrieve(&env, &[&study.uid]);
    }
}

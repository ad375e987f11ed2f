//! Whom a query reaches, by the caller and by the flags of the moment: real clients, real archives.

use std::collections::BTreeSet;

use impaxlink::model::{LinkFlags, Suspension};

use crate::support::service;
use crate::support::sites::{Sites, archive, station_of};
use crate::support::viewer::Viewer;

#[test]
fn each_query_flag_means_what_it_says() {
    let sites = Sites::start(31, |_| ());
    let local = sites.at(&["SITEA"]);
    let with_b = sites.at(&["SITEA", "SITEB"]);
    let mut rows = Vec::new();
    for cluster_linking in [false, true] {
        for internal_queries in [false, true] {
            for external_queries in [false, true] {
                rows.push((cluster_linking, internal_queries, external_queries));
            }
        }
    }
    for (cluster_linking, internal_queries, external_queries) in rows {
        sites.change("SITEB", |station| {
            station.links = LinkFlags {
                cluster_linking,
                internal_queries,
                external_queries,
                ..LinkFlags::default()
            };
        });
        let expected = |option: bool| {
            if cluster_linking && option {
                &with_b
            } else {
                &local
            }
        };
        let row = format!("{cluster_linking} {internal_queries} {external_queries}");
        assert_eq!(sites.found_by("READER"), *expected(internal_queries), "{row}");
        assert_eq!(sites.found_by("OUTSIDE"), *expected(external_queries), "{row}");
        // A linked cluster is asked for its own; once it is not linked, it is an external station.
        let by_siteb = if cluster_linking {
            &local
        } else {
            expected(external_queries)
        };
        assert_eq!(sites.found_by("SITEB"), *by_siteb, "{row}");
    }
    let (answered, log) = service::echo(sites.service.port, "STRANGER", "IMPAXLINK");
    assert!(
        !answered && log.contains("Calling AE Title Not Recognized"),
        "{log}"
    );
}

#[test]
fn cluster_linking_overrides_kind() {
    let sites = Sites::start(32, |configuration| {
        station_of(configuration, "SITEC").links.internal_queries = true;
        station_of(configuration, "READER").links.cluster_linking = true;
    });
    assert_eq!(sites.found_by("READER"), sites.at(&["SITEA"]));
    sites.change("READER", |station| station.links.cluster_linking = false);
    assert_eq!(sites.found_by("READER"), sites.at(&["SITEA", "SITEC"]));
}

#[test]
fn a_held_association_obeys_the_flags_of_the_moment() {
    let sites = Sites::start(33, |_| ());
    let mut reader = Viewer::open(sites.service.port, "READER");
    let mut outside = Viewer::open(sites.service.port, "OUTSIDE");
    let mut both = || {
        let uids = |viewer: &mut Viewer| -> BTreeSet<String> {
            let seen = viewer.find(&["StudyInstanceUID"]);
            assert_eq!((seen.status, seen.comment.as_str()), (0, ""));
            seen.values("StudyInstanceUID").into_iter().collect()
        };
        (uids(&mut reader), uids(&mut outside))
    };
    let local = sites.at(&["SITEA"]);
    let (with_b, with_c) = (sites.at(&["SITEA", "SITEB"]), sites.at(&["SITEA", "SITEC"]));
    let all = sites.at(&["SITEA", "SITEB", "SITEC"]);
    let set = |arguments: &[&str]| {
        let run = sites
            .service
            .env
            .impaxlink(&[&["station", "set"], arguments].concat());
        assert!(run.success().contains(arguments[0]), "{run:#?}");
    };
    assert_eq!(both(), (local.clone(), local.clone()));
    set(&["SITEB", "--link-internal-queries"]);
    assert_eq!(both(), (with_b.clone(), local.clone()));
    set(&["SITEC", "--link-internal-queries"]);
    set(&["SITEB", "--link-external-queries"]);
    assert_eq!(both(), (all, with_b));
    set(&["SITEB", "--no-cluster-linking"]);
    assert_eq!(both(), (with_c, local.clone()));
    set(&["READER", "--kind", "external"]);
    assert_eq!(both(), (local.clone(), local.clone()), "and its own kind");
    reader.release();
    outside.release();
}

#[test]
fn a_caller_that_was_removed_is_answered_no_more() {
    let sites = Sites::start(34, |_| ());
    let mut outside = Viewer::open(sites.service.port, "OUTSIDE");
    assert_eq!(outside.find(&["StudyInstanceUID"]).status, 0);
    sites
        .service
        .env
        .impaxlink(&["station", "remove", "OUTSIDE"])
        .success();
    let seen = outside.find(&["StudyInstanceUID"]);
    assert_eq!((seen.status, seen.matches.len()), (0x0124, 0), "{}", seen.comment);
}

#[test]
fn external_callers_see_what_was_retrieved_with_the_flag_off() {
    let sites = Sites::start(35, |_| ());
    let elsewhere = sites.federation.site("SITEC").studies[5].clone();
    assert!(!sites.found_by("OUTSIDE").contains(&elsewhere.uid));
    // As a retrieve leaves it: in an archive of the local cluster.
    let local = [elsewhere.clone()];
    let store = crate::support::dcmqrscp::Dcmqrscp::start("STORE", &local);
    sites.service.save(|configuration| {
        configuration.stations.push(archive("STORE", "STORE", store.port));
    });
    sites.service.env.impaxlink(&["reload"]).success();
    for caller in ["OUTSIDE", "READER", "SITEB"] {
        assert!(sites.found_by(caller).contains(&elsewhere.uid), "{caller}");
    }
}

/// Case: an open query and a constrained station
#[test]
fn a_constrained_link_is_kept_from_open_queries() {
    let sites = Sites::start(36, |configuration| {
        let siteb = station_of(configuration, "SITEB");
        siteb.links.external_queries = true;
        siteb.constrained = true;
    });
    assert_eq!(sites.found_by("OUTSIDE"), sites.at(&["SITEA"]));
    let study = &sites.federation.site("SITEB").studies[4];
    let mut outside = Viewer::open(sites.service.port, "OUTSIDE");
    let mut found = |key: String| {
        let seen = outside.find(&["StudyInstanceUID", &key]);
        assert_eq!((seen.status, seen.comment.as_str()), (0, ""), "{key}");
        seen.values("StudyInstanceUID").contains(&study.uid)
    };
    for narrow in [
        format!("StudyInstanceUID={}", study.uid),
        format!("AccessionNumber={}", study.accession_number),
        format!("PatientID={}", study.patient.id),
    ] {
        assert!(found(narrow));
    }
    assert!(!found(format!("StudyDate={}", study.date)));
    assert!(!found(format!(
        "AccessionNumber={}*",
        &study.accession_number[..7]
    )));
}

#[test]
fn a_suspended_link_is_missing_and_named() {
    let sites = Sites::start(37, |configuration| {
        let siteb = station_of(configuration, "SITEB");
        siteb.links.internal_queries = true;
        siteb.suspended = Some(Suspension::Indefinite);
    });
    let mut reader = Viewer::open(sites.service.port, "READER");
    let seen = reader.find(&["StudyInstanceUID"]);
    assert_eq!(seen.status, 0);
    assert_eq!(seen.comment, "1 of 2 sites did not answer: SITEB");
    assert_eq!(seen.matches.len(), sites.at(&["SITEA"]).len());
}

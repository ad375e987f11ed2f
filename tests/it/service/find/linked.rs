//! Two clusters that speak the linked syntax with each other: real `serve` processes over real archives.

use dicom_core::VR;
use dicom_dictionary_std::tags;
use impaxlink::dimse::{
    DataSet, DataSetBuilder, Error, FindEvent, PresentationContext, RequestorOptions, TransferSyntax,
    connect, uids,
};
use impaxlink::link::linked_syntax::{CLUSTER_LEVEL, ClusterAnswer, LinkedAttributes, LinkedElement};
use impaxlink::model::{MappingTable, Station, StudyFacts};
use impaxlink::store::{Access, Store};
use serde_json::{Value, json};

use crate::support::dcmqrscp::Dcmqrscp;
use crate::support::links::{item, query};
use crate::support::orthanc::Orthanc;
use crate::support::service::{PATIENCE, Service, block_on, set, station, wait_for};
use crate::support::sites::{archive, change_station, internal, open_link, station_of};
use crate::support::studies::Federation;
use crate::support::viewer::Viewer;

/// SITEA with dcmqrscp as its archive, and SITEB with Orthanc, each linked to the other.
struct Clusters {
    federation: Federation,
    a: Service,
    b: Service,
    _archives: (Dcmqrscp, Orthanc),
}

fn clusters(seed: u64) -> Clusters {
    let federation = Federation::new(seed, 12);
    let of_a = Dcmqrscp::start("SITEA", &federation.site("SITEA").studies);
    let of_b = Orthanc::start("SITEB", &federation.site("SITEB").studies);
    let cluster = |title: &'static str, issuer: &'static str, port| {
        Service::start_with(move |configuration| {
            set(configuration, "ae_title", title);
            set(configuration, "issuer", issuer);
            set(configuration, "cluster_name", &format!("Cluster of {title}"));
            configuration.stations = vec![
                archive("PACS", &title[..5], port),
                internal("READER"),
                station("OUTSIDE", 104),
            ];
        })
    };
    let (a, b) = (
        cluster("SITEA_L", "NORTH", of_a.port),
        cluster("SITEB_L", "HARBOUR", of_b.port),
    );
    add(&a, open_link("NORTHBOUND", "SITEB_L", b.port));
    add(&b, open_link("SOUTHBOUND", "SITEA_L", a.port));
    Clusters {
        federation,
        a,
        b,
        _archives: (of_a, of_b),
    }
}

fn add(service: &Service, station: Station) {
    service.save(|configuration| configuration.stations.push(station));
    service.env.impaxlink(&["reload"]).success();
}

/// The ledgers that a cluster's service has left, once there are `count` of those that `ae_title` has asked for.
#[track_caller]
fn ledgers(service: &Service, ae_title: &str, count: usize) -> Vec<Value> {
    let mut found = Vec::new();
    wait_for("the ledgers", || {
        let list = service.env.impaxlink(&["ledger", "list", "--json"]).json();
        let all = list["items"].as_array().unwrap().iter();
        let ids = all.filter(|item| item["ae_title"] == json!(ae_title));
        let ids: Vec<&str> = ids.filter_map(|item| item["id"].as_str()).collect();
        let show =
            |id: &&str| service.env.impaxlink(&["ledger", "show", id, "--json"]).json()["query"].clone();
        found = ids.iter().map(show).collect();
        found.len() >= count
    });
    found
}

#[test]
fn a_query_of_the_command_has_what_the_other_cluster_computes() {
    let clusters = clusters(41);
    let (run, document) = query(&clusters.a.env, &[]);
    run.success();
    let entry = item(&document["ledger"], "station", "NORTHBOUND");
    assert_eq!(
        (&entry["outcome"], &entry["syntax"]),
        (&json!("searched"), &json!("linked")),
        "{entry}"
    );
    let at_b = &clusters.federation.site("SITEB").studies;
    assert_eq!(entry["matches"], json!(at_b.len()), "{entry}");
    assert_eq!(
        item(&document["ledger"], "station", "PACS")["syntax"],
        json!("dicom")
    );
    let mut mapped = 0;
    for study in at_b {
        let row = item(&document["items"], "study_instance_uid", &study.uid);
        let is_of_b = row["locations"].as_array().unwrap().len() == 1;
        if !is_of_b {
            continue;
        }
        let modalities: Vec<String> = serde_json::from_value(row["modalities"].clone()).unwrap();
        let expected = MappingTable::shipped().compute(&StudyFacts {
            description: row["study_description"].as_str(),
            modalities: &modalities,
            ..StudyFacts::default()
        });
        if expected.body_part().is_some() {
            assert_eq!(row["body_part"], json!(expected.body_part()), "{row:#}");
            mapped += 1;
        }
        assert_eq!(
            row["interpretation_status"],
            json!(null),
            "there is no status of reports yet"
        );
    }
    assert!(mapped > 0, "nothing was compared: {document:#}");
    let list = clusters.a.env.impaxlink(&["station", "list", "--linked"]).stdout;
    assert!(list.contains(", linked"), "{list}");
}

/// Case: clusters linked in a ring
#[test]
fn an_internal_query_goes_on_in_linked_syntax_and_ends_there() {
    let clusters = clusters(42);
    for (calling, syntax) in [("READER", "linked"), ("OUTSIDE", "dicom")] {
        let mut viewer = Viewer::open_to(clusters.a.port, calling, "SITEA_L");
        let seen = viewer.find(&["StudyInstanceUID", "PatientName"]);
        viewer.release();
        assert_eq!((seen.status, seen.comment.as_str()), (0, ""));
        let mut uids: Vec<String> = (["SITEA", "SITEB"].iter())
            .flat_map(|site| {
                clusters
                    .federation
                    .site(site)
                    .studies
                    .iter()
                    .map(|study| study.uid.clone())
            })
            .collect();
        uids.sort_unstable();
        uids.dedup();
        assert_eq!(seen.values("StudyInstanceUID"), uids, "as {calling}");
        for row in &seen.matches {
            assert!(
                row.elements().all(|element| element.tag.0 != 0x2711),
                "nothing that was not asked for"
            );
        }
        let at_a = &ledgers(&clusters.a, calling, 1)[0];
        let entry = item(&at_a["ledger"], "station", "NORTHBOUND");
        assert_eq!(entry["syntax"], json!(syntax), "{at_a:#}");
    }
    for at_b in ledgers(&clusters.b, "SITEA_L", 2) {
        assert_eq!(at_b["asked_as"], json!("linked"), "{at_b:#}");
        let entries = at_b["ledger"].as_array().unwrap().iter();
        let asked: Vec<&Value> = entries
            .filter(|entry| entry["outcome"] != json!("skipped"))
            .collect();
        assert_eq!(asked.len(), 1, "only the archive: {at_b:#}");
        assert_eq!(asked[0]["station"], json!("PACS"));
    }
    let list = clusters.a.env.impaxlink(&["ledger", "list", "--json"]).json();
    assert!(
        !list.to_string().contains("SITEB_L"),
        "nothing came back to the first cluster: {list:#}"
    );
}

/// What a peer that calls as `calling` gets in the linked syntax: rows and the final status.
async fn ask(port: u16, calling: &str, identifier: DataSetBuilder) -> Result<(Vec<DataSet>, u16), Error> {
    let endpoint = station("B", port).endpoint.unwrap();
    let mut options = RequestorOptions::new(
        calling.parse().unwrap(),
        "SITEB_L".parse().unwrap(),
        &[uids::VERIFICATION],
    );
    options
        .contexts
        .push(PresentationContext::new(uids::LINKED_CLUSTER_QUERY));
    let mut association = connect(&endpoint, &options).await?;
    let context = association.context_for(uids::LINKED_CLUSTER_QUERY)?.clone();
    assert_eq!(context.transfer_syntax, TransferSyntax::ExplicitVrLittleEndian);
    let identifier = identifier.encode(context.transfer_syntax).unwrap();
    let mut rows = Vec::new();
    let mut find = association.find(&context, &identifier).await?;
    let status = loop {
        match find.next(PATIENCE).await? {
            FindEvent::Match { identifier, .. } => rows.push(identifier),
            FindEvent::MalformedMatch(malformed) => panic!("{malformed}"),
            FindEvent::MisplacedMatch => panic!("a data set on the final response"),
            FindEvent::Done(end) => break end.status.0,
        }
    };
    association.release().await?;
    Ok((rows, status))
}

fn about_itself() -> DataSetBuilder {
    DataSetBuilder::new().put(tags::QUERY_RETRIEVE_LEVEL, VR::CS, CLUSTER_LEVEL)
}

#[test]
fn a_cluster_tells_of_itself_to_linked_callers_alone() {
    let clusters = clusters(43);
    let (rows, status) = block_on(ask(clusters.b.port, "SITEA_L", about_itself())).unwrap();
    assert_eq!((rows.len(), status), (1, 0));
    let told = ClusterAnswer::read(&rows[0]).expect("an answer of a cluster");
    let store = Store::open(&clusters.b.env.store(), Access::ReadOnly).unwrap();
    assert_eq!(told.uid, *store.cluster_uid());
    assert_eq!(told.name.unwrap().as_str(), "Cluster of SITEB_L");
    assert_eq!(told.software_version, env!("CARGO_PKG_VERSION"));
    assert_eq!(
        told.vocabulary_digest,
        MappingTable::shipped().vocabulary_digest()
    );
    assert!(told.clock.duration_since(jiff::Timestamp::now()).abs() < jiff::SignedDuration::from_mins(1));
    let names: Vec<&str> = told
        .stations
        .iter()
        .map(|station| station.name.as_str())
        .collect();
    assert_eq!(names, ["OUTSIDE", "PACS", "READER", "SOUTHBOUND"]);
    assert_eq!(told.stations[3].port, Some(clusters.a.port));
    for stranger in ["READER", "OUTSIDE"] {
        let refused = block_on(ask(clusters.b.port, stranger, about_itself())).unwrap_err();
        assert!(
            matches!(refused, Error::ContextRefused { .. }),
            "{stranger}: {refused:?}"
        );
    }
}

#[test]
fn what_is_asked_in_any_block_is_answered_and_nothing_else() {
    let clusters = clusters(44);
    let in_block = |block: u8| {
        DataSetBuilder::new()
            .put(tags::QUERY_RETRIEVE_LEVEL, VR::CS, "STUDY")
            .put(tags::STUDY_INSTANCE_UID, VR::UI, "")
            .put((0x2711, u16::from(block)).into(), VR::LO, "IMPAXLINK LINK 1")
            .put((0x2711, u16::from_be_bytes([block, 0x06])).into(), VR::LO, "")
            .put(
                (0x2711, u16::from_be_bytes([block, 0xF0])).into(),
                VR::LO,
                "OF A LATER VERSION",
            )
    };
    let (rows, status) = block_on(ask(clusters.b.port, "SITEA_L", in_block(0x42))).unwrap();
    assert_eq!(status, 0);
    assert_eq!(rows.len(), clusters.federation.site("SITEB").studies.len());
    for row in rows {
        let private = row.elements().filter(|element| element.tag.0 == 0x2711);
        let private: Vec<_> = private.map(|element| element.tag).collect();
        assert_eq!(
            private,
            [(0x2711, 0x0010).into(), LinkedElement::ClusterName.tag()]
        );
        let name = row.element(LinkedElement::ClusterName.tag()).unwrap();
        assert_eq!(name.trim_ascii_end(), b"Cluster of SITEB_L");
    }
    let by_global_id = LinkedAttributes {
        global_patient_id: Some("G1".to_owned()),
        ..LinkedAttributes::default()
    };
    let by_global_id = by_global_id.put(
        DataSetBuilder::new().put(tags::QUERY_RETRIEVE_LEVEL, VR::CS, "STUDY"),
        &[LinkedElement::GlobalPatientId],
    );
    let (rows, status) = block_on(ask(clusters.b.port, "SITEA_L", by_global_id)).unwrap();
    assert_eq!(
        (rows.len(), status),
        (0, 0xC001),
        "no archive here knows global patient IDs"
    );
}

#[test]
fn linking_switched_off_ends_the_linked_syntax_and_not_the_strict_one() {
    let clusters = clusters(45);
    change_station(&clusters.b, "SOUTHBOUND", |station| {
        station.links.cluster_linking = false
    });
    let (run, document) = query(&clusters.a.env, &[]);
    run.success();
    let entry = item(&document["ledger"], "station", "NORTHBOUND");
    assert_eq!(
        (&entry["outcome"], &entry["syntax"]),
        (&json!("searched"), &json!("dicom")),
        "{entry}"
    );
    clusters.a.save(|configuration| {
        station_of(configuration, "NORTHBOUND").syntax = impaxlink::model::Syntax::Linked;
    });
    let (run, document) = query(&clusters.a.env, &[]);
    assert_eq!(run.status, Some(3));
    let detail = item(&document["ledger"], "station", "NORTHBOUND")["detail"]
        .as_str()
        .unwrap();
    assert!(detail.contains("does not take the linked syntax"), "{detail}");
}

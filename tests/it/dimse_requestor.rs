//! Associations that we open: with real archives, and with peers that misbehave.

use std::time::Duration;

use dicom_core::VR;
use dicom_dictionary_std::tags;
use impaxlink::dimse::{
    Association, DataSetBuilder, Error, FindEvent, RequestorOptions, Status, StatusClass, connect, uids,
};
use impaxlink::model::{Endpoint, Host};

use super::support::dcmqrscp::Dcmqrscp;
use super::support::orthanc::Orthanc;
use super::support::scp::on_one_thread as run;
use super::support::studies::Federation;

const WITHIN: Duration = Duration::from_secs(20);

pub fn endpoint(port: u16) -> Endpoint {
    let host: Host = "127.0.0.1".parse().unwrap();
    Endpoint {
        host,
        port: port.try_into().unwrap(),
    }
}

pub fn options(called: &str) -> RequestorOptions {
    let syntaxes = [uids::VERIFICATION, uids::STUDY_ROOT_FIND];
    RequestorOptions::new("IMPAXLINK".parse().unwrap(), called.parse().unwrap(), &syntaxes)
}

pub fn study_keys() -> DataSetBuilder {
    DataSetBuilder::new()
        .put(tags::QUERY_RETRIEVE_LEVEL, VR::CS, "STUDY")
        .put_empty(tags::STUDY_INSTANCE_UID, VR::UI)
        .put_empty(tags::PATIENT_ID, VR::LO)
}

/// All the study UIDs that the peer has, and the final status.
async fn find_all(association: &mut Association) -> Result<(Vec<String>, Status), Error> {
    let context = association.context_for(uids::STUDY_ROOT_FIND)?.clone();
    let keys = study_keys().encode(context.transfer_syntax).unwrap();
    let mut find = association.find(&context, &keys).await?;
    let mut found = Vec::new();
    loop {
        match find.next(WITHIN).await? {
            FindEvent::Match { identifier, .. } => {
                let uid = identifier.element(tags::STUDY_INSTANCE_UID).unwrap();
                let uid = impaxlink::dimse::trim_padding(uid);
                found.push(String::from_utf8(uid.to_vec()).unwrap());
            }
            FindEvent::MalformedMatch(malformed) => panic!("{malformed}"),
            FindEvent::MisplacedMatch => panic!("a data set on the final response"),
            FindEvent::Done(end) => {
                found.sort();
                return Ok((found, end.status));
            }
        }
    }
}

fn assert_answers(ae_title: &'static str, port: u16, federation: &Federation) {
    let mut expected: Vec<_> = federation
        .site(ae_title)
        .studies
        .iter()
        .map(|study| study.uid.clone())
        .collect();
    expected.sort();
    run(async {
        let mut association = connect(&endpoint(port), &options(ae_title)).await.unwrap();
        assert!(association.echo(WITHIN).await.unwrap().is_success());
        for _ in 0..2 {
            let (found, status) = find_all(&mut association).await.unwrap();
            assert_eq!(status.class(), StatusClass::Success);
            assert_eq!(found, expected);
        }
        association.release().await.unwrap();
    });
}

#[test]
fn dcmqrscp_answers_echo_and_find() {
    let federation = Federation::new(11, 40);
    let peer = Dcmqrscp::start("SITEA", &federation.site("SITEA").studies);
    assert_answers("SITEA", peer.port, &federation);
}

#[test]
fn orthanc_answers_echo_and_find() {
    let federation = Federation::new(12, 40);
    let peer = Orthanc::start("SITEB", &federation.site("SITEB").studies);
    assert_answers("SITEB", peer.port, &federation);
}

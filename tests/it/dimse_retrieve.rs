//! C-GET and C-MOVE as SCU, with real archives.

use std::time::Duration;

use dicom_core::VR;
use dicom_dictionary_std::tags;
use impaxlink::dimse::{
    Association, Context, DataSet, DataSetBuilder, GetEvent, MoveEvent, ObjectFlow, ProposedObjects,
    RequestorOptions, RetrieveEnd, Status, connect, uids,
};
use impaxlink::model::Uid;

use super::dimse_requestor::endpoint;
use super::support::archive_options::ArchiveOptions;
use super::support::dcmqrscp::Dcmqrscp;
use super::support::orthanc::Orthanc;
use super::support::scp::on_one_thread as run;
use super::support::studies::{Federation, Study};

const WITHIN: Duration = Duration::from_secs(20);
const CLASSES: [&str; 3] = [
    "1.2.840.10008.5.1.4.1.1.2",
    "1.2.840.10008.5.1.4.1.1.4",
    "1.2.840.10008.5.1.4.1.1.7",
];

async fn open(called: &str, port: u16) -> Association {
    let syntaxes = [uids::STUDY_ROOT_GET, uids::STUDY_ROOT_MOVE];
    let mut options = RequestorOptions::new("IMPAXLINK".parse().unwrap(), called.parse().unwrap(), &syntaxes);
    let syntax = |uid: &str| uid.parse().unwrap();
    options.objects = CLASSES
        .map(|class| ProposedObjects {
            sop_class_uid: class.parse().unwrap(),
            transfer_syntax_uids: vec![syntax("1.2.840.10008.1.2.1"), syntax("1.2.840.10008.1.2")],
            flow: ObjectFlow::Received,
        })
        .to_vec();
    connect(&endpoint(port), &options).await.unwrap()
}

fn identifier(study: &str, context: &Context) -> DataSet {
    DataSetBuilder::new()
        .put(tags::QUERY_RETRIEVE_LEVEL, VR::CS, "STUDY")
        .put(tags::STUDY_INSTANCE_UID, VR::UI, study)
        .encode(context.transfer_syntax)
        .unwrap()
}

/// Gets a study, answers each object with `answer`, and gives the objects taken and the end.
async fn get(
    association: &mut Association,
    study: &str,
    answer: Option<Status>,
) -> (Vec<(Uid, usize)>, RetrieveEnd) {
    let context = association.context_for(uids::STUDY_ROOT_GET).unwrap().clone();
    let identifier = identifier(study, &context);
    let mut get = association.get(&context, &identifier).await.unwrap();
    let mut objects = Vec::new();
    loop {
        match get.next(WITHIN).await.unwrap() {
            GetEvent::Object(mut object) => {
                let Some(answer) = answer else { continue };
                let mut length = 0;
                while let Some(bytes) = object.next(WITHIN).await.unwrap() {
                    length += bytes.len();
                }
                objects.push((object.announced.sop_instance_uid.clone(), length));
                object.answer(answer, WITHIN).await.unwrap();
            }
            GetEvent::Progress(_) => {}
            GetEvent::Done(end) => return (objects, end),
        }
    }
}

fn check_get(called: &str, port: u16, study: &Study) {
    run(async {
        let mut association = open(called, port).await;
        let (mut objects, end) = get(&mut association, &study.uid, Some(Status::SUCCESS)).await;
        objects.sort();
        let mut expected: Vec<&str> = study.files().map(|(uid, _)| uid).collect();
        expected.sort_unstable();
        let got: Vec<&str> = objects.iter().map(|(uid, _)| uid.as_str()).collect();
        assert_eq!(got, expected);
        assert!(objects.iter().all(|(_, length)| *length > 400));
        assert_eq!(end.status, Status::SUCCESS);
        assert_eq!(end.sub_operations.completed, Some(expected.len() as u16));

        // Objects that nobody takes are refused, and the association goes on.
        let (_, end) = get(&mut association, &study.uid, None).await;
        assert!(!end.status.is_success(), "{end:?}");
        assert_eq!(end.sub_operations.failed, Some(expected.len() as u16));
        let (objects, _) = get(&mut association, &study.uid, Some(Status::SUCCESS)).await;
        assert_eq!(objects.len(), expected.len());
        association.release().await.unwrap();
    });
}

#[test]
fn a_study_is_got_from_dcmqrscp() {
    let federation = Federation::new(71, 4);
    let peer = Dcmqrscp::start("SITEA", &federation.site("SITEA").studies);
    check_get("SITEA", peer.port, &federation.site("SITEA").studies[0]);
}

#[test]
fn a_study_is_got_from_orthanc() {
    let federation = Federation::new(71, 4);
    let peer = Orthanc::start("SITEA", &federation.site("SITEA").studies);
    check_get("SITEA", peer.port, &federation.site("SITEA").studies[0]);
}

/// Case: the move destination is unknown there
#[test]
fn a_study_is_moved_to_a_destination_that_is_known_and_to_no_other() {
    let federation = Federation::new(71, 4);
    let study = &federation.site("SITEA").studies[1];
    let target = Dcmqrscp::start("TARGET", []);
    let mut options = ArchiveOptions::new("SITEA");
    options.move_destinations = vec![("TARGET", target.port)];
    let orthanc = Orthanc::start_with(&options, [study]);
    let dcmqrscp = Dcmqrscp::start_with(&options, [study]);
    run(async {
        for port in [orthanc.port, dcmqrscp.port] {
            let mut association = open("SITEA", port).await;
            let context = association.context_for(uids::STUDY_ROOT_MOVE).unwrap().clone();
            let identifier = identifier(&study.uid, &context);
            let mut ends = Vec::new();
            for destination in ["TARGET", "NOBODY"] {
                let destination = destination.parse().unwrap();
                let moving = association.move_to(&context, &destination, &identifier).await;
                let mut moving = moving.unwrap();
                ends.push(loop {
                    if let MoveEvent::Done(end) = moving.next(WITHIN).await.unwrap() {
                        break end;
                    }
                });
            }
            let [known, unknown] = &ends[..] else {
                panic!("{ends:?}")
            };
            assert_eq!(known.status, Status::SUCCESS);
            assert_eq!(known.sub_operations.completed, Some(study.instances() as u16));
            assert!(!unknown.status.is_success(), "{unknown:?}");
            let _ = association.release().await;
        }
        let mut association = open("TARGET", target.port).await;
        let (objects, _) = get(&mut association, &study.uid, Some(Status::SUCCESS)).await;
        assert_eq!(objects.len(), study.instances());
    });
}

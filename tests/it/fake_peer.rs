//! Proves the scripted peer: each misbehaviour, as DCMTK's tools or a bare socket see it.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use dicom_core::{DataElement, PrimitiveValue, VR};
use dicom_dictionary_std::{tags, uids};
use dicom_object::InMemDicomObject;
use dicom_transfer_syntax_registry::entries::IMPLICIT_VR_LITTLE_ENDIAN;
use dicom_ul::pdu::AssociationRJServiceUserReason::CalledAETitleNotRecognized;
use dicom_ul::pdu::{
    AssociationRJResult, AssociationRJSource, AssociationRQ, PDataValue, PDataValueType, Pdu,
    PresentationContextProposed, UserVariableItem, write_pdu,
};

use super::support::fake_peer::script::{
    Acceptance, Flood, Identifier, Packing, Step, a_match, answer, elements,
};
use super::support::fake_peer::{Ended, FakePeer, bombs};
use super::support::findscu::{Found, echo, find_studies};

const JANE: [(&str, &str); 3] = [
    ("QueryRetrieveLevel", "STUDY"),
    ("PatientName", "DOE^JANE"),
    ("StudyInstanceUID", "1.2.3"),
];

fn find(peer: &FakePeer) -> Found {
    find_studies("FAKE", peer.port, &["PatientID=4711", "PatientName"])
}

fn find_with(script: Vec<Step>) -> Found {
    find(&FakePeer::start(script))
}

#[test]
fn a_plain_script_answers_and_records_what_was_asked() {
    let peer = FakePeer::start(answer([a_match(&JANE), a_match(&JANE)]));
    let found = find(&peer);
    assert!(found.success, "{}", found.log);
    assert_eq!(found.values("PatientName"), ["DOE^JANE", "DOE^JANE"]);
    let [association] = &peer.ended(1)[..] else {
        panic!("{:?}", peer.associations())
    };
    assert_eq!(association.calling_ae_title, "IMPAXLINK");
    assert_eq!(association.called_ae_title, "FAKE");
    assert_eq!(association.ended, Ended::Released);
    assert_eq!(association.max_pdu, 16_384);
    assert!(
        association
            .implementation_class_uid
            .starts_with("1.2.276.0.7230010")
    );
    assert_eq!(
        association.proposed[0].0,
        uids::STUDY_ROOT_QUERY_RETRIEVE_INFORMATION_MODEL_FIND
    );
    let request = &association.requests[0];
    assert_eq!(request.command, 0x0020);
    assert_eq!(
        request.sop_class_uid,
        uids::STUDY_ROOT_QUERY_RETRIEVE_INFORMATION_MODEL_FIND
    );
    assert_eq!(request.keys["PatientID"], "4711");
    assert_eq!(request.keys["PatientName"], "");
}

#[test]
fn every_packing_carries_the_same_answer() {
    for packing in [
        Packing::TwoPdus,
        Packing::OnePdu,
        Packing::FragmentEach(8),
        Packing::FragmentsInOnePdu(8),
        Packing::ZeroLengthPdvs,
    ] {
        let found = find_with(answer([Step::Pack(packing), a_match(&JANE)]));
        assert!(found.success, "{packing:?}: {}", found.log);
        assert_eq!(found.values("PatientName"), ["DOE^JANE"], "{packing:?}");
    }
}

#[test]
fn it_accepts_as_told() {
    let accept = |acceptance| {
        vec![
            Step::Accept(acceptance),
            Step::AwaitRequest,
            a_match(&JANE),
            Step::End(0, ""),
        ]
    };
    let implicit = vec![uids::IMPLICIT_VR_LITTLE_ENDIAN];
    let peer = FakePeer::start(accept(Acceptance {
        transfer_syntaxes: implicit,
        ..Acceptance::default()
    }));
    assert_eq!(find(&peer).values("PatientName"), ["DOE^JANE"]);
    assert_eq!(
        peer.ended(1)[0].requests[0].transfer_syntax,
        uids::IMPLICIT_VR_LITTLE_ENDIAN
    );

    let patient_root = vec![uids::PATIENT_ROOT_QUERY_RETRIEVE_INFORMATION_MODEL_FIND];
    let found = find_with(accept(Acceptance {
        abstract_syntaxes: Some(patient_root),
        ..Acceptance::default()
    }));
    assert!(
        found.log.contains("No Acceptable Presentation Contexts"),
        "{}",
        found.log
    );

    let found = find_with(accept(Acceptance {
        transfer_syntaxes: vec![],
        ..Acceptance::default()
    }));
    assert!(
        found.log.contains("No Acceptable Presentation Contexts"),
        "{}",
        found.log
    );

    let found = find_with(accept(Acceptance {
        forced_transfer_syntax: Some("1.2.3.4"),
        ..Acceptance::default()
    }));
    assert!(!found.success && found.answers.is_empty(), "{}", found.log);

    for max_pdu in [0, 128] {
        let found = find_with(accept(Acceptance {
            max_pdu,
            ..Acceptance::default()
        }));
        assert_eq!(found.values("PatientName"), ["DOE^JANE"], "{}", found.log);
    }
}

#[test]
fn it_rejects_aborts_and_closes_when_told() {
    let reason = AssociationRJSource::ServiceUser(CalledAETitleNotRecognized);
    let peer = FakePeer::start(vec![Step::Reject(AssociationRJResult::Permanent, reason)]);
    let (success, log) = echo("FAKE", peer.port);
    assert!(
        !success && log.contains("Called AE Title Not Recognized"),
        "{log}"
    );

    let accept = || Step::Accept(Acceptance::default());
    let found = find_with(vec![accept(), Step::Abort]);
    assert!(!found.success && found.log.contains("Abort"), "{}", found.log);
    let found = find_with(vec![accept(), Step::AwaitRequest, a_match(&JANE), Step::Close]);
    assert!(!found.success, "{}", found.log);
    assert_eq!(found.answers.len(), 1);
}

#[test]
fn it_resets_the_connection_midway() {
    let peer = FakePeer::start(vec![
        Step::Raw(vec![2]),
        Step::Pause(Duration::from_millis(50)),
        Step::Reset,
    ]);
    let mut stream = connect(&peer);
    let mut byte = [0];
    stream.read_exact(&mut byte).unwrap();
    assert_eq!(
        stream.read(&mut byte).unwrap_err().kind(),
        ErrorKind::ConnectionReset
    );
    assert_eq!(peer.ended(1)[0].ended, Ended::ByScript);
}

#[test]
fn it_says_nothing_for_as_long_as_the_requestor_waits() {
    let peer = FakePeer::start(vec![Step::AwaitAssociation]);
    let mut stream = connect(&peer);
    stream.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
    assert_eq!(stream.read(&mut [0]).unwrap_err().kind(), ErrorKind::WouldBlock);
    drop(stream);
    assert_eq!(peer.ended(1)[0].ended, Ended::Closed);
}

#[test]
fn it_sends_slowly() {
    let peer = FakePeer::start(vec![
        Step::Slowly(Duration::from_millis(10)),
        Step::Raw(bombs::garbage()[..10].to_vec()),
        Step::Close,
    ]);
    let begun = Instant::now();
    let mut bytes = Vec::new();
    connect(&peer).read_to_end(&mut bytes).unwrap();
    assert_eq!(bytes, bombs::garbage()[..10]);
    assert!(begun.elapsed() >= Duration::from_millis(100));
}

#[test]
fn it_ends_an_answer_with_any_status_and_comment() {
    let found = find_with(vec![
        Step::Accept(Acceptance::default()),
        Step::AwaitRequest,
        a_match(&JANE),
        Step::Match(0xFF01, Identifier::Elements(elements(&JANE))),
        Step::End(0xA700, "disk full"),
    ]);
    assert_eq!(found.answers.len(), 2);
    assert!(found.log.contains("OutOfResources"), "{}", found.log);

    let found = find_with(answer([a_match(&JANE), Step::AnswerAs(999), a_match(&JANE)]));
    assert_eq!(found.answers.len(), 1, "{}", found.log);
}

#[test]
fn it_heeds_a_cancel_or_ignores_it() {
    for (heeds_cancel, received) in [(true, 0), (false, 2000)] {
        let flood = Flood {
            count: 2000,
            identifier: |_| elements(&JANE),
            heeds_cancel,
        };
        let mut script = answer([Step::AwaitCancel, Step::Matches(flood)]);
        script.push(Step::Close);
        let peer = FakePeer::start(script);
        let mut stream = connect(&peer);
        let request = find_request();
        stream.write_all(&request.concat()).unwrap();
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes).unwrap();
        let matches = bytes.windows(8).filter(|it| it == b"DOE^JANE").count();
        assert_eq!(matches, received);
        let [association] = &peer.ended(1)[..] else {
            panic!("{:?}", peer.associations())
        };
        assert_eq!(association.cancelled, [1]);
    }
}

#[test]
fn it_throws_bombs() {
    for identifier in [bombs::deep_nesting(3), bombs::declared_4_gib()] {
        let found = find_with(answer([Step::Match(0xFF00, Identifier::Raw(identifier))]));
        assert!(found.answers.len() <= 1, "{}", found.log);
    }
    for pdu in [bombs::huge_pdu(), bombs::overlong_pdv(), bombs::garbage()] {
        let found = find_with(answer([Step::Raw(pdu)]));
        assert!(!found.success && found.answers.is_empty(), "{}", found.log);
    }
    let peer = FakePeer::start(answer([Step::EndlessIdentifier(1 << 20)]));
    let mut stream = connect(&peer);
    stream.write_all(&find_request()[..2].concat()).unwrap();
    let mut chunk = vec![0; 1 << 19];
    stream.read_exact(&mut chunk).unwrap();
}

#[test]
fn it_plays_a_script_for_each_turn() {
    let peer = FakePeer::in_turn(vec![
        answer([]),
        vec![Step::Accept(Acceptance::default()), Step::Abort],
    ]);
    assert!(echo("FAKE", peer.port).0);
    let (success, log) = echo("FAKE", peer.port);
    assert!(!success, "{log}");
    assert_eq!(peer.ended(2).len(), 2);
}

fn connect(peer: &FakePeer) -> TcpStream {
    let stream = TcpStream::connect(("127.0.0.1", peer.port)).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    stream
}

/// An A-ASSOCIATE-RQ, a C-FIND-RQ with an empty identifier, and a C-CANCEL-RQ for it.
fn find_request() -> [Vec<u8>; 3] {
    let find = uids::STUDY_ROOT_QUERY_RETRIEVE_INFORMATION_MODEL_FIND;
    let association = Pdu::AssociationRQ(AssociationRQ {
        protocol_version: 1,
        calling_ae_title: "IMPAXLINK".into(),
        called_ae_title: "FAKE".into(),
        application_context_name: "1.2.840.10008.3.1.1.1".into(),
        presentation_contexts: vec![PresentationContextProposed {
            id: 1,
            abstract_syntax: find.into(),
            transfer_syntaxes: vec![uids::EXPLICIT_VR_LITTLE_ENDIAN.into()],
        }],
        user_variables: vec![UserVariableItem::MaxLength(16_384)],
    });
    let short = |tag, value: u16| DataElement::new(tag, VR::US, PrimitiveValue::from(value));
    let sop_class = DataElement::new(tags::AFFECTED_SOP_CLASS_UID, VR::UI, find);
    let request = [
        sop_class,
        short(tags::COMMAND_FIELD, 0x0020),
        short(tags::MESSAGE_ID, 1),
        short(tags::COMMAND_DATA_SET_TYPE, 1),
    ];
    let cancel = [
        short(tags::COMMAND_FIELD, 0x0FFF),
        short(tags::MESSAGE_ID_BEING_RESPONDED_TO, 1),
        short(tags::COMMAND_DATA_SET_TYPE, 0x0101),
    ];
    let identifier = pdv(PDataValueType::Data, vec![]);
    let request = vec![pdv(PDataValueType::Command, command(request)), identifier];
    let cancel = vec![pdv(PDataValueType::Command, command(cancel))];
    [
        association,
        Pdu::PData { data: request },
        Pdu::PData { data: cancel },
    ]
    .map(|pdu| {
        let mut bytes = Vec::new();
        write_pdu(&mut bytes, &pdu).unwrap();
        bytes
    })
}

fn command(elements: impl IntoIterator<Item = DataElement<InMemDicomObject>>) -> Vec<u8> {
    let mut bytes = Vec::new();
    InMemDicomObject::command_from_element_iter(elements)
        .write_dataset_with_ts(&mut bytes, &IMPLICIT_VR_LITTLE_ENDIAN.erased())
        .unwrap();
    bytes
}

fn pdv(value_type: PDataValueType, data: Vec<u8>) -> PDataValue {
    PDataValue {
        presentation_context_id: 1,
        value_type,
        is_last: true,
        data,
    }
}

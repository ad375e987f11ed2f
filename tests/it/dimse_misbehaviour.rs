//! What our requestor says of peers that misbehave: each thing by its name, each within its bounds.

use std::time::{Duration, Instant};

use dicom_dictionary_std::{tags, uids};
use dicom_ul::pdu::{AssociationRJResult, AssociationRJServiceUserReason, AssociationRJSource};
use impaxlink::dimse::{
    Association, Awaited, ContextRefusal, Error, Fault, FindEnd, FindEvent, Rejection, RequestorOptions,
    Status, Violation, connect,
};

use super::dimse_requestor::{endpoint, options, study_keys};
use super::support::fake_peer::script::{
    Acceptance, Flood, Identifier, Packing, Step, a_match, answer, elements,
};
use super::support::fake_peer::{Ended, FakePeer, bombs};
use super::support::scp::on_one_thread as run;

const WITHIN: Duration = Duration::from_secs(20);
const STUDY_ROOT_FIND: &str = uids::STUDY_ROOT_QUERY_RETRIEVE_INFORMATION_MODEL_FIND;
const STUDY: [(&str, &str); 2] = [("QueryRetrieveLevel", "STUDY"), ("StudyInstanceUID", "1.2.3")];

async fn open(peer: &FakePeer) -> Result<Association, Error> {
    connect(&endpoint(peer.port), &options("FAKE")).await
}

/// What a C-FIND brought before its end, or before it failed.
struct Brought {
    matches: usize,
    malformed: Vec<Fault>,
    end: Result<FindEnd, Error>,
}

async fn find(association: &mut Association, within: Duration) -> Brought {
    let mut brought = Brought {
        matches: 0,
        malformed: Vec::new(),
        end: Err(Error::Ended),
    };
    brought.end = async {
        let context = association.context_for(STUDY_ROOT_FIND)?.clone();
        let keys = study_keys().encode(context.transfer_syntax).unwrap();
        let mut find = association.find(&context, &keys).await?;
        loop {
            match find.next(within).await? {
                FindEvent::Match { identifier, .. } => {
                    assert_eq!(
                        identifier.element(tags::STUDY_INSTANCE_UID),
                        Some(&b"1.2.3\0"[..])
                    );
                    brought.matches += 1;
                }
                FindEvent::MalformedMatch(malformed) => brought.malformed.push(malformed.fault),
                FindEvent::MisplacedMatch => panic!("a data set on the final response"),
                FindEvent::Done(end) => return Ok(end),
            }
        }
    }
    .await;
    brought
}

fn find_with(script: Vec<Step>) -> Brought {
    let peer = FakePeer::start(script);
    run(async { find(&mut open(&peer).await.unwrap(), WITHIN).await })
}

fn accepting(acceptance: Acceptance) -> Vec<Step> {
    vec![
        Step::Accept(acceptance),
        Step::AwaitRequest,
        a_match(&STUDY),
        Step::End(0, ""),
    ]
}

#[test]
fn failures_to_connect_are_told_apart() {
    run(async {
        let free = std::net::TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap()
            .port();
        let refused = connect(&endpoint(free), &options("FAKE")).await.unwrap_err();
        assert!(matches!(&refused, Error::Connect { source, .. }
            if source.kind() == std::io::ErrorKind::ConnectionRefused));
        let mut unknown = endpoint(free);
        unknown.host = "no-such-host.invalid".parse().unwrap();
        let unresolved = connect(&unknown, &options("FAKE")).await.unwrap_err();
        assert!(matches!(unresolved, Error::Resolve { .. }), "{unresolved}");
        let too_many = RequestorOptions::new(
            "US".parse().unwrap(),
            "FAKE".parse().unwrap(),
            &[STUDY_ROOT_FIND; 129],
        );
        assert!(matches!(
            connect(&endpoint(free), &too_many).await,
            Err(Error::ContextCount(129))
        ));
    });
}

#[test]
fn failures_to_associate_are_told_apart() {
    let reason =
        AssociationRJSource::ServiceUser(AssociationRJServiceUserReason::CallingAETitleNotRecognized);
    let failure = |script| run(async { open(&FakePeer::start(script)).await.unwrap_err() });
    let rejected = failure(vec![Step::Reject(AssociationRJResult::Permanent, reason)]);
    assert!(
        matches!(rejected, Error::Rejected(Rejection::CALLING_AE_TITLE)),
        "{rejected}"
    );
    assert_eq!(
        rejected.to_string(),
        "association rejected: calling AE title not recognized"
    );
    let not_dicom = failure(vec![Step::Raw(bombs::garbage()), Step::Close]);
    assert!(matches!(not_dicom, Error::NotDicom), "{not_dicom}");
    let aborted = failure(vec![Step::AwaitAssociation, Step::Abort]);
    assert!(matches!(aborted, Error::Aborted(_)), "{aborted}");
    let closed = failure(vec![Step::AwaitAssociation, Step::Close]);
    assert!(
        matches!(closed, Error::Closed(Awaited::AssociationResponse)),
        "{closed}"
    );
    let reset = failure(vec![Step::AwaitAssociation, Step::Reset]);
    assert!(
        matches!(reset, Error::Closed(Awaited::AssociationResponse)),
        "{reset}"
    );
    let huge = failure(vec![
        Step::AwaitAssociation,
        Step::Raw(vec![2, 0, 0xFF, 0xFF, 0xFF, 0xFF]),
    ]);
    assert!(matches!(huge, Error::TooLarge { .. }), "{huge}");
}

#[test]
fn a_peer_that_never_answers_costs_one_deadline() {
    let slow = vec![
        Step::Slowly(Duration::from_millis(50)),
        Step::Accept(Acceptance::default()),
    ];
    for script in [vec![Step::AwaitAssociation], slow] {
        let peer = FakePeer::start(script);
        let mut options = options("FAKE");
        options.associate_timeout = Duration::from_millis(150);
        let begun = Instant::now();
        let error = run(connect(&endpoint(peer.port), &options)).unwrap_err();
        let awaited = Awaited::AssociationResponse;
        assert!(
            matches!(error, Error::TimedOut { awaited: it, .. } if it == awaited),
            "{error}"
        );
        assert!(begun.elapsed() < Duration::from_secs(20));
    }
    let peer = FakePeer::start(vec![
        Step::Accept(Acceptance::default()),
        Step::AwaitRequest,
        a_match(&STUDY),
    ]);
    run(async {
        let mut association = open(&peer).await.unwrap();
        let brought = find(&mut association, Duration::from_secs(2)).await;
        assert_eq!(brought.matches, 1);
        assert!(matches!(
            brought.end,
            Err(Error::TimedOut {
                awaited: Awaited::Response,
                ..
            })
        ));
        assert!(matches!(
            association.echo(WITHIN).await,
            Err(Error::Ended | Error::ContextRefused { .. })
        ));
    });
    assert_eq!(peer.ended(1)[0].ended, Ended::Aborted(0, 0));
}

/// Case: messages packed in odd ways
#[test]
fn every_packing_brings_the_same_match() {
    for packing in [
        Packing::TwoPdus,
        Packing::OnePdu,
        Packing::FragmentEach(8),
        Packing::FragmentsInOnePdu(8),
        Packing::ZeroLengthPdvs,
    ] {
        let brought = find_with(answer([Step::Pack(packing), a_match(&STUDY), a_match(&STUDY)]));
        assert_eq!(brought.matches, 2, "{packing:?}");
        assert!(brought.end.unwrap().status.is_success());
    }
}

/// Case: messages packed in odd ways
#[test]
fn the_peers_maximum_is_respected() {
    for max_pdu in [0, 8, 14, 20, 128, 16_384] {
        let peer = FakePeer::start(accepting(Acceptance {
            max_pdu,
            ..Acceptance::default()
        }));
        run(async {
            let mut association = open(&peer).await.unwrap();
            assert_eq!(association.peer().max_pdu_length, max_pdu);
            let brought = find(&mut association, WITHIN).await;
            assert_eq!(brought.matches, 1, "{max_pdu}: {:?}", brought.end);
            association.release().await.unwrap();
        });
        let ended = peer.ended(1);
        assert_eq!(ended[0].ended, Ended::Released);
        assert_eq!(ended[0].requests[0].keys["QueryRetrieveLevel"], "STUDY");
    }
}

/// Case: a peer that takes Implicit VR alone or nothing
#[test]
fn a_service_that_is_not_accepted_is_named() {
    let brought = find_with(accepting(Acceptance {
        abstract_syntaxes: Some(vec![uids::PATIENT_ROOT_QUERY_RETRIEVE_INFORMATION_MODEL_FIND]),
        ..Acceptance::default()
    }));
    let refusal = |brought: Brought| match brought.end.unwrap_err() {
        Error::ContextRefused { refusal, .. } => refusal,
        error => panic!("{error}"),
    };
    assert_eq!(refusal(brought), ContextRefusal::AbstractSyntax);
    let brought = find_with(accepting(Acceptance {
        transfer_syntaxes: vec![],
        ..Acceptance::default()
    }));
    assert_eq!(refusal(brought), ContextRefusal::TransferSyntaxes);
    let forced = Acceptance {
        forced_transfer_syntax: Some("1.2.3.4"),
        ..Acceptance::default()
    };
    assert_eq!(
        refusal(find_with(accepting(forced))),
        ContextRefusal::TransferSyntaxes
    );
    let implicit = Acceptance {
        transfer_syntaxes: vec![uids::IMPLICIT_VR_LITTLE_ENDIAN],
        ..Acceptance::default()
    };
    assert_eq!(find_with(accepting(implicit)).matches, 1);
}

#[test]
fn a_bomb_costs_one_match_and_nothing_else() {
    let brought = find_with(answer([
        Step::Pack(Packing::FragmentEach(16_000)),
        a_match(&STUDY),
        Step::Match(0xFF00, Identifier::Raw(bombs::deep_nesting(2_000))),
        Step::Match(0xFF00, Identifier::Raw(bombs::declared_4_gib())),
        a_match(&STUDY),
    ]));
    assert_eq!(brought.matches, 2);
    assert!(matches!(
        brought.malformed[..],
        [Fault::TooDeep, Fault::TooLong(_)]
    ));
    assert!(brought.end.unwrap().status.is_success());
}

#[test]
fn violations_end_the_association_with_an_abort() {
    type Expected = fn(&Error) -> bool;
    let cases: [(Step, Expected); 5] = [
        (Step::Raw(bombs::huge_pdu()), |error| {
            matches!(error, Error::TooLarge { .. })
        }),
        (Step::Raw(bombs::overlong_pdv()), |error| {
            matches!(error, Error::Violation(Violation::UnreadablePdu("P-DATA-TF")))
        }),
        (Step::Raw(bombs::garbage()), |error| {
            matches!(error, Error::Violation(Violation::UnknownPduType(b'H')))
        }),
        (Step::EndlessIdentifier(1 << 30), |error| {
            matches!(error, Error::TooLarge { .. })
        }),
        (Step::AnswerAs(999), |error| {
            matches!(
                error,
                Error::Violation(Violation::ForeignResponse(0x8020, Some(999)))
            )
        }),
    ];
    for (step, expected) in cases {
        let brought = find_with(answer([a_match(&STUDY), step, a_match(&STUDY)]));
        assert_eq!(brought.matches, 1);
        let error = brought.end.unwrap_err();
        assert!(expected(&error), "{error}");
    }
}

/// Case: a failure status after matches
#[test]
fn matches_before_a_failure_are_kept() {
    let brought = find_with(vec![
        Step::Accept(Acceptance::default()),
        Step::AwaitRequest,
        a_match(&STUDY),
        Step::Match(0xFF01, Identifier::Elements(elements(&STUDY))),
        Step::End(0xA700, "disk\u{1b}[31m full"),
    ]);
    assert_eq!(brought.matches, 2);
    let end = brought.end.unwrap();
    assert_eq!(end.status, Status::OUT_OF_RESOURCES);
    assert_eq!(end.comment.as_deref(), Some("disk[31m full"));
    for (step, expected) in [
        (Step::Close, "closed"),
        (Step::Reset, "closed"),
        (Step::Abort, "aborted"),
    ] {
        let brought = find_with(vec![
            Step::Accept(Acceptance::default()),
            Step::AwaitRequest,
            a_match(&STUDY),
            Step::Pause(Duration::from_millis(30)),
            step,
        ]);
        assert_eq!(brought.matches, 1);
        let error = brought.end.unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
}

#[test]
fn a_cancel_is_sent_and_the_rest_is_read() {
    for heeds_cancel in [true, false] {
        let flood = Flood {
            count: 2_000,
            identifier: |_| elements(&STUDY),
            heeds_cancel,
        };
        let peer = FakePeer::start(answer([a_match(&STUDY), Step::AwaitCancel, Step::Matches(flood)]));
        let (rest, end) = run(async {
            let mut association = open(&peer).await.unwrap();
            let context = association.context_for(STUDY_ROOT_FIND).unwrap().clone();
            let keys = study_keys().encode(context.transfer_syntax).unwrap();
            let mut find = association.find(&context, &keys).await.unwrap();
            assert!(matches!(
                find.next(WITHIN).await.unwrap(),
                FindEvent::Match { .. }
            ));
            find.cancel().await.unwrap();
            let mut rest = 0;
            loop {
                match find.next(WITHIN).await.unwrap() {
                    FindEvent::Done(end) => break (rest, end),
                    _ => rest += 1,
                }
            }
        });
        if heeds_cancel {
            assert_eq!((rest, end.status), (0, Status::CANCEL));
        } else {
            assert_eq!((rest, end.status), (2_000, Status::SUCCESS));
        }
        assert_eq!(peer.associations()[0].cancelled, [1]);
    }
}

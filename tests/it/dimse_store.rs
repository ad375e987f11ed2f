//! C-STORE as SCU: objects in pieces, in their own transfer syntaxes, to a real SCP.

use std::time::Duration;

use dicom_dictionary_std::{tags, uids};
use impaxlink::dimse::{
    Association, ObjectFlow, ProposedObjects, RequestorOptions, Status, StoreObject, TransferSyntax, connect,
};
use impaxlink::model::Uid;

use super::dimse_requestor::endpoint;
use super::support::archive::Object;
use super::support::scp::on_one_thread as run;
use super::support::storescp::Storescp;

const WITHIN: Duration = Duration::from_secs(20);

fn uid(text: &str) -> Uid {
    text.parse().unwrap()
}

fn proposed(transfer_syntaxes: &[&str]) -> Vec<ProposedObjects> {
    let proposed = |syntax: &&str| ProposedObjects {
        sop_class_uid: uid(uids::CT_IMAGE_STORAGE),
        transfer_syntax_uids: vec![uid(syntax)],
        flow: ObjectFlow::Sent,
    };
    transfer_syntaxes.iter().map(proposed).collect()
}

async fn associate(port: u16, transfer_syntaxes: &[&str]) -> Association {
    let mut options = RequestorOptions::new("IMPAXLINK".parse().unwrap(), "STORE".parse().unwrap(), &[]);
    options.objects = proposed(transfer_syntaxes);
    connect(&endpoint(port), &options).await.unwrap()
}

async fn send(association: &mut Association, object: &Object, syntax: &str, piece: usize) -> Status {
    let class = uid(uids::CT_IMAGE_STORAGE);
    let context = association
        .sending_context(&class, &uid(syntax))
        .expect("an accepted context")
        .clone();
    let announced = StoreObject {
        sop_instance_uid: uid(object.value(tags::SOP_INSTANCE_UID)),
        priority: 0,
        move_originator: Some(("READER".parse().unwrap(), 4711)),
    };
    let bytes = object.bytes(TransferSyntax::ExplicitVrLittleEndian);
    let mut store = association.store(&context, &announced).unwrap();
    for piece in bytes.chunks(piece) {
        store.send(piece).await.unwrap();
    }
    store.finish(WITHIN).await.unwrap()
}

/// Case: a move on behalf of a viewer
#[test]
fn an_object_arrives_as_it_is_whatever_the_pieces_and_the_peers_maximum() {
    for (pdu, piece) in [("4096", 1_000), ("16384", 70_001), ("131072", 300_000)] {
        let storescp = Storescp::start("STORE", &["-pdu", pdu]);
        let objects: Vec<Object> = (0..3)
            .map(|number| Object::new(number).with(tags::PIXEL_DATA, &"x".repeat(number * 200_000 + 1_000)))
            .collect();
        run(async {
            let mut association = associate(storescp.port, &[uids::EXPLICIT_VR_LITTLE_ENDIAN]).await;
            for object in &objects {
                let status = send(&mut association, object, uids::EXPLICIT_VR_LITTLE_ENDIAN, piece).await;
                assert_eq!(status, Status::SUCCESS);
            }
            association.release().await.unwrap();
        });
        let files = storescp.files();
        assert_eq!(files.len(), 3, "{}", storescp.log());
        let files: Vec<Vec<u8>> = files.iter().map(|file| std::fs::read(file).unwrap()).collect();
        for object in &objects {
            let sent = object.bytes(TransferSyntax::ExplicitVrLittleEndian);
            assert!(files.iter().any(|file| file.ends_with(&sent)), "as it was sent");
        }
        let log = storescp.log();
        assert!(log.contains("READER") && log.contains("4711"), "{log}");
    }
}

#[test]
fn each_transfer_syntax_has_a_context_of_its_own() {
    let storescp = Storescp::start("STORE", &["+xa"]);
    let syntaxes = [
        uids::EXPLICIT_VR_LITTLE_ENDIAN,
        uids::JPEG_BASELINE8_BIT,
        uids::RLE_LOSSLESS,
        uids::JPEG2000,
    ];
    run(async {
        let mut association = associate(storescp.port, &syntaxes).await;
        let accepted = association.sending_contexts().to_vec();
        let accepted: Vec<&str> = accepted
            .iter()
            .map(|it| it.transfer_syntax_uid.as_str())
            .collect();
        assert_eq!(accepted, syntaxes);
        let class = uid(uids::CT_IMAGE_STORAGE);
        assert!(association.sending_context(&class, &uid("1.2.3")).is_none());
        // It is not looked into.
        let status = send(&mut association, &Object::new(1), uids::JPEG2000, 500).await;
        assert_eq!(status, Status::SUCCESS);
    });
    let file = dicom_object::OpenFileOptions::new()
        .read_until(tags::PATIENT_ID)
        .open_file(&storescp.files()[0])
        .unwrap();
    assert_eq!(file.meta().transfer_syntax(), uids::JPEG2000);
}

//! Messages as systems send them, and what they want.

use super::*;
use crate::model::Settings;

const HEADER: &str = "MSH|^~\\&|RIS|NORTH|LINK|NORTH|20240131120000||";

fn want(text: &str) -> Result<Vec<Intent>, Verdict> {
    let mut settings = Settings::default();
    settings.set("issuer", "NORTH").unwrap();
    settings.set("hl7.issuers", "HIS=NORTH,1.2.3=HARBOUR").unwrap();
    intents(
        &Message::read(&format!("{HEADER}{text}")).unwrap(),
        &settings.hl7(),
    )
}

fn report(text: &str) -> (StudyKey, Vec<String>, String, bool) {
    match want(text).unwrap().pop() {
        Some(Intent::Report {
            study,
            patients,
            status,
            is_correction,
        }) => (study, shown(&patients), status.as_str().to_owned(), is_correction),
        other => panic!("{other:?}"),
    }
}

fn shown(patients: &[StudyPatient]) -> Vec<String> {
    let one = |patient: &StudyPatient| {
        let issuer = patient.issuer.as_ref().map_or("", |issuer| issuer.as_str());
        format!("{}@{issuer}", patient.id)
    };
    patients.iter().map(one).collect()
}

/// An OBR of this accession number (OBR-3) and result status (OBR-25).
fn obr(accession: &str, status: &str) -> String {
    format!("OBR|1||{accession}{}{status}\r", "|".repeat(22))
}

#[test]
fn a_report_goes_from_preliminary_to_corrected() {
    for (code, status, is_correction) in [
        ("P", "TRANSCRIBED", false),
        ("F", "APPROVED", false),
        ("C", "APPROVED", true),
    ] {
        let obr = obr("A17", code);
        let text = format!(
            "ORU^R01|1|P|2.3\rPID|||4711^^^HIS^MR||DOE^JANE\rORC|RE\r{obr}OBX|1|TX|GDT||text||||||{code}\r"
        );
        let (study, patients, found, corrects) = report(&text);
        assert_eq!(study, StudyKey::Accession("A17".to_owned()));
        assert_eq!(patients, ["4711@NORTH"]);
        assert_eq!((found.as_str(), corrects), (status, is_correction));
    }
}

#[test]
fn an_order_names_its_study_by_uid() {
    let omi = format!(
        "OMI^O23|1|P|2.5\rPID|||1\rORC|SC\r{}IPC|A9|RP1|1.2.3^X|SPS1\r",
        obr("A1", "I")
    );
    let (study, _, status, _) = report(&omi);
    assert_eq!(study, StudyKey::Uid("1.2.3".parse().unwrap()));
    assert_eq!(status, "NEW");
    let (study, ..) =
        report("ORM^O01|1|P|2.3\rORC|SC|P1|F1||IP\rOBR|1|P1|F1|CT\rZDS|1.2.4^^Application^DICOM\r");
    assert_eq!(study, StudyKey::Uid("1.2.4".parse().unwrap()));
    assert_eq!(want("ORM^O01|1|P|2.3\rORC|CA|P1|F1||CA\rOBR|1\r").unwrap(), []);
}

#[test]
fn several_reports_are_several_and_each_as_far_as_its_least() {
    let text = format!(
        "ORU^R01|1|P|2.3\rPID|||1\rORC|RE\rOBR|1||A1\rOBX|1|TX|||||||||F\rOBX|2|TX|||||||||P\r{}",
        obr("A2", "F")
    );
    let intents = want(&text).unwrap();
    assert_eq!(intents.len(), 2);
    assert!(matches!(&intents[0], Intent::Report { status, .. } if status.as_str() == "TRANSCRIBED"));
    assert!(
        matches!(&intents[1], Intent::Report { study: StudyKey::Accession(number), .. } if number == "A2")
    );
}

#[test]
fn a_patient_has_several_ids_and_null_clears() {
    let text = "ADT^A08|1|P|2.3\rEVN|A08\rPID|1||4711^^^HIS^MR~88^^^&1.2.3&ISO~999^^^^SS~5||\
                Müller&van^Hans\\T\\Jo^X^Jr^Dr||19700131120000|\"\"\r";
    let Some(Intent::Demographics { patients, wanted }) = want(text).unwrap().pop() else {
        panic!("no demographics");
    };
    assert_eq!(shown(&patients), ["4711@NORTH", "88@HARBOUR", "5@NORTH"]);
    let value = |field| wanted.get(&field).map(FieldValue::as_str);
    assert_eq!(value(StateField::PatientName), Some("Müller^Hans&Jo^X^Dr^Jr"));
    assert_eq!(value(StateField::PatientBirthDate), Some("19700131"));
    assert_eq!(value(StateField::PatientSex), Some(""));
    let left_out = want("ADT^A08|1|P|2.3\rPID|||1||||1970|U\r").unwrap().pop();
    assert!(matches!(left_out, Some(Intent::Demographics { wanted, .. }) if wanted.is_empty()));
}

#[test]
fn a_merge_names_who_stays() {
    let text = "ADT^A40|1|P|2.3.1\rEVN|A40\rPID|||88^^^X~4711^^^HIS||DOE\rMRG|4712^^^HIS\r";
    let Some(Intent::Merge { surviving, prior, .. }) = want(text).unwrap().pop() else {
        panic!("no merge");
    };
    assert_eq!(shown(&[surviving, prior].concat()), ["4711@NORTH", "4712@NORTH"]);
}

#[test]
fn a_merge_of_several_ids_is_of_each_into_its_issuers() {
    for (named, given_up, survive, prior) in [
        // Of both issuers, one after the other.
        (
            "1^^^HIS~66^^^X",
            "99^^^X~2^^^HIS",
            &["66@X", "1@NORTH"][..],
            &["99@X", "2@NORTH"][..],
        ),
        // A number that both records have is given up by none.
        ("1^^^HIS~66^^^X", "2^^^HIS~66^^^X", &["1@NORTH"], &["2@NORTH"]),
        ("2^^^HIS~1^^^HIS", "2^^^HIS", &["1@NORTH"], &["2@NORTH"]),
        // One of no patient alone would make strangers one person.
        (
            "1^^^HIS^MR~123^^^X^SS",
            "2^^^HIS^MR~999^^^X^SS",
            &["1@NORTH"],
            &["2@NORTH"],
        ),
    ] {
        let text = format!("ADT^A40|1|P|2.5\rPID|||{named}\rMRG|{given_up}\r");
        match want(&text).unwrap().pop() {
            Some(Intent::Merge {
                surviving,
                prior: its,
                ..
            }) => {
                assert_eq!(
                    (shown(&surviving), shown(&its)),
                    (owned(survive), owned(prior)),
                    "{text}"
                );
            }
            other => panic!("{other:?}"),
        }
    }
}

fn owned(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|text| (*text).to_owned()).collect()
}

#[test]
fn a_number_of_a_visit_is_no_patients_whoever_gave_it() {
    let text = "ADT^A08|1|P|2.5\rPID|||4711^^^HIS^MR~4712^^^HIS^AN~4713^^^HIS^VN~9^^^X^EPI||DOE\r";
    let Some(Intent::Demographics { patients, .. }) = want(text).unwrap().pop() else {
        panic!("no demographics");
    };
    assert_eq!(shown(&patients), ["4711@NORTH", "9@X"]);
}

#[test]
fn a_report_is_of_the_patient_before_it() {
    let text = format!(
        "ORU^R01|1|P|2.5\rPID|||1\r{}OBX|1\rPID|||2\rPV1|1\r{}NTE|1\r",
        obr("A1", "F"),
        obr("A1", "P")
    );
    let whose: Vec<Vec<String>> = want(&text)
        .unwrap()
        .into_iter()
        .map(|intent| match intent {
            Intent::Report { patients, .. } => shown(&patients),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(whose, [["1@NORTH"], ["2@NORTH"]]);
}

#[test]
fn a_new_order_says_nothing_of_a_report_yet() {
    let new = "ORM^O01|1|P|2.3\rPID|||1\rORC|NW|P1|F1\rOBR|1|P1|F1|CT\r";
    assert_eq!(want(new).unwrap(), []);
    assert!(matches!(
        want("ORM^O01|1|P|2.3\rPID|||1\r"),
        Err(Verdict::Error(_))
    ));
}

#[test]
fn an_order_of_several_studies_is_none_of_them() {
    let ipc = |uids: [&str; 2]| {
        let [one, other] = uids.map(|uid| format!("IPC|||{uid}\r"));
        want(&format!(
            "OMI^O23|1|P|2.5\rPID|||1\rORC|SC||||IP\r{}{one}{other}",
            obr("", "")
        ))
    };
    assert!(matches!(ipc(["1.2.3", "1.2.4"]), Err(Verdict::Error(_))));
    assert_eq!(ipc(["1.2.3", "1.2.3"]).unwrap().len(), 1);
}

#[test]
fn what_is_refused_says_why() {
    let unknown_code = format!("ORU^R01|1|P|2.3\r{}", obr("A1", "Q"));
    let nobodys = format!("ORU^R01|1|P|2.3\r{}", obr("A1", "F"));
    let no_study = format!("ORU^R01|1|P|2.3\rPID|||1\r{}", obr("", "F"));
    for (text, is_rejected) in [
        ("ADT^A18|1|P|2.3\rPID|||1\r", true),
        ("ADT^A08|1|T|2.3\rPID|||1\r", true),
        ("ADT^A08|1|P|3.0\rPID|||1\r", true),
        ("ADT^A08||P|2.3\rPID|||1\r", false),
        ("ADT^A08|1|P|2.3\r", false),
        ("ADT^A08|1|P|2.3\rPID|||1||||19701331\r", false),
        ("ADT^A08|1|P|2.3\rPID|||1||M\u{fffd}LLER\r", false),
        ("ADT^A40|1|P|2.3\rPID|||1\rMRG|1\r", false),
        (&unknown_code, false),
        (&no_study, false),
        (&nobodys, false),
    ] {
        let refused = want(text).unwrap_err();
        assert_eq!(
            matches!(refused, Verdict::Rejected(_)),
            is_rejected,
            "{text} {refused:?}"
        );
    }
}

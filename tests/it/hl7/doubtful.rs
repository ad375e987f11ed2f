//! Messages that may be about more than one patient, sent to the service: none of them is guessed, a person decides.

use super::super::support::service::wait_for;
use super::*;

/// A service, and a sender that is connected to it.
struct Doubt {
    env: Env,
    sender: Sender,
    _process: Process,
}

impl Doubt {
    fn start() -> Self {
        let (env, process, port) = serving();
        Doubt {
            env,
            sender: Sender::connect(port),
            _process: process,
        }
    }

    /// Sends a message, which is stored and then fails for this reason.
    #[track_caller]
    fn fails_with(&mut self, message: &str, reason: &str) {
        let before = listed(&self.env, "failed").len();
        assert_eq!(self.sender.tell(message), "AA");
        wait_for("a failed message", || listed(&self.env, "failed").len() > before);
        let failed = &listed(&self.env, "failed")[0];
        let shown = failed["reason"].as_str().unwrap();
        assert!(shown.contains(reason), "no {reason:?} in {shown:?}");
    }

    /// Sends a message, which is refused for this reason.
    #[track_caller]
    fn refuses(&mut self, message: &str, reason: &str) {
        self.sender.send(message.as_bytes());
        let answer = self.sender.answer().expect("an answer");
        assert_eq!(code(&answer), "AE");
        assert!(answer.contains(reason), "no {reason:?} in {answer}");
    }

    #[track_caller]
    fn nothing_is_known_of(&self, numbers: &[usize]) {
        for number in numbers {
            assert_eq!(status(&self.env, *number), Value::Null, "{number}");
            assert_eq!(value(&self.env, *number, "patient_name"), Value::Null, "{number}");
        }
    }
}

/// Case: a message gives one patient two IDs of one issuer
#[test]
fn two_ids_of_one_issuer_are_one_patients_only_where_they_are_linked() {
    let mut doubt = Doubt::start();
    let reason = "several IDs of one issuer, which are not linked";
    let change = message(
        "ADT^A08",
        "1",
        "",
        &["PID|||4711^^^NORTH~88^^^NORTH||ROE^RICHARD"],
    );
    doubt.fails_with(&change, reason);
    // Who names no authority means the local issuer.
    let bare = message("ADT^A31", "2", "", &["PID|||4711~88^^^NORTH||ROE^RICHARD"]);
    doubt.fails_with(&bare, reason);
    let of_both = "PID|||4711^^^NORTH~88^^^NORTH||DOE^JANE";
    let zds = format!("ZDS|{}", study(1));
    let by_uid = message("ORU^R01", "3", "", &[of_both, &obr("", "F"), &zds]);
    doubt.fails_with(&by_uid, reason);
    doubt.fails_with(&message("ORM^O01", "4", "", &[of_both, &obr("A1", "F")]), reason);
    for (control_id, survivors, prior) in [
        ("5", "4711^^^NORTH~5^^^NORTH", "88^^^NORTH"),
        ("6", "4711^^^NORTH", "88^^^NORTH~5^^^NORTH"),
    ] {
        let segments = [format!("PID|||{survivors}||DOE^JANE"), format!("MRG|{prior}")];
        let merge = message(
            "ADT^A40",
            control_id,
            "",
            &segments.each_ref().map(String::as_str),
        );
        doubt.fails_with(&merge, reason);
    }
    doubt.nothing_is_known_of(&[1, 2, 3]);
    let patients = doubt.env.impaxlink(&["patient", "list", "--json"]).json();
    assert_eq!(patients["items"], serde_json::json!([]), "{patients:#}");

    let linked = doubt
        .env
        .impaxlink(&["patient", "link", "4711^^^NORTH", "88^^^NORTH"]);
    linked.success();
    doubt.env.impaxlink(&["hl7", "retry", "1"]).success();
    for number in [1, 2, 3] {
        assert_eq!(value(&doubt.env, number, "patient_name"), "ROE^RICHARD");
    }
}

/// Case: a message names one ID twice
#[test]
fn an_id_that_stands_twice_is_one_id() {
    let mut doubt = Doubt::start();
    let change = message(
        "ADT^A08",
        "1",
        "",
        &["PID|||88^^^NORTH~88^^^NORTH^MR||ROE^RICHARD"],
    );
    assert_eq!(doubt.sender.tell(&change), "AA");
    wait_for("the name", || {
        value(&doubt.env, 3, "patient_name") == "ROE^RICHARD"
    });
}

/// Case: a message gives one patient the IDs of two
#[test]
fn ids_of_two_persons_are_not_taken_for_one_patients() {
    let mut doubt = Doubt::start();
    for (id, global_id) in [("4711^^^NORTH", "G1"), ("66^^^HARBOUR", "G2")] {
        doubt
            .env
            .impaxlink(&["patient", "link", id, "--global-id", global_id])
            .success();
    }
    let change = message("ADT^A08", "1", "", &["PID|||4711^^^NORTH~66^^^HARBOUR||ROE^JANE"]);
    doubt.fails_with(&change, "two global patient IDs");
    doubt.nothing_is_known_of(&[1, 2, 3]);
}

/// Case: a message with a second patient
#[test]
fn a_message_about_several_patients_is_refused() {
    let mut doubt = Doubt::start();
    let (one, other) = (pid("4711"), "PID|||88^^^NORTH||ROE^RICHARD");
    let change = message("ADT^A08", "1", "", &[&one, other]);
    doubt.refuses(&change, "it has several PID: which patient is meant?");
    // The first would have been passed over.
    let zds = format!("ZDS|{}", study(3));
    let reported = message("ORU^R01", "2", "", &[&one, other, &obr("", "F"), &zds]);
    doubt.refuses(
        &reported,
        "a PID is followed by no order: which patient is meant?",
    );
    let last = message("ORU^R01", "3", "", &[other, &obr("", "F"), &zds, &one]);
    doubt.refuses(&last, "a PID is followed by no order");
    let merges = message(
        "ADT^A40",
        "4",
        "",
        &[&one, "MRG|88^^^NORTH", other, "MRG|99^^^NORTH"],
    );
    doubt.refuses(&merges, "it has several PID");
    let merged = message("ADT^A40", "5", "", &[&one, "MRG|88^^^NORTH", "MRG|99^^^NORTH"]);
    doubt.refuses(&merged, "it has several MRG");
    doubt.refuses(&message("ADT^A40", "6", "", &["MRG|88^^^NORTH"]), "it has no PID");
    doubt.nothing_is_known_of(&[1, 2, 3]);
    assert_eq!(listed(&doubt.env, "failed").len(), 6);
    // Each order is of the patient before it.
    let both = message(
        "ORU^R01",
        "7",
        "",
        &[&one, &obr("A1", "F"), other, &obr("A3", "P")],
    );
    assert_eq!(doubt.sender.tell(&both), "AA");
    wait_for("both reports", || status(&doubt.env, 3) == "TRANSCRIBED");
    assert_eq!(status(&doubt.env, 1), "APPROVED");
}

/// Case: a report without a patient
#[test]
fn a_report_without_a_patient_is_of_the_local_issuers_study_alone() {
    let mut doubt = Doubt::start();
    let object = Object::new(7)
        .with(tags::PATIENT_ID, "4711")
        .with(tags::ISSUER_OF_PATIENT_ID, "HARBOUR");
    let path = doubt.env.path().join("visitor.dcm");
    fs::write(&path, dicom_file(&object)).unwrap();
    let imported = doubt
        .env
        .impaxlink(&["archive", "import", path.to_str().unwrap()]);
    imported.success();
    let of = |control_id: &str, number: usize, patient: &[&str]| {
        let (result, zds) = (obr("", "F"), format!("ZDS|{}", study(number)));
        let segments = [patient, &[&result, &zds]].concat();
        message("ORU^R01", control_id, "", &segments)
    };
    let reason = "it names no patient, and its study is not known as one of the local issuer's";
    doubt.fails_with(&of("1", 7, &[]), reason);
    // A number of a visit is no patient either.
    doubt.fails_with(&of("2", 7, &["PID|||4711^^^NORTH^VN||DOE^JANE"]), reason);
    doubt.nothing_is_known_of(&[7]);
    assert_eq!(doubt.sender.tell(&of("3", 1, &[])), "AA");
    wait_for("the report", || status(&doubt.env, 1) == "APPROVED");
    assert_eq!(
        doubt
            .sender
            .tell(&of("4", 7, &["PID|||4711^^^HARBOUR||DOE^JANE"])),
        "AA"
    );
    wait_for("the report", || status(&doubt.env, 7) == "APPROVED");
}

/// Case: an order that is only scheduled
#[test]
fn an_order_that_is_only_scheduled_waits_for_no_study() {
    let mut doubt = Doubt::start();
    for (control_id, in_order, in_result) in [
        ("1", "SC", "S"),
        ("2", "", "S"),
        ("3", "SC", ""),
        ("4", "SC", "O"),
    ] {
        let common = format!("ORC|NW||||{in_order}");
        let segments = [pid("4711"), common, obr("A99", in_result)];
        let order = message(
            "ORM^O01",
            control_id,
            "",
            &segments.each_ref().map(String::as_str),
        );
        assert_eq!(doubt.sender.tell(&order), "AA");
    }
    wait_for("all orders", || listed(&doubt.env, "done").len() == 4);
    for order in listed(&doubt.env, "done") {
        assert_eq!(order["reason"], "its codes say nothing of a report");
        assert_eq!(order["did"], serde_json::json!([]), "{order:#}");
    }
}

/// Case: an order of two studies
#[test]
fn an_order_of_two_studies_is_none_of_them() {
    let mut doubt = Doubt::start();
    let zds = [1, 2].map(|number| format!("ZDS|{}", study(number)));
    let both = message(
        "ORU^R01",
        "1",
        "",
        &[&pid("4711"), &obr("", "F"), &zds[0], &zds[1]],
    );
    doubt.refuses(&both, "an order of it names several studies");
    let second = message(
        "ORU^R01",
        "2",
        "",
        &[&pid("4711"), &obr("", "F"), &obr("", "F"), &zds[1]],
    );
    doubt.refuses(&second, "it names no study");
    doubt.nothing_is_known_of(&[1, 2]);
    let each = [&pid("4711"), &obr("", "F"), &zds[0], &obr("", "P"), &zds[1]];
    let each = message("ORU^R01", "3", "", &each.map(String::as_str));
    assert_eq!(doubt.sender.tell(&each), "AA");
    wait_for("both reports", || status(&doubt.env, 2) == "TRANSCRIBED");
    assert_eq!(status(&doubt.env, 1), "APPROVED");
}

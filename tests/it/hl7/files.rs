//! What each kind of message does, taken from a file.

use serde_json::json;

use super::super::support::dcmqrscp::Dcmqrscp;
use super::super::support::orthanc::Orthanc;
use super::super::support::service;
use super::super::support::sites::archive;
use super::super::support::studies::{Federation, Study};
use super::*;

#[test]
fn reports_come_to_their_studies() {
    let env = site();
    let by_ipc = message(
        "OMI^O23",
        "3",
        "",
        &[
            &pid("88"),
            "ORC|SC||||IP",
            &obr("", ""),
            &format!("IPC|||{}", study(3)),
        ],
    );
    let run = import(
        &env,
        &[report("1", 1, "F"), order("2", "4711", "A2", "P"), by_ipc],
    );
    run.success();
    let items = run.json()["items"].clone();
    assert_eq!(items[0]["type"], "ORU^R01");
    assert_eq!(items[0]["did"][0]["study_instance_uid"], study(1));
    assert_eq!(items[0]["did"][0]["changed"], json!(["interpretation_status"]));
    let all = [1, 2, 3].map(|number| status(&env, number));
    assert_eq!(all, [json!("APPROVED"), json!("TRANSCRIBED"), json!("NEW")]);
    assert!(run.stderr.contains("3 done, 0 waiting, 0 failed"), "{run:#?}");
    // An order that is only scheduled says nothing of a report, and waits for no study.
    let scheduled = message(
        "ORM^O01",
        "4",
        "",
        &[&pid("4711"), "ORC|NW||||SC", &obr("A99", "")],
    );
    import(&env, &[scheduled]).success();
    assert_eq!(listed(&env, "done").len(), 4);
}

#[test]
fn a_report_falls_back_only_by_a_correction() {
    let env = site();
    import(&env, &[report("1", 1, "F"), report("2", 1, "P")]).success();
    assert_eq!(status(&env, 1), "APPROVED");
    let second = &listed(&env, "done")[0];
    let reason = second["reason"].as_str().unwrap();
    assert!(
        reason.contains(&study(1)) && reason.contains("APPROVED"),
        "{reason}"
    );
    env.impaxlink(&["config", "set", "hl7.status", "F=APPROVED,W=TRANSCRIBED!"])
        .success();
    import(&env, &[report("3", 1, "W")]).success();
    assert_eq!(status(&env, 1), "TRANSCRIBED");
}

#[test]
fn codes_are_what_the_settings_say() {
    let env = site();
    env.impaxlink(&["config", "set", "hl7.status", "f=DICTATED,Q=-"])
        .success();
    import(&env, &[report("1", 1, "F"), report("2", 2, "Q")]).success();
    assert_eq!(status(&env, 1), "DICTATED");
    assert_eq!(
        listed(&env, "done")[0]["reason"],
        "its codes say nothing of a report"
    );
    let unknown = import(&env, &[report("3", 2, "P")]);
    unknown.exits(1);
    let reason = unknown.json()["items"][0]["reason"].as_str().unwrap().to_owned();
    assert!(reason.contains("hl7.status"), "{reason}");
    env.impaxlink(&["config", "unset", "hl7.status"]).success();
    env.impaxlink(&["hl7", "retry", "--failed"]).success();
    assert_eq!(status(&env, 2), "TRANSCRIBED");
}

#[test]
fn demographics_come_to_all_studies_of_the_patient() {
    let env = site();
    let change = message("ADT^A08", "1", "", &["PID|||4711^^^NORTH||ROE^JANE||19700131|F"]);
    import(&env, &[change]).success();
    for number in [1, 2] {
        assert_eq!(value(&env, number, "patient_name"), "ROE^JANE");
        assert_eq!(value(&env, number, "patient_birth_date"), "19700131");
        assert_eq!(value(&env, number, "patient_sex"), "F");
    }
    assert_eq!(value(&env, 3, "patient_name"), Value::Null);
    // The same ID of another authority is another patient.
    let other = message("ADT^A08", "2", "", &["PID|||4711^^^HARBOUR||POE^EDGAR"]);
    import(&env, &[other]).success();
    assert_eq!(value(&env, 1, "patient_name"), "ROE^JANE");
    assert_eq!(
        listed(&env, "done")[0]["reason"],
        "no study of the patient is here"
    );
    env.impaxlink(&["config", "set", "hl7.issuers", "HIS=NORTH"])
        .success();
    let mapped = message("ADT^A08", "3", "", &["PID|||88^^^HIS||ROE^RICHARD||19700131"]);
    import(&env, &[mapped]).success();
    assert_eq!(value(&env, 3, "patient_name"), "ROE^RICHARD");
    let cleared = message("ADT^A08", "4", "", &["PID|||88^^^HIS||||\"\""]);
    import(&env, &[cleared]).success();
    assert_eq!(value(&env, 3, "patient_name"), "ROE^RICHARD");
    assert_eq!(value(&env, 3, "patient_birth_date"), Value::Null);
}

#[test]
fn a_merge_links_the_two_and_has_the_studies_reviewed() {
    let env = site();
    let merge = message("ADT^A40", "1", "", &["EVN|A40", &pid("4711"), "MRG|88^^^NORTH"]);
    import(&env, &[merge]).success();
    let patients = env.impaxlink(&["patient", "list", "--json"]).json();
    let text = patients.to_string();
    assert!(
        text.contains("4711") && text.contains("88") && text.contains("hl7"),
        "{text}"
    );
    let reviews = env.impaxlink(&["study", "review", "--json"]).json();
    let reviews = reviews["items"].as_array().unwrap();
    assert_eq!(reviews.len(), 1, "{reviews:?}");
    assert_eq!(reviews[0]["study_instance_uid"], study(3));
    assert_eq!(reviews[0]["acknowledged_at"], Value::Null);
    assert_eq!(listed(&env, "done")[0]["reason"], "two patient IDs are linked");
    // Who the patient is now is known by what comes later.
    let change = message("ADT^A08", "2", "", &["PID|||4711^^^NORTH||ROE^JANE"]);
    import(&env, &[change]).success();
    assert_eq!(value(&env, 3, "patient_name"), "ROE^JANE");
    let audit = env.impaxlink(&["audit", "list", "--json", "--limit", "0"]);
    assert!(audit.stdout.contains("HL7 message 1"), "{audit:#?}");
    env.impaxlink(&["audit", "verify"]).success();
}

#[test]
fn a_merge_of_several_ids_links_them_all() {
    let env = site();
    let merge = message(
        "ADT^A40",
        "1",
        "",
        &["PID|||66^^^HARBOUR~4711^^^NORTH", "MRG|88^^^NORTH~99^^^HARBOUR"],
    );
    import(&env, &[merge]).success();
    let patients = env.impaxlink(&["patient", "list", "--json"]).stdout;
    for id in ["4711", "88", "66", "99"] {
        assert!(patients.contains(id), "{patients}");
    }
    let reviews = env.impaxlink(&["study", "review", "--json"]).json();
    assert_eq!(reviews["items"][0]["study_instance_uid"], study(3));
}

#[test]
fn with_messages_that_are_ignored_nothing_is_done_and_nobody_has_to_look() {
    let env = site();
    let admission = message("ADT^A01", "1", "", &[&pid("4711")]);
    import(&env, &[admission, message("SIU^S12", "2", "", &[])]).success();
    let done = listed(&env, "done");
    let is_told = |message: &Value| message["reason"].as_str().unwrap().contains("hl7.ignore");
    assert_eq!(done.len(), 2);
    assert!(done.iter().all(is_told), "{done:?}");
    assert_eq!(value(&env, 1, "patient_name"), Value::Null);
    env.impaxlink(&["config", "set", "hl7.ignore", "SIU,ORU^R01"])
        .success();
    import(&env, &[message("ADT^A01", "3", "", &[&pid("4711")])]).exits(1);
    import(&env, &[report("4", 1, "F")]).success();
    assert_eq!(status(&env, 1), Value::Null);
    let wrong = env.impaxlink(&["config", "set", "hl7.ignore", "ADT-A01"]);
    assert_eq!(wrong.status, Some(2), "{wrong:#?}");
}

#[test]
fn names_are_read_in_their_character_set() {
    let env = site();
    let with = |charset: &str, name: &[u8], control_id: &str| {
        let mut bytes = message("ADT^A08", control_id, charset, &["PID|||4711^^^NORTH||NAME"]).into_bytes();
        let place = bytes.windows(4).rposition(|found| found == b"NAME").unwrap();
        bytes.splice(place..place + 4, name.iter().copied());
        let path = env.path().join("message.hl7");
        fs::write(&path, bytes).unwrap();
        env.impaxlink(&["hl7", "import", path.to_str().unwrap()])
            .success();
        value(&env, 1, "patient_name").as_str().unwrap().to_owned()
    };
    assert_eq!(with("8859/1", b"M\xfcLLER^J\xd6RG", "1"), "MüLLER^JÖRG");
    assert_eq!(with("UNICODE UTF-8", "ŁUCZAK^Øy".as_bytes(), "2"), "ŁUCZAK^Øy");
    assert_eq!(with("", "SØREN".as_bytes(), "3"), "SØREN");
    assert_eq!(with("8859/1", b"M\\XFC\\LLER^A\\T\\B", "4"), "MüLLER^A&B");
    // A name that can't be read overwrites none.
    let mut wrong = message("ADT^A08", "5", "UNICODE UTF-8", &["PID|||4711^^^NORTH||MILLER"]).into_bytes();
    let place = wrong.windows(6).rposition(|found| found == b"MILLER").unwrap();
    wrong[place + 1] = b'\xfc';
    let path = env.path().join("wrong.hl7");
    fs::write(&path, wrong).unwrap();
    env.impaxlink(&["hl7", "import", path.to_str().unwrap()]).exits(1);
    assert_eq!(value(&env, 1, "patient_name"), "MüLLER^A&B");
}

#[test]
fn a_file_may_be_framed_and_hold_several() {
    let env = site();
    let framed: Vec<String> = [report("1", 1, "F"), report("2", 2, "F")]
        .iter()
        .map(|message| format!("\x0b{message}\x1c\r"))
        .collect();
    let path = env.path().join("framed.hl7");
    fs::write(&path, framed.concat()).unwrap();
    let run = env.impaxlink(&["hl7", "import", path.to_str().unwrap()]);
    let table = run.success();
    assert!(table.contains("ORU^R01") && table.contains(&study(2)), "{table}");
    assert!(!table.contains("DOE"), "{table}");
    env.impaxlink(&["hl7", "import", "/no/such/file"]).exits(1);
    env.impaxlink(&["hl7", "import", env.path().to_str().unwrap()])
        .exits(1);
    env.impaxlink_with_stdin(&["hl7", "import", "-"], "").exits(1);
}

#[test]
fn of_a_file_that_cannot_be_taken_whole_nothing_is_taken() {
    let env = site();
    let path = env.path().join("odd");
    let run = |bytes: &[u8], why: &str| {
        fs::write(&path, bytes).unwrap();
        let run = env.impaxlink(&["hl7", "import", path.to_str().unwrap()]);
        run.exits(1);
        assert!(run.stderr.contains(why), "{run:#?}");
    };
    let [whole, cut] = [report("1", 1, "F"), report("2", 2, "F")];
    // Nobody sends again what a file has.
    let bytes = format!("\x0b{whole}\x1c\r\x0b{cut}");
    run(bytes.as_bytes(), "the frame of message 2 has no end");
    run(b"DICM\x0b1\x1c\x0b2\x1c\n", "there is no message in it");
    let huge = fs::File::create(&path).unwrap();
    huge.set_len(300 << 20).unwrap();
    let run = env.impaxlink(&["hl7", "import", path.to_str().unwrap()]);
    run.exits(1);
    assert!(run.stderr.contains("larger than 256 MiB"), "{run:#?}");
    for state in ["done", "waiting", "failed"] {
        assert!(listed(&env, state).is_empty(), "{state}");
    }
}

#[test]
fn studies_are_found_at_archives_that_are_not_ours() {
    let federation = Federation::new(11, 8);
    let studies = &federation.site("SITEA").studies;
    let pacs = Dcmqrscp::start("SITEA", studies);
    let orthanc = Orthanc::start("SITEB", &studies[..4]);
    let env = Env::new();
    env.impaxlink(&["config", "set", "issuer", "NORTH"]).success();
    service::save(&env, |configuration| {
        configuration.stations = vec![
            archive("PACS", "SITEA", pacs.port),
            archive("OTHER", "SITEB", orthanc.port),
        ];
    });
    let study = &studies[3];
    let of_patient: Vec<&Study> = studies
        .iter()
        .filter(|other| other.patient.id == study.patient.id)
        .collect();
    let reported = order("1", &study.patient.id, &study.accession_number, "F");
    let named = format!("PID|||{}^^^NORTH||ROE^JANE", study.patient.id);
    let run = import(&env, &[reported, message("ADT^A08", "2", "", &[&named])]);
    run.success();
    let items = run.json()["items"].clone();
    assert_eq!(items[0]["did"][0]["study_instance_uid"], study.uid);
    assert_eq!(items[1]["did"].as_array().unwrap().len(), of_patient.len());
    let shown = env
        .impaxlink(&["query", "--study-uid", &study.uid, "--json"])
        .json();
    assert_eq!(shown["items"][0]["interpretation_status"], "APPROVED");
    assert_eq!(shown["items"][0]["patient_name"], "ROE^JANE");
}

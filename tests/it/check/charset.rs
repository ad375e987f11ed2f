//! What `check` says of the character set in which a station takes keys.

use super::{Review, change, cluster, door};
use crate::support::fake_peer::FakePeer;
use crate::support::fake_peer::script::{Acceptance, Step};
use crate::support::orthanc::Orthanc;
use crate::support::service::Service;

fn north(port: u16) -> Service {
    let north = cluster("NORTH");
    change(&north, |configuration| {
        configuration.stations.push(door("SITEB", port))
    });
    north
}

fn told(review: &Review) -> (String, String, String) {
    let items = review.document["items"].as_array().unwrap().iter();
    let mut of_set = items.filter(|item| item["check"] == "character_set");
    let item = of_set.next().unwrap_or_else(|| panic!("{:#}", review.document));
    assert_eq!(item["subject"], "SITEB");
    ["outcome", "detail", "hint"]
        .map(|field| item[field].as_str().unwrap_or_default().to_owned())
        .into()
}

/// Case: check and the character set of a station
#[test]
fn what_an_archive_takes_is_unknown_until_a_query_shows_it() {
    let mut study = crate::support::cluster::chest_ct("4711", 2020, 1);
    study.patient.name = "Müller^Jürgen";
    let siteb = Orthanc::start("SITEB", [&study]);
    let north = north(siteb.port);
    let (outcome, detail, hint) = told(&Review::of(&north.env, &["SITEB"]));
    assert_eq!(outcome, "unknown");
    assert!(detail.contains("accepts keys in ISO_IR 192"), "{detail}");
    assert!(
        hint.contains("impaxlink station set SITEB --charset SET"),
        "{hint}"
    );
    north
        .env
        .impaxlink(&["query", "--patient-name", "Müller*"])
        .success();
    let (outcome, detail, _) = told(&Review::of(&north.env, &["SITEB"]));
    assert_eq!(
        (outcome.as_str(), detail.as_str()),
        ("pass", "queries have matched there in ISO_IR 192")
    );
    change(&north, |configuration| {
        configuration.stations[1].charset = Some("ISO_IR 100".parse().unwrap());
    });
    let (outcome, detail, _) = told(&Review::of(&north.env, &["SITEB"]));
    assert_eq!(
        (outcome.as_str(), detail.as_str()),
        ("pass", "ISO_IR 100, as set (--charset)")
    );
}

/// Case: check and the character set of a station
#[test]
fn a_refusal_of_utf_8_is_told_with_what_to_set() {
    let refusing = |second: u16| {
        let accept = Acceptance {
            abstract_syntaxes: Some(vec!["1.2.840.10008.1.1", "1.2.840.10008.5.1.4.1.2.2.1"]),
            ..Acceptance::default()
        };
        let statuses = [0, 0, 0xA900, second];
        let answers = statuses.map(|status| [Step::AwaitRequest, Step::End(status, "")]);
        let mut script = vec![Step::Accept(accept)];
        script.extend(answers.into_iter().flatten());
        FakePeer::start(script)
    };
    let peer = refusing(0);
    let (outcome, detail, hint) = told(&Review::of(&north(peer.port).env, &["SITEB"]));
    assert_eq!(outcome, "warn", "{detail}");
    assert_eq!(
        detail,
        "it refuses keys in ISO_IR 192, and accepts them in ISO_IR 100"
    );
    assert_eq!(hint, "impaxlink station set SITEB --charset 'ISO_IR 100'");
    let peer = refusing(0xA900);
    let (outcome, detail, hint) = told(&Review::of(&north(peer.port).env, &["SITEB"]));
    assert_eq!(outcome, "warn", "{detail}");
    assert!(detail.contains("ISO_IR 192 and in ISO_IR 100"), "{detail}");
    assert!(hint.contains("--charset SET"), "{hint}");
}

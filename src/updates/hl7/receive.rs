//! A message as it is taken in: read, kept, and answered once it is kept.
//!
//! Invariants: nothing is answered before the commit; what can't be kept has no answer, and comes again. What is refused
//! is kept too, for a person. What is kept beside the bytes holds no control characters.

use jiff::Timestamp;

use super::acknowledgement::{Verdict, acknowledgement};
use super::decode;
use super::intent::{Intent, StudyKey, intents};
use super::message::Message;
use super::mllp::TooLong;
use crate::model::StudyPatient;
use crate::model::hl7::Hl7Settings;
use crate::store::{Hl7Arrival, KeptHl7, SharedStore, StoreError};

/// The most characters of a name in a message that are kept beside it.
const LONGEST_NAME: usize = 200;

/// A message that was taken in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Taken {
    /// What is answered.
    pub answer: String,
    /// Where it is kept.
    pub kept: KeptHl7,
    /// Why it is refused, where it is.
    pub refused: Option<String>,
}

/// Keeps a message that came from `source`, and says what is answered.
pub async fn take(
    store: &SharedStore,
    settings: &Hl7Settings,
    body: Vec<u8>,
    source: &str,
) -> Result<Taken, StoreError> {
    let text = decode(&body);
    let message = Message::read(&text);
    let (intents, verdict) = match &message {
        Ok(message) => match intents(message, settings) {
            Ok(intents) => (intents, Verdict::Accepted),
            Err(verdict) => (Vec::new(), verdict),
        },
        Err(error) => (Vec::new(), Verdict::Error(error.to_string())),
    };
    let message = message.as_ref().ok();
    keep(store, settings, &body, source, message, intents, verdict).await
}

/// Keeps the header of a message that is too long, and says what is answered. Nothing is ever done with it.
pub async fn refuse_too_long(
    store: &SharedStore,
    settings: &Hl7Settings,
    header: &[u8],
    source: &str,
) -> Result<Taken, StoreError> {
    let text = decode(header);
    let message = Message::read(&text).ok();
    let verdict = Verdict::Error(format!("{TooLong}: only its header is kept"));
    keep(
        store,
        settings,
        header,
        source,
        message.as_ref(),
        Vec::new(),
        verdict,
    )
    .await
}

async fn keep(
    store: &SharedStore,
    settings: &Hl7Settings,
    body: &[u8],
    source: &str,
    message: Option<&Message<'_>>,
    intents: Vec<Intent>,
    verdict: Verdict,
) -> Result<Taken, StoreError> {
    let mut arrival = arrival(message, &verdict, source);
    arrival.subjects = subjects(&intents);
    arrival.body = body.to_vec();
    let keep_days = settings.keep_days;
    let kept = store
        .with(move |store| store.keep_hl7(&arrival, keep_days))
        .await?;
    // What was taken once is not refused when it comes again, whatever the settings are now.
    let verdict = if kept.was_accepted {
        Verdict::Accepted
    } else {
        verdict
    };
    Ok(Taken {
        answer: acknowledgement(message, &verdict, Timestamp::now()),
        refused: verdict.reason().map(clean),
        kept,
    })
}

/// What is kept beside the bytes.
fn arrival(message: Option<&Message<'_>>, verdict: &Verdict, source: &str) -> Hl7Arrival {
    let header = |field| message.map_or(String::new(), |message| message.header(field));
    let kind = message.map(Message::kind);
    Hl7Arrival {
        source: source.to_owned(),
        sender: clean(&format!("{}|{}", header(3), header(4))),
        control_id: clean(&header(10)),
        kind: kind.map_or(String::new(), |(kind, event)| clean(&format!("{kind}^{event}"))),
        answer: verdict.code(),
        refused: verdict.reason().map(clean),
        subjects: Vec::new(),
        body: Vec::new(),
    }
}

/// What a message is about that is kept; nothing where it can't be read.
pub fn subjects_of(body: &[u8], settings: &Hl7Settings) -> Vec<String> {
    let text = decode(body);
    let message = Message::read(&text);
    let intents = message.ok().and_then(|message| intents(&message, settings).ok());
    subjects(&intents.unwrap_or_default())
}

fn subjects(intents: &[Intent]) -> Vec<String> {
    let patient = |patient: &StudyPatient| {
        let issuer = patient.issuer.as_ref().map_or("", |issuer| issuer.as_str());
        format!("patient {}^^^{issuer}", patient.id)
    };
    let subjects = intents.iter().flat_map(|intent| match intent {
        Intent::Report { study, patients, .. } => match study {
            StudyKey::Uid(uid) => vec![format!("study {uid}")],
            // Others may have given the same number.
            StudyKey::Accession(number) => {
                let of = |of| format!("accession {number} of {}", patient(of));
                patients.iter().map(of).collect()
            }
        },
        Intent::Demographics { patients, .. } => patients.iter().map(patient).collect(),
        Intent::Merge { surviving, prior, .. } => surviving.iter().chain(prior).map(patient).collect(),
    });
    subjects.collect()
}

/// Without control characters, and not too long.
pub(super) fn clean(text: &str) -> String {
    text.chars()
        .filter(|c| !c.is_control())
        .take(LONGEST_NAME)
        .collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::model::Settings;

    const WHOLE: &[u8] = b"MSH|^~\\&|RIS|NORTH|||20240131||ORU^R01|7|P|2.3||||||8859/1\rPID|||4711^^^NORTH~88^^^HIS&1.2&ISO\
        ||D\xd6E^JANE||19700131|F\rORC|RE||A1||CM\rOBR|1||A1|||||||||||||||A1|||||||F\rOBX|1|HD|113014||1.2.3||||||F\r\
        MRG|88^^^NORTH\rZDS|1.2.840.1^RIS^Application^DICOM\r";

    fn read(bytes: &[u8]) {
        let settings = Settings::default().hl7();
        subjects_of(bytes, &settings);
        let text = decode(bytes);
        let message = Message::read(&text).ok();
        let verdict = Verdict::Error("no".to_owned());
        let answer = acknowledgement(message.as_ref(), &verdict, Timestamp::UNIX_EPOCH);
        assert!(Message::read(&answer).is_ok(), "{answer}");
    }

    proptest! {
        #[test]
        fn no_bytes_are_too_odd(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
            read(&bytes);
        }

        #[test]
        fn no_change_of_a_message_is_too_odd(
            kind in prop::sample::select(vec!["ORU^R01", "ADT^A08", "ADT^A40", "OMI^O23"]),
            changes in prop::collection::vec((0..WHOLE.len(), prop::sample::select(b"|^~\\&\r\"X\xfc\x0b\x1c0A".to_vec())), 0..12),
            cut in 0..WHOLE.len(),
        ) {
            let text = String::from_utf8_lossy(WHOLE).into_owned();
            assert!(text.contains("ORU^R01"));
            let mut bytes = WHOLE.to_vec();
            if let Some(place) = bytes.windows(7).position(|found| found == b"ORU^R01") {
                bytes.splice(place..place + 7, kind.bytes());
            }
            for (place, byte) in changes {
                bytes[place] = byte;
            }
            read(&bytes);
            bytes.truncate(cut);
            read(&bytes);
        }
    }
}

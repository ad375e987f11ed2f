//! The answer to a message.
//!
//! Invariant: it goes back to who sent, under the control ID of the message, with separators of our own; what is copied
//! from the message keeps its parts, so that its sender knows it again. In the enhanced mode (MSH-15, MSH-16) the same answer is given: that we have stored it.

use jiff::Timestamp;

use super::message::{Message, push_escaped};
use crate::model::hl7::AcknowledgmentCode;

/// The most characters of a field that are answered.
const LONGEST: usize = 199;

/// What is answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It is stored: AA.
    Accepted,
    /// It can't be understood: AE, with the reason.
    Error(String),
    /// It is none that is taken here: AR, with the reason.
    Rejected(String),
}

impl Verdict {
    /// Its code.
    pub fn code(&self) -> AcknowledgmentCode {
        match self {
            Verdict::Accepted => AcknowledgmentCode::Accept,
            Verdict::Error(_) => AcknowledgmentCode::Error,
            Verdict::Rejected(_) => AcknowledgmentCode::Reject,
        }
    }

    /// The reason, where it is refused.
    pub fn reason(&self) -> Option<&str> {
        match self {
            Verdict::Accepted => None,
            Verdict::Error(reason) | Verdict::Rejected(reason) => Some(reason),
        }
    }
}

/// The answer to `message`; of what is none, an answer without address.
pub fn acknowledgement(message: Option<&Message<'_>>, verdict: &Verdict, now: Timestamp) -> String {
    let header = |field| {
        let header = message.and_then(|message| message.segment("MSH"));
        header.map_or(String::new(), |header| header.field(field).copied(LONGEST))
    };
    let event = message.map_or(String::new(), |message| escaped(&message.kind().1));
    let code = verdict.code().as_str();
    let kind = match event.as_str() {
        "" => "ACK".to_owned(),
        event => format!("ACK^{event}"),
    };
    let or = |text: String, other: &str| if text.is_empty() { other.to_owned() } else { text };
    let reason = escaped(verdict.reason().unwrap_or_default());
    let mut answer = format!(
        "MSH|^~\\&|{}|{}|{}|{}|{}||{kind}|{}|{}|{}||||||UNICODE UTF-8\rMSA|{code}|{}|{reason}\r",
        header(5),
        header(6),
        header(3),
        header(4),
        now.strftime("%Y%m%d%H%M%S+0000"),
        now.as_microsecond(),
        or(header(11), "P"),
        or(header(12), "2.3.1"),
        header(10),
    );
    if verdict.reason().is_some() {
        answer.push_str(&format!("ERR|||207|E||||{reason}\r"));
    }
    answer
}

fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars().take(LONGEST) {
        push_escaped(&mut escaped, c);
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_goes_back_to_who_sent() {
        let message = Message::read("MSH$%*/@$RIS$A|B$LINK$HOME$2024$$ADT%A08$77$P$2.3\r").unwrap();
        let answer = acknowledgement(
            Some(&message),
            &Verdict::Error("no | there".to_owned()),
            Timestamp::UNIX_EPOCH,
        );
        assert_eq!(
            answer,
            "MSH|^~\\&|LINK|HOME|RIS|A\\F\\B|19700101000000+0000||ACK^A08|0|P|2.3||||||UNICODE UTF-8\r\
             MSA|AE|77|no \\F\\ there\rERR|||207|E||||no \\F\\ there\r"
        );
    }

    #[test]
    fn its_sender_knows_its_own_fields_again() {
        let text = "MSH|^~\\&|RIS^1.2.3^ISO|A\\T\\B|LINK|HOME|2024||ADT^A08^ADT_A01|7^1|P^T|2.5^FRA^2.5\r";
        let other = "MSH$%*/@$RIS%1.2.3%ISO$A/T/B$LINK$HOME$2024$$ADT%A08$7%1$P%T$2.5%FRA%2.5\r";
        for text in [text, other] {
            let message = Message::read(text).unwrap();
            let answer = acknowledgement(Some(&message), &Verdict::Accepted, Timestamp::UNIX_EPOCH);
            assert_eq!(
                answer,
                "MSH|^~\\&|LINK|HOME|RIS^1.2.3^ISO|A\\T\\B|19700101000000+0000||ACK^A08|0|P^T|2.5^FRA^2.5||||||UNICODE UTF-8\r\
                 MSA|AA|7^1|\r"
            );
        }
    }
}

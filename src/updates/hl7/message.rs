//! A message of HL7 v2 as segments, fields, repetitions and components, with its escapes undone.
//!
//! Invariants: any text is read without panic and without memory of its own for its parts: they are split off where they
//! are asked for. A field that is not there is an empty one. Numbers are HL7's, from 1.
//!
//! Ours rather than hl7-parser 0.3, which drops without a word all that follows a segment it can't read, and whose
//! decoding of escapes panics on text that is not ASCII.

/// The separators that MSH names.
#[derive(Debug, Clone, Copy)]
struct Separators {
    field: char,
    component: char,
    repetition: char,
    escape: Option<char>,
    subcomponent: Option<char>,
}

/// Why a text is no message.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoMessage {
    /// It does not begin as one.
    #[error("it does not begin with MSH and its separators")]
    NoHeader,
    /// A line of it has no segment's name.
    #[error("line {0} is no segment")]
    NoSegment(usize),
}

/// A message.
#[derive(Debug, Clone)]
pub struct Message<'t> {
    text: &'t str,
    separators: Separators,
}

/// A segment of a message.
#[derive(Debug, Clone, Copy)]
pub struct Segment<'t> {
    line: &'t str,
    separators: Separators,
}

/// A field, a repetition of it, a component or a part of that.
#[derive(Debug, Clone, Copy)]
pub struct Part<'t> {
    raw: &'t str,
    separators: Separators,
}

impl<'t> Message<'t> {
    /// Reads a text whose lines end with CR, LF or both.
    pub fn read(text: &'t str) -> Result<Self, NoMessage> {
        let text = text.trim_start_matches(['\u{feff}', '\r', '\n']);
        let mut header = text.strip_prefix("MSH").ok_or(NoMessage::NoHeader)?.chars();
        let mut next = || header.next().filter(|c| c.is_ascii_graphic());
        let (Some(field), Some(component), Some(repetition)) = (next(), next(), next()) else {
            return Err(NoMessage::NoHeader);
        };
        let mut optional = || next().filter(|c| *c != field);
        let separators = Separators {
            field,
            component,
            repetition,
            escape: optional(),
            subcomponent: optional(),
        };
        let all = [
            Some(component),
            Some(repetition),
            separators.escape,
            separators.subcomponent,
        ];
        let are_distinct = all.iter().enumerate().all(|(place, one)| {
            *one != Some(field) && (one.is_none() || !all.iter().skip(place + 1).any(|other| other == one))
        });
        if !are_distinct
            || all
                .iter()
                .flatten()
                .chain([&field])
                .any(char::is_ascii_alphanumeric)
        {
            return Err(NoMessage::NoHeader);
        }
        let message = Message { text, separators };
        for (number, line) in message.lines().enumerate() {
            let name = line.split(field).next().unwrap_or_default();
            if name.len() != 3 || !name.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
                return Err(NoMessage::NoSegment(number + 1));
            }
        }
        Ok(message)
    }

    fn lines(&self) -> impl Iterator<Item = &'t str> + use<'t> {
        let lines = self.text.split(['\r', '\n']);
        lines.filter(|line| !line.trim().is_empty())
    }

    /// All segments, in order.
    pub fn segments(&self) -> impl Iterator<Item = Segment<'t>> + use<'t> {
        let separators = self.separators;
        self.lines().map(move |line| Segment { line, separators })
    }

    /// The first segment of that name.
    pub fn segment(&self, name: &str) -> Option<Segment<'t>> {
        self.segments().find(|segment| segment.name() == name)
    }

    /// A field of MSH as text.
    pub fn header(&self, field: usize) -> String {
        self.segment("MSH")
            .map_or(String::new(), |header| header.field(field).text())
    }

    /// The type and the event: `ADT`, `A08`.
    pub fn kind(&self) -> (String, String) {
        let of = |component| {
            let header = self.segment("MSH");
            header.map_or(String::new(), |header| {
                header.field(9).component(component).text()
            })
        };
        (of(1), of(2))
    }
}

impl<'t> Segment<'t> {
    /// Its name.
    pub fn name(&self) -> &'t str {
        self.line.split(self.separators.field).next().unwrap_or_default()
    }

    /// The field of that number.
    pub fn field(&self, number: usize) -> Part<'t> {
        // MSH-1 is the separator itself.
        let place = number - usize::from(self.name() == "MSH" && number > 0);
        self.part(self.line.split(self.separators.field).nth(place))
    }

    fn part(&self, raw: Option<&'t str>) -> Part<'t> {
        Part {
            raw: raw.unwrap_or_default(),
            separators: self.separators,
        }
    }
}

impl<'t> Part<'t> {
    /// The repetitions of a field that are not empty.
    pub fn repetitions(self) -> impl Iterator<Item = Part<'t>> {
        let all = self.raw.split(self.separators.repetition);
        all.filter(|raw| !raw.is_empty())
            .map(move |raw| Part { raw, ..self })
    }

    /// A component of a field's first repetition, or of a repetition.
    pub fn component(self, number: usize) -> Part<'t> {
        let first = self
            .raw
            .split(self.separators.repetition)
            .next()
            .unwrap_or_default();
        let found = first
            .split(self.separators.component)
            .nth(number.saturating_sub(1));
        Part {
            raw: found.unwrap_or_default(),
            ..self
        }
    }

    /// A part of a component.
    pub fn subcomponent(self, number: usize) -> Part<'t> {
        let found = match self.separators.subcomponent {
            Some(separator) => self.raw.split(separator).nth(number.saturating_sub(1)),
            None => Some(self.raw).filter(|_| number == 1),
        };
        Part {
            raw: found.unwrap_or_default(),
            ..self
        }
    }

    /// Whether it says that a value is to be cleared: `""`.
    pub fn is_null(self) -> bool {
        self.raw == "\"\""
    }

    /// The field with its parts and escapes as they came, between the usual separators; of `most` characters at most.
    pub fn copied(self, most: usize) -> String {
        let own = self.separators;
        let usual = [
            (Some(own.component), '^'),
            (Some(own.repetition), '~'),
            (own.subcomponent, '&'),
            (own.escape, '\\'),
        ];
        let mut copied = String::new();
        for c in self.raw.chars().take(most) {
            match usual.iter().find(|(separator, _)| *separator == Some(c)) {
                Some((_, usual)) => copied.push(*usual),
                None => push_escaped(&mut copied, c),
            }
        }
        copied.trim().to_owned()
    }

    /// Its text, trimmed, with its escapes undone; empty where it is `""`.
    pub fn text(self) -> String {
        match self.is_null() {
            true => String::new(),
            false => self.separators.unescaped(self.raw).trim().to_owned(),
        }
    }
}

/// Adds a character of a text as it stands in a field between the usual separators; control characters are left out.
pub fn push_escaped(to: &mut String, c: char) {
    match c {
        '|' => to.push_str("\\F\\"),
        '^' => to.push_str("\\S\\"),
        '~' => to.push_str("\\R\\"),
        '&' => to.push_str("\\T\\"),
        '\\' => to.push_str("\\E\\"),
        c if c.is_control() => {}
        c => to.push(c),
    }
}

impl Separators {
    /// What is no escape stays as it is; highlighting and other sets' escapes are left out.
    fn unescaped(&self, raw: &str) -> String {
        let Some(escape) = self.escape else {
            return raw.to_owned();
        };
        let mut text = String::with_capacity(raw.len());
        let mut rest = raw;
        while let Some((before, after)) = rest.split_once(escape) {
            text.push_str(before);
            let Some((sequence, behind)) = after.split_once(escape) else {
                text.push(escape);
                rest = after;
                break;
            };
            rest = behind;
            match sequence {
                "F" => text.push(self.field),
                "S" => text.push(self.component),
                "R" => text.push(self.repetition),
                "E" => text.push(escape),
                "T" => text.extend(self.subcomponent),
                ".br" => text.push('\n'),
                _ => match sequence.strip_prefix('X').and_then(hexadecimal) {
                    Some(bytes) => text.push_str(&super::charset::decode(&bytes)),
                    None if sequence.len() > 8 || sequence.contains(' ') => {
                        // A lone escape character in a text.
                        text.push(escape);
                        text.push_str(sequence);
                        text.push(escape);
                    }
                    None => {}
                },
            }
        }
        text.push_str(rest);
        text
    }
}

fn hexadecimal(digits: &str) -> Option<Vec<u8>> {
    let digits = digits.as_bytes();
    let value = |digit: &u8| char::from(*digit).to_digit(16);
    let pairs = digits.chunks_exact(2);
    if digits.is_empty() || !pairs.remainder().is_empty() {
        return None;
    }
    pairs
        .map(|pair| match pair {
            [high, low] => u8::try_from(value(high)? << 4 | value(low)?).ok(),
            _ => None,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn parts_are_found_by_the_numbers_of_the_standard() {
        let text = "MSH|^~\\&|RIS|NORTH|||20240131||ORU^R01|7|P|2.3\r\nPID|||4711^^^HIS&1.2&ISO~88^^^X||DOE\\S\\X^JANE\n\
                    OBX|1|TX|A^B||\"\"|||\\X4D\\\\T\\M\\F\\\\R\\\\E\\ü\\H\\";
        let message = Message::read(text).unwrap();
        assert_eq!(message.header(10), "7");
        assert_eq!(message.kind(), ("ORU".to_owned(), "R01".to_owned()));
        let patient = message.segment("PID").unwrap();
        let ids: Vec<String> = patient
            .field(3)
            .repetitions()
            .map(|id| id.component(1).text())
            .collect();
        assert_eq!(ids, ["4711", "88"]);
        assert_eq!(patient.field(3).component(4).subcomponent(2).text(), "1.2");
        assert_eq!(patient.field(5).component(1).text(), "DOE^X");
        assert_eq!(patient.field(99).text(), "");
        let result = message.segment("OBX").unwrap();
        assert!(result.field(5).is_null());
        assert_eq!(result.field(8).text(), "M&M|~\\ü");
    }

    #[test]
    fn other_separators_are_taken_as_named() {
        let message = Message::read("MSH$%*/@$RIS\rPID$$$1%%%A@2*3").unwrap();
        let ids = message.segment("PID").unwrap().field(3);
        assert_eq!(ids.repetitions().count(), 2);
        assert_eq!(ids.component(4).subcomponent(1).text(), "A");
    }

    #[test]
    fn what_is_no_message_says_why() {
        for text in ["", "MSH", "MSH|", "PID|1", "MSH|||||", "MSH^^~\\&", "MSH|ABCD|"] {
            assert_eq!(Message::read(text).err(), Some(NoMessage::NoHeader), "{text}");
        }
        let cut = Message::read("MSH|^~\\&|A\rPID|1\rbroken line\r");
        assert_eq!(cut.err(), Some(NoMessage::NoSegment(3)));
    }

    proptest! {
        #[test]
        fn no_text_is_too_odd(head in "(MSH.{0,8})?", rest in "[A-Z0-9|^~\\\\&\r\n\"üX.]{0,200}") {
            let text = format!("{head}{rest}");
            if let Ok(message) = Message::read(&text) {
                for segment in message.segments() {
                    for number in 0..8 {
                        let field = segment.field(number);
                        field.text();
                        for part in field.repetitions() {
                            part.component(number).subcomponent(number).text();
                        }
                    }
                }
            }
        }
    }
}

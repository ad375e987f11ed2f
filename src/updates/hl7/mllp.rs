//! Messages in a stream: the frames of the Minimal Lower Layer Protocol (HL7 v2.3.1, appendix C).
//!
//! Invariants: no more is held than the longest message. Of one that is longer only the header is held, and the rest is
//! passed over to its end. What stands between frames is passed over; a frame that begins before the last one has ended
//! means that the last one was cut off: its sender has no answer and sends it again.

const BEGIN: u8 = 0x0b;
const END: u8 = 0x1c;
/// A frame with a message.
const BEGUN: [u8; 4] = *b"\x0bMSH";

/// The longest message that is taken, in bytes.
pub const LONGEST: usize = 4 * 1024 * 1024;
/// How long a message may be whose rest is passed over, in bytes. One without end is longer.
pub const LONGEST_PASSED_OVER: usize = 64 * 1024 * 1024;
/// The longest header that is held of a message that is too long, in bytes.
const LONGEST_HEADER: usize = 64 * 1024;

/// The segments that a file may have around its messages (HL7 v2.3.1, 2.15.3).
const BATCH: [&[u8]; 4] = [b"FHS", b"BHS", b"BTS", b"FTS"];

/// A message that is longer than any that is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a message is longer than {LONGEST} bytes")]
pub struct TooLong;

/// Why no message of a file is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum UnusableFile {
    /// One is too long.
    #[error(transparent)]
    TooLong(#[from] TooLong),
    /// A frame was cut off: nobody sends it again.
    #[error("the frame of message {0} has no end")]
    CutOff(usize),
    /// There is none.
    #[error("there is no message in it: none begins with MSH")]
    Empty,
}

/// A frame that has ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Frame {
    /// A message.
    Whole(Vec<u8>),
    /// The header of a message that is longer than any that is taken: its first line.
    TooLong(Vec<u8>),
}

/// The frames of a stream.
#[derive(Debug, Default)]
pub struct Frames {
    held: Vec<u8>,
    is_within: bool,
    /// How many bytes of a message that is too long have been passed over.
    passed_over: usize,
    /// The last of them, in which the next frame may begin.
    tail: [u8; BEGUN.len()],
}

impl Frames {
    /// Whether a message has begun and not ended.
    pub fn is_within(&self) -> bool {
        self.is_within
    }

    /// Whether the message that has begun is longer than any that is taken.
    pub fn is_too_long(&self) -> bool {
        self.passed_over > 0
    }

    /// Takes bytes as they come, and gives the frames that they end. Fails where a message has no end.
    pub fn push(&mut self, bytes: &[u8]) -> Result<Vec<Frame>, TooLong> {
        let mut ended = Vec::new();
        for byte in bytes {
            match (*byte, self.is_within) {
                (BEGIN, false) => self.is_within = true,
                (END, true) => ended.push(self.end()),
                (byte, true) if self.is_too_long() => self.pass_over(byte)?,
                (byte, true) if self.held.len() == LONGEST => {
                    self.held = header_of(after_last_begin(&self.held)).to_vec();
                    self.pass_over(byte)?;
                }
                (byte, true) => self.held.push(byte),
                (_, false) => {}
            }
        }
        Ok(ended)
    }

    fn end(&mut self) -> Frame {
        let Frames {
            held, passed_over, ..
        } = std::mem::take(self);
        match passed_over {
            0 => Frame::Whole(after_last_begin(&held).to_vec()),
            _ => Frame::TooLong(held),
        }
    }

    fn pass_over(&mut self, byte: u8) -> Result<(), TooLong> {
        self.passed_over += 1;
        self.tail.rotate_left(1);
        if let Some(last) = self.tail.last_mut() {
            *last = byte;
        }
        if self.tail == BEGUN {
            *self = Frames {
                held: BEGUN.get(1..).unwrap_or_default().to_vec(),
                is_within: true,
                ..Frames::default()
            };
        }
        match LONGEST + self.passed_over > LONGEST_PASSED_OVER {
            true => Err(TooLong),
            false => Ok(()),
        }
    }
}

/// The first line of a message, where it is no longer than a header may be.
fn header_of(message: &[u8]) -> &[u8] {
    let start = message.get(..LONGEST_HEADER).unwrap_or(message);
    let end = start.iter().position(|byte| matches!(byte, b'\r' | b'\n'));
    end.and_then(|end| start.get(..end)).unwrap_or_default()
}

/// What a frame holds. Only that which begins a message begins another frame: texts that a word processor gave have that
/// byte too.
fn after_last_begin(held: &[u8]) -> &[u8] {
    let place = held.windows(BEGUN.len()).rposition(|bytes| bytes == BEGUN);
    place.and_then(|place| held.get(place + 1..)).unwrap_or(held)
}

/// A message in its frame.
pub fn framed(message: &str) -> Vec<u8> {
    [&[BEGIN], message.as_bytes(), &[END, b'\r']].concat()
}

/// The messages of a file: framed, or each beginning with a line of MSH.
pub fn of_file(bytes: &[u8]) -> Result<Vec<Vec<u8>>, UnusableFile> {
    let header = bytes.windows(3).position(|bytes| bytes == b"MSH");
    let before = header
        .and_then(|place| bytes.get(..place))
        .ok_or(UnusableFile::Empty)?;
    if before.contains(&BEGIN) {
        return framed_in(bytes);
    }
    let mut messages: Vec<Vec<u8>> = Vec::new();
    let lines = bytes.split_inclusive(|byte| matches!(byte, b'\r' | b'\n'));
    let is_of_batch = |line: &&[u8]| BATCH.iter().any(|name| line.starts_with(name));
    for line in lines.filter(|line| !is_of_batch(line)) {
        match messages.last_mut() {
            Some(message) if !line.starts_with(b"MSH") => message.extend_from_slice(line),
            _ => messages.push(line.to_vec()),
        }
        if messages.last().is_some_and(|message| message.len() > LONGEST) {
            return Err(TooLong.into());
        }
    }
    messages.retain(|message| !message.trim_ascii().is_empty());
    Ok(messages)
}

fn framed_in(bytes: &[u8]) -> Result<Vec<Vec<u8>>, UnusableFile> {
    let mut messages = Vec::new();
    let mut pieces = bytes.split(|byte| *byte == END).peekable();
    while let Some(piece) = pieces.next() {
        let Some(begin) = piece.iter().position(|byte| *byte == BEGIN) else {
            continue;
        };
        let message = piece.get(begin + 1..).unwrap_or_default();
        if pieces.peek().is_none() || after_last_begin(message).len() < message.len() {
            return Err(UnusableFile::CutOff(messages.len() + 1));
        }
        if message.len() > LONGEST {
            return Err(TooLong.into());
        }
        messages.push(message.to_vec());
    }
    Ok(messages)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn frames_are_found_however_the_bytes_come(
            messages in prop::collection::vec("[A-Z|\r]{0,30}", 0..6),
            garbage in "[a-z\r\n]{0,10}",
            piece in 1_usize..20,
        ) {
            let mut stream = Vec::new();
            for message in &messages {
                stream.extend_from_slice(garbage.as_bytes());
                stream.extend(framed(message));
            }
            let mut frames = Frames::default();
            let mut found = Vec::new();
            for piece in stream.chunks(piece) {
                found.extend(frames.push(piece).unwrap());
            }
            let wanted: Vec<Vec<u8>> = messages.iter().map(|message| message.clone().into_bytes()).collect();
            let wanted: Vec<Frame> = wanted.into_iter().map(Frame::Whole).collect();
            prop_assert_eq!(found, wanted);
        }

        #[test]
        fn no_bytes_are_too_odd(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            Frames::default().push(&bytes).unwrap();
            let _ = of_file(&bytes);
        }
    }

    #[test]
    fn of_a_message_that_is_too_long_the_header_is_held() {
        let mut frames = Frames::default();
        frames.push(b"\x0bMSH|1\rOBX|").unwrap();
        for _ in 0..10 {
            assert_eq!(frames.push(&vec![b'x'; LONGEST / 4]), Ok(vec![]));
        }
        assert!(frames.is_too_long() && frames.held.capacity() < 1024);
        let [next, other] = [b"MSH|2", b"MSH|3"];
        let found = frames.push(b"\x1c\r\x0bMSH|2\x1c\r\x0bMSH|3\x1c\r");
        let whole = |message: &[u8]| Frame::Whole(message.to_vec());
        let too_long = Frame::TooLong(b"MSH|1".to_vec());
        assert_eq!(found, Ok(vec![too_long, whole(next), whole(other)]));
        // It was cut off, and another begins.
        frames.push(b"\x0bMSH|1\rOBX|").unwrap();
        frames.push(&vec![b'x'; LONGEST]).unwrap();
        assert_eq!(frames.push(b"\x0bMSH|2\x1c\r"), Ok(vec![whole(next)]));
    }

    #[test]
    fn a_message_without_end_is_given_up() {
        let mut frames = Frames::default();
        frames.push(&[BEGIN]).unwrap();
        let chunk = vec![b'x'; LONGEST];
        for _ in 0..LONGEST_PASSED_OVER / LONGEST {
            frames.push(&chunk).unwrap();
        }
        assert_eq!(frames.push(b"x"), Err(TooLong));
    }

    #[test]
    fn a_file_has_messages_with_or_without_frames() {
        let plain = of_file(b"MSH|1\nPID|1\n\nMSH|2\n").unwrap();
        assert_eq!(plain.len(), 2);
        assert!(plain[0].starts_with(b"MSH|1\nPID|1"));
        let batch = of_file(b"FHS|^~\\&\rBHS|^~\\&\rMSH|1\rMSH|2\rBTS|2\rFTS|1\r").unwrap();
        assert_eq!(batch, [b"MSH|1\r", b"MSH|2\r"]);
        assert_eq!(of_file(b"\x0bMSH|1\x1c\r\x0bMSH|2\x1c\r").unwrap().len(), 2);
    }

    #[test]
    fn a_file_with_a_message_that_is_cut_off_is_not_taken_in_part() {
        for file in [
            &b"\x0bMSH|1\x1c\r\x0bMSH|2"[..],
            b"\x0bMSH|1\x1c\r\x0bMSH|2\x0bMSH|3\x1c\r",
        ] {
            assert_eq!(of_file(file), Err(UnusableFile::CutOff(2)));
        }
        for file in [&b""[..], b"\r\n", b"DICM\x0b\x1c\x0b\x1c", b"%PDF-1.4\n"] {
            assert_eq!(of_file(file), Err(UnusableFile::Empty));
        }
    }

    #[test]
    fn a_line_break_of_a_word_processor_begins_no_frame() {
        let message = b"MSH|1\rOBX|1|TX|||one\x0btwo\r";
        assert_eq!(of_file(message).unwrap(), [message]);
        let frame = [b"\x0b", &message[..], b"\x1c\r"].concat();
        assert_eq!(of_file(&frame).unwrap(), [message]);
        let whole = [Frame::Whole(message.to_vec())];
        assert_eq!(Frames::default().push(&frame).unwrap(), whole);
        let restarted = [b"\x0bMSH|cut off", &frame[..]].concat();
        assert_eq!(Frames::default().push(&restarted).unwrap(), whole);
    }
}

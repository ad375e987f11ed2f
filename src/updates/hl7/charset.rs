//! The text of a message, in the character set that its MSH-18 names.
//!
//! Invariant: any bytes become text: what names no known set is UTF-8 where it is valid, else Latin-1.

use encoding_rs::{Encoding, WINDOWS_1252};

/// The text of these bytes. The header is ASCII in every set that HL7 has.
pub fn decode(bytes: &[u8]) -> String {
    let header = bytes.split(|byte| matches!(byte, b'\r' | b'\n')).next();
    let header = header.unwrap_or_default();
    let separator = header.get(3).copied().unwrap_or(b'|');
    let named = header
        .split(|byte| *byte == separator)
        .nth(17)
        .unwrap_or_default();
    let repetition = header.get(5).copied().unwrap_or(b'~');
    let first = named.split(|byte| *byte == repetition).next().unwrap_or_default();
    match encoding(&String::from_utf8_lossy(first)) {
        Some(encoding) => encoding.decode_without_bom_handling(bytes).0.into_owned(),
        None => match std::str::from_utf8(bytes) {
            Ok(text) => text.to_owned(),
            Err(_) => WINDOWS_1252.decode_without_bom_handling(bytes).0.into_owned(),
        },
    }
}

/// HL7 table 0211; `None` where the name says nothing, or only ASCII.
fn encoding(name: &str) -> Option<&'static Encoding> {
    let name = name.trim().to_ascii_uppercase();
    let label = match name.as_str() {
        "UNICODE UTF-8" | "UNICODE" => "utf-8".to_owned(),
        "ISO IR14" | "ISO IR87" | "ISO IR159" => "iso-2022-jp".to_owned(),
        "GB 18030-2000" => "gb18030".to_owned(),
        "KS X 1001" => "euc-kr".to_owned(),
        "BIG-5" => "big5".to_owned(),
        other => match other.strip_prefix("8859/") {
            Some(part) => format!("iso-8859-{part}"),
            None => return None,
        },
    };
    Encoding::for_label(label.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_header_names_the_set() {
        let message = |set: &str, rest: &[u8]| {
            let mut bytes = format!("MSH|^~\\&|A|B|C|D|||ADT^A08|1|P|2.3||||||{set}\rPID|").into_bytes();
            bytes.extend_from_slice(rest);
            decode(&bytes)
        };
        for (set, bytes, text) in [
            ("8859/1", &b"M\xfcller"[..], "Müller"),
            ("8859/5", b"\xb8\xd2\xd0\xdd", "Иван"),
            ("UNICODE UTF-8", "Müller".as_bytes(), "Müller"),
            ("", "Müller".as_bytes(), "Müller"),
            ("", b"M\xfcller", "Müller"),
            ("ASCII", b"M\xfcller", "Müller"),
        ] {
            assert!(message(set, bytes).ends_with(text), "{set} {text}");
        }
    }
}

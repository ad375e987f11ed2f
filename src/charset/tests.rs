//! The examples of PS3.5 annexes H to K and of 6.1.2, to the byte, and what peers get wrong.

use std::borrow::Cow;

use dicom_core::VR;
use proptest::prelude::*;

use super::*;

fn by(charset: &str) -> Decoder {
    Decoder::for_answer(Some(charset.as_bytes()), None)
}

fn name(charset: &str, bytes: &[u8]) -> String {
    by(charset).decode(bytes, VR::PN).into_owned()
}

fn write(charset: &str, text: &str) -> Result<Vec<u8>, Unencodable> {
    Encoder::for_station(&charset.parse().unwrap()).encode(text)
}

/// Charset, text, bytes: read and written so.
const STANDARD: [(&str, &str, &[u8]); 16] = [
    // H.3.1, H.3.2
    (
        "\\ISO 2022 IR 87",
        "Yamada^Tarou=山田^太郎=やまだ^たろう",
        b"Yamada^Tarou=\x1b$B;3ED\x1b(B^\x1b$BB@O:\x1b(B=\x1b$B$d$^$@\x1b(B^\x1b$B$?$m$&\x1b(B",
    ),
    (
        "ISO 2022 IR 13\\ISO 2022 IR 87",
        "ﾔﾏﾀﾞ^ﾀﾛｳ=山田^太郎=やまだ^たろう",
        b"\xd4\xcf\xc0\xde^\xc0\xdb\xb3=\x1b$B;3ED\x1b(J^\x1b$BB@O:\x1b(J=\x1b$B$d$^$@\x1b(J^\x1b$B$?$m$&\x1b(J",
    ),
    // I.2
    (
        "\\ISO 2022 IR 149",
        "Hong^Gildong=洪^吉洞=홍^길동",
        b"Hong^Gildong=\x1b$)C\xfb\xf3^\x1b$)C\xd1\xce\xd4\xd7=\x1b$)C\xc8\xab^\x1b$)C\xb1\xe6\xb5\xbf",
    ),
    // J.1, J.3, K.2
    ("ISO_IR 192", "Wang^XiaoDong=王^小東=", "Wang^XiaoDong=王^小東=".as_bytes()),
    ("GB18030", "Wang^XiaoDong=王^小东=", b"Wang^XiaoDong=\xcd\xf5^\xd0\xa1\xb6\xab="),
    ("GBK", "Wang^XiaoDong=王^小东", b"Wang^XiaoDong=\xcd\xf5^\xd0\xa1\xb6\xab"),
    (
        "\\ISO 2022 IR 58",
        "Zhang^XiaoDong=张^小东=",
        b"Zhang^XiaoDong=\x1b$)A\xd5\xc5^\x1b$)A\xd0\xa1\xb6\xab=",
    ),
    ("ISO_IR 100", "Buc^Jérôme", b"Buc^J\xe9r\xf4me"),
    ("ISO_IR 101", "Wałęsa", b"Wa\xb3\xeasa"),
    ("ISO_IR 144", "Люкceмбypг", b"\xbb\xee\xdace\xdc\xd1yp\xd3"),
    ("ISO_IR 126", "Διονυσιος", b"\xc4\xe9\xef\xed\xf5\xf3\xe9\xef\xf2"),
    ("ISO_IR 127", "قباني^لنزار", b"\xe2\xc8\xc7\xe6\xea^\xe4\xe6\xd2\xc7\xd1"),
    ("ISO_IR 138", "שרון^דבורה", b"\xf9\xf8\xe5\xef^\xe3\xe1\xe5\xf8\xe4"),
    ("ISO_IR 148", "Çavuşoğlu", b"\xc7avu\xfeo\xf0lu"),
    ("ISO_IR 166", "ประเทศไทย", b"\xbb\xc3\xd0\xe0\xb7\xc8\xe4\xb7\xc2"),
    ("ISO_IR 203", "Œuvre^Šárka", b"\xbcuvre^\xa6\xe1rka"),
];

/// Case: answers in many character sets
#[test]
fn the_examples_of_the_standard_are_read() {
    for (charset, text, bytes) in STANDARD {
        assert_eq!(name(charset, bytes), text, "{charset}");
    }
}

#[test]
fn the_examples_of_the_standard_are_written() {
    for (charset, text, bytes) in STANDARD {
        assert_eq!(write(charset, text).unwrap(), bytes, "{charset}");
    }
}

/// Case: answers in many character sets
#[test]
fn several_sets_in_one_value() {
    let charset = "ISO 2022 IR 100\\ISO 2022 IR 144\\ISO 2022 IR 126";
    let text = "Jérôme^Иван^Διον";
    let bytes = b"J\xe9r\xf4me^\x1b-L\xb8\xd2\xd0\xdd\x1b-A^\x1b-F\xc4\xe9\xef\xed\x1b-A";
    assert_eq!(name(charset, bytes), text);
    assert_eq!(write(charset, text).unwrap(), bytes);
}

#[test]
fn supplementary_kanji() {
    let charset = "\\ISO 2022 IR 87\\ISO 2022 IR 159";
    let bytes = b"\x1b$B?9\x1b$(Dl?\x1b$B30\x1b(B";
    assert_eq!(name(charset, bytes), "森鷗外");
    assert_eq!(write(charset, "森鷗外").unwrap(), bytes);
}

#[test]
fn the_first_term_is_in_force_again_after_a_delimiter() {
    let decoder = by("ISO 2022 IR 100\\ISO 2022 IR 144");
    let caret = b"\x1b-L\xb8^\xe9";
    assert_eq!(decoder.decode(caret, VR::PN), "И^é");
    assert_eq!(decoder.decode(caret, VR::LO), "И^щ");
    let backslash = b"\x1b-L\xb8\\\xe9";
    assert_eq!(decoder.decode(backslash, VR::LO), "И\\é");
    assert_eq!(decoder.decode(backslash, VR::LT), "И\\щ");
    assert_eq!(decoder.decode(b"\x1b-L\xb8\r\n\xe9", VR::LT), "И é");
}

#[test]
fn a_delimiter_byte_within_a_two_byte_character_is_none() {
    // the second bytes are 5CH and 5EH
    assert_eq!(name("GB18030", b"\x81\x5c\x81\x5e^X"), "乗乛^X");
    assert_eq!(
        name("\\ISO 2022 IR 87", b"\x1b$B\x30\x5c\x30\x5e\x1b(B^X"),
        "移緯^X"
    );
}

/// Case: an answer without a character set
#[test]
fn an_answer_without_charset_is_read_by_the_stations() {
    let station = "ISO_IR 144".parse().unwrap();
    for declared in [None, Some(&b""[..]), Some(b"ISO_IR 6 "), Some(b"latin-1")] {
        let decoder = Decoder::for_answer(declared, Some(&station));
        assert_eq!(
            decoder.decode(b"\xb8\xd2\xd0\xdd", VR::PN),
            "Иван",
            "{declared:?}"
        );
        assert!(!decoder.is_assumed());
    }
    let own = Decoder::for_answer(Some(b"ISO_IR 192"), Some(&station));
    assert_eq!(own.decode("Иван".as_bytes(), VR::PN), "Иван");
}

/// Case: an answer without a character set
#[test]
fn latin_1_is_an_assumption_that_is_told() {
    let decoder = Decoder::for_answer(None, None);
    assert_eq!(decoder.decode(b"M\xfcller", VR::PN), "Müller");
    assert!(decoder.is_assumed());
    assert!(decoder.assumes(b"M\xfcller"));
    assert!(!decoder.assumes(b"Miller"));
    assert!(!by("ISO_IR 100").assumes(b"M\xfcller"));
}

#[test]
fn what_senders_get_wrong() {
    // spelling of the term
    assert_eq!(name("ISO-IR 192 ", "Ö".as_bytes()), "Ö");
    assert_eq!(name("iso_ir_144", b"\xb8"), "И");
    // escape sequences left out, or not repeated after a delimiter, or with a set of Windows
    assert_eq!(name("\\ISO 2022 IR 149", b"\xc8\xab^\xb1\xe6\xb5\xbf"), "홍^길동");
    assert_eq!(name("ISO 2022 IR 149", b"\x1b$)C\xc8\xab^\xb1\xe6"), "홍^길");
    assert_eq!(name("\\ISO 2022 IR 149", b"\x8cZ^X"), "똝^X");
    // escape sequences that were not declared
    assert_eq!(name("", b"\x1b$B;3ED\x1b(B^A"), "山田^A");
    // typographic marks of Windows in Latin-1
    assert_eq!(name("ISO_IR 100", b"5\x9610 mm"), "5–10 mm");
    // UTF-8 under another name is not guessed
    assert_eq!(name("ISO_IR 100", "é".as_bytes()), "Ã©");
}

#[test]
fn what_cannot_be_decoded_is_marked() {
    assert_eq!(name("ISO_IR 192", b"M\xfcller"), "M\u{FFFD}ller");
    assert_eq!(name("ISO 2022 IR 13", b"\xd4\xe0"), "ﾔ\u{FFFD}");
    assert_eq!(name("\\ISO 2022 IR 87", b"\x1b$B;"), "\u{FFFD}");
}

#[test]
fn nothing_reaches_the_terminal_that_it_would_obey() {
    assert_eq!(name("", b"A\x1b[31mB\x07 \x00"), "A31mB");
    assert_eq!(
        name("ISO_IR 192", "A\u{9b}2J\u{202e}B\u{2066}C\u{feff}".as_bytes()),
        "A2JBC"
    );
    assert_eq!(by("").decode(b" one\r\n\ttwo \r\n", VR::LT), " one two");
    assert_eq!(by("").decode(b" one ", VR::LO), "one");
}

#[test]
fn plain_text_is_borrowed() {
    assert!(matches!(
        by("").decode(b"1.2.3\0", VR::UI),
        Cow::Borrowed("1.2.3")
    ));
    for charset in ["", "ISO_IR 192", "ISO 2022 IR 13\\ISO 2022 IR 87", "GB18030"] {
        assert!(matches!(
            by(charset).decode(b"DOE^JOHN ", VR::PN),
            Cow::Borrowed("DOE^JOHN")
        ));
    }
}

#[test]
fn what_a_charset_cannot_write_is_said() {
    for (charset, text, character) in [
        ("ISO_IR 100", "Иван", 'И'),
        ("ISO_IR 100", "a–b", '–'),
        ("ISO_IR 6", "é", 'é'),
        ("ISO_IR 13", "ﾔ山", '山'),
        ("ISO_IR 13", "¥", '¥'),
        ("\\ISO 2022 IR 149", "똠", '똠'),
        ("\\ISO 2022 IR 58", "東", '東'),
        ("GBK", "😀", '😀'),
        ("ISO_IR 192", "a\x1b$B", '\x1b'),
    ] {
        assert_eq!(
            write(charset, text),
            Err(Unencodable { character }),
            "{charset} {text}"
        );
    }
}

const CHARSETS: [&str; 24] = [
    "",
    "ISO_IR 100",
    "ISO_IR 101",
    "ISO_IR 109",
    "ISO_IR 110",
    "ISO_IR 144",
    "ISO_IR 127",
    "ISO_IR 126",
    "ISO_IR 138",
    "ISO_IR 148",
    "ISO_IR 203",
    "ISO_IR 13",
    "ISO_IR 166",
    "ISO_IR 192",
    "GB18030",
    "GBK",
    "\\ISO 2022 IR 87",
    "\\ISO 2022 IR 87\\ISO 2022 IR 159",
    "ISO 2022 IR 13\\ISO 2022 IR 87\\ISO 2022 IR 159",
    "\\ISO 2022 IR 149",
    "\\ISO 2022 IR 58",
    "\\ISO 2022 IR 149\\ISO 2022 IR 58\\ISO 2022 IR 87",
    "ISO 2022 IR 100\\ISO 2022 IR 101\\ISO 2022 IR 144\\ISO 2022 IR 126\\ISO 2022 IR 87",
    "ISO 2022 IR 166\\ISO 2022 IR 127\\ISO 2022 IR 138\\ISO 2022 IR 203",
];

/// Bytes in which escape sequences and delimiters are frequent.
fn wild_bytes() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        prop::collection::vec(any::<u8>(), 0..6),
        prop::sample::select(vec![
            "\x1b$B", "\x1b$(D", "\x1b(B", "\x1b(J", "\x1b$)C", "\x1b-L", "\x1b", "^", "\\"
        ])
        .prop_map(|text| text.as_bytes().to_vec()),
    ];
    prop::collection::vec(piece, 0..12).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn any_bytes_decode_to_safe_text(declared in prop_oneof![
        prop::sample::select(CHARSETS.to_vec()).prop_map(|charset| charset.as_bytes().to_vec()),
        prop::collection::vec(any::<u8>(), 0..20),
    ], bytes in wild_bytes()) {
        for vr in [VR::PN, VR::LO, VR::LT] {
            let text = Decoder::for_answer(Some(&declared), None).decode(&bytes, vr).into_owned();
            prop_assert!(!text.chars().any(|c| c.is_control() || is_unsafe(c) || is_break(c)), "{text:?}");
            prop_assert!(!text.ends_with(' '));
        }
    }

    #[test]
    fn what_is_written_is_read_back(
        charset in prop::sample::select(CHARSETS.to_vec()),
        text in "([A-Za-z^=\\\\ ]|[À-ÿĀ-ſ]|[Α-Ω]|[А-я]|[א-ת]|[ء-ي]|[ก-ฮ]|[ｦ-ﾟ]|[ぁ-ん]|[一-龥]|[가-힣]){0,12}",
    ) {
        // a charset mostly refuses a mixture of scripts: keep what it can write
        let encoder = Encoder::for_station(&if charset.is_empty() { "ISO_IR 6" } else { charset }.parse().unwrap());
        let text: String = text.chars().filter(|c| encoder.encode(&c.to_string()).is_ok()).collect();
        let bytes = encoder.encode(text.trim()).unwrap();
        for vr in [VR::PN, VR::LO, VR::LT] {
            prop_assert_eq!(by(charset).decode(&bytes, vr), text.trim());
        }
    }
}

#[test]
fn padding_is_trimmed() {
    for (padded, bare) in [
        (&b"1.2.3\0"[..], &b"1.2.3"[..]),
        (b"  DOE^JANE  ", b"DOE^JANE"),
        (b"A B \0 \0", b"A B"),
        (b"   ", b""),
        (b"\0\0", b""),
        (b"", b""),
    ] {
        assert_eq!(trim_padding(padded), bare);
    }
}

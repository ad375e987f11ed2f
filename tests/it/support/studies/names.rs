//! The people of the federation: names as hospitals really hold them, each with the character set it is written in.
//!
//! Invariant: each name can be written in its character set. The Japanese name written with code extensions is the
//! example of PS3.5 H.3.1, whose bytes `files` knows by heart, because dicom-object writes no multi-valued set.

/// ISO 2022 with code extensions: the first value is empty (PS3.5 H.3.1).
pub const JAPANESE_EXTENSIONS: &str = "\\ISO 2022 IR 87";

/// The example of PS3.5 H.3.1, in Unicode.
pub const YAMADA: &str = "Yamada^Tarou=山田^太郎=やまだ^たろう";

/// Name, Specific Character Set, sex.
pub const NAMES: [(&str, &str, &str); 14] = [
    ("DOE^JANE", "", "F"),
    ("Müller^Jürgen^^Dr.", "ISO_IR 100", "M"),
    (YAMADA, JAPANESE_EXTENSIONS, "M"),
    ("Wiśniewski^Łukasz", "ISO_IR 101", "M"),
    ("SMITH^JOHN^Q", "", "M"),
    ("山田^太郎", "ISO_IR 192", "M"),
    ("O'NEILL^SINEAD", "", "F"),
    ("Gonçalves^Inês", "ISO_IR 100", "F"),
    ("Żółć^Łucja", "ISO_IR 192", "F"),
    ("ROSSI^MARIA", "", "F"),
    ("Öztürk^Ayşe", "ISO_IR 192", "F"),
    ("VAN DER BERG^PIETER", "", "M"),
    ("Αντωνίου^Ελένη", "ISO_IR 192", "F"),
    ("Groß^Bärbel", "ISO_IR 100", "F"),
];

/// Plain ASCII: a study's texts are all written in its patient's character set.
pub const PHYSICIANS: [&str; 4] = ["HOUSE^G", "GREY^MEREDITH", "WATSON^JOHN^^DR", "QUINN^M"];

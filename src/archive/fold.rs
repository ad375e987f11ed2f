//! The form of a person's name in which case and accents make no difference (PS3.4 C.2.2.2.1, left to the SCP).
//!
//! Folded: case, the combining accents of Latin, Greek and Cyrillic, letters with a stroke, ligatures; spaces at the
//! ends of components, and empty components at the end of a group. Not folded: marks that make another letter, such as
//! the voicing of kana. Wildcards come through, and none comes into being.

use unicode_normalization::UnicodeNormalization;

/// The folded form of a name, or of a key with wildcards: component groups divided by `=`.
pub fn fold_name(name: &str) -> String {
    let folded = if name.is_ascii() {
        name.to_ascii_lowercase()
    } else {
        let bare = name
            .nfd()
            .filter(|letter| !is_accent(*letter))
            .flat_map(unlettered);
        // Upper case first, so that ß is SS and both sigmas are one.
        bare.nfc()
            .flat_map(char::to_uppercase)
            .flat_map(char::to_lowercase)
            .collect()
    };
    let groups: Vec<String> = folded.split('=').map(fold_group).collect();
    groups.join("=").trim_end_matches('=').to_owned()
}

fn fold_group(group: &str) -> String {
    let components: Vec<&str> = group.split('^').map(str::trim).collect();
    components.join("^").trim_end_matches('^').to_owned()
}

fn is_accent(character: char) -> bool {
    matches!(character, '\u{300}'..='\u{36F}')
}

/// Letters that Unicode does not take apart, but readers do.
fn unlettered(letter: char) -> impl Iterator<Item = char> {
    let plain = match letter {
        'Ł' | 'ł' => "l",
        'Ø' | 'ø' => "o",
        'Đ' | 'đ' | 'Ð' | 'ð' => "d",
        'Ħ' | 'ħ' => "h",
        'Ŧ' | 'ŧ' => "t",
        'ı' => "i",
        'Æ' | 'æ' => "ae",
        'Œ' | 'œ' => "oe",
        'Þ' | 'þ' => "th",
        _ => "",
    };
    plain.chars().chain(plain.is_empty().then_some(letter))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn case_and_accents_make_no_difference() {
        for (one, other) in [
            ("Müller^Jürgen", "MULLER^JURGEN"),
            ("Groß^Bärbel", "GROSS^BARBEL"),
            ("Wiśniewski^Łukasz", "wisniewski^lukasz"),
            ("Αντωνίου^Ελένης", "ΑΝΤΩΝΙΟΥ^ΕΛΕΝΗΣ"),
            ("Öztürk^Ayşe", "ozturk^ayse"),
            ("DOE^JANE^^^", " DOE ^JANE"),
            ("Yamada^Tarou==", "YAMADA^TAROU"),
        ] {
            assert_eq!(fold_name(one), fold_name(other), "{one}");
        }
        assert_ne!(fold_name("が"), fold_name("か"));
        assert_ne!(fold_name("DOE^^JANE"), fold_name("DOE^JANE"));
        assert_eq!(fold_name("한국"), "한국");
    }

    proptest! {
        #[test]
        fn no_wildcard_comes_into_being(name in "\\PC{0,12}") {
            let wildcards = |text: &str| text.chars().filter(|c| "*?".contains(*c)).count();
            prop_assert_eq!(wildcards(&fold_name(&name)), wildcards(&name));
        }

        #[test]
        fn folding_twice_changes_nothing(name in "[a-zA-ZäŁßΣς^= ]{0,12}") {
            let once = fold_name(&name);
            prop_assert_eq!(fold_name(&once), once);
        }
    }
}

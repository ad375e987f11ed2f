//! Wildcard matching (PS3.4 C.2.2.2.4).
//!
//! Invariant: time grows at most with the product of the lengths, whatever the pattern. Case, accents and padding are
//! the caller's to fold beforehand.

/// Whether `value` matches `pattern` as a whole: `*` stands for any characters or none, `?` for exactly one.
pub fn wildcard_matches(pattern: &str, value: &str) -> bool {
    let (mut pattern, mut value) = (pattern.chars(), value.chars());
    // the pattern after the last '*', and the rest of the value where that was last tried
    let mut last_star = None;
    loop {
        let before_value = value.clone();
        match (pattern.next(), value.next()) {
            (Some('*'), _) => {
                value = before_value;
                last_star = Some((pattern.clone(), value.clone()));
            }
            (Some('?'), Some(_)) => {}
            (Some(wanted), Some(found)) if wanted == found => {}
            (None, None) => return true,
            _ => {
                let Some((after_star, tried)) = &mut last_star else {
                    return false;
                };
                if tried.next().is_none() {
                    return false;
                }
                pattern = after_star.clone();
                value = tried.clone();
            }
        }
    }
}

/// Whether a key matches everything: nothing at all, or stars only (PS3.4 C.2.2.2.3).
pub fn is_universal(pattern: &str) -> bool {
    pattern.trim().chars().all(|character| character == '*')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The definition, exponential but plain.
    fn naive(pattern: &[char], value: &[char]) -> bool {
        match (pattern, value) {
            ([], value) => value.is_empty(),
            (['*', rest @ ..], value) => (0..=value.len()).any(|skipped| naive(rest, &value[skipped..])),
            (['?', rest @ ..], [_, tail @ ..]) => naive(rest, tail),
            ([wanted, rest @ ..], [found, tail @ ..]) => wanted == found && naive(rest, tail),
            (_, []) => false,
        }
    }

    #[test]
    fn matches_the_whole_value() {
        for (pattern, value, expected) in [
            ("", "", true),
            ("", "A", false),
            ("*", "", true),
            ("?", "", false),
            ("DOE*", "DOE^JOHN", true),
            ("*DOE", "DOE^JOHN", false),
            ("D?E", "DÖE", true),
            ("*^J*N", "DOE^JOHN^N", true),
            ("47?1", "4711", true),
            ("47?1", "471", false),
        ] {
            assert_eq!(wildcard_matches(pattern, value), expected, "{pattern} {value}");
        }
    }

    #[test]
    fn stars_only_match_everything() {
        assert!(is_universal("") && is_universal(" ** "));
        assert!(!is_universal("?") && !is_universal("*A"));
    }

    #[test]
    fn many_stars_take_no_longer() {
        // a matcher that backtracks at every star would not come back from this
        let pattern = "a*".repeat(2_000) + "b";
        assert!(!wildcard_matches(&pattern, &"a".repeat(5_000)));
    }

    proptest! {
        #[test]
        fn agrees_with_the_definition(pattern in "[ab*?ä]{0,8}", value in "[abä]{0,8}") {
            let chars = |text: &str| text.chars().collect::<Vec<_>>();
            prop_assert_eq!(wildcard_matches(&pattern, &value), naive(&chars(&pattern), &chars(&value)));
        }
    }
}

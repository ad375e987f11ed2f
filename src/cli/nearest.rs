//! The name that was probably meant, where a mistyped one is of nothing.

/// How alike two names must be, from 0 to 1, to suggest one for the other.
const LIKE_ENOUGH: f64 = 0.6;

/// The one of `names` that is most like `wanted`, ignoring case, where one is like it at all.
pub fn nearest<'a>(wanted: &str, names: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let wanted = wanted.to_lowercase();
    names
        .into_iter()
        .map(|name| {
            (
                strsim::normalized_damerau_levenshtein(&wanted, &name.to_lowercase()),
                name,
            )
        })
        .filter(|(likeness, _)| *likeness >= LIKE_ENOUGH)
        .max_by(|one, other| one.0.total_cmp(&other.0))
        .map(|(_, name)| name)
}

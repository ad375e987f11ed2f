//! Values of options: `@-` and `@FILE`, and the link switches' `on` and `off`.
//!
//! Invariant: what is read in place of a value is bounded, and one line long.

use std::fs::File;
use std::io::Read;
use std::str::FromStr;

use crate::model::Invalid;

/// The most that is read in place of a value, in bytes.
const MOST_READ: u64 = 64 * 1024;

/// A text that may stand in a file or on standard input, so that it need not stand in `ps` or the shell's history:
/// `@FILE`, `@-`; `@@` begins a text that itself begins with `@`.
pub fn text(raw: &str) -> Result<String, String> {
    match raw.strip_prefix('@') {
        None => Ok(raw.to_owned()),
        Some(rest) if rest.starts_with('@') => Ok(rest.to_owned()),
        Some("-") => read(std::io::stdin().lock(), "standard input"),
        Some("") => Err("'@' needs a file name, or '-' for standard input".to_owned()),
        Some(path) => read(open(path)?, path),
    }
}

/// Like [`text`], of several lines: each that is not empty is one of them.
pub fn lines(raw: &str) -> Result<Vec<String>, String> {
    let text = match raw {
        "@-" => whole(std::io::stdin().lock(), "standard input")?,
        _ => match raw
            .strip_prefix('@')
            .filter(|path| !path.is_empty() && !path.starts_with('@'))
        {
            Some(path) => whole(open(path)?, path)?,
            None => return text(raw).map(|text| vec![text]),
        },
    };
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    Ok(lines.map(str::to_owned).collect())
}

/// The field and the rule that it breaks: the value is what cron must not mail.
pub fn without_value(error: Invalid) -> String {
    format!("invalid {}: {}", error.field, error.rule)
}

/// A typed value that may stand in a file or on standard input.
pub fn parsed<T>(raw: &str) -> Result<T, String>
where
    T: FromStr,
    T::Err: std::fmt::Display,
{
    text(raw)?.parse().map_err(|error: T::Err| error.to_string())
}

fn open(path: &str) -> Result<File, String> {
    File::open(path).map_err(|error| format!("can't read {path}: {error}"))
}

fn whole(source: impl Read, name: &str) -> Result<String, String> {
    let mut content = String::new();
    let read = source.take(MOST_READ + 1).read_to_string(&mut content);
    let length = read.map_err(|error| format!("can't read {name}: {error}"))?;
    if length as u64 > MOST_READ {
        return Err(format!("{name} is longer than {MOST_READ} bytes"));
    }
    Ok(content)
}

fn read(source: impl Read, name: &str) -> Result<String, String> {
    let content = whole(source, name)?;
    let value = content.trim_end_matches(['\r', '\n']);
    if value.contains('\n') {
        return Err(format!("{name} holds more than one line"));
    }
    Ok(value.to_owned())
}

/// Reads the value of a switch.
pub fn on_off(raw: &str) -> Result<bool, String> {
    match raw {
        "on" => Ok(true),
        "off" => Ok(false),
        _ => Err(format!("invalid switch {raw:?}: it is 'on' or 'off'")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_may_stand_in_a_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("id");
        std::fs::write(&path, "4711\r\n").unwrap();
        assert_eq!(text(&format!("@{}", path.display())), Ok("4711".to_owned()));
        std::fs::write(&path, "4711\n4712\n").unwrap();
        assert!(text(&format!("@{}", path.display())).is_err());
        assert_eq!(text("@@home"), Ok("@home".to_owned()));
        assert!(text("@/nowhere/at/all").is_err());
    }
}

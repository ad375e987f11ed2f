//! Values of options: `@-` and `@FILE`, and the link switches' `on` and `off`.
//!
//! Invariant: what is read in place of a value is bounded, and one line long.

use std::fs::File;
use std::io::Read;
use std::str::FromStr;

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
        Some(path) => {
            let file = File::open(path).map_err(|error| format!("can't read {path}: {error}"))?;
            read(file, path)
        }
    }
}

/// A typed value that may stand in a file or on standard input.
pub fn parsed<T>(raw: &str) -> Result<T, String>
where
    T: FromStr,
    T::Err: std::fmt::Display,
{
    text(raw)?.parse().map_err(|error: T::Err| error.to_string())
}

fn read(source: impl Read, name: &str) -> Result<String, String> {
    let mut content = String::new();
    let read = source.take(MOST_READ + 1).read_to_string(&mut content);
    let length = read.map_err(|error| format!("can't read {name}: {error}"))?;
    if length as u64 > MOST_READ {
        return Err(format!("{name} is longer than {MOST_READ} bytes"));
    }
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

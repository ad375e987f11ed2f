//! Holds the map of the code: which room may know which, how files begin, how long they are, and who prints.
//!
//! Invariant: rules look at code alone, with comments and literals blanked, where a mention is no use. What the
//! compiler or clippy already holds is not here.

use std::fs;
use std::path::{Path, PathBuf};

const ROOMS: [&str; 13] = [
    "model", "charset", "audit", "store", "dimse", "archive", "link", "retrieve", "check", "priors",
    "updates", "service", "cli",
];

const MAX_LINES: usize = 500;

#[test]
fn every_room_knows_only_whom_it_may() {
    assert_no_violation("src", knowledge_violations);
}

#[test]
fn every_file_says_what_it_is_for() {
    for folder in ["src", "tests"] {
        assert_no_violation(folder, opening_violations);
    }
}

#[test]
fn no_file_is_too_long() {
    for folder in ["src", "tests"] {
        assert_no_violation(folder, length_violations);
    }
}

#[test]
fn nothing_is_left_for_later() {
    assert_no_violation("src", leftover_violations);
}

#[test]
fn only_the_command_line_prints() {
    assert_no_violation("src", printing_violations);
}

/// A rule takes a path relative to the repository and the source there, and names what breaks it.
type Rule = fn(&str, &str) -> Vec<String>;

#[track_caller]
fn assert_no_violation(folder: &str, rule: Rule) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let files = rust_files(&root.join(folder));
    assert!(!files.is_empty(), "no Rust files in {folder}");
    let violations = files.iter().flat_map(|path| {
        let source = fs::read_to_string(path).expect("a source file can be read");
        let path = path.strip_prefix(root).expect("a path in the repository");
        rule(&path.to_string_lossy(), &source)
    });
    let violations: Vec<String> = violations.collect();
    assert!(violations.is_empty(), "\n{}", violations.join("\n"));
}

fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).expect("a folder of the repository");
    let paths = entries.map(|entry| entry.expect("an entry of a folder").path());
    let files = paths.flat_map(|path| match path.extension() {
        _ if path.is_dir() => rust_files(&path),
        Some(extension) if extension == "rs" => vec![path],
        _ => vec![],
    });
    files.collect()
}

fn may_know(room: &str) -> &'static [&'static str] {
    match room {
        "model" => &[],
        "charset" | "audit" => &["model"],
        "store" => &["model", "audit"],
        // What travels and what is stored is text in the same character sets; neither needs the other for it.
        "dimse" | "archive" => &["model", "charset", "audit"],
        "link" => &["model", "charset", "audit", "store", "dimse", "archive"],
        "retrieve" => &["model", "charset", "audit", "store", "dimse", "archive", "link"],
        "check" | "priors" | "updates" => &[
            "model", "charset", "audit", "store", "dimse", "archive", "link", "retrieve",
        ],
        "service" => &[
            "model", "charset", "audit", "store", "dimse", "archive", "link", "retrieve", "check", "priors",
            "updates",
        ],
        _ => &ROOMS,
    }
}

fn knowledge_violations(path: &str, source: &str) -> Vec<String> {
    let Some(module) = module_of(path) else {
        return vec![];
    };
    let room = module[0];
    if !ROOMS.contains(&room) {
        return vec![format!("{path}: {room} is no room of the house")];
    }
    let code = code_of(source);
    let strangers = known_rooms(&code, module.len())
        .into_iter()
        .filter(|(_, known)| ROOMS.contains(known) && *known != room && !may_know(room).contains(known));
    strangers
        .map(|(line, known)| format!("{path}:{line}: {room} may not know {known}"))
        .collect()
}

/// The module path of a file in `src`, without the crate root; `None` for the roots themselves.
fn module_of(path: &str) -> Option<Vec<&str>> {
    let inner = path.strip_prefix("src/")?.strip_suffix(".rs")?;
    let module: Vec<&str> = inner.split('/').filter(|name| *name != "mod").collect();
    (!matches!(module[..], ["main"] | ["lib"])).then_some(module)
}

/// Line and first name of every path that begins at the crate root, by `crate::` or by enough `super::`.
fn known_rooms(code: &str, depth: usize) -> Vec<(usize, &str)> {
    let from_root = [
        "crate::".to_owned(),
        "impaxlink::".to_owned(),
        "super::".repeat(depth),
    ];
    let mut known = Vec::new();
    for prefix in &from_root {
        for (at, _) in code.match_indices(prefix.as_str()) {
            if code[..at].ends_with(|before: char| before.is_alphanumeric() || before == '_' || before == ':')
            {
                continue;
            }
            let line = code[..at].matches('\n').count() + 1;
            let rest = &code[at + prefix.len()..];
            known.extend(first_names(rest).into_iter().map(|name| (line, name)));
        }
    }
    known
}

/// `a::b` gives `a`; `{a::b, c::{d, e}}` gives `a` and `c`.
fn first_names(rest: &str) -> Vec<&str> {
    let Some(group) = rest.strip_prefix('{') else {
        return vec![leading_name(rest)];
    };
    let (mut depth, mut begin, mut names) = (0, 0, Vec::new());
    for (at, character) in group.char_indices() {
        match character {
            '{' => depth += 1,
            '}' if depth > 0 => depth -= 1,
            '}' => {
                names.push(leading_name(&group[begin..at]));
                break;
            }
            ',' if depth == 0 => {
                names.push(leading_name(&group[begin..at]));
                begin = at + 1;
            }
            _ => {}
        }
    }
    names
}

fn leading_name(path: &str) -> &str {
    let path = path.trim_start();
    let end = path.find(|character: char| !character.is_alphanumeric() && character != '_');
    &path[..end.unwrap_or(path.len())]
}

fn opening_violations(path: &str, source: &str) -> Vec<String> {
    match source.starts_with("//! ") {
        true => vec![],
        false => vec![format!(
            "{path}:1: it does not open with `//! ` and what it is for"
        )],
    }
}

fn length_violations(path: &str, source: &str) -> Vec<String> {
    let lines = source.lines().count();
    match lines <= MAX_LINES {
        true => vec![],
        false => vec![format!("{path}: {lines} lines, at most {MAX_LINES} are allowed")],
    }
}

fn leftover_violations(path: &str, source: &str) -> Vec<String> {
    let mut violations = mentions(path, source, &["TODO", "FIXME"]);
    violations.extend(mentions(path, &code_of(source), &["unimplemented!", "todo!"]));
    violations
}

fn printing_violations(path: &str, source: &str) -> Vec<String> {
    if path.starts_with("src/cli/") || ["src/cli.rs", "src/main.rs"].contains(&path) {
        return vec![];
    }
    mentions(
        path,
        &code_of(source),
        &["println!", "eprintln!", "print!", "eprint!", "dbg!"],
    )
}

/// Where a word stands that is not the end of a longer one.
fn mentions(path: &str, text: &str, words: &[&str]) -> Vec<String> {
    let lines = text.lines().zip(1..).flat_map(|(line, number)| {
        let stands = |word: &&&str| {
            let mut places = line.match_indices(**word);
            places.any(|(at, _)| !line[..at].ends_with(|it: char| it.is_alphanumeric() || it == '_'))
        };
        words.iter().filter(stands).map(move |word| (number, word))
    });
    lines
        .map(|(number, word)| format!("{path}:{number}: {word}"))
        .collect()
}

/// The source with the text of comments and of string and character literals replaced by spaces.
fn code_of(source: &str) -> String {
    let mut code = String::with_capacity(source.len());
    let mut rest = source;
    while !rest.is_empty() {
        let blank = literal_or_comment(rest);
        let (piece, after) = match blank {
            0 => rest.split_at(rest.chars().next().map_or(0, char::len_utf8)),
            length => rest.split_at(length),
        };
        if blank == 0 {
            code.push_str(piece);
        } else {
            code.extend(piece.chars().map(|it| if it == '\n' { '\n' } else { ' ' }));
        }
        rest = after;
    }
    code
}

/// Length in bytes of the comment or literal that `rest` begins with; 0 where it begins with none.
fn literal_or_comment(rest: &str) -> usize {
    let until = |start: usize, end: &str| match rest[start..].find(end) {
        Some(at) => start + at + end.len(),
        None => rest.len(),
    };
    if rest.starts_with("//") {
        return rest.find('\n').unwrap_or(rest.len());
    }
    if rest.starts_with("/*") {
        return until(2, "*/");
    }
    if let Some(raw) = rest.strip_prefix("r") {
        let hashes = raw.bytes().take_while(|byte| *byte == b'#').count();
        if raw[hashes..].starts_with('"') {
            return until(hashes + 2, &format!("\"{}", "#".repeat(hashes)));
        }
    }
    if rest.starts_with('"') {
        return escaped_end(rest, '"');
    }
    if let Some(character) = rest.strip_prefix('\'') {
        // Else it is a lifetime.
        let plain = character.chars().nth(1) == Some('\'');
        if plain || character.starts_with('\\') {
            return escaped_end(rest, '\'');
        }
    }
    0
}

/// Length of the literal at the start of `rest` up to the closing `quote`.
fn escaped_end(rest: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, character) in rest.char_indices().skip(1) {
        match character {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            _ if character == quote => return at + character.len_utf8(),
            _ => {}
        }
    }
    rest.len()
}

mod rules {
    //! Each rule must be able to fail: made-up sources that break it, and look-alikes that don't.

    use super::*;

    #[track_caller]
    fn breaks(rule: Rule, path: &str, source: &str, expected: &[&str]) {
        assert_eq!(rule(path, source), expected, "{path}: {source}");
    }

    #[test]
    fn knowledge() {
        let rule: Rule = knowledge_violations;
        let store = "src/store/stations.rs";
        breaks(
            rule,
            store,
            "use crate::dimse::Scu;",
            &["src/store/stations.rs:1: store may not know dimse"],
        );
        breaks(
            rule,
            store,
            "\nfn f() { crate::cli::run() }",
            &["src/store/stations.rs:2: store may not know cli"],
        );
        breaks(
            rule,
            store,
            "use crate::{\n    audit::Entry,\n    link::{Fanout, service},\n    model,\n};",
            &["src/store/stations.rs:1: store may not know link"],
        );
        breaks(
            rule,
            store,
            "use super::super::dimse::Scu;",
            &["src/store/stations.rs:1: store may not know dimse"],
        );
        breaks(
            rule,
            "src/model/host.rs",
            "use crate::audit;",
            &["src/model/host.rs:1: model may not know audit"],
        );
        breaks(
            rule,
            "src/archive/find.rs",
            "use crate::dimse::Scu;\nuse crate::charset::Decoder;",
            &["src/archive/find.rs:1: archive may not know dimse"],
        );
        breaks(
            rule,
            "src/audit.rs",
            "use crate::store;",
            &["src/audit.rs:1: audit may not know store"],
        );
        breaks(
            rule,
            "src/service/mod.rs",
            "use super::cli;",
            &["src/service/mod.rs:1: service may not know cli"],
        );
        breaks(
            rule,
            "src/helpers.rs",
            "",
            &["src/helpers.rs: helpers is no room of the house"],
        );
        for (path, source) in [
            (
                store,
                "use crate::model::Station;\nuse crate::audit::Entry;\nuse crate::store::Tx;",
            ),
            (
                store,
                "//! unlike [`crate::dimse`]\nconst A: &str = \"crate::link\";",
            ),
            (
                "src/dimse/scu/find.rs",
                "use super::store;\nuse super::super::archive;",
            ),
            (
                "src/link/fanout.rs",
                "use crate::{dimse::Scu, store::Store, archive};",
            ),
            ("src/cli/query.rs", "use crate::link;\nuse crate::service;"),
            ("src/lib.rs", "pub mod cli;"),
            ("src/main.rs", "fn main() { impaxlink::cli::main() }"),
        ] {
            breaks(rule, path, source, &[]);
        }
    }

    #[test]
    fn openings_and_lengths() {
        breaks(opening_violations, "a.rs", "//! What it is for.\n", &[]);
        for source in ["", "use std::fs;\n//! late", "// plain", "//!\n"] {
            assert_eq!(opening_violations("a.rs", source).len(), 1, "{source}");
        }
        breaks(length_violations, "a.rs", &"\n".repeat(500), &[]);
        breaks(
            length_violations,
            "a.rs",
            &"\n".repeat(501),
            &["a.rs: 501 lines, at most 500 are allowed"],
        );
    }

    #[test]
    fn leftovers_and_printing() {
        breaks(leftover_violations, "a.rs", "x; // TODO later", &["a.rs:1: TODO"]);
        breaks(
            leftover_violations,
            "a.rs",
            "\nfn f() { todo!() }",
            &["a.rs:2: todo!"],
        );
        breaks(
            leftover_violations,
            "a.rs",
            "// what todo! would do\nlet s = \"unimplemented!\";",
            &[],
        );
        let store = "src/store/mod.rs";
        breaks(
            printing_violations,
            store,
            "fn f() { println!(\"x\") }",
            &["src/store/mod.rs:1: println!"],
        );
        breaks(
            printing_violations,
            store,
            "'\"'; eprint!()",
            &["src/store/mod.rs:1: eprint!"],
        );
        breaks(
            printing_violations,
            store,
            "/// `println!` panics on a closed pipe.\nr#\"print!\"#; pretty_print!()",
            &[],
        );
        breaks(printing_violations, "src/cli/output.rs", "println!()", &[]);
    }

    #[test]
    fn literals_and_comments_are_blank() {
        let source = "a/*b\n*/c\"d\\\"e\"'f'&'g h r##\"i\"#j\"##k'\\''l";
        assert_eq!(code_of(source).split_whitespace().collect::<String>(), "ac&'ghkl");
    }
}

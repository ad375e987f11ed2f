//! The checked-in man pages and completions are those that the program has today, and what is written by hand names
//! commands and settings that there are.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use impaxlink::model::{SETTING_KEYS, setting_key};

use super::support::reference;

const REWRITE: &str = "run 'cargo run --example reference' and commit what it wrote";

#[test]
fn man_pages_and_completions_are_up_to_date() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let files = reference::files();
    for (path, content) in &files {
        let checked_in = std::fs::read(root.join(path)).unwrap_or_default();
        assert!(
            checked_in == *content,
            "{} is out of date: {REWRITE}",
            path.display()
        );
    }
    let generated: BTreeSet<&PathBuf> = files.iter().map(|(path, _)| path).collect();
    for folder in ["man", "completions"] {
        for entry in std::fs::read_dir(root.join(folder)).unwrap() {
            let path = Path::new(folder).join(entry.unwrap().file_name());
            let is_written_by_hand = path.extension().is_some_and(|section| section == "7");
            assert!(
                is_written_by_hand || generated.contains(&path),
                "{} is of no command: {REWRITE}",
                path.display()
            );
        }
    }
}

/// The pages that are written by hand, and the README: their paths and texts.
fn written_by_hand() -> Vec<(PathBuf, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let pages = std::fs::read_dir(root.join("man")).unwrap();
    let pages = pages.map(|entry| entry.unwrap().path());
    let by_hand = pages.filter(|path| path.extension().is_some_and(|section| section == "7"));
    let texts = by_hand.chain([root.join("README.md")]).map(|path| {
        let text = std::fs::read_to_string(&path).unwrap();
        let is_page = path.extension().is_some_and(|section| section == "7");
        let text = if is_page { text.replace("\\-", "-") } else { text };
        (path, text)
    });
    texts.collect()
}

/// The commands that the examples of a text show, a cron entry's too.
fn shown_commands(text: &str) -> impl Iterator<Item = &str> {
    let mut is_example = false;
    let examples = text.lines().filter(move |line| {
        is_example = match *line {
            ".nf" => true,
            ".fi" => false,
            line if line.starts_with("```") => !is_example,
            _ => is_example,
        };
        is_example
    });
    examples.filter_map(|line| {
        let starts = ["impaxlink ", "$ impaxlink ", "30 20 * * *", "echo "];
        let is_command = starts.iter().any(|start| line.starts_with(start));
        line.get(line.find("impaxlink ").filter(|_| is_command)?..)
    })
}

/// The words of a command as a shell splits them, without a comment; a value that is read from a file is replaced.
fn words(command: &str) -> Vec<String> {
    let command = command.split(" #").next().unwrap_or_default();
    let mut words = vec![String::new()];
    let mut is_quoted = false;
    for character in command.trim().chars() {
        match character {
            '\'' => is_quoted = !is_quoted,
            ' ' if !is_quoted => words.push(String::new()),
            _ => words.last_mut().unwrap().push(character),
        }
    }
    let words = words.into_iter().filter(|word| !word.is_empty());
    words
        .map(|word| {
            if word.starts_with('@') {
                "4711".to_owned()
            } else {
                word
            }
        })
        .collect()
}

#[test]
fn commands_in_the_manual_and_the_readme_are_those_of_the_program() {
    let mut count = 0;
    for (path, text) in written_by_hand() {
        for command in shown_commands(&text) {
            let parsed = impaxlink::cli::command().try_get_matches_from(words(command));
            let path = path.display();
            assert!(parsed.is_ok(), "{path}: {command}: {}", parsed.unwrap_err());
            count += 1;
        }
    }
    assert!(count > 50, "{count} commands were found");
}

#[test]
fn settings_in_the_manual_are_those_of_the_program() {
    let groups: BTreeSet<&str> = SETTING_KEYS
        .iter()
        .filter_map(|key| Some(key.name.split_once('.')?.0))
        .collect();
    let is_name = |word: &&str| {
        let is_of_group = word
            .split_once('.')
            .is_some_and(|(group, rest)| groups.contains(group) && !rest.is_empty());
        is_of_group
            && word
                .chars()
                .all(|c| c.is_ascii_lowercase() || matches!(c, '.' | '_' | '0'..='9'))
    };
    let mut named = BTreeSet::new();
    for (path, text) in written_by_hand() {
        let words =
            text.split(|c: char| c.is_whitespace() || matches!(c, '`' | '(' | ')' | ',' | '"' | '\''));
        for word in words
            .map(|word| word.trim_end_matches(['.', ':', ';']))
            .filter(is_name)
        {
            assert!(
                setting_key(word).is_some(),
                "{}: {word} is not a setting",
                path.display()
            );
            named.insert(word.to_owned());
        }
    }
    assert!(named.len() > 20, "only {named:?}");
}

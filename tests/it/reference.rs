//! The checked-in man pages and completions are those that the program has today.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

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

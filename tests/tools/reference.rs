//! Writes `man/` and `completions/` anew: `cargo run --example reference`.
//!
//! Invariant: what is written by hand, the pages of section 7, stays as it is.

use std::fs;
use std::io;
use std::path::Path;

#[path = "../it/support/reference.rs"]
mod reference;

fn main() -> io::Result<()> {
    for folder in ["man", "completions"] {
        fs::create_dir_all(folder)?;
        remove_generated(Path::new(folder))?;
    }
    for (path, content) in reference::files() {
        fs::write(path, content)?;
    }
    Ok(())
}

/// So that nothing is left of a command that is no more.
fn remove_generated(folder: &Path) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.extension().is_none_or(|section| section != "7") {
            fs::remove_file(path)?;
        }
    }
    Ok(())
}

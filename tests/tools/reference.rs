//! Writes `man/` and `completions/` anew: `cargo run --example reference`.

#[path = "../it/support/reference.rs"]
mod reference;

fn main() -> std::io::Result<()> {
    for folder in ["man", "completions"] {
        let _ = std::fs::remove_dir_all(folder);
        std::fs::create_dir_all(folder)?;
    }
    for (path, content) in reference::files() {
        std::fs::write(path, content)?;
    }
    Ok(())
}

//! Writes the studies of one site of the made-up federation into a folder, as DICOM files.
//!
//! They are the same studies that the tests load into their peers, for a tour or a measurement without them.

use std::fs;
use std::io;
use std::path::PathBuf;

use clap::Parser;

#[allow(dead_code, reason = "what the tests ask of the federation")]
#[path = "../it/support/studies/mod.rs"]
mod studies;

/// Write made-up studies as DICOM files, one an instance.
#[derive(Parser)]
struct Options {
    /// The folder to write to; it is made where it isn't there.
    folder: PathBuf,
    /// The site whose studies these are.
    #[arg(long, default_value = "A", value_parser = ["A", "B", "C"])]
    site: String,
    /// How many studies each site acquired, at least 4; copies from other sites come on top.
    #[arg(long, default_value_t = 40)]
    studies: usize,
    /// Another seed gives other studies.
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

fn main() -> io::Result<()> {
    let options = Options::parse();
    fs::create_dir_all(&options.folder)?;
    let federation = studies::Federation::new(options.seed, options.studies.max(4));
    let site = federation.site(&format!("SITE{}", options.site));
    let files: usize = site
        .studies
        .iter()
        .map(|study| study.write_files(&options.folder))
        .sum();
    println!("{}: {} studies, {files} files", site.ae_title, site.studies.len());
    Ok(())
}

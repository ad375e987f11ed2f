//! `demo`: two clusters on this machine, linked and queried before your eyes.
//!
//! Invariant: nothing is staged. The sites are this program's own `serve` with embedded archives, the commands are run
//! as they are shown, and what is printed is what they printed. Only a temporary folder and 127.0.0.1 are used.

mod site;
mod studies;

use std::io::Write as _;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;

use super::Format;
use super::error::{ExitStatus, Problem};
use super::output::Ui;
use site::Site;

/// Set up two clusters on this machine, link them and query them before your eyes.
///
/// Takes some seconds, needs nothing, and leaves nothing behind unless --keep is given.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  impaxlink demo\n  impaxlink demo --keep")]
pub struct DemoArgs {
    /// Leave the two clusters running, and say how to use and to end them
    #[arg(long)]
    keep: bool,
}

/// Runs the command.
pub fn run(ui: &mut Ui, args: DemoArgs) -> anyhow::Result<ExitStatus> {
    if ui.format() != Format::Table {
        let problem = Problem::new(
            ExitStatus::Usage,
            "the demo is for people: it has no other format",
        );
        return Err(problem.into());
    }
    let folder = Folder::new()?;
    ui.line(
        "# Two imaging sites on this machine, North and Harbour: each a service and an archive of its own.",
    )?;
    let mut harbour = prepare("HARBOUR", &studies::HARBOUR, &folder.0)?;
    let mut north = prepare("NORTH", &studies::NORTH, &folder.0)?;
    introduce(&north, &harbour)?;
    harbour.serve()?;
    north.serve()?;
    show(ui, &north, &mut harbour)?;
    if args.keep {
        return keep(ui, folder, north, harbour);
    }
    Ok(ExitStatus::Done)
}

/// A site with its settings and studies, not running yet.
fn prepare(name: &'static str, of: &[studies::DemoStudy], folder: &Path) -> anyhow::Result<Site> {
    let site = Site::new(name, folder)?;
    let files = site.store.with_file_name("studies");
    studies::write(of, &files)?;
    let listen = format!("127.0.0.1:{}", site.port);
    site.prepare(&["config", "set", "ae_title", name])?;
    site.prepare(&["config", "set", "cluster_name", name])?;
    site.prepare(&["config", "set", "issuer", name])?;
    site.prepare(&["config", "set", "listen", &listen])?;
    site.prepare(&["station", "add", "PACS", "--kind", "archive", "--embedded"])?;
    site.prepare(&["archive", "import", &files.to_string_lossy()])?;
    Ok(site)
}

/// Each site must know the other: Harbour knows North as a linked cluster, North does not link Harbour yet.
fn introduce(north: &Site, harbour: &Site) -> anyhow::Result<()> {
    let add = |at: &Site, other: &Site, more: &[&str]| {
        let port = other.port.to_string();
        let add = [
            "station",
            "add",
            other.name,
            "--ae-title",
            other.name,
            "--cluster",
            other.name,
        ];
        let address = ["--host", "127.0.0.1", "--port", &port, "--issuer", other.name];
        at.prepare(&[&add[..], &address[..], more].concat())
    };
    add(harbour, north, &["--cluster-linking"])?;
    add(north, harbour, &[])
}

fn show(ui: &mut Ui, north: &Site, harbour: &mut Site) -> anyhow::Result<()> {
    let jane = ["query", "--patient-name", "DOE^JANE"];
    let conflict = studies::uid(3);
    say(
        ui,
        "An administrator at North. Harbour is registered, and not linked.",
    )?;
    type_out(ui, north, &["station", "list"])?;
    say(ui, "So a query finds what North's own archive has.")?;
    type_out(ui, north, &jane)?;
    say(
        ui,
        "Tick the boxes; the running service takes them at once, and drops nothing.",
    )?;
    let set = [
        "station",
        "set",
        "HARBOUR",
        "--cluster-linking",
        "--link-internal-queries",
    ];
    type_out(ui, north, &[&set[..], &["--reason", "CHG1182"]].concat())?;
    type_out(ui, north, &["status"])?;
    say(
        ui,
        "The same query now asks both sites. Copies are one row; the most complete is named.",
    )?;
    type_out(ui, north, &jane)?;
    say(ui, "One study UID, two patients: shown, and never merged.")?;
    type_out(ui, north, &["query", "--study-uid", &conflict])?;
    say(
        ui,
        "Harbour goes down. Its silence is never hidden, and the exit status is 3.",
    )?;
    harbour.stop();
    type_out(ui, north, &jane)?;
    harbour.serve()?;
    say(ui, "Who changed what, and back.")?;
    type_out(ui, north, &["generation", "list", "--limit", "2"])?;
    type_out(ui, north, &["generation", "rollback", "6"])?;
    type_out(ui, north, &["audit", "verify"])
}

fn say(ui: &mut Ui, text: &str) -> anyhow::Result<()> {
    Ok(ui.line(&format!("\n# {text}"))?)
}

/// Shows a command, runs it and shows what it said.
fn type_out(ui: &mut Ui, site: &Site, arguments: &[&str]) -> anyhow::Result<()> {
    let words = arguments.iter().map(|word| match word.contains(['^', ' ', '*']) {
        true => format!("'{word}'"),
        false => (*word).to_owned(),
    });
    ui.line(&format!("$ impaxlink {}", words.collect::<Vec<_>>().join(" ")))?;
    let output = site.command(arguments)?.output()?;
    ui.out().write_all(&output.stdout)?;
    ui.out().write_all(&output.stderr)?;
    match output.status.code() {
        Some(0) => {}
        Some(status) => ui.line(&format!("(exit status {status})"))?,
        None => ui.line("(ended by a signal)")?,
    }
    ui.out().flush()?;
    Ok(())
}

fn keep(ui: &mut Ui, folder: Folder, north: Site, harbour: Site) -> anyhow::Result<ExitStatus> {
    let stores = [north.store.clone(), harbour.store.clone()].map(|store| store.display().to_string());
    let pids: Vec<String> = [north.keep(), harbour.keep()]
        .into_iter()
        .flatten()
        .map(|pid| pid.to_string())
        .collect();
    let folder = folder.keep();
    say(ui, "Both are left running. To be North, or Harbour:")?;
    for store in &stores {
        ui.line(&format!("export IMPAXLINK_STORE={store}"))?;
    }
    say(ui, "To end them, and take all away once both have ended:")?;
    // A service holds its lock to its very end, and writes into the folder until then.
    let [north, harbour] = stores.map(|store| format!("flock {store}.service.lock"));
    ui.line(&format!(
        "kill {}; {north} {harbour} rm -r {}",
        pids.join(" "),
        folder.display()
    ))?;
    Ok(ExitStatus::Done)
}

/// A temporary folder that goes when it is dropped.
struct Folder(PathBuf);

impl Folder {
    fn new() -> anyhow::Result<Self> {
        let name = format!("impaxlink-demo-{}", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::DirBuilder::new()
            .mode(0o700)
            .create(&path)
            .with_context(|| format!("can't make {}", path.display()))?;
        Ok(Folder(path))
    }

    fn keep(mut self) -> PathBuf {
        std::mem::take(&mut self.0)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if !self.0.as_os_str().is_empty() {
            // What can't be removed is a temporary folder, and the demo itself went well.
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }
}

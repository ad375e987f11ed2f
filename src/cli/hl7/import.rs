//! `hl7 import`: messages of files, kept and done at once.
//!
//! Invariant: a message is kept before it is done, as one that came over the network; importing a file again changes
//! nothing.

use std::io::Read as _;

use anyhow::Context as _;

use super::working::do_and_tell;
use crate::cli::error::ExitStatus;
use crate::cli::output::Ui;
use crate::store::{Access, SharedStore};
use crate::updates::hl7::mllp::of_file;
use crate::updates::hl7::receive::take;

/// The largest file that is taken, in bytes: it is held in memory.
const LARGEST: u64 = 256 * 1024 * 1024;

/// Take in the HL7 messages of files and do at once what they want. Needs no service.
///
/// A file has one message or several, in MLLP frames or plain, each beginning with MSH. ORU^R01, ORM^O01, OMI^O23 and
/// OMG^O19 say how far a report is; ADT^A08 and ADT^A31 give a patient's demographics; ADT^A40 says that two patient IDs
/// are one person's. A message that was taken in before is not done again.
///
/// Exit status: 0 all done, 3 some wait (for their study, or an archive that does not answer), 1 some failed.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    impaxlink hl7 import reports.hl7\n  \
    ssh ris cat outbox/*.hl7 | impaxlink hl7 import -\n  \
    impaxlink hl7 import /var/spool/hl7/*.hl7 --json | jq -r '.items[] | select(.state == \"failed\").reason'")]
pub struct ImportArgs {
    /// The files; '-' is standard input
    #[arg(value_name = "FILE", required = true, value_hint = clap::ValueHint::FilePath)]
    files: Vec<String>,
}

/// Runs the command.
pub fn run(ui: &mut Ui, args: ImportArgs) -> anyhow::Result<ExitStatus> {
    let store = ui.store(Access::ReadWrite)?;
    let settings = store.configuration()?.settings.hl7();
    let store = SharedStore::of(store);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let mut numbers = Vec::new();
    let (mut duplicates, mut unread) = (0, 0);
    for file in &args.files {
        let bodies = match read(file) {
            Ok(bodies) => bodies,
            Err(error) => {
                unread += 1;
                ui.warning(&format!("{error:#}"));
                continue;
            }
        };
        for body in bodies {
            let taken = runtime.block_on(take(&store, &settings, body, "file"))?;
            duplicates += usize::from(taken.kept.is_duplicate);
            if !numbers.contains(&taken.kept.number) {
                numbers.push(taken.kept.number);
            }
        }
    }
    if duplicates > 0 {
        ui.notice(&format!("{duplicates} had come before"));
    }
    let status = do_and_tell(ui, &numbers, "import")?;
    Ok(if unread > 0 { ExitStatus::Failed } else { status })
}

fn read(file: &str) -> anyhow::Result<Vec<Vec<u8>>> {
    let messages = || -> anyhow::Result<Vec<Vec<u8>>> {
        let mut bytes = Vec::new();
        match file {
            "-" => std::io::stdin()
                .lock()
                .take(LARGEST + 1)
                .read_to_end(&mut bytes)?,
            path => std::fs::File::open(path)?
                .take(LARGEST + 1)
                .read_to_end(&mut bytes)?,
        };
        anyhow::ensure!(
            bytes.len() as u64 <= LARGEST,
            "it is larger than {} MiB: split it",
            LARGEST >> 20
        );
        Ok(of_file(&bytes)?)
    };
    messages().with_context(|| format!("can't read {file}"))
}

//! What commands do that have messages done at once: the same as the service does, which may do it at the same time.
//!
//! Invariant: each message is done once, whoever comes first; the store sees to it.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::view;
use crate::audit::Attribution;
use crate::cli::attribution;
use crate::cli::error::ExitStatus;
use crate::cli::output::Ui;
use crate::cli::updates::sending::wake;
use crate::link::EmbeddedArchive;
use crate::link::tls::LinkTls;
use crate::service::control;
use crate::store::{Access, Hl7Message, Hl7State, SharedStore, Store, StoreError};
use crate::updates::hl7::apply::Applier;
use crate::updates::hl7::feed;
use crate::updates::local_studies::LocalStudies;

/// How long a service may take to take up changed patients.
const LIMIT: Duration = Duration::from_secs(30);

/// By whom it is recorded as done: without the file's name, which may be a patient's.
pub fn by(command: &str) -> Attribution {
    attribution::with_command(format!("impaxlink hl7 {command}"))
}

/// Works off what is due under the newest configuration; has a running service take up what that changed.
pub async fn work_off(
    store: &SharedStore,
    attribution: &Attribution,
    stop: &CancellationToken,
) -> Result<(), StoreError> {
    let mut has_linked = true;
    while has_linked {
        let (path, configuration, known) = store
            .with(|store| {
                let path = store.path().to_owned();
                Ok((path, store.configuration()?, store.cross_reference()?.0))
            })
            .await?;
        let applier = Applier {
            store: store.clone(),
            studies: LocalStudies {
                tls: LinkTls::of(&configuration),
                configuration: Arc::new(configuration),
                cross_reference: Arc::new(known),
                archive: EmbeddedArchive::of_store(&path),
                turns: None,
            },
            attribution: attribution.clone(),
        };
        let worked = feed::work_off(&applier, stop).await?;
        has_linked = worked.has_linked;
        let telling = tokio::task::spawn_blocking(move || {
            // A service that can't be told sees updates by itself, and patients with the next change.
            if worked.has_updates {
                let _ = control::send_updates(&path, LIMIT);
            }
            if worked.has_linked {
                let _ = control::take_cross_reference(&path, LIMIT);
            }
        });
        let _ = telling.await;
    }
    Ok(())
}

/// Has these messages done, tells what became of them, and what that means for the exit status.
pub fn do_and_tell(ui: &mut Ui, numbers: &[i64], command: &str) -> anyhow::Result<ExitStatus> {
    let store = SharedStore::of(ui.store(Access::ReadWrite)?);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let worked = runtime.block_on(work_off(&store, &by(command), &CancellationToken::new()));
    // A resolver that hangs would hold up the end otherwise.
    runtime.shutdown_background();
    worked?;
    wake(ui);
    let messages = read(&ui.store(Access::ReadOnly)?, numbers)?;
    if !ui.is_quiet() {
        view::write(ui, &messages)?;
    }
    let count = |state| messages.iter().filter(|message| message.state == state).count();
    let (done, waiting, failed) = (
        count(Hl7State::Done),
        count(Hl7State::Waiting),
        count(Hl7State::Failed),
    );
    let told = format!("{done} done, {waiting} waiting, {failed} failed");
    match (waiting, failed) {
        (0, 0) => {
            ui.notice(&told);
            Ok(ExitStatus::Done)
        }
        (_, 0) => {
            ui.warning(&told);
            Ok(ExitStatus::Partial)
        }
        _ => {
            ui.warning(&told);
            Ok(ExitStatus::Failed)
        }
    }
}

fn read(store: &Store, numbers: &[i64]) -> Result<Vec<Hl7Message>, StoreError> {
    let mut messages = Vec::new();
    for number in numbers {
        messages.extend(store.hl7_message(*number)?);
    }
    Ok(messages)
}

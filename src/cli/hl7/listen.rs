//! `hl7 listen`: messages over MLLP in the foreground, without the link service.
//!
//! Invariant: the same as in the service, under the newest configuration: it is read again every second.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Context as _;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::working::{by, work_off};
use crate::cli::error::{ExitStatus, Problem};
use crate::cli::output::Ui;
use crate::cli::serve::start_log;
use crate::model::Settings;
use crate::store::{Access, SharedStore};
use crate::updates::hl7::feed::Feed;

/// Listen for HL7 messages (MLLP) in the foreground and do what they want, without the link service.
///
/// The service does the same where the setting 'hl7.listen' is set. A message is answered (AA) once it is kept; one that
/// can't be understood is answered AE or AR with the reason, and kept for a person. The setting 'hl7.from' says who may
/// send. SIGTERM or Ctrl-C lets messages that have begun finish.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    impaxlink hl7 listen --listen 0.0.0.0:2575\n  \
    impaxlink config set hl7.from 10.2.0.9 && impaxlink hl7 listen --listen 10.2.0.5:2575")]
pub struct ListenArgs {
    /// Address and port; by default those of the setting 'hl7.listen'
    #[arg(long, value_name = "ADDRESS:PORT")]
    listen: Option<SocketAddr>,
}

/// Runs the command until a signal ends it.
pub fn run(ui: &mut Ui, args: ListenArgs) -> anyhow::Result<ExitStatus> {
    let store = ui.store(Access::ReadWrite)?;
    let settings = store.configuration()?.settings;
    let address = args.listen.or(settings.hl7().listen).ok_or_else(|| {
        Problem::new(ExitStatus::Usage, "no address to listen on")
            .hint("give --listen ADDRESS:PORT, or set it: impaxlink config set hl7.listen 0.0.0.0:2575")
    })?;
    start_log(ui)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let listened = runtime.block_on(listen(Feed::new(SharedStore::of(store)), settings, address));
    runtime.shutdown_background();
    listened?;
    Ok(ExitStatus::Done)
}

async fn listen(feed: Feed, settings: Settings, address: SocketAddr) -> anyhow::Result<()> {
    let listener = TcpListener::bind(address)
        .await
        .with_context(|| format!("cannot listen on {address}"))?;
    tracing::info!("listening for HL7 on {}", listener.local_addr()?);
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let (feed, stop, tasks) = (Arc::new(feed), CancellationToken::new(), TaskTracker::new());
    let settings = Arc::new(Mutex::new(settings));
    tasks.spawn(work(Arc::clone(&feed), Arc::clone(&settings), stop.clone()));
    loop {
        let accepted = tokio::select! {
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, address)) => {
                let (feed, settings, stop) = (Arc::clone(&feed), Arc::clone(&settings), stop.clone());
                tasks.spawn(async move {
                    let idle = in_force(&settings).duration("timeout.idle");
                    let hl7 = || in_force(&settings).hl7();
                    if let Err(error) = feed.serve(stream, address, hl7, idle, &stop).await {
                        tracing::warn!("HL7 from {address}: {:#}", anyhow::Error::from(error));
                    }
                });
            }
            Err(error) => {
                tracing::warn!("cannot take a connection: {error}");
                tokio::time::sleep(std::time::Duration::from_millis(100)).await;
            }
        }
    }
    stop.cancel();
    tasks.close();
    let drain = in_force(&settings).duration("timeout.drain");
    // What was not finished then was not answered, and comes again.
    let _ = tokio::time::timeout(drain, tasks.wait()).await;
    Ok(())
}

fn in_force(settings: &Mutex<Settings>) -> Settings {
    settings.lock().unwrap_or_else(PoisonError::into_inner).clone()
}

async fn work(feed: Arc<Feed>, settings: Arc<Mutex<Settings>>, stop: CancellationToken) {
    let (store, attribution) = (feed.store(), by("listen"));
    while !stop.is_cancelled() {
        let newest = store.with(|store| Ok(store.configuration()?.settings)).await;
        let worked = match newest {
            Ok(newest) => {
                *settings.lock().unwrap_or_else(PoisonError::into_inner) = newest;
                match feed.is_due().await {
                    Ok(true) => work_off(&store, &attribution, &stop).await,
                    other => other.map(drop),
                }
            }
            Err(error) => Err(error),
        };
        if let Err(error) = worked {
            tracing::warn!("HL7 messages wait: {:#}", anyhow::Error::from(error));
        }
        tokio::select! {
            () = stop.cancelled() => {}
            () = feed.wait() => {}
        }
    }
}

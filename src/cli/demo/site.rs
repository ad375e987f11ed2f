//! One site of the demo: a store, an embedded archive and a running service, all in a folder of its own.
//!
//! Invariant: the service ends when the site is dropped, unless it is to be kept. Everything is on 127.0.0.1.

use std::ffi::OsStr;
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use rustix::process::{Pid, Signal, kill_process};

use crate::service::control;

/// How long a service may take to start, and to end.
const PATIENCE: Duration = Duration::from_secs(10);

/// A site of the demo.
pub struct Site {
    /// Its name, as a station and as an AE title.
    pub name: &'static str,
    /// Where its service listens.
    pub port: u16,
    /// Its store.
    pub store: PathBuf,
    service: Option<Child>,
}

impl Site {
    /// A site with nothing in it yet, in a folder below `folder`.
    pub fn new(name: &'static str, folder: &Path) -> anyhow::Result<Self> {
        let folder = folder.join(name.to_lowercase());
        std::fs::create_dir(&folder).with_context(|| format!("can't make {}", folder.display()))?;
        Ok(Site {
            name,
            port: free_port()?,
            store: folder.join("impaxlink.db"),
            service: None,
        })
    }

    /// This program with the site's store, and nothing of the caller's settings.
    pub fn command<I>(&self, arguments: I) -> anyhow::Result<Command>
    where
        I: IntoIterator,
        I::Item: AsRef<OsStr>,
    {
        let mut command = Command::new(std::env::current_exe()?);
        command
            .args(arguments)
            .env("IMPAXLINK_STORE", &self.store)
            .env_remove("IMPAXLINK_FORMAT")
            .env_remove("IMPAXLINK_STATION")
            .stdin(Stdio::null());
        Ok(command)
    }

    /// Runs a command that is only preparation.
    pub fn prepare(&self, arguments: &[&str]) -> anyhow::Result<()> {
        let output = self.command(arguments)?.output()?;
        if !output.status.success() {
            let words = arguments.join(" ");
            bail!(
                "impaxlink {words}: {}",
                String::from_utf8_lossy(&output.stderr).trim_end()
            );
        }
        Ok(())
    }

    /// Starts its service, and returns when it answers.
    pub fn serve(&mut self) -> anyhow::Result<()> {
        let log = std::fs::File::create(self.store.with_file_name("serve.log"))?;
        let mut service = self
            .command(["serve"])?
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()?;
        let deadline = Instant::now() + PATIENCE;
        while control::ping(&self.store, PATIENCE).is_err() {
            if service.try_wait()?.is_some() || Instant::now() > deadline {
                // It may have ended just now.
                let _ = service.kill();
                bail!(
                    "the service of {} did not start; see {}/serve.log",
                    self.name,
                    self.folder().display()
                );
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        self.service = Some(service);
        Ok(())
    }

    /// Lets its service end in peace.
    pub fn stop(&mut self) {
        let Some(mut service) = self.service.take() else {
            return;
        };
        let pid = i32::try_from(service.id()).ok().and_then(Pid::from_raw);
        let asked = pid.is_some_and(|pid| kill_process(pid, Signal::TERM).is_ok());
        let deadline = Instant::now() + PATIENCE;
        while asked && Instant::now() < deadline {
            if !matches!(service.try_wait(), Ok(None)) {
                return;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        // It did not end when asked; nothing of the demo stays behind.
        let _ = service.kill();
        let _ = service.wait();
    }

    /// Leaves its service running; gives its process ID.
    pub fn keep(mut self) -> Option<u32> {
        self.service.take().map(|service| service.id())
    }

    fn folder(&self) -> &Path {
        self.store.parent().unwrap_or(Path::new("."))
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        self.stop();
    }
}

/// A port that nobody has now.
fn free_port() -> anyhow::Result<u16> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    Ok(listener.local_addr()?.port())
}

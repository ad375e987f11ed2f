//! Bringing a saved generation into force: the running service reloads, and the reload command runs.
//!
//! Invariant: no service running is no failure, a service that keeps the old configuration is one.

use std::os::fd::AsFd;
use std::process::Stdio;
use std::time::Duration;

use super::error::{ExitStatus, Problem};
use super::output::Ui;
use super::view::InForceView;
use crate::model::{Generation, Settings};
use crate::service::control::{self, AfterSave, ControlError};
use crate::store::Saved;

/// What became of a saved generation.
pub enum Force {
    /// Nobody was asked, as `--no-reload` or `--dry-run` wants it.
    NotAsked,
    /// The outcomes in the service and in the reload command.
    Asked {
        /// What the running service did.
        service: ServiceForce,
        /// How the reload command ended, where there is one.
        command: Option<CommandEnd>,
    },
}

/// What the running service did with a saved generation.
pub enum ServiceForce {
    /// This generation is in force in it.
    InForce(Generation),
    /// No service runs on this store.
    NotRunning,
    /// It kept the old configuration.
    Refused {
        /// Why.
        detail: String,
        /// The generation that stays in force, where the service told.
        in_force: Option<Generation>,
    },
}

/// How the reload command ended.
pub enum CommandEnd {
    /// With this exit status; a signal counts as 128 and its number.
    Exited(i32),
    /// It was still running at the end of its time, and was killed.
    TimedOut(Duration),
    /// It could not be started.
    NotStarted(String),
}

impl Force {
    /// What follows "saved as generation N" on the screen.
    pub fn note(&self) -> String {
        let Force::Asked { service, command } = self else {
            return String::new();
        };
        let service = match service {
            ServiceForce::InForce(_) => ", in force",
            ServiceForce::NotRunning => "; no service is running here",
            ServiceForce::Refused { .. } => ", NOT in force",
        };
        let command = match command {
            Some(CommandEnd::Exited(status)) => format!("; reload command ended with status {status}"),
            Some(CommandEnd::TimedOut(_)) => "; reload command timed out".to_owned(),
            Some(CommandEnd::NotStarted(_)) => "; reload command could not be started".to_owned(),
            None => String::new(),
        };
        format!("{service}{command}")
    }

    /// What scripts are told.
    pub fn view(&self) -> InForceView {
        let mut view = InForceView {
            service: "not_asked",
            generation: None,
            detail: None,
            reload_command_status: None,
        };
        let Force::Asked { service, command } = self else {
            return view;
        };
        match service {
            ServiceForce::InForce(generation) => {
                view.service = "in_force";
                view.generation = Some(*generation);
            }
            ServiceForce::NotRunning => view.service = "not_running",
            ServiceForce::Refused { detail, in_force } => {
                view.service = "refused";
                view.detail = Some(detail.clone());
                view.generation = *in_force;
            }
        }
        if let Some(CommandEnd::Exited(status)) = command {
            view.reload_command_status = Some(*status);
        }
        view
    }

    /// The exit status of a save that ended so: not in force is a failure that says what is in force.
    pub fn status(&self, saved: &Saved) -> anyhow::Result<ExitStatus> {
        let Force::Asked { service, command } = self else {
            return Ok(ExitStatus::Done);
        };
        let generation = saved.generation;
        if let ServiceForce::Refused { detail, in_force } = service {
            let old = in_force
                .map(|old| format!(", {old} in force"))
                .unwrap_or_default();
            let message = format!("saved as generation {generation}{old}: {detail}");
            let hint = "mend it and try 'impaxlink reload', or go back with 'impaxlink generation rollback'";
            return Err(Problem::new(ExitStatus::Failed, message).hint(hint).into());
        }
        let what = match command {
            None | Some(CommandEnd::Exited(0)) => return Ok(ExitStatus::Done),
            Some(CommandEnd::Exited(status)) => format!("ended with status {status}"),
            Some(CommandEnd::TimedOut(time)) => {
                format!("was killed after {}", crate::model::show_duration(*time))
            }
            Some(CommandEnd::NotStarted(error)) => format!("could not be started: {error}"),
        };
        let message = format!("saved as generation {generation}, but the reload command {what}");
        let hint = "'impaxlink config get reload.command' shows it: mend it, or run it by hand";
        Err(Problem::new(ExitStatus::Failed, message).hint(hint).into())
    }
}

/// Asks the running service to take the newest generation, and runs the reload command after a real change.
pub fn bring_into_force(ui: &Ui, settings: &Settings, saved: &Saved) -> anyhow::Result<Force> {
    let timeout = settings.duration("reload.timeout");
    let service = reload_service(ui, saved.generation, timeout);
    let command = match settings.reload_command() {
        Some(command) if !saved.changes.is_empty() => {
            Some(run_reload_command(command, saved.generation, timeout)?)
        }
        _ => None,
    };
    Ok(Force::Asked { service, command })
}

/// Asks the service, where one runs, to take the newest generation.
fn reload_service(ui: &Ui, saved: Generation, timeout: Duration) -> ServiceForce {
    match control::reload_after_save(ui.store_path(), saved, timeout) {
        AfterSave::InForce(report) => {
            if let Some(how) = &report.store_taken_up {
                ui.notice(&format!(
                    "the service has taken up another store: the one before {how}"
                ));
            }
            ServiceForce::InForce(report.generation)
        }
        AfterSave::NotRunning => ServiceForce::NotRunning,
        AfterSave::NotInForce(ControlError::NotInForce { in_force, reason }) => ServiceForce::Refused {
            detail: reason,
            in_force: Some(in_force),
        },
        AfterSave::NotInForce(error) => ServiceForce::Refused {
            detail: format!("{:#}", anyhow::Error::from(error)),
            in_force: None,
        },
    }
}

/// Runs the reload command by the shell, in a process group of its own, for at most `timeout`. What it prints goes to
/// standard error: standard output is for data.
pub fn run_reload_command(
    command: &str,
    generation: Generation,
    timeout: Duration,
) -> anyhow::Result<CommandEnd> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let own_stderr = || std::io::stderr().as_fd().try_clone_to_owned().map(Stdio::from);
        let spawned = tokio::process::Command::new("/bin/sh")
            .args(["-c", command])
            .env("IMPAXLINK_GENERATION", generation.to_string())
            .stdin(Stdio::null())
            .stdout(own_stderr()?)
            .stderr(own_stderr()?)
            .process_group(0)
            .spawn();
        let mut child = match spawned {
            Ok(child) => child,
            Err(error) => return Ok(CommandEnd::NotStarted(error.to_string())),
        };
        match tokio::time::timeout(timeout, child.wait()).await {
            Ok(status) => Ok(CommandEnd::Exited(exit_status(status?))),
            Err(_) => {
                kill_group(&child);
                child.wait().await?;
                Ok(CommandEnd::TimedOut(timeout))
            }
        }
    })
}

fn exit_status(status: std::process::ExitStatus) -> i32 {
    use std::os::unix::process::ExitStatusExt as _;
    status
        .code()
        .unwrap_or_else(|| 128 + status.signal().unwrap_or_default())
}

/// Kills the command and all it has started.
fn kill_group(child: &tokio::process::Child) {
    let pid = child
        .id()
        .and_then(|id| i32::try_from(id).ok())
        .and_then(rustix::process::Pid::from_raw);
    if let Some(pid) = pid {
        // It may have ended by itself just now.
        let _ = rustix::process::kill_process_group(pid, rustix::process::Signal::KILL);
    }
}

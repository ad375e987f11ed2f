//! What the service manager is told, where there is one (sd_notify(3)).
//!
//! Invariant: without `NOTIFY_SOCKET` nothing happens, and a manager that does not listen is no reason to stop.

use sd_notify::NotifyState;

/// The service answers.
pub(super) fn ready() {
    tell(&[NotifyState::Ready]);
}

/// The service is taking another generation, and answers meanwhile.
pub(super) fn reloading() {
    if let Ok(now) = NotifyState::monotonic_usec_now() {
        tell(&[NotifyState::Reloading, now]);
    }
}

/// The service takes no more.
pub(super) fn stopping() {
    tell(&[NotifyState::Stopping]);
}

/// Tells the manager that we live, twice in the time it gives us; where it does not ask, never ends either.
pub(super) async fn keep_watchdog_quiet() {
    let Some(patience) = sd_notify::watchdog_enabled() else {
        return std::future::pending().await;
    };
    let mut beat = tokio::time::interval(patience / 2);
    loop {
        beat.tick().await;
        tell(&[NotifyState::Watchdog]);
    }
}

fn tell(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        tracing::debug!("the service manager was not told: {error}");
    }
}

//! Work that goes on as long as the service runs.
//!
//! Invariant: a panic in it, which is a bug, is logged, and the work begun again: it does not end until a restart.

use std::time::Duration;

use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

/// How long after it broke off it is begun again.
const PAUSE: Duration = Duration::from_secs(10);

/// Has work done to its end, again and again where it breaks off, but not once the service drains.
pub(super) async fn keep_at<F>(what: &'static str, drain: CancellationToken, begin: impl Fn() -> F)
where
    F: Future<Output = ()> + Send + 'static,
{
    while let Err(error) = tokio::spawn(begin()).await {
        tracing::error!("{what} broke off: {error}");
        tokio::select! {
            () = drain.cancelled() => return,
            () = sleep(PAUSE) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    #[test]
    fn what_breaks_off_is_begun_again_and_what_ends_is_not() {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .unwrap();
        let begun = Arc::new(AtomicU32::new(0));
        let work = || {
            let begun = Arc::clone(&begun);
            async move { assert!(begun.fetch_add(1, Ordering::SeqCst) >= 2, "it breaks off") }
        };
        runtime.block_on(keep_at("the work", CancellationToken::new(), work));
        assert_eq!(begun.load(Ordering::SeqCst), 3);
    }
}

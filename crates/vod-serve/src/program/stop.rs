//! How a program is asked to stop.

use std::{future::Future, io};

use tokio::signal::unix::{Signal, SignalKind, signal};

/// Listens for Ctrl-C and SIGTERM from now on, and waits for either. Call it within a runtime.
pub fn asked_to_stop() -> impl Future<Output = ()> {
    let [interrupted, terminated] = [SignalKind::interrupt(), SignalKind::terminate()].map(signal);
    async {
        tokio::select! {
            biased;
            () = heard(terminated) => {}
            () = heard(interrupted) => {}
        }
    }
}

/// Never, where a signal cannot be listened for.
async fn heard(signal: io::Result<Signal>) {
    match signal {
        Ok(mut signal) => _ = signal.recv().await,
        Err(_) => std::future::pending().await,
    }
}

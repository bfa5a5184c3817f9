//! A replay in a test: one line, a random port, gone when it is dropped.

use std::{fmt, net::Ipv4Addr, ops::Deref, sync::Arc};

use tokio::task::JoinHandle;
use vod_serve::Port;

use super::{Entry, Replay, ReplayError};

/// A replay that listens on a random port of loopback for as long as it lives, in the runtime that it was started in.
pub struct ReplayServer {
    replay: Arc<Replay>,
    endpoint: String,
    serving: JoinHandle<()>,
}

impl Replay {
    /// Starts it on a random port of loopback.
    ///
    /// # Errors
    /// If loopback has no free port.
    pub async fn start(self) -> Result<ReplayServer, ReplayError> {
        let port = Port::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let scheme = if matches!(self.entry, Entry::Tls(..)) { "https" } else { "http" };
        let endpoint = format!("{scheme}://{}", port.addr());
        let replay = Arc::new(self);
        let served = Arc::clone(&replay);
        let serving = tokio::spawn(async move { match served.serve(port).await {} });
        Ok(ReplayServer { replay, endpoint, serving })
    }
}

impl ReplayServer {
    /// Where it listens, such as `http://127.0.0.1:41873`.
    #[must_use]
    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// Fails the test unless everything was asked for that was recorded, and nothing else.
    ///
    /// # Panics
    /// If that is not so, with each request that was not recorded and each exchange that was not asked for.
    #[track_caller]
    pub fn assert_complete(&self) {
        let report = self.report();
        assert!(report.is_complete(), "the session did not go as it was recorded:\n{report}");
    }
}

impl Deref for ReplayServer {
    type Target = Replay;

    fn deref(&self) -> &Replay {
        &self.replay
    }
}

impl fmt::Debug for ReplayServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReplayServer").field("endpoint", &self.endpoint).finish_non_exhaustive()
    }
}

impl Drop for ReplayServer {
    fn drop(&mut self) {
        self.replay.stop();
        self.serving.abort();
    }
}

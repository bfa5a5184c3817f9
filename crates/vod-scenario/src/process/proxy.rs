//! `vod-proxy` as child processes: the recorder between client and mock, and the replay of its recording.

use std::path::Path;

use serde::Deserialize;
use tokio::process::Command;
use vod_serve::Plan;

use super::{places::Places, server::ServerProcess};
use crate::not_run::NotRun;

/// A proxy that runs.
#[derive(Debug)]
pub(super) struct ProxyProcess {
    pub(super) server: ServerProcess,
    pub(super) endpoint: String,
}

#[derive(Deserialize)]
struct Ready {
    listening: String,
}

impl ProxyProcess {
    /// Stands before the mock at this URL, and records.
    pub(super) async fn record(binary: &Path, places: &Places, upstream: &str) -> Result<Self, NotRun> {
        let mut command = Command::new(binary);
        command.args(["proxy", "record"]).arg(places.recording()).args(["--upstream", upstream]);
        Self::start(binary, places, command, |said| NotRun::Proxy { said }).await
    }

    /// Answers in the place of the mock, and has clients killed as they were killed.
    pub(super) async fn replay(binary: &Path, places: &Places, seed: u64, kills: &Plan) -> Result<Self, NotRun> {
        let mut command = Command::new(binary);
        command.args(["proxy", "replay"]).arg(places.recording()).args(["--strict", "--seed", &seed.to_string()]);
        if !kills.faults.is_empty() {
            places.write_kills(kills)?;
            command.arg("--kill-host").arg("--faults").arg(places.kills());
        }
        Self::start(binary, places, command, |said| NotRun::Replay { said }).await
    }

    async fn start(
        binary: &Path,
        places: &Places,
        mut command: Command,
        failed: impl FnOnce(String) -> NotRun,
    ) -> Result<Self, NotRun> {
        command.args(["--listen", "127.0.0.1:0"]);
        let (server, Ready { listening }) = ServerProcess::start(binary, places, command, failed).await?;
        Ok(Self { server, endpoint: listening })
    }
}

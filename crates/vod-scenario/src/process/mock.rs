//! The mock as a child process, which asks on stdout for the kills of its plan.

use std::path::Path;

use serde::Deserialize;
use tokio::process::Command;
use vod_proto::rules::Profile;

use super::{places::Places, server::ServerProcess};
use crate::{
    evidence::Target,
    format::{Scenario, Who},
    not_run::NotRun,
};

/// A mock that runs.
#[derive(Debug)]
pub(super) struct MockProcess {
    pub(super) server: ServerProcess,
    endpoint: String,
    port: u16,
    /// Where it can be asked also while it refuses its clients.
    admin: String,
}

#[derive(Deserialize)]
struct Ready {
    listening: String,
    admin: String,
}

impl MockProcess {
    /// Starts it and waits until it listens: at this port, or at one of its own choice; with the faults of the story, or
    /// when they are lifted without.
    pub(super) async fn start(
        binary: &Path,
        places: &Places,
        scenario: &Scenario,
        seed: u64,
        port: Option<u16>,
        faults: bool,
    ) -> Result<Self, NotRun> {
        let mut command = Command::new(binary);
        command.arg("mock").arg("--listen").arg(format!("127.0.0.1:{}", port.unwrap_or(0)));
        command.args(["--admin-listen", "127.0.0.1:0"]);
        command.arg("--data-dir").arg(places.data()).arg("--journal").arg(places.journal_file());
        command.arg("--limits").arg(places.limits());
        if faults && !scenario.plan().faults.is_empty() {
            command.arg("--faults").arg(places.faults());
        }
        command.arg("--seed").arg(seed.to_string()).arg("--kill-host");
        command.arg("--profile").arg(match scenario.mock.profile {
            Profile::Observed => "observed",
            Profile::Documented => "documented",
        });
        command.arg("--instant-upload").arg(if scenario.mock.instant_upload { "on" } else { "off" });
        let failed = |said| NotRun::Mock { said };
        let (server, Ready { listening, admin }) = ServerProcess::start(binary, places, command, failed).await?;
        let port = listening.rsplit_once(':').and_then(|(_, port)| port.parse().ok());
        let Some(port) = port else { return Err(failed(format!("it listens at {listening}"))) };
        Ok(Self { server, endpoint: listening, port, admin })
    }

    pub(super) fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// Where this client reaches it: by a name of its own.
    pub(super) fn endpoint_of(&self, who: Who) -> String {
        format!("http://{}:{}", Target::Process.hosts()[who as usize], self.port)
    }

    pub(super) fn admin(&self) -> &str {
        &self.admin
    }

    pub(super) const fn port(&self) -> u16 {
        self.port
    }
}

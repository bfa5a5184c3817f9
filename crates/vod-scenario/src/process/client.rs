//! The client as a child process.

use std::{
    path::Path,
    process::{ExitStatus, Stdio},
};

use tokio::process::{Child, Command};
use vod_mock::{DEMO_SECRET_ID, DEMO_SECRET_KEY};

use super::{LOG_FILTER, capture::Capture, memory::PeakMemory, places::Places};
use crate::{
    evidence::{ClientReport, Log, StepEnd},
    format::Scenario,
    run::NotRun,
};

/// A client that runs, or has run.
#[derive(Debug)]
pub(super) struct ClientProcess {
    child: Child,
    stdout: Option<Capture>,
    stderr: Option<Capture>,
    /// What it wrote to stdout, once it has ended.
    said: String,
    memory: PeakMemory,
}

impl ClientProcess {
    /// Starts it on the source.
    pub(super) fn start(
        binary: &Path,
        places: &Places,
        scenario: &Scenario,
        endpoint: &str,
        seed: u64,
    ) -> Result<Self, NotRun> {
        let mut command = Command::new(binary);
        command.args(["client", "upload"]).arg(places.source()).args(["--json", "--no-digest-cache"]);
        command.arg("--endpoint").arg(endpoint).arg("--seed").arg(seed.to_string());
        command.arg("--parallel").arg(scenario.client.parallel.to_string());
        command.arg("--part-size").arg(scenario.client.part_size.bytes().to_string());
        command.arg("--family").arg(scenario.client.family.name());
        command.arg("--dialect").arg(scenario.client.dialect.name());
        if let Some(life) = scenario.client.token_life {
            command.arg("--expires-in").arg(humantime::format_duration(life).to_string());
        }
        if let Some(stall) = scenario.client.stall_timeout {
            command.arg("--stall-timeout").arg(humantime::format_duration(stall).to_string());
        }
        if let Some(video) = &scenario.client.cover_of {
            command.arg("--cover-of").arg(video);
        }
        command.arg("--attempts").arg(scenario.attempts().to_string());
        // Nothing of the caller's environment may reach it: the same story, whoever tells it.
        command.env_clear().env("RUST_LOG", LOG_FILTER).env("NO_COLOR", "1").current_dir(places.client());
        command.env("VOD_SECRET_ID", DEMO_SECRET_ID).env("VOD_SECRET_KEY", DEMO_SECRET_KEY);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        let mut child =
            command.spawn().map_err(|source| NotRun::Setup { what: format!("start {}", binary.display()), source })?;
        Ok(Self {
            memory: PeakMemory::of(child.id()),
            stdout: child.stdout.take().map(Capture::of),
            stderr: child.stderr.take().map(Capture::of),
            said: String::new(),
            child,
        })
    }

    /// Waits until it has ended by itself. Safe to drop until it has.
    pub(super) async fn ended(&mut self) -> StepEnd {
        let status = match self.child.wait().await {
            Ok(status) => status,
            Err(error) => return StepEnd::Silent { how: format!("it could not be waited for: {error}") },
        };
        self.read_stdout().await;
        reported(status, &self.said)
    }

    async fn read_stdout(&mut self) {
        if let Some(stdout) = &mut self.stdout {
            self.said = stdout.text().await;
            self.stdout = None;
        }
    }

    /// SIGKILL. Returns when it is gone.
    pub(super) async fn kill(&mut self) {
        // It can only have ended by itself meanwhile, which is as good.
        let _ = self.child.kill().await;
    }

    pub(super) fn peak_memory(&self) -> Option<u64> {
        self.memory.bytes()
    }

    /// What it wrote, once it has ended.
    pub(super) async fn into_logs(mut self, step: usize) -> Vec<Log> {
        self.read_stdout().await;
        let mut logs = vec![Log { origin: format!("the client's stdout in step {step}"), text: self.said }];
        if let Some(mut stderr) = self.stderr.take() {
            logs.push(Log { origin: format!("the client's stderr in step {step}"), text: stderr.text().await });
        }
        logs
    }
}

/// What it says must fit how it ended: scripts look at nothing but the exit status.
fn reported(status: ExitStatus, said: &str) -> StepEnd {
    let line = said.lines().rfind(|line| !line.trim().is_empty()).unwrap_or("");
    let silent = |how: String| StepEnd::Silent { how };
    match serde_json::from_str::<ClientReport>(line) {
        Ok(report) if report.outcome.is_success() == status.success() => StepEnd::Reported(report),
        Ok(report) => silent(format!("it says {report}, and ended with {status}")),
        Err(error) => silent(format!("it ended with {status}, and its last line is no report ({error}): {line:?}")),
    }
}

#[cfg(all(test, unix))]
mod tests {
    use std::os::unix::process::ExitStatusExt as _;

    use super::*;

    fn end(code: i32, said: &str) -> String {
        reported(ExitStatus::from_raw(code << 8), said).to_string()
    }

    #[test]
    fn a_report_is_its_last_line() {
        let said = "{\"outcome\":\"finished\",\"file-id\":\"1\",\"parts-sent\":3,\"parts-skipped\":1}\n\n";
        assert_eq!(end(0, said), "finished, 3 parts sent, 1 there already");
        let said = r#"{"outcome":"failed","kind":"rejected","code":-10003,"may-be-committed":false,"message":"no"}"#;
        assert_eq!(end(3, said), "failed with -10003 (rejected): no");
    }

    #[test]
    fn a_report_that_does_not_fit_the_exit_status_is_none() {
        assert!(end(0, r#"{"outcome":"failed"}"#).contains("it says failed, and ended with exit status: 0"));
        assert!(end(1, r#"{"outcome":"finished"}"#).contains("it says finished, and ended with exit status: 1"));
        assert!(end(101, "").contains("its last line is no report"));
        assert!(end(0, r#"{"outcome":"splendid"}"#).contains("unknown variant `splendid`"));
    }
}

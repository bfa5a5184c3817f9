//! The client as a child process.

use std::{
    path::Path,
    process::{ExitStatus, Stdio},
};

use tokio::process::{Child, Command};
use vod_mock::{DEMO_SECRET_ID, DEMO_SECRET_KEY};

use super::{
    LOG_FILTER,
    capture::{Capture, Captured},
    foreign::{self, Setting},
    kin::Kin,
    memory::PeakMemory,
    places::{self, Places},
};
use crate::{
    claim::Claim,
    evidence::{ClientReport, Log, StepEnd},
    format::Scenario,
    not_run::NotRun,
    source::SourceFacts,
    telling::{Beginning, Client},
};

/// A client that runs, or has run.
#[derive(Debug)]
pub(super) struct ClientProcess {
    child: Child,
    stdout: Option<Capture>,
    stderr: Option<Capture>,
    /// What it wrote to stdout, once it has ended.
    said: Captured,
    memory: PeakMemory,
    /// What it starts, if it is not ours.
    kin: Option<Kin>,
    /// Where a digest is kept that it believes.
    _claim: Option<Claim>,
}

impl Client for ClientProcess {
    async fn ended(&mut self) -> StepEnd {
        let status = match self.child.wait().await {
            Ok(status) => status,
            Err(error) => return StepEnd::Silent { how: format!("it could not be waited for: {error}") },
        };
        if self.kin.is_some() {
            return foreign::ended(status);
        }
        self.read_stdout().await;
        reported(status, &self.said.text)
    }

    /// SIGKILL, to it and to what it started. Returns when it is gone.
    async fn kill(&mut self) {
        if let Some(kin) = &self.kin {
            kin.kill();
        }
        // It can only have ended by itself meanwhile, which is as good.
        let _ = self.child.kill().await;
    }
}

impl ClientProcess {
    /// Lets a client of a story, whose own source this is, begin at a server. Says what it uploads, by the digest that it
    /// believes in.
    pub(super) fn begin(
        binary: &Path,
        places: &Places,
        (story, facts): (&Scenario, SourceFacts),
        beginning: &Beginning<'_>,
        endpoint: &str,
    ) -> Result<(Self, SourceFacts), NotRun> {
        let Beginning { own, step, who, seed, .. } = beginning;
        let (file, mut source) = places.source_of(own, story, *step, *who, facts)?;
        let mut claim = None;
        if own.source.claims_source {
            source.sha1 = facts.sha1;
            claim = Some(places::claim(&file, source)?);
        }
        let (file, digests) = (&*file, claim.as_ref().map(Claim::dir));
        let setting = Setting { places, scenario: own, endpoint, file, seed: *seed, file_sha1: source.sha1, digests };
        let client = Self::start(binary, &setting)?;
        Ok((Self { _claim: claim, ..client }, source))
    }

    /// Starts it on the source: ours, or the one that the scenario puts in its place.
    fn start(binary: &Path, setting: &Setting<'_>) -> Result<Self, NotRun> {
        let (mut command, mut kin) = match &setting.scenario.client.command {
            None => (ours(binary, setting), None),
            Some(client) => {
                let mut command = foreign::command(client, setting);
                // No two clients have the same directory at the same time, nor the same dice in one story.
                let mark = format!("{}:{}", setting.places.client().display(), setting.seed);
                let kin = Kin::marked(&mut command, mark);
                (command, Some(kin))
            }
        };
        command.current_dir(setting.places.client());
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn().map_err(|source| {
            let program = command.as_std().get_program().to_string_lossy();
            NotRun::Setup { what: format!("start {program}"), source }
        })?;
        if let Some(kin) = &mut kin {
            kin.begun(child.id());
        }
        Ok(Self {
            memory: PeakMemory::of(child.id()),
            stdout: child.stdout.take().map(Capture::of),
            stderr: child.stderr.take().map(Capture::of),
            said: Captured::default(),
            kin,
            _claim: None,
            child,
        })
    }

    async fn read_stdout(&mut self) {
        if let Some(stdout) = &mut self.stdout {
            self.said = stdout.captured().await;
            self.stdout = None;
        }
    }

    pub(super) fn peak_memory(&self) -> Option<u64> {
        self.memory.bytes()
    }

    /// What it started and left behind, when it has ended. It is killed.
    pub(super) async fn left_behind(&mut self) -> Vec<String> {
        match &mut self.kin {
            Some(kin) => kin.left_behind().await,
            None => vec![],
        }
    }

    /// What it wrote, once it has ended, and what of that could not be kept.
    pub(super) async fn into_logs(mut self, whose: &str, step: usize) -> (Vec<Log>, Vec<String>) {
        self.read_stdout().await;
        let mut streams = vec![("stdout", std::mem::take(&mut self.said))];
        if let Some(mut stderr) = self.stderr.take() {
            streams.push(("stderr", stderr.captured().await));
        }
        let (mut logs, mut lost) = (Vec::new(), Vec::new());
        for (stream, captured) in streams {
            let origin = format!("{whose}'s {stream} in step {step}");
            lost.extend(captured.lost().map(|lost| format!("{origin}: {lost}")));
            logs.push(Log { origin, text: captured.text });
        }
        (logs, lost)
    }
}

/// Our own client.
fn ours(binary: &Path, Setting { scenario, endpoint, file, seed, digests, .. }: &Setting<'_>) -> Command {
    let mut command = Command::new(binary);
    command.args(["client", "upload"]).arg(file).arg("--json");
    match digests {
        Some(dir) => command.arg("--digest-cache").arg(dir),
        None => command.arg("--no-digest-cache"),
    };
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
    command.env_clear().env("RUST_LOG", LOG_FILTER).env("NO_COLOR", "1");
    command.env("VOD_SECRET_ID", DEMO_SECRET_ID).env("VOD_SECRET_KEY", DEMO_SECRET_KEY);
    command
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

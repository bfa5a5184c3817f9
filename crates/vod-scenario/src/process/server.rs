//! A program that serves, as a child process: it says on stdout where it listens, and may ask there for kills.

use std::{
    path::Path,
    process::{ExitStatus, Stdio},
};

use serde::de::DeserializeOwned;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines},
    process::{Child, ChildStdin, ChildStdout, Command},
    time::timeout,
};
use vod_serve::KillTarget;

use super::{LOG_FILTER, PATIENCE, capture::Capture, memory::PeakMemory, places::Places};
use crate::{evidence::Log, not_run::NotRun, telling::Ask};

/// A server that runs.
#[derive(Debug)]
pub(super) struct ServerProcess {
    child: Child,
    stdin: Option<ChildStdin>,
    stdout: Lines<BufReader<ChildStdout>>,
    stderr: Capture,
    memory: PeakMemory,
    /// What it said on stdout beside what it was meant to.
    strays: String,
}

/// What is left of it.
#[derive(Debug)]
pub(super) struct Remains {
    pub(super) stderr: String,
    stdout: String,
    pub(super) peak_memory: Option<u64>,
    /// How it ended when it was asked to, if it did.
    pub(super) ended: Result<ExitStatus, String>,
}

impl ServerProcess {
    /// Starts it and waits for its first line. What it says if it does not start is the error.
    pub(super) async fn start<R: DeserializeOwned>(
        binary: &Path,
        places: &Places,
        mut command: Command,
        failed: impl FnOnce(String) -> NotRun,
    ) -> Result<(Self, R), NotRun> {
        // Nothing of the caller's environment may reach it: the same story, whoever tells it.
        command.env_clear().env("RUST_LOG", LOG_FILTER).env("NO_COLOR", "1").current_dir(places.client());
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        let mut child =
            command.spawn().map_err(|source| NotRun::Setup { what: format!("start {}", binary.display()), source })?;
        let (Some(stdout), Some(stderr)) = (child.stdout.take(), child.stderr.take()) else {
            unreachable!("both streams were piped")
        };
        let mut server = Self {
            memory: PeakMemory::of(child.id()),
            stdin: child.stdin.take(),
            stdout: BufReader::new(stdout).lines(),
            stderr: Capture::of(stderr),
            strays: String::new(),
            child,
        };
        let line = timeout(PATIENCE, server.stdout.next_line()).await;
        let ready = line.ok().and_then(Result::ok).flatten();
        match ready.and_then(|line| serde_json::from_str(&line).ok()) {
            Some(ready) => Ok((server, ready)),
            None => Err(failed(server.kill().await.stderr.trim().to_owned())),
        }
    }

    /// Waits until it wants somebody killed; none when it has ended. Safe to drop at any time.
    pub(super) async fn asked_to_kill(&mut self) -> Option<Ask> {
        loop {
            let line = self.stdout.next_line().await.ok().flatten()?;
            match serde_json::from_str(&line) {
                Ok(ask) => return Some(ask),
                Err(_) => {
                    self.strays.push_str(&line);
                    self.strays.push('\n');
                }
            }
        }
    }

    /// Tells it that somebody is dead. If it cannot be told, it is dead itself, and the next look at it will show.
    pub(super) async fn killed(&mut self, target: KillTarget) {
        if let Some(stdin) = &mut self.stdin {
            let line = format!("{}\n", serde_json::json!({ "killed": target }));
            let _ = stdin.write_all(line.as_bytes()).await;
            let _ = stdin.flush().await;
        }
    }

    /// SIGKILL.
    pub(super) async fn kill(mut self) -> Remains {
        let killed = self.child.kill().await;
        let ended = self.child.wait().await.map_err(|error| error.to_string());
        self.remains(killed.map_err(|error| format!("could not be killed: {error}")).and(ended)).await
    }

    /// SIGTERM, and SIGKILL if that is not heard.
    pub(super) async fn stop(mut self) -> Remains {
        let pid = self.child.id().and_then(|pid| i32::try_from(pid).ok()).and_then(rustix::process::Pid::from_raw);
        let asked = pid.map(|pid| rustix::process::kill_process(pid, rustix::process::Signal::TERM));
        let ended = match (asked, timeout(PATIENCE, self.child.wait()).await) {
            (Some(Ok(())), Ok(Ok(status))) => Ok(status),
            (_, Ok(Ok(status))) => Err(format!("had ended before it was asked to: {status}")),
            (_, Ok(Err(error))) => Err(format!("could not be waited for: {error}")),
            (_, Err(_)) => {
                let _ = self.child.kill().await;
                Err(format!("did not end within {} s when asked to", PATIENCE.as_secs()))
            }
        };
        self.remains(ended).await
    }

    async fn remains(mut self, ended: Result<ExitStatus, String>) -> Remains {
        let peak_memory = self.memory.bytes();
        while self.asked_to_kill().await.is_some() {}
        Remains { stderr: self.stderr.captured().await.text, stdout: self.strays, peak_memory, ended }
    }
}

impl Remains {
    pub(super) fn logs(&self, name: &str) -> [Log; 2] {
        [("stdout", &self.stdout), ("stderr", &self.stderr)]
            .map(|(stream, text)| Log { origin: format!("{name}'s {stream}"), text: text.clone() })
    }

    /// Why it is no orderly end of one that was asked to stop.
    pub(super) fn refused_to_stop(&self, name: &str) -> Option<String> {
        match &self.ended {
            Ok(status) if status.success() => None,
            Ok(status) => Some(format!("{name} did not end in an orderly way: {status}")),
            Err(how) => Some(format!("{name} {how}")),
        }
    }
}

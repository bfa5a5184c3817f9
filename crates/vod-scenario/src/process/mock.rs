//! The mock as a child process, which asks on stdout for the kills of its plan.

use std::{path::Path, process::Stdio};

use serde::Deserialize;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines},
    process::{Child, ChildStdin, ChildStdout, Command},
    time::timeout,
};
use vod_proto::rules::Profile;
use vod_serve::KillTarget;

use super::{LOG_FILTER, PATIENCE, capture::Capture, memory::PeakMemory, places::Places};
use crate::{evidence::Log, format::Scenario, run::NotRun};

/// A mock that runs.
#[derive(Debug)]
pub(super) struct MockProcess {
    child: Child,
    stdin: Option<ChildStdin>,
    stdout: Lines<BufReader<ChildStdout>>,
    stderr: Capture,
    memory: PeakMemory,
    endpoint: String,
    port: u16,
    /// Where it can be asked also while it refuses its clients.
    admin: String,
    /// What it said on stdout beside what it was meant to.
    strays: String,
}

/// It wants somebody killed.
#[derive(Debug, Deserialize)]
pub(super) struct Ask {
    pub(super) kill: KillTarget,
    pub(super) fault: String,
}

/// What is left of it.
#[derive(Debug)]
pub(super) struct Remains {
    stderr: String,
    stdout: String,
    pub(super) peak_memory: Option<u64>,
    /// Why it is no orderly end.
    pub(super) refused_to_stop: Option<String>,
}

#[derive(Deserialize)]
struct Ready {
    listening: String,
    admin: String,
}

impl MockProcess {
    /// Starts it and waits until it listens: at this port, or at one of its own choice.
    pub(super) async fn start(
        binary: &Path,
        places: &Places,
        scenario: &Scenario,
        seed: u64,
        port: Option<u16>,
    ) -> Result<Self, NotRun> {
        let mut command = Command::new(binary);
        command.arg("mock").arg("--listen").arg(format!("127.0.0.1:{}", port.unwrap_or(0)));
        command.args(["--admin-listen", "127.0.0.1:0"]);
        command.arg("--data-dir").arg(places.data()).arg("--journal").arg(places.journal_file());
        command.arg("--limits").arg(places.limits());
        if !scenario.plan().faults.is_empty() {
            command.arg("--faults").arg(places.faults());
        }
        command.arg("--seed").arg(seed.to_string()).arg("--kill-host");
        command.arg("--profile").arg(match scenario.mock.profile {
            Profile::Observed => "observed",
            Profile::Documented => "documented",
        });
        command.arg("--instant-upload").arg(if scenario.mock.instant_upload { "on" } else { "off" });
        // Nothing of the caller's environment may reach it: the same story, whoever tells it.
        command.env_clear().env("RUST_LOG", LOG_FILTER).env("NO_COLOR", "1").current_dir(places.client());
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        let mut child =
            command.spawn().map_err(|source| NotRun::Setup { what: format!("start {}", binary.display()), source })?;
        let (Some(stdout), Some(stderr)) = (child.stdout.take(), child.stderr.take()) else {
            unreachable!("both streams were piped")
        };
        let mut mock = Self {
            memory: PeakMemory::of(child.id()),
            stdin: child.stdin.take(),
            stdout: BufReader::new(stdout).lines(),
            stderr: Capture::of(stderr),
            endpoint: String::new(),
            port: 0,
            admin: String::new(),
            strays: String::new(),
            child,
        };
        let line = timeout(PATIENCE, mock.stdout.next_line()).await;
        let ready = line.ok().and_then(Result::ok).flatten();
        let ready = ready.and_then(|line| serde_json::from_str::<Ready>(&line).ok());
        let listening = ready.and_then(|ready| {
            let port = ready.listening.rsplit_once(':')?.1.parse().ok()?;
            Some((ready.listening, port, ready.admin))
        });
        let Some((endpoint, port, admin)) = listening else {
            let remains = mock.kill().await;
            return Err(NotRun::Mock { said: remains.stderr.trim().to_owned() });
        };
        (mock.endpoint, mock.port, mock.admin) = (endpoint, port, admin);
        Ok(mock)
    }

    pub(super) fn endpoint(&self) -> &str {
        &self.endpoint
    }

    pub(super) fn admin(&self) -> &str {
        &self.admin
    }

    pub(super) const fn port(&self) -> u16 {
        self.port
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
        self.remains(killed.err().map(|error| format!("the mock could not be killed: {error}"))).await
    }

    /// SIGTERM, and SIGKILL if that is not heard.
    pub(super) async fn stop(mut self) -> Remains {
        let pid = self.child.id().and_then(|pid| i32::try_from(pid).ok()).and_then(rustix::process::Pid::from_raw);
        let asked = pid.map(|pid| rustix::process::kill_process(pid, rustix::process::Signal::TERM));
        let refused = match (asked, timeout(PATIENCE, self.child.wait()).await) {
            (Some(Ok(())), Ok(Ok(status))) if status.success() => None,
            (_, Ok(Ok(status))) => Some(format!("the mock did not end in an orderly way: {status}")),
            (_, Ok(Err(error))) => Some(format!("the mock could not be waited for: {error}")),
            (_, Err(_)) => {
                let _ = self.child.kill().await;
                Some(format!("the mock did not end within {} s when asked to", PATIENCE.as_secs()))
            }
        };
        self.remains(refused).await
    }

    async fn remains(mut self, refused_to_stop: Option<String>) -> Remains {
        let peak_memory = self.memory.bytes();
        while self.asked_to_kill().await.is_some() {}
        Remains { stderr: self.stderr.captured().await.text, stdout: self.strays, peak_memory, refused_to_stop }
    }
}

impl Remains {
    pub(super) fn logs(&self, name: &str) -> [Log; 2] {
        [("stdout", &self.stdout), ("stderr", &self.stderr)]
            .map(|(stream, text)| Log { origin: format!("{name}'s {stream}"), text: text.clone() })
    }
}

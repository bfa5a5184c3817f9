//! What a client that is not ours starts: killed with it, and found where it is left behind.

use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use tokio::process::Command;

use crate::clock::Stopwatch;

/// The environment variable by which a process is known for the kin of a client, wherever it has gone.
const MARK: &str = "VOD_SCENARIO_STEP";

/// How long what a client started may outlive it. Default 1 s: the ends of a pipeline go one after the other.
const GRACE: Duration = Duration::from_secs(1);

/// How often it is looked whether they are gone.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// A client and every process that it started, or that those started.
///
/// They are a process group of their own; who leaves it, as daemons do, is known by its environment, on Linux.
#[derive(Debug)]
pub(super) struct Kin {
    mark: String,
    group: Option<Pid>,
}

/// A process of them that runs.
struct Relative {
    pid: Pid,
    name: String,
}

impl Kin {
    /// Prepares a command, so that what it starts will be known. `mark` is no other client's.
    pub(super) fn marked(command: &mut Command, mark: String) -> Self {
        command.process_group(0).env(MARK, &mark);
        Self { mark, group: None }
    }

    /// It runs, under this id, and is a group of its own.
    pub(super) fn begun(&mut self, id: Option<u32>) {
        self.group = id.and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
    }

    /// SIGKILL to all of them.
    pub(super) fn kill(&self) {
        if let Some(group) = self.group {
            // Whoever is gone already need not be killed.
            let _ = kill_process_group(group, Signal::KILL);
        }
        for relative in self.alive() {
            let _ = kill_process(relative.pid, Signal::KILL);
        }
    }

    /// The names of those that the client left behind, when it has ended. They are killed.
    pub(super) async fn left_behind(&mut self) -> Vec<String> {
        let stopwatch = Stopwatch::start();
        let mut left = self.alive();
        while !left.is_empty() && stopwatch.elapsed() < GRACE {
            tokio::time::sleep(LOOK_EVERY).await;
            left = self.alive();
        }
        if !left.is_empty() {
            self.kill();
        }
        // From here on the group's number may be somebody else's.
        self.group = None;
        left.into_iter().map(|relative| relative.name).collect()
    }

    fn alive(&self) -> Vec<Relative> {
        alive(self.group, &self.mark)
    }
}

impl Drop for Kin {
    fn drop(&mut self) {
        if self.group.is_some() {
            self.kill();
        }
    }
}

#[cfg(target_os = "linux")]
fn alive(group: Option<Pid>, mark: &str) -> Vec<Relative> {
    let Ok(entries) = std::fs::read_dir("/proc") else { return vec![] };
    let ids = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let mut kin: Vec<_> = ids.filter_map(Pid::from_raw).filter_map(|pid| relative(pid, group, mark)).collect();
    kin.sort_by_key(|relative| relative.pid.as_raw_nonzero());
    kin
}

/// The process with this id, if it is one of them and not merely waiting to be forgotten.
#[cfg(target_os = "linux")]
fn relative(pid: Pid, group: Option<Pid>, mark: &str) -> Option<Relative> {
    let proc = format!("/proc/{}", pid.as_raw_nonzero());
    let stat = std::fs::read_to_string(format!("{proc}/stat")).ok()?;
    // `PID (NAME) STATE PARENT GROUP …`, and a name may hold anything.
    let (head, rest) = stat.rsplit_once(") ")?;
    let name = head.split_once('(')?.1.to_owned();
    let mut fields = rest.split(' ');
    if matches!(fields.next()?, "Z" | "X") {
        return None;
    }
    let of_group = fields.nth(1)?.parse().ok().and_then(Pid::from_raw);
    let marked = || {
        let environment = std::fs::read(format!("{proc}/environ")).unwrap_or_default();
        let wanted = format!("{MARK}={mark}");
        environment.split(|byte| *byte == 0).any(|variable| variable == wanted.as_bytes())
    };
    ((group.is_some() && of_group == group) || marked()).then_some(Relative { pid, name })
}

#[cfg(not(target_os = "linux"))]
fn alive(group: Option<Pid>, _mark: &str) -> Vec<Relative> {
    let lives = |group: &Pid| rustix::process::test_kill_process_group(*group).is_ok();
    group.filter(lives).map(|pid| Relative { pid, name: "a process of its group".to_owned() }).into_iter().collect()
}

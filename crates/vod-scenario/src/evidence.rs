//! What a run leaves behind to be judged: the same from both targets.

use std::{borrow::Cow, collections::BTreeMap, time::Duration};

use serde::{Deserialize, Serialize};
use vod_mock::UploadView;
use vod_proto::{Code, Exchange};
use vod_serve::{fault::Fate, host_name};

use crate::{
    format::{Restart, Who},
    proxied::Proxied,
    source::SourceFacts,
};

/// Where a scenario runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Target {
    /// Real client and real mock in one thread, over pipes in memory, on a paused clock.
    Sim,
    /// Real processes over loopback sockets, killed by SIGKILL.
    Process,
}

impl Target {
    /// Both, the faster first.
    pub const ALL: [Self; 2] = [Self::Sim, Self::Process];

    /// The word for it on the command line and in reports.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Sim => "sim",
            Self::Process => "process",
        }
    }

    /// The hosts at which the clients `a` and `b` reach the mock: by them it is known whose a request is.
    #[must_use]
    pub const fn hosts(self) -> [&'static str; 2] {
        match self {
            Self::Sim => ["mock.sim", "b.mock.sim"],
            // Two names of one address, on every machine.
            Self::Process => ["127.0.0.1", "localhost"],
        }
    }
}

impl std::fmt::Display for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.name())
    }
}

/// Everything that is known of a run.
#[derive(Clone, Debug)]
pub struct Evidence {
    /// Where it ran.
    pub target: Target,
    /// What was to be uploaded.
    pub source: SourceFacts,
    /// Every exchange that the mock saw, over all its lives, by sequence number.
    pub exchanges: Vec<Exchange>,
    /// What became of each upload, in the order in which they ended; of two that ended in one step `a` stands first.
    pub steps: Vec<StepEvidence>,
    /// What became of each planned fault.
    pub faults: Vec<Fate>,
    /// What happened beside the exchanges, in order.
    pub events: Vec<Event>,
    /// How many exchanges were dropped from the journal.
    pub evicted: u64,
    /// What could not be found out. With any of it, nothing is passed.
    pub missing: Vec<String>,
    /// What was left behind: connections, tasks, files, processes.
    pub left_behind: Vec<String>,
    /// What panicked: a program, or a task of one that went on without it.
    pub panics: Vec<String>,
    /// Words that may stand nowhere, with what they are.
    pub secrets: Vec<Secret>,
    /// What the programs wrote: name and text.
    pub logs: Vec<Log>,
    /// Peak memory by program in bytes, where it was measured.
    pub peak_memory: BTreeMap<String, u64>,
    /// What a recorder between client and mock saw, where there was one.
    pub proxied: Option<Proxied>,
}

impl Evidence {
    /// Nothing has happened yet.
    #[must_use]
    pub const fn begin(target: Target, source: SourceFacts, secrets: Vec<Secret>) -> Self {
        Self {
            target,
            source,
            exchanges: Vec::new(),
            steps: Vec::new(),
            faults: Vec::new(),
            events: Vec::new(),
            evicted: 0,
            missing: Vec::new(),
            left_behind: Vec::new(),
            panics: Vec::new(),
            secrets,
            logs: Vec::new(),
            peak_memory: BTreeMap::new(),
            proxied: None,
        }
    }
}

/// A word that may stand nowhere.
#[derive(Clone)]
pub struct Secret {
    /// What it is.
    pub name: &'static str,
    /// The word itself.
    pub value: String,
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name)
    }
}

/// What a program wrote.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Log {
    /// Which program, and which of its streams.
    pub origin: String,
    /// Its words.
    pub text: String,
}

/// What became of an upload in the step in which it ended.
#[derive(Clone, Debug, PartialEq)]
pub struct StepEvidence {
    /// The step in which it ended, counted from 1.
    pub step: usize,
    /// The step in which it began: an earlier one, where it was held in between.
    pub began: usize,
    /// Whose it is.
    pub who: Who,
    /// What was to be uploaded: how many bytes, and the SHA-1 that the client goes by.
    pub source: SourceFacts,
    /// How it ended.
    pub end: StepEnd,
    /// The sequence number of the last exchange that had begun before it.
    pub after_seq: u64,
    /// The sequence number of the last exchange that had begun when the step was over.
    pub last_seq: u64,
    /// How long it took, from the beginning of the step.
    pub elapsed: Duration,
    /// What the mock held after the step.
    pub uploads: Vec<UploadView>,
}

/// How a step ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StepEnd {
    /// The client ended by itself, and said this.
    Reported(ClientReport),
    /// The client was killed, by this fault.
    Killed {
        /// The fault's id.
        fault: String,
    },
    /// A client that is not ours ended by itself. Its exit code is all that it says.
    Exited {
        /// What it says.
        says: ExitSays,
        /// How the system tells it.
        how: String,
    },
    /// The client did not end in time, and was ended.
    TimedOut,
    /// The client ended without saying anything that can be read.
    Silent {
        /// How it ended, and what it said instead.
        how: String,
    },
}

/// What the exit code of a client that is not ours says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExitSays {
    /// The file is there: 0.
    Stored,
    /// The upload failed: any other but 8.
    Failed,
    /// It failed, and the file may be there all the same: 8, as `vod-client` has it.
    FailedMaybeStored,
}

/// How an upload ended, as the client says.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct ClientReport {
    /// Success of which sort, or failure.
    pub outcome: ReportedOutcome,
    /// The kind of the failure.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// The code that the server answered last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<Code>,
    /// Of a failure: may the file be committed all the same?
    #[serde(default)]
    pub may_be_committed: bool,
    /// How many parts were sent.
    #[serde(default)]
    pub parts_sent: Option<u64>,
    /// How many parts were there already.
    #[serde(default)]
    pub parts_skipped: Option<u64>,
    /// The failure in words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

/// The client's word for how an upload ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ReportedOutcome {
    /// It finished.
    #[default]
    Finished,
    /// An earlier finish, whose reply was lost, had committed it.
    CommittedEarlier,
    /// The service had the file already.
    Existed,
    /// It failed.
    Failed,
}

impl ReportedOutcome {
    /// Does the client say that the file is there?
    #[must_use]
    pub fn is_success(self) -> bool {
        self != Self::Failed
    }
}

impl StepEnd {
    /// What the client said, if it said anything.
    #[must_use]
    pub fn report(&self) -> Option<&ClientReport> {
        match self {
            Self::Reported(report) => Some(report),
            _ => None,
        }
    }

    /// Does the client say that the file is there?
    #[must_use]
    pub fn is_success(&self) -> bool {
        match self {
            Self::Reported(report) => report.outcome.is_success(),
            Self::Exited { says, .. } => *says == ExitSays::Stored,
            Self::Killed { .. } | Self::TimedOut | Self::Silent { .. } => false,
        }
    }
}

impl std::fmt::Display for StepEnd {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Reported(report) => report.fmt(f),
            Self::Killed { fault } => write!(f, "killed by fault {fault:?}"),
            Self::Exited { says, how } => {
                let says = match says {
                    ExitSays::Stored => "the file is there",
                    ExitSays::Failed => "it failed",
                    ExitSays::FailedMaybeStored => "it failed, and the file may be there",
                };
                write!(f, "{how} ({says})")
            }
            Self::TimedOut => f.write_str("still running at its time limit"),
            Self::Silent { how } => write!(f, "without a report: {how}"),
        }
    }
}

impl std::fmt::Display for ClientReport {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.outcome {
            ReportedOutcome::Finished => f.write_str("finished")?,
            ReportedOutcome::CommittedEarlier => f.write_str("committed-earlier")?,
            ReportedOutcome::Existed => f.write_str("existed")?,
            ReportedOutcome::Failed => {
                f.write_str("failed")?;
                match (self.code, &self.kind) {
                    (Some(code), Some(kind)) => write!(f, " with {code} ({kind})")?,
                    (Some(code), None) => write!(f, " with {code}")?,
                    (None, Some(kind)) => write!(f, " ({kind})")?,
                    (None, None) => {}
                }
                if self.may_be_committed {
                    f.write_str(", may have been committed")?;
                }
                if let Some(message) = &self.message {
                    write!(f, ": {message}")?;
                }
            }
        }
        if let (Some(sent), Some(skipped)) = (self.parts_sent, self.parts_skipped) {
            write!(f, ", {sent} parts sent, {skipped} there already")?;
        }
        Ok(())
    }
}

/// Something that happened beside the exchanges.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// The last exchange that had begun before.
    pub after_seq: u64,
    /// What happened.
    pub what: Happening,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Happening {
    /// A step began; counted from 1.
    StepBegan(usize),
    /// The client was killed, by this fault.
    ClientKilled(String),
    /// The mock was killed, by this fault.
    MockKilled(String),
    /// The mock took connections again.
    MockBack,
    /// The faults were lifted.
    FaultsLifted,
    /// A request of the client is held under this name, and the step is over.
    Held {
        /// The step, counted from 1.
        step: usize,
        /// The name.
        hold: String,
    },
    /// What was held under this name was let go.
    Released {
        /// By this step, counted from 1.
        step: usize,
        /// The name.
        hold: String,
    },
    /// The mock was ended, to be started again.
    Restarted {
        /// By this step, counted from 1.
        step: usize,
        /// How.
        how: Restart,
    },
}

impl Evidence {
    /// A text with every secret replaced by what it is: a report of a leak must not be the next one.
    #[must_use]
    pub fn masked(&self, text: &str) -> String {
        let mask = |text: String, secret: &Secret| text.replace(&secret.value, &format!("[{}]", secret.name));
        self.secrets.iter().fold(text.to_owned(), mask)
    }

    /// The upload that an upload is known as by the mock, when it was over; none if the mock did not know it.
    #[must_use]
    pub fn upload_after<'a>(&self, step: &'a StepEvidence) -> Option<&'a UploadView> {
        step.uploads.iter().find(|upload| upload.file_sha1 == step.source.sha1)
    }

    /// Were there two clients?
    #[must_use]
    pub fn has_two(&self) -> bool {
        self.steps.iter().any(|step| step.who == Who::B)
    }

    /// What an upload is called: by its step, and by its client where there were two.
    #[must_use]
    pub fn name_of(&self, step: &StepEvidence) -> String {
        if self.has_two() { format!("step {}, client {}", step.step, step.who) } else { format!("step {}", step.step) }
    }

    /// Whose a request is, as far as its host tells.
    #[must_use]
    pub fn who(&self, exchange: &Exchange) -> Option<Who> {
        let host = host_name(&exchange.request.host);
        Who::BOTH.into_iter().zip(self.target.hosts()).find(|(_, known)| *known == host).map(|(who, _)| who)
    }

    /// Were two uploads ever under way at the same time?
    #[must_use]
    pub fn concurrent(&self, one: &StepEvidence, other: &StepEvidence) -> bool {
        one.who != other.who && one.after_seq < other.last_seq && other.after_seq < one.last_seq
    }

    /// Between which numbers the requests of an upload are: from the first to the last, both included.
    #[must_use]
    pub fn window(&self, step: &StepEvidence) -> (u64, u64) {
        let before = self.steps.iter().map(|other| other.last_seq).filter(|last| *last <= step.after_seq).max();
        (before.unwrap_or(0) + 1, step.last_seq)
    }

    /// Is every exchange there that was seen while an upload was under way?
    #[must_use]
    pub fn is_whole_in(&self, step: &StepEvidence) -> bool {
        let (from, to) = self.window(step);
        self.is_whole(from, to) && !self.nobodys().any(|exchange| (from..=to).contains(&exchange.seq))
    }

    /// The exchanges that were seen while two uploads were under way, and came to a host of neither.
    pub(crate) fn nobodys(&self) -> impl Iterator<Item = &Exchange> {
        let shared = |exchange: &&Exchange| {
            let within = |step: &&StepEvidence| (step.after_seq + 1..=step.last_seq).contains(&exchange.seq);
            let mut there = self.steps.iter().filter(within);
            there.any(|step| self.steps.iter().any(|other| self.concurrent(step, other)))
        };
        let of_two = if self.has_two() { &self.exchanges[..] } else { &[] };
        of_two.iter().filter(|exchange| self.who(exchange).is_none()).filter(shared)
    }

    /// The exchanges of an upload, in order.
    #[must_use]
    pub fn exchanges_of(&self, step: &StepEvidence) -> Cow<'_, [Exchange]> {
        let (from, to) = self.window(step);
        let first = self.exchanges.partition_point(|exchange| exchange.seq < from);
        let last = self.exchanges.partition_point(|exchange| exchange.seq <= to);
        let all = self.exchanges.get(first..last).unwrap_or_default();
        if !self.steps.iter().any(|other| self.concurrent(step, other)) {
            return Cow::Borrowed(all);
        }
        Cow::Owned(all.iter().filter(|exchange| self.who(exchange) == Some(step.who)).cloned().collect())
    }

    /// Of which upload an exchange is, counted from 0.
    #[must_use]
    pub fn upload_of(&self, exchange: &Exchange) -> Option<usize> {
        self.steps.iter().position(|step| {
            let (from, to) = self.window(step);
            let shared = self.steps.iter().any(|other| self.concurrent(step, other));
            (from..=to).contains(&exchange.seq) && (!shared || self.who(exchange) == Some(step.who))
        })
    }

    /// How many exchanges are missing: those that the journal dropped, or whose numbers are left out.
    #[must_use]
    pub fn lacking(&self) -> u64 {
        let listed = self.exchanges.last().map_or(0, |exchange| exchange.seq);
        let last = self.steps.iter().map(|step| step.last_seq).fold(listed, u64::max);
        self.evicted.max(last.saturating_sub(self.exchanges.len() as u64))
    }

    /// Is every exchange there from this number up to that?
    #[must_use]
    pub fn is_whole(&self, from: u64, to: u64) -> bool {
        let before = |seq| self.exchanges.partition_point(|exchange| exchange.seq < seq) as u64;
        let behind = to.saturating_add(1);
        before(behind).saturating_sub(before(from)) == behind.saturating_sub(from)
    }

    /// Every upload with its exchanges.
    pub fn by_step(&self) -> impl Iterator<Item = (&StepEvidence, Cow<'_, [Exchange]>)> {
        self.steps.iter().map(|step| (step, self.exchanges_of(step)))
    }
}

//! The target `process`: real binaries over loopback sockets, killed by SIGKILL.
//!
//! - `mock`, `client`: the two programs as child processes; both die with whoever holds them.
//! - `proxy`: a recorder between them, and the replay of what it recorded; `server`: what all that serve have in common.
//! - `foreign`: a client that is not ours, in the place of it; `kin`: what it starts.
//! - `admin`: what the mock says of itself.
//! - `capture`: what programs write, kept up to a bound; `memory`: what they need.
//! - `places`: the files of a run, and what must be left of them.

mod admin;
mod capture;
mod client;
mod foreign;
mod kin;
mod memory;
mod mock;
mod places;
mod proxy;
mod server;

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use vod_mock::{DEMO_SECRET_ID, DEMO_SECRET_KEY, UploadState, UploadView};
use vod_proto::{Exchange, Query, sign::SecretKey, ugc::UploadSignature};
use vod_serve::KillTarget;

use self::{
    client::ClientProcess, foreign::Setting, mock::MockProcess, places::Places, proxy::ProxyProcess, server::Ask,
};
use crate::{
    clock::Stopwatch,
    evidence::{Event, Evidence, Happening, Log, Secret, StepEnd, StepEvidence, Target},
    format::{Faults, Scenario},
    proxied::{self, Proxied, Retold},
    run::NotRun,
    source,
};

/// What the programs write to their logs: enough that a secret in any of it would be seen.
const LOG_FILTER: &str = "info,vod_client=debug,vod_mock=debug,vod_proxy=debug,vod_serve=debug";

/// How long a program may take to start, to stop when asked, or to answer a question.
/// Default 20 s: a hundred times what they need, for machines that are busy with other things.
const PATIENCE: Duration = Duration::from_secs(20);

/// The secrets of a run: the documentation's public example pair, which no run may show all the same.
pub(crate) fn secrets() -> Vec<Secret> {
    vec![
        Secret { name: "the SecretId", value: DEMO_SECRET_ID.to_owned() },
        Secret { name: "the secret key", value: DEMO_SECRET_KEY.to_owned() },
        Secret { name: "an upload signature", value: every_token() },
    ]
}

/// What stands in every upload signature that names the SecretId first, as most makers do, whatever else it says.
fn every_token() -> String {
    let mut fields = Query::default();
    fields.push("s", DEMO_SECRET_ID);
    let token = UploadSignature::sign(&SecretKey::new(DEMO_SECRET_KEY), &fields);
    // The proof and `s=` are 22 bytes, so the ninth group of three is the first that is of the SecretId alone;
    // the last group depends on what follows.
    token[32..token.len() - 4].to_owned()
}

/// Tells a story with real processes of this binary.
///
/// # Errors
/// If it could not be told: no file could be written, or no process started.
pub fn run(scenario: &Scenario, seed: u64, binary: &Path, keep: Option<&Path>) -> Result<Evidence, NotRun> {
    block_on(tell(scenario, seed, binary, keep, Recorded::Not))
}

/// The same through a recorder, and again on the replay of what was recorded.
///
/// # Errors
/// If it could not be told or recorded, or its recording not be replayed.
pub fn run_through_proxy(
    scenario: &Scenario,
    seed: u64,
    binary: &Path,
    keep: Option<&Path>,
) -> Result<Evidence, NotRun> {
    block_on(tell(&as_recorded(scenario), seed, binary, keep, Recorded::WithTheRest))
}

/// The same, and the recording stays: in this directory, which is empty.
///
/// # Errors
/// If it could not be told or recorded, or its recording not be replayed.
pub fn record(scenario: &Scenario, seed: u64, binary: &Path, into: &Path) -> Result<Evidence, NotRun> {
    block_on(tell(&as_recorded(scenario), seed, binary, None, Recorded::In(into)))
}

/// Is there a recorder, and where does it record?
#[derive(Clone, Copy)]
enum Recorded<'a> {
    Not,
    /// Among the other files of the run.
    WithTheRest,
    In(&'a Path),
}

/// A story as it can be told again on a replay.
fn as_recorded(scenario: &Scenario) -> Scenario {
    let mut scenario = scenario.clone();
    if !proxied::kills(&scenario).faults.is_empty() {
        // Which parts are under way when a client dies is chance where several are, and no replay could be asked the same.
        scenario.client.parallel = 1;
    }
    scenario
}

fn block_on(telling: impl Future<Output = Result<Evidence, NotRun>>) -> Result<Evidence, NotRun> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|source| NotRun::Setup { what: "start a runtime".to_owned(), source })?;
    runtime.block_on(async {
        tokio::select! {
            biased;
            told = telling => told,
            // Dropping the story kills its processes.
            _ = tokio::signal::ctrl_c() => Err(NotRun::Interrupted),
        }
    })
}

async fn tell(
    scenario: &Scenario,
    seed: u64,
    binary: &Path,
    keep: Option<&Path>,
    recorded: Recorded<'_>,
) -> Result<Evidence, NotRun> {
    let mut places = Places::make(scenario, keep)?;
    if let Recorded::In(dir) = recorded {
        places.record_in(dir);
    }
    let path = places.source();
    let facts = source::in_file(&scenario.source, &path)
        .map_err(|source| NotRun::Setup { what: format!("write {}", path.display()), source })?;
    let evidence = Evidence::begin(Target::Process, facts, secrets());
    let mock = MockProcess::start(binary, &places, scenario, seed, None).await?;
    let recorder = match recorded {
        Recorded::Not => None,
        Recorded::WithTheRest | Recorded::In(_) => Some(ProxyProcess::record(binary, &places, mock.endpoint()).await?),
    };
    let mut story = Story {
        scenario,
        seed,
        binary,
        places: &places,
        mock: Some(mock),
        recorder,
        evidence,
        lives: 1,
        healing: false,
    };
    for number in 1..=scenario.steps().len() {
        story.step(number).await?;
    }
    let mut evidence = story.close().await?;
    if !matches!(recorded, Recorded::Not) {
        let retold = retell(scenario, seed, binary, &places, &mut evidence).await?;
        evidence.proxied = Some(Proxied::read(places.recording(), &evidence.secrets, retold));
    }
    Ok(evidence)
}

/// Tells the steps of a story to the replay of its recording.
async fn retell(
    scenario: &Scenario,
    seed: u64,
    binary: &Path,
    places: &Places,
    evidence: &mut Evidence,
) -> Result<Retold, NotRun> {
    let ProxyProcess { mut server, endpoint } = ProxyProcess::replay(binary, places, scenario, seed).await?;
    let mut retold = Retold::default();
    for number in 1..=scenario.steps().len() {
        let seed = seed.wrapping_add(number as u64);
        let file_sha1 = evidence.source.sha1;
        let mut client =
            ClientProcess::start(binary, &Setting { places, scenario, endpoint: &endpoint, seed, file_sha1 })?;
        let end = tokio::select! {
            biased;
            end = client.ended() => end,
            asked = server.asked_to_kill() => {
                client.kill().await;
                match asked {
                    Some(Ask { kill, fault }) => {
                        server.killed(kill).await;
                        StepEnd::Killed { fault }
                    }
                    None => StepEnd::Silent { how: "the replay ended, and nobody had asked it to".to_owned() },
                }
            }
            () = tokio::time::sleep(scenario.limit(number - 1)) => {
                client.kill().await;
                StepEnd::TimedOut
            }
        };
        let (logs, _) = client.into_logs(number).await;
        evidence
            .logs
            .extend(logs.into_iter().map(|log| Log { origin: format!("{} of the replay", log.origin), ..log }));
        retold.ends.push(end);
    }
    let remains = server.stop().await;
    retold.said.extend(remains.refused_to_stop("the replay"));
    // It says what was not as it was recorded, and nothing else is said so.
    let complaints = remains.stderr.lines().filter_map(|line| line.strip_prefix("vod-proxy: "));
    retold.said.extend(complaints.map(str::to_owned));
    evidence.logs.extend(remains.logs("the replay"));
    Ok(retold)
}

struct Story<'a> {
    scenario: &'a Scenario,
    seed: u64,
    binary: &'a Path,
    places: &'a Places,
    /// None only while it is dead.
    mock: Option<MockProcess>,
    /// Who stands between it and the clients, if anybody does.
    recorder: Option<ProxyProcess>,
    evidence: Evidence,
    lives: usize,
    /// The faults are lifted.
    healing: bool,
}

impl Story<'_> {
    async fn step(&mut self, number: usize) -> Result<(), NotRun> {
        if self.scenario.steps().nth(number - 1).is_some_and(|step| step.faults == Faults::Off) && !self.healing {
            self.heal().await;
        }
        let after_seq = self.last_seq().await;
        self.evidence.events.push(Event { after_seq, what: Happening::StepBegan(number) });
        let recorder = self.recorder.as_ref().map(|recorder| recorder.endpoint.clone());
        let Some(endpoint) = recorder.or_else(|| Some(self.mock.as_ref()?.endpoint().to_owned())) else {
            return Ok(());
        };
        let stopwatch = Stopwatch::start();
        let seed = self.seed.wrapping_add(number as u64);
        let file_sha1 = self.evidence.source.sha1;
        let setting = Setting { places: self.places, scenario: self.scenario, endpoint: &endpoint, seed, file_sha1 };
        let mut client = ClientProcess::start(self.binary, &setting)?;
        let end = self.watch(&mut client, stopwatch, self.scenario.limit(number - 1)).await?;
        let elapsed = stopwatch.elapsed();
        let left = client.left_behind().await.into_iter();
        self.evidence
            .left_behind
            .extend(left.map(|name| format!("the client left a process behind in step {number}: {name}")));
        if let Some(peak) = client.peak_memory() {
            let known = self.evidence.peak_memory.entry("client".to_owned()).or_default();
            *known = (*known).max(peak);
        }
        let (logs, lost) = client.into_logs(number).await;
        self.evidence.logs.extend(logs);
        self.evidence.missing.extend(lost);
        let last_seq = self.last_seq().await;
        let uploads = self.ask(admin::uploads).await.unwrap_or_default();
        self.evidence.steps.push(StepEvidence { end, last_seq, elapsed, uploads });
        Ok(())
    }

    /// Waits for the client to end, kills whom the mock wants killed, and keeps the time limit.
    async fn watch(
        &mut self,
        client: &mut ClientProcess,
        stopwatch: Stopwatch,
        limit: Duration,
    ) -> Result<StepEnd, NotRun> {
        loop {
            let Some(mock) = &mut self.mock else { return Ok(StepEnd::Silent { how: "there was no mock".to_owned() }) };
            let left = limit.saturating_sub(stopwatch.elapsed());
            tokio::select! {
                biased;
                end = client.ended() => return Ok(end),
                asked = mock.server.asked_to_kill() => match asked {
                    Some(Ask { kill: KillTarget::Client, fault }) => {
                        client.kill().await;
                        mock.server.killed(KillTarget::Client).await;
                        self.happened(Happening::ClientKilled(fault.clone())).await;
                        return Ok(StepEnd::Killed { fault });
                    }
                    Some(Ask { kill: KillTarget::Mock, fault }) => self.kill_mock(fault).await?,
                    None => {
                        self.evidence.missing.push("the mock ended, and nobody had asked it to".to_owned());
                        client.kill().await;
                        return Ok(StepEnd::Silent { how: "it was ended because there was no mock any more".to_owned() });
                    }
                },
                () = tokio::time::sleep(left) => {
                    client.kill().await;
                    return Ok(StepEnd::TimedOut);
                }
            }
        }
    }

    /// Lifts the faults, and writes down what became of them.
    async fn heal(&mut self) {
        self.healing = true;
        self.evidence.faults = self.ask(admin::lift_faults).await.unwrap_or_default();
        // A door that one of them shut opens by itself.
        tokio::time::sleep(self.scenario.longest_refusal()).await;
        self.happened(Happening::FaultsLifted).await;
    }

    /// Kills the mock and starts it again: the same port, the same data, the same journal.
    async fn kill_mock(&mut self, fault: String) -> Result<(), NotRun> {
        let Some(mock) = self.mock.take() else { return Ok(()) };
        let port = mock.port();
        let remains = mock.server.kill().await;
        self.lay_to_rest(&remains);
        // The journal's file is all that can say what had been seen: nobody is there to be asked.
        let after_seq = self.places.journal().map_or(0, |exchanges| last_of(&exchanges));
        self.evidence.events.push(Event { after_seq, what: Happening::MockKilled(fault) });
        self.lives += 1;
        let mock = MockProcess::start(self.binary, self.places, self.scenario, self.seed, Some(port)).await?;
        self.mock = Some(mock);
        self.happened(Happening::MockBack).await;
        Ok(())
    }

    async fn happened(&mut self, what: Happening) {
        let after_seq = self.last_seq().await;
        self.evidence.events.push(Event { after_seq, what });
    }

    async fn last_seq(&mut self) -> u64 {
        self.ask(admin::exchanges).await.map_or(0, |exchanges| last_of(&exchanges))
    }

    /// Asks the mock something. An answer that does not come is missing evidence.
    async fn ask<T>(&mut self, question: impl AsyncFn(&str) -> Result<T, admin::NoAnswer>) -> Option<T> {
        let endpoint = self.mock.as_ref()?.admin();
        match question(endpoint).await {
            Ok(answer) => Some(answer),
            Err(error) => {
                self.evidence.missing.push(error.to_string());
                None
            }
        }
    }

    fn lay_to_rest(&mut self, remains: &server::Remains) {
        let name = if self.lives == 1 { "the mock".to_owned() } else { format!("the mock's life {}", self.lives) };
        self.evidence.logs.extend(remains.logs(&name));
        if let Some(peak) = remains.peak_memory {
            let known = self.evidence.peak_memory.entry("mock".to_owned()).or_default();
            *known = (*known).max(peak);
        }
    }

    /// Stops the mock and gathers what is left.
    async fn close(mut self) -> Result<Evidence, NotRun> {
        let planted = self.ask(admin::faults).await.unwrap_or_default();
        self.evidence.faults.extend(planted);
        if let Some(recorder) = self.recorder.take() {
            let remains = recorder.server.stop().await;
            self.evidence.left_behind.extend(remains.refused_to_stop("the recorder"));
            self.evidence.peak_memory.extend(remains.peak_memory.map(|peak| ("recorder".to_owned(), peak)));
            self.evidence.logs.extend(remains.logs("the recorder"));
        }
        if let Some(mock) = self.mock.take() {
            // Asked to stop, and not killed: whatever is still under way is then written down as left by its client.
            let remains = mock.server.stop().await;
            self.lay_to_rest(&remains);
            self.evidence.left_behind.extend(remains.refused_to_stop("the mock"));
        }
        let mut evidence = self.evidence;
        match self.places.journal() {
            Ok(exchanges) => {
                let last = evidence.steps.last().map_or(0, |step| step.last_seq);
                evidence.missing.extend(gap(&exchanges, last));
                evidence.exchanges = exchanges;
            }
            Err(error) => evidence.missing.push(error),
        }
        let parts = evidence.steps.last().and_then(|step| parts_kept(&step.uploads));
        evidence.left_behind.extend(self.places.left_behind(evidence.source, parts));
        Ok(evidence)
    }
}

/// How many parts the mock keeps; none where a session was opened after a commit, because the session hides the file.
fn parts_kept(uploads: &[UploadView]) -> Option<u64> {
    let hidden = uploads.iter().any(|upload| upload.state == UploadState::Open && upload.commits > 0);
    (!hidden).then(|| uploads.iter().map(|upload| upload.parts).sum())
}

fn last_of(exchanges: &[Exchange]) -> u64 {
    exchanges.iter().map(|exchange| exchange.seq).max().unwrap_or(0)
}

/// Is a number left out, up to the last that the mock spoke of? Then something happened that nobody wrote down.
///
/// The file keeps what the mock dropped from memory, so that only a line that was never written can be missing.
fn gap(exchanges: &[Exchange], last: u64) -> Option<String> {
    let mut written = exchanges.iter().zip(1..);
    if let Some((exchange, expected)) = written.find(|(exchange, expected)| exchange.seq != *expected) {
        return Some(format!("the journal has request {} where request {expected} is expected", exchange.seq));
    }
    let end = last_of(exchanges);
    (end < last).then(|| format!("the journal ends with request {end}, and the mock spoke of request {last}"))
}

/// The binary that is running: it can be client and mock too.
///
/// # Errors
/// If the system cannot tell.
pub fn this_binary() -> std::io::Result<PathBuf> {
    std::env::current_exe()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::judge::crafted::Story;

    #[test]
    fn a_line_that_was_never_written_is_missed_wherever_it_is() {
        let said = |lost: u64| {
            let mut story = Story::plain();
            story.lose(lost);
            gap(&story.evidence.exchanges, 5)
        };
        assert_eq!(gap(&Story::plain().evidence.exchanges, 5), None);
        assert_eq!(said(1).as_deref(), Some("the journal has request 2 where request 1 is expected"));
        assert_eq!(said(4).as_deref(), Some("the journal has request 5 where request 4 is expected"));
        assert_eq!(said(5).as_deref(), Some("the journal ends with request 4, and the mock spoke of request 5"));
    }
}

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
    future::poll_fn,
    path::{Path, PathBuf},
    task::Poll,
    time::Duration,
};

use vod_mock::{DEMO_SECRET_ID, DEMO_SECRET_KEY, UploadState, UploadView};
use vod_proto::{Exchange, Query, sign::SecretKey, ugc::UploadSignature};
use vod_serve::KillTarget;

use self::{
    client::ClientProcess, foreign::Setting, mock::MockProcess, places::Places, proxy::ProxyProcess, server::Ask,
};
use crate::{
    claim::Claim,
    clock::Stopwatch,
    evidence::{Event, Evidence, Happening, Log, Secret, StepEnd, StepEvidence, Target},
    format::{Does, Faults, Restart, Scenario, Step, StepExpect, Who},
    proxied::{Proxied, Retold},
    run::NotRun,
    source::{self, SourceFacts},
};

/// What the programs write to their logs: enough that a secret in any of it would be seen.
const LOG_FILTER: &str = "info,vod_client=debug,vod_mock=debug,vod_proxy=debug,vod_serve=debug";

/// How long a program may take to start, to stop when asked, or to answer a question.
/// Default 20 s: a hundred times what they need, for machines that are busy with other things.
const PATIENCE: Duration = Duration::from_secs(20);

/// How soon the mock is asked again whether somebody is held. Default 20 ms: a person does not notice, nor does the mock.
const LOOKED_AGAIN: Duration = Duration::from_millis(20);

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

/// A story as it can be told again on a replay: where an upload ends before all of it was sent, killed or given up, what was
/// under way by then is chance if several parts were, and no replay could be asked the same.
fn as_recorded(scenario: &Scenario) -> Scenario {
    let mut scenario = scenario.clone();
    let ends_early = |step: &Step| matches!(step.expect, Some(StepExpect::Killed | StepExpect::Failed(_)));
    if scenario.steps().any(ends_early) {
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
    let mock = MockProcess::start(binary, &places, scenario, seed, None, true).await?;
    let recorder = match recorded {
        Recorded::Not => None,
        Recorded::WithTheRest | Recorded::In(_) => Some(ProxyProcess::record(binary, &places, mock.endpoint()).await?),
    };
    let mut story = Story {
        scenario,
        running: Vec::new(),
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
    for (step, number) in scenario.steps().zip(1..) {
        // Whoever was held is held by the time that the recording has, if by anything.
        if matches!(step.does(), Does::Restart(_) | Does::Release(..)) {
            continue;
        }
        let seed = seed.wrapping_add(number as u64);
        let (file_sha1, file) = (evidence.source.sha1, places.source());
        let (endpoint, file) = (&*endpoint, &*file);
        let setting = Setting { places, scenario, endpoint, file, seed, file_sha1, digests: None };
        let mut client = ClientProcess::start(binary, &setting)?;
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
        let (logs, _) = client.into_logs("the client", number).await;
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

/// Somebody who uploads, and how that ended.
struct Running {
    began: usize,
    who: Who,
    source: SourceFacts,
    after_seq: u64,
    client: ClientProcess,
    end: Option<(StepEnd, Duration)>,
    /// Under which name it was left held, by an earlier step.
    held: Option<String>,
    /// Where a digest is kept that it believes.
    _claim: Option<Claim>,
}

/// Waits for the first of those that are under way to end.
async fn first_ended(running: &mut [Running]) -> (usize, StepEnd) {
    let under_way = running.iter_mut().enumerate().filter(|(_, running)| running.end.is_none());
    let mut ends: Vec<_> =
        under_way.map(|(at, running)| Box::pin(async move { (at, running.client.ended().await) })).collect();
    poll_fn(|cx| {
        let ended = ends.iter_mut().find_map(|end| match end.as_mut().poll(cx) {
            Poll::Ready(ended) => Some(ended),
            Poll::Pending => None,
        });
        ended.map_or(Poll::Pending, Poll::Ready)
    })
    .await
}

/// Waits until one of these faults holds somebody.
async fn until_held(admin: &str, faults: &[String]) {
    loop {
        // A mock that does not answer is missed by whoever asks it next.
        let fates = admin::faults(admin).await.unwrap_or_default();
        if fates.iter().any(|fate| fate.held > 0 && faults.contains(&fate.id)) {
            return;
        }
        tokio::time::sleep(LOOKED_AGAIN).await;
    }
}

struct Story<'a> {
    scenario: &'a Scenario,
    /// Who is under way: those of this step, and one that an earlier step left held.
    running: Vec<Running>,
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
        let scenario = self.scenario;
        let Some(step) = scenario.steps().nth(number - 1) else { return Ok(()) };
        if step.faults == Faults::Off && !self.healing {
            self.heal().await;
        }
        let after_seq = self.last_seq().await;
        let stopwatch = Stopwatch::start();
        match step.does() {
            Does::Upload(..) | Does::Together(_) => {
                self.evidence.events.push(Event { after_seq, what: Happening::StepBegan(number) });
                for teller in scenario.tellers().into_iter().filter(|teller| teller.step == number) {
                    let running = self.begin(number, teller.who, after_seq)?;
                    self.running.push(running);
                }
            }
            Does::Release(hold, _) => {
                self.ask(async |endpoint: &str| admin::release(endpoint, hold).await).await;
                self.evidence
                    .events
                    .push(Event { after_seq, what: Happening::Released { step: number, hold: hold.to_owned() } });
            }
            Does::Restart(restart) => return self.restart(number, restart, after_seq).await,
        }
        // Whoever was left held is waited for when he is released.
        let waits = |running: &Running| match step.does() {
            Does::Release(hold, _) => running.held.as_deref() == Some(hold),
            _ => running.began == number,
        };
        let holds = match step.does() {
            Does::Upload(_, StepExpect::Held(hold)) => scenario.holding(hold),
            _ => vec![],
        };
        let held = self.watch(number, &waits, &holds, stopwatch, scenario.limit(number - 1)).await?;
        if let (true, Does::Upload(_, StepExpect::Held(hold))) = (held, step.does()) {
            let left = self.running.iter_mut().filter(|running| running.began == number);
            left.for_each(|running| running.held = Some(hold.clone()));
            self.happened(Happening::Held { step: number, hold: hold.clone() }).await;
            return Ok(());
        }
        let (over, others): (Vec<_>, _) = std::mem::take(&mut self.running).into_iter().partition(waits);
        self.running = others;
        let mut ended = Vec::new();
        for Running { began, who, source, after_seq, client, end, .. } in over {
            let (end, elapsed) =
                end.unwrap_or_else(|| (StepEnd::Silent { how: "there was no mock".to_owned() }, stopwatch.elapsed()));
            self.bury(number, who, client).await;
            ended.push((began, who, source, after_seq, end, elapsed));
        }
        let last_seq = self.last_seq().await;
        let uploads = self.ask(admin::uploads).await.unwrap_or_default();
        for (began, who, source, after_seq, end, elapsed) in ended {
            let (step, uploads) = (number, uploads.clone());
            self.evidence.steps.push(StepEvidence {
                step,
                began,
                who,
                source,
                end,
                after_seq,
                last_seq,
                elapsed,
                uploads,
            });
        }
        Ok(())
    }

    /// Lets a client begin.
    fn begin(&self, step: usize, who: Who, after_seq: u64) -> Result<Running, NotRun> {
        let own = self.scenario.of(step, who);
        let recorder = self.recorder.as_ref().map(|recorder| recorder.endpoint.clone());
        let endpoint = match (recorder, &self.mock) {
            (Some(endpoint), _) => endpoint,
            (None, Some(mock)) => mock.endpoint_of(who),
            (None, None) => return Err(NotRun::Mock { said: "it is dead".to_owned() }),
        };
        let (file, mut source) = self.places.source_of(&own, self.scenario, step, who, self.evidence.source)?;
        let mut claim = None;
        if own.source.claims_source {
            source.sha1 = self.evidence.source.sha1;
            claim = Some(places::claim(&file, source)?);
        }
        // Each has dice of its own.
        let number = if who == Who::A { step } else { step + self.scenario.steps().len() };
        let seed = self.seed.wrapping_add(number as u64);
        let digests = claim.as_ref().map(Claim::dir);
        let (places, endpoint, file, file_sha1) = (self.places, &*endpoint, &*file, source.sha1);
        let setting = Setting { places, scenario: &own, endpoint, file, seed, file_sha1, digests };
        let client = ClientProcess::start(self.binary, &setting)?;
        Ok(Running { began: step, who, source, after_seq, client, end: None, held: None, _claim: claim })
    }

    /// Gathers what a client leaves that has ended.
    async fn bury(&mut self, step: usize, who: Who, mut client: ClientProcess) {
        let whose = if self.scenario.has_two_at_once() { format!("the client {who}") } else { "the client".to_owned() };
        let left = client.left_behind().await.into_iter();
        self.evidence
            .left_behind
            .extend(left.map(|name| format!("{whose} left a process behind in step {step}: {name}")));
        if let Some(peak) = client.peak_memory() {
            let known = self.evidence.peak_memory.entry("client".to_owned()).or_default();
            *known = (*known).max(peak);
        }
        let (logs, lost) = client.into_logs(&whose, step).await;
        self.evidence.logs.extend(logs);
        self.evidence.missing.extend(lost);
    }

    /// Waits for those to end that the step waits for, kills whom the mock wants killed, and keeps the time limit.
    /// Returns whether somebody is held by one of these faults, which ends it too.
    async fn watch(
        &mut self,
        number: usize,
        waits: &impl Fn(&Running) -> bool,
        holds: &[String],
        stopwatch: Stopwatch,
        limit: Duration,
    ) -> Result<bool, NotRun> {
        loop {
            let mut waited_for = self.running.iter().filter(|running| waits(running));
            if waited_for.all(|running| running.end.is_some()) {
                return Ok(false);
            }
            let Some(mock) = &mut self.mock else { return Ok(false) };
            let left = limit.saturating_sub(stopwatch.elapsed());
            let admin = mock.admin().to_owned();
            tokio::select! {
                biased;
                (at, end) = first_ended(&mut self.running) => self.running[at].end = Some((end, stopwatch.elapsed())),
                asked = mock.server.asked_to_kill() => match asked {
                    Some(Ask { kill: KillTarget::Client, fault }) => {
                        let victim = self.scenario.victim(&fault);
                        let is_victim = |running: &Running| {
                            running.end.is_none() && victim.map_or(running.began == number, |who| running.who == who)
                        };
                        // Where nobody is left to be killed, the fault has struck and killed nobody, which is a finding.
                        let killed = match self.running.iter().position(is_victim) {
                            Some(at) => {
                                self.running[at].client.kill().await;
                                let end = StepEnd::Killed { fault: fault.clone() };
                                self.running[at].end = Some((end, stopwatch.elapsed()));
                                true
                            }
                            None => false,
                        };
                        if let Some(mock) = &mut self.mock {
                            mock.server.killed(KillTarget::Client).await;
                        }
                        if killed {
                            self.happened(Happening::ClientKilled(fault)).await;
                        }
                    }
                    Some(Ask { kill: KillTarget::Mock, fault }) => self.kill_mock(Happening::MockKilled(fault)).await?,
                    None => {
                        self.evidence.missing.push("the mock ended, and nobody had asked it to".to_owned());
                        let how = "it was ended because there was no mock any more";
                        self.end_all(&|_| true, &StepEnd::Silent { how: how.to_owned() }, stopwatch).await;
                    }
                },
                () = until_held(&admin, holds), if !holds.is_empty() => return Ok(true),
                () = tokio::time::sleep(left) => self.end_all(waits, &StepEnd::TimedOut, stopwatch).await,
            }
        }
    }

    async fn end_all(&mut self, whom: &impl Fn(&Running) -> bool, end: &StepEnd, stopwatch: Stopwatch) {
        for running in self.running.iter_mut().filter(|running| running.end.is_none() && whom(running)) {
            running.client.kill().await;
            running.end = Some((end.clone(), stopwatch.elapsed()));
        }
    }

    /// Ends the mock, as a step wants it, and starts it again.
    async fn restart(&mut self, step: usize, how: Restart, after_seq: u64) -> Result<(), NotRun> {
        if how == Restart::Kill {
            return self.kill_mock(Happening::Restarted { step, how }).await;
        }
        let Some(mock) = self.mock.take() else { return Ok(()) };
        self.evidence.events.push(Event { after_seq, what: Happening::Restarted { step, how } });
        let port = mock.port();
        let remains = mock.server.stop().await;
        self.evidence.left_behind.extend(remains.refused_to_stop("the mock"));
        self.lay_to_rest(&remains);
        self.start_again(port).await
    }

    /// Lifts the faults, and writes down what became of them.
    async fn heal(&mut self) {
        self.healing = true;
        self.evidence.faults = self.ask(admin::lift_faults).await.unwrap_or_default();
        // A door that one of them shut opens by itself.
        tokio::time::sleep(self.scenario.longest_refusal()).await;
        self.happened(Happening::FaultsLifted).await;
    }

    /// Kills the mock and starts it again.
    async fn kill_mock(&mut self, what: Happening) -> Result<(), NotRun> {
        let Some(mock) = self.mock.take() else { return Ok(()) };
        let port = mock.port();
        let remains = mock.server.kill().await;
        self.lay_to_rest(&remains);
        // The journal's file is all that can say what had been seen: nobody is there to be asked.
        let after_seq = self.places.journal().map_or(0, |exchanges| last_of(&exchanges));
        self.evidence.events.push(Event { after_seq, what });
        self.start_again(port).await
    }

    /// Starts it again: the same port, the same data, the same journal.
    async fn start_again(&mut self, port: u16) -> Result<(), NotRun> {
        self.lives += 1;
        let faults = !self.healing;
        let mock = MockProcess::start(self.binary, self.places, self.scenario, self.seed, Some(port), faults).await?;
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
        evidence.panics = panics(&evidence.logs, self.scenario);
        let parts = evidence.steps.last().and_then(|step| parts_kept(&step.uploads));
        evidence.left_behind.extend(self.places.left_behind(evidence.source, parts));
        Ok(evidence)
    }
}

/// What the programs of this house say of panics of theirs. What another client prints is its own affair.
fn panics(logs: &[Log], scenario: &Scenario) -> Vec<String> {
    let foreign = scenario.tellers().iter().any(|teller| scenario.of(teller.step, teller.who).client.command.is_some());
    let ours = logs.iter().filter(|log| !(foreign && log.origin.starts_with("the client")));
    let said = ours.flat_map(|log| log.text.lines().map(move |line| (&log.origin, line)));
    said.filter(|(_, line)| line.starts_with("thread '") && line.contains("panicked at"))
        .map(|(origin, line)| format!("in {origin}: {line}"))
        .collect()
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
    fn a_panic_is_read_off_what_our_own_programs_say() {
        let mut story = Story::plain();
        let said = "listening\nthread 'main' (7) panicked at crates/x.rs:1:2:\na mistake\n";
        for origin in ["the mock's stderr", "the client's stderr in step 1"] {
            story.evidence.logs.push(Log { origin: origin.to_owned(), text: said.to_owned() });
        }
        let heard = panics(&story.evidence.logs, &story.scenario);
        assert_eq!(heard.len(), 2, "{heard:?}");
        assert_eq!(heard[0], "in the mock's stderr: thread 'main' (7) panicked at crates/x.rs:1:2:");
        story.scenario.client.command = "java -jar up.jar".parse().ok();
        assert_eq!(panics(&story.evidence.logs, &story.scenario).len(), 1);
    }

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

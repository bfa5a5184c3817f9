//! A story as it happens: who uploads, who waits, who is killed, and what all of them leave as evidence.

use std::{future::poll_fn, path::Path, task::Poll, time::Duration};

use vod_serve::KillTarget;

use super::{
    admin,
    afterwards::{gap, last_of, panics, parts_kept},
    client::ClientProcess,
    foreign::Setting,
    mock::MockProcess,
    places::{self, Places},
    proxy::ProxyProcess,
    server::{self, Ask},
};
use crate::{
    claim::Claim,
    clock::Stopwatch,
    evidence::{Event, Evidence, Happening, StepEnd, StepEvidence},
    format::{Does, Faults, Restart, Scenario, StepExpect, Who},
    run::NotRun,
    source::SourceFacts,
};
/// How soon the mock is asked again whether somebody is held. Default 20 ms: a person does not notice, nor does the mock.
const LOOKED_AGAIN: Duration = Duration::from_millis(20);

/// Somebody who uploads, and how that ended.
pub(super) struct Running {
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

pub(super) struct Story<'a> {
    pub(super) scenario: &'a Scenario,
    /// Who is under way: those of this step, and one that an earlier step left held.
    pub(super) running: Vec<Running>,
    pub(super) seed: u64,
    pub(super) binary: &'a Path,
    pub(super) places: &'a Places,
    /// None only while it is dead.
    pub(super) mock: Option<MockProcess>,
    /// Who stands between it and the clients, if anybody does.
    pub(super) recorder: Option<ProxyProcess>,
    pub(super) evidence: Evidence,
    pub(super) lives: usize,
    /// The faults are lifted.
    pub(super) healing: bool,
}

impl Story<'_> {
    pub(super) async fn step(&mut self, number: usize) -> Result<(), NotRun> {
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
    pub(super) async fn close(mut self) -> Result<Evidence, NotRun> {
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

//! One telling of a story: who begins, who is waited for, who is killed, when a step is over, and what it leaves as evidence.
//!
//! All that is decided here, once for both targets. A [`World`] does what was decided, and says what happens in it.

#[cfg(test)]
mod tests;

use std::{borrow::Cow, future::poll_fn, task::Poll, time::Duration};

use serde::Deserialize;
use tokio::{sync::oneshot, time::timeout};
use vod_mock::UploadView;
use vod_serve::{KillTarget, fault::Fate};

use crate::{
    clock::Stopwatch,
    evidence::{Event, Evidence, Happening, StepEnd, StepEvidence},
    format::{Does, Faults, Restart, Scenario, Step, StepExpect, Who},
    not_run::NotRun,
    source::SourceFacts,
};

/// Where a story happens: a mock and whoever uploads to it.
pub(crate) trait World {
    /// Somebody who uploads.
    type Client: Client;

    /// What is known of this run.
    fn evidence(&mut self) -> &mut Evidence;

    /// The number of the last exchange that was seen; of a mock that is dead too.
    async fn last_seq(&mut self) -> u64;

    /// Lets a client begin. Says what it uploads, by the digest that it believes in.
    fn begin(&mut self, beginning: &Beginning<'_>) -> Result<(Self::Client, SourceFacts), NotRun>;

    /// Waits until there is something to be told. Safe to drop until there is.
    async fn news(&mut self, running: &mut [Running<Self::Client>], holds: &[String]) -> News;

    /// Tells whoever asked that it is done.
    async fn killed(&mut self, ask: Ask);

    /// Lets go whom the mock holds under this name. It may be that nobody is held any more.
    async fn release(&mut self, hold: &str);

    /// Lifts the faults. Says what became of each.
    async fn lift(&mut self) -> Vec<Fate>;

    /// Ends the mock.
    async fn end_mock(&mut self, how: Restart);

    /// Starts it again on what it had kept: with the faults of the story, or without.
    async fn mock_back(&mut self, faults: bool) -> Result<(), NotRun>;

    /// Gathers what a client leaves that has ended in this step.
    async fn bury(&mut self, step: usize, who: Who, client: Self::Client);

    /// What the mock holds when a step is over, and the last exchange by then.
    async fn settled(&mut self) -> (Vec<UploadView>, u64);
}

/// Somebody who uploads in a world.
pub(crate) trait Client {
    /// Waits until it has ended by itself. Safe to drop until it has.
    async fn ended(&mut self) -> StepEnd;

    /// Kills it. Returns when it is gone.
    async fn kill(&mut self);
}

/// What happens in a world while a step is under way.
pub(crate) enum News {
    /// One of those who are under way has ended.
    Ended(usize, StepEnd),
    /// The mock wants somebody killed.
    Asked(Ask),
    /// One of the faults that were named holds somebody.
    Held,
    /// The mock has ended by itself.
    MockGone,
}

/// Somebody is to be killed.
#[derive(Debug, Deserialize)]
pub(crate) struct Ask {
    /// Who.
    pub(crate) kill: KillTarget,
    /// By which fault.
    pub(crate) fault: String,
    /// Dropped when it is done, where whoever asks is no process of its own.
    #[serde(skip)]
    pub(crate) done: Option<oneshot::Sender<()>>,
}

/// A client that is to begin.
pub(crate) struct Beginning<'a> {
    /// The story as this client sees it.
    pub(crate) own: Cow<'a, Scenario>,
    /// In which step, counted from 1.
    pub(crate) step: usize,
    /// Which of the clients it is.
    pub(crate) who: Who,
    /// By which it is told from all others of the story, from 1: no two have the same connections or dice.
    pub(crate) number: usize,
    /// Of its dice.
    pub(crate) seed: u64,
}

/// Everybody who begins in a story, in order.
pub(crate) fn beginnings(scenario: &Scenario, seed: u64) -> impl Iterator<Item = Beginning<'_>> {
    scenario.tellers().into_iter().map(move |teller| {
        let (step, who) = (teller.step, teller.who);
        let number = if who == Who::A { step } else { step + scenario.steps().len() };
        Beginning { own: scenario.of(step, who), step, who, number, seed: seed.wrapping_add(number as u64) }
    })
}

/// Somebody who is under way, and how that ended.
pub(crate) struct Running<C> {
    began: usize,
    who: Who,
    source: SourceFacts,
    after_seq: u64,
    client: C,
    end: Option<(StepEnd, Duration)>,
    /// Under which name it was left held, by an earlier step.
    held: Option<String>,
}

/// Waits for the first of those that are under way to end.
pub(crate) async fn first_ended<C: Client>(running: &mut [Running<C>]) -> (usize, StepEnd) {
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

/// The step that is under way.
struct Now<'a> {
    /// Counted from 1.
    number: usize,
    does: Does<'a>,
    limit: Duration,
    stopwatch: Stopwatch,
}

impl<'a> Now<'a> {
    /// Is this one waited for? Whoever was left held is when he is released.
    fn waits_for<C>(&self, running: &Running<C>) -> bool {
        match self.does {
            Does::Release(hold, _) => running.held.as_deref() == Some(hold),
            _ => running.began == self.number,
        }
    }

    /// Under which name its client is left held, if it is.
    const fn holds(&self) -> Option<&'a str> {
        match self.does {
            Does::Upload(_, StepExpect::Held(hold)) => Some(hold.as_str()),
            _ => None,
        }
    }
}

/// A story as it is told.
struct Story<'a, W: World> {
    scenario: &'a Scenario,
    seed: u64,
    world: W,
    /// Those of this step, and one that an earlier step left held.
    running: Vec<Running<W::Client>>,
    /// The faults are lifted, and a mock that starts again plans none.
    lifted: bool,
}

/// Tells a story in a world where the mock has started, up to the end of its last step.
pub(crate) async fn tell<W: World>(scenario: &Scenario, seed: u64, world: W) -> Result<W, NotRun> {
    let mut story = Story { scenario, seed, world, running: Vec::new(), lifted: false };
    for (number, step) in (1..).zip(scenario.steps()) {
        story.step(number, step).await?;
    }
    Ok(story.world)
}

impl<W: World> Story<'_, W> {
    async fn step(&mut self, number: usize, step: &Step) -> Result<(), NotRun> {
        if step.faults == Faults::Off && !self.lifted {
            self.lift().await;
        }
        let after_seq = self.world.last_seq().await;
        let (does, limit, stopwatch) = (step.does(), self.scenario.limit(number - 1), Stopwatch::start());
        let now = Now { number, does, limit, stopwatch };
        match does {
            Does::Upload(..) | Does::Together(_) => {
                self.note(after_seq, Happening::StepBegan(number));
                for beginning in beginnings(self.scenario, self.seed).filter(|beginning| beginning.step == number) {
                    self.begin(&beginning, after_seq)?;
                }
            }
            Does::Release(hold, _) => {
                self.world.release(hold).await;
                self.note(after_seq, Happening::Released { step: number, hold: hold.to_owned() });
            }
            Does::Restart(how) => return self.restart(how, Happening::Restarted { step: number, how }).await,
        }
        match self.watch(&now).await? {
            Some(hold) => self.leave_held(&now, hold).await,
            None => self.over(&now).await,
        }
        Ok(())
    }

    fn begin(&mut self, beginning: &Beginning<'_>, after_seq: u64) -> Result<(), NotRun> {
        let (client, source) = self.world.begin(beginning)?;
        let &Beginning { step: began, who, .. } = beginning;
        self.running.push(Running { began, who, source, after_seq, client, end: None, held: None });
        Ok(())
    }

    /// Waits for those to end that the step waits for, kills whom the mock wants killed, and keeps the time limit.
    /// Returns the name under which somebody is held that is left so, which ends it too.
    async fn watch<'n>(&mut self, now: &Now<'n>) -> Result<Option<&'n str>, NotRun> {
        let holds = now.holds().map_or_else(Vec::new, |hold| self.scenario.holding(hold));
        while self.running.iter().any(|running| running.end.is_none() && now.waits_for(running)) {
            let left = now.limit.saturating_sub(now.stopwatch.elapsed());
            match timeout(left, self.world.news(&mut self.running, &holds)).await {
                Ok(News::Ended(at, end)) => self.running[at].end = Some((end, now.stopwatch.elapsed())),
                Ok(News::Asked(ask)) => self.obey(ask, now).await?,
                Ok(News::Held) => return Ok(now.holds()),
                Ok(News::MockGone) => {
                    let missing = &mut self.world.evidence().missing;
                    missing.push("the mock ended, and nobody had asked it to".to_owned());
                    let how = "it was ended because there was no mock any more".to_owned();
                    self.end_all(now, |_| true, &StepEnd::Silent { how }).await;
                }
                Err(_) => self.end_all(now, |running| now.waits_for(running), &StepEnd::TimedOut).await,
            }
        }
        Ok(None)
    }

    /// Kills whom the mock wants killed.
    async fn obey(&mut self, ask: Ask, now: &Now<'_>) -> Result<(), NotRun> {
        if self.lifted {
            // It struck just before it was lifted. Whoever begins afterwards is spared.
            self.world.killed(ask).await;
            return Ok(());
        }
        let fault = ask.fault.clone();
        if ask.kill == KillTarget::Mock {
            return self.restart(Restart::Kill, Happening::MockKilled(fault)).await;
        }
        let victim = self.scenario.victim(&fault);
        let is_victim = |running: &&mut Running<W::Client>| {
            running.end.is_none() && victim.map_or(running.began == now.number, |who| running.who == who)
        };
        // Where nobody is left to be killed, the fault has struck and killed nobody, which is a finding.
        let found = self.running.iter_mut().find(is_victim);
        let killed = found.is_some();
        if let Some(running) = found {
            running.client.kill().await;
            running.end = Some((StepEnd::Killed { fault: fault.clone() }, now.stopwatch.elapsed()));
        }
        self.world.killed(ask).await;
        if killed {
            self.happened(Happening::ClientKilled(fault)).await;
        }
        Ok(())
    }

    /// Ends those who are still under way.
    async fn end_all(&mut self, now: &Now<'_>, whom: impl Fn(&Running<W::Client>) -> bool, end: &StepEnd) {
        for running in self.running.iter_mut().filter(|running| running.end.is_none() && whom(running)) {
            running.client.kill().await;
            running.end = Some((end.clone(), now.stopwatch.elapsed()));
        }
    }

    /// Ends the mock, and starts it again.
    async fn restart(&mut self, how: Restart, what: Happening) -> Result<(), NotRun> {
        self.world.end_mock(how).await;
        self.happened(what).await;
        self.world.mock_back(!self.lifted).await?;
        self.happened(Happening::MockBack).await;
        Ok(())
    }

    /// Lifts the faults, and writes down what became of them.
    async fn lift(&mut self) {
        self.lifted = true;
        let fates = self.world.lift().await;
        self.world.evidence().faults = fates;
        // A door that one of them shut opens by itself.
        tokio::time::sleep(self.scenario.longest_refusal()).await;
        self.happened(Happening::FaultsLifted).await;
    }

    /// Leaves whoever began in this step to a later one.
    async fn leave_held(&mut self, now: &Now<'_>, hold: &str) {
        for running in self.running.iter_mut().filter(|running| now.waits_for(running)) {
            running.held = Some(hold.to_owned());
        }
        self.happened(Happening::Held { step: now.number, hold: hold.to_owned() }).await;
    }

    /// Writes down what became of those for whom the step waited.
    async fn over(&mut self, now: &Now<'_>) {
        let everybody = std::mem::take(&mut self.running);
        let (over, others): (Vec<_>, _) = everybody.into_iter().partition(|running| now.waits_for(running));
        self.running = others;
        let (step, mut ended) = (now.number, Vec::new());
        for Running { began, who, source, after_seq, client, end, .. } in over {
            let Some((end, elapsed)) = end else { unreachable!("a step waits until all have ended") };
            self.world.bury(step, who, client).await;
            ended.push((began, who, source, after_seq, end, elapsed));
        }
        let (uploads, last_seq) = self.world.settled().await;
        self.world.evidence().steps.extend(ended.into_iter().map(|(began, who, source, after_seq, end, elapsed)| {
            let uploads = uploads.clone();
            StepEvidence { step, began, who, source, end, after_seq, last_seq, elapsed, uploads }
        }));
    }

    async fn happened(&mut self, what: Happening) {
        let after_seq = self.world.last_seq().await;
        self.note(after_seq, what);
    }

    fn note(&mut self, after_seq: u64, what: Happening) {
        self.world.evidence().events.push(Event { after_seq, what });
    }
}

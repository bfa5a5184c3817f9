//! The rules of a telling, in a world that is written down before.

use std::{collections::VecDeque, future::pending};

use super::*;
use crate::{
    evidence::Target,
    source::{self, SourceFacts},
};

/// A world where what happens was written down before.
struct Written {
    news: VecDeque<News>,
    evidence: Evidence,
    source: SourceFacts,
    /// What was done in it.
    done: Vec<String>,
}

struct Nobody;

impl Client for Nobody {
    async fn ended(&mut self) -> StepEnd {
        pending().await
    }

    async fn kill(&mut self) {}
}

impl World for Written {
    type Client = Nobody;

    fn evidence(&mut self) -> &mut Evidence {
        &mut self.evidence
    }

    async fn last_seq(&mut self) -> u64 {
        self.done.len() as u64
    }

    fn begin(&mut self, Beginning { who, number, seed, .. }: &Beginning<'_>) -> Result<(Nobody, SourceFacts), NotRun> {
        self.done.push(format!("{who} begins, number {number}, seed {seed}"));
        Ok((Nobody, self.source))
    }

    async fn news(&mut self, _: &mut [Running<Nobody>], holds: &[String]) -> News {
        match self.news.pop_front() {
            Some(News::Held) if holds.is_empty() => unreachable!("nobody asked who is held"),
            Some(news) => news,
            None => pending().await,
        }
    }

    async fn killed(&mut self, ask: Ask) {
        self.done.push(format!("the {} is said to be dead", ask.kill));
    }

    async fn release(&mut self, hold: &str) {
        self.done.push(format!("{hold} is released"));
    }

    async fn lift(&mut self) -> Vec<Fate> {
        self.done.push("the faults are lifted".to_owned());
        vec![]
    }

    async fn end_mock(&mut self, how: Restart) {
        self.done.push(format!("the mock ends: {how:?}"));
    }

    async fn mock_back(&mut self, faults: bool) -> Result<(), NotRun> {
        self.done.push(format!("the mock is back, with faults: {faults}"));
        Ok(())
    }

    async fn bury(&mut self, step: usize, who: Who, _: Nobody) {
        self.done.push(format!("{who} is buried in step {step}"));
    }

    async fn settled(&mut self) -> (Vec<UploadView>, u64) {
        (vec![], self.last_seq().await)
    }
}

/// Tells a story in which this happens, and a fault may kill a client, if there are two whom it says: what was done, what is written down as having happened, and how each upload ended, and
/// what is missing.
async fn told(whom: &str, steps: &str, news: Vec<News>) -> [Vec<String>; 4] {
    let text = format!(
        "format = 1\nwhy = \"w\"\nsource = {{ size = \"1KiB\", seed = 1 }}\n\
         [[fault]]\nid = \"crash\"\non = {{ action = \"UploadPart\", times = 9{whom} }}\nphase = \"before-commit\"\ndo = {{ kill = \"client\" }}\n\
         [[fault]]\nid = \"latch\"\non = {{ action = \"UploadPart\" }}\nphase = \"before-commit\"\ndo = {{ hold = \"h\" }}\n{steps}"
    );
    let scenario = Scenario::parse("s.toml", &text).unwrap();
    let (_, source) = source::in_memory(&scenario.source);
    let evidence = Evidence::begin(Target::Sim, source, vec![]);
    let world = Written { news: news.into(), evidence, source, done: vec![] };
    let Written { done, evidence, .. } = tell(&scenario, 40, world).await.unwrap();
    let events = evidence.events.iter().map(|event| format!("{} {:?}", event.after_seq, event.what));
    let ends = evidence.steps.iter().map(|step| format!("{} of {}: {}", step.who, step.began, step.end));
    [done, events.collect(), ends.collect(), evidence.missing]
}

fn asked(kill: KillTarget) -> News {
    News::Asked(Ask { kill, fault: "crash".to_owned(), done: None })
}

fn ended(at: usize) -> News {
    News::Ended(at, StepEnd::Silent { how: "as written".to_owned() })
}

#[tokio::test(start_paused = true)]
async fn whoever_begins_when_the_faults_are_lifted_is_spared_by_what_struck_just_before() {
    let step = "[[step]]\nupload = {}\nexpect = \"any\"\n";
    let steps = format!("{step}{step}faults = \"off\"\n");
    let both = || [asked(KillTarget::Client), asked(KillTarget::Mock)];
    let late: Vec<_> = [ended(0)].into_iter().chain(both()).chain([ended(0)]).collect();
    let [done, events, ends, _] = told("", &steps, late).await;
    assert_eq!(ends, ["a of 1: without a report: as written", "a of 2: without a report: as written"]);
    assert!(!events.iter().any(|event| event.contains("Killed")), "{events:?}");
    // Whoever asked is told all the same: it holds everything back until it is.
    let said: Vec<_> = done.iter().filter(|done| done.contains("is said")).collect();
    assert_eq!(said, ["the client is said to be dead", "the mock is said to be dead"]);
    let in_time: Vec<_> = both().into_iter().rev().chain([ended(0)]).collect();
    let [_, events, ends, _] = told("", &steps, in_time).await;
    assert_eq!(ends[0], "a of 1: killed by fault \"crash\"");
    assert_eq!(events.iter().filter(|event| event.contains("Killed")).count(), 2, "{events:?}");
}

#[tokio::test(start_paused = true)]
async fn whoever_is_held_is_left_to_the_step_that_releases_him_and_neither_killed_nor_timed_out_before() {
    let steps = "[[step]]\nupload = {}\nexpect = { held = \"h\" }\n\
                 [[step]]\nupload = {}\nexpect = \"killed\"\n\
                 [[step]]\nupload = {}\nexpect = \"any\"\n\
                 [[step]]\nrelease = \"h\"\nexpect = \"any\"\n";
    let news = vec![News::Held, asked(KillTarget::Client)];
    let [done, _, ends, _] = told(", host = \"b\"", steps, news).await;
    assert_eq!(
        ends,
        [
            "b of 2: killed by fault \"crash\"",
            "b of 3: still running at its time limit",
            "a of 1: still running at its time limit"
        ]
    );
    let begun: Vec<_> = done.iter().filter(|done| done.contains("begins")).collect();
    assert_eq!(begun, ["a begins, number 1, seed 41", "b begins, number 6, seed 46", "b begins, number 7, seed 47"]);
    assert_eq!(done.last().unwrap(), "a is buried in step 4");
}

#[tokio::test(start_paused = true)]
async fn a_mock_that_ended_by_itself_ends_everybody_and_is_missed() {
    let steps = "[[step]]\ntogether = [{ expect = \"any\" }, { expect = \"killed\" }]\n";
    let [_, _, ends, missing] = told(", host = \"b\"", steps, vec![ended(1), News::MockGone]).await;
    let how = "it was ended because there was no mock any more";
    assert_eq!(ends, [format!("a of 1: without a report: {how}"), "b of 1: without a report: as written".to_owned()]);
    assert_eq!(missing, ["the mock ended, and nobody had asked it to"]);
}

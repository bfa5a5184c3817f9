//! When a run has passed.
//!
//! Three layers, judged and reported apart:
//! - **outcome**: what the user of the client sees, step by step;
//! - **wire**: what passed between client and mock, as far as the file says something of it;
//! - **invariants**: what holds in every story, whatever the file says ([`invariants`]).
//!
//! A verdict is [`Verdict::Pass`], [`Verdict::Fail`] or [`Verdict::Inconclusive`]; only a pass is green.

#[cfg(test)]
pub(crate) mod crafted;
mod exited;
pub mod invariants;
mod measured;
mod outcome;
#[cfg(test)]
mod two;
mod wire;

pub use vod_proto::Verdict;

use crate::{evidence::Evidence, format::Scenario};

/// What is judged: a story and what happened.
#[derive(Clone, Copy, Debug)]
pub struct Case<'a> {
    /// The story.
    pub scenario: &'a Scenario,
    /// What happened.
    pub evidence: &'a Evidence,
}

/// One of the three layers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Layer {
    /// What the user of the client sees.
    Outcome,
    /// What passed between client and mock.
    Wire,
    /// What holds in every story.
    Invariants,
}

impl std::fmt::Display for Layer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(match self {
            Self::Outcome => "outcome",
            Self::Wire => "wire",
            Self::Invariants => "invariants",
        })
    }
}

/// What a check found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Finding {
    /// It does not hold, and this is why.
    Broken(String),
    /// It cannot be said whether it holds, and this is why.
    Unknown(String),
}

impl Finding {
    /// It does not hold.
    pub(crate) fn broken(why: impl Into<String>) -> Self {
        Self::Broken(why.into())
    }

    /// It does not hold, unless what would excuse it is among the evidence that is missing.
    pub(crate) fn unless_missing(is_whole: bool, why: impl Into<String>) -> Self {
        if is_whole { Self::Broken(why.into()) } else { Self::Unknown(why.into()) }
    }

    /// Why, in words.
    #[must_use]
    pub fn why(&self) -> &str {
        match self {
            Self::Broken(why) | Self::Unknown(why) => why,
        }
    }
}

/// One check and what became of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    /// Its layer.
    pub layer: Layer,
    /// Its name: a step, a count, the id of an invariant.
    pub name: String,
    /// What became of it.
    pub ruling: Ruling,
}

/// What became of a check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ruling {
    /// It holds.
    Holds,
    /// There was nothing here that it could be applied to.
    NotJudged,
    /// It is broken or unknown.
    Found(Vec<Finding>),
    /// It is broken, and the file says that it must be.
    Excepted {
        /// The file's reason.
        because: String,
        /// What was found.
        findings: Vec<Finding>,
    },
}

/// Every check of a run.
#[derive(Clone, Debug)]
pub struct Judgement {
    /// In the order of the layers.
    pub checks: Vec<Check>,
    /// What follows from them.
    pub verdict: Verdict,
}

/// Judges a run by everything the file says.
#[must_use]
pub fn judge(case: Case<'_>) -> Judgement {
    let mut checks = outcome::check(case);
    checks.extend(wire::check(case));
    checks.extend(measured::check(case));
    checks.extend(invariants::check(case));
    Judgement::of(checks, case.evidence)
}

/// Judges a control run: every step finishes, and every invariant holds without exception.
#[must_use]
pub fn judge_control(case: Case<'_>) -> Judgement {
    let mut checks = outcome::check_control(case);
    checks.extend(invariants::check(case));
    Judgement::of(checks, case.evidence)
}

impl Judgement {
    fn of(mut checks: Vec<Check>, evidence: &Evidence) -> Self {
        let mut missing: Vec<_> = evidence.missing.iter().cloned().map(Finding::Unknown).collect();
        if evidence.lacking() > 0 {
            missing.push(Finding::Unknown(format!("{} exchanges are not in the journal any more", evidence.lacking())));
        }
        let nobodys = evidence.nobodys().count();
        if nobodys > 0 {
            let why =
                format!("{nobodys} requests came to a host of neither client, so that nobody knows whose they are");
            missing.push(Finding::Unknown(why));
        }
        if !missing.is_empty() {
            let name = "evidence is whole".to_owned();
            checks.insert(0, Check { layer: Layer::Outcome, name, ruling: Ruling::Found(missing) });
        }
        let verdict = verdict(&checks);
        Self { checks, verdict }
    }

    /// Adds whether a simulation that was run again was the same again.
    pub fn note_determinism(&mut self, difference: Option<String>) {
        let findings = difference.into_iter().map(Finding::Broken).collect();
        self.checks.push(ruled(Layer::Invariants, "same-when-run-again", findings));
        self.verdict = verdict(&self.checks);
    }

    /// The checks that make it no pass, with what they found.
    pub fn against(&self) -> impl Iterator<Item = (&Check, &[Finding])> {
        self.checks.iter().filter_map(|check| match &check.ruling {
            Ruling::Found(findings) => Some((check, &findings[..])),
            Ruling::Holds | Ruling::NotJudged | Ruling::Excepted { .. } => None,
        })
    }

    /// How many checks of a layer hold, and how many were judged.
    #[must_use]
    pub fn tally(&self, layer: Layer) -> (usize, usize) {
        let of_layer = self.checks.iter().filter(|check| check.layer == layer);
        let judged = of_layer.filter(|check| check.ruling != Ruling::NotJudged);
        judged
            .fold((0, 0), |(held, all), check| (held + usize::from(!matches!(check.ruling, Ruling::Found(_))), all + 1))
    }
}

fn verdict(checks: &[Check]) -> Verdict {
    let findings = || {
        checks.iter().flat_map(|check| match &check.ruling {
            Ruling::Found(findings) => &findings[..],
            Ruling::Holds | Ruling::NotJudged | Ruling::Excepted { .. } => &[],
        })
    };
    let broken = findings().any(|finding| matches!(finding, Finding::Broken(_)));
    Verdict::of(broken, findings().next().is_some() || checks.is_empty())
}

/// A check that holds if nothing was found.
fn ruled(layer: Layer, name: impl Into<String>, findings: Vec<Finding>) -> Check {
    let ruling = if findings.is_empty() { Ruling::Holds } else { Ruling::Found(findings) };
    Check { layer, name: name.into(), ruling }
}

#[cfg(test)]
mod tests {
    use vod_proto::{Action, Family, PartSpan};

    use super::{
        crafted::{STORED, Story},
        *,
    };
    use crate::{
        evidence::{ClientReport, StepEnd},
        format::{Count, Expect},
    };

    #[test]
    fn a_good_story_passes_and_each_layer_was_judged() {
        for family in Family::ALL {
            let judgement = Story::of(family).judge();
            assert_eq!(judgement.verdict, Verdict::Pass, "{:?}", judgement.against().collect::<Vec<_>>());
            for layer in [Layer::Outcome, Layer::Wire, Layer::Invariants] {
                let (held, judged) = judgement.tally(layer);
                assert!(held == judged && judged > 0, "{family}, {layer}: {held} of {judged}");
            }
        }
    }

    #[test]
    fn dropped_evidence_is_inconclusive_and_never_a_pass() {
        let mut story = Story::plain();
        story.evidence.evicted = 1;
        assert_eq!(story.judge().verdict, Verdict::Inconclusive);
        // Also where nothing is counted, and in a control run.
        story.scenario.expect = Expect::default();
        assert_eq!(story.judge().verdict, Verdict::Inconclusive);
        assert_eq!(judge_control(story.case()).verdict, Verdict::Inconclusive);
        let mut story = Story::plain();
        story.evidence.missing.push("the mock did not answer".to_owned());
        assert_eq!(story.judge().verdict, Verdict::Inconclusive);
    }

    /// A finish is refused, the server is asked what it has, and what it lacks is sent again.
    fn mended() -> Story {
        let mut story = Story::plain();
        story.evidence.exchanges.clear();
        story.evidence.steps.clear();
        let zero = r#"{"code":0}"#;
        story.push(Action::InitUpload, None, zero);
        (0..3).for_each(|part| _ = story.push_part(part, zero));
        story.push(Action::FinishUpload, None, r#"{"code":-10003,"canRetry":0}"#);
        let listed = |part| {
            let PartSpan { offset, len } = story.span(part);
            format!(r#"{{"offset":{offset},"dataLen":{len},"dataMd5":"{}"}}"#, crafted::part_md5(offset))
        };
        let has = format!(r#"{{"code":1,"dataSize":1048576,"listParts":[{},{}]}}"#, listed(0), listed(1));
        story.push(Action::InitUpload, None, &has);
        story.push_part(2, zero);
        story.push(Action::FinishUpload, None, STORED);
        story.end_step(StepEnd::Reported(ClientReport {
            parts_sent: Some(4),
            parts_skipped: Some(0),
            ..ClientReport::default()
        }));
        let exactly = |number| Count { min: number, max: Some(number) };
        let expect = &mut story.scenario.expect;
        expect.requests = [(Action::InitUpload, exactly(2)), (Action::UploadPart, Count { min: 4, max: None })].into();
        expect.replies = [(Action::InitUpload, vec![0, 1]), (Action::FinishUpload, vec![-10003, 0])].into();
        expect.parts_sent_twice = Some(exactly(1));
        story
    }

    #[test]
    fn whatever_is_missing_of_a_good_story_it_is_neither_passed_nor_failed() {
        let stories = Family::ALL.map(Story::of).into_iter().chain([Story::cover(), mended(), Story::together()]);
        for (at, mut story) in stories.enumerate() {
            let whole = std::mem::take(&mut story.evidence.exchanges);
            // Every choice of exchanges that are there.
            for chosen in 0..1_u32 << whole.len() {
                let there = whole.iter().enumerate().filter(|(n, _)| chosen & (1 << n) != 0);
                story.evidence.exchanges = there.map(|(_, exchange)| exchange.clone()).collect();
                let all = story.evidence.exchanges.len() == whole.len();
                let expected = if all { Verdict::Pass } else { Verdict::Inconclusive };
                let judgement = story.judge();
                let against: Vec<_> = judgement.against().collect();
                assert_eq!(judgement.verdict, expected, "story {at}, {chosen:b}: {against:#?}");
            }
        }
    }

    #[test]
    fn what_is_broken_stays_broken_where_evidence_is_missing() {
        let mut story = Story::plain();
        story.evidence.evicted = 1;
        story.evidence.left_behind.push("a file".to_owned());
        assert_eq!(story.judge().verdict, Verdict::Fail);
    }

    #[test]
    fn a_simulation_that_differs_when_run_again_is_a_failure() {
        let mut judgement = Story::plain().judge();
        judgement.note_determinism(None);
        assert_eq!(judgement.verdict, Verdict::Pass);
        judgement.note_determinism(Some("line 3 differs".to_owned()));
        assert_eq!(judgement.verdict, Verdict::Fail);
    }

    #[test]
    fn no_checks_at_all_are_no_pass() {
        assert_eq!(verdict(&[]), Verdict::Inconclusive);
    }
}

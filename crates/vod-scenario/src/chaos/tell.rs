//! Tells one drawn story and judges it, by the invariants and by whether it heals.

use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::{
    evidence::Evidence,
    format::Scenario,
    judge::{Case, Check, Finding, Layer, Verdict, judge, judge_control},
    run,
    sim::{self, Logs},
};

/// Something that must hold, and did not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Breach {
    /// What: the id of an invariant, or one of `heals`, `ends`, `known-requests`, `same-when-run-again`, `no-panic`,
    /// `told-to-the-end`.
    pub(super) what: String,
    /// Why, in words.
    pub(super) why: String,
}

/// What is to be done beside telling it once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum How {
    /// Told once, without logs: they take longer than all the rest.
    Once,
    /// Told again with logs, which must hold no secret; and both tellings must be equal.
    Twice,
}

/// What came of a story.
#[derive(Debug)]
pub(super) struct Told {
    /// What happened, if it was told to its end.
    pub(super) evidence: Option<Evidence>,
    /// The first thing that did not hold.
    pub(super) breach: Option<Breach>,
    /// How many uploads were simulated.
    pub(super) uploads: u64,
}

/// Tells a story and judges it. Every story is run with the seed that scenarios have where nobody chooses one:
/// what differs from seed to seed is in the file, and so the file alone repeats it.
pub(super) fn tell(scenario: &Scenario, how: How) -> Told {
    let told = catch_unwind(AssertUnwindSafe(|| match how {
        How::Once => sim::run_once_with(scenario, run::SEED, Logs::None).map(|evidence| (evidence, None)),
        How::Twice => sim::run_twice_with(scenario, run::SEED, [Logs::Trace, Logs::None]),
    }));
    let broken = |what: &str, why: String| Told {
        evidence: None,
        breach: Some(Breach { what: what.to_owned(), why }),
        uploads: 0,
    };
    let (evidence, difference) = match told {
        Ok(Ok(told)) => told,
        Ok(Err(why)) => return broken("told-to-the-end", why.to_string()),
        Err(panic) => return broken("no-panic", said(panic.as_ref())),
    };
    let mut judgement = judge(Case { scenario, evidence: &evidence });
    if let Some(difference) = difference {
        judgement.note_determinism(Some(difference.to_string()));
    }
    let breach = judgement.against().next().map(|(check, findings)| breach(check, findings));
    let tellings = if how == How::Twice { 2 } else { 1 };
    let uploads = evidence.steps.len() as u64 * tellings;
    Told { evidence: Some(evidence), breach, uploads }
}

/// Does the story hold without its faults? One that does not would say nothing about them.
pub(super) fn is_healthy(scenario: &Scenario) -> bool {
    let control = scenario.control();
    let told = catch_unwind(AssertUnwindSafe(|| sim::run_once_with(&control, run::SEED, Logs::None)));
    let Ok(Ok(evidence)) = told else { return false };
    judge_control(Case { scenario: &control, evidence: &evidence }).verdict == Verdict::Pass
}

fn breach(check: &Check, findings: &[Finding]) -> Breach {
    let what = match check.layer {
        Layer::Invariants => check.name.clone(),
        // The number of a step changes as the story is made smaller, what is wrong with it does not.
        Layer::Outcome if check.name.ends_with(" there") => "heals".to_owned(),
        Layer::Outcome => "ends".to_owned(),
        Layer::Wire => "known-requests".to_owned(),
    };
    let why = findings.first().map_or("", Finding::why);
    Breach { what, why: format!("{}: {why}", check.name) }
}

fn said(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("it did not say why").to_owned()
}

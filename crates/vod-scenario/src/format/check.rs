//! What a file may not say although every word of it is known: what could never happen, or never fail.

use std::ops::Range;

use vod_proto::{Action, Family};
use vod_serve::{
    KillTarget, Plan,
    fault::{Fault, Verdict},
};

use super::{Exception, Faults, Scenario, StepExpect};
use crate::{judge::invariants, near::did_you_mean};

/// What is wrong, and where.
pub(super) struct Problem {
    pub(super) span: Option<Range<usize>>,
    pub(super) message: String,
}

impl Problem {
    pub(super) fn new(span: Option<Range<usize>>, message: impl Into<String>) -> Self {
        Self { span, message: message.into() }
    }
}

pub(super) fn check(scenario: &Scenario) -> Result<(), Problem> {
    sections(scenario)?;
    faults(scenario)?;
    steps(scenario)?;
    exceptions(scenario)
}

fn sections(scenario: &Scenario) -> Result<(), Problem> {
    let refuse = |message: &str| Err(Problem::new(None, message));
    if scenario.why.trim().is_empty() {
        return refuse("why is empty: say what would be broken if this scenario failed");
    }
    if scenario.source.size.bytes() == 0 {
        return refuse("source.size is 0: a source has at least one byte");
    }
    if scenario.client.part_size.bytes() == 0 {
        return refuse("client.part-size is 0: a part has at least one byte");
    }
    if scenario.client.parallel == 0 {
        return refuse("client.parallel is 0: at least one part is under way at a time");
    }
    if scenario.client.attempts == Some(0) {
        return refuse("client.attempts is 0: a request is sent at least once");
    }
    if scenario.within.is_zero() {
        return refuse("within is 0: a step takes some time");
    }
    if scenario.client.stall_timeout.is_some_and(|stall| stall.is_zero()) {
        return refuse("client.stall-timeout is 0: nothing moves without taking some time");
    }
    let family = scenario.client.family;
    if scenario.client.token_life.is_some() && family != Family::Ugc {
        return refuse("client.token-life is for the ugc family alone: the others have no upload signature");
    }
    if let Some(video) = &scenario.client.cover_of {
        if family != Family::Server {
            return refuse(&format!(
                "client.cover-of is for the server family alone: the {family} family has no covers"
            ));
        }
        if let Err(refused) = scenario.facts().check() {
            return refuse(&format!("client.cover-of is {video:?}, which no server takes: {refused}"));
        }
    }
    let expected = scenario.expect.requests.keys().chain(scenario.expect.replies.keys());
    if let Some(foreign) = expected.copied().find(|action| action.family() != family) {
        return refuse(&format!("expect: {}", foreign_to(family, foreign)));
    }
    Ok(())
}

/// What no client of a family ever sends can neither be struck nor counted.
fn foreign_to(family: Family, action: Action) -> String {
    let own = Action::ALL.into_iter().filter(|own| own.family() == family);
    let own: Vec<_> = own.map(Action::wire_name).collect();
    format!("a client of the {family} family never sends {action}, only {}", own.join(", "))
}

fn faults(scenario: &Scenario) -> Result<(), Problem> {
    let (family, parts) = (scenario.client.family, scenario.parts());
    let mut plan = Plan::default();
    for spanned in &scenario.faults {
        let fault = spanned.as_ref();
        let refuse = |message: String| Err(Problem::new(Some(spanned.span()), message));
        // Fault by fault, so that the one that is refused is the one that is shown.
        plan.faults.push(fault.clone());
        if let Err(error) = plan.check() {
            return refuse(error.to_string());
        }
        if let Some(foreign) = fault.on.action.filter(|action| action.family() != family) {
            return refuse(format!("fault {:?}: {}", fault.id, foreign_to(family, foreign)));
        }
        // What another client sends is known to nobody.
        let ours = scenario.client.command.is_none();
        if let Some(unsent) = fault.on.action.filter(|action| ours && !scenario.actions().contains(action)) {
            let sent: Vec<_> = scenario.actions().into_iter().map(Action::wire_name).collect();
            let sent = sent.join(", ");
            return refuse(format!("fault {:?}: the client of this story never sends {unsent}, only {sent}", fault.id));
        }
        if fault.verdict == Verdict::ExpireSession && scenario.whole().is_some() {
            return refuse(format!("fault {:?}: a file that is sent whole has no session to expire", fault.id));
        }
        if let Some(part) = fault.on.part.filter(|part| *part > parts) {
            let size = scenario.client.part_size;
            return refuse(format!("fault {:?}: there is no part {part}: the source has {parts} of {size}", fault.id));
        }
        if let Verdict::Kill(target) = fault.verdict
            && !bounded(fault)
        {
            return refuse(format!(
                "fault {:?}: a kill of the {target} needs attempt or times in its selector, or it strikes for ever",
                fault.id
            ));
        }
    }
    Ok(())
}

/// Will it have struck for the last time at some point?
fn bounded(fault: &Fault) -> bool {
    fault.on.times.is_some() || fault.on.attempt.is_some()
}

fn steps(scenario: &Scenario) -> Result<(), Problem> {
    if scenario.steps.is_empty() {
        return Err(Problem::new(None, "there is no [[step]]: a scenario does at least one thing"));
    }
    let killed = scenario.steps.iter().find(|step| step.as_ref().expect == StepExpect::Killed);
    let kills = scenario.plan().kills(KillTarget::Client);
    if let Some(step) = killed.filter(|_| !kills) {
        let message = "this step expects to be killed, but no fault kills the client";
        return Err(Problem::new(Some(step.span()), message));
    }
    let may_be = |step: &StepExpect| matches!(step, StepExpect::Killed | StepExpect::Any);
    if kills && !scenario.steps().any(|step| may_be(&step.expect)) {
        let fault = scenario.faults.iter().find(|f| f.as_ref().verdict == Verdict::Kill(KillTarget::Client));
        let message = "this fault kills the client, but no step expects to be killed";
        return Err(Problem::new(fault.map(toml::Spanned::span), message));
    }
    healing(scenario)
}

/// Faults that are lifted stay so: what strikes in a later step would be others.
fn healing(scenario: &Scenario) -> Result<(), Problem> {
    let mut off = false;
    for (at, step) in scenario.steps.iter().enumerate() {
        let refuse = |message: &str| Err(Problem::new(Some(step.span()), message));
        let step = step.as_ref();
        if off && step.faults == Faults::On {
            return refuse(
                "the faults are off since an earlier step, and do not come back: say faults = \"off\" here too",
            );
        }
        off |= step.faults == Faults::Off;
        if off && at == 0 && !scenario.faults.is_empty() {
            return refuse("the faults are off from the first step on: none of them could ever strike");
        }
        if off && step.expect == StepExpect::Killed {
            return refuse("this step expects to be killed, but the faults are off, and nobody kills");
        }
        if step.within.is_some_and(|within| within.is_zero()) {
            return refuse("within is 0: a step takes some time");
        }
    }
    Ok(())
}

fn exceptions(scenario: &Scenario) -> Result<(), Problem> {
    for spanned in &scenario.exceptions {
        let Exception { invariant, because } = spanned.as_ref();
        let refuse = |message: String| Err(Problem::new(Some(spanned.span()), message));
        if invariants::by_id(invariant).is_none() {
            let known: Vec<_> = invariants::ALL.iter().map(|invariant| invariant.id).collect();
            let near = did_you_mean(invariant, known.iter().copied());
            return refuse(format!("unknown invariant {invariant:?}, expected one of {}{near}", known.join(", ")));
        }
        if because.trim().is_empty() {
            return refuse(format!("the exception from {invariant} has no reason in because"));
        }
    }
    Ok(())
}

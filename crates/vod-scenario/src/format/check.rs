//! What a file may not say although every word of it is known: what could never happen, or never fail.

use std::ops::Range;

use vod_proto::{Action, Family};
use vod_serve::{
    KillTarget, Plan,
    fault::{Fault, Verdict},
};

use super::{Does, Exception, Faults, Restart, Scenario, Step, StepExpect, Who};
use crate::{evidence::Target, judge::invariants, near::did_you_mean};

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
    steps_understood(scenario)?;
    faults(scenario)?;
    steps(scenario)?;
    exceptions(scenario)?;
    skips(scenario)
}

fn sections(scenario: &Scenario) -> Result<(), Problem> {
    let refuse = |message: &str| Err(Problem::new(None, message));
    if scenario.why.trim().is_empty() {
        return refuse("why is empty: say what would be broken if this scenario failed");
    }
    if scenario.within.is_zero() {
        return refuse("within is 0: a step takes some time");
    }
    if scenario.source.claims_source {
        return refuse(
            "source.claims-source is for an upload with a source of its own: this is what it would claim to be",
        );
    }
    client(scenario).map_err(|message| Problem::new(None, message))?;
    let family = scenario.client.family;
    let expect = &scenario.expect;
    let keys = expect.requests.keys().chain(expect.replies.keys()).chain(expect.gaps.keys());
    let moments: Vec<_> = expect.order.iter().flat_map(|order| [order.first.action(), order.then.action()]).collect();
    let mut expected = keys.chain(expect.bytes_of.keys()).chain(&moments);
    if let Some(order) = expect.order.iter().find(|order| order.first == order.then) {
        return refuse(&format!("expect: {order}: nothing comes before itself"));
    }
    if let Some(foreign) = expected.find(|action| action.family() != family).copied() {
        return refuse(&format!("expect: {}", foreign_to(family, foreign)));
    }
    Ok(())
}

/// What a client is set to, and what it uploads.
fn client(scenario: &Scenario) -> Result<(), String> {
    let refuse = |message: &str| Err(message.to_owned());
    let client = &scenario.client;
    if scenario.source.size.bytes() == 0 {
        return refuse("source.size is 0: a source has at least one byte");
    }
    if client.part_size.bytes() == 0 {
        return refuse("client.part-size is 0: a part has at least one byte");
    }
    if client.parallel == 0 {
        return refuse("client.parallel is 0: at least one part is under way at a time");
    }
    if client.attempts == Some(0) {
        return refuse("client.attempts is 0: a request is sent at least once");
    }
    if client.stall_timeout.is_some_and(|stall| stall.is_zero()) {
        return refuse("client.stall-timeout is 0: nothing moves without taking some time");
    }
    let family = client.family;
    if client.token_life.is_some() && family != Family::Ugc {
        return refuse("client.token-life is for the ugc family alone: the others have no upload signature");
    }
    if let Some(video) = &client.cover_of {
        if family != Family::Server {
            return refuse(&format!(
                "client.cover-of is for the server family alone: the {family} family has no covers"
            ));
        }
        if let Err(refused) = scenario.facts().check() {
            return refuse(&format!("client.cover-of is {video:?}, which no server takes: {refused}"));
        }
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
    let own: Vec<_> = scenario.tellers().iter().map(|teller| scenario.of(teller.step, teller.who)).collect();
    let tellers = || std::iter::once(scenario).chain(own.iter().map(AsRef::as_ref));
    let (family, parts) = (scenario.client.family, tellers().map(Scenario::parts).max().unwrap_or(0));
    let two = scenario.has_two_at_once();
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
        let ours = tellers().all(|own| own.client.command.is_none());
        let sent = |action: &Action| tellers().any(|own| own.actions().contains(action));
        if let Some(unsent) = fault.on.action.filter(|action| ours && !sent(action)) {
            let sent: Vec<_> = scenario.actions().into_iter().map(Action::wire_name).collect();
            let sent = sent.join(", ");
            return refuse(format!("fault {:?}: the client of this story never sends {unsent}, only {sent}", fault.id));
        }
        match &fault.on.host {
            Some(host) if !two => {
                return refuse(format!(
                    "fault {:?}: there is one client at a time, and no {host:?} to tell from it",
                    fault.id
                ));
            }
            Some(host) if Who::named(host).is_none() => {
                return refuse(format!(
                    "fault {:?}: the hosts are a and b, one for each client, not {host:?}",
                    fault.id
                ));
            }
            None if two && fault.verdict == Verdict::Kill(KillTarget::Client) => {
                let id = &fault.id;
                return refuse(format!(
                    "fault {id:?}: of two clients, say by host = \"a\" or \"b\" which one is killed"
                ));
            }
            _ => {}
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

fn steps_understood(scenario: &Scenario) -> Result<(), Problem> {
    for step in &scenario.steps {
        step.as_ref().understood().map_err(|why| Problem::new(Some(step.span()), why))?;
    }
    Ok(())
}

fn steps(scenario: &Scenario) -> Result<(), Problem> {
    if scenario.steps.is_empty() {
        return Err(Problem::new(None, "there is no [[step]]: a scenario does at least one thing"));
    }
    if scenario.tellers().is_empty() {
        return Err(Problem::new(None, "nobody uploads anything: a story needs a step with upload or together"));
    }
    tellers(scenario)?;
    holds(scenario)?;
    let killed = scenario.steps.iter().find(|step| ends(step.as_ref()).any(|end| *end == StepExpect::Killed));
    let kills = scenario.plan().kills(KillTarget::Client);
    if let Some(step) = killed.filter(|_| !kills) {
        let message = "this step expects to be killed, but no fault kills the client";
        return Err(Problem::new(Some(step.span()), message));
    }
    let may_be = |step: &StepExpect| matches!(step, StepExpect::Killed | StepExpect::Any);
    if kills && !scenario.steps().any(|step| ends(step).any(may_be)) {
        let fault = scenario.faults.iter().find(|f| f.as_ref().verdict == Verdict::Kill(KillTarget::Client));
        let message = "this fault kills the client, but no step expects to be killed";
        return Err(Problem::new(fault.map(toml::Spanned::span), message));
    }
    healing(scenario)
}

/// The ends that a step expects.
fn ends(step: &Step) -> impl Iterator<Item = &StepExpect> {
    step.expect.iter().chain(step.together.iter().flatten().map(|one| &one.expect))
}

/// Everybody's own source and settings.
fn tellers(scenario: &Scenario) -> Result<(), Problem> {
    for teller in scenario.tellers() {
        let span = scenario.steps.get(teller.step - 1).map(toml::Spanned::span);
        let refuse = |message: String| Err(Problem::new(span.clone(), message));
        let own = scenario.of(teller.step, teller.who);
        if let Err(message) = client(&own) {
            return refuse(message);
        }
        if own.client.family != scenario.client.family {
            let family = scenario.client.family;
            return refuse(format!("all clients of a story speak one family, and the file's is {family}"));
        }
        if own.source.claims_source {
            if own.client.command.is_some() {
                return refuse("claims-source: what another program says of its file is its own affair".to_owned());
            }
            if (own.source.size, own.source.seed) == (scenario.source.size, scenario.source.seed) {
                return refuse("claims-source: this is the file's source, and need not claim it".to_owned());
            }
        }
    }
    Ok(())
}

/// Whoever is held is let go by a later step, and there are never more than two.
fn holds(scenario: &Scenario) -> Result<(), Problem> {
    let mut held: Vec<(&str, Range<usize>)> = Vec::new();
    for step in &scenario.steps {
        let refuse = |message: String| Err(Problem::new(Some(step.span()), message));
        let names = || held.iter().map(|(name, _)| format!("{name:?}")).collect::<Vec<_>>().join(" and ");
        match step.as_ref().does() {
            Does::Upload(..) if held.len() == Who::BOTH.len() => {
                let names = names();
                return refuse(format!(
                    "{names} hold two uploads, and there are two clients at most: release one of them"
                ));
            }
            Does::Upload(_, StepExpect::Held(hold)) => {
                if held.iter().any(|(other, _)| other == hold) {
                    return refuse(format!("{hold:?} holds an upload already: two are held under two names"));
                }
                if scenario.holding(hold).is_empty() {
                    let known = scenario.plan().faults.into_iter().filter_map(|fault| match fault.verdict {
                        Verdict::Hold(name) => Some(name.0),
                        _ => None,
                    });
                    let known: Vec<_> = known.collect();
                    let near = did_you_mean(hold, known.iter().map(String::as_str));
                    return refuse(format!("no fault holds under the name {hold:?}{near}"));
                }
                held.push((hold, step.span()));
            }
            Does::Together(both) => {
                if !held.is_empty() {
                    let names = names();
                    return refuse(format!(
                        "{names} holds an upload, and there are two clients at most: release it first"
                    ));
                }
                if both.iter().any(|one| matches!(one.expect, StepExpect::Held(_))) {
                    return refuse(
                        "two that upload together both end in this step: neither can be left held".to_owned(),
                    );
                }
            }
            Does::Release(_, StepExpect::Held(_)) => {
                return refuse("what is released goes on to its end, and is not held again".to_owned());
            }
            Does::Release(hold, _) => match held.iter().position(|(name, _)| *name == hold) {
                Some(at) => _ = held.remove(at),
                None if held.is_empty() => {
                    let expected = format!("{{ held = {hold:?} }}");
                    return refuse(format!("no step before this one expects {expected}: nobody waits to be released"));
                }
                None => {
                    let names = names();
                    return refuse(format!("an upload is held by {names}, not by {hold:?}"));
                }
            },
            Does::Restart(Restart::Kill) if !held.is_empty() => {
                return refuse(
                    "a mock that is killed takes the request with it that is held, and nobody can tell of it: \
                     restart = \"stop\", or a fault that kills the mock, leaves word of it"
                        .to_owned(),
                );
            }
            Does::Upload(..) | Does::Restart(_) => {}
        }
    }
    match held.into_iter().next() {
        Some((hold, span)) => {
            Err(Problem::new(Some(span), format!("this upload is held to the end: a later step must release {hold:?}")))
        }
        None => Ok(()),
    }
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
        if off && ends(step).any(|end| *end == StepExpect::Killed) {
            return refuse("this step expects to be killed, but the faults are off, and nobody kills");
        }
        if step.within.is_some_and(|within| within.is_zero()) {
            return refuse("within is 0: a step takes some time");
        }
    }
    Ok(())
}

/// A story that is not told somewhere says why, and is told somewhere else.
fn skips(scenario: &Scenario) -> Result<(), Problem> {
    for (at, spanned) in scenario.skips.iter().enumerate() {
        let skip = spanned.as_ref();
        let refuse = |message: &str| Err(Problem::new(Some(spanned.span()), message));
        if skip.because.trim().is_empty() {
            return refuse("because is empty: say why it cannot be told there");
        }
        if scenario.skips[..at].iter().any(|other| other.as_ref().on == skip.on) {
            return refuse("that it is not told there is said already");
        }
        if Target::ALL.into_iter().all(|target| scenario.not_told(target, false).is_some()) {
            return refuse("then it is told nowhere: leave it one target");
        }
    }
    Ok(())
}

fn exceptions(scenario: &Scenario) -> Result<(), Problem> {
    for spanned in &scenario.exceptions {
        let Exception { invariant, because, on: _ } = spanned.as_ref();
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

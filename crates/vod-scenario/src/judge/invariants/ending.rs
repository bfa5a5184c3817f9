//! How a run ends: in time, with every fault used, and with nothing left behind.

use std::collections::BTreeMap;

use vod_proto::Exchange;
use vod_serve::{
    fault::{Fault, Selector, Verdict},
    host_name,
};

use crate::{
    evidence::{Happening, StepEnd, StepEvidence},
    judge::{Case, Finding},
};

/// What a program may need at most, in bytes: 96 MiB, for a source of any size.
const MEMORY_MOST: u64 = 96 << 20;

/// Every planned fault struck. One that did not tested nothing; but where they were drawn by chance, that may be.
pub(super) fn every_fault_fired(case: Case<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    for fault in case.scenario.plan().faults {
        let id = &fault.id;
        match case.evidence.faults.iter().find(|account| account.id == *id) {
            Some(account) if account.struck > 0 => findings.extend(killed_nobody(case, &fault)),
            Some(_) if case.scenario.faults_drawn => {}
            Some(account) => findings.push(Finding::broken(match fault.on.chance {
                // The engine counts none that chance left out.
                Some(chance) => {
                    let fitted = case.evidence.exchanges.iter().filter(|exchange| is_planned(&fault, exchange)).count();
                    format!("fault {id:?} never struck; {fitted} requests fitted its selector but for its chance of {chance}")
                }
                None => format!("fault {id:?} never struck; {} requests fitted its selector", account.matched),
            })),
            None => findings.push(Finding::Unknown(format!("there is no account of fault {id:?}"))),
        }
    }
    findings
}

/// A kill has struck when somebody is dead, and not when somebody was asked.
fn killed_nobody(case: Case<'_>, fault: &Fault) -> Option<Finding> {
    let Verdict::Kill(target) = fault.verdict else { return None };
    let dead =
        case.evidence.events.iter().any(
            |event| matches!(&event.what, Happening::ClientKilled(id) | Happening::MockKilled(id) if *id == fault.id),
        );
    (!dead).then(|| Finding::broken(format!("fault {:?} struck, and the {target} was not killed", fault.id)))
}

/// What struck was planned: that request, in that phase, and no more often than that.
pub(super) fn faults_as_planned(case: Case<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut times: BTreeMap<&str, u64> = BTreeMap::new();
    let plan = case.scenario.plan_at(case.evidence.target.hosts());
    for exchange in &case.evidence.exchanges {
        for mark in &exchange.faults {
            let Some(fault) = plan.faults.iter().find(|fault| fault.id == mark.id) else {
                findings.push(Finding::broken(format!("fault {:?} is not planned, and struck", mark.id)));
                continue;
            };
            let struck = times.entry(&fault.id).or_default();
            *struck += 1;
            if fault.on.times.is_some_and(|most| *struck == most + 1) {
                findings.push(Finding::broken(format!("fault {:?} struck for the {struck}. time", fault.id)));
            }
            if !is_planned(fault, exchange) || mark.phase != fault.phase.to_string() {
                findings.push(Finding::broken(format!(
                    "fault {:?} struck {}, attempt {}, {}: that was not planned",
                    fault.id,
                    exchange.name(),
                    exchange.attempt,
                    mark.phase
                )));
            }
        }
    }
    findings
}

/// Is this a request that the fault selects?
fn is_planned(fault: &Fault, exchange: &Exchange) -> bool {
    let Selector { action, part, offset, attempt, ref account, file_sha, ref host, .. } = fault.on;
    action.is_none_or(|action| exchange.known_action() == Some(action))
        && part.is_none_or(|number| exchange.part_number == Some(number))
        && offset.is_none_or(|offset| exchange.part.is_some_and(|part| part.offset == offset))
        && attempt.is_none_or(|attempt| exchange.attempt == attempt)
        && account.as_ref().is_none_or(|account| exchange.account.as_ref() == Some(account))
        && host.as_ref().is_none_or(|host| host_name(&exchange.request.host) == host)
        && file_sha.is_none_or(|sha1| exchange.file_sha1 == Some(sha1))
}

/// Every step ends within its limit.
pub(super) fn ends_in_time(case: Case<'_>) -> Vec<Finding> {
    let limit = |step: &StepEvidence| case.scenario.limit(step.step - 1);
    let late = |step: &&StepEvidence| step.end == StepEnd::TimedOut || step.elapsed > limit(step);
    let steps = case.evidence.steps.iter().filter(late);
    steps
        .map(|step| {
            let (millis, limit) = (step.elapsed.as_millis(), limit(step).as_millis());
            Finding::broken(format!("{} took {millis} ms, its limit is {limit} ms", case.evidence.name_of(step)))
        })
        .collect()
}

/// No program needs more than its ceiling. What a client that is not ours needs is its interpreter's affair.
pub(super) fn memory_bounded(case: Case<'_>) -> Vec<Finding> {
    let foreign = case.scenario.client.command.is_some();
    let judged = case.evidence.peak_memory.iter().filter(|(program, _)| !(foreign && *program == "client"));
    let over = judged.filter(|(_, peak)| **peak > MEMORY_MOST);
    over.map(|(program, peak)| {
        Finding::broken(format!("the {program} needed {} MiB, {} MiB is the most", peak >> 20, MEMORY_MOST >> 20))
    })
    .collect()
}

/// Nobody panics, also where the other side gets over it.
pub(super) fn no_panic(case: Case<'_>) -> Vec<Finding> {
    case.evidence.panics.iter().map(Finding::broken).collect()
}

/// Nothing is left when all is over.
pub(super) fn nothing_left_behind(case: Case<'_>) -> Vec<Finding> {
    case.evidence.left_behind.iter().map(Finding::broken).collect()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use vod_serve::fault::Fate;

    use super::*;
    use crate::{
        evidence::Event,
        judge::crafted::{Story, mark},
    };

    const FAULT: &str = "[[fault]]\nid = \"f\"\nphase = \"after-commit\"\ndo = \"reset\"";

    #[test]
    fn a_foreign_client_may_need_what_its_interpreter_needs_and_the_mock_may_not() {
        let mut story = Story::plain();
        story.evidence.peak_memory.insert("client".to_owned(), 500 << 20);
        story.assert_broken("memory-bounded", "the client needed 500 MiB, 96 MiB is the most");
        story.scenario.client.command = "java -jar up.jar".parse().ok();
        story.assert_holds("memory-bounded");
        story.evidence.peak_memory.insert("mock".to_owned(), 500 << 20);
        story.assert_broken("memory-bounded", "the mock needed 500 MiB");
    }

    #[test]
    fn what_chance_left_out_is_told_of_a_fault_that_never_struck() {
        let mut story = Story::with(&FAULT.replace("phase", "on = { action = \"UploadPart\", chance = 0.5 }\nphase"));
        story.evidence.faults.push(Fate {
            id: "f".to_owned(),
            account: None,
            matched: 0,
            struck: 0,
            held: 0,
            expired: false,
        });
        story.assert_broken("every-fault-fired", "3 requests fitted its selector but for its chance of 0.5");
    }

    #[test]
    fn a_fault_that_never_struck_is_seen() {
        let mut story = Story::with(FAULT);
        assert!(matches!(story.findings("every-fault-fired")[..], [Finding::Unknown(_)]));
        story.evidence.faults.push(Fate {
            id: "f".to_owned(),
            account: None,
            matched: 3,
            struck: 0,
            held: 0,
            expired: false,
        });
        story.assert_broken("every-fault-fired", "fault \"f\" never struck; 3 requests fitted");
        story.evidence.faults[0].struck = 1;
        story.assert_holds("every-fault-fired");
    }

    #[test]
    fn a_kill_that_killed_nobody_is_seen() {
        let mut story = Story::with(
            "[[fault]]\nid = \"f\"\non = { attempt = 1 }\nphase = \"after-commit\"\ndo = { kill = \"mock\" }",
        );
        story.evidence.faults.push(Fate {
            id: "f".to_owned(),
            account: None,
            matched: 1,
            struck: 1,
            held: 0,
            expired: false,
        });
        story.assert_broken("every-fault-fired", "fault \"f\" struck, and the mock was not killed");
        story.evidence.events.push(Event { after_seq: 1, what: Happening::MockKilled("f".to_owned()) });
        story.assert_holds("every-fault-fired");
    }

    #[test]
    fn a_step_over_its_limit_is_seen_also_when_it_ended_by_itself() {
        let mut story = Story::plain();
        story.step().elapsed = Duration::from_secs(61);
        story.assert_broken("ends-in-time", "step 1 took 61000 ms, its limit is 60000 ms");
        let mut story = Story::plain();
        story.step().end = StepEnd::TimedOut;
        story.assert_broken("ends-in-time", "step 1 took");
    }

    #[test]
    fn memory_over_the_ceiling_is_seen() {
        let mut story = Story::plain();
        story.evidence.peak_memory.insert("mock".to_owned(), MEMORY_MOST);
        story.assert_holds("memory-bounded");
        story.evidence.peak_memory.insert("client".to_owned(), MEMORY_MOST + (1 << 20));
        story.assert_broken("memory-bounded", "the client needed 97 MiB");
    }

    #[test]
    fn a_panic_that_everybody_got_over_is_seen() {
        let mut story = Story::plain();
        story.evidence.panics.push("panicked at mind.rs:7: a mistake".to_owned());
        story.assert_broken("no-panic", "a mistake");
    }

    #[test]
    fn what_is_left_behind_is_named() {
        let mut story = Story::plain();
        story.evidence.left_behind.push("the client's connection".to_owned());
        story.assert_broken("nothing-left-behind", "the client's connection");
    }

    /// A fault on the second part that strikes a request for the part with this number.
    fn struck(number: u64, times: usize) -> Story {
        let mut story = Story::with(
            "[[fault]]\nid = \"f\"\non = { action = \"UploadPart\", part = 2, attempt = 1, times = 1 }\n\
             phase = \"before-commit\"\ndo = { delay = \"1s\" }",
        );
        let exchange = &mut story.evidence.exchanges[2];
        exchange.part_number = Some(number);
        exchange.faults = vec![mark("delay", false); times];
        story
    }

    #[test]
    fn a_fault_that_strikes_what_was_not_planned_is_seen() {
        struck(2, 1).assert_holds("faults-as-planned");
        struck(3, 1).assert_broken(
            "faults-as-planned",
            "struck UploadPart 1048576+1048576 (request 3), attempt 1, before-commit",
        );
        struck(2, 2).assert_broken("faults-as-planned", "fault \"f\" struck for the 2. time");
        let mut late = struck(2, 1);
        late.evidence.exchanges[2].attempt = 2;
        late.assert_broken("faults-as-planned", "attempt 2, before-commit: that was not planned");
        let mut phase = struck(2, 1);
        phase.evidence.exchanges[2].faults[0].phase = "mid-body".to_owned();
        phase.assert_broken("faults-as-planned", "attempt 1, mid-body: that was not planned");
        let mut unknown = Story::plain();
        unknown.evidence.exchanges[2].faults = vec![mark("delay", false)];
        unknown.assert_broken("faults-as-planned", "fault \"f\" is not planned, and struck");
    }
}

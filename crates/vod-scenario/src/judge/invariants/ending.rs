//! How a run ends: in time, with every fault used, and with nothing left behind.

use vod_serve::fault::{Fault, Verdict};

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
            Some(account) => findings.push(Finding::broken(format!(
                "fault {id:?} never struck; {} requests fitted its selector",
                account.matched
            ))),
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
    use crate::{evidence::Event, judge::crafted::Story};

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
}

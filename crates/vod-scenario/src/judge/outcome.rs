//! The first layer: what the user of the client sees.

use super::{Case, Check, Finding, Layer, exited, ruled};
use crate::{
    evidence::{Happening, ReportedOutcome, StepEnd, StepEvidence},
    format::{Does, Failure, StepExpect, Who},
};

/// Does each upload end as the file says?
pub(super) fn check(case: Case<'_>) -> Vec<Check> {
    each_end(case, |at, expected, end| {
        if let StepEnd::Exited { says, .. } = end {
            return exited::check(case, at, expected, *says);
        }
        if fits(expected, end) {
            return None;
        }
        Some(Finding::broken(format!("expected {expected}, it ended {end}")))
    })
}

/// Does each upload of a control run end in success?
pub(super) fn check_control(case: Case<'_>) -> Vec<Check> {
    each_end(case, |_, _, end| {
        if end.is_success() {
            return None;
        }
        let with = if matches!(end, StepEnd::Exited { .. }) { "with " } else { "" };
        Some(Finding::broken(format!("expected success without faults, it ended {with}{end}")))
    })
}

/// Judges the end of every upload, and whether those are held that must be. An upload is told by its place in the evidence.
fn each_end(case: Case<'_>, judge: impl Fn(usize, &StepExpect, &StepEnd) -> Option<Finding>) -> Vec<Check> {
    let mut checks = Vec::new();
    let mut add = |name: String, finding: Option<Finding>| {
        checks.push(ruled(Layer::Outcome, name, finding.into_iter().collect()));
    };
    let steps = &case.evidence.steps;
    let ended = |number: usize, who: Option<Who>| {
        let fits = |step: &StepEvidence| step.step == number && who.is_none_or(|who| step.who == who);
        steps.iter().position(fits).and_then(|at| Some((at, &steps.get(at)?.end)))
    };
    let end = |number: usize, who: Option<Who>, expected: &StepExpect| match ended(number, who) {
        Some((at, end)) => judge(at, expected, end),
        None => Some(Finding::broken("it was never reached")),
    };
    for (step, number) in case.scenario.steps().zip(1..) {
        match step.does() {
            Does::Upload(_, expected @ StepExpect::Held(hold)) => {
                let held = case.evidence.events.iter().any(
                    |event| matches!(&event.what, Happening::Held { step, hold: by } if *step == number && by == hold),
                );
                let finding = (!held).then(|| match ended(number, None) {
                    Some((_, end)) => Finding::broken(format!("expected {expected}, it ended {end}")),
                    None => Finding::broken("it was never reached"),
                });
                add(format!("step {number} is {expected}"), finding);
            }
            Does::Upload(_, expected) | Does::Release(_, expected) => {
                add(format!("step {number} ends {expected}"), end(number, None, expected));
            }
            Does::Together(both) => {
                for (who, one) in Who::BOTH.into_iter().zip(both) {
                    let name = format!("step {number}, client {who}, ends {}", one.expect);
                    add(name, end(number, Some(who), &one.expect));
                }
            }
            Does::Restart(_) => {}
        }
    }
    checks
}

fn fits(expected: &StepExpect, end: &StepEnd) -> bool {
    let outcome = end.report().map(|report| report.outcome);
    match expected {
        StepExpect::Killed => matches!(end, StepEnd::Killed { .. }),
        StepExpect::Finished => outcome == Some(ReportedOutcome::Finished),
        StepExpect::CommittedEarlier => outcome == Some(ReportedOutcome::CommittedEarlier),
        StepExpect::Existed => outcome == Some(ReportedOutcome::Existed),
        StepExpect::There => end.is_success(),
        // Whoever has ended is not held.
        StepExpect::Held(_) => false,
        StepExpect::Any => matches!(end, StepEnd::Reported(_) | StepEnd::Killed { .. }),
        StepExpect::Failed(failure) => {
            outcome == Some(ReportedOutcome::Failed)
                && end.report().is_some_and(|report| match failure {
                    Failure::Code(code) => report.code == Some(*code),
                    Failure::Kind(kind) => report.kind.as_ref() == Some(kind),
                })
        }
    }
}

#[cfg(test)]
mod tests {
    use vod_proto::Code;

    use super::*;
    use crate::{
        evidence::ClientReport,
        judge::{Verdict, crafted::Story, judge_control},
    };

    fn reported(outcome: ReportedOutcome) -> StepEnd {
        StepEnd::Reported(ClientReport { outcome, ..ClientReport::default() })
    }

    #[test]
    fn every_expectation_fits_its_own_end_and_no_other() {
        let expectations =
            [StepExpect::Finished, StepExpect::CommittedEarlier, StepExpect::Existed, StepExpect::Killed];
        let ends = [
            reported(ReportedOutcome::Finished),
            reported(ReportedOutcome::CommittedEarlier),
            reported(ReportedOutcome::Existed),
            StepEnd::Killed { fault: "f".to_owned() },
            reported(ReportedOutcome::Failed),
            StepEnd::TimedOut,
            StepEnd::Silent { how: "exit status 101".to_owned() },
        ];
        for (e, expected) in expectations.iter().enumerate() {
            for (n, end) in ends.iter().enumerate() {
                assert_eq!(fits(expected, end), e == n, "{expected} and {end}");
            }
        }
    }

    #[test]
    fn there_is_every_success_and_any_is_every_end_that_is_one() {
        let failed = reported(ReportedOutcome::Failed);
        let killed = StepEnd::Killed { fault: "f".to_owned() };
        let silent = StepEnd::Silent { how: "exit status 101".to_owned() };
        for success in [ReportedOutcome::Finished, ReportedOutcome::CommittedEarlier, ReportedOutcome::Existed] {
            assert!(fits(&StepExpect::There, &reported(success)) && fits(&StepExpect::Any, &reported(success)));
        }
        for end in [&failed, &killed] {
            assert!(!fits(&StepExpect::There, end) && fits(&StepExpect::Any, end), "{end}");
        }
        for end in [&StepEnd::TimedOut, &silent] {
            assert!(!fits(&StepExpect::There, end) && !fits(&StepExpect::Any, end), "{end}");
        }
    }

    #[test]
    fn a_failure_is_told_by_its_code_or_its_kind() {
        let end = StepEnd::Reported(ClientReport {
            outcome: ReportedOutcome::Failed,
            code: Some(Code::PROTOCOL_PARAMS),
            kind: Some("rejected".to_owned()),
            ..ClientReport::default()
        });
        assert!(fits(&StepExpect::Failed(Failure::Code(Code::PROTOCOL_PARAMS)), &end));
        assert!(!fits(&StepExpect::Failed(Failure::Code(Code::SIGNATURE)), &end));
        assert!(fits(&StepExpect::Failed(Failure::Kind("rejected".to_owned())), &end));
        assert!(!fits(&StepExpect::Failed(Failure::Kind("transport".to_owned())), &end));
    }

    #[test]
    fn a_step_that_was_never_reached_is_broken() {
        let mut story = Story::plain();
        story.evidence.steps.clear();
        assert_eq!(story.judge().verdict, Verdict::Fail);
    }

    #[test]
    fn a_control_run_wants_success_whatever_the_file_expects() {
        let mut story = Story::plain();
        assert_eq!(judge_control(story.case()).verdict, Verdict::Pass);
        story.evidence.steps[0].end = reported(ReportedOutcome::Failed);
        assert_eq!(judge_control(story.case()).verdict, Verdict::Fail);
    }
}

//! The first layer: what the user of the client sees.

use super::{Case, Check, Finding, Layer, exited, ruled};
use crate::{
    evidence::{ReportedOutcome, StepEnd},
    format::{Failure, StepExpect},
};

/// Does each step end as the file says?
pub(super) fn check(case: Case<'_>) -> Vec<Check> {
    each_step(case, |at, expected, end| {
        if let StepEnd::Exited { says, .. } = end {
            return exited::check(case, at, expected, *says);
        }
        if fits(expected, end) {
            return None;
        }
        Some(Finding::broken(format!("expected {expected}, it ended {end}")))
    })
}

/// Does each step of a control run end in success?
pub(super) fn check_control(case: Case<'_>) -> Vec<Check> {
    each_step(case, |_, _, end| {
        if end.is_success() {
            return None;
        }
        let with = if matches!(end, StepEnd::Exited { .. }) { "with " } else { "" };
        Some(Finding::broken(format!("expected success without faults, it ended {with}{end}")))
    })
}

fn each_step(case: Case<'_>, judge: impl Fn(usize, &StepExpect, &StepEnd) -> Option<Finding>) -> Vec<Check> {
    let mut checks = Vec::new();
    for (at, step) in case.scenario.steps().enumerate() {
        let found = match case.evidence.steps.get(at) {
            Some(seen) => judge(at, &step.expect, &seen.end),
            None => Some(Finding::broken("it was never reached")),
        };
        let findings = found.into_iter().collect();
        checks.push(ruled(Layer::Outcome, format!("step {} ends {}", at + 1, step.expect), findings));
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

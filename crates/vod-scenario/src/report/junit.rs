//! The results as JUnit's XML, which every CI reads: a suite a target, a case a scenario.

use quick_junit::{NonSuccessKind, Report, SerializeError, TestCase, TestCaseStatus, TestSuite};

use super::{report, visible};
use crate::{
    evidence::Target,
    judge::Verdict,
    run::{Run, RunResult},
};

/// The document. What did not pass has its whole report with it; what is inconclusive is an error, not a failure.
///
/// # Errors
/// If a text of it cannot be written as XML.
pub fn junit(runs: &[Run]) -> Result<String, SerializeError> {
    let mut document = Report::new("vod-scenario");
    for target in Target::ALL {
        let mut suite = TestSuite::new(target.name());
        for run in runs.iter().filter(|run| run.target == target) {
            if let Some(because) = run.skipped() {
                let mut status = TestCaseStatus::skipped();
                status.set_message(because);
                let mut case = TestCase::new(&*run.story.name, status);
                case.set_classname(target.name());
                suite.add_test_case(case);
                continue;
            }
            let kind = match run.verdict() {
                Verdict::Pass => None,
                Verdict::Fail => Some(NonSuccessKind::Failure),
                Verdict::Inconclusive => Some(NonSuccessKind::Error),
            };
            let status = kind.map_or_else(TestCaseStatus::success, |kind| {
                let mut status = TestCaseStatus::non_success(kind);
                status.set_type(run.verdict().to_string()).set_message(first_finding(run)).set_description(report(run));
                status
            });
            let mut case = TestCase::new(&*run.story.name, status);
            case.set_classname(target.name()).set_time(run.took);
            suite.add_test_case(case);
        }
        if !suite.test_cases.is_empty() {
            document.add_test_suite(suite);
        }
    }
    document.to_string()
}

/// What is wrong, in a line.
fn first_finding(run: &Run) -> String {
    match &run.result {
        RunResult::NotRun(why) => format!("it could not be run: {why}"),
        RunResult::Skipped(because) => because.clone(),
        RunResult::Judged(judged) | RunResult::ControlUnhealthy(judged) => {
            let first = judged.judgement.against().find_map(|(check, findings)| Some((check, findings.first()?)));
            let first = first.map(|(check, finding)| format!("{} · {}: {}", check.layer, check.name, finding.why()));
            visible(&judged.evidence.masked(&first.unwrap_or_default())).into_owned()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        evidence::Log,
        judge::crafted::Story,
        report::tests::{noisy, run},
    };

    #[test]
    fn what_failed_is_told_as_a_failure_and_what_is_inconclusive_as_an_error() {
        let (mut failed, mut unsure) = (Story::plain(), Story::plain());
        failed.evidence.left_behind.push("a <file>".to_owned());
        unsure.evidence.evicted = 1;
        let text = junit(&[run(Story::plain()), run(failed), run(unsure)]).unwrap();
        for said in [
            r#"<testsuite name="sim" tests="3" skipped="0" errors="1" failures="1">"#,
            r#"<testcase name="crafted" classname="sim" time="0.020">"#,
            r#"<failure message="invariants · nothing-left-behind: a &lt;file&gt;" type="fail">cargo xtask scenario crafted"#,
            r#"<error message="outcome · evidence is whole: 1 exchanges are not in the journal any more" type="inconclusive">"#,
        ] {
            assert!(text.contains(said), "{said} is not in\n{text}");
        }
    }

    #[test]
    fn what_a_client_writes_without_end_is_cut_and_made_visible() {
        let text = junit(&[run(Story::plain()), noisy()]).unwrap();
        assert!(text.len() < 64 << 10 && text.contains("this is the end"), "{} bytes", text.len());
        assert!(text.contains(r#"nothing-left-behind: a \u{1b}[31mfile""#), "{text}");
    }

    #[test]
    fn no_secret_is_written() {
        let mut story = Story::plain();
        let secret = story.evidence.secrets[0].value.clone();
        story.evidence.logs.push(Log { origin: "the client's stderr".to_owned(), text: secret.clone() });
        story.evidence.left_behind.push(secret.clone());
        let text = junit(&[run(story)]).unwrap();
        assert!(text.contains("<failure") && !text.contains(&secret), "{text}");
    }
}

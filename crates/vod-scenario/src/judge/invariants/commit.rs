//! What is stored, how often, and what the client says of it.

use std::collections::{BTreeMap, BTreeSet};

use vod_mock::{UploadState, UploadView};
use vod_proto::{Exchange, action::Role};
use vod_serve::fault::Phase;

use super::role;
use crate::{
    evidence::{ExitSays, ReportedOutcome, StepEnd, StepEvidence},
    judge::{Case, Finding},
};

/// Is the file there? An upload that was opened again after its commit is open, and its file is there all the same.
fn committed(upload: Option<&UploadView>) -> bool {
    upload.is_some_and(|upload| upload.commits > 0 && upload.state != UploadState::Gone)
}

/// What is stored is the source, and what was there after one step is there after the next.
pub(super) fn nothing_lost(case: Case<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut promised = BTreeSet::new();
    for step in &case.evidence.steps {
        let (own, source) = (case.scenario.of(step.began, step.who), step.source);
        if step.end.is_success() {
            promised.insert(source.sha1);
        }
        let name = case.evidence.name_of(step);
        let upload = case.evidence.upload_after(step);
        if promised.contains(&source.sha1) && !committed(upload) {
            findings.push(Finding::broken(format!("after {name} the file is not there, though it was promised")));
        }
        // Whoever claims to be another file has lost nothing while that is stored, unless it was told that it is there.
        let judged = step.end.is_success() || !own.source.claims_source;
        let Some(upload) = upload.filter(|upload| judged && committed(Some(upload))) else { continue };
        if let Some(size) = upload.file_size.filter(|size| *size != source.size) {
            let why = format!("after {name} {size} bytes are stored, the source has {}", source.size);
            findings.push(Finding::broken(why));
        }
        let cover_of = &own.client.cover_of;
        if let Some(file) = upload.file.as_ref().filter(|file| file.cover_of != *cover_of) {
            let cover =
                |of: &Option<String>| of.as_ref().map_or("no cover".to_owned(), |video| format!("a cover of {video}"));
            let (stored, source) = (cover(&file.cover_of), cover(cover_of));
            findings.push(Finding::broken(format!("after {name} {stored} is stored, the source is {source}")));
        }
        match upload.stored_sha1 {
            Some(sha1) if sha1 == source.sha1 => {}
            Some(sha1) => findings.push(Finding::broken(format!(
                "after {name} a file with SHA-1 {sha1} is stored, the source's is {}",
                source.sha1
            ))),
            None => findings.push(Finding::Unknown(format!("after {name} the digest of the stored file is unknown"))),
        }
    }
    findings
}

/// No upload is put together twice, and none counts as stored without that.
pub(super) fn one_commit(case: Case<'_>) -> Vec<Finding> {
    let uploads = case.evidence.steps.last().map_or(&[][..], |step| &step.uploads);
    let wrong = uploads.iter().filter(|upload| {
        let least = u64::from(upload.state == UploadState::Stored);
        !(least..=1).contains(&upload.commits)
    });
    wrong
        .map(|upload| {
            let UploadView { file_sha1, state, commits, .. } = upload;
            Finding::broken(format!("upload {file_sha1} is {state} after {commits} commits"))
        })
        .collect()
}

/// Whoever says that the file is there was told so in that very step, by a server that has it:
/// a file that was finished by the finish, one that was there before by the opening action.
/// The legacy family has one action for both, and one reply; so has a file that is sent whole.
pub(super) fn no_success_without_commit(case: Case<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (step, exchanges) in case.evidence.by_step() {
        if !step.end.is_success() {
            continue;
        }
        let (name, end, own) = (case.evidence.name_of(step), &step.end, case.scenario.of(step.began, step.who));
        if !committed(case.evidence.upload_after(step)) {
            findings.push(Finding::broken(format!("{name} says {end}, and the mock has not put the file together")));
        }
        let family = own.client.family;
        let actions = match (own.whole(), step.end.report().map(|report| report.outcome)) {
            (Some(whole), _) => vec![whole],
            (None, Some(ReportedOutcome::Finished)) => vec![family.finish()],
            (None, Some(_)) => vec![family.open()],
            // An exit code does not say in which way it is there.
            (None, None) => vec![family.finish(), family.open()],
        };
        let told = |exchange: &Exchange| {
            exchange.known_action().is_some_and(|action| actions.contains(&action))
                && exchange.whole_reply().is_some()
                && exchange.says_stored().is_some()
                && exchange.file_sha1 == Some(step.source.sha1)
        };
        if !exchanges.iter().any(told) {
            let actions = actions.iter().map(|action| action.wire_name()).collect::<Vec<_>>().join(" or ");
            let why = format!("{name} says {end}, and no {actions} in it was answered that the file is there");
            findings.push(Finding::unless_missing(case.evidence.is_whole_in(step), why));
        }
    }
    findings
}

/// A failure in a step that put the file together must say that this may be so.
///
/// What an earlier step had done is for that one to tell: a process that begins and fails at once knows nothing of it.
/// And whoever is refused what was done is lied to, which no client can know.
///
/// Of two clients of one file at the same time it was put together by the one whose own request may have done it.
pub(super) fn no_failure_hiding_commit(case: Case<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut commits = BTreeMap::new();
    for (step, exchanges) in case.evidence.by_step() {
        let upload = case.evidence.upload_after(step).filter(|upload| committed(Some(upload)));
        let known = commits.get(&step.source.sha1).copied().unwrap_or(0);
        let before = if step_shares(case, step) { commits_before(case, step) } else { known };
        let now = upload.map_or(before, |upload| upload.commits);
        commits.insert(step.source.sha1, now);
        let end = &step.end;
        let hides = match end {
            StepEnd::Reported(report) => !report.outcome.is_success() && !report.may_be_committed,
            StepEnd::Exited { says, .. } => *says == ExitSays::Failed,
            StepEnd::Killed { .. } | StepEnd::TimedOut | StepEnd::Silent { .. } => false,
        };
        let own = |exchange: &Exchange| role(exchange).is_some_and(Role::can_commit) && exchange.refusal().is_none();
        let its_own = !step_shares(case, step) || exchanges.iter().any(own);
        if hides && now > before && its_own && !exchanges.iter().any(refused_when_done) {
            let why = format!("{} says {end}, and the file is stored", case.evidence.name_of(step));
            let told = |exchange: &Exchange| exchange.whole_reply().is_some() && exchange.says_stored().is_some();
            // What a client says beside its exit code is in words that nobody here can read, unless it was told better.
            findings.push(if matches!(end, StepEnd::Reported(_)) || exchanges.iter().any(told) {
                Finding::unless_missing(case.evidence.is_whole_in(step), why)
            } else {
                Finding::Unknown(format!("{why}; whether it says that this may be so is not known: exit code 8 does"))
            });
        }
    }
    findings
}

/// Was another upload of the same file under way at the same time?
fn step_shares(case: Case<'_>, step: &StepEvidence) -> bool {
    let mut others = case.evidence.steps.iter();
    others.any(|other| case.evidence.concurrent(step, other) && other.source.sha1 == step.source.sha1)
}

/// How often its file was put together before it began, as far as was looked.
fn commits_before(case: Case<'_>, step: &StepEvidence) -> u64 {
    let earlier = case.evidence.steps.iter().rfind(|other| other.last_seq <= step.after_seq);
    let upload = earlier.and_then(|earlier| earlier.uploads.iter().find(|upload| upload.file_sha1 == step.source.sha1));
    upload.filter(|upload| committed(Some(upload))).map_or(0, |upload| upload.commits)
}

/// Did a fault put a refusal in the place of the answer to a request that had its effect? One of the protocol, or the
/// status 429, which says that nothing was even looked at.
fn refused_when_done(exchange: &Exchange) -> bool {
    let after = Phase::AfterCommit.to_string();
    let refuses = |verdict: &str| verdict == "reply" || verdict == "http" && status(exchange) == Some(429);
    let lies = exchange.faults.iter().any(|mark| refuses(&mark.verdict) && mark.phase == after);
    lies && role(exchange).is_some_and(Role::can_commit)
}

fn status(exchange: &Exchange) -> Option<u16> {
    exchange.reply.as_ref().map(|reply| reply.status)
}

#[cfg(test)]
mod tests {
    use vod_proto::{Family, Sha1};

    use super::*;
    use crate::{
        evidence::ClientReport,
        judge::crafted::{Story, failed, mark},
    };

    #[test]
    fn another_file_than_the_source_is_a_loss() {
        let mut story = Story::plain();
        story.upload().stored_sha1 = Some(Sha1::of(b"another"));
        story.assert_broken("nothing-lost", "the source's is");
        let mut story = Story::plain();
        story.upload().file_size = Some((3 << 20) - 1);
        story.assert_broken("nothing-lost", "3145727 bytes are stored");
    }

    #[test]
    fn what_was_promised_must_still_be_there_after_a_later_step() {
        let mut story = Story::plain();
        story.end_step(failed());
        story.assert_broken("nothing-lost", "after step 2 the file is not there");
        let mut story = Story::plain();
        story.step().uploads.clear();
        story.assert_broken("nothing-lost", "after step 1 the file is not there");
    }

    #[test]
    fn an_unknown_digest_is_no_proof() {
        let mut story = Story::plain();
        story.upload().stored_sha1 = None;
        assert!(matches!(story.findings("nothing-lost")[..], [Finding::Unknown(_)]));
    }

    #[test]
    fn two_commits_are_one_too_many_and_none_is_too_few() {
        let mut story = Story::plain();
        story.upload().commits = 2;
        story.assert_broken("one-commit", "is stored after 2 commits");
        story.upload().commits = 0;
        story.assert_broken("one-commit", "is stored after 0 commits");
        story.upload().state = UploadState::Open;
        story.assert_holds("one-commit");
        story.upload().commits = 2;
        story.assert_broken("one-commit", "is open after 2 commits");
    }

    #[test]
    fn success_before_the_finish_is_seen_on_both_sides() {
        for (family, finish) in
            Family::ALL.into_iter().zip(["FinishUpload", "FinishUploadEx", "MultipartUploadVodFile"])
        {
            let mut story = Story::of(family);
            (story.upload().state, story.upload().commits) = (UploadState::Open, 0);
            story.assert_broken("no-success-without-commit", "the mock has not put the file together");
            let mut story = Story::of(family);
            story.never_sent();
            let told = format!("no {finish} in it was answered that the file is there");
            story.assert_broken("no-success-without-commit", &told);
            // It may have been, where a number is left out.
            story.step().last_seq += 1;
            story.assert_unknown("no-success-without-commit", &told);
        }
    }

    #[test]
    fn a_cover_that_is_stored_as_none_or_as_another_is_a_loss() {
        let mut story = Story::cover();
        story.upload().file.as_mut().unwrap().cover_of = None;
        story.assert_broken("nothing-lost", "after step 1 no cover is stored, the source is a cover of 7");
        story.upload().file.as_mut().unwrap().cover_of = Some("8".to_owned());
        story.assert_broken("nothing-lost", "a cover of 8 is stored");
    }

    #[test]
    fn a_file_that_is_sent_whole_is_put_together_once_and_told_by_its_one_action() {
        let mut story = Story::cover();
        story.upload().commits = 2;
        story.assert_broken("one-commit", "is stored after 2 commits");
        for outcome in [ReportedOutcome::Finished, ReportedOutcome::CommittedEarlier] {
            let mut story = Story::cover();
            story.step().end = StepEnd::Reported(ClientReport { outcome, ..ClientReport::default() });
            story.assert_holds("no-success-without-commit");
            story.never_sent();
            let told = "no SmallFileUpload in it was answered that the file is there";
            story.assert_broken("no-success-without-commit", told);
        }
    }

    #[test]
    fn an_existing_file_must_be_told_by_the_init() {
        let mut story = Story::plain();
        let existed = ClientReport { outcome: ReportedOutcome::Existed, ..ClientReport::default() };
        story.step().end = StepEnd::Reported(existed);
        story.assert_broken("no-success-without-commit", "no InitUpload in it was answered that the file is there");
    }

    #[test]
    fn an_answer_of_an_earlier_step_tells_a_later_one_nothing() {
        let mut story = Story::plain();
        let again = story.step().end.clone();
        story.end_step(again);
        story.assert_broken("no-success-without-commit", "step 2 says finished");
    }

    #[test]
    fn a_failure_must_not_hide_a_commit() {
        let mut story = Story::plain();
        story.step().end = failed();
        story.assert_broken("no-failure-hiding-commit", "the file is stored");
        let doubtful =
            ClientReport { outcome: ReportedOutcome::Failed, may_be_committed: true, ..ClientReport::default() };
        story.step().end = StepEnd::Reported(doubtful);
        story.assert_holds("no-failure-hiding-commit");
    }

    #[test]
    fn whoever_is_refused_what_was_done_is_lied_to_and_hides_nothing() {
        let mut story = Story::plain();
        story.step().end = failed();
        let finish = story.evidence.exchanges.len() - 1;
        story.evidence.exchanges[finish].faults.push(mark("reply", true));
        // In the phase before the commit a refusal is the truth.
        story.assert_broken("no-failure-hiding-commit", "the file is stored");
        story.evidence.exchanges[finish].faults[0].phase = "after-commit".to_owned();
        story.assert_holds("no-failure-hiding-commit");
        // So does too many requests; what else HTTP says leaves it open.
        story.evidence.exchanges[finish].faults[0].verdict = "http".to_owned();
        for (status, lies) in [(429, true), (503, false)] {
            story.evidence.exchanges[finish].reply.as_mut().unwrap().status = status;
            assert_eq!(story.findings("no-failure-hiding-commit").is_empty(), lies, "{status}");
        }
        story.evidence.exchanges[finish].faults[0].verdict = "reply".to_owned();
        // Of a part it says nothing about the file.
        let fault = story.evidence.exchanges[finish].faults.remove(0);
        story.evidence.exchanges[1].faults.push(fault);
        story.assert_broken("no-failure-hiding-commit", "the file is stored");
        // The lie may be among what is missing.
        story.lose(5);
        story.assert_unknown("no-failure-hiding-commit", "the file is stored");
    }

    #[test]
    fn a_commit_of_an_earlier_step_is_not_for_a_later_one_to_tell() {
        let mut story = Story::plain();
        story.step().end = StepEnd::Killed { fault: "f".to_owned() };
        let stored = story.step().uploads.clone();
        story.end_step(failed());
        story.step().uploads = stored;
        story.assert_holds("no-failure-hiding-commit");
        story.upload().commits = 2;
        story.assert_broken("no-failure-hiding-commit", "step 2 says failed");
    }

    #[test]
    fn a_commit_is_seen_behind_a_session_that_was_opened_after_it() {
        let mut story = Story::plain();
        story.upload().state = UploadState::Open;
        story.assert_holds("nothing-lost");
        story.step().end = failed();
        story.assert_broken("no-failure-hiding-commit", "the file is stored");
        story.upload().state = UploadState::Gone;
        story.assert_holds("no-failure-hiding-commit");
    }

    #[test]
    fn an_exit_code_is_taken_at_its_word_as_far_as_it_goes() {
        let exited = |says| StepEnd::Exited { says, how: "exit status N".to_owned() };
        for family in [Family::Server, Family::Ugc] {
            let mut story = Story::of(family);
            story.step().end = exited(ExitSays::Stored);
            story.assert_holds("no-success-without-commit");
            story.never_sent();
            story.assert_broken(
                "no-success-without-commit",
                "step 1 says exit status N (the file is there), and no Finish",
            );
        }
        // It was told that the file is there, and says otherwise.
        let mut story = Story::plain();
        story.step().end = exited(ExitSays::Failed);
        story
            .assert_broken("no-failure-hiding-commit", "step 1 says exit status N (it failed), and the file is stored");
        // It was not told: whether its words say that the file may be there is not known, and exit code 8 does.
        story.never_sent();
        story.assert_unknown("no-failure-hiding-commit", "exit code 8 does");
        story.step().end = exited(ExitSays::FailedMaybeStored);
        story.assert_holds("no-failure-hiding-commit");
    }

    #[test]
    fn a_failure_after_a_reported_success_hides_nothing() {
        let mut story = Story::plain();
        let stored = story.step().uploads.clone();
        story.end_step(failed());
        story.step().uploads = stored;
        story.assert_holds("no-failure-hiding-commit");
    }
}

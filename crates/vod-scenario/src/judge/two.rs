//! Two clients at the same time are judged each by itself: what one does or is told is not the other's.

use vod_proto::{Action, exchange::End};

use super::{
    Verdict,
    crafted::{STORED, Story, failed},
};
use crate::{evidence::StepEnd, format::Who};

const BUSY: &str = r#"{"code":-10004,"canRetry":1,"message":"busy"}"#;
const FINAL: &str = r#"{"code":-10003,"canRetry":0,"message":"no"}"#;

fn push_part(story: &mut Story, who: Who, reply: &str) {
    story.push_part(1, reply);
    story.is_of(who);
}

/// How the upload of a client ended.
fn end(story: &mut Story, who: Who, end: StepEnd) {
    story.evidence.steps[who as usize].end = end;
}

/// Without the finish of a client.
fn without_finish(story: &mut Story, who: Who) {
    let at = story.evidence.exchanges.len() - 2 + who as usize;
    let host = story.evidence.exchanges.remove(at).request.host;
    assert_eq!(host, story.evidence.target.hosts()[who as usize]);
    let again = story.evidence.exchanges.pop().unwrap();
    let mut last = story.evidence.exchanges.len();
    story.evidence.steps.iter_mut().for_each(|step| step.last_seq = last as u64);
    story.insert(last, again);
    last += 1;
    story.evidence.steps.iter_mut().for_each(|step| step.last_seq = last as u64);
}

#[test]
fn a_good_story_of_two_passes_and_each_has_its_own_end() {
    let story = Story::together();
    let judgement = story.judge();
    assert_eq!(judgement.verdict, Verdict::Pass, "{:?}", judgement.against().collect::<Vec<_>>());
    let names: Vec<_> = judgement.checks.iter().map(|check| check.name.as_str()).take(2).collect();
    assert_eq!(names, ["step 1, client a, ends finished", "step 1, client b, ends there"]);
    for who in Who::BOTH {
        let mut story = Story::together();
        end(&mut story, who, StepEnd::TimedOut);
        let judgement = story.judge();
        assert_eq!(judgement.verdict, Verdict::Fail);
        let (check, _) = judgement.against().next().unwrap();
        assert!(check.name.starts_with(&format!("step 1, client {who}, ")), "{}", check.name);
    }
}

#[test]
fn what_one_was_told_to_have_sent_the_other_may_send_and_nobody_may_send_his_own_again() {
    for (who, seq) in Who::BOTH.into_iter().zip([5, 6]) {
        let mut story = Story::together();
        push_part(&mut story, who, r#"{"code":0}"#);
        let why = format!("was sent although request {seq} of the same part was acknowledged");
        story.assert_broken("acknowledged-parts-not-resent", &why);
    }
    // A later client is told what is there, whoever of the two had sent it.
    let mut story = Story::together();
    story.push_part(1, r#"{"code":0}"#);
    story.end_step(failed());
    story.assert_broken("acknowledged-parts-not-resent", "although request 6 of the same part");
}

#[test]
fn attempts_are_counted_and_gaps_are_measured_for_each() {
    let mut story = Story::together();
    for _ in 0..5 {
        Who::BOTH.into_iter().for_each(|who| push_part(&mut story, who, BUSY));
    }
    story.assert_holds("attempts-and-gaps");
    for _ in 0..2 {
        push_part(&mut story, Who::B, BUSY);
    }
    story.assert_broken("attempts-and-gaps", "is attempt 7 of 6");
    // The other comes at once, which is no retry.
    let soon = |who| {
        let mut story = Story::together();
        push_part(&mut story, Who::A, BUSY);
        push_part(&mut story, who, BUSY);
        story.evidence.exchanges[11].start -= jiff::SignedDuration::from_millis(89);
        story
    };
    soon(Who::B).assert_holds("attempts-and-gaps");
    soon(Who::A).assert_broken("attempts-and-gaps", "came 1 ms after request 11");
}

#[test]
fn a_final_answer_binds_whom_it_was_given() {
    let after = |who| {
        let mut story = Story::together();
        push_part(&mut story, Who::A, FINAL);
        push_part(&mut story, who, BUSY);
        story
    };
    after(Who::B).assert_holds("nothing-after-final");
    after(Who::A).assert_broken("nothing-after-final", "request 11 had been answered -10003");
}

#[test]
fn a_success_is_told_to_whoever_claims_it() {
    for who in Who::BOTH {
        let mut story = Story::together();
        without_finish(&mut story, who);
        let why = format!("step 1, client {who} says finished");
        story.assert_broken("no-success-without-commit", &why);
        assert_eq!(story.findings("no-success-without-commit").len(), 1, "the other was told");
    }
}

#[test]
fn a_failure_hides_a_commit_only_where_it_may_be_its_own() {
    let mut story = Story::together();
    without_finish(&mut story, Who::A);
    end(&mut story, Who::A, failed());
    story.assert_holds("no-failure-hiding-commit");
    let mut story = Story::together();
    end(&mut story, Who::A, failed());
    story.assert_broken("no-failure-hiding-commit", "step 1, client a says failed");
    // Where its finish was refused, the other's did it.
    story.evidence.exchanges[8].reply.as_mut().unwrap().body = BUSY.to_owned();
    story.assert_holds("no-failure-hiding-commit");
    story.evidence.exchanges[8].end = End::Reset;
    story.assert_broken("no-failure-hiding-commit", "step 1, client a says failed");
}

#[test]
fn a_request_to_no_host_of_a_client_is_nobodys() {
    let mut story = Story::together();
    story.push(Action::FinishUpload, None, STORED);
    let exchanges = &story.evidence.exchanges;
    let whose: Vec<_> = exchanges.iter().map(|exchange| story.evidence.who(exchange)).collect();
    assert_eq!(whose[..2], [Some(Who::A), Some(Who::B)]);
    assert_eq!(whose[10], None);
    let each: Vec<_> = story.evidence.by_step().map(|(step, exchanges)| (step.who, exchanges.len())).collect();
    assert_eq!(each, [(Who::A, 5), (Who::B, 5)]);
    assert_eq!(story.judge().verdict, Verdict::Pass, "it came when both were over");
    // Where it may have been either's, nobody is accused, and nobody passed.
    for at in [8, 9] {
        let mut story = Story::together();
        story.evidence.exchanges[at].request.host = "vod2.qcloud.com".to_owned();
        let judgement = story.judge();
        assert_eq!(judgement.verdict, Verdict::Inconclusive, "{:?}", judgement.against().collect::<Vec<_>>());
    }
}

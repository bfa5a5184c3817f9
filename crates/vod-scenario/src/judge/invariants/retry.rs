//! How often, how soon, and whether at all a request may be sent again.

use std::collections::{BTreeMap, btree_map::Entry};

use vod_client::RetryPolicy;
use vod_proto::{Code, Exchange, Family, Query, action::Role, code::RetryClass, exchange::End, lint::least_gap_us};

use super::{key, role, told_state};
use crate::judge::{Case, Finding};

/// How soon a request may come again that was asked to wait for a quota, in microseconds.
const QUOTA_GAP_LEAST_US: i64 = 500_000;

/// A request is sent as often as the policy allows, and never sooner than it or `Retry-After` allows.
///
/// The count begins anew when the client was told what the server has: what follows is another try of the upload.
/// The opening action is answered so, and in the legacy family every part is.
pub(super) fn attempts_and_gaps(case: Case<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (step, exchanges) in case.evidence.by_step() {
        let most = case.scenario.of(step.began, step.who).attempts();
        let mut round = 0_u32;
        let mut requests: BTreeMap<_, Vec<&Exchange>> = BTreeMap::new();
        for exchange in exchanges.iter() {
            let sent = requests.entry((key(exchange), round)).or_default();
            sent.push(exchange);
            if let [.., earlier, later] = sent[..] {
                findings.extend(too_soon(case, earlier, later));
            }
            // Only the first one too many is told: the rest is the same mistake.
            if is_charged(exchange) && charged(sent) == u64::from(most) + 1 {
                let why = format!("{} is attempt {} of {most}", exchange.name(), most + 1);
                // The client may have been told in between what the server has.
                let is_whole = case.evidence.is_whole(sent[0].seq, exchange.seq);
                findings.push(Finding::unless_missing(is_whole, why));
            }
            if told_state(exchange) {
                round += 1;
            }
        }
    }
    findings
}

/// Waits for a quota are charged to nobody.
fn is_charged(exchange: &Exchange) -> bool {
    exchange.refusal().is_none_or(|rejected| rejected.retry_class() != RetryClass::AfterWait)
}

fn charged(sent: &[&Exchange]) -> u64 {
    sent.iter().filter(|exchange| is_charged(exchange)).count() as u64
}

fn too_soon(case: Case<'_>, earlier: &Exchange, later: &Exchange) -> Option<Finding> {
    let failed = earlier.end != End::Replied || earlier.code() != Some(Code::OK);
    let gap = later.start.as_microsecond() - earlier.over_us();
    // The same request twice at once is no retry, and a success is no failure: both are judged elsewhere.
    // What began when somebody was killed began before it, on a clock that stands still while all happens.
    if !failed || gap < 0 || (gap == 0 && earlier.end == End::Killed) {
        return None;
    }
    let least = least_gap_us(earlier);
    (gap < least).then(|| {
        let why = format!(
            "{} came {} ms after request {} had failed, {} ms is the least",
            later.name(),
            gap / 1000,
            earlier.seq,
            least / 1000
        );
        Finding::unless_missing(case.evidence.is_whole(earlier.seq, later.seq), why)
    })
}

/// Whoever is asked to wait for a quota waits: half a second at least, which is half of our client's first such wait.
pub(super) fn quota_waited_for(case: Case<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (_, exchanges) in case.evidence.by_step() {
        for (at, asked) in exchanges.iter().enumerate().filter(|(_, exchange)| !is_charged(exchange)) {
            let gap = |later: &Exchange| later.start.as_microsecond() - asked.over_us();
            let again = exchanges[at + 1..].iter().find(|later| key(later) == key(asked) && gap(later) >= 0);
            if let Some(again) = again.filter(|again| gap(again) < QUOTA_GAP_LEAST_US) {
                let why = format!(
                    "{} came {} ms after request {} had been asked to wait for a quota, {} ms is the least",
                    again.name(),
                    gap(again) / 1000,
                    asked.seq,
                    QUOTA_GAP_LEAST_US / 1000
                );
                findings.push(Finding::unless_missing(case.evidence.is_whole(asked.seq, again.seq), why));
            }
        }
    }
    findings
}

/// The retries of one upload are bounded all together: by the budget, and a fifth of a retry more for each request that
/// succeeds at its first try. They are counted like attempts: what follows an answer of what is there is another try.
pub(super) fn budget_kept(case: Case<'_>) -> Vec<Finding> {
    let policy = RetryPolicy::default();
    let mut findings = Vec::new();
    for (step, exchanges) in case.evidence.by_step() {
        let (mut round, mut retries) = (0_u32, 0_u64);
        // Of each request the one before.
        let mut sent = BTreeMap::<_, &Exchange>::new();
        let mut succeeded = 0_u64;
        for exchange in exchanges.iter() {
            let before = sent.insert((key(exchange), round), exchange);
            // It is what went before that makes a retry of it, and what says who pays for it.
            retries += u64::from(before.is_some_and(is_charged));
            succeeded +=
                u64::from(before.is_none() && exchange.refusal().is_none() && exchange.whole_reply().is_some());
            if told_state(exchange) {
                round += 1;
            }
        }
        let most = u64::from(policy.budget) + succeeded * u64::from(policy.refund_percent) / 100;
        if retries > most {
            let why = format!("{retries} retries in {}, {most} is the most", case.evidence.name_of(step));
            findings.push(Finding::unless_missing(case.evidence.is_whole_in(step), why));
        }
    }
    findings
}

/// No process uses the signature of a request twice: two that begin alike in one second may sign alike. An upload signature
/// is for a whole upload: the UGC family has no other.
pub(super) fn signed_anew(case: Case<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (_, exchanges) in case.evidence.by_step() {
        let mut seen: BTreeMap<String, u64> = BTreeMap::new();
        for exchange in exchanges.iter() {
            let of_request = exchange.known_action().is_some_and(|action| action.family() != Family::Ugc);
            let (_, query) = Query::split_target(&exchange.request.target);
            let Some(signature) = query.get("Signature").filter(|_| of_request) else { continue };
            match seen.entry(signature.into_owned()) {
                Entry::Vacant(vacant) => _ = vacant.insert(exchange.seq),
                Entry::Occupied(first) => {
                    let why = format!("{} was sent with the signature of request {}", exchange.name(), first.get());
                    findings.push(Finding::broken(why));
                }
            }
        }
    }
    findings
}

/// A request that was refused for good is not sent again in the same step.
///
/// A refused finish may be sent again once the server was asked what it has and a part was acknowledged since.
pub(super) fn nothing_after_final(case: Case<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (_, exchanges) in case.evidence.by_step() {
        for (at, refused) in exchanges.iter().enumerate() {
            let Some(code) = final_refusal(refused) else { continue };
            let again = exchanges[at + 1..]
                .iter()
                .position(|other| key(other) == key(refused) && other.start.as_microsecond() >= refused.over_us());
            let Some(offset) = again else { continue };
            if role(refused) == Some(Role::Finish) && mended(&exchanges[at + 1..at + 1 + offset]) {
                continue;
            }
            let again = &exchanges[at + 1 + offset];
            let why = format!(
                "{} was sent although request {} had been answered {code}, which is final",
                again.name(),
                refused.seq
            );
            let is_whole = role(refused) != Some(Role::Finish) || case.evidence.is_whole(refused.seq, again.seq);
            findings.push(Finding::unless_missing(is_whole, why));
        }
    }
    findings
}

/// Was the client told no for good?
fn final_refusal(exchange: &Exchange) -> Option<Code> {
    exchange.refusal().filter(|rejected| rejected.retry_class() == RetryClass::Final).map(|rejected| rejected.code)
}

fn mended(since: &[Exchange]) -> bool {
    let asked = since.iter().position(|e| role(e) == Some(Role::Open) && told_state(e));
    asked.is_some_and(|at| since[at..].iter().any(|e| role(e) == Some(Role::Part) && e.acknowledged()))
}

#[cfg(test)]
mod tests {
    use vod_proto::{Action, Family};

    use super::*;
    use crate::judge::crafted::{Story, failed, goes_on};

    const FINAL: &str = r#"{"code":-10003,"canRetry":0,"message":"no"}"#;
    const AGAIN: &str = r#"{"code":-10004,"canRetry":1,"message":"busy"}"#;

    /// A step of its own behind the plain one, with these answers to requests for one part.
    fn answers(replies: &[&str]) -> Story {
        let mut story = Story::plain();
        for reply in replies {
            story.push_part(1, reply);
        }
        story.end_step(failed());
        story
    }

    fn start(story: &mut Story, at: usize, millis: i64) {
        story.evidence.exchanges[at].start = jiff::Timestamp::UNIX_EPOCH + jiff::SignedDuration::from_millis(millis);
    }

    #[test]
    fn one_attempt_too_many_is_seen_once() {
        let story = answers(&[AGAIN; 6]);
        story.assert_holds("attempts-and-gaps");
        let story = answers(&[AGAIN; 9]);
        story.assert_broken("attempts-and-gaps", "is attempt 7 of 6");
        assert_eq!(story.findings("attempts-and-gaps").len(), 1);
    }

    #[test]
    fn waits_for_a_quota_are_not_counted() {
        let mut replies = vec![r#"{"code":4400,"message":"over quota"}"#; 9];
        replies.extend([AGAIN; 6]);
        answers(&replies).assert_holds("attempts-and-gaps");
        replies.push(AGAIN);
        answers(&replies).assert_broken("attempts-and-gaps", "is attempt 7 of 6");
    }

    #[test]
    fn attempts_are_counted_anew_in_another_step_and_after_an_answered_init() {
        let mut story = answers(&[AGAIN; 5]);
        for _ in 0..5 {
            story.push_part(1, AGAIN);
        }
        story.push(Action::InitUpload, None, r#"{"code":0}"#);
        for _ in 0..5 {
            story.push_part(1, AGAIN);
        }
        story.end_step(failed());
        story.assert_holds("attempts-and-gaps");
        // An InitUpload without an answer is no new beginning, and is itself counted.
        let mut story = Story::plain();
        for _ in 0..7 {
            story.push(Action::InitUpload, None, AGAIN);
        }
        story.end_step(failed());
        story.assert_broken("attempts-and-gaps", "InitUpload (request 12) is attempt 7 of 6");
    }

    #[test]
    fn a_retry_without_a_wait_is_seen() {
        // Requests 6 and 7 start at 500 and 600 ms and take 10 ms.
        let mut story = answers(&[AGAIN, AGAIN]);
        start(&mut story, 6, 534);
        story.assert_broken("attempts-and-gaps", "came 24 ms after request 6 had failed, 25 ms is the least");
        start(&mut story, 6, 535);
        story.assert_holds("attempts-and-gaps");
    }

    #[test]
    fn a_cut_connection_is_waited_out_too() {
        let mut story = answers(&[AGAIN, AGAIN]);
        story.evidence.exchanges[5].end = End::Reset;
        story.evidence.exchanges[5].reply = None;
        start(&mut story, 6, 511);
        story.assert_broken("attempts-and-gaps", "came 1 ms after request 6");
    }

    #[test]
    fn what_began_when_somebody_was_killed_is_no_retry() {
        let mut story = answers(&[AGAIN, AGAIN]);
        story.evidence.exchanges[5].reply = None;
        start(&mut story, 6, 510);
        for (end, holds) in [(End::Closed, false), (End::Killed, true)] {
            story.evidence.exchanges[5].end = end;
            assert_eq!(story.findings("attempts-and-gaps").is_empty(), holds, "{end:?}");
        }
        // Whoever comes behind it is one.
        start(&mut story, 6, 511);
        story.assert_broken("attempts-and-gaps", "came 1 ms after request 6");
    }

    #[test]
    fn retry_after_is_kept() {
        let mut story = answers(&[AGAIN, AGAIN]);
        let reply = story.evidence.exchanges[5].reply.as_mut().unwrap();
        *reply = vod_proto::exchange::ReplyRecord {
            status: 503,
            headers: vec![("retry-after".to_owned(), "2".to_owned())],
            body: "injected 503".to_owned(),
            mark: None,
        };
        start(&mut story, 6, 2_400);
        story.assert_broken("attempts-and-gaps", "came 1890 ms after request 6 had failed, 1998 ms is the least");
        start(&mut story, 6, 2_509);
        story.assert_holds("attempts-and-gaps");
    }

    #[test]
    fn what_is_missing_in_between_may_excuse_and_what_is_missing_elsewhere_does_not() {
        let many = |lost| {
            let mut story = answers(&[AGAIN; 8]);
            story.lose(lost);
            story
        };
        many(5).assert_broken("attempts-and-gaps", "is attempt 7 of 6");
        many(13).assert_broken("attempts-and-gaps", "is attempt 7 of 6");
        many(8).assert_unknown("attempts-and-gaps", "is attempt 7 of 6");
        let soon = |lost| {
            let mut story = answers(&[AGAIN, AGAIN, AGAIN]);
            start(&mut story, 6, 511);
            start(&mut story, 7, 530);
            story.lose(lost);
            story
        };
        soon(5).assert_broken("attempts-and-gaps", "came 1 ms after request 6");
        soon(7).assert_unknown("attempts-and-gaps", "came 20 ms after request 6");
        let finish = |lost| {
            let mut story = Story::plain();
            for reply in [FINAL, FINAL] {
                story.push(Action::FinishUpload, None, reply);
                story.push_part(1, AGAIN);
            }
            story.end_step(failed());
            story.lose(lost);
            story
        };
        finish(9).assert_broken("nothing-after-final", "request 6 had been answered -10003");
        finish(7).assert_unknown("nothing-after-final", "request 6 had been answered -10003");
        // A refused part comes never again, whatever else happened.
        let mut story = answers(&[FINAL, AGAIN, AGAIN]);
        story.lose(7);
        story.assert_broken("nothing-after-final", "request 6 had been answered -10003");
    }

    #[test]
    fn a_request_after_its_final_answer_is_seen_and_another_request_is_not() {
        answers(&[FINAL, AGAIN]).assert_broken("nothing-after-final", "request 6 had been answered -10003");
        answers(&[AGAIN, FINAL]).assert_holds("nothing-after-final");
        let mut story = Story::plain();
        story.push_part(1, FINAL);
        story.push_part(2, AGAIN);
        story.end_step(failed());
        story.assert_holds("nothing-after-final");
    }

    #[test]
    fn another_step_may_try_what_was_refused() {
        let mut story = answers(&[FINAL]);
        story.push_part(1, r#"{"code":0}"#);
        story.end_step(failed());
        story.assert_holds("nothing-after-final");
    }

    #[test]
    fn a_refused_finish_may_be_sent_again_only_when_a_part_was_mended() {
        let finish = |init: bool, part: bool| {
            let mut story = Story::plain();
            story.push(Action::FinishUpload, None, FINAL);
            if init {
                story.push(Action::InitUpload, None, r#"{"code":1,"dataSize":1048576,"listParts":[]}"#);
            }
            if part {
                story.push_part(1, r#"{"code":0}"#);
            }
            story.push(Action::FinishUpload, None, r#"{"code":0,"fileId":"1"}"#);
            story.end_step(failed());
            story
        };
        finish(true, true).assert_holds("nothing-after-final");
        finish(true, false).assert_broken("nothing-after-final", "FinishUpload");
        finish(false, true).assert_broken("nothing-after-final", "FinishUpload");
        finish(false, false).assert_broken("nothing-after-final", "FinishUpload");
    }

    #[test]
    fn every_answer_of_the_legacy_family_begins_the_count_anew_and_a_refusal_does_not() {
        let mut story = Story::of(Family::Legacy);
        let part = story.span(1);
        for _ in 0..2 {
            for _ in 0..5 {
                story.push_part(1, r#"{"code":6000}"#);
            }
            // Told to begin with the part once more.
            story.push_part(1, &goes_on(part.offset));
        }
        story.end_step(failed());
        story.assert_holds("attempts-and-gaps");
        for _ in 0..7 {
            story.push_part(1, r#"{"code":6000}"#);
        }
        story.end_step(failed());
        story.assert_broken("attempts-and-gaps", "is attempt 7 of 6");
    }

    #[test]
    fn who_does_not_wait_for_a_quota_is_seen() {
        const QUOTA: &str = r#"{"code":4400,"message":"over quota"}"#;
        // Requests 6 and 7 start at 500 and 600 ms and take 10 ms.
        let mut story = answers(&[QUOTA, AGAIN]);
        story
            .assert_broken("quota-waited-for", "came 90 ms after request 6 had been asked to wait for a quota, 500 ms");
        start(&mut story, 6, 1_009);
        story.assert_broken("quota-waited-for", "came 499 ms");
        start(&mut story, 6, 1_010);
        story.assert_holds("quota-waited-for");
        answers(&[AGAIN, AGAIN]).assert_holds("quota-waited-for");
    }

    #[test]
    fn retries_beyond_the_budget_of_an_upload_are_seen() {
        // The first of each part is no retry.
        let tried = |times| {
            let mut story = Story::plain();
            (0..3).for_each(|part| (0..times).for_each(|_| _ = story.push_part(part, AGAIN)));
            story.end_step(failed());
            story
        };
        tried(17).assert_holds("budget-kept");
        tried(18).assert_broken("budget-kept", "51 retries in step 2, 50 is the most");
        let mut story = tried(19);
        story.lose(20);
        story.assert_unknown("budget-kept", "retries in step 2");
        // What is asked anew is no retry.
        let mut story = tried(17);
        story.evidence.steps.pop();
        story.push(Action::InitUpload, None, r#"{"code":0}"#);
        (0..3).for_each(|part| _ = story.push_part(part, AGAIN));
        story.end_step(failed());
        story.assert_holds("budget-kept");
    }

    #[test]
    fn a_signature_that_is_used_again_is_seen() {
        let mut story = Story::plain();
        story.assert_holds("signed-anew");
        let again = story.evidence.exchanges[1].clone();
        story.insert(2, again);
        story.assert_broken("signed-anew", "(request 3) was sent with the signature of request 2");
        // The UGC family has one for all of an upload.
        Story::of(Family::Ugc).assert_holds("signed-anew");
    }
}

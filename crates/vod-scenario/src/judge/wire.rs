//! The second layer: what passed between client and mock, as far as the file says something of it.

use std::collections::BTreeMap;

use vod_proto::{Action, Exchange, PartSpan, Sha1, action::Role, exchange::End};

use super::{Case, Check, Finding, Layer, exited, ruled};
use crate::{evidence::StepEnd, format::Count};

/// Was seen what the file expects?
pub(super) fn check(case: Case<'_>) -> Vec<Check> {
    let expect = &case.scenario.expect;
    let exchanges = &case.evidence.exchanges[..];
    let lacking = case.evidence.lacking();
    let mut checks = vec![ruled(Layer::Wire, "every request is known", known(exchanges))];
    for (action, count) in &expect.requests {
        let name = format!("{action}: {count} {}", plural(*count, "request", "requests"));
        checks.push(counted(name, *count, Some(requests(exchanges, *action)), lacking));
    }
    for (action, codes) in &expect.replies {
        let name = format!("{action} is answered {}", list(codes));
        checks.push(ruled(Layer::Wire, name, replies(exchanges, *action, codes, lacking)));
    }
    if let Some(count) = expect.parts_sent_twice {
        let twice = sent_twice(exchanges);
        let name = format!("{count} {} sent twice", plural(count, "part", "parts"));
        checks.push(counted(name, count, Some(twice), lacking));
    }
    if let Some(count) = expect.skipped_parts {
        let name = format!("{count} {} skipped by the last step", plural(count, "part", "parts"));
        let end = case.evidence.steps.last().map(|step| &step.end);
        checks.push(match (end, exited::parts_skipped(case)) {
            (Some(StepEnd::Exited { .. }), None) => {
                let why = format!("expected {count}, an exit code says no number, and nothing on the wire does");
                ruled(Layer::Wire, name, vec![Finding::Unknown(why)])
            }
            (Some(StepEnd::Exited { .. }), seen) => counted(name, count, seen, 0),
            (end, _) => counted(name, count, end.and_then(StepEnd::report).and_then(|report| report.parts_skipped), 0),
        });
    }
    checks
}

fn plural(count: Count, one: &'static str, many: &'static str) -> &'static str {
    if count.max == Some(1) { one } else { many }
}

/// `lacking` is how many more there may have been.
fn counted(name: String, expected: Count, seen: Option<u64>, lacking: u64) -> Check {
    let findings = match seen {
        Some(seen) if expected.holds(seen) && expected.holds(seen.saturating_add(lacking)) => vec![],
        Some(seen) => {
            let excess = expected.max.is_some_and(|max| seen > max);
            let why = format!("expected {expected}, there were {seen}");
            let proven = excess || seen.saturating_add(lacking) < expected.min;
            vec![Finding::unless_missing(proven, why)]
        }
        None => vec![Finding::broken(format!("expected {expected}, the client reported no number"))],
    };
    ruled(Layer::Wire, name, findings)
}

/// A request that the mock cannot place must never stay unnoticed.
fn known(exchanges: &[Exchange]) -> Vec<Finding> {
    let unknown = exchanges.iter().filter(|exchange| exchange.known_action().is_none() || exchange.account.is_none());
    unknown
        .map(|exchange| {
            let action = exchange.action.as_deref().unwrap_or("no action");
            let account = exchange.account.as_deref().unwrap_or("no known account");
            Finding::broken(format!("request {}: {action} of {account}", exchange.seq))
        })
        .collect()
}

fn of(exchanges: &[Exchange], action: Action) -> impl Iterator<Item = &Exchange> {
    exchanges.iter().filter(move |exchange| exchange.known_action() == Some(action))
}

fn requests(exchanges: &[Exchange], action: Action) -> u64 {
    of(exchanges, action).count() as u64
}

/// Only whole replies count: what was cut is no answer. `lacking` is how many more there may have been.
fn replies(exchanges: &[Exchange], action: Action, expected: &[i64], lacking: u64) -> Vec<Finding> {
    let whole = of(exchanges, action).filter(|exchange| exchange.end == End::Replied);
    let seen: Vec<i64> = whole.filter_map(Exchange::code).map(|code| code.0).collect();
    if seen == expected && lacking == 0 {
        return vec![];
    }
    // What was seen must stand in what is expected, in its order, and what is missing must be enough for the rest.
    let mut rest = expected.iter();
    let fits = seen.iter().all(|code| rest.any(|other| other == code));
    let enough = (expected.len() as u64) <= (seen.len() as u64).saturating_add(lacking);
    let why = format!("expected {}, the answers were {}", list(expected), list(&seen));
    vec![Finding::unless_missing(!fits || !enough, why)]
}

fn list(codes: &[i64]) -> String {
    if codes.is_empty() {
        return "nothing".to_owned();
    }
    codes.iter().map(i64::to_string).collect::<Vec<_>>().join(", ")
}

/// How many parts more than one request was seen for.
fn sent_twice(exchanges: &[Exchange]) -> u64 {
    let mut seen: BTreeMap<(Option<Sha1>, Option<PartSpan>), u64> = BTreeMap::new();
    let sends_part = |exchange: &&Exchange| exchange.known_action().map(Action::role).is_some_and(Role::sends_part);
    for exchange in exchanges.iter().filter(sends_part) {
        *seen.entry((exchange.file_sha1, exchange.part)).or_default() += 1;
    }
    seen.values().filter(|count| **count > 1).count() as u64
}

#[cfg(test)]
mod tests {
    use vod_proto::Family;

    use super::*;
    use crate::judge::{Ruling, Verdict, crafted::Story};

    #[track_caller]
    fn broken(story: &Story, says: &str) {
        let judgement = story.judge();
        assert_eq!(judgement.verdict, Verdict::Fail);
        let found: Vec<_> = judgement.against().flat_map(|(_, findings)| findings).map(Finding::why).collect();
        assert!(found.iter().any(|why| why.contains(says)), "{says:?} is not in {found:#?}");
    }

    #[test]
    fn a_request_too_many_is_seen() {
        let mut story = Story::plain();
        let again = story.evidence.exchanges[0].clone();
        story.insert(1, again);
        broken(&story, "expected exactly 1, there were 2");
        broken(&story, "expected 0, the answers were 0, 0");
    }

    #[test]
    fn a_number_is_proven_wrong_only_where_what_is_missing_cannot_put_it_right() {
        let ruling =
            |min, max, seen, lacking| match counted(String::new(), Count { min, max }, Some(seen), lacking).ruling {
                Ruling::Holds => "holds",
                Ruling::Found(findings) if matches!(findings[..], [Finding::Broken(_)]) => "broken",
                Ruling::Found(_) => "unknown",
                other => panic!("{other:?}"),
            };
        assert_eq!(ruling(1, Some(2), 1, 0), "holds");
        assert_eq!(ruling(1, Some(2), 1, 1), "holds");
        assert_eq!(ruling(1, None, 1, 9), "holds");
        assert_eq!(ruling(1, Some(2), 1, 2), "unknown");
        assert_eq!(ruling(3, Some(3), 1, 2), "unknown");
        assert_eq!(ruling(3, Some(3), 1, 1), "broken");
        assert_eq!(ruling(1, Some(2), 3, 9), "broken");
    }

    #[test]
    fn answers_are_proven_wrong_only_where_what_is_missing_cannot_put_them_right() {
        let story = |body: &str| {
            let mut story = Story::plain();
            let reply = story.evidence.exchanges[0].reply.as_mut().expect("it was answered");
            reply.body = body.to_owned();
            story.evidence.exchanges
        };
        let found = |exchanges: &[Exchange], expected: &[i64], lacking| match &replies(
            exchanges,
            Action::InitUpload,
            expected,
            lacking,
        )[..]
        {
            [] => "holds",
            [Finding::Broken(_)] => "broken",
            _ => "unknown",
        };
        let zero = story(r#"{"code":0}"#);
        assert_eq!(found(&zero, &[0], 0), "holds");
        assert_eq!(found(&zero, &[0], 1), "unknown", "there may have been another");
        assert_eq!(found(&zero, &[1, 0], 1), "unknown");
        assert_eq!(found(&zero, &[1, 0, 2], 1), "broken");
        assert_eq!(found(&zero, &[1], 9), "broken");
    }

    #[test]
    fn a_reply_that_was_cut_is_no_answer() {
        let mut story = Story::plain();
        story.evidence.exchanges[0].end = End::Reset;
        broken(&story, "expected 0, the answers were nothing");
    }

    #[test]
    fn a_part_sent_twice_is_counted_once_however_often() {
        let mut story = Story::plain();
        for _ in 0..3 {
            let part = story.evidence.exchanges[1].clone();
            story.insert(1, part);
        }
        assert_eq!(sent_twice(&story.evidence.exchanges), 1);
        broken(&story, "expected exactly 0, there were 1");
    }

    #[test]
    fn skipped_parts_are_read_from_the_last_report() {
        let mut story = Story::plain();
        let Some(step) = story.evidence.steps.last_mut() else { panic!("no step") };
        step.end = StepEnd::TimedOut;
        broken(&story, "the client reported no number");
    }

    #[test]
    fn a_request_of_nobody_is_seen_without_any_expectation() {
        let mut story = Story::plain();
        story.evidence.exchanges[1].account = None;
        broken(&story, "UploadPart of no known account");
        let mut story = Story::plain();
        story.evidence.exchanges[1].action = Some("UploadPartz".to_owned());
        broken(&story, "UploadPartz of demo");
    }

    #[test]
    fn parts_are_known_by_what_they_are_for_and_not_by_the_name_of_their_action() {
        for family in Family::ALL {
            let mut story = Story::of(family);
            let again = story.evidence.exchanges[1].clone();
            story.insert(2, again);
            assert_eq!(sent_twice(&story.evidence.exchanges), 1, "{family}");
        }
    }
}

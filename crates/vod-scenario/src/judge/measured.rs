//! What came before what, how long was waited, and how many bytes there were.

use std::time::Duration;

use vod_proto::{Action, Code, Exchange, Size, exchange::End};

use super::{Case, Check, Finding, Layer, invariants::key, ruled};
use crate::{
    evidence::{StepEvidence, Target},
    format::{Bytes, Moment, Order, Times, Wait, Waits},
};

/// By how much a moment may be off, in microseconds. In simulation by the grain of its timers, 1 ms. With real processes
/// the mock knows that a reply is out only after the client has it, on a busy machine 20 ms later.
const fn grain_us(target: Target) -> i64 {
    match target {
        Target::Sim => 1_000,
        Target::Process => 20_000,
    }
}

/// How much longer than said a wait may be with real processes, in microseconds. Default 1 s: machines are busy with other
/// things. A simulation is late by nothing.
const fn late_us(target: Target) -> i64 {
    match target {
        Target::Sim => grain_us(Target::Sim),
        Target::Process => 1_000_000,
    }
}

/// Was seen what the file expects?
pub(super) fn check(case: Case<'_>) -> Vec<Check> {
    let expect = &case.scenario.expect;
    let mut checks = Vec::new();
    for order in &expect.order {
        checks.push(ruled(Layer::Wire, order.to_string(), in_order(case, *order)));
    }
    for (action, waits) in &expect.gaps {
        checks.push(ruled(
            Layer::Wire,
            format!("{action}: {waits} before it is sent again"),
            gaps(case, *action, *waits),
        ));
    }
    if let Some(bytes) = expect.bytes {
        checks.push(ruled(Layer::Wire, format!("{bytes} sent"), amount(case, None, bytes)));
    }
    for (action, bytes) in &expect.bytes_of {
        checks.push(ruled(Layer::Wire, format!("{action}: {bytes} sent"), amount(case, Some(*action), *bytes)));
    }
    if let Some(times) = expect.bytes_per_source {
        let name = format!("{times} times the source sent");
        let seen = Times(ratio(sent(case, None), sizes(case)));
        let more = case.evidence.lacking() > 0;
        checks.push(ruled(Layer::Wire, name, judged(times.holds(&seen), times.exceeds(&seen), more, times, seen)));
    }
    checks
}

/// In each upload in which both happen; and there must be one.
fn in_order(case: Case<'_>, Order { first, then }: Order) -> Vec<Finding> {
    let (mut findings, mut seen) = (Vec::new(), false);
    for (step, exchanges) in case.evidence.by_step() {
        let (Some(one), Some(other)) = (moment(first, &exchanges), moment(then, &exchanges)) else { continue };
        seen = true;
        if one.0 - grain_us(case.evidence.target) > other.0 {
            let why = format!(
                "in {} {then} by {}, and {first} by {}",
                case.evidence.name_of(step),
                other.1.name(),
                one.1.name()
            );
            findings.push(Finding::unless_missing(case.evidence.is_whole_in(step), why));
        }
    }
    if !seen {
        let why = format!("in no upload there is both that {first} and that {then}");
        findings.push(Finding::unless_missing(case.evidence.lacking() == 0, why));
    }
    findings
}

/// When something happened, in microseconds since 1970, and by which exchange.
fn moment(moment: Moment, exchanges: &[Exchange]) -> Option<(i64, &Exchange)> {
    let of_action = exchanges.iter().filter(|exchange| exchange.known_action() == Some(moment.action()));
    let at = |exchange: &Exchange| match moment {
        Moment::FirstSent(_) | Moment::LastSent(_) => Some(exchange.start.as_microsecond()),
        Moment::FirstAnswered(_) | Moment::LastAnswered(_) => exchange.whole_reply().map(|_| exchange.over_us()),
        Moment::FirstAcknowledged(_) | Moment::LastAcknowledged(_) => {
            exchange.acknowledged().then(|| exchange.over_us())
        }
    };
    let times = of_action.filter_map(|exchange| Some((at(exchange)?, exchange)));
    match moment {
        Moment::FirstSent(_) | Moment::FirstAnswered(_) | Moment::FirstAcknowledged(_) => {
            times.min_by_key(|(at, _)| *at)
        }
        Moment::LastSent(_) | Moment::LastAnswered(_) | Moment::LastAcknowledged(_) => times.max_by_key(|(at, _)| *at),
    }
}

/// Between the end of each try that failed and the next of the same request, by the same client.
fn gaps(case: Case<'_>, action: Action, waits: Waits) -> Vec<Finding> {
    let target = case.evidence.target;
    let micros = |wait: Wait| i64::try_from(wait.0.as_micros()).unwrap_or(i64::MAX);
    let (mut findings, mut seen) = (Vec::new(), false);
    for (_, exchanges) in case.evidence.by_step() {
        let of_action: Vec<_> = exchanges.iter().filter(|exchange| exchange.known_action() == Some(action)).collect();
        for (at, later) in of_action.iter().enumerate() {
            let Some(earlier) = of_action[..at].iter().rfind(|earlier| key(earlier) == key(later)) else { continue };
            let failed = earlier.end != End::Replied || earlier.code() != Some(Code::OK);
            let gap = later.start.as_microsecond() - earlier.over_us();
            if !failed || gap < 0 {
                continue;
            }
            seen = true;
            let early = waits.min.is_some_and(|min| gap.saturating_add(grain_us(target)) < micros(min));
            let late = waits.max.is_some_and(|max| gap > micros(max).saturating_add(late_us(target)));
            if early || late {
                let gap = Wait(Duration::from_millis(u64::try_from(gap / 1000).unwrap_or(0)));
                let why = format!("{} came {gap} after request {} had failed", later.name(), earlier.seq);
                findings.push(Finding::unless_missing(case.evidence.is_whole(earlier.seq, later.seq), why));
            }
        }
    }
    if !seen {
        let why = format!("no {action} was sent again after it had failed");
        findings.push(Finding::unless_missing(case.evidence.lacking() == 0, why));
    }
    findings
}

/// How many bytes of bodies the mock read, of one action or of all.
fn sent(case: Case<'_>, action: Option<Action>) -> u64 {
    let fits = |exchange: &&Exchange| action.is_none() || exchange.known_action() == action;
    case.evidence.exchanges.iter().filter(fits).map(|exchange| exchange.request.body.len).sum()
}

fn amount(case: Case<'_>, action: Option<Action>, bytes: Bytes) -> Vec<Finding> {
    let seen = Size::new(sent(case, action));
    judged(bytes.holds(&seen), bytes.exceeds(&seen), case.evidence.lacking() > 0, bytes, seen)
}

/// What is missing can only have been more.
fn judged(
    holds: bool,
    exceeds: bool,
    more: bool,
    expected: impl std::fmt::Display,
    seen: impl std::fmt::Display,
) -> Vec<Finding> {
    if holds && !more {
        return vec![];
    }
    vec![Finding::unless_missing(exceeds || !more, format!("expected {expected}, it was {seen}"))]
}

/// The sizes of all files that were uploaded, each once.
fn sizes(case: Case<'_>) -> u64 {
    let steps = &case.evidence.steps;
    let first = |at: usize, step: &StepEvidence| steps[..at].iter().all(|other| other.source != step.source);
    steps.iter().enumerate().filter(|(at, step)| first(*at, step)).map(|(_, step)| step.source.size).sum()
}

fn ratio(bytes: u64, of: u64) -> f64 {
    // To a thousandth, which is as exact as anybody writes.
    let thousandths = u128::from(bytes) * 1000 / u128::from(of.max(1));
    u32::try_from(thousandths).map_or(f64::INFINITY, f64::from) / 1000.0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        evidence::Target,
        judge::Ruling,
        judge::crafted::{Story, failed},
    };

    const AGAIN: &str = r#"{"code":-10004,"canRetry":1,"message":"busy"}"#;

    /// What the checks of this room come to, with more text in `[expect]`.
    fn ruling(expect: &str, more: impl FnOnce(&mut Story)) -> &'static str {
        let mut story = Story::with(expect);
        more(&mut story);
        let checks = check(story.case());
        assert_eq!(checks.len(), 1, "{checks:?}");
        match &checks[0].ruling {
            Ruling::Holds => "holds",
            Ruling::Found(found) if matches!(found[..], [Finding::Unknown(_)]) => "unknown",
            _ => "broken",
        }
    }

    /// A step of its own, in which a part is refused and sent again after so many milliseconds.
    fn refused(gap: i64) -> impl Fn(&mut Story) {
        move |story| {
            story.push_part(1, AGAIN);
            story.push_part(1, r#"{"code":0}"#);
            story.end_step(failed());
            let failed_at = story.evidence.exchanges[5].over_us();
            story.evidence.exchanges[6].start =
                jiff::Timestamp::from_microsecond(failed_at + gap * 1000).expect("a time of a story");
        }
    }

    #[test]
    fn an_order_is_judged_in_each_upload_in_which_both_happen() {
        let order = |first: &str, then: &str| {
            format!("order = [{{ first = {{ {first} = \"part\" }}, then = {{ {then} = \"finish\" }} }}]")
        };
        let good = order("last-acknowledged", "first-sent");
        assert_eq!(ruling(&good, |_| {}), "holds");
        // A part that is acknowledged after the finish was sent; and one that is never acknowledged.
        let late = |story: &mut Story| story.evidence.exchanges[3].times.reply_done = Some(150_000);
        assert_eq!(ruling(&good, late), "broken");
        assert_eq!(ruling(&order("first-acknowledged", "first-sent"), late), "holds");
        assert_eq!(ruling(&order("last-sent", "first-answered"), late), "holds");
        let unanswered = |story: &mut Story| {
            late(story);
            story.evidence.exchanges[3].end = End::Reset;
        };
        assert_eq!(ruling(&good, unanswered), "holds");
        // A later upload without parts says nothing, and where no upload has both there is nothing to hold.
        assert_eq!(ruling(&good, |story| story.end_step(failed())), "holds");
        assert_eq!(ruling(&good, |story| story.never_sent()), "broken");
        assert_eq!(
            ruling(&good, |story| {
                late(story);
                story.lose(2);
            }),
            "unknown"
        );
    }

    #[test]
    fn a_gap_is_from_the_end_of_a_failed_try_to_the_next() {
        let gaps = "gaps = { part = { min = \"2s\", max = \"3s\" } }";
        for (gap, expected) in [(1_990, "broken"), (2_000, "holds"), (3_000, "holds"), (3_010, "broken")] {
            assert_eq!(ruling(gaps, refused(gap)), expected, "{gap} ms");
        }
        // With real processes, the mock learns late, and machines are busy.
        let process = |gap| {
            move |story: &mut Story| {
                refused(gap)(story);
                story.evidence.target = Target::Process;
            }
        };
        for (gap, expected) in [(1_970, "broken"), (1_990, "holds"), (3_990, "holds"), (4_010, "broken")] {
            assert_eq!(ruling(gaps, process(gap)), expected, "{gap} ms");
        }
        assert_eq!(ruling(gaps, |_| {}), "broken", "nothing was sent again");
        let lost = |story: &mut Story| {
            refused(10)(story);
            story.lose(2);
        };
        assert_eq!(ruling(gaps, lost), "broken", "it lies between the two or nowhere");
    }

    #[test]
    fn bytes_are_those_that_the_mock_read_and_what_is_missing_were_more() {
        for (expect, whole, lacking) in [
            ("bytes = { max = \"3MiB\" }", "holds", "unknown"),
            ("bytes = { min = \"3MiB\" }", "holds", "unknown"),
            ("bytes = { min = 3145729 }", "broken", "unknown"),
            ("bytes = { max = 2000000 }", "broken", "broken"),
            ("bytes-of = { finish = { max = 0 } }", "holds", "unknown"),
            ("bytes-of = { part = { max = \"2MiB\" } }", "broken", "unknown"),
            ("bytes-per-source = { min = 1.0, max = 1.0 }", "holds", "unknown"),
            ("bytes-per-source = { max = 0.9 }", "broken", "unknown"),
            ("bytes-per-source = { max = 0.5 }", "broken", "broken"),
        ] {
            assert_eq!(ruling(expect, |_| {}), whole, "{expect}");
            assert_eq!(ruling(expect, |story| story.lose(2)), lacking, "{expect}");
        }
        // A file that is uploaded twice is one file, and twice as many bytes.
        let twice = |story: &mut Story| {
            for part in 0..3 {
                story.push_part(part, r#"{"code":0}"#);
            }
            story.end_step(failed());
        };
        assert_eq!(ruling("bytes-per-source = { min = 2.0, max = 2.0 }", twice), "holds");
    }
}

//! What came before what, how long was waited, and how many bytes there were.

use std::time::Duration;

use vod_proto::{Action, Code, Exchange, Size, exchange::End};

use super::{Case, Check, Finding, Layer, invariants::key, ruled};
use crate::{
    evidence::{StepEvidence, Target},
    format::{Bytes, Moment, Order, Times, Wait, Waits},
};

/// How late it may be written down that a reply is out, in microseconds. In simulation by nothing, and it takes a moment until
/// the client has it. With real processes the mock knows of it only after the client, on a busy machine 20 ms later.
const fn lag_us(target: Target) -> i64 {
    match target {
        Target::Sim => 0,
        Target::Process => 20_000,
    }
}

/// How much shorter than said a wait may look, in microseconds: by that lag, and in simulation by the grain of its timers.
const fn early_us(target: Target) -> i64 {
    match target {
        Target::Sim => 1_000,
        Target::Process => lag_us(Target::Process),
    }
}

/// How much longer than said a wait may be, in microseconds. With real processes 1 s: machines are busy with other things. In
/// simulation by the grain of its timers, and by how long a reply is under way.
const fn late_us(target: Target) -> i64 {
    match target {
        Target::Sim => 2_000,
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
        if one.is_behind(&other, case.evidence.target) {
            let why = format!(
                "in {} {then} by {}, and {first} by {}",
                case.evidence.name_of(step),
                other.by.name(),
                one.by.name()
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

/// When something happened, and by which exchange.
struct Happened<'a> {
    /// In microseconds since 1970.
    at: i64,
    /// Is it a reply, of which it may be known late that it is out?
    is_reply: bool,
    by: &'a Exchange,
}

impl Happened<'_> {
    /// Did it certainly happen behind the other?
    fn is_behind(&self, other: &Self, target: Target) -> bool {
        let sent = self.by.start.as_microsecond();
        // What was asked for only then was not answered before.
        let asked_behind = self.is_reply && sent > other.at;
        let lag = if self.is_reply { lag_us(target) } else { 0 };
        asked_behind || self.at - lag > other.at
    }
}

fn moment(moment: Moment, exchanges: &[Exchange]) -> Option<Happened<'_>> {
    let of_action = exchanges.iter().filter(|exchange| exchange.known_action() == Some(moment.action()));
    let happened = of_action.filter_map(|by| {
        let (is_reply, at) = match moment {
            Moment::FirstSent(_) | Moment::LastSent(_) => (false, Some(by.start.as_microsecond())),
            Moment::FirstAnswered(_) | Moment::LastAnswered(_) => (true, by.whole_reply().map(|_| by.over_us())),
            Moment::FirstAcknowledged(_) | Moment::LastAcknowledged(_) => {
                (true, by.acknowledged().then(|| by.over_us()))
            }
        };
        Some(Happened { at: at?, is_reply, by })
    });
    match moment {
        Moment::FirstSent(_) | Moment::FirstAnswered(_) | Moment::FirstAcknowledged(_) => {
            happened.min_by_key(|happened| happened.at)
        }
        Moment::LastSent(_) | Moment::LastAnswered(_) | Moment::LastAcknowledged(_) => {
            happened.max_by_key(|happened| happened.at)
        }
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
            let early = waits.min.is_some_and(|min| gap.saturating_add(early_us(target)) < micros(min));
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
    fn only_a_reply_may_be_late_and_none_is_earlier_than_its_request() {
        // The finish, of which it is written down so many microseconds after the last part's reply that it was sent, and 10 ms
        // after that that it was answered.
        let finish = |order: &str, target: Target, after: i64| {
            ruling(&format!("order = [{order}]"), |story| {
                story.evidence.target = target;
                story.evidence.exchanges[3].times.reply_done = Some(50_000);
                let answered = story.evidence.exchanges[3].over_us();
                let finish = &mut story.evidence.exchanges[4];
                finish.start = jiff::Timestamp::from_microsecond(answered + after).expect("a time of a story");
                finish.times.reply_done = Some(10_000);
            })
        };
        let after = "{ first = { last-answered = \"part\" }, then = { first-sent = \"finish\" } }";
        assert_eq!(finish(after, Target::Sim, 0), "holds");
        assert_eq!(finish(after, Target::Sim, -1), "broken");
        assert_eq!(finish(after, Target::Process, -20_000), "holds", "the part's reply was out before");
        assert_eq!(finish(after, Target::Process, -20_001), "broken");
        let before = "{ first = { first-sent = \"finish\" }, then = { last-answered = \"part\" } }";
        assert_eq!(finish(before, Target::Process, 0), "holds");
        assert_eq!(finish(before, Target::Process, 1), "broken", "a request is not late");
        let sooner = "{ first = { first-answered = \"finish\" }, then = { last-answered = \"part\" } }";
        assert_eq!(finish(sooner, Target::Process, -5_000), "holds");
        assert_eq!(finish(sooner, Target::Process, 1), "broken", "it was only asked for then");
        assert_eq!(finish(sooner, Target::Sim, -5_000), "broken");
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

//! The story as a picture: time from left to right, one lane a part, a bar an attempt, and what befell them.

use std::collections::{BTreeMap, BTreeSet};

use maud::{Markup, html};
use vod_proto::{Exchange, action::Role, exchange::End, timeline};

use super::{ms, zero};
use crate::{
    evidence::{Evidence, Happening},
    format::Who,
};

/// How wide the picture is, in units of its own.
const WIDTH: f64 = 1100.0;
/// Where time begins: to the left are the names of the lanes.
const LEFT: f64 = 90.0;
/// Room to the right, for the names of what happens last.
const RIGHT: f64 = 90.0;
/// Room above the lanes for the names of events, a row for each of the kinds.
const TOP: f64 = 44.0;
/// How high a lane is.
const LANE: f64 = 18.0;
/// The shortest bar that can be seen and pointed at.
const BAR_LEAST: f64 = 3.0;
/// So many parts have a lane each. Of more, neighbours to whom nothing happens share one.
const LANES_MOST: usize = 48;

/// What a lane is about, in the order of lanes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Row {
    Open,
    /// A part, by its offset.
    Part(u64),
    Finish,
    Other,
}

impl Row {
    fn of(exchange: &Exchange) -> Self {
        match (exchange.known_action().map(vod_proto::Action::role), exchange.part) {
            (_, Some(part)) => Self::Part(part.offset),
            (Some(Role::Open), _) => Self::Open,
            (Some(Role::Finish), _) => Self::Finish,
            _ => Self::Other,
        }
    }
}

/// Whose lane an exchange stands in: its client's where there are two, and else that of the only one.
fn whose(evidence: &Evidence, exchange: &Exchange) -> Who {
    if evidence.has_two() { evidence.who(exchange).unwrap_or_default() } else { Who::A }
}

/// What came of an exchange, in a word that is also its class on the page.
pub(super) fn fate(exchange: &Exchange) -> &'static str {
    // Whatever strikes from there on takes away an answer, and not the work.
    let done = |phase: &str| phase == "after-commit" || phase == "mid-reply";
    match exchange.end {
        End::Killed => "killed",
        End::Replied if exchange.whole_reply().is_none() => "lost",
        End::Replied if exchange.refusal().is_none() && exchange.code().is_some() => "acknowledged",
        End::Replied => "refused",
        _ if exchange.faults.iter().any(|fault| fault.on_reply && done(&fault.phase)) => "lost",
        End::Reset | End::Closed | End::Timeout | End::ClientGone { .. } => "broken",
    }
}

/// What the colours mean.
const LEGEND: [(&str, &str); 5] = [
    ("acknowledged", "answered"),
    ("refused", "told no"),
    ("broken", "broken off"),
    ("lost", "reply lost or garbled"),
    ("killed", "killed"),
];

struct Scale {
    zero: i64,
    span: f64,
}

impl Scale {
    fn x(&self, micros: i64) -> f64 {
        // A picture is as exact as its dots; no story lasts for centuries.
        let after = i32::try_from((micros - self.zero).max(0) / 10).map_or(f64::from(i32::MAX), f64::from) * 10.0;
        LEFT + (WIDTH - LEFT - RIGHT) * (after / self.span).min(1.0)
    }
}

pub(super) fn picture(evidence: &Evidence) -> Markup {
    let exchanges = &evidence.exchanges;
    if exchanges.is_empty() {
        return html! { p { "No request was seen." } };
    }
    let zero = zero(exchanges);
    let last = exchanges.iter().map(Exchange::over_us).max().unwrap_or(zero);
    let span = i32::try_from((last - zero) / 10).map_or(f64::from(i32::MAX), f64::from).max(1.0) * 10.0;
    let scale = Scale { zero, span };
    let lanes = Lanes::of(evidence);
    let height = TOP + LANE * lanes.number() + 24.0;
    html! {
        figure.picture style="margin:0" {
            svg viewBox={ "0 0 " (WIDTH) " " (height) } role="img" aria-label="The requests of the story over time" {
                (ticks(&scale, height))
                @for (at, name) in lanes.names.iter().enumerate() {
                    @let y = lanes.y(at);
                    line.lane x1=(LEFT) x2=(WIDTH - RIGHT) y1=(y + LANE) y2=(y + LANE) {}
                    text.quiet x=(LEFT - 8.0) y=(y + 13.0) text-anchor="end" { (name) }
                }
                @for exchange in exchanges { (bar(&scale, lanes.y(lanes.at(evidence, exchange)), exchange)) }
                @for exchange in exchanges { (marks(&scale, lanes.y(lanes.at(evidence, exchange)), exchange)) }
                (events(&scale, evidence, height))
            }
            figcaption { svg viewBox="0 0 1100 18" {
                @for (at, (class, meaning)) in (0_i32..).zip(LEGEND) {
                    @let x = LEFT + f64::from(at) * 150.0;
                    rect class={ "bar " (class) } x=(x) y="4" width="14" height="10" rx="2" {}
                    text.quiet x=(x + 20.0) y="13" { (meaning) }
                }
                path.fault d=(mark_at(LEFT + 756.0, 3.0)) {}
                text.quiet x=(LEFT + 770.0) y="13" { "a fault strikes" }
            } }
        }
    }
}

/// Which lane each row has, and what the lanes are called.
struct Lanes {
    rows: BTreeMap<(Who, Row), usize>,
    names: Vec<String>,
}

impl Lanes {
    fn of(evidence: &Evidence) -> Self {
        let exchanges = &evidence.exchanges;
        let several = evidence.has_two();
        let row = |exchange: &Exchange| (whose(evidence, exchange), Row::of(exchange));
        let all: BTreeSet<_> = exchanges.iter().map(row).collect();
        let eventful = |exchange: &&Exchange| {
            fate(exchange) != "acknowledged" || !exchange.faults.is_empty() || exchange.attempt > 1
        };
        let eventful: BTreeSet<_> = exchanges.iter().filter(eventful).map(row).collect();
        let fold = all.len() > LANES_MOST;
        let (mut rows, mut names, mut number) = (BTreeMap::new(), Vec::<String>::new(), 0_u64);
        // The parts that share the lane that was made last, by their numbers.
        let mut sharing: Option<u64> = None;
        let mut last = None;
        for row in all {
            let (who, kind) = row;
            if last.replace(who) != Some(who) {
                (number, sharing) = (0, None);
            }
            let name = match kind {
                Row::Open => "open".to_owned(),
                Row::Finish => "finish".to_owned(),
                Row::Other => "other".to_owned(),
                Row::Part(_) => {
                    number += 1;
                    format!("part {number}")
                }
            };
            let name = if several { format!("{who}: {name}") } else { name };
            let quiet = fold && matches!(kind, Row::Part(_)) && !eventful.contains(&row);
            match (quiet, sharing, names.last_mut()) {
                (true, Some(first), Some(shared)) => {
                    let whose = if several { format!("{who}: ") } else { String::new() };
                    *shared = format!("{whose}parts {first}–{number}");
                }
                _ => {
                    names.push(name);
                    sharing = quiet.then_some(number);
                }
            }
            rows.insert(row, names.len() - 1);
        }
        Self { rows, names }
    }

    fn number(&self) -> f64 {
        i32::try_from(self.names.len()).map_or(0.0, f64::from)
    }

    fn at(&self, evidence: &Evidence, exchange: &Exchange) -> usize {
        self.rows.get(&(whose(evidence, exchange), Row::of(exchange))).copied().unwrap_or(0)
    }

    fn y(&self, lane: usize) -> f64 {
        TOP + LANE * i32::try_from(lane).map_or(0.0, f64::from)
    }
}

fn ticks(scale: &Scale, height: f64) -> Markup {
    // Five to ten lines at round distances.
    let step = round_step(scale.span / 1000.0 / 6.0);
    let number = (1..=12).take_while(|at| f64::from(*at) * step * 1000.0 <= scale.span);
    let width = WIDTH - LEFT - RIGHT;
    html! {
        text.quiet x=(LEFT) y=(height - 8.0) { "0 ms" }
        @for at in number {
            @let ms = f64::from(at) * step;
            @let x = LEFT + width * (ms * 1000.0 / scale.span);
            line.grid x1=(dot(x)) x2=(dot(x)) y1=(TOP) y2=(height - 20.0) {}
            text.quiet x=(dot(x)) y=(height - 8.0) text-anchor="middle" { (ms) " ms" }
        }
    }
}

/// The next larger of 1, 2 and 5 times a power of ten.
fn round_step(least: f64) -> f64 {
    let power = 10_f64.powf(least.max(0.001).log10().floor());
    [1.0, 2.0, 5.0, 10.0].into_iter().map(|times| times * power).find(|step| *step >= least).unwrap_or(power * 10.0)
}

fn bar(scale: &Scale, y: f64, exchange: &Exchange) -> Markup {
    let (from, to) = (scale.x(exchange.start.as_microsecond()), scale.x(exchange.over_us()));
    let width = (to - from).max(BAR_LEAST);
    html! {
        a href={ "#x" (exchange.seq) } {
            rect class={ "bar " (fate(exchange)) } x=(dot(from)) y=(y + 4.0) width=(dot(width)) height=(LANE - 7.0) rx="2" {
                title {
                    (exchange.name()) ", try " (exchange.attempt) ": " (timeline::came_of(exchange)) ", after "
                    (ms(exchange.over_us() - exchange.start.as_microsecond())) " ms"
                }
            }
        }
    }
}

fn marks(scale: &Scale, y: f64, exchange: &Exchange) -> Markup {
    let at = |at_us: u64| exchange.start.as_microsecond().saturating_add(i64::try_from(at_us).unwrap_or(i64::MAX));
    html! {
        @for mark in &exchange.faults {
            @let x = scale.x(at(mark.at_us));
            path.fault d=(mark_at(x, y + 3.0)) {
                title { (mark.id) ": " (mark.verdict) ", " (mark.phase) }
            }
        }
        @if let Some(last) = exchange.faults.last() {
            @let names: Vec<_> = exchange.faults.iter().map(|mark| mark.id.as_str()).collect();
            text.fault-name x=(dot(scale.x(at(last.at_us)).max(scale.x(exchange.over_us())) + 9.0)) y=(y + 13.0) { (names.join(", ")) }
        }
    }
}

/// A flash that strikes at a place.
fn mark_at(x: f64, y: f64) -> String {
    let (x, low) = (dot(x), y + 13.0);
    format!(
        "M{} {y} L{} {} L{x} {} L{} {low} L{} {} L{x} {} Z",
        x + 2.0,
        x - 5.0,
        y + 7.0,
        y + 7.0,
        x - 2.0,
        x + 5.0,
        y + 5.0,
        y + 5.0
    )
}

/// Kills, restarts and the beginnings of steps, as lines over all lanes.
fn events(scale: &Scale, evidence: &Evidence, height: f64) -> Markup {
    let exchanges = &evidence.exchanges;
    // What has no time of its own happened before the next request, or else after the last one.
    let next = |after_seq: u64| {
        let next = exchanges.iter().find(|exchange| exchange.seq > after_seq);
        next.map_or_else(|| exchanges.iter().map(Exchange::over_us).max(), |next| Some(next.start.as_microsecond()))
    };
    let struck = |fault: &str, after_seq: u64| {
        let marked = exchanges.iter().filter(|exchange| exchange.seq <= after_seq).rev();
        marked
            .flat_map(|exchange| exchange.faults.iter().map(move |mark| (exchange, mark)))
            .find(|(_, mark)| mark.id == fault)
            .map(|(exchange, mark)| {
                exchange.start.as_microsecond().saturating_add(i64::try_from(mark.at_us).unwrap_or(0))
            })
    };
    let shown = evidence.events.iter().filter_map(|event| {
        let (class, name, row, at) = match &event.what {
            Happening::StepBegan(number) => ("step", format!("step {number}"), 12.0, next(event.after_seq)),
            Happening::ClientKilled(fault) => (
                "killed",
                "client killed".to_owned(),
                26.0,
                struck(fault, event.after_seq).or_else(|| next(event.after_seq)),
            ),
            Happening::MockKilled(fault) => (
                "killed",
                "mock killed".to_owned(),
                26.0,
                struck(fault, event.after_seq).or_else(|| next(event.after_seq)),
            ),
            Happening::MockBack => ("back", "mock back".to_owned(), 38.0, next(event.after_seq)),
            Happening::FaultsLifted => ("back", "faults lifted".to_owned(), 38.0, next(event.after_seq)),
            Happening::Held { hold, .. } => ("step", format!("held by {hold}"), 38.0, next(event.after_seq)),
            Happening::Released { hold, .. } => ("back", format!("{hold} released"), 38.0, next(event.after_seq)),
            Happening::Restarted { .. } => ("killed", "mock restarts".to_owned(), 26.0, next(event.after_seq)),
        };
        Some((class, name, row, scale.x(at?)))
    });
    html! {
        @for (class, name, row, x) in shown {
            line class={ "event " (class) } x1=(dot(x)) x2=(dot(x)) y1=(row + 2.0) y2=(height - 20.0) {}
            text x=(dot(x + 3.0)) y=(row) { (name) }
        }
    }
}

/// A coordinate to a tenth of a unit: finer than any screen, and short.
fn dot(value: f64) -> f64 {
    (value * 10.0).round() / 10.0
}

#[cfg(test)]
mod tests {
    use vod_proto::exchange::FaultMark;

    use super::*;
    use crate::{
        evidence::Event,
        judge::crafted::{Story, mark},
    };

    fn drawn(story: &Story) -> String {
        picture(&story.evidence).into_string()
    }

    #[test]
    fn colours_say_what_came_of_a_request() {
        let check = |change: fn(&mut Exchange), expected: &str| {
            let mut story = Story::plain();
            change(&mut story.evidence.exchanges[1]);
            assert_eq!(fate(&story.evidence.exchanges[1]), expected);
            assert!(drawn(&story).contains(&format!("<rect class=\"bar {expected}\"")), "{expected}");
        };
        check(|_| (), "acknowledged");
        check(|exchange| exchange.end = End::Reset, "broken");
        check(|exchange| exchange.end = End::ClientGone { after: 7 }, "broken");
        check(|exchange| exchange.end = End::Killed, "killed");
        check(|exchange| exchange.faults.push(mark("garbage-reply", true)), "lost");
        check(
            |exchange| {
                exchange.end = End::Reset;
                exchange.faults.push(FaultMark { phase: "after-commit".to_owned(), ..mark("reset", true) });
            },
            "lost",
        );
        check(
            |exchange| {
                exchange.end = End::Reset;
                exchange.faults.push(FaultMark { phase: "mid-body".to_owned(), ..mark("reset", true) });
            },
            "broken",
        );
        check(
            |exchange| {
                exchange.faults.push(mark("http", true));
                if let Some(reply) = &mut exchange.reply {
                    (reply.status, reply.body) = (503, String::new());
                }
            },
            "refused",
        );
        check(
            |exchange| {
                if let Some(reply) = &mut exchange.reply {
                    reply.body = r#"{"code":-10004,"message":"no","canRetry":1}"#.to_owned();
                }
            },
            "refused",
        );
    }

    #[test]
    fn a_part_has_one_lane_for_all_its_attempts() {
        let mut story = Story::plain();
        let again = story.evidence.exchanges[1].clone();
        story.insert(2, again);
        let lanes = Lanes::of(&story.evidence);
        assert_eq!(lanes.names, ["open", "part 1", "part 2", "part 3", "finish"]);
        assert_eq!(
            lanes.at(&story.evidence, &story.evidence.exchanges[1]),
            lanes.at(&story.evidence, &story.evidence.exchanges[2])
        );
    }

    #[test]
    fn of_many_parts_those_to_whom_nothing_happens_share_lanes() {
        let mut story = Story::plain();
        for number in 4..=100 {
            let mut part = story.evidence.exchanges[1].clone();
            if let Some(span) = &mut part.part {
                span.offset = (number - 1) << 20;
            }
            story.insert(usize::try_from(number).unwrap(), part);
        }
        story.evidence.exchanges[49].faults.push(mark("delay", false));
        let lanes = Lanes::of(&story.evidence);
        assert_eq!(lanes.names, ["open", "parts 1–48", "part 49", "parts 50–100", "finish"]);
    }

    #[test]
    fn a_kill_stands_where_its_fault_struck_and_the_return_where_the_next_request_began() {
        let mut story = Story::plain();
        let mut crash = mark("kill", true);
        (crash.id, crash.at_us) = ("crash".to_owned(), 50_000);
        story.evidence.exchanges[1].faults.push(crash);
        for what in [Happening::MockKilled("crash".to_owned()), Happening::MockBack] {
            story.evidence.events.push(Event { after_seq: 2, what });
        }
        let drawn = drawn(&story);
        let exchanges = &story.evidence.exchanges;
        let last = exchanges.iter().map(Exchange::over_us).max().unwrap();
        let scale = Scale { zero: zero(exchanges), span: f64::from(u32::try_from(last - zero(exchanges)).unwrap()) };
        let struck = dot(scale.x(exchanges[1].start.as_microsecond() + 50_000));
        let back = dot(scale.x(exchanges[2].start.as_microsecond()));
        assert!(struck < back);
        for (class, x) in [("killed", struck), ("back", back)] {
            let line = format!("<line class=\"event {class}\" x1=\"{x}\" x2=\"{x}\"");
            assert!(drawn.contains(&line), "{line} is not in\n{drawn}");
        }
    }

    #[test]
    fn ticks_stand_at_round_times() {
        for (least, step) in [(0.7, 1.0), (1.2, 2.0), (3.0, 5.0), (30.0, 50.0), (60.0, 100.0), (0.03, 0.05)] {
            assert!((round_step(least) - step).abs() < 1e-9, "{least}");
        }
    }
}

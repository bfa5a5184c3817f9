//! What happened, one line an exchange, in order. Long runs of uneventful parts are folded.

use std::{
    collections::BTreeSet,
    fmt::{self, Write as _},
};

use vod_proto::{
    Action, Exchange,
    action::Role,
    exchange::End,
    reply::{InitReply, NextReply, Reply},
};

use super::bytes;
use crate::evidence::{Event, Evidence, Happening};

/// From so many uneventful parts in a row on they are folded: fewer are as short as the fold.
const FOLDED_FROM: usize = 4;

/// How wide the requests are shown at least: a part in the middle of a large file.
const WIDTH_LEAST: usize = 30;

pub(super) fn timeline(evidence: &Evidence) -> String {
    let mut out = String::new();
    let _ = Timeline::of(evidence).write(&mut out);
    out
}

struct Timeline<'a> {
    evidence: &'a Evidence,
    /// The first exchange's start, in microseconds since 1970.
    zero: i64,
    /// Part numbers are told where the grid is known.
    part_size: Option<u64>,
    /// Where the parts of the legacy family begin, which has no grid.
    offsets: BTreeSet<u64>,
    /// How wide the longest request is.
    width: usize,
}

impl<'a> Timeline<'a> {
    fn of(evidence: &'a Evidence) -> Self {
        let starts = evidence.exchanges.iter().map(|exchange| exchange.start.as_microsecond());
        // Every part but the last has the grid's length, and a first part always has it.
        let part_size = evidence.exchanges.iter().filter_map(|exchange| exchange.part).map(|part| part.len).max();
        let of_next = evidence.exchanges.iter().filter(|exchange| role(exchange) == Some(Role::Next));
        let mut timeline = Self {
            evidence,
            zero: starts.min().unwrap_or(0),
            part_size: part_size.filter(|size| *size > 0),
            offsets: of_next.filter_map(|exchange| exchange.part).map(|part| part.offset).collect(),
            width: WIDTH_LEAST,
        };
        let widths = evidence.exchanges.iter().map(|exchange| timeline.what(exchange).len());
        timeline.width = widths.fold(WIDTH_LEAST, usize::max);
        timeline
    }

    fn write(&self, out: &mut String) -> fmt::Result {
        let mut events = self.evidence.events.iter().peekable();
        let mut steps = self.evidence.steps.iter().enumerate().peekable();
        let mut rest = &self.evidence.exchanges[..];
        writeln!(out, "  {:>8}  {:<width$} {:>3}  came of it", "ms", "request", "try", width = self.width)?;
        loop {
            let next = rest.first().map_or(u64::MAX, |exchange| exchange.seq);
            if let Some((at, step)) =
                steps.next_if(|(_, step)| step.last_seq < next && events_done(&mut events, step.last_seq))
            {
                writeln!(out, "  {:>8}  ── step {} {} after {} ms", "", at + 1, step.end, step.elapsed.as_millis())?;
                continue;
            }
            if let Some(event) = events.next_if(|event| event.after_seq < next) {
                writeln!(out, "  {:>8}  ── {}", "", happening(&event.what))?;
                continue;
            }
            let Some((exchange, after)) = rest.split_first() else { break };
            // An event or a step's end splits a run.
            let until = events.peek().map_or(u64::MAX, |event| event.after_seq);
            let until = until.min(steps.peek().map_or(u64::MAX, |(_, step)| step.last_seq));
            let run = rest.iter().take_while(|exchange| uneventful(exchange) && exchange.seq <= until).count();
            if run >= FOLDED_FROM {
                self.write_folded(out, &rest[..run])?;
                rest = &rest[run..];
            } else {
                self.write_exchange(out, exchange)?;
                rest = after;
            }
        }
        Ok(())
    }

    fn write_folded(&self, out: &mut String, run: &[Exchange]) -> fmt::Result {
        let sent: u64 = run.iter().filter_map(|exchange| exchange.part).map(|part| part.len).sum();
        writeln!(out, "  {:>8}  … {} parts acknowledged, {}", self.at(&run[0]), run.len(), bytes(sent))
    }

    fn write_exchange(&self, out: &mut String, exchange: &Exchange) -> fmt::Result {
        let (at, what, width) = (self.at(exchange), self.what(exchange), self.width);
        writeln!(out, "  {at:>8}  {what:<width$} {:>3}  {}", exchange.attempt, came_of(exchange))
    }

    /// Milliseconds since the first exchange began.
    fn at(&self, exchange: &Exchange) -> String {
        let micros = exchange.start.as_microsecond() - self.zero;
        format!("{}.{}", micros / 1000, micros % 1000 / 100)
    }

    fn what(&self, exchange: &Exchange) -> String {
        let action = exchange.action.as_deref().unwrap_or("(no action)");
        match (exchange.part, self.part_size) {
            (Some(part), Some(_)) if part.offset == 0 => format!("{action} 1 at 0"),
            (Some(part), _) if role(exchange) == Some(Role::Next) => {
                let number = self.offsets.range(..=part.offset).count();
                format!("{action} {number} at {}", bytes(part.offset))
            }
            (Some(part), Some(size)) => format!("{action} {} at {}", part.offset / size + 1, bytes(part.offset)),
            _ => action.to_owned(),
        }
    }
}

fn events_done<'a>(events: &mut std::iter::Peekable<impl Iterator<Item = &'a Event>>, last_seq: u64) -> bool {
    // What happened within a step is told before its end; the next step's beginning after it.
    events.peek().is_none_or(|event| matches!(event.what, Happening::StepBegan(_)) || event.after_seq > last_seq)
}

fn role(exchange: &Exchange) -> Option<Role> {
    exchange.known_action().map(Action::role)
}

fn uneventful(exchange: &Exchange) -> bool {
    let stored = matches!(exchange.parsed_reply(), Some(Reply::Next(NextReply::Stored(_))));
    role(exchange).is_some_and(Role::sends_part)
        && !stored
        && exchange.attempt == 1
        && exchange.acknowledged()
        && exchange.faults.is_empty()
}

fn happening(what: &Happening) -> String {
    match what {
        Happening::StepBegan(number) => format!("step {number}: upload"),
        Happening::ClientKilled(fault) => format!("the client is killed (fault {fault:?})"),
        Happening::MockKilled(fault) => format!("the mock is killed (fault {fault:?})"),
        Happening::MockBack => "the mock is back".to_owned(),
    }
}

fn came_of(exchange: &Exchange) -> String {
    let mut text = match (exchange.end, &exchange.reply) {
        (End::Replied, Some(reply)) => match exchange.code() {
            Some(code) => format!("code {code}{}", told(exchange)),
            None => format!("HTTP {}", reply.status),
        },
        (end, _) => end.to_string(),
    };
    for mark in &exchange.faults {
        let _ = write!(text, "  ⚡ {} ({}, {})", mark.id, mark.phase, mark.verdict);
    }
    text
}

/// What the reply says that the server has.
fn told(exchange: &Exchange) -> String {
    match exchange.parsed_reply() {
        Some(Reply::Init(InitReply::Resume { parts, .. })) => format!(", {} parts are there", parts.len()),
        Some(Reply::Init(InitReply::Exists(_)) | Reply::Next(NextReply::Stored(_))) => ", the file is there".to_owned(),
        Some(Reply::Next(NextReply::Continue { offset })) if exchange.part.is_none_or(|part| part.end() != offset) => {
            format!(", go on at {}", bytes(offset))
        }
        _ => String::new(),
    }
}

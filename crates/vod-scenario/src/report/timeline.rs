//! What happened, one line an exchange, in order. Long runs of uneventful parts are folded.

use std::fmt::{self, Write as _};

use vod_proto::{Action, Exchange, exchange::End};

use super::bytes;
use crate::evidence::{Event, Evidence, Happening};

/// From so many uneventful parts in a row on they are folded: fewer are as short as the fold.
const FOLDED_FROM: usize = 4;

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
}

impl<'a> Timeline<'a> {
    fn of(evidence: &'a Evidence) -> Self {
        let starts = evidence.exchanges.iter().map(|exchange| exchange.start.as_microsecond());
        // Every part but the last has the grid's length, and a first part always has it.
        let part_size = evidence.exchanges.iter().filter_map(|exchange| exchange.part).map(|part| part.len).max();
        Self { evidence, zero: starts.min().unwrap_or(0), part_size: part_size.filter(|size| *size > 0) }
    }

    fn write(&self, out: &mut String) -> fmt::Result {
        let mut events = self.evidence.events.iter().peekable();
        let mut steps = self.evidence.steps.iter().enumerate().peekable();
        let mut rest = &self.evidence.exchanges[..];
        writeln!(out, "  {:>8}  {:<30} {:>3}  came of it", "ms", "request", "try")?;
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
        let (at, what) = (self.at(exchange), self.what(exchange));
        writeln!(out, "  {at:>8}  {what:<30} {:>3}  {}", exchange.attempt, came_of(exchange))
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
            (Some(part), Some(size)) => format!("{action} {} at {}", part.offset / size + 1, bytes(part.offset)),
            _ => action.to_owned(),
        }
    }
}

fn events_done<'a>(events: &mut std::iter::Peekable<impl Iterator<Item = &'a Event>>, last_seq: u64) -> bool {
    // What happened within a step is told before its end; the next step's beginning after it.
    events.peek().is_none_or(|event| matches!(event.what, Happening::StepBegan(_)) || event.after_seq > last_seq)
}

fn uneventful(exchange: &Exchange) -> bool {
    exchange.known_action() == Some(Action::UploadPart)
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
            Some(code) => format!("code {code}{}", listed(exchange)),
            None => format!("HTTP {}", reply.status),
        },
        (end, _) => end.to_string(),
    };
    for mark in &exchange.faults {
        let _ = write!(text, "  ⚡ {} ({}, {})", mark.id, mark.phase, mark.verdict);
    }
    text
}

/// How many parts an `InitUpload` said are there.
fn listed(exchange: &Exchange) -> String {
    use vod_proto::reply::{InitReply, Reply};
    let reply = exchange.reply.as_ref().filter(|_| exchange.known_action() == Some(Action::InitUpload));
    let parsed = reply.and_then(|reply| Reply::parse(Action::InitUpload, &reply.body).ok());
    match parsed.map(|parsed| parsed.reply) {
        Some(Reply::Init(InitReply::Resume { parts, .. })) => format!(", {} parts are there", parts.len()),
        Some(Reply::Init(InitReply::Exists(_))) => ", the file is there".to_owned(),
        _ => String::new(),
    }
}

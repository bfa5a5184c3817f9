//! What happened, one line an exchange, in order: for people who read a report, a journal or a recording in a terminal.
//!
//! Long runs of uneventful parts are folded.

use std::{
    borrow::Borrow,
    collections::{BTreeMap, BTreeSet},
    fmt::{self, Write as _},
};

use crate::{
    Action, Exchange, Family, Sha1, Size,
    action::Role,
    exchange::End,
    reply::{InitReply, NextReply, Reply},
};

/// From so many uneventful parts in a row on they are folded: fewer are as short as the fold.
const FOLDED_FROM: usize = 4;

/// How wide the requests are shown at least: a part in the middle of a large file.
const WIDTH_LEAST: usize = 30;

/// How many digits of a file's SHA-1 name its upload, where there are several.
const UPLOAD_DIGITS: usize = 7;

/// A timeline of exchanges. [`Display`](fmt::Display) writes it, each line with its break.
///
/// ```
/// use vod_proto::timeline::Timeline;
/// let nothing: [vod_proto::Exchange; 0] = [];
/// let text = Timeline::of(&nothing).note(0, "the server is started".to_owned()).to_string();
/// assert!(text.ends_with("── the server is started\n"), "{text}");
/// ```
pub struct Timeline<'a> {
    exchanges: Vec<&'a Exchange>,
    notes: Vec<(u64, String)>,
    /// The first exchange's start, in microseconds since 1970.
    zero: i64,
    /// Of each file, for each family in which it was sent: they number its parts in different ways.
    uploads: BTreeMap<(Option<Sha1>, Option<Family>), Grid>,
    /// Are uploads to be told apart?
    several: bool,
    /// How many columns the bars have, if there are any.
    bars: usize,
    /// How long all of it took, in microseconds.
    span: i64,
    /// How wide the longest request is.
    width: usize,
    /// Who sent an exchange, by number, where several are to be told apart.
    senders: BTreeMap<u64, &'static str>,
}

/// How the parts of an upload are numbered.
#[derive(Default)]
struct Grid {
    /// Every part but the last has the grid's length, and a first part always has it.
    part_size: u64,
    /// Where the parts of the legacy family begin, which has no grid.
    offsets: BTreeSet<u64>,
}

impl<'a> Timeline<'a> {
    /// A timeline of these exchanges, in the order of their numbers.
    #[must_use]
    pub fn of<E: Borrow<Exchange>>(exchanges: &'a [E]) -> Self {
        let mut exchanges: Vec<&Exchange> = exchanges.iter().map(Borrow::borrow).collect();
        exchanges.sort_by_key(|exchange| exchange.seq);
        let zero = exchanges.iter().map(|exchange| exchange.start.as_microsecond()).min().unwrap_or(0);
        let last = exchanges.iter().map(|exchange| exchange.over_us()).max().unwrap_or(0);
        let mut uploads = BTreeMap::<_, Grid>::new();
        for exchange in &exchanges {
            let grid = uploads.entry(upload(exchange)).or_default();
            if let Some(part) = exchange.part {
                grid.part_size = grid.part_size.max(part.len);
                if role(exchange) == Some(Role::Next) {
                    grid.offsets.insert(part.offset);
                }
            }
        }
        let several = uploads.keys().filter_map(|(file, _)| *file).collect::<BTreeSet<_>>().len() > 1;
        let (notes, span) = (Vec::new(), last - zero);
        let mut timeline = Self {
            exchanges,
            notes,
            zero,
            uploads,
            several,
            bars: 0,
            span,
            width: WIDTH_LEAST,
            senders: BTreeMap::new(),
        };
        let widths = timeline.exchanges.iter().map(|exchange| timeline.what(exchange).chars().count());
        timeline.width = widths.fold(WIDTH_LEAST, usize::max);
        timeline
    }

    /// Names the sender of each exchange before it, where this says who that was.
    #[must_use]
    pub fn told_apart(self, sender: impl Fn(&Exchange) -> Option<&'static str>) -> Self {
        let senders = self.exchanges.iter().filter_map(|exchange| Some((exchange.seq, sender(exchange)?))).collect();
        let mut timeline = Self { senders, ..self };
        let widths = timeline.exchanges.iter().map(|exchange| timeline.what(exchange).chars().count());
        timeline.width = widths.fold(WIDTH_LEAST, usize::max);
        timeline
    }

    fn sender(&self, exchange: &Exchange) -> Option<&'static str> {
        self.senders.get(&exchange.seq).copied()
    }

    /// Tells of something else that happened after the exchange of this number, 0 before the first. What happened after the
    /// same exchange is told in the order in which it is noted.
    #[must_use]
    pub fn note(mut self, after_seq: u64, text: String) -> Self {
        self.notes.push((after_seq, text));
        self
    }

    /// Draws when each exchange was under way, in so many columns. Default none.
    #[must_use]
    pub fn bars(self, columns: usize) -> Self {
        // What is folded stands in the same column, and is no longer than if all were.
        let longest = self.exchanges.first().map_or(0, |first| self.folded(first, &self.exchanges).chars().count());
        let is_any = self.exchanges.len() >= FOLDED_FROM && self.exchanges.iter().any(|exchange| uneventful(exchange));
        let width = if is_any { self.width.max(longest) } else { self.width };
        Self { bars: columns, width, ..self }
    }

    /// What stands for a run of uneventful parts.
    fn folded(&self, first: &Exchange, run: &[&Exchange]) -> String {
        let sent: u64 = run.iter().filter_map(|exchange| exchange.part).map(|part| part.len).sum();
        self.of_upload(first, format!("… {} parts acknowledged, {}", run.len(), Size::new(sent)))
    }

    fn write(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut notes: Vec<_> = self.notes.iter().collect();
        notes.sort_by_key(|(after_seq, _)| *after_seq);
        let mut notes = notes.into_iter().peekable();
        let mut rest = &self.exchanges[..];
        write!(out, "  {:>8}  {:<width$} {:>3}  ", "ms", "request", "try", width = self.width)?;
        if self.bars > 0 {
            write!(out, "{:<columns$}  ", "under way", columns = self.bars)?;
        }
        writeln!(out, "came of it")?;
        loop {
            let next = rest.first().map_or(u64::MAX, |exchange| exchange.seq);
            if let Some((_, note)) = notes.next_if(|(after_seq, _)| *after_seq < next) {
                writeln!(out, "  {:>8}  ── {note}", "")?;
                continue;
            }
            let Some((exchange, after)) = rest.split_first() else { return Ok(()) };
            // A note splits a run.
            let until = notes.peek().map_or(u64::MAX, |(after_seq, _)| *after_seq);
            let of_run = |other: &&&Exchange| {
                uneventful(other)
                    && other.seq <= until
                    && other.file_sha1 == exchange.file_sha1
                    && self.sender(other) == self.sender(exchange)
            };
            let run = rest.iter().take_while(of_run).count();
            if run >= FOLDED_FROM {
                self.write_folded(out, &rest[..run])?;
                rest = &rest[run..];
            } else {
                self.write_exchange(out, exchange)?;
                rest = after;
            }
        }
    }

    fn write_folded(&self, out: &mut fmt::Formatter<'_>, run: &[&Exchange]) -> fmt::Result {
        let what = self.folded(run[0], run);
        if self.bars == 0 {
            return writeln!(out, "  {:>8}  {what}", self.at(run[0]));
        }
        let over = run.iter().map(|exchange| exchange.over_us()).max().unwrap_or(self.zero);
        let bar = self.bar(run[0].start.as_microsecond(), over);
        writeln!(out, "  {:>8}  {what:<width$} {:>3}  {}", self.at(run[0]), "", bar.trim_end(), width = self.width)
    }

    fn write_exchange(&self, out: &mut fmt::Formatter<'_>, exchange: &Exchange) -> fmt::Result {
        let (at, what, width) = (self.at(exchange), self.what(exchange), self.width);
        write!(out, "  {at:>8}  {what:<width$} {:>3}  ", exchange.attempt)?;
        if self.bars > 0 {
            write!(out, "{}  ", self.bar(exchange.start.as_microsecond(), exchange.over_us()))?;
        }
        writeln!(out, "{}", came_of(exchange))
    }

    /// A bar from one moment to another, in microseconds since 1970.
    fn bar(&self, from: i64, to: i64) -> String {
        let columns = i64::try_from(self.bars).unwrap_or(i64::MAX);
        let column = |moment: i64| {
            let at = (moment - self.zero).saturating_mul(columns) / self.span.max(1);
            usize::try_from(at.clamp(0, columns - 1)).unwrap_or(0)
        };
        let (first, last) = (column(from), column(to));
        (0..self.bars).map(|at| if (first..=last).contains(&at) { '█' } else { '·' }).collect()
    }

    /// Milliseconds since the first exchange began.
    fn at(&self, exchange: &Exchange) -> String {
        let micros = exchange.start.as_microsecond() - self.zero;
        format!("{}.{}", micros / 1000, micros % 1000 / 100)
    }

    fn what(&self, exchange: &Exchange) -> String {
        let action = exchange.action.as_deref().unwrap_or("(no action)");
        let grid = self.uploads.get(&upload(exchange));
        let what = match (exchange.part, grid) {
            (Some(part), _) if part.offset == 0 => format!("{action} 1 at 0"),
            (Some(part), Some(grid)) if role(exchange) == Some(Role::Next) => {
                let number = grid.offsets.range(..=part.offset).count();
                format!("{action} {number} at {}", Size::new(part.offset))
            }
            (Some(part), Some(grid)) if grid.part_size > 0 => {
                format!("{action} {} at {}", part.offset / grid.part_size + 1, Size::new(part.offset))
            }
            _ => action.to_owned(),
        };
        self.of_upload(exchange, what)
    }

    /// Says which upload it is of, where there are several, and whose it is.
    fn of_upload(&self, exchange: &Exchange, what: String) -> String {
        let what = match self.sender(exchange) {
            Some(sender) => format!("{sender}  {what}"),
            None => what,
        };
        match exchange.file_sha1 {
            Some(sha1) if self.several => format!("{} {what}", &sha1.to_string()[..UPLOAD_DIGITS]),
            _ => what,
        }
    }
}

impl fmt::Display for Timeline<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.write(f)
    }
}

fn upload(exchange: &Exchange) -> (Option<Sha1>, Option<Family>) {
    (exchange.file_sha1, exchange.known_action().map(Action::family))
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

/// What came of an exchange, in a few words: the code or status, or how it ended, why a proxy did not reach the server, and the
/// faults that struck.
#[must_use]
pub fn came_of(exchange: &Exchange) -> String {
    let mut text = match (exchange.end, &exchange.reply) {
        (End::Replied, Some(reply)) => match exchange.code() {
            Some(code) => format!("code {code}{}", told(exchange)),
            None => format!("HTTP {}", reply.status),
        },
        (end, _) => end.to_string(),
    };
    if let Some(why) = exchange.unreached {
        let _ = write!(text, ", of the proxy: the server {why}");
    }
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
            format!(", go on at {}", Size::new(offset))
        }
        _ => String::new(),
    }
}

//! What comes before what.

use super::{
    Finding,
    told::{Grid, Told},
    upload::{Seen, breach},
};
use crate::{
    Code, PartSpan,
    action::Role,
    rules::{
        DICTATED_OFFSET, ERROR_NOT_SUCCESS, FAILED_PART_AGAIN, FINISH_AFTER_PARTS, NO_PART_AFTER_STORED,
        OPEN_BEFORE_PARTS,
    },
};

/// Holds a request that is being sent against what must have come before it.
pub(super) fn check(told: &mut Told<'_>, seen: &Seen<'_>) -> Vec<Finding> {
    match seen.role() {
        Role::Part => opened_first(told, seen).or_else(|| not_after_stored(told, seen)).into_iter().collect(),
        Role::Finish => opened_first(told, seen).map_or_else(|| parts_first(told, seen), |finding| vec![finding]),
        Role::Next => dictated(told, seen).or_else(|| not_after_stored(told, seen)).into_iter().collect(),
        Role::Open | Role::Whole | Role::Report => Vec::new(),
    }
}

/// Only the first request that was sent too early is told: the rest is the same mistake.
fn opened_first(told: &mut Told<'_>, seen: &Seen<'_>) -> Option<Finding> {
    if told.opened + told.existed > 0 || told.begun_before {
        return None;
    }
    let name = seen.exchange.name();
    let finding = match told.refused_open {
        Some(open) => {
            let found = format!("{name} was sent although {} {}", open.exchange.name(), open.answer());
            breach(&ERROR_NOT_SUCCESS, found, &[open, seen])
        }
        // Where the upload does not begin with its opening, the server alone knows whether it was opened before.
        None if told.whole || seen.code == Some(Code::CACHE_READ) => breach(
            &OPEN_BEFORE_PARTS,
            format!("{name} was sent before an answer said that the upload is open"),
            &[seen],
        ),
        None => return None,
    };
    told.first_said(OPEN_BEFORE_PARTS.id, 0).then_some(finding)
}

fn not_after_stored(told: &mut Told<'_>, seen: &Seen<'_>) -> Option<Finding> {
    let stored = told.known_stored(seen).filter(|_| told.whole)?;
    let found = format!(
        "{} was sent although {} had said that the file is there",
        seen.exchange.name(),
        stored.exchange.name()
    );
    told.first_said(NO_PART_AFTER_STORED.id, stored.seq())
        .then(|| breach(&NO_PART_AFTER_STORED, found, &[stored, seen]))
}

/// Every part of the grid is there for all that the client may know. What is not is told once, by what became of it.
fn parts_first(told: &mut Told<'_>, finish: &Seen<'_>) -> Vec<Finding> {
    if !told.whole || told.existed > 0 {
        return Vec::new();
    }
    let Some(grid) = told.grids.last().filter(|_| !told.grids.iter().any(|grid| told.covers(grid))) else {
        return Vec::new();
    };
    let layout = grid.layout;
    let missing = |span: &PartSpan| !told.may_be_there(*span);
    let sent: Vec<_> = told.parts.values().filter_map(|part| part.sent).collect();
    let failed = sent.into_iter().filter_map(|sent| Some((sent.part()?, sent)));
    let failed: Vec<_> = failed.filter(|(span, _)| layout.index_of(*span).is_ok() && missing(span)).collect();
    // Stops at the first, so that no size that a client claims is counted through.
    let never = layout
        .parts()
        .find(|span| missing(span) && told.parts.get(&span.offset).is_none_or(|part| part.sent.is_none()));

    let name = finish.exchange.name();
    let mut findings = Vec::new();
    for (span, sent) in failed {
        let earlier = sent.exchange.name();
        let (rule, found) = if sent.over > finish.start {
            (&FINISH_AFTER_PARTS, format!("{name} was sent while {earlier} was under way"))
        } else if sent.failed() {
            (&ERROR_NOT_SUCCESS, format!("{name} was sent although {earlier} {}", sent.answer()))
        } else {
            (&FAILED_PART_AGAIN, format!("{name} was sent although {earlier} {}", sent.answer()))
        };
        if told.first_said(rule.id, span.offset) {
            findings.push(breach(rule, found, &[sent, finish]));
        }
    }
    // Who puts the file together has the part: it is the list that lacks the request.
    let unlisted = |span: &PartSpan| finish.exchange.acknowledged() && !told.listed_as_sent(span.offset);
    if let Some(span) = never.filter(|span| !unlisted(span))
        && told.first_said(FINISH_AFTER_PARTS.id, span.offset)
    {
        let found = format!("{name} was sent although part {span} never was");
        findings.push(breach(&FINISH_AFTER_PARTS, found, &[finish]));
    }
    findings
}

impl Told<'_> {
    fn may_be_there(&self, span: PartSpan) -> bool {
        self.parts.get(&span.offset).is_some_and(|part| part.may_be_there(span))
    }

    fn covers(&self, grid: &Grid<'_>) -> bool {
        grid.layout.parts().all(|span| self.may_be_there(span))
    }
}

/// In the older generation the server says where the next part begins.
fn dictated(told: &Told<'_>, seen: &Seen<'_>) -> Option<Finding> {
    let span = seen.part().filter(|span| span.offset > 0)?;
    if told.cut || told.parts.get(&span.offset).is_some_and(|part| part.is_dictated()) {
        return None;
    }
    if seen.exchange.acknowledged() && !told.listed_as_sent_to(span.offset) {
        // A server that takes a part has taken the one before it: it is the list that lacks that one.
        return None;
    }
    let name = seen.exchange.name();
    let before = told.parts.values().filter_map(|part| part.sent).find(|sent| {
        sent.failed() && sent.over <= seen.start && sent.part().is_some_and(|sent| sent.end() == span.offset)
    });
    if let Some(before) = before.filter(|_| told.whole) {
        let found = format!("{name} was sent although {} {}", before.exchange.name(), before.answer());
        return Some(breach(&ERROR_NOT_SUCCESS, found, &[before, seen]));
    }
    match told.dictation {
        Some(last) => {
            let found = format!("{name} does not begin where any reply said, {} the last", last.exchange.name());
            Some(breach(&DICTATED_OFFSET, found, &[last, seen]))
        }
        None if told.whole => {
            Some(breach(&DICTATED_OFFSET, format!("{name} was sent before any reply said where to go on"), &[seen]))
        }
        None => None,
    }
}

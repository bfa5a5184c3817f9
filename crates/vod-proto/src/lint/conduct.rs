//! How a client takes what it is told.

use super::{
    Finding, retry,
    told::{There, Told},
    upload::{Seen, breach},
};
use crate::{
    action::Role,
    rules::{
        ACKNOWLEDGED_PART_ONCE, CAN_RETRY, LISTED_PART_SKIPPED, NOTHING_AFTER_FINAL, ONE_SIGNATURE, PART_GRID,
        RETRY_GAP, RETURNED_PART_SIZE,
    },
    ugc::UploadSignature,
};

/// Holds a request that is being sent against what its client was told. Who is at work on an upload whose beginning
/// nobody saw, and what they were told, nobody knows.
pub(super) fn check(told: &mut Told<'_>, seen: &Seen<'_>) -> Vec<Finding> {
    if !told.whole {
        return Vec::new();
    }
    let checks = [
        on_the_grid(told, seen),
        not_there_already(told, seen),
        not_refused_for_good(told, seen),
        not_too_soon(told, seen),
        same_signature(told, seen),
    ];
    checks.into_iter().flatten().collect()
}

/// A part lies on the grid of some answer. Only the first that does not is told of each answer.
fn on_the_grid(told: &mut Told<'_>, seen: &Seen<'_>) -> Option<Finding> {
    let span = seen.part().filter(|span| seen.role() == Role::Part && span.len > 0)?;
    let off = told.grids.iter().map(|grid| grid.layout.index_of(span).err()).collect::<Option<Vec<_>>>()?;
    let (grid, off) = told.grids.last().zip(off.last())?;
    let (open, name) = (grid.open, seen.exchange.name());
    let asked_for = grid.asked.is_some_and(|asked| asked.index_of(span).is_ok());
    let (rule, found) = if asked_for {
        let size = grid.layout.part_size();
        let found = format!("{name} is cut as {} had asked, whose answer said {size}", open.exchange.name());
        (&RETURNED_PART_SIZE, found)
    } else {
        (&PART_GRID, format!("{name}: {off}"))
    };
    told.first_said(rule.id, open.seq()).then(|| breach(rule, found, &[open, seen]))
}

fn not_there_already(told: &Told<'_>, seen: &Seen<'_>) -> Option<Finding> {
    if told.known_stored(seen).is_some() {
        // Said already: nothing at all is to be sent.
        return None;
    }
    let name = seen.exchange.name();
    Some(match told.there_already(seen)? {
        There::Listed(open) => {
            let found = format!("the answer to {} lists the part that {name} sends", open.exchange.name());
            breach(&LISTED_PART_SKIPPED, found, &[open, seen])
        }
        There::Acknowledged(first) => {
            let found = format!("{name} was sent although {} was acknowledged", first.exchange.name());
            breach(&ACKNOWLEDGED_PART_ONCE, found, &[first, seen])
        }
    })
}

fn not_refused_for_good(told: &Told<'_>, seen: &Seen<'_>) -> Option<Finding> {
    let mut proof = told.refused_for_good(seen);
    let last = *proof.last()?;
    let refusal = last.exchange.refusal()?;
    let (rule, why) = match refusal.can_retry {
        Some(false) if refusal.code.0 < 0 => (&CAN_RETRY, "canRetry 0"),
        _ => (&NOTHING_AFTER_FINAL, "for good"),
    };
    let (name, code) = (seen.exchange.name(), refusal.code);
    let found = format!("{name} was sent although {} had been answered {code}, {why}", last.exchange.name());
    proof.push(seen);
    Some(breach(rule, found, &proof))
}

fn not_too_soon(told: &Told<'_>, seen: &Seen<'_>) -> Option<Finding> {
    let mut proof = told.too_soon_after(seen);
    let last = *proof.last()?;
    let gap = seen.start.saturating_sub(last.over) / 1_000;
    let least = if seen.is_first_contact() { retry::GAP_LEAST_US } else { retry::least_gap_us(last.exchange) } / 1_000;
    let name = seen.exchange.name();
    let found = format!("{name} came {gap} ms after {} had failed, {least} ms is the least", last.exchange.name());
    proof.push(seen);
    Some(breach(&RETRY_GAP, found, &proof))
}

/// A request carries the signature of some `InitUploadEx`. Only the first that does not is told of each answer.
///
/// Where secrets were replaced by two runs of a server, the signer has two placeholders, as the signature has: nobody can
/// tell whether these two are the same.
fn same_signature(told: &mut Told<'_>, seen: &Seen<'_>) -> Option<Finding> {
    let signature = seen.upload_signature().filter(|_| matches!(seen.role(), Role::Part | Role::Finish))?;
    let open = told.last_opened.filter(|_| !told.signatures.is_empty())?;
    let mut known = told.signatures.iter();
    if told.signatures.contains(&signature) || !known.any(|known| signer(known) == signer(&signature)) {
        return None;
    }
    let found = format!("{} has another signature than {}", seen.exchange.name(), open.exchange.name());
    told.first_said(ONE_SIGNATURE.id, open.seq()).then(|| breach(&ONE_SIGNATURE, found, &[open, seen]))
}

/// Whose upload signature it claims to be.
fn signer(signature: &str) -> Option<String> {
    UploadSignature::decode(signature).ok()?.secret_id().ok()
}

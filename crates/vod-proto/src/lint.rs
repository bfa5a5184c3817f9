//! The linter: every rule of the catalogue against a list of exchanges.
//!
//! - `wire`: what one request looks like.
//! - `order`: what comes before what.
//! - `conduct`: how a client takes what it is told.
//! - `upload`: the exchanges of one upload in the order of time; `told`: what its clients have been told so far.
//! - `retry`: when a request may be sent again. A scenario's judge asks it too.
//!
//! A rule never accuses a client that may be right, and therefore often keeps silent. What it allows for:
//!
//! - **Time.** A client has read an answer only if that was over before the client's next request came in.
//! - **Lost answers.** What was cut, closed, reset or garbled told nothing, whatever the server made of the request.
//! - **Several clients.** Whoever was answered by code 0 or 1 may be at work on the upload: with two such answers the
//!   same part may be acknowledged twice, or be refused for good twice, without anybody's having sent it again.
//! - **Clients that start again.** A new process knows only what its own `InitUpload` was answered. The request that an
//!   upload begins with may therefore come once more although an earlier process was refused.
//! - **A list that lacks something.** What of an account came before the last exchange that is missing is judged request
//!   by request alone. So is an upload whose first request behind it is not the first of its kind, by its attempt: who is
//!   at work on it, and what they were told, nobody knows. Whoever kept the list says what is [`Lacking`]; of a server that
//!   was started again with a new journal and without its memory, a client that does not open anew is told to have opened
//!   nothing.

mod conduct;
#[cfg(test)]
mod correct;
#[cfg(test)]
mod crafted;
mod findings;
mod order;
mod retry;
#[cfg(test)]
mod tests;
mod told;
mod upload;
mod wire;

use std::borrow::Borrow;

use serde::{Serialize, Serializer, ser::SerializeStruct as _};

use crate::{Exchange, Limits, Sha1, rules::Rule};

pub use findings::{Findings, Gap, Lacking};
pub use retry::least_gap_us;
pub use told::lists;
pub use wire::deviations;

/// A breach of a rule, and what proves it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Which rule.
    pub rule: &'static Rule,
    /// What was done instead.
    pub found: String,
    /// The numbers of the exchanges that prove it, in order.
    pub exchanges: Vec<u64>,
    /// Whose upload it is, by name.
    pub account: Option<String>,
    /// Of which file.
    pub file_sha1: Option<Sha1>,
}

/// What [`Findings`] show of it.
impl Serialize for Finding {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self { rule, found, exchanges, account, file_sha1 } = self;
        let mut shown = serializer.serialize_struct("Finding", 8)?;
        shown.serialize_field("rule", rule.id)?;
        shown.serialize_field("severity", &rule.severity)?;
        shown.serialize_field("says", rule.says)?;
        shown.serialize_field("source", rule.source)?;
        shown.serialize_field("found", found)?;
        shown.serialize_field("exchanges", exchanges)?;
        shown.serialize_field("account", account)?;
        shown.serialize_field("file-sha1", file_sha1)?;
        shown.end()
    }
}

impl std::fmt::Display for Finding {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { rule, found, exchanges, .. } = self;
        let seqs: Vec<_> = exchanges.iter().map(u64::to_string).collect();
        write!(f, "{} {}: {found} (exchanges {})", rule.severity, rule.id, seqs.join(", "))
    }
}

/// Holds a list of exchanges against every rule.
///
/// `lacking` is what the list lacks, `limits` are those of the server that was asked.
/// The order of the list does not matter; its numbers do.
#[must_use]
pub fn lint<E: Borrow<Exchange>>(exchanges: &[E], lacking: &Lacking, limits: &Limits) -> Findings {
    let exchanges: Vec<&Exchange> = exchanges.iter().map(Borrow::borrow).collect();
    let mut findings = wire::check(&exchanges, limits);
    for upload in upload::all(&exchanges, lacking) {
        upload.check(&mut findings);
    }
    Findings::new(findings, lacking.clone())
}

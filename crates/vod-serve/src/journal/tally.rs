//! What is counted as exchanges end.

use std::collections::BTreeMap;

use vod_proto::{Action, Code};

use super::packed::Packed;

/// What was counted as exchanges ended: only ever more, and nothing less when exchanges are evicted.
///
/// Exchanges of an earlier life, taken up from a file, are not counted: a counter begins with its process.
/// How many kinds there are is bounded by the protocol, and by the HTTP statuses that are answered.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// How many exchanges of each kind.
    pub exchanges: BTreeMap<Counted, u64>,
    /// How many faults struck.
    pub faults: u64,
    /// How many bytes of bodies of requests were read.
    pub body_bytes: u64,
}

/// What exchanges that are counted together have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Counted {
    /// What was asked; none for every action that nobody knows, and where none was named.
    pub action: Option<Action>,
    /// How it ended, in a word: [`End::word`](vod_proto::exchange::End::word).
    pub end: &'static str,
    /// The HTTP status that was answered, or would have been; none where no answer was decided.
    pub status: Option<u16>,
    /// The code in that answer; none where it is not of the protocol.
    pub code: Option<CountedCode>,
}

/// A code, as it is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum CountedCode {
    /// One that the documents know.
    Known(Code),
    /// Any other.
    Unknown,
}

impl std::fmt::Display for CountedCode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Known(code) => code.fmt(f),
            Self::Unknown => f.write_str("unknown"),
        }
    }
}

impl Counted {
    pub(super) fn of(packed: &Packed) -> Self {
        let known = |code: Code| matches!(code, Code::OK | Code::RESUME | Code::EXISTS) || code.meaning().is_some();
        let counted = |code| if known(code) { CountedCode::Known(code) } else { CountedCode::Unknown };
        Self {
            action: packed.known_action(),
            end: packed.end.word(),
            status: packed.status(),
            code: packed.code().map(counted),
        }
    }
}

impl Tally {
    pub(super) fn count(&mut self, counted: Counted, packed: &Packed) {
        *self.exchanges.entry(counted).or_default() += 1;
        self.faults += packed.faults.len() as u64;
        self.body_bytes += packed.body.len;
    }

    /// Adds what another counted.
    pub fn add(&mut self, other: &Self) {
        for (counted, number) in &other.exchanges {
            *self.exchanges.entry(*counted).or_default() += number;
        }
        self.faults += other.faults;
        self.body_bytes += other.body_bytes;
    }
}

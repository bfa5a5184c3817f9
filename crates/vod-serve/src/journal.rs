//! The journal: every request and what came of it, redacted, in memory and as lines of JSON.
//!
//! An exchange is visible in memory before the last frame of its reply is handed to the transport,
//! so that whoever has the answer can read the evidence; it is corrected if the reply could not be written.
//! The file gets its line when the exchange is over.

mod file;
mod open;

use std::{
    collections::BTreeMap,
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
};

use sha2::{Digest as _, Sha256};
use vod_proto::{Action, Exchange, Sha1, exchange::End, redact::Redactor};

pub use file::JournalError;
pub(crate) use open::Open;

use crate::{Head, Subject, transport::LineHandle};

/// How much of memory exchanges may take, in bytes, roughly counted. Default 128 MiB: some 100,000 exchanges of the
/// usual length, and so a 100 GB upload in parts of 1 MiB; fewer where requests or replies are long.
pub const KEPT_MOST: usize = 128 << 20;

/// How many different requests have their attempts counted. Beyond that the lowest are forgotten.
const COUNTED_MOST: usize = 1_000_000;

/// The journal of a server, over all its lives.
pub struct Journal {
    state: Mutex<State>,
}

struct State {
    exchanges: BTreeMap<u64, Exchange>,
    kept: usize,
    evicted: u64,
    next_seq: u64,
    attempts: BTreeMap<AttemptKey, u32>,
    open: BTreeMap<u64, Weak<Open>>,
    redactor: Redactor,
    file: Option<file::JournalFile>,
}

/// What makes two requests the same request.
type AttemptKey = (Option<String>, Option<Action>, Option<Sha1>, Option<u64>);

impl Journal {
    /// A journal in memory. The seed keys the placeholders of redacted values.
    #[must_use]
    pub fn memory(seed: u64) -> Arc<Self> {
        Arc::new(Self::with(seed, Vec::new(), None))
    }

    /// A journal in memory that also appends to a file. Exchanges that stand in the file already are taken up:
    /// numbers and attempts go on from them. A torn last line, as a killed process leaves it, is cut off.
    ///
    /// # Errors
    /// If the file cannot be read or written, or holds something that is no journal.
    pub fn file(path: &Path, seed: u64) -> Result<Arc<Self>, JournalError> {
        let (file, exchanges) = file::JournalFile::open(path)?;
        Ok(Arc::new(Self::with(seed, exchanges, Some(file))))
    }

    fn with(seed: u64, earlier: Vec<Exchange>, file: Option<file::JournalFile>) -> Self {
        let key = Sha256::new().chain_update(b"redaction").chain_update(seed.to_be_bytes()).finalize();
        let mut state = State {
            exchanges: BTreeMap::new(),
            kept: 0,
            evicted: 0,
            next_seq: 1,
            attempts: BTreeMap::new(),
            open: BTreeMap::new(),
            redactor: Redactor::new(key.into()),
            file,
        };
        for exchange in earlier {
            state.next_seq = state.next_seq.max(exchange.seq + 1);
            let part = exchange.part.map(|part| part.offset);
            let key = (exchange.account.clone(), exchange.known_action(), exchange.file_sha1, part);
            let attempts = state.attempts.entry(key).or_insert(0);
            *attempts = (*attempts).max(exchange.attempt);
            state.keep(exchange);
        }
        Self { state: Mutex::new(state) }
    }

    /// The exchanges kept in memory, in order of arrival.
    #[must_use]
    pub fn exchanges(&self) -> Vec<Exchange> {
        self.state().exchanges.values().cloned().collect()
    }

    /// How many exchanges were dropped from memory to keep it bounded. What is judged without them is inconclusive.
    #[must_use]
    pub fn evicted(&self) -> u64 {
        self.state().evicted
    }

    /// Forgets the exchanges of an account, and how often its requests were seen. What is under way goes on.
    pub fn reset(&self, account: Option<&str>) {
        let mut state = self.state();
        let (gone, kept) = std::mem::take(&mut state.exchanges)
            .into_iter()
            .partition(|(_, exchange)| exchange.account.as_deref() == account);
        state.exchanges = kept;
        let gone: BTreeMap<u64, Exchange> = gone;
        state.kept -= gone.values().map(weight).sum::<usize>();
        state.attempts.retain(|(name, ..), _| name.as_deref() != account);
    }

    /// Waits until every reply that is handed over by now is known to be out, or to be lost.
    pub(crate) async fn settled(&self) {
        let handed_over: Vec<_> = self.under_way().into_iter().filter(|open| open.is_handed_over()).collect();
        for open in handed_over {
            open.over().await;
        }
    }

    /// Ends every exchange that is under way: the server stops.
    pub(crate) fn stop(&self) {
        for open in self.under_way() {
            open.line().close();
            open.end(End::Closed);
        }
    }

    /// Begins an exchange.
    pub(crate) fn open(
        self: &Arc<Self>,
        head: &Head,
        subject: Subject,
        start: jiff::Timestamp,
        line: Arc<LineHandle>,
    ) -> Arc<Open> {
        let mut state = self.state();
        let seq = state.next_seq;
        state.next_seq += 1;
        let action = subject.action.as_deref().and_then(|name| name.parse().ok());
        let key = (subject.account.clone(), action, subject.file_sha1, subject.part.map(|part| part.offset));
        if state.attempts.len() >= COUNTED_MOST {
            state.attempts.pop_first();
        }
        let attempt = state.attempts.entry(key).or_insert(0);
        *attempt += 1;
        let attempt = *attempt;
        let request = open::record(head, &state.redactor);
        let open = Arc::new(Open::new(Arc::clone(self), line, subject, seq, attempt, start, request));
        state.open.insert(seq, Arc::downgrade(&open));
        open
    }

    /// The exchanges under way.
    pub(crate) fn under_way(&self) -> Vec<Arc<Open>> {
        self.state().open.values().filter_map(Weak::upgrade).collect()
    }

    /// Shows an exchange, or corrects what was shown.
    fn show(&self, exchange: Exchange) {
        self.state().keep(exchange);
    }

    /// Shows an exchange for good and writes its line.
    fn close(&self, exchange: Exchange) {
        let seq = exchange.seq;
        let written = {
            let mut state = self.state();
            state.open.remove(&seq);
            let written = state.file.as_mut().map_or(Ok(()), |file| file.append(&exchange));
            state.keep(exchange);
            written
        };
        if let Err(error) = written {
            tracing::error!(%error, seq, "the journal's file lacks an exchange: it could not be written");
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn keep(&mut self, exchange: Exchange) {
        self.kept += weight(&exchange);
        if let Some(earlier) = self.exchanges.insert(exchange.seq, exchange) {
            self.kept -= weight(&earlier);
        }
        while self.kept > KEPT_MOST
            && let Some((_, evicted)) = self.exchanges.pop_first()
        {
            self.kept -= weight(&evicted);
            self.evicted += 1;
        }
    }
}

/// Roughly how much memory an exchange takes, in bytes.
fn weight(exchange: &Exchange) -> usize {
    /// The exchange itself, its small texts and its place in the map.
    const FIXED: usize = 900;
    let headers: usize = exchange.request.headers.iter().map(|(name, value)| name.len() + value.len()).sum();
    let action = exchange.action.as_ref().map_or(0, String::len);
    let reply = exchange.reply.as_ref().map_or(0, |reply| reply.body.len());
    FIXED + exchange.request.target.len() + headers + action + reply
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_bounded_by_bytes_and_what_is_dropped_is_counted() {
        let line = r#"{"v":1,"seq":1,"start":"2026-01-02T03:04:05Z","attempt":1,"request":{"method":"GET","host":"h","target":"/","headers":[],"body":{"len":0,"kept":"digest"}},"end":"replied","times":{}}"#;
        let mut exchange = Exchange::from_line(line).unwrap();
        exchange.request.target = "/".repeat(KEPT_MOST / 10);
        let journal = Journal::memory(1);
        for seq in 1..=20 {
            exchange.seq = seq;
            journal.show(exchange.clone());
            journal.show(exchange.clone());
        }
        let kept: Vec<u64> = journal.exchanges().iter().map(|exchange| exchange.seq).collect();
        assert_eq!((kept.first(), kept.last(), journal.evicted()), (Some(&12), Some(&20), 11));
    }
}

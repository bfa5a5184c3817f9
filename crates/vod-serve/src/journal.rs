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
use vod_proto::{Exchange, Sha1, redact::Redactor};

pub use file::JournalError;
pub(crate) use open::Open;

use crate::{Head, Subject, transport::LineHandle};

/// How many exchanges are kept in memory. Default 100,000: about 100 MiB, and a 100 GB upload in parts of 1 MiB.
pub const KEPT_MOST: usize = 100_000;

/// The journal of a server, over all its lives.
pub struct Journal {
    state: Mutex<State>,
}

struct State {
    exchanges: BTreeMap<u64, Exchange>,
    evicted: u64,
    next_seq: u64,
    attempts: BTreeMap<AttemptKey, u32>,
    open: BTreeMap<u64, Weak<Open>>,
    redactor: Redactor,
    file: Option<file::JournalFile>,
}

/// What makes two requests the same request.
type AttemptKey = (Option<String>, Option<String>, Option<Sha1>, Option<u64>);

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
            evicted: 0,
            next_seq: 1,
            attempts: BTreeMap::new(),
            open: BTreeMap::new(),
            redactor: Redactor::new(key.into()),
            file,
        };
        for exchange in earlier {
            state.next_seq = state.next_seq.max(exchange.seq + 1);
            let key = (
                exchange.account.clone(),
                exchange.action.clone(),
                exchange.file_sha1,
                exchange.part.map(|part| part.offset),
            );
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
        let key =
            (subject.account.clone(), subject.action.clone(), subject.file_sha1, subject.part.map(|part| part.offset));
        let attempt = state.attempts.entry(key).or_insert(0);
        *attempt += 1;
        let attempt = *attempt;
        let request = open::record(head, &mut state.redactor);
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
        let mut state = self.state();
        state.open.remove(&exchange.seq);
        if let Some(file) = &mut state.file
            && let Err(error) = file.append(&exchange)
        {
            tracing::error!(%error, seq = exchange.seq, "the journal's file could not be written");
        }
        state.keep(exchange);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn keep(&mut self, exchange: Exchange) {
        self.exchanges.insert(exchange.seq, exchange);
        if self.exchanges.len() > KEPT_MOST {
            self.exchanges.pop_first();
            self.evicted += 1;
        }
    }
}

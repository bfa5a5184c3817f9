//! The journal: every request and what came of it, redacted, in memory and as lines of JSON.
//!
//! An exchange is visible in memory before the last frame of its reply is handed to the transport, so that whoever has
//! the answer can read the evidence; it is corrected if the reply could not be written. Exchanges of all accounts have
//! one sequence of numbers, and each account has a shelf of its own: what one has too much of is never taken out of
//! what another has.
//!
//! The file gets its line when the exchange is over, in the order of ends, and keeps it: neither what is evicted nor
//! what is reset is taken out of the file. Nothing is ever synced: a journal outlives its process, not its machine.
//! A line that stood there sooner would say of a reply that it was written while it may never be, and a process that is
//! killed could not take it back. So a kill from outside may cost the last lines: a number that is missing says so, and where
//! nothing came behind it, a [marker](Builder::marker).
//!
//! - `shelf`: what is kept of each account, and whose is dropped; `attempts`: how often each request was seen.
//! - `tally`: what is counted as exchanges end; `follow`: the exchanges that are over, for whoever reads along.
//! - `packed`: an exchange as memory holds it; `open`: one that is under way; `file`: the lines; `numbers`: those that stand in the file.

mod attempts;
mod file;
mod follow;
mod numbers;
mod open;
mod packed;
mod shelf;
mod tally;
#[cfg(test)]
mod tests;

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicU64, Ordering},
    },
};

use sha2::{Digest as _, Sha256};
use tokio::sync::Notify;
use vod_proto::{
    Exchange,
    exchange::{End, seal},
    lint::Lacking,
    redact::{Redactor, Rules},
};

pub use file::{FileEnd, JournalError, read};
pub use follow::{Followed, Follower, Since};
pub(crate) use open::{Open, Writer};
pub use tally::{Counted, CountedCode, Tally};

use self::{
    file::JournalFile,
    follow::{Followers, Look},
    open::Slot,
    packed::Packed,
    shelf::{Over, Shelves},
};
use crate::{Head, Subject, transport::LineHandle};

/// How much of memory exchanges may take, in bytes, roughly counted. Default 128 MiB: some 130,000 exchanges of the
/// usual length, and so a 130 GB upload in parts of 1 MiB; fewer where requests or replies are long.
pub const KEPT_MOST: usize = 128 << 20;

/// How many different requests have their attempts counted, of all accounts together: several times as many as
/// exchanges are kept, so that a request is forgotten long after what came of it. What is forgotten of an account is
/// told by [`Journal::kept`], and a judgement without it is inconclusive.
const COUNTED_MOST: usize = 500_000;

/// Whose exchanges.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Whose {
    /// Those of every account, and those of requests without a known one.
    Everybody,
    /// Those of requests without a known account.
    Nobody,
    /// Those of the account of this name.
    Account(Arc<str>),
}

impl Whose {
    /// Those of the account of this name.
    #[must_use]
    pub fn account(name: &str) -> Self {
        Self::Account(Arc::from(name))
    }

    /// Is an exchange of this account one of them?
    #[must_use]
    pub fn is(&self, account: Option<&str>) -> bool {
        match self {
            Self::Everybody => true,
            Self::Nobody => account.is_none(),
            Self::Account(name) => account == Some(name),
        }
    }
}

/// What the journal holds at one moment.
#[derive(Clone, Debug)]
pub struct Kept {
    /// The exchanges that are over, or whose reply is handed over, in order of arrival.
    pub exchanges: Vec<Arc<Exchange>>,
    /// What is not there any more.
    pub lacking: Lacking,
}

/// The journal of a server, over all its lives.
pub struct Journal {
    redactor: Arc<Redactor>,
    state: Mutex<State>,
    file: Option<Mutex<JournalFile>>,
    /// How many lines could not be written.
    unwritable: AtomicU64,
    /// Whoever reads along may wait for an exchange to end, or for the server to stop.
    followed: Notify,
}

struct State {
    next_seq: u64,
    /// How many exchanges have ended.
    ends: u64,
    /// The highest number among those.
    last_seq: u64,
    shelves: Shelves,
    /// What an earlier life never wrote to the file, as the numbers in it tell.
    unwritten_before: Lacking,
    under_way: BTreeMap<u64, UnderWay>,
    followers: Followers,
    /// Nothing is served at the moment.
    stopped: bool,
    /// The lines of exchanges that are over, in the order in which they ended, for whoever writes next.
    unwritten: Vec<Line>,
}

/// An exchange that is under way. Its slot can be read as long as it is not on its shelf.
struct UnderWay {
    slot: Arc<Slot>,
    open: Weak<Open>,
    account: Option<Arc<str>>,
    /// It is dropped at this moment, and what there was of its account was forgotten: so is it.
    forgotten: bool,
}

struct Line {
    seq: u64,
    text: String,
}

/// How a journal is made.
#[derive(Clone, Debug)]
pub struct Builder {
    key: [u8; 32],
    rules: Rules,
    ceiling: usize,
    counted: usize,
    marker: Option<PathBuf>,
}

impl Builder {
    /// What keys the placeholders of redacted values. Default: drawn from the seed.
    #[must_use]
    pub fn key(self, key: [u8; 32]) -> Self {
        Self { key, ..self }
    }

    /// What is a secret beside what always is. Default: nothing.
    #[must_use]
    pub fn rules(self, rules: Rules) -> Self {
        Self { rules, ..self }
    }

    /// How many different requests have their attempts counted, of all accounts together. Default 500,000, at some 100 bytes
    /// each.
    #[must_use]
    pub fn counted(self, requests: usize) -> Self {
        Self { counted: requests, ..self }
    }

    /// How much of memory exchanges may take, in bytes, roughly counted. Default [`KEPT_MOST`].
    #[must_use]
    pub fn ceiling(self, bytes: usize) -> Self {
        Self { ceiling: bytes, ..self }
    }

    /// A file that stands beside the journal's for as long as exchanges may be under way, and is removed when the journal is
    /// dropped, which is when all of them are written. So it is left by a process that is killed. Whoever takes such a file up
    /// leaves one number out, which stands for what was under way. Default: none, and an exchange behind which nothing was
    /// written is lost without a trace.
    #[must_use]
    pub fn marker(self, path: &Path) -> Self {
        Self { marker: Some(path.to_owned()), ..self }
    }

    /// A journal in memory.
    #[must_use]
    pub fn memory(self) -> Arc<Journal> {
        let state = State::new(self.ceiling, self.counted);
        Arc::new(Journal::with(Redactor::with_rules(self.key, self.rules), state, None))
    }

    /// A journal in memory that also appends to a file. Exchanges that stand in the file already are taken up:
    /// numbers and attempts go on from them, and the last of them are kept. They are read one by one, so that memory
    /// holds what is kept and no more. A torn last line, as a killed process leaves it, is cut off.
    ///
    /// # Errors
    /// If the file cannot be read or written, or holds something that is no journal.
    pub fn file(self, path: &Path) -> Result<Arc<Journal>, JournalError> {
        let mut state = State::new(self.ceiling, self.counted);
        let (file, gap) = JournalFile::open(path, self.marker, |exchange| state.take_up(exchange))?;
        // What an earlier life had under way has its number for ever, also where that was not written.
        state.next_seq = state.next_seq.max(gap.up_to.saturating_add(1));
        state.unwritten_before = Lacking::of_somebody(gap);
        let redactor = Redactor::with_rules(self.key, self.rules).from_exchange(state.next_seq);
        Ok(Arc::new(Journal::with(redactor, state, Some(file))))
    }
}

impl Journal {
    /// How to make a journal other than usual. The seed keys the placeholders of redacted values.
    #[must_use]
    pub fn builder(seed: u64) -> Builder {
        let key = Sha256::new().chain_update(b"redaction").chain_update(seed.to_be_bytes()).finalize();
        Builder { key: key.into(), rules: Rules::default(), ceiling: KEPT_MOST, counted: COUNTED_MOST, marker: None }
    }

    /// A journal in memory, as usual; see [`Builder::memory`].
    #[must_use]
    pub fn memory(seed: u64) -> Arc<Self> {
        Self::builder(seed).memory()
    }

    /// A journal in memory that also appends to a file, as usual; see [`Builder::file`].
    ///
    /// # Errors
    /// If the file cannot be read or written, or holds something that is no journal.
    pub fn file(path: &Path, seed: u64) -> Result<Arc<Self>, JournalError> {
        Self::builder(seed).file(path)
    }

    fn with(redactor: Redactor, state: State, file: Option<JournalFile>) -> Self {
        Self {
            redactor: Arc::new(redactor),
            state: Mutex::new(state),
            file: file.map(Mutex::new),
            unwritable: AtomicU64::new(0),
            followed: Notify::new(),
        }
    }

    /// What removes secrets from everything that stands here.
    #[must_use]
    pub const fn redactor(&self) -> &Arc<Redactor> {
        &self.redactor
    }

    /// The exchanges kept in memory, in order of arrival, as values of one's own; see [`kept`](Self::kept).
    #[must_use]
    pub fn exchanges(&self) -> Vec<Exchange> {
        self.exchanges_of(&Whose::Everybody)
    }

    /// The same of one account.
    #[must_use]
    pub fn exchanges_of(&self, whose: &Whose) -> Vec<Exchange> {
        self.kept(whose).exchanges.into_iter().map(Arc::unwrap_or_clone).collect()
    }

    /// What is kept in memory, and what is not any more, at one moment.
    #[must_use]
    pub fn kept(&self, whose: &Whose) -> Kept {
        let (mut kept, slots, lacking) = {
            let state = self.state();
            let over = state.shelves.of_whom(whose).flat_map(|(_, shelf)| shelf.after(0));
            let kept: Vec<_> = over.map(|over| Arc::clone(&over.packed)).collect();
            (kept, state.slots(), state.lacking(whose))
        };
        let shown = slots.iter().filter_map(|slot| slot.shown());
        kept.extend(shown.filter(|packed| whose.is(packed.account.as_deref())));
        kept.sort_by_key(|packed| packed.seq);
        Kept { exchanges: kept.iter().map(|packed| Arc::new(packed.exchange())).collect(), lacking }
    }

    /// Has this account any exchange, one that is under way or was evicted included?
    #[must_use]
    pub fn knows(&self, account: &str) -> bool {
        self.state().shelves.has(account)
    }

    /// How many exchanges are missing: dropped from memory to keep it bounded, or never written to the file that was
    /// taken up, by a process that was killed. What is judged without them is inconclusive.
    #[must_use]
    pub fn evicted(&self) -> u64 {
        self.evicted_of(&Whose::Everybody)
    }

    /// The same of one account.
    #[must_use]
    pub fn evicted_of(&self, whose: &Whose) -> u64 {
        self.state().lacking(whose).evicted()
    }

    /// The highest number of an exchange that is over, or whose reply is handed over, kept or not; 0 before the first.
    #[must_use]
    pub fn last_seq(&self) -> u64 {
        let (last, slots) = {
            let state = self.state();
            (state.last_seq, state.slots())
        };
        slots.iter().filter_map(|slot| slot.shown()).map(|packed| packed.seq).fold(last, u64::max)
    }

    /// The highest number of an exchange that has begun, over or not; 0 before the first.
    #[must_use]
    pub fn last_begun(&self) -> u64 {
        self.state().next_seq - 1
    }

    /// What was counted as exchanges ended, by account; none is that of requests without a known one.
    #[must_use]
    pub fn tallies(&self) -> BTreeMap<Option<String>, Tally> {
        let state = self.state();
        let all = state.shelves.of_whom(&Whose::Everybody);
        all.map(|(account, shelf)| (account.map(str::to_owned), shelf.tally().clone())).collect()
    }

    /// Forgets exchanges, attempts, what was evicted and what was counted, as when an account is reset or removed.
    /// Exchanges that are under way are ended first, as closed by this server. Numbers go on, and so does the file.
    ///
    /// An exchange that begins meanwhile is kept.
    pub fn reset(&self, whose: &Whose) {
        let under_way = self.under_way().into_iter();
        close(under_way.filter(|open| whose.is(open.subject().account.as_deref())));
        let taken = {
            let mut state = self.state();
            let taken = state.shelves.take(whose);
            state.forget_dropped(whose);
            if *whose == Whose::Everybody {
                state.unwritten_before = Lacking::nothing();
            }
            taken.iter().flat_map(|shelf| shelf.after(0)).for_each(|over| state.followers.dropped(over));
            taken
        };
        self.followed.notify_waiters();
        // Beside the lock, for it may be long.
        drop(taken);
    }

    /// Reads along: each exchange when it is over, in the order in which they end.
    ///
    /// The follower ends when the server stops. To wait for something in a test, read until it comes.
    #[must_use]
    pub fn follow(self: &Arc<Self>, whose: Whose, since: Since) -> Follower {
        let mut state = self.state();
        let taken_to = match since {
            Since::Beginning => 0,
            Since::Now => state.ends,
        };
        let until = state.stopped.then_some(state.ends);
        Follower::new(Arc::clone(self), state.followers.follow(whose, taken_to, until))
    }

    fn look(&self, follower: u64) -> Look {
        let State { followers, shelves, .. } = &mut *self.state();
        followers.look(follower, shelves)
    }

    fn forget(&self, follower: u64) {
        self.state().followers.forget(follower);
    }

    /// Waits until every reply that is handed over by now is known to be out, or to be lost.
    pub(crate) async fn settled(&self) {
        let handed_over: Vec<_> = self.under_way().into_iter().filter(|open| open.is_handed_over()).collect();
        for open in handed_over {
            open.over().await;
        }
    }

    /// A server begins, or begins again.
    pub(crate) fn begin(&self) {
        self.state().stopped = false;
    }

    /// Ends every exchange that is under way: the server stops.
    pub(crate) fn stop(&self) {
        close(self.under_way());
        {
            let mut state = self.state();
            state.stopped = true;
            let ends = state.ends;
            state.followers.stop(ends);
        }
        self.followed.notify_waiters();
    }

    /// Whoever writes down what passes over this line.
    pub(crate) fn writer(self: &Arc<Self>, line: Arc<LineHandle>) -> Arc<Writer> {
        Writer::new(Arc::clone(self), line)
    }

    /// Begins an exchange. Whoever gives an account up says so first, and resets its journal then: so it is asked for
    /// under the lock, and nothing begins behind that.
    fn open(
        &self,
        writer: &Arc<Writer>,
        head: &Head,
        subject: Subject,
        start: jiff::Timestamp,
        is_known: impl FnOnce() -> bool,
    ) -> Arc<Open> {
        // Whatever can be done without the lock is done before it.
        let packed = Packed::new(head, &subject, start, &self.redactor);
        let key = packed.key();
        let mut open = Arc::new(Open::new(Arc::clone(writer), subject, packed));
        let own = Arc::get_mut(&mut open).expect("nobody else has it yet");
        let mut state = self.state();
        if own.subject().account.is_some() && !is_known() {
            own.disown();
        }
        let seq = state.next_seq;
        state.next_seq += 1;
        let attempt = state.shelves.attempts(own.subject().account.as_deref(), key, |count| *count += 1);
        own.number(seq, attempt);
        let (account, slot) = (own.subject().account.clone(), Arc::clone(own.slot()));
        let under_way = UnderWay { slot, open: Arc::downgrade(&open), account, forgotten: false };
        state.under_way.insert(seq, under_way);
        drop(state);
        open
    }

    /// The exchanges under way. All others are over, and their lines written.
    pub(crate) fn under_way(&self) -> Vec<Arc<Open>> {
        let under_way = self.state().under_way.values().filter_map(|under_way| under_way.open.upgrade()).collect();
        self.write();
        under_way
    }

    /// Puts an exchange on its shelf. Its line waits to be [written](Self::write).
    fn close(&self, packed: Arc<Packed>) {
        let line = self.file.as_ref().and_then(|_| line(&packed.exchange()));
        let counted = Counted::of(&packed);
        let (dropped, is_followed) = {
            let mut state = self.state();
            let forgotten = state.under_way.remove(&packed.seq).is_some_and(|under_way| under_way.forgotten);
            state.unwritten.extend(line);
            if forgotten {
                return;
            }
            state.shelves.tally(packed.account.as_deref()).count(counted, &packed);
            (state.keep(packed), !state.followers.is_empty())
        };
        if is_followed {
            self.followed.notify_waiters();
        }
        // Beside the lock: memory is given back here.
        drop(dropped);
    }

    /// How many exchanges the file lacks because they could not be written, as on a full disk.
    #[must_use]
    pub fn unwritable(&self) -> u64 {
        self.unwritable.load(Ordering::Relaxed)
    }

    /// Writes the lines of all exchanges that are over. Readers in memory need not wait for it.
    fn write(&self) {
        let Some(file) = &self.file else { return };
        let mut file = file.lock().unwrap_or_else(PoisonError::into_inner);
        // Under the file's lock, so that lines stand in it in the order in which they were taken.
        let lines = std::mem::take(&mut self.state().unwritten);
        for Line { seq, text } in lines {
            if let Err(error) = file.append(&text) {
                self.unwritable.fetch_add(1, Ordering::Relaxed);
                tracing::error!(%error, seq, "the journal's file lacks an exchange: it could not be written");
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn new(ceiling: usize, counted: usize) -> Self {
        Self {
            next_seq: 1,
            ends: 0,
            last_seq: 0,
            shelves: Shelves::new(ceiling, counted),
            unwritten_before: Lacking::nothing(),
            under_way: BTreeMap::new(),
            followers: Followers::default(),
            stopped: false,
            unwritten: Vec::new(),
        }
    }

    /// Takes up an exchange of an earlier life.
    fn take_up(&mut self, exchange: Exchange) {
        let packed = Packed::of(exchange);
        self.next_seq = self.next_seq.max(packed.seq.saturating_add(1));
        self.shelves.attempts(packed.account.as_deref(), packed.key(), |count| *count = packed.attempt.max(*count));
        self.keep(Arc::new(packed));
    }

    /// What is missing of these. Whose it was that an earlier life never wrote, nobody knows.
    fn lacking(&self, whose: &Whose) -> Lacking {
        let mut lacking = self.unwritten_before.clone();
        for (account, shelf) in self.shelves.of_whom(whose) {
            lacking.of_account(account.map(str::to_owned), shelf.gap());
        }
        lacking
    }

    /// Has those forgotten that are dropped at this moment: nobody can end them any more before their shelf is taken.
    fn forget_dropped(&mut self, whose: &Whose) {
        for under_way in self.under_way.values_mut().filter(|under_way| under_way.open.strong_count() == 0) {
            under_way.forgotten |= whose.is(under_way.account.as_deref());
        }
    }

    /// What may be seen of exchanges that are under way. To be looked into beside the lock: an exchange that ends holds
    /// its slot while it asks for the journal.
    fn slots(&self) -> Vec<Arc<Slot>> {
        self.under_way.values().map(|under_way| Arc::clone(&under_way.slot)).collect()
    }

    /// Puts an exchange on its shelf, and says what was dropped for it.
    fn keep(&mut self, packed: Arc<Packed>) -> Vec<Over> {
        self.ends += 1;
        self.last_seq = self.last_seq.max(packed.seq);
        let dropped = self.shelves.keep(Over { end: self.ends, packed });
        dropped.iter().for_each(|over| self.followers.dropped(over));
        dropped
    }
}

fn line(exchange: &Exchange) -> Option<Line> {
    match exchange.to_line() {
        Ok(mut text) => {
            seal(&mut text);
            Some(Line { seq: exchange.seq, text: text + "\n" })
        }
        Err(error) => {
            tracing::error!(%error, seq = exchange.seq, "the journal's file lacks an exchange: it is no JSON");
            None
        }
    }
}

/// Cuts their connections, and ends them as closed by this server.
fn close(under_way: impl IntoIterator<Item = Arc<Open>>) {
    for open in under_way {
        // Held still while it ends: on another thread it may see that its connection is cut, and take its client for gone.
        open.line().freeze();
        open.end(End::Closed);
        open.line().close();
    }
}

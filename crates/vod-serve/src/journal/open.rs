//! An exchange that is under way.

use std::sync::{
    Arc, Mutex, MutexGuard, PoisonError,
    atomic::{AtomicBool, AtomicU64, Ordering},
};

use tokio::{sync::Notify, time::Instant};
use vod_proto::exchange::{End, FaultMark, Mark};

use super::{Journal, packed::Packed};
use crate::{
    ReplyOut, Subject,
    clock::{instant, micros_since},
    fault::{Phase, Strike},
    transport::{Delivery, LineHandle},
};

/// An exchange that is under way. It ends once; the first end counts.
pub(crate) struct Open {
    journal: Arc<Journal>,
    line: Arc<LineHandle>,
    subject: Subject,
    attempt: u32,
    started: Instant,
    /// Bytes of the body read so far.
    read: AtomicU64,
    slot: Arc<Slot>,
    /// It is over, and its line is written.
    written: AtomicBool,
    /// Somebody may wait for that.
    ended: Notify,
}

/// What the journal knows of an exchange that is under way.
pub(super) struct Slot {
    state: Mutex<State>,
}

struct State {
    packed: Arc<Packed>,
    stage: Stage,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    UnderWay,
    /// The whole reply was given to the transport.
    HandedOver,
    Over,
}

impl Slot {
    /// The exchange, if it can be seen: as replied as soon as the reply is handed over, until it turns out otherwise.
    pub(super) fn shown(&self) -> Option<Arc<Packed>> {
        let state = self.state();
        (state.stage != Stage::UnderWay).then(|| Arc::clone(&state.packed))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// It, to be changed: whoever has seen it keeps what was seen.
    fn packed(&mut self) -> &mut Packed {
        Arc::make_mut(&mut self.packed)
    }
}

impl std::fmt::Debug for Open {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Open({})", self.slot.state().packed.seq)
    }
}

impl Open {
    /// It gets its [`number`](Self::number) later, under the journal's lock.
    pub(super) fn new(journal: Arc<Journal>, line: Arc<LineHandle>, subject: Subject, packed: Packed) -> Self {
        let packed = Arc::new(packed);
        Self {
            journal,
            line,
            subject,
            attempt: 0,
            started: instant(),
            read: AtomicU64::new(0),
            slot: Arc::new(Slot { state: Mutex::new(State { packed, stage: Stage::UnderWay }) }),
            written: AtomicBool::new(false),
            ended: Notify::new(),
        }
    }

    pub(super) fn number(&mut self, seq: u64, attempt: u32) {
        self.attempt = attempt;
        let slot = Arc::get_mut(&mut self.slot).expect("nobody else has it yet");
        let state = slot.state.get_mut().unwrap_or_else(PoisonError::into_inner);
        let packed = state.packed();
        (packed.seq, packed.attempt) = (seq, attempt);
    }

    pub(super) const fn slot(&self) -> &Arc<Slot> {
        &self.slot
    }

    pub(crate) const fn subject(&self) -> &Subject {
        &self.subject
    }

    pub(crate) const fn attempt(&self) -> u32 {
        self.attempt
    }

    pub(crate) const fn line(&self) -> &Arc<LineHandle> {
        &self.line
    }

    /// So many bytes of the body have been read.
    pub(crate) fn body_progress(&self, read: u64) {
        if self.read.swap(read, Ordering::Relaxed) == 0 {
            self.change(|packed| packed.times.first_byte = Some(micros_since(self.started)));
        }
    }

    /// The body has been read to where it ended.
    pub(crate) fn body_done(&self, mark: Mark) {
        self.change(|packed| {
            packed.body = mark;
            packed.times.body_done = Some(micros_since(self.started));
        });
    }

    pub(crate) fn struck(&self, phase: Phase, strike: &Strike) {
        self.change(|packed| {
            packed.faults.push(FaultMark {
                id: strike.id.clone(),
                phase: phase.to_string(),
                verdict: strike.verdict.name().to_owned(),
                on_reply: strike.verdict.on_reply(),
                at_us: micros_since(self.started),
            });
        });
    }

    pub(crate) fn reply(&self, reply: &ReplyOut) {
        self.change(|packed| packed.reply(reply));
    }

    /// Notes something, unless it is over already: what is over does not change any more.
    fn change(&self, change: impl FnOnce(&mut Packed)) {
        let mut state = self.slot.state();
        if state.stage != Stage::Over {
            change(state.packed());
        }
    }

    /// The reply is about to be handed over: shows the exchange as replied, until it turns out otherwise.
    pub(crate) fn publish(&self) {
        let mut state = self.slot.state();
        if state.stage == Stage::UnderWay {
            state.stage = Stage::HandedOver;
            state.packed().times.reply_done = Some(micros_since(self.started));
        }
    }

    /// The client went away.
    pub(crate) fn client_gone(&self) {
        self.end(End::ClientGone { after: self.read.load(Ordering::Relaxed) });
    }

    /// Ends the exchange. Only the first end counts.
    ///
    /// When it returns, its line is in the file, whoever ended it.
    pub(crate) fn end(&self, end: End) {
        if self.written.load(Ordering::Acquire) {
            return;
        }
        {
            let mut state = self.slot.state();
            if state.stage != Stage::Over {
                state.stage = Stage::Over;
                let read = self.read.load(Ordering::Relaxed);
                let packed = state.packed();
                packed.body.len = packed.body.len.max(read);
                packed.end = end;
                // A client may act on a reply before its delivery is reported here: the time it was handed over stands.
                if end != End::Replied || packed.times.reply_done.is_none() {
                    packed.times.reply_done = Some(micros_since(self.started));
                }
                packed.seal();
                // Under the lock of the slot: whoever saw it as replied sees from now on what came of it.
                self.journal.close(&state.packed);
            }
        }
        self.journal.write();
        self.written.store(true, Ordering::Release);
        self.ended.notify_waiters();
    }

    /// Is its reply handed over, and not known yet to be out or lost?
    pub(crate) fn is_handed_over(&self) -> bool {
        self.slot.state().stage == Stage::HandedOver
    }

    /// Waits until it is over, and its line written.
    pub(crate) async fn over(&self) {
        let ended = self.ended.notified();
        tokio::pin!(ended);
        // Before the look, so that no end between look and wait is missed.
        ended.as_mut().enable();
        if !self.written.load(Ordering::Acquire) {
            ended.await;
        }
    }
}

impl Delivery for Open {
    fn delivered(&self) {
        self.end(End::Replied);
    }

    fn lost(&self) {
        self.client_gone();
    }

    fn given_up(&self) {
        self.end(End::Timeout);
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        // Whoever cuts a connection says so first: an exchange that just vanishes was left by its client.
        self.client_gone();
    }
}

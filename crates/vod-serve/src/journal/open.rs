//! An exchange that is under way.

use std::sync::{
    Arc, Mutex, MutexGuard, PoisonError,
    atomic::{AtomicBool, AtomicU64, Ordering},
};

use jiff::Timestamp;
use tokio::{sync::Notify, time::Instant};
use vod_proto::exchange::{End, FaultMark, Mark};

use super::{Journal, packed::Packed};
use crate::{
    Head, ReplyOut, Subject,
    clock::{instant, micros_since},
    fault::{Phase, Strike},
    message::text_of,
    transport::{Delivery, LineHandle},
};

/// Who writes down what passes over one connection.
pub(crate) struct Writer {
    journal: Arc<Journal>,
    line: Arc<LineHandle>,
}

impl Writer {
    pub(crate) fn new(journal: Arc<Journal>, line: Arc<LineHandle>) -> Arc<Self> {
        Arc::new(Self { journal, line })
    }

    pub(crate) const fn line(&self) -> &Arc<LineHandle> {
        &self.line
    }

    /// Begins an exchange: its account's, if that is still known.
    pub(crate) fn open(
        self: &Arc<Self>,
        head: &Head,
        subject: Subject,
        start: Timestamp,
        is_known: impl FnOnce() -> bool,
    ) -> Arc<Open> {
        self.journal.open(self, head, subject, start, is_known)
    }
}

/// An exchange that is under way. It ends once; the first end counts.
pub(crate) struct Open {
    writer: Arc<Writer>,
    subject: Subject,
    seq: u64,
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

pub(super) struct State {
    stage: Stage,
    /// What is known of it, until it is over.
    so_far: Option<Packed>,
}

enum Stage {
    UnderWay,
    /// The whole reply was given to the transport.
    HandedOver,
    Over(Arc<Packed>),
}

impl Slot {
    /// The exchange, if it can be seen: as replied as soon as the reply is handed over, until it turns out otherwise.
    pub(super) fn shown(&self) -> Option<Arc<Packed>> {
        let state = self.state();
        match &state.stage {
            Stage::UnderWay => None,
            Stage::HandedOver => state.so_far.clone().map(Arc::new),
            Stage::Over(packed) => Some(Arc::clone(packed)),
        }
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for Open {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Open({})", self.seq)
    }
}

impl Open {
    /// It gets its [`number`](Self::number) later, under the journal's lock.
    pub(super) fn new(writer: Arc<Writer>, subject: Subject, packed: Packed) -> Self {
        let state = State { stage: Stage::UnderWay, so_far: Some(packed) };
        Self {
            writer,
            subject,
            seq: 0,
            attempt: 0,
            started: instant(),
            read: AtomicU64::new(0),
            slot: Arc::new(Slot { state: Mutex::new(state) }),
            written: AtomicBool::new(false),
            ended: Notify::new(),
        }
    }

    pub(super) fn number(&mut self, seq: u64, attempt: u32) {
        (self.seq, self.attempt) = (seq, attempt);
        if let Some(packed) = self.packed() {
            (packed.seq, packed.attempt) = (seq, attempt);
        }
    }

    /// It is no account's.
    pub(super) fn disown(&mut self) {
        self.subject.account = None;
        if let Some(packed) = self.packed() {
            packed.account = None;
        }
    }

    fn packed(&mut self) -> Option<&mut Packed> {
        let slot = Arc::get_mut(&mut self.slot).expect("nobody else has it yet");
        slot.state.get_mut().unwrap_or_else(PoisonError::into_inner).so_far.as_mut()
    }

    #[cfg(test)]
    pub(super) const fn seq(&self) -> u64 {
        self.seq
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

    pub(crate) fn line(&self) -> &LineHandle {
        &self.writer.line
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
            packed.times.body_done.get_or_insert_with(|| micros_since(self.started));
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

    /// The answer has passed by, as far as it came.
    pub(crate) fn reply_mark(&self, mark: Mark, came: Option<u64>) {
        self.change(|packed| packed.reply_mark(mark, came));
    }

    /// The same of one that is text.
    pub(crate) fn reply_text(&self, text: &[u8]) {
        self.change(|packed| packed.reply_text(&text_of(text), self.writer.journal.redactor()));
    }

    pub(crate) fn reply(&self, reply: &ReplyOut) {
        self.change(|packed| packed.reply(reply, self.writer.journal.redactor()));
    }

    /// Notes something, unless it is over already: what is over does not change any more.
    fn change(&self, change: impl FnOnce(&mut Packed)) {
        if let Some(packed) = &mut self.slot.state().so_far {
            change(packed);
        }
    }

    /// The reply is about to be handed over: shows the exchange as replied, until it turns out otherwise.
    pub(crate) fn publish(&self) {
        let mut state = self.slot.state();
        if let State { stage: stage @ Stage::UnderWay, so_far: Some(packed) } = &mut *state {
            *stage = Stage::HandedOver;
            packed.times.reply_done = Some(micros_since(self.started));
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
            if let Some(mut packed) = state.so_far.take() {
                let read = self.read.load(Ordering::Relaxed);
                packed.body.len = packed.body.len.max(read);
                packed.end = end;
                // A client may act on a reply before its delivery is reported here: the time it was handed over stands.
                if end != End::Replied || packed.times.reply_done.is_none() {
                    packed.times.reply_done = Some(micros_since(self.started));
                }
                packed.seal();
                let packed = Arc::new(packed);
                state.stage = Stage::Over(Arc::clone(&packed));
                // Under the lock of the slot: whoever saw it as replied sees from now on what came of it.
                self.writer.journal.close(packed);
            }
        }
        self.writer.journal.write();
        self.written.store(true, Ordering::Release);
        self.ended.notify_waiters();
    }

    /// Is its reply handed over, and not known yet to be out or lost?
    pub(crate) fn is_handed_over(&self) -> bool {
        matches!(self.slot.state().stage, Stage::HandedOver)
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

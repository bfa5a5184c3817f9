//! An exchange that is under way.

use std::sync::{
    Arc, Mutex, MutexGuard, PoisonError,
    atomic::{AtomicBool, AtomicU64, Ordering},
};

use tokio::{sync::Notify, time::Instant};
use vod_proto::{
    Exchange,
    exchange::{End, FORMAT, FaultMark, Mark, ReplyRecord, RequestRecord, Times},
    redact::Redactor,
};

use super::Journal;
use crate::{
    Head, Subject,
    clock::{instant, micros_since},
    fault::{Phase, Strike},
    transport::{Delivery, LineHandle},
};

/// The headers that an exchange keeps: those by which known clients differ, and on which this protocol depends.
const HEADERS_THAT_MATTER: [&str; 9] = [
    "connection",
    "content-length",
    "content-type",
    "expect",
    "origin",
    "retry-after",
    "transfer-encoding",
    "user-agent",
    "authorization",
];

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
    /// Shared with nobody until it is over.
    exchange: Arc<Exchange>,
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
    pub(super) fn shown(&self) -> Option<Arc<Exchange>> {
        let state = self.state();
        match state.stage {
            Stage::UnderWay => None,
            // It may still change.
            Stage::HandedOver => Some(Arc::new(Exchange::clone(&state.exchange))),
            Stage::Over => Some(Arc::clone(&state.exchange)),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn exchange(&mut self) -> &mut Exchange {
        Arc::make_mut(&mut self.exchange)
    }
}

impl std::fmt::Debug for Open {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Open({})", self.slot.state().exchange.seq)
    }
}

/// The request as it is kept: redacted.
pub(super) fn record(head: &Head, redactor: &Redactor) -> RequestRecord {
    let headers = head
        .headers
        .iter()
        .filter(|(name, _)| HEADERS_THAT_MATTER.contains(&name.as_str()))
        .map(|(name, value)| {
            let value = String::from_utf8_lossy(value.as_bytes());
            (name.as_str().to_owned(), redactor.header(name.as_str(), &value))
        })
        .collect();
    RequestRecord {
        method: head.method.as_str().to_owned(),
        host: head.host().into_owned(),
        target: redactor.target_read(head.target(), &head.query),
        headers,
        body: Mark::default(),
        tls: head.secure,
    }
}

impl Open {
    /// It gets its [`number`](Self::number) later, under the journal's lock.
    pub(super) fn new(
        journal: Arc<Journal>,
        line: Arc<LineHandle>,
        subject: Subject,
        start: jiff::Timestamp,
        request: RequestRecord,
    ) -> Self {
        let exchange = Arc::new(Exchange {
            v: FORMAT,
            seq: 0,
            start,
            account: subject.account.clone(),
            action: subject.action.clone(),
            file_sha1: subject.file_sha1,
            part: subject.part,
            part_number: subject.part_number,
            attempt: 0,
            request,
            reply: None,
            end: End::Replied,
            faults: Vec::new(),
            times: Times::default(),
        });
        Self {
            journal,
            line,
            subject,
            attempt: 0,
            started: instant(),
            read: AtomicU64::new(0),
            slot: Arc::new(Slot { state: Mutex::new(State { exchange, stage: Stage::UnderWay }) }),
            written: AtomicBool::new(false),
            ended: Notify::new(),
        }
    }

    pub(super) fn number(&mut self, seq: u64, attempt: u32) {
        self.attempt = attempt;
        let slot = Arc::get_mut(&mut self.slot).expect("nobody else has it yet");
        let state = slot.state.get_mut().unwrap_or_else(PoisonError::into_inner);
        let exchange = state.exchange();
        (exchange.seq, exchange.attempt) = (seq, attempt);
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
            self.change(|exchange| exchange.times.first_byte = Some(micros_since(self.started)));
        }
    }

    /// The body has been read to where it ended.
    pub(crate) fn body_done(&self, mark: Mark) {
        self.change(|exchange| {
            exchange.request.body = mark;
            exchange.times.body_done = Some(micros_since(self.started));
        });
    }

    pub(crate) fn struck(&self, phase: Phase, strike: &Strike) {
        self.change(|exchange| {
            exchange.faults.push(FaultMark {
                id: strike.id.clone(),
                phase: phase.to_string(),
                verdict: strike.verdict.name().to_owned(),
                on_reply: strike.verdict.on_reply(),
                at_us: micros_since(self.started),
            });
        });
    }

    pub(crate) fn reply(&self, reply: ReplyRecord) {
        self.change(|exchange| exchange.reply = Some(reply));
    }

    /// Notes something, unless it is over already: what is over does not change any more.
    fn change(&self, change: impl FnOnce(&mut Exchange)) {
        let mut state = self.slot.state();
        if state.stage != Stage::Over {
            change(state.exchange());
        }
    }

    /// The reply is about to be handed over: shows the exchange as replied, until it turns out otherwise.
    pub(crate) fn publish(&self) {
        let mut state = self.slot.state();
        if state.stage == Stage::UnderWay {
            state.stage = Stage::HandedOver;
            state.exchange().times.reply_done = Some(micros_since(self.started));
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
                let exchange = state.exchange();
                exchange.request.body.len = exchange.request.body.len.max(read);
                exchange.end = end;
                // A client may act on a reply before its delivery is reported here: the time it was handed over stands.
                if end != End::Replied || exchange.times.reply_done.is_none() {
                    exchange.times.reply_done = Some(micros_since(self.started));
                }
                // Under the lock of the slot: whoever saw it as replied sees from now on what came of it.
                self.journal.close(&state.exchange);
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

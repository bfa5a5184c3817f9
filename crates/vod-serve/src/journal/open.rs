//! An exchange that is under way.

use std::sync::{
    Arc, Mutex, MutexGuard, PoisonError,
    atomic::{AtomicU64, Ordering},
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
    state: Mutex<State>,
    /// Somebody may wait for it to be over.
    ended: Notify,
}

struct State {
    exchange: Exchange,
    /// The whole reply was given to the transport.
    handed_over: bool,
    over: bool,
}

impl std::fmt::Debug for Open {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Open({})", self.state().exchange.seq)
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
        method: head.method.clone(),
        host: head.host.clone(),
        target: redactor.target(&head.target),
        headers,
        body: Mark::default(),
        tls: head.secure,
    }
}

impl Open {
    pub(super) fn new(
        journal: Arc<Journal>,
        line: Arc<LineHandle>,
        subject: Subject,
        seq: u64,
        attempt: u32,
        start: jiff::Timestamp,
        request: RequestRecord,
    ) -> Self {
        let exchange = Exchange {
            v: FORMAT,
            seq,
            start,
            account: subject.account.clone(),
            action: subject.action.clone(),
            file_sha1: subject.file_sha1,
            part: subject.part,
            attempt,
            request,
            reply: None,
            end: End::Replied,
            faults: Vec::new(),
            times: Times::default(),
        };
        let state = Mutex::new(State { exchange, handed_over: false, over: false });
        Self {
            journal,
            line,
            subject,
            attempt,
            started: instant(),
            read: AtomicU64::new(0),
            state,
            ended: Notify::new(),
        }
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
            self.state().exchange.times.first_byte = Some(micros_since(self.started));
        }
    }

    /// The body has been read to where it ended.
    pub(crate) fn body_done(&self, mark: Mark) {
        let mut state = self.state();
        state.exchange.request.body = mark;
        state.exchange.times.body_done = Some(micros_since(self.started));
    }

    pub(crate) fn struck(&self, phase: Phase, strike: &Strike) {
        self.state().exchange.faults.push(FaultMark {
            id: strike.id.clone(),
            phase: phase.to_string(),
            verdict: strike.verdict.name().to_owned(),
            on_reply: strike.verdict.on_reply(),
            at_us: micros_since(self.started),
        });
    }

    pub(crate) fn reply(&self, reply: ReplyRecord) {
        self.state().exchange.reply = Some(reply);
    }

    /// The reply is about to be handed over: shows the exchange as replied, until it turns out otherwise.
    pub(crate) fn publish(&self) {
        // Under the lock, so that an end that comes meanwhile is not overwritten by what was shown before it.
        let mut state = self.state();
        if !state.over {
            state.handed_over = true;
            state.exchange.times.reply_done = Some(micros_since(self.started));
            self.journal.show(state.exchange.clone());
        }
    }

    /// The client went away.
    pub(crate) fn client_gone(&self) {
        self.end(End::ClientGone { after: self.read.load(Ordering::Relaxed) });
    }

    /// Ends the exchange. Only the first end counts.
    pub(crate) fn end(&self, end: End) {
        let mut state = self.state();
        if state.over {
            return;
        }
        state.over = true;
        let read = self.read.load(Ordering::Relaxed);
        let exchange = &mut state.exchange;
        exchange.request.body.len = exchange.request.body.len.max(read);
        exchange.end = end;
        // A client may act on a reply before its delivery is reported here: the time it was handed over stands.
        if end != End::Replied || exchange.times.reply_done.is_none() {
            exchange.times.reply_done = Some(micros_since(self.started));
        }
        self.journal.close(exchange.clone());
        self.ended.notify_waiters();
    }

    /// Is its reply handed over, and not known yet to be out or lost?
    pub(crate) fn is_handed_over(&self) -> bool {
        let state = self.state();
        state.handed_over && !state.over
    }

    /// Waits until it is over.
    pub(crate) async fn over(&self) {
        let ended = self.ended.notified();
        tokio::pin!(ended);
        // Before the look, so that no end between look and wait is missed.
        ended.as_mut().enable();
        if !self.state().over {
            ended.await;
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
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

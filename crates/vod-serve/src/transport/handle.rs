//! The handle on a line, for everybody but who drives the connection.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU8, Ordering},
    },
    task::{Context, Poll, Waker},
};

use tokio::time::Instant;

use crate::{
    clock::instant,
    fault::{Rate, Throttle},
};

/// Someone who waits for a reply to be really written.
pub(crate) trait Delivery: std::fmt::Debug + Send + Sync {
    /// Everything handed over was flushed.
    fn delivered(&self);

    /// The connection ended before that.
    fn lost(&self);

    /// The peer takes nothing, and is waited for no longer.
    fn given_up(&self);
}

/// What may pass through a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    Open,
    /// Nothing passes, in either direction, until the line is cut.
    Frozen,
    Closed,
    Reset,
}

/// A [`Mode`] that may be read without a lock.
#[derive(Debug)]
struct AtomicMode(AtomicU8);

impl AtomicMode {
    const ALL: [Mode; 4] = [Mode::Open, Mode::Frozen, Mode::Closed, Mode::Reset];

    fn set(&self, mode: Mode) {
        self.0.store(mode as u8, Ordering::SeqCst);
    }

    fn get(&self) -> Mode {
        Self::ALL[usize::from(self.0.load(Ordering::SeqCst))]
    }
}

/// The handle on a line: cuts it, freezes it, and learns when something was really written.
#[derive(Debug)]
pub(crate) struct LineHandle {
    state: Mutex<LineState>,
    /// What may pass now: changed only with `state` held, and read for every piece that passes.
    mode: AtomicMode,
    /// Will somebody be woken when `mode` changes? Changed only with `state` held.
    heard: AtomicBool,
    /// Is there a throttle at all? Asked for every piece that passes, so not behind the lock.
    throttled: AtomicBool,
    /// Is a request under way, whose head has come?
    head_here: AtomicBool,
}

#[derive(Debug)]
struct LineState {
    /// Since when the head of the next request is awaited, or was that of the one that is under way.
    head_awaited: Instant,
    /// Who waits for something to pass, or for the line to be cut.
    passing: Vec<Waker>,
    /// Who waits for a flush. Kept apart: a connection that flushes must not wake itself by it, for ever.
    flushing: Vec<Waker>,
    /// Whose reply is handed over and not yet flushed.
    awaiting: Option<Arc<dyn Delivery>>,
    /// How often everything written so far was flushed.
    flushes: u64,
    /// How fast bytes pass, until what is handed over is flushed.
    throttle: Throttle,
}

impl LineHandle {
    pub(super) fn new() -> Self {
        let state = LineState {
            head_awaited: instant(),
            passing: Vec::new(),
            flushing: Vec::new(),
            awaiting: None,
            flushes: 0,
            throttle: Throttle::default(),
        };
        Self {
            state: Mutex::new(state),
            mode: AtomicMode(AtomicU8::new(Mode::Open as u8)),
            heard: AtomicBool::new(false),
            throttled: AtomicBool::new(false),
            head_here: AtomicBool::new(false),
        }
    }

    fn state(&self) -> MutexGuard<'_, LineState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set(&self, mode: Mode) {
        let wakers = {
            let mut state = self.state();
            self.mode.set(mode);
            self.heard.store(false, Ordering::SeqCst);
            std::mem::take(&mut state.passing)
        };
        wakers.into_iter().for_each(Waker::wake);
    }

    pub(super) fn mode(&self) -> Mode {
        self.mode.get()
    }

    /// Will somebody be woken when the mode changes?
    pub(super) fn is_heard(&self) -> bool {
        self.heard.load(Ordering::SeqCst)
    }

    /// Wakes this one when the mode changes.
    pub(super) fn hear(&self, cx: &Context<'_>) {
        let mut state = self.state();
        wait(&mut state.passing, cx);
        self.heard.store(true, Ordering::SeqCst);
    }

    /// Everything written so far is out: whoever waits for that is told.
    pub(super) fn flushed(&self) {
        let (delivery, wakers) = {
            let mut state = self.state();
            state.flushes += 1;
            if state.awaiting.is_some() {
                // The exchange is over for the line: what comes next is another request.
                state.head_awaited = instant();
                self.head_here.store(false, Ordering::Release);
                state.throttle = Throttle::default();
                self.throttled.store(false, Ordering::Relaxed);
            }
            (state.awaiting.take(), std::mem::take(&mut state.flushing))
        };
        if let Some(delivery) = delivery {
            delivery.delivered();
        }
        wakers.into_iter().for_each(Waker::wake);
    }

    /// Who waits for a reply that is handed over and not yet flushed.
    pub(super) fn take_awaiting(&self) -> Option<Arc<dyn Delivery>> {
        self.state().awaiting.take()
    }

    /// The head of a request has come.
    pub(crate) fn head_came(&self) {
        self.head_here.store(true, Ordering::Release);
    }

    /// Since when the head of a request is awaited; none while a request is under way.
    pub(crate) fn head_awaited(&self) -> Option<Instant> {
        // In this order: what is awaited anew is so since a moment that was noted before.
        let here = self.head_here.load(Ordering::Acquire);
        let awaited = self.state().head_awaited;
        (!here).then_some(awaited)
    }

    /// From now on nothing passes.
    pub(crate) fn freeze(&self) {
        self.set(Mode::Frozen);
    }

    /// Undoes [`freeze`](Self::freeze).
    pub(crate) fn thaw(&self) {
        self.set(Mode::Open);
    }

    /// From now on bytes pass no faster, to the end of the exchange.
    pub(crate) fn throttle(&self, throttle: Throttle) {
        self.throttled.store(true, Ordering::Relaxed);
        let mut state = self.state();
        state.throttle =
            Throttle { read: throttle.read.or(state.throttle.read), write: throttle.write.or(state.throttle.write) };
    }

    pub(super) fn throttling(&self) -> Throttle {
        if self.throttled.load(Ordering::Relaxed) { self.state().throttle } else { Throttle::default() }
    }

    /// How fast a fault lets a request be taken in.
    pub(crate) fn reads_at(&self) -> Option<Rate> {
        self.throttling().read
    }

    /// Ends the connection in an orderly way.
    pub(crate) fn close(&self) {
        self.set(Mode::Closed);
    }

    /// Ends the connection with a reset.
    pub(crate) fn reset(&self) {
        self.set(Mode::Reset);
    }

    /// Tells once everything handed over so far was flushed, or the connection ended before.
    pub(crate) fn tell_when_flushed(&self, delivery: Arc<dyn Delivery>) {
        self.state().awaiting = Some(delivery);
    }

    /// How often this line was flushed; see [`poll_flushed_since`](Self::poll_flushed_since).
    pub(crate) fn flushes(&self) -> u64 {
        self.state().flushes
    }

    /// Ready once there was a flush after the count `seen`.
    pub(crate) fn poll_flushed_since(&self, seen: u64, cx: &Context<'_>) -> Poll<()> {
        let mut state = self.state();
        if state.flushes > seen {
            return Poll::Ready(());
        }
        wait(&mut state.flushing, cx);
        Poll::Pending
    }
}

fn wait(wakers: &mut Vec<Waker>, cx: &Context<'_>) {
    if !wakers.iter().any(|waker| waker.will_wake(cx.waker())) {
        wakers.push(cx.waker().clone());
    }
}

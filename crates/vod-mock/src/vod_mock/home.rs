//! Where a mock in a test lives: on a thread and runtime of its own, or in the runtime of its test.

use std::{
    io,
    pin::pin,
    sync::{Arc, Mutex, PoisonError, mpsc},
    task::{Context, Poll, Wake, Waker},
    thread::{self, Thread, ThreadId},
    time::Duration,
};

use tokio::{
    runtime::{Builder, Handle},
    sync::oneshot,
};
use vod_serve::clock::is_paused;

/// How long whoever drops a mock waits for its thread to end. Default 5 s: it takes microseconds, unless a closure that
/// was planted as a fault does not return.
const ENDS_WITHIN: Duration = Duration::from_secs(5);

/// The runtime that a mock's server runs in.
#[derive(Clone, Debug)]
pub(super) struct Home(Handle);

/// The thread that is a mock's own. It ends when this is dropped, and everything that runs on it.
#[derive(Debug)]
pub(super) struct OwnThread {
    id: ThreadId,
    stop: Option<oneshot::Sender<()>>,
    /// Within a lock for the sake of sharing alone: a mock may stand in a static.
    ended: Mutex<mpsc::Receiver<()>>,
}

impl Home {
    /// A thread of its own.
    pub(super) fn own() -> io::Result<(Self, OwnThread)> {
        OwnThread::start().map(|(handle, thread)| (Self(handle), thread))
    }

    /// A thread of its own, so that a test may block, and so that the mock outlives the runtime of the test that
    /// started it; or the runtime of a test whose clock is paused, since a pause is one runtime's alone.
    pub(super) fn found() -> io::Result<(Self, Option<OwnThread>)> {
        if is_paused() {
            return Ok((Self(Handle::current()), None));
        }
        Self::own().map(|(home, thread)| (home, Some(thread)))
    }

    /// Has something done here, whatever runtime it is waited for in.
    pub(super) async fn run<T: Send + 'static>(&self, work: impl Future<Output = T> + Send + 'static) -> T {
        match self.0.spawn(work).await {
            Ok(done) => done,
            Err(failed) if failed.is_panic() => std::panic::resume_unwind(failed.into_panic()),
            Err(_) => panic!("the mock is gone: it was dropped before what was asked of it was done"),
        }
    }

    /// Lets something go on here that nobody waits for.
    pub(super) fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) -> tokio::task::JoinHandle<()> {
        self.0.spawn(work)
    }

    /// Does something by the clock of this place.
    pub(super) fn enter<T>(&self, work: impl FnOnce() -> T) -> T {
        let _here = self.0.enter();
        work()
    }
}

/// Blocks the thread until this is done, which is waited for elsewhere. Unlike a runtime's own way, it may be called
/// within a runtime.
pub(crate) fn block_on<T>(work: impl Future<Output = T>) -> T {
    struct Unpark(Thread);

    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }

    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut work = pin!(work);
    loop {
        match work.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(done) => return done,
            Poll::Pending => thread::park(),
        }
    }
}

impl OwnThread {
    fn start() -> io::Result<(Handle, Self)> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let handle = runtime.handle().clone();
        let (stop, stopped) = oneshot::channel();
        let (end, ended) = mpsc::channel();
        let thread = thread::Builder::new().name("vod-mock".to_owned()).spawn(move || {
            // An error says that whoever could stop it is gone, which is a reason to stop.
            let _ = runtime.block_on(stopped);
            // Files that are being written are not waited for: nobody will look at them any more.
            runtime.shutdown_background();
            drop(end);
        })?;
        Ok((handle, Self { id: thread.thread().id(), stop: Some(stop), ended: Mutex::new(ended) }))
    }
}

impl Drop for OwnThread {
    fn drop(&mut self) {
        // Dropping the sender is the word.
        drop(self.stop.take());
        // A mock may be dropped by a task of its own.
        let elsewhere = thread::current().id() != self.id;
        let ended = self.ended.get_mut().unwrap_or_else(PoisonError::into_inner);
        if elsewhere && ended.recv_timeout(ENDS_WITHIN) == Err(mpsc::RecvTimeoutError::Timeout) {
            tracing::warn!("the thread of a mock does not end: does a closure that was planted as a fault wait?");
        }
    }
}

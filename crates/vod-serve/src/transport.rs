//! What a connection must be able to do, and the line that is drawn through it so that it can be cut.
//!
//! Servers are generic over [`Transport`]: a TCP socket, the in-memory pipe of a simulation, and TLS over either.

use std::{
    future::Future,
    io,
    net::SocketAddr,
    pin::Pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU8, Ordering},
    },
    task::{Context, Poll, Waker, ready},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpSocket, TcpStream, ToSocketAddrs},
    time::{Instant, Sleep},
};

use crate::{
    clock::instant,
    fault::{Rate, Throttle},
};

/// A connection.
pub trait Transport: AsyncRead + AsyncWrite + Unpin + Send + 'static {
    /// Makes the coming drop a reset for the peer, where it would otherwise be an orderly close.
    fn reset_on_drop(&mut self);

    /// Tells the peer that nothing more comes, so that the coming drop is an orderly close for it also where bytes of
    /// its own lie here unread, which make the bare drop of a socket a reset. Default nothing.
    fn hang_up(&mut self) {}

    /// Is it encrypted, so that the client calls it https? Default no.
    fn is_secure(&self) -> bool {
        false
    }
}

/// Something that connections come from.
pub trait Listener: Send + 'static {
    /// What a connection is.
    type Io: Transport;

    /// Waits for the next connection. Must be safe to drop at any time.
    fn accept(&mut self) -> impl Future<Output = io::Result<Self::Io>> + Send;

    /// Refuses every connection from now on, also those that wait to be accepted.
    ///
    /// # Errors
    /// If that cannot be done; then connections go on to come.
    fn shut(&mut self) -> io::Result<()>;

    /// Takes connections again.
    ///
    /// # Errors
    /// If that cannot be done; then they are refused still.
    fn open(&mut self) -> io::Result<()>;
}

impl Transport for TcpStream {
    fn reset_on_drop(&mut self) {
        // Without lingering, closing the socket sends RST. A socket that is gone already needs none.
        let _ = socket2::SockRef::from(&*self).set_linger(Some(Duration::ZERO));
    }

    fn hang_up(&mut self) {
        // Without waiting for anybody, this sends FIN. A socket that is gone already needs none.
        let _ = socket2::SockRef::from(&*self).shutdown(std::net::Shutdown::Write);
    }
}

/// A TCP port that is listened at, and can be shut for a while without being lost.
#[derive(Debug)]
pub struct Port {
    addr: SocketAddr,
    ear: Ear,
}

#[derive(Debug)]
enum Ear {
    Open(TcpListener),
    /// Bound and not listening: nobody else can have the port, and whoever connects is refused.
    Shut(TcpSocket),
    /// Neither: the last attempt failed.
    Lost,
}

impl Port {
    /// Listens at an address; port 0 picks a free one.
    ///
    /// # Errors
    /// If it cannot be listened at.
    pub async fn bind(addr: impl ToSocketAddrs) -> io::Result<Self> {
        TcpListener::bind(addr).await?.try_into()
    }

    /// Where it listens.
    #[must_use]
    pub const fn addr(&self) -> SocketAddr {
        self.addr
    }
}

impl TryFrom<TcpListener> for Port {
    type Error = io::Error;

    fn try_from(listener: TcpListener) -> io::Result<Self> {
        Ok(Self { addr: listener.local_addr()?, ear: Ear::Open(listener) })
    }
}

/// How many connections may wait to be accepted. Default 1024, as the runtime's own listeners have it.
const BACKLOG: u32 = 1024;

impl Listener for Port {
    type Io = TcpStream;

    async fn accept(&mut self) -> io::Result<TcpStream> {
        let Ear::Open(listener) = &self.ear else { return std::future::pending().await };
        let (stream, _) = listener.accept().await?;
        // Replies are small and awaited: they must not wait for more to come.
        stream.set_nodelay(true)?;
        Ok(stream)
    }

    fn shut(&mut self) -> io::Result<()> {
        if let Ear::Shut(_) = self.ear {
            return Ok(());
        }
        self.ear = Ear::Lost;
        let socket = || if self.addr.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() };
        // Whoever else asks for the port has it too, where both reuse addresses and neither listens: so this one does
        // not, or no longer once it is bound, beside connections that are still open.
        let mut bound = socket()?;
        if bound.bind(self.addr).is_err() {
            bound = socket()?;
            bound.set_reuseaddr(true)?;
            bound.bind(self.addr)?;
            bound.set_reuseaddr(false)?;
        }
        self.ear = Ear::Shut(bound);
        Ok(())
    }

    fn open(&mut self) -> io::Result<()> {
        if let Ear::Lost = self.ear {
            self.shut()?;
        }
        if let Ear::Shut(socket) = std::mem::replace(&mut self.ear, Ear::Lost) {
            socket.set_reuseaddr(true)?;
            self.ear = Ear::Open(socket.listen(BACKLOG)?);
        }
        Ok(())
    }
}

/// The pace of what is throttled: small pieces, and after each the time that it should have taken.
#[derive(Default)]
pub(crate) struct Pace {
    until: Option<Pin<Box<Sleep>>>,
}

/// How many pieces pass in a second. Default 20: often enough to look even, and few enough to cost nothing.
const PIECES_A_SECOND: u64 = 20;

impl Pace {
    /// How many bytes may pass now, at least one.
    pub(crate) fn poll_allowed(&mut self, rate: Rate, cx: &mut Context<'_>) -> Poll<usize> {
        if let Some(until) = &mut self.until {
            ready!(until.as_mut().poll(cx));
            self.until = None;
        }
        Poll::Ready(usize::try_from(rate.bytes().div_ceil(PIECES_A_SECOND)).unwrap_or(usize::MAX))
    }

    pub(crate) fn passed(&mut self, bytes: usize, rate: Rate) {
        let nanos = (bytes as u64).saturating_mul(1_000_000_000) / rate.bytes();
        self.until = Some(Box::pin(tokio::time::sleep(Duration::from_nanos(nanos))));
    }
}

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
enum Mode {
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

    fn throttling(&self) -> Throttle {
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

/// A transport with a handle on it.
pub(crate) struct Line<T: Transport> {
    transport: T,
    handle: Arc<LineHandle>,
    /// Who was the last to wait for a change of the mode.
    hears: Option<Waker>,
    reading: Pace,
    writing: Pace,
    /// Runs while the peer takes nothing of what there is to give out.
    deaf: Option<Pin<Box<Sleep>>>,
    /// How the peer has ended what it sends, to be told at the next turn.
    ending: Option<io::Result<()>>,
}

/// How long a peer may take nothing of a reply before it is given up. Default 60 s, as long as it may send nothing of
/// a body.
const DEAF: Duration = Duration::from_secs(60);

impl<T: Transport> Line<T> {
    pub(crate) fn new(transport: T) -> (Self, Arc<LineHandle>) {
        let state = LineState {
            head_awaited: instant(),
            passing: Vec::new(),
            flushing: Vec::new(),
            awaiting: None,
            flushes: 0,
            throttle: Throttle::default(),
        };
        let handle = Arc::new(LineHandle {
            state: Mutex::new(state),
            mode: AtomicMode(AtomicU8::new(Mode::Open as u8)),
            heard: AtomicBool::new(false),
            throttled: AtomicBool::new(false),
            head_here: AtomicBool::new(false),
        });
        let line = Self {
            transport,
            handle: Arc::clone(&handle),
            hears: None,
            reading: Pace::default(),
            writing: Pace::default(),
            deaf: None,
            ending: None,
        };
        (line, handle)
    }

    /// Watches what comes of giving something out: a peer that takes nothing for too long is given up.
    fn watch<R>(&mut self, given: Poll<io::Result<R>>, cx: &mut Context<'_>) -> Poll<io::Result<R>> {
        // A line that a fault has frozen waits for the fault, not for the peer.
        if given.is_ready() || self.handle.mode.get() != Mode::Open {
            self.deaf = None;
            return given;
        }
        ready!(self.deaf.get_or_insert_with(|| Box::pin(tokio::time::sleep(DEAF))).as_mut().poll(cx));
        let delivery = self.handle.state().awaiting.take();
        if let Some(delivery) = delivery {
            delivery.given_up();
        }
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }

    /// Lets an operation pass, stops it, or fails it, as the mode says.
    fn gate<R>(
        &mut self,
        cx: &mut Context<'_>,
        pass: impl FnOnce(Pin<&mut T>, &mut Context<'_>) -> Poll<io::Result<R>>,
    ) -> Poll<io::Result<R>> {
        self.hear(cx);
        match self.handle.mode.get() {
            Mode::Open => pass(Pin::new(&mut self.transport), cx),
            Mode::Frozen => Poll::Pending,
            Mode::Closed => Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into())),
            Mode::Reset => {
                self.transport.reset_on_drop();
                Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()))
            }
        }
    }

    /// Takes in what has come.
    ///
    /// That nothing more comes is told one turn later: whoever hears both at once, a whole request and its end, drops
    /// the request unseen, and nobody would know of it.
    fn take_in(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.ending.is_some() {
            ready!(self.gate(cx, |_, _| Poll::Ready(Ok(()))))?;
            return Poll::Ready(self.ending.take().unwrap_or(Ok(())));
        }
        let (before, mut over) = (buf.remaining(), false);
        let read = self.gate(cx, |transport, cx| {
            let read = transport.poll_read(cx, buf);
            over = read.is_ready() && before > 0 && buf.remaining() == before;
            read
        });
        match read {
            Poll::Ready(ending) if over => {
                self.ending = Some(ending);
                cx.waker().wake_by_ref();
                Poll::Pending
            }
            read => read,
        }
    }

    /// Has whoever drives the connection woken when the line is cut, frozen or thawed. It is nearly always the same one,
    /// who is waiting to hear already.
    fn hear(&mut self, cx: &Context<'_>) {
        let same = self.hears.as_ref().is_some_and(|waker| waker.will_wake(cx.waker()));
        if !same || !self.handle.heard.load(Ordering::SeqCst) {
            let mut state = self.handle.state();
            wait(&mut state.passing, cx);
            self.handle.heard.store(true, Ordering::SeqCst);
            self.hears = Some(cx.waker().clone());
        }
    }
}

impl<T: Transport> Drop for Line<T> {
    fn drop(&mut self) {
        let awaiting = {
            match self.handle.mode.get() {
                Mode::Reset => self.transport.reset_on_drop(),
                Mode::Closed => self.transport.hang_up(),
                Mode::Open | Mode::Frozen => {}
            }
            self.handle.state().awaiting.take()
        };
        if let Some(delivery) = awaiting {
            delivery.lost();
        }
    }
}

impl<T: Transport> AsyncRead for Line<T> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let Some(rate) = this.handle.throttling().read else {
            return this.take_in(cx, buf);
        };
        // A cut is heard at once, not when the next piece is due.
        ready!(this.gate(cx, |_, _| Poll::Ready(Ok(()))))?;
        let most = ready!(this.reading.poll_allowed(rate, cx)).min(buf.remaining());
        let mut piece = ReadBuf::new(buf.initialize_unfilled_to(most));
        ready!(this.take_in(cx, &mut piece))?;
        let read = piece.filled().len();
        buf.advance(read);
        this.reading.passed(read, rate);
        Poll::Ready(Ok(()))
    }
}

impl<T: Transport> AsyncWrite for Line<T> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let Some(rate) = this.handle.throttling().write else {
            let given = this.gate(cx, |transport, cx| transport.poll_write(cx, buf));
            return this.watch(given, cx);
        };
        ready!(this.gate(cx, |_, _| Poll::Ready(Ok(()))))?;
        let most = ready!(this.writing.poll_allowed(rate, cx)).min(buf.len());
        let given = this.gate(cx, |transport, cx| transport.poll_write(cx, &buf[..most]));
        let written = ready!(this.watch(given, cx))?;
        this.writing.passed(written, rate);
        Poll::Ready(Ok(written))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if self.handle.throttling().write.is_some() {
            let first = bufs.iter().find(|buf| !buf.is_empty()).map_or(&[][..], |buf| buf);
            return self.poll_write(cx, first);
        }
        let given = self.gate(cx, |transport, cx| transport.poll_write_vectored(cx, bufs));
        self.watch(given, cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.transport.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let given = self.gate(cx, AsyncWrite::poll_flush);
        let flushed = self.watch(given, cx);
        if let Poll::Ready(Ok(())) = flushed {
            // Hyper flushes only once its own buffer is handed over, so all of the reply is out now.
            let (delivery, wakers) = {
                let mut state = self.handle.state();
                state.flushes += 1;
                if state.awaiting.is_some() {
                    // The exchange is over for the line: what comes next is another request.
                    state.head_awaited = instant();
                    self.handle.head_here.store(false, Ordering::Release);
                    state.throttle = Throttle::default();
                    self.handle.throttled.store(false, Ordering::Relaxed);
                }
                (state.awaiting.take(), std::mem::take(&mut state.flushing))
            };
            if let Some(delivery) = delivery {
                delivery.delivered();
            }
            wakers.into_iter().for_each(Waker::wake);
        }
        flushed
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.gate(cx, AsyncWrite::poll_shutdown)
    }
}

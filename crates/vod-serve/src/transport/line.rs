//! The line that is drawn through a connection: everything passes it, as long as its handle lets it.

use std::{
    future::Future,
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Waker, ready},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::Sleep,
};

use super::{
    Pace, Transport,
    handle::{LineHandle, Mode},
};
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
        let handle = Arc::new(LineHandle::new());
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
        if given.is_ready() || self.handle.mode() != Mode::Open {
            self.deaf = None;
            return given;
        }
        ready!(self.deaf.get_or_insert_with(|| Box::pin(tokio::time::sleep(DEAF))).as_mut().poll(cx));
        let delivery = self.handle.take_awaiting();
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
        match self.handle.mode() {
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
        if !same || !self.handle.is_heard() {
            self.handle.hear(cx);
            self.hears = Some(cx.waker().clone());
        }
    }
}

impl<T: Transport> Drop for Line<T> {
    fn drop(&mut self) {
        let awaiting = {
            match self.handle.mode() {
                Mode::Reset => self.transport.reset_on_drop(),
                Mode::Closed => self.transport.hang_up(),
                Mode::Open | Mode::Frozen => {}
            }
            self.handle.take_awaiting()
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
            self.handle.flushed();
        }
        flushed
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.gate(cx, AsyncWrite::poll_shutdown)
    }
}

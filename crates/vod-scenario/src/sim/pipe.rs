//! A connection in memory that behaves like a TCP connection: bounded, closed in order, or reset.
//!
//! What was written before an end stays readable, and then the reader sees the end: nothing more, or a reset.
//! An end that is dropped with bytes unread resets the other, as a socket does, unless it hung up before.

use std::{
    collections::VecDeque,
    future::Future as _,
    io,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    task::{Context, Poll, Waker},
    time::Duration,
};

use bytes::{Buf as _, BytesMut};
use hyper_util::client::legacy::connect::{Connected, Connection};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Sleep, sleep},
};
use vod_serve::Transport;

/// How much may be on the way in one direction. Default 64 KiB: a part of 1 MiB never fits,
/// so that parts cross each other and a cut finds one half sent.
pub(super) const CAPACITY: usize = 64 << 10;

/// One direction.
#[derive(Debug, Default)]
struct Way {
    bytes: BytesMut,
    /// Of how many of them it is waited for that they come, in their order.
    coming: VecDeque<(Pin<Box<Sleep>>, usize)>,
    /// How the writing end left, if it did.
    left: Option<Left>,
    /// The reading end is gone: writing is an error.
    deaf: bool,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Left {
    Closed,
    Reset,
}

impl Way {
    /// How many bytes are there.
    fn poll_come(&mut self, cx: &mut Context<'_>) -> Poll<usize> {
        while let Some((time, _)) = self.coming.front_mut() {
            if time.as_mut().poll(cx).is_pending() {
                break;
            }
            self.coming.pop_front();
        }
        let under_way: usize = self.coming.iter().map(|(_, len)| len).sum();
        match self.bytes.len() - under_way {
            0 if under_way > 0 => Poll::Pending,
            come => Poll::Ready(come),
        }
    }

    fn wake(&mut self) {
        for waker in [self.reader.take(), self.writer.take()].into_iter().flatten() {
            waker.wake();
        }
    }
}

/// The end that a client connects to.
const SERVER: usize = 1;

/// Both directions and both ends: direction 0 is written by end 0 and read by end 1.
#[derive(Debug, Default)]
pub(super) struct Pipe {
    state: Mutex<State>,
    /// How long what a server writes is under way, if any time.
    latency: Option<Duration>,
}

#[derive(Debug, Default)]
struct State {
    ways: [Way; 2],
    /// An end that was cut off, although whoever holds it does not know yet.
    dead: [bool; 2],
}

impl Pipe {
    /// A connection, as the client's end and the server's.
    pub(super) fn connect(latency: Option<Duration>) -> (End, End) {
        let pipe = Arc::new(Self { latency, ..Self::default() });
        let end = |side| End { pipe: Arc::clone(&pipe), side, reset_on_drop: false };
        (end(0), end(1))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends what a side writes, behind what it wrote.
    fn hang_up(&self, side: usize) {
        let mut state = self.state();
        let way = &mut state.ways[side];
        way.left.get_or_insert(Left::Closed);
        way.wake();
    }

    /// Takes an end away from whoever holds it, as the death of a process does.
    fn leave(&self, side: usize, reset: bool) {
        let mut state = self.state();
        if std::mem::replace(&mut state.dead[side], true) {
            return;
        }
        let unread = !state.ways[1 - side].bytes.is_empty();
        let outgoing = &mut state.ways[side];
        if reset || (unread && outgoing.left.is_none()) {
            outgoing.left = Some(Left::Reset);
        } else {
            outgoing.left.get_or_insert(Left::Closed);
        }
        outgoing.wake();
        let incoming = &mut state.ways[1 - side];
        incoming.deaf = true;
        incoming.bytes.clear();
        incoming.coming.clear();
        incoming.wake();
    }
}

/// One end of a connection.
#[derive(Debug)]
pub(super) struct End {
    pipe: Arc<Pipe>,
    side: usize,
    reset_on_drop: bool,
}

/// A hold on an end that somebody else owns.
#[derive(Debug)]
pub(super) struct Hold {
    pipe: Weak<Pipe>,
    side: usize,
}

impl Hold {
    /// Takes the end away from its owner, if it is still there.
    pub(super) fn cut(&self) {
        if let Some(pipe) = self.pipe.upgrade() {
            pipe.leave(self.side, false);
        }
    }

    /// Is either end still held by anyone?
    pub(super) fn is_held(&self) -> bool {
        self.pipe.strong_count() > 0
    }

    /// Is this end still held, and not taken away?
    #[cfg(test)]
    pub(super) fn is_held_here(&self) -> bool {
        self.pipe.upgrade().is_some_and(|pipe| !pipe.state().dead[self.side])
    }
}

impl End {
    pub(super) fn hold(&self) -> Hold {
        Hold { pipe: Arc::downgrade(&self.pipe), side: self.side }
    }
}

impl Drop for End {
    fn drop(&mut self) {
        self.pipe.leave(self.side, self.reset_on_drop);
    }
}

impl Transport for End {
    fn reset_on_drop(&mut self) {
        self.reset_on_drop = true;
    }

    fn hang_up(&mut self) {
        self.pipe.hang_up(self.side);
    }
}

impl Connection for End {
    fn connected(&self) -> Connected {
        Connected::new()
    }
}

impl AsyncRead for End {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let mut state = self.pipe.state();
        if state.dead[self.side] {
            return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
        }
        let way = &mut state.ways[1 - self.side];
        let Poll::Ready(come) = way.poll_come(cx) else {
            // An end that is cut off meanwhile waits for nothing that comes.
            way.reader = Some(cx.waker().clone());
            return Poll::Pending;
        };
        if come > 0 {
            let len = come.min(buf.remaining());
            buf.put_slice(&way.bytes[..len]);
            way.bytes.advance(len);
            way.wake();
            return Poll::Ready(Ok(()));
        }
        match way.left {
            Some(Left::Closed) => Poll::Ready(Ok(())),
            Some(Left::Reset) => Poll::Ready(Err(io::ErrorKind::ConnectionReset.into())),
            None => {
                way.reader = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }
}

impl AsyncWrite for End {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let mut state = self.pipe.state();
        if state.dead[self.side] {
            return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
        }
        let reset = state.ways[1 - self.side].left == Some(Left::Reset);
        let way = &mut state.ways[self.side];
        if reset {
            return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        }
        if way.deaf || way.left.is_some() {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        let len = buf.len().min(CAPACITY - way.bytes.len());
        if len == 0 && !buf.is_empty() {
            way.writer = Some(cx.waker().clone());
            return Poll::Pending;
        }
        way.bytes.extend_from_slice(&buf[..len]);
        if let Some(latency) = self.pipe.latency.filter(|_| self.side == SERVER) {
            way.coming.push_back((Box::pin(sleep(latency)), len));
        }
        way.wake();
        Poll::Ready(Ok(len))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.pipe.hang_up(self.side);
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    async fn read(end: &mut End) -> Result<String, io::ErrorKind> {
        let mut text = String::new();
        end.read_to_string(&mut text).await.map(|_| text.clone()).map_err(|error| error.kind())
    }

    #[tokio::test]
    async fn a_dropped_end_is_a_clean_end_behind_what_was_written() {
        let (mut a, mut b) = Pipe::connect(None);
        a.write_all(b"hello").await.unwrap();
        drop(a);
        assert_eq!(read(&mut b).await, Ok("hello".to_owned()));
        assert_eq!(b.write_all(b"x").await.unwrap_err().kind(), io::ErrorKind::BrokenPipe);
    }

    #[tokio::test]
    async fn a_reset_comes_behind_what_was_written_and_stops_writing_at_once() {
        let (mut a, mut b) = Pipe::connect(None);
        a.write_all(b"hel").await.unwrap();
        a.reset_on_drop();
        drop(a);
        let mut bytes = [0; 3];
        b.read_exact(&mut bytes).await.unwrap();
        assert_eq!(&bytes, b"hel");
        assert_eq!(read(&mut b).await, Err(io::ErrorKind::ConnectionReset));
        assert_eq!(b.write_all(b"x").await.unwrap_err().kind(), io::ErrorKind::ConnectionReset);
    }

    #[tokio::test]
    async fn bytes_left_unread_make_a_drop_a_reset() {
        let (mut a, mut b) = Pipe::connect(None);
        b.write_all(b"a request").await.unwrap();
        drop(a.write_all(b"").await);
        drop(a);
        assert_eq!(read(&mut b).await, Err(io::ErrorKind::ConnectionReset));
    }

    #[tokio::test]
    async fn whoever_hangs_up_first_is_read_to_a_clean_end_whatever_was_left_unread() {
        let (mut a, mut b) = Pipe::connect(None);
        b.write_all(b"a request").await.unwrap();
        a.write_all(b"hel").await.unwrap();
        a.hang_up();
        drop(a);
        assert_eq!(read(&mut b).await, Ok("hel".to_owned()));
        assert_eq!(b.write_all(b"x").await.unwrap_err().kind(), io::ErrorKind::BrokenPipe);
    }

    #[tokio::test]
    async fn shutdown_ends_one_direction_only() {
        let (mut a, mut b) = Pipe::connect(None);
        a.shutdown().await.unwrap();
        assert_eq!(read(&mut b).await, Ok(String::new()));
        b.write_all(b"still").await.unwrap();
        drop(b);
        assert_eq!(read(&mut a).await, Ok("still".to_owned()));
    }

    #[tokio::test]
    async fn a_full_pipe_holds_the_writer_until_it_is_read_or_reset() {
        let (mut a, mut b) = Pipe::connect(None);
        let (sent, mut received) = (vec![7; 3 * CAPACITY], vec![0; 3 * CAPACITY]);
        let (wrote, read) = tokio::join!(a.write_all(&sent), b.read_exact(&mut received));
        wrote.unwrap();
        read.unwrap();
        assert_eq!(sent, received);

        let mut writing = std::pin::pin!(a.write_all(&sent));
        assert!(writing.as_mut().now_or_never().is_none());
        b.reset_on_drop();
        drop(b);
        assert_eq!(writing.await.unwrap_err().kind(), io::ErrorKind::ConnectionReset);
    }

    #[tokio::test]
    async fn a_cut_end_is_of_no_use_to_its_owner_and_closed_to_the_other() {
        let (mut a, mut b) = Pipe::connect(None);
        let hold = a.hold();
        let mut waiting = Box::pin(read(&mut b));
        assert!(waiting.as_mut().now_or_never().is_none());
        hold.cut();
        assert_eq!(waiting.await, Ok(String::new()));
        assert_eq!(read(&mut a).await, Err(io::ErrorKind::ConnectionAborted));
        assert_eq!(a.write_all(b"x").await.unwrap_err().kind(), io::ErrorKind::ConnectionAborted);
        assert!(hold.is_held());
        drop((a, b));
        assert!(!hold.is_held());
    }

    #[tokio::test(start_paused = true)]
    async fn what_a_server_writes_is_under_way_for_a_while_and_whoever_is_cut_off_meanwhile_hears_of_it() {
        let latency = Duration::from_millis(5);
        let (mut client, mut server) = Pipe::connect(Some(latency));
        server.write_all(b"hello").await.unwrap();
        let mut bytes = [0; 5];
        assert!(tokio::time::timeout(latency / 2, client.read_exact(&mut bytes)).await.is_err());
        client.read_exact(&mut bytes).await.unwrap();
        assert_eq!(&bytes, b"hello");
        client.write_all(b"at once").await.unwrap();
        assert_eq!(server.read(&mut [0; 9]).now_or_never().unwrap().unwrap(), 7);

        server.write_all(b"late").await.unwrap();
        let hold = client.hold();
        let reading = tokio::spawn(async move { client.read(&mut [0; 4]).await });
        tokio::task::yield_now().await;
        hold.cut();
        tokio::task::yield_now().await;
        assert!(reading.is_finished(), "it waits on");
        assert_eq!(reading.await.unwrap().unwrap_err().kind(), io::ErrorKind::ConnectionAborted);
    }
}

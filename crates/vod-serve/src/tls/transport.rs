//! A connection that shakes hands when it is first used.

use std::{
    future::Future as _,
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::Sleep,
};
use tokio_rustls::{
    Accept, TlsAcceptor,
    rustls::{self, AlertDescription},
    server::TlsStream,
};

use super::Leaf;
use crate::Transport;

/// How long a peer may take to shake hands, from the moment its connection was accepted.
/// Default 10 s: on a bad line it takes a second or two, and who waits on purpose need not be waited for.
pub const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// What a peer hears that did not begin with TLS but with HTTP.
const SPEAK_TLS: &str = "HTTP/1.1 400 Bad Request\r\ncontent-type: text/plain\r\ncontent-length: 38\r\n\
                         connection: close\r\n\r\nThis port speaks TLS: call it https.\r\n";

/// TLS over another transport.
///
/// How it ends tells a client what came of a reply.
/// In an orderly end the peer is told first (`close_notify`).
/// Where a fault cuts the connection it is not: a `close` is the bare end of the transport below, as when a server
/// dies, and a `reset` is a reset, so that a client sees a truncated stream and nothing that looks like an end.
pub struct TlsTransport<T: Transport>(State<T>);

enum State<T: Transport> {
    Shaking {
        hands: Accept<Listening<T>>,
        until: Pin<Box<Sleep>>,
        /// Counts handshakes that fail.
        failed: Arc<AtomicU64>,
    },
    Open(TlsStream<Listening<T>>),
    /// The handshake failed, and the transport is gone.
    Failed,
}

impl<T: Transport> TlsTransport<T> {
    /// Takes a connection that was just accepted. Nothing is read until it is first used. Call it within a runtime.
    pub fn new(transport: T, leaf: &Leaf) -> Self {
        let hands = TlsAcceptor::from(leaf.config()).accept(Listening { transport, heard: false });
        let until = Box::pin(tokio::time::sleep(HANDSHAKE_TIMEOUT));
        Self(State::Shaking { hands, until, failed: leaf.count() })
    }

    /// The transport below, if it is still there.
    fn below(&mut self) -> Option<&mut T> {
        let listening = match &mut self.0 {
            State::Shaking { hands, .. } => hands.get_mut(),
            State::Open(stream) => Some(stream.get_mut().0),
            State::Failed => None,
        };
        listening.map(|listening| &mut listening.transport)
    }

    /// Shakes hands first, if that is not done.
    fn poll_open(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Pin<&mut TlsStream<Listening<T>>>>> {
        if let State::Shaking { hands, until, failed } = &mut self.0 {
            let shaken = match Pin::new(hands).poll(cx) {
                Poll::Ready(shaken) => shaken,
                Poll::Pending => {
                    ready!(until.as_mut().poll(cx));
                    Err(io::ErrorKind::TimedOut.into())
                }
            };
            match shaken {
                Ok(stream) => self.0 = State::Open(stream),
                Err(error) => {
                    if report(&error) {
                        failed.fetch_add(1, Ordering::Relaxed);
                    }
                    self.0 = State::Failed;
                    return Poll::Ready(Err(error));
                }
            }
        }
        match &mut self.0 {
            State::Open(stream) => Poll::Ready(Ok(Pin::new(stream))),
            State::Shaking { .. } | State::Failed => Poll::Ready(Err(io::ErrorKind::NotConnected.into())),
        }
    }
}

/// Says why there is no connection, and whether that is more than a peer who is gone. Nobody else can: without a request
/// there is nothing for a journal.
fn report(error: &io::Error) -> bool {
    use AlertDescription as Alert;
    let cause = error.get_ref().and_then(|cause| cause.downcast_ref::<rustls::Error>());
    match cause {
        Some(rustls::Error::AlertReceived(
            alert @ (Alert::UnknownCA
            | Alert::BadCertificate
            | Alert::CertificateUnknown
            | Alert::CertificateExpired
            | Alert::UnsupportedCertificate),
        )) => tracing::warn!(
            ?alert,
            "a client does not trust this server: it must trust ca.pem, and ask for a host that the certificate names"
        ),
        None if !error.get_ref().is_some_and(<dyn std::error::Error + Send + Sync>::is::<PlainHttp>) => {
            // Gone, or too slow: whoever only looks whether a port is open does this too.
            tracing::debug!(%error, "a TLS handshake was not finished");
            return false;
        }
        _ => tracing::warn!(%error, "a TLS handshake failed"),
    }
    true
}

impl<T: Transport> Transport for TlsTransport<T> {
    fn reset_on_drop(&mut self) {
        if let Some(below) = self.below() {
            below.reset_on_drop();
        }
    }

    fn hang_up(&mut self) {
        if let Some(below) = self.below() {
            below.hang_up();
        }
    }

    fn is_secure(&self) -> bool {
        true
    }
}

impl<T: Transport> AsyncRead for TlsTransport<T> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_open(cx))?.poll_read(cx, buf)
    }
}

impl<T: Transport> AsyncWrite for TlsTransport<T> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        ready!(self.poll_open(cx))?.poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_open(cx))?.poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_open(cx))?.poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_open(cx))?.poll_shutdown(cx)
    }
}

/// The first that came was no TLS.
#[derive(Debug, thiserror::Error)]
#[error("plain HTTP was sent to a port that speaks TLS; call it https")]
struct PlainHttp;

/// A transport that listens whether its peer speaks TLS at all, and answers HTTP in words that its sender understands.
struct Listening<T> {
    transport: T,
    heard: bool,
}

impl<T: Transport> AsyncRead for Listening<T> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.transport).poll_read(cx, buf))?;
        if self.heard {
            return Poll::Ready(Ok(()));
        }
        let Some(first) = buf.filled().get(before) else { return Poll::Ready(Ok(())) };
        self.heard = true;
        // A method is written in letters; TLS begins with the byte 22.
        if first.is_ascii_alphabetic() {
            // So few bytes fit into any line that nothing was written to. If they do not, the log has the words.
            let _ = Pin::new(&mut self.transport).poll_write(cx, SPEAK_TLS.as_bytes());
            return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, PlainHttp)));
        }
        Poll::Ready(Ok(()))
    }
}

impl<T: Transport> AsyncWrite for Listening<T> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.transport).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.transport).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.transport.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.transport).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.transport).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests;

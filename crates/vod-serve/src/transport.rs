//! What a connection must be able to do, and the line that is drawn through it so that it can be cut.
//!
//! Servers are generic over [`Transport`]: a TCP socket, the in-memory pipe of a simulation, and TLS over either.
//!
//! - `port`: TCP, and a port that can be shut for a while.
//! - `line`, `handle`: what is drawn through a connection, and what cuts it; `pace`: how it is throttled.

mod handle;
mod line;
mod pace;
mod port;

use std::{future::Future, io};

use tokio::io::{AsyncRead, AsyncWrite};

pub use self::port::Port;
pub(crate) use self::{
    handle::{Delivery, LineHandle},
    line::Line,
    pace::Pace,
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

//! TLS for any listener: a CA of one's own, certificates for the hosts that clients believe in, and the handshake.
//!
//! - [`Ca`]: the certificate that clients trust, in memory or in a directory, where every start finds the same.
//! - [`Leaf`]: a certificate for some [`HostName`]s with its key, ready to serve; made anew at every start.
//! - [`Tls`]: whose certificate a server shows, and for which hosts.
//! - [`TlsListener`], [`TlsTransport`]: shake hands as a connection's own first act, so that nobody waits for another.
//!
//! Only HTTP/1.1 is offered (ALPN): on HTTP/2 a fault that resets a connection would strike the neighbours too.
//! Keys are kept in no type that can be printed, and leave memory only for the CA's own key file.

mod ca;
mod identity;
mod name;
mod transport;

use std::{io, path::PathBuf};

pub use ca::{CERTIFICATE_FILE, Ca, CaDescription, CaError, KEY_FILE, Leaf};
pub use identity::Tls;
pub use name::{HostName, NotAHost};
pub use transport::{HANDSHAKE_TIMEOUT, TlsTransport};

use crate::Listener;

/// A listener whose connections speak TLS.
pub struct TlsListener<L> {
    listener: L,
    leaf: Leaf,
}

impl<L: Listener> TlsListener<L> {
    /// Takes connections from `listener`, and shows them the certificate of `leaf`.
    pub const fn new(listener: L, leaf: Leaf) -> Self {
        Self { listener, leaf }
    }
}

impl<L: Listener> Listener for TlsListener<L> {
    type Io = TlsTransport<L::Io>;

    async fn accept(&mut self) -> io::Result<Self::Io> {
        Ok(TlsTransport::new(self.listener.accept().await?, &self.leaf))
    }

    fn shut(&mut self) -> io::Result<()> {
        self.listener.shut()
    }

    fn open(&mut self) -> io::Result<()> {
        self.listener.open()
    }
}

/// The directory of the CA that everything of this house on a machine shares unless told otherwise, so that it need be
/// trusted only once: `vod-testkit/ca` in `$XDG_DATA_HOME`, by default `~/.local/share`. None where there is no home.
#[must_use]
pub fn shared_dir() -> Option<PathBuf> {
    // A relative path there counts for none: so it is agreed among those who read this variable.
    let named = std::env::var_os("XDG_DATA_HOME").map(PathBuf::from).filter(|dir| dir.is_absolute());
    let data =
        named.or_else(|| std::env::home_dir().filter(|home| home.is_absolute()).map(|home| home.join(".local/share")));
    Some(data?.join("vod-testkit/ca"))
}

//! What came in that no exchange tells of: connections, and what was not HTTP on them. Handshakes that failed are
//! counted by the certificate that was shown, [`Leaf::failed`](crate::tls::Leaf::failed).

use std::sync::atomic::{AtomicU64, Ordering};

/// Counts that only grow, but for the connections that are open.
#[derive(Debug, Default)]
pub struct Traffic {
    connections: AtomicU64,
    open: AtomicU64,
    pub(crate) not_http: AtomicU64,
}

impl Traffic {
    /// How many connections were taken.
    #[must_use]
    pub fn connections(&self) -> u64 {
        self.connections.load(Ordering::Relaxed)
    }

    /// How many of them are open.
    #[must_use]
    pub fn open(&self) -> u64 {
        self.open.load(Ordering::Relaxed)
    }

    /// How many ended in something that is not HTTP. It has no head, and so no place in the journal.
    #[must_use]
    pub fn not_http(&self) -> u64 {
        self.not_http.load(Ordering::Relaxed)
    }

    /// Counts a connection, as open for as long as what is returned lives.
    pub(crate) fn connection(&self) -> Connection<'_> {
        self.connections.fetch_add(1, Ordering::Relaxed);
        self.open.fetch_add(1, Ordering::Relaxed);
        Connection(self)
    }
}

/// A connection that is open.
pub(crate) struct Connection<'a>(&'a Traffic);

impl Drop for Connection<'_> {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::Relaxed);
    }
}

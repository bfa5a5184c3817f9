//! How a server is reached: whom to trust, through which proxy, and with which headers beside the protocol's own.
//!
//! - `connection/trust.rs`: whose certificates are believed, over TLS.
//! - `connection/proxies.rs`: which proxy stands between us and a server, and for which servers none does.
//! - `connection/headers.rs`: what a caller adds to every request.
//!
//! All of it holds over any transport: `http/dial.rs` does it, on top of whatever opens the connections.

mod headers;
mod proxies;
mod trust;

pub use headers::Headers;
pub(crate) use headers::looks_secret;
pub use proxies::Proxies;
pub(crate) use proxies::{Proxy, port_can_be_read, shown};
pub use trust::Trust;

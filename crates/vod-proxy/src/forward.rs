//! A forward proxy: which hosts may be asked, and how the connection of a client becomes one to such a host.
//!
//! - [`Allowed`]: the list of hosts; `opening`: what a client begins with; `rewound`: a connection whose beginning was read.
//! - `way`: where the requests of a connection may go; `tunnels`: the connections that lead to one host each.

mod allowed;
mod opening;
mod rewound;
mod tunnels;
mod way;

pub use allowed::{Allowed, AllowedHost, BadHost};
pub(crate) use tunnels::Tunnels;
pub(crate) use way::Way;

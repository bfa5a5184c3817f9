//! A forward proxy: which hosts may be asked, and how the connection of a client becomes one to such a host.
//!
//! - [`Allowed`]: the list of hosts; `opening`: what a client begins with; `rewound`: a connection whose beginning was read.

mod allowed;
mod opening;
mod rewound;

pub use allowed::{Allowed, AllowedHost, BadHost};
pub(crate) use opening::{Opening, open};
pub(crate) use rewound::Rewound;

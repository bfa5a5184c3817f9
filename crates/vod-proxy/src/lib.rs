//! Records real sessions, replays them offline, and says what a client did wrong in them.
//!
//! - [`recording`]: a recording on disk: what it holds, how it is read, and what is wrong with a damaged one.
//! - [`Proxy`]: passes requests on, and records them: in a server's place, or as a proxy that clients know of.
//! - [`upstream`]: the servers that are asked; [`forward`]: which of them may be; `passing`: what passes, and what is kept of it; `proxy`: the rim.
//! - [`leaks`]: looks for known secrets in all that was written.
//! - [`subject()`]: who and what a request is about, for a server that knows no account.
//! - [`replay`]: answers from a recording, offline.
//! - [`look`]: what became of each upload, and what differs between two lists of exchanges; [`har`]: for other tools.
//! - [`cli`]: the `vod-proxy` command line; [`exit`]: its exit codes.

pub mod cli;
pub mod exit;
pub mod forward;
pub mod har;
pub mod leaks;
pub mod look;
mod passing;
mod proxy;
pub mod recording;
pub mod replay;
mod subject;
pub mod upstream;

pub use proxy::{Proxy, Route};
pub use recording::{Manifest, Recording, RecordingError};
pub use replay::{Replay, ReplayConfig, ReplayError, ReplayServer, Timing};
pub use subject::subject;

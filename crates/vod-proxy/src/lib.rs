//! Records real sessions, replays them offline, and says what a client did wrong in them.
//!
//! - [`recording`]: a recording on disk: what it holds, how it is read, and what is wrong with a damaged one.
//! - [`subject()`]: who and what a request is about, for a server that knows no account.
//! - [`cli`]: the `vod-proxy` command line; [`exit`]: its exit codes.

pub mod cli;
pub mod exit;
pub mod recording;
mod subject;

pub use recording::{Manifest, Recording, RecordingError};
pub use subject::subject;

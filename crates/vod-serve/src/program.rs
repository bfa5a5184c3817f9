//! What every program that serves needs, beside what it serves.
//!
//! - `announce`: says that it listens, and serves until asked to stop; `ready`: the file that says so too; `stop`: how it is
//!   asked.
//! - `plan_file`: the fault plan that a flag names; `tls`: the flags about TLS; `open_files`: how many it may have open.
//! - `kill`: has its parent process kill for its fault plan.
//! - `shorten`: what is said of somebody's input, no longer than a person reads.

mod announce;
mod kill;
mod open_files;
mod plan_file;
mod ready;
mod shorten;
mod stop;
mod tls;

pub use announce::{announce, serve_until};
pub use kill::StdioKiller;
pub use open_files::raise_open_files;
pub use plan_file::{PlanFileError, read_plan};
pub use ready::{ReadyFile, ReadyFileError};
pub use shorten::shortened;
pub use stop::asked_to_stop;
pub use tls::{TlsArgs, TlsArgsError};

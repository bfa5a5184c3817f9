//! What every program that serves needs, beside what it serves.
//!
//! - `ready`: the file that says that it listens; `stop`: how it is asked to stop.
//! - `tls`: the flags about TLS; `open_files`: how many it may have open.
//! - `kill`: has its parent process kill for its fault plan.
//! - `shorten`: what is said of somebody's input, no longer than a person reads.

mod kill;
mod open_files;
mod ready;
mod shorten;
mod stop;
mod tls;

pub use kill::StdioKiller;
pub use open_files::raise_open_files;
pub use ready::{ReadyFile, ReadyFileError};
pub use shorten::shortened;
pub use stop::asked_to_stop;
pub use tls::{TlsArgs, TlsArgsError};

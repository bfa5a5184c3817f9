//! The rim that every server of this house stands on: whatever a server decides, this crate brings it to the wire.
//!
//! - [`Host`]: what a server must answer; the mock is one, a proxy can be another.
//! - [`Server`]: takes connections over any transport and leads each request through its phases.
//! - [`transport`]: what a connection must be able to do, sockets and in-memory pipes alike, and how it is cut.
//! - [`tls`]: TLS over any of them, with a local CA.
//! - [`fault`]: what is injected, when it strikes, and the account of what struck.
//! - [`journal`]: every request and what came of it, redacted, in memory and as lines of JSON.
//! - [`traffic`]: what came in that no exchange tells of.
//! - [`program`]: what every program that serves needs, beside what it serves.
//! - [`kill`]: how a fault asks for a process to be killed.
//! - [`clock`]: the only place where this crate reads a clock or draws a seed.
//!
//! Bodies stream through; no body is ever held as a whole here.

mod aside;
pub mod body;
pub mod clock;
mod door;
pub mod fault;
pub mod host;
pub mod journal;
pub mod kill;
mod message;
pub mod program;
mod reply_body;
mod rim;
mod server;
pub mod tls;
pub mod traffic;
pub mod transport;

pub use clock::WallClock;
pub use fault::{Engine, Plan};
pub use host::Host;
pub use journal::Journal;
pub use kill::{KillTarget, Killer};
pub use message::{Answer, Effects, Head, Receipt, ReplyOut, Stakes, Subject, Tail, action, host_name};
pub use rim::Cut;
pub use server::Server;
pub use transport::{Listener, Port, Transport};

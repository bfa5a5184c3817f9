//! What is injected, when it strikes, and the account of what struck.
//!
//! - A [`Plan`] is data, read from TOML or JSON, and refused when it is made if it cannot strike; [`Fault::on`] begins a
//!   fault as a value.
//! - The [`Engine`] holds what is planted, for the whole server or for one account, and is asked at every phase of
//!   every exchange; the first fault that fits strikes.
//! - A [`Verdict`] is what a fault does; each kind has a file of its own in `fault/verdict/`.
//! - A [`Fate`] says what became of a fault.

mod build;
mod chance;
mod decision;
mod duration;
mod engine;
mod phase;
mod plan;
mod verdict;

pub use build::Aim;
pub(crate) use chance::Dice;
pub use decision::Decide;
pub use engine::{Engine, Fate, Handle, PLANTED_MOST, Strike, UnknownHold};
pub use phase::Phase;
pub use plan::{Fault, Plan, PlanError, Powers, Selector};
pub(crate) use verdict::{Change, Instead, Latch, Scene};
pub use verdict::{
    Corrupt, DataSize, Delay, Hold, HttpFault, ListLie, Rate, Refuse, ReplyFault, Spread, Stall, Throttle, Transcode,
    TruncateReply, Verdict,
};

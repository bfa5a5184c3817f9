//! The machine that decides: what to ask next, whether to try again and when, when an upload is over.
//!
//! No I/O, no runtime, no clock: every method is handed `now`, the time since the upload's start.
//!
//! - [`machine`]: one of the next three, by family and file.
//! - [`upload`]: the states of an upload; `handle_*` when something happened, `poll_*` for what to do now.
//! - [`sequence`]: the same, where one action does all and the server dictates the order.
//! - [`whole`]: the same, where one request sends all of a small file.
//! - [`parts`]: which part is where: to be sent, in flight, waiting, held by the server.
//! - [`retry`]: may this be tried again, and when; the only home of that question.
//! - [`tally`]: what is counted for the report.
//! - [`dice`]: chance that concurrency cannot reshuffle.

mod dice;
mod machine;
mod parts;
mod retry;
mod sequence;
mod tally;
mod upload;
mod whole;

pub use self::retry::RetryPolicy;
pub(crate) use self::{
    dice::{CallId, Dice},
    machine::Machine,
    parts::PART_SIZE_MAX,
    retry::{Delivery, Trouble},
    upload::{Answered, Job, Plan, Send, Step, What},
};

//! What is injected, when it strikes, and the account of what struck.
//!
//! A [`Plan`] is data, read from TOML or JSON or made as a value, and refused when it is made if it cannot strike.
//! The [`Engine`] is asked at every phase of every exchange; the first fault of the plan that fits strikes.

mod chance;
mod engine;
mod plan;

pub use engine::{Account, Engine, Strike};
pub use plan::{Fault, HttpFault, Phase, Plan, PlanError, ReplyFault, Selector, Verdict};

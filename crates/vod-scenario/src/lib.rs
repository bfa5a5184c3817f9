//! Runs and judges scenarios: stories of one client, one mock and what goes wrong between them.
//!
//! - [`mod@format`]: the scenario file, and what it may not say.
//! - [`source`]: bytes to upload, made from a seed.
//! - [`sim`]: real client and real mock in one thread on a paused clock; told twice, and equal.
//! - [`process`]: the same with real binaries, real sockets and SIGKILL. `telling`: what happens in either, step by step.
//! - [`proxied`]: the same through a recorder, and again on the replay of what it recorded.
//! - [`recordings`]: recordings that are kept beside their stories, and how they are made anew.
//! - [`evidence`]: what either target leaves behind to be judged.
//! - [`judge`]: outcome, wire, invariants; when a run has passed.
//! - [`run`]: control run, story, verdict; [`not_run`]: why there is none. [`report`]: what is shown of it.
//! - [`mod@from_recording`]: a recorded failure as a scenario.
//! - [`chaos`]: stories drawn by chance from seeds, and made smaller when they break something.
//! - [`library`]: scenario files by name. [`bundle`]: a run on disk, to be looked at and run again.
//! - [`cli`], [`exit`]: the `vod-scenario` binary, which can be mock and client too.

pub mod bundle;
pub mod chaos;
mod claim;
pub mod cli;
mod clock;
pub mod evidence;
pub mod exit;
pub mod format;
pub mod from_recording;
pub mod judge;
pub mod library;
#[cfg(test)]
mod mutants;
mod near;
pub mod not_run;
pub mod process;
pub mod proxied;
pub mod recordings;
pub mod report;
pub mod run;
pub mod sim;
pub mod source;
mod telling;

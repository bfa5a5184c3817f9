//! The real binary on a data directory: killed, out of room, and started again.
#![cfg(target_os = "linux")]
#![expect(clippy::unwrap_used, reason = "a test that cannot go on says where")]

mod child;
mod full;
mod killed;
mod story;

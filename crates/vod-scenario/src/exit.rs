//! The exit codes of `vod-scenario`.

/// Every scenario passed.
pub const PASS: u8 = 0;
/// A scenario failed, or nothing could be said about it.
pub const NOT_PASSED: u8 = 1;
/// The command line, or a scenario file, cannot be used. Nothing was run.
pub const USAGE: u8 = 2;

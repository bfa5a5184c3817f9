//! The exit codes of `vod-proxy`.

/// It did what was asked, and found nothing wrong.
pub const DONE: u8 = 0;
/// What was looked at is not as it should be: a recording is damaged or incomplete, a rule was broken, two recordings differ,
/// a strict replay did not go as it was recorded.
pub const FOUND: u8 = 1;
/// The command line, or a file it names, cannot be used.
pub const USAGE: u8 = 2;
/// Nothing wrong was found, but exchanges are missing that might prove it.
pub const INCONCLUSIVE: u8 = 3;
/// The address cannot be listened on.
pub const LISTEN: u8 = 4;
/// A journal, a ready file or the CA's directory cannot be written, or a journal lacks exchanges that could not be.
pub const WRITE: u8 = 5;

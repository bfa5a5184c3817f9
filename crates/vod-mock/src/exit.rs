//! The exit codes of `vod-mock`.

/// It was asked to stop.
pub const STOPPED: u8 = 0;
/// The command line, or a file it names, cannot be used.
pub const USAGE: u8 = 2;
/// The address cannot be listened on.
pub const LISTEN: u8 = 3;
/// The data directory, the CA's directory, the journal, the file for findings or the ready file cannot be used, or the
/// journal lacks exchanges that could not be written.
pub const STORE: u8 = 4;

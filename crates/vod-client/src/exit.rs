//! The exit codes of `vod-client`. Scripts depend on them: a number, once given out, keeps its meaning.

use crate::error::{Failure, UploadError};

/// The file is stored, by this upload or an earlier one; what was to be signed is, and what was to be verified holds.
pub const OK: u8 = 0;
/// The command line cannot be understood.
pub const USAGE: u8 = 2;
/// What was asked for cannot be done: the endpoint, a setting, the name, the key.
pub const CONFIG: u8 = 3;
/// The local file: missing, unreadable, empty, changed during the upload.
pub const SOURCE: u8 = 4;
/// The server said no, for good.
pub const REJECTED: u8 = 5;
/// The network failed or the server did not recover, and the retries are spent. The same command resumes.
pub const EXHAUSTED: u8 = 6;
/// The server answered something that is no reply of this protocol, or what was to be verified cannot be read.
pub const MALFORMED: u8 = 7;
/// The upload failed, but the server may have stored the file: ask before uploading it again.
pub const MAY_BE_COMMITTED: u8 = 8;
/// What was to be verified was not made with this key.
pub const FORGED: u8 = 9;
/// What was to be verified was made with this key, and does not hold any more.
pub const EXPIRED: u8 = 10;
/// Interrupted by Ctrl-C, as shells have it (128 + SIGINT). The same command resumes.
pub const INTERRUPTED: u8 = 130;

/// The exit code of a failed upload.
#[must_use]
pub const fn of(error: &UploadError) -> u8 {
    if error.may_be_committed {
        return MAY_BE_COMMITTED;
    }
    match error.failure {
        Failure::Config(_) => CONFIG,
        Failure::Source(_) => SOURCE,
        Failure::Rejected(_) => REJECTED,
        Failure::Transport(_) | Failure::Exhausted { .. } => EXHAUSTED,
        Failure::Malformed(_) => MALFORMED,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::error::{ConfigError, GaveUp, SourceError, TransportError};

    #[test]
    fn every_kind_has_its_code_and_a_possible_commit_comes_first() {
        let check = |failure: Failure, code| {
            let mut error = UploadError::early(failure, Duration::ZERO);
            assert_eq!(of(&error), code, "{error}");
            error.may_be_committed = true;
            assert_eq!(of(&error), MAY_BE_COMMITTED, "{error}");
        };
        check(ConfigError::NoSecretKey("VOD_SECRET_KEY").into(), 3);
        check(SourceError::Empty.into(), 4);
        check(Failure::Transport(TransportError::Reset), 6);
        check(Failure::Exhausted { why: GaveUp::Attempts, last: None }, 6);
        check(Failure::Malformed(String::new()), 7);
    }
}

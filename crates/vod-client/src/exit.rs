//! The exit codes of `vod-client`. Scripts depend on them: a number, once given out, keeps its meaning.
//!
//! `docs/exit-codes.md` is held against [`TABLE`] by `tests/cli/exit_codes.rs`, and `vod-client explain exit` reads it.

use crate::error::{Failure, UploadError};

/// All went well.
pub const OK: u8 = 0;
/// The command line cannot be understood.
pub const USAGE: u8 = 2;
/// What was asked for cannot be done.
pub const CONFIG: u8 = 3;
/// The local file.
pub const SOURCE: u8 = 4;
/// The server said no, for good.
pub const REJECTED: u8 = 5;
/// The network, or the retries are spent.
pub const EXHAUSTED: u8 = 6;
/// No reply of this protocol, or no proof.
pub const MALFORMED: u8 = 7;
/// The upload failed, but the server may have stored the file.
pub const MAY_BE_COMMITTED: u8 = 8;
/// What was to be verified was not made with this key.
pub const FORGED: u8 = 9;
/// What was to be verified does not hold any more.
pub const EXPIRED: u8 = 10;
/// Interrupted by Ctrl-C, as shells have it (128 + SIGINT).
pub const INTERRUPTED: u8 = 130;

/// What an exit code says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExitRow {
    /// The number.
    pub code: u8,
    /// The `kind` of the failure in `--json`; none where no result has this code.
    pub kind: Option<&'static str>,
    /// What happened.
    pub meaning: &'static str,
    /// What whoever meets it may do.
    pub then: &'static str,
}

const fn row(code: u8, kind: Option<&'static str>, meaning: &'static str, then: &'static str) -> ExitRow {
    ExitRow { code, kind, meaning, then }
}

/// Every exit code, in order.
#[rustfmt::skip]
pub const TABLE: &[ExitRow] = &[
    row(OK, None, "every file is stored, by this upload or an earlier one; what was to be signed is, and what was to be verified holds", "nothing"),
    row(USAGE, None, "the command line cannot be understood", "read the message, or --help"),
    row(CONFIG, Some("config"), "what was asked for cannot be done: the endpoint, whom to trust, the proxy, a setting, the name, the key", "change what the message names"),
    row(SOURCE, Some("source"), "the local file: missing, unreadable, empty, changed during the upload, or no file matches a pattern", "look at the file; if it changed, upload it again"),
    row(REJECTED, Some("rejected"), "the server said no, for good", "`vod-client explain CODE`, with the code in the message"),
    row(EXHAUSTED, Some("exhausted or transport"), "the network failed or the server did not recover, and the retries are spent", "run the same command again: it resumes"),
    row(MALFORMED, Some("malformed"), "the server answered something that is no reply of this protocol, or what was to be verified cannot be read", "check that the endpoint is the service, and no proxy's or portal's page"),
    row(MAY_BE_COMMITTED, None, "the upload failed, but the server may have stored the file; any kind", "ask the service whether the file is there, before uploading it again"),
    row(FORGED, None, "what was to be verified was not made with this key", "do not trust it"),
    row(EXPIRED, None, "what was to be verified was made with this key, and does not hold any more", "ask for a new one"),
    row(INTERRUPTED, Some("interrupted"), "interrupted by Ctrl-C", "run the command that was printed: it resumes"),
];

/// Which of two failures a script must hear of, when several files failed: the earlier of these.
///
/// First what must not be answered by running the command again; last what is mended by just that. So 6 always means
/// that the same command again is all there is to do, and 8 is never hidden behind another file's failure.
pub const WORST_FIRST: [u8; 6] = [MAY_BE_COMMITTED, REJECTED, MALFORMED, CONFIG, SOURCE, EXHAUSTED];

/// The exit code of several files.
#[must_use]
pub fn worst(codes: impl IntoIterator<Item = u8>) -> u8 {
    let rank = |code: &u8| WORST_FIRST.iter().position(|other| other == code).unwrap_or(WORST_FIRST.len());
    codes.into_iter().min_by_key(rank).unwrap_or(OK)
}

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

    #[test]
    fn of_several_failures_the_one_that_needs_most_attention_is_told() {
        let check = |codes: &[u8], expected| assert_eq!(worst(codes.iter().copied()), expected, "{codes:?}");
        check(&[], 0);
        check(&[0, 0], 0);
        check(&[0, 6, 0], 6);
        check(&[6, 4, 6], 4);
        check(&[6, 5, 8, 4], 8);
        check(&[3, 7, 5], 5);
    }

    #[test]
    fn every_code_stands_once_in_the_table_in_order() {
        assert!(TABLE.is_sorted_by(|a, b| a.code < b.code));
        for code in WORST_FIRST {
            assert!(TABLE.iter().any(|row| row.code == code), "{code} is not in the table");
        }
    }
}

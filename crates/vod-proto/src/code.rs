//! The codes a server answers, what they mean, and whether the same request may be sent again.

mod table;

use serde::{Deserialize, Serialize};

pub use self::table::TABLE;

/// The `code` of a reply: 0 and the small positives say how it went, negatives and 4000 to 7000 are failures.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Code(pub i64);

impl Code {
    /// Done.
    pub const OK: Self = Self(0);
    /// `InitUpload`: part of the file is there, resume.
    pub const RESUME: Self = Self(1);
    /// `InitUpload`: the whole file is there (instant upload).
    pub const EXISTS: Self = Self(2);
    /// A common parameter is missing or malformed, or the action is unknown.
    pub const COMMON_PARAMS: Self = Self(-10001);
    /// The signature, its expiry, or the account.
    pub const SIGNATURE: Self = Self(-10002);
    /// A protocol parameter; a part missing at the finish; a file that is not what its SHA-1 said.
    pub const PROTOCOL_PARAMS: Self = Self(-10003);
    /// The server could not write what it must remember.
    pub const CACHE_WRITE: Self = Self(-10004);
    /// The server has no such session, or could not read it.
    pub const CACHE_READ: Self = Self(-10005);
    /// The body is not what the query says.
    pub const BODY: Self = Self(-10006);
    /// A parameter is bad or missing, where no finer code says which.
    pub const BAD_PARAMETER: Self = Self(4000);
    /// Too many requests.
    pub const OVER_QUOTA: Self = Self(4400);
    /// A timestamp outside the window, or in a form the documents do not know.
    pub const REPLAY: Self = Self(4500);
    /// http where https is asked for, or the other way about.
    pub const PROTOCOL_UNSUPPORTED: Self = Self(4600);

    /// Legacy: no account has this SecretId.
    pub const LEGACY_NO_ACCOUNT: Self = Self(10003);
    /// Legacy: the signature does not hold.
    pub const LEGACY_SIGNATURE: Self = Self(10004);
    /// Legacy: the signature has lapsed.
    pub const LEGACY_SIGNATURE_LAPSED: Self = Self(-26498);
    /// Legacy: the SecretId is missing or malformed.
    pub const LEGACY_SECRET_ID: Self = Self(-25997);
    /// Legacy: `fileType`.
    pub const LEGACY_FILE_TYPE: Self = Self(-25986);
    /// Legacy: `fileSha`.
    pub const LEGACY_FILE_SHA: Self = Self(-25985);
    /// Legacy: a tag.
    pub const LEGACY_TAG: Self = Self(-25984);
    /// Legacy: `classId`.
    pub const LEGACY_CLASS_ID: Self = Self(-25983);
    /// Legacy: `dataSize`.
    pub const LEGACY_DATA_SIZE: Self = Self(-25982);
    /// Legacy: `fileSize`.
    pub const LEGACY_FILE_SIZE: Self = Self(-25981);
    /// Legacy: `isScreenshot`.
    pub const LEGACY_IS_SCREENSHOT: Self = Self(-25980);
    /// Legacy: `isWatermark`.
    pub const LEGACY_IS_WATERMARK: Self = Self(-25979);
    /// Legacy: `isTranscode`.
    pub const LEGACY_IS_TRANSCODE: Self = Self(-25978);
    /// Legacy: `offset` and `dataSize` reach beyond the file.
    pub const LEGACY_BEYOND_FILE: Self = Self(-25977);
    /// Legacy: `notifyUrl`.
    pub const LEGACY_NOTIFY_URL: Self = Self(-25976);
    /// Legacy: the parts do not make the file that was announced.
    pub const LEGACY_SHA_MISMATCH: Self = Self(-29200);

    /// Does it say that a request's own signature is wrong, or too old?
    #[must_use]
    pub(crate) const fn is_of_signature(self) -> bool {
        matches!(self, Self::SIGNATURE | Self::REPLAY | Self::LEGACY_SIGNATURE | Self::LEGACY_SIGNATURE_LAPSED)
    }

    /// What the code means, and what follows from it; none for a code no document names.
    #[must_use]
    pub fn meaning(self) -> Option<&'static CodeRow> {
        TABLE.iter().find(|row| row.code == self)
    }

    /// May the very same request be sent again?
    ///
    /// A negative code follows the reply's `canRetry`, as the documents say.
    /// Without one, the table decides; a negative code that no document names is then final.
    /// A positive code is a failure that no flag softens: the table decides alone, and an unknown one is final.
    #[must_use]
    pub fn retry_class(self, can_retry: Option<bool>) -> RetryClass {
        match (can_retry, self.meaning()) {
            (Some(true), _) if self.0 < 0 => RetryClass::Again,
            (Some(false), _) if self.0 < 0 => RetryClass::Final,
            (_, Some(row)) => row.retry,
            (_, None) => RetryClass::Final,
        }
    }

    /// The `canRetry` that a server writes with it: 1 where trying the same again may help.
    #[must_use]
    pub fn can_retry(self) -> bool {
        self.retry_class(None) != RetryClass::Final
    }
}

impl std::fmt::Display for Code {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

/// What a failure code allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum RetryClass {
    /// This request must not be sent again as it is.
    Final,
    /// The same request may be sent again.
    Again,
    /// The same request may be sent again after a wait that is charged to nobody.
    AfterWait,
}

/// Whose replies a code stands in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spoken {
    /// The server and UGC families.
    Upload,
    /// The legacy family.
    Legacy,
    /// The whole API of the service.
    Common,
}

impl std::fmt::Display for Spoken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Upload => "server, UGC",
            Self::Legacy => "legacy",
            Self::Common => "all",
        })
    }
}

/// A row of the table of codes.
#[derive(Clone, Copy, Debug)]
pub struct CodeRow {
    /// The number on the wire.
    pub code: Code,
    /// Whose replies it stands in.
    pub spoken: Spoken,
    /// What holds where the reply has no `canRetry`.
    pub retry: RetryClass,
    /// What happened, in one sentence.
    pub meaning: &'static str,
    /// What whoever meets it should look at.
    pub check: &'static str,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(code: i64, can_retry: Option<bool>, expected: RetryClass) {
        assert_eq!(Code(code).retry_class(can_retry), expected, "code {code}, canRetry {can_retry:?}");
    }

    #[test]
    fn negative_codes_follow_the_flag() {
        check(-10004, Some(true), RetryClass::Again);
        check(-10004, Some(false), RetryClass::Final);
        check(-10003, Some(true), RetryClass::Again);
        check(-28996, Some(true), RetryClass::Again);
    }

    #[test]
    fn without_a_flag_the_table_decides_and_the_unknown_is_final() {
        check(-10005, None, RetryClass::Again);
        check(-10001, None, RetryClass::Final);
        check(-28996, None, RetryClass::Final);
    }

    #[test]
    fn positive_codes_are_failures_whatever_the_flag_says() {
        check(4100, Some(true), RetryClass::Final);
        check(4400, Some(false), RetryClass::AfterWait);
        check(9999, Some(true), RetryClass::Final);
    }

    #[test]
    fn legacy_replies_carry_no_flag_and_all_their_own_codes_are_final() {
        for row in TABLE.iter().filter(|row| row.spoken == Spoken::Legacy) {
            check(row.code.0, None, RetryClass::Final);
        }
    }

    #[test]
    fn a_server_writes_the_flag_that_its_code_has() {
        let retryable: Vec<_> = TABLE.iter().filter(|row| row.code.can_retry()).map(|row| row.code.0).collect();
        assert_eq!(retryable, [-10004, -10005, -10006, 4400, 6000, 6200]);
        assert!(!Code(-28996).can_retry(), "nobody knows it");
    }

    #[test]
    fn no_code_stands_twice() {
        for (at, row) in TABLE.iter().enumerate() {
            assert!(TABLE[at + 1..].iter().all(|other| other.code != row.code), "{} stands twice", row.code);
        }
    }
}

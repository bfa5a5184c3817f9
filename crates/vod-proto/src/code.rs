//! The codes a server answers, what they mean, and whether the same request may be sent again.

use serde::{Deserialize, Serialize};

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
    /// http where https is asked for, or the other way about.
    pub const PROTOCOL_UNSUPPORTED: Self = Self(4600);
    /// Too many requests.
    pub const OVER_QUOTA: Self = Self(4400);
    /// A timestamp outside the window, or in a form the documents do not know.
    pub const REPLAY: Self = Self(4500);

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

/// A row of the table of codes.
#[derive(Clone, Copy, Debug)]
pub struct CodeRow {
    /// The number on the wire.
    pub code: Code,
    /// One sentence.
    pub meaning: &'static str,
    /// What holds where the reply has no `canRetry`.
    pub retry: RetryClass,
}

const fn row(code: i64, retry: RetryClass, meaning: &'static str) -> CodeRow {
    CodeRow { code: Code(code), meaning, retry }
}

/// Every failure code that a document names. Source: `docs/protocol.md`, *Codes*.
pub const TABLE: &[CodeRow] = &[
    row(-10001, RetryClass::Final, "a common parameter is missing or malformed, or the action is unknown"),
    row(-10002, RetryClass::Final, "the signature does not hold, has expired, or its account is unknown"),
    row(
        -10003,
        RetryClass::Final,
        "a protocol parameter is wrong, or the parts do not make the file that was announced",
    ),
    row(-10004, RetryClass::Again, "the server could not write what it must remember"),
    row(-10005, RetryClass::Again, "the server could not find or read the upload's session"),
    row(-10006, RetryClass::Again, "the body is not what the query says: length or MD5"),
    row(4000, RetryClass::Final, "a parameter is bad or missing"),
    row(4100, RetryClass::Final, "the signature does not hold"),
    row(4101, RetryClass::Final, "the sub-account may not use this API"),
    row(4102, RetryClass::Final, "the sub-account may not use this resource"),
    row(4103, RetryClass::Final, "the sub-account's SecretId is not supported"),
    row(4104, RetryClass::Final, "the SecretId does not exist or is disabled"),
    row(4110, RetryClass::Final, "the permission check failed"),
    row(4200, RetryClass::Final, "the request has expired"),
    row(4300, RetryClass::Final, "access is denied to this account"),
    row(4400, RetryClass::AfterWait, "over quota: too many requests"),
    row(4500, RetryClass::Final, "replay: the nonce was used before, or the timestamp is off by more than two hours"),
    row(4600, RetryClass::Final, "the protocol (http or https) is not supported here"),
    row(5000, RetryClass::Final, "the resource does not exist"),
    row(5100, RetryClass::Final, "the operation failed"),
    row(5200, RetryClass::Final, "the purchase failed"),
    row(5300, RetryClass::Final, "the purchase failed: balance"),
    row(5400, RetryClass::Final, "only part of the operation was done"),
    row(5500, RetryClass::Final, "the purchase failed: approval"),
    row(6000, RetryClass::Again, "an internal error of the server"),
    row(6100, RetryClass::Final, "this version or interface is not supported: check the domain"),
    row(6200, RetryClass::Again, "the server is under maintenance"),
];

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
    fn no_code_stands_twice() {
        for (at, row) in TABLE.iter().enumerate() {
            assert!(TABLE[at + 1..].iter().all(|other| other.code != row.code), "{} stands twice", row.code);
        }
    }
}

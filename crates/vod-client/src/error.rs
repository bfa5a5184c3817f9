//! How an upload fails: outside a struct with the story, inside a kind that says who must act.

use std::{fmt, time::Duration};

use vod_proto::{
    Action, Code, PartSpan,
    action::Role,
    reply::{Malformed, Rejected},
};

/// Why an upload, or one request of it, did not succeed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Failure {
    /// The peer answered something that is no reply of this protocol.
    #[error("the reply cannot be read: {0}")]
    Malformed(String),
    /// The server said no.
    #[error("{0}")]
    Rejected(Rejected),
    /// The network.
    #[error("{0}")]
    Transport(TransportError),
    /// The local file.
    #[error("{0}")]
    Source(SourceError),
    /// What the caller asked for.
    #[error("{0}")]
    Config(ConfigError),
    /// It might have been tried again, but the policy ends here.
    #[error("gave up{}{}", .why.note(), .last.as_ref().map(|last| format!(": {last}")).unwrap_or_default())]
    Exhausted {
        /// What ran out.
        why: GaveUp,
        /// What the last attempt met; none where there was no attempt.
        last: Option<Box<Self>>,
    },
}

impl Failure {
    /// The family, as one word of kebab-case.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Malformed(_) => "malformed",
            Self::Rejected(_) => "rejected",
            Self::Transport(_) => "transport",
            Self::Source(_) => "source",
            Self::Config(_) => "config",
            Self::Exhausted { .. } => "exhausted",
        }
    }

    /// The last code that the server gave, also where we gave up on it.
    #[must_use]
    pub fn code(&self) -> Option<Code> {
        match self {
            Self::Rejected(rejected) => Some(rejected.code),
            Self::Exhausted { last, .. } => last.as_ref()?.code(),
            _ => None,
        }
    }
}

impl From<Malformed> for Failure {
    fn from(malformed: Malformed) -> Self {
        Self::Malformed(malformed.to_string())
    }
}

impl From<SourceError> for Failure {
    fn from(error: SourceError) -> Self {
        Self::Source(error)
    }
}

impl From<TransportError> for Failure {
    fn from(error: TransportError) -> Self {
        Self::Transport(error)
    }
}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Self {
        Self::Config(error)
    }
}

/// What ran out when a request was given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum GaveUp {
    /// The attempts of this request.
    Attempts,
    /// The retries of the whole upload.
    Budget,
    /// The time of the whole upload.
    Deadline,
    /// The time that a request may wait for the server's quota.
    Patience,
}

impl GaveUp {
    const fn note(self) -> &'static str {
        match self {
            Self::Attempts => "",
            Self::Budget => " (the upload's budget of retries is spent)",
            Self::Deadline => " (the upload's deadline leaves no more time)",
            Self::Patience => " (the server's quota did not recover)",
        }
    }
}

/// What went wrong between us and the server.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TransportError {
    /// There was no connection.
    #[error("cannot connect: {0}")]
    Connect(String),
    /// The connection was gone before the request was written.
    #[error("the connection closed before the request was sent")]
    NotSent,
    /// The connection was reset.
    #[error("connection reset")]
    Reset,
    /// The connection ended before the whole reply was there.
    #[error("the connection closed before the whole reply was there")]
    Closed,
    /// Neither a byte of the request nor of the reply moved.
    #[error("no byte moved for {} s", .0.as_secs_f64())]
    Stalled(Duration),
    /// An HTTP status that is no reply of this protocol.
    #[error("HTTP status {0}")]
    Status(u16),
    /// Anything else that a connection can do.
    #[error("the connection failed: {0}")]
    Broken(String),
}

/// What is wrong with the local file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SourceError {
    /// It cannot be opened.
    #[error("cannot open {path}: {why}")]
    Open {
        /// Which file.
        path: String,
        /// The system's words.
        why: String,
    },
    /// It is a directory, a pipe or a device.
    #[error("{path} is not a regular file")]
    NotAFile {
        /// Which.
        path: String,
    },
    /// The service stores no empty files.
    #[error("the file is empty: there is nothing to upload")]
    Empty,
    /// It cannot be read.
    #[error("cannot read the file at {offset}: {why}")]
    Read {
        /// Where.
        offset: u64,
        /// The system's words.
        why: String,
    },
    /// It is not the file any more whose SHA-1 was announced.
    #[error("the file changed during the upload: {0}")]
    Changed(String),
}

/// What the caller asked for that cannot be done.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// The endpoint is no URL of a host.
    #[error("endpoint {text:?}: {why}")]
    Endpoint {
        /// What was given.
        text: String,
        /// What was expected.
        why: String,
    },
    /// A setting is out of range.
    #[error("{name} is {found}")]
    Setting {
        /// Which.
        name: &'static str,
        /// What was given, and what is possible.
        found: String,
    },
    /// Something said about the file that the service would refuse.
    #[error("{0}")]
    Facts(String),
    /// The upload signature cannot be used. It is a secret, and not repeated.
    #[error("the upload signature {0}")]
    Signature(String),
    /// There is no key to sign with.
    #[error("the environment variable {0} is not set: it holds the secret key, where --secret-key-file names no file")]
    NoSecretKey(&'static str),
    /// There is no key to check proofs with.
    #[error("the environment variable {0} is not set: it holds the verify key, where --verify-key-file names no file")]
    NoVerifyKey(&'static str),
    /// The CAs that were given cannot be trusted, or the system has none.
    #[error("trust in {from}: {why}")]
    Ca {
        /// Which file, or whose.
        from: String,
        /// What is wrong with it.
        why: String,
    },
    /// A server or proxy showed a certificate that is not believed. It was sent nothing.
    #[error("the certificate of {peer} is not trusted: {why}")]
    Certificate {
        /// Host and port.
        peer: String,
        /// What is wrong with the certificate, and what to do about it.
        why: String,
    },
    /// A server or proxy speaks no TLS, or none that is spoken here.
    #[error("cannot speak TLS with {peer}: {why}")]
    Tls {
        /// Host and port.
        peer: String,
        /// What stands in the way.
        why: String,
    },
    /// A proxy cannot be used, or does not let us through. What is secret in its URL is not repeated.
    #[error("proxy {which}: {why}")]
    Proxy {
        /// Its URL without user and password, or the variable that holds it.
        which: String,
        /// What was expected.
        why: String,
    },
    /// A header cannot be added to requests. Its value may be a secret, and is not repeated.
    #[error("header {name}: {why}")]
    Header {
        /// Which.
        name: String,
        /// Why not.
        why: String,
    },
    /// The runtime could not be started.
    #[error("cannot start: {0}")]
    Start(String),
    /// [`blocking::Uploader`](crate::blocking::Uploader) was called where nothing may block.
    #[error("blocking::Uploader was called within an asynchronous runtime: there, await vod_client::Uploader::upload")]
    WithinRuntime,
}

/// An upload that did not succeed: what was tried, how often, for how long, and what came of it.
///
/// Its text is complete, so it has no [`source`](std::error::Error::source).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct UploadError {
    /// What happened.
    pub failure: Failure,
    /// The server may have stored the file nevertheless: a finish, or a small file whole, was sent whose
    /// fate is not known.
    pub may_be_committed: bool,
    /// The request that failed; none where no request was to blame.
    pub action: Option<Action>,
    /// Its part, where it was to send one.
    pub span: Option<PartSpan>,
    /// How often that request was sent. 0 where it never was.
    pub attempts: u32,
    /// How long that request was tried, from its first attempt; without a request, how long the upload took.
    pub elapsed: Duration,
    /// How many parts failed; the story is that of the first of them.
    pub parts_failed: u64,
    /// How many requests the whole upload sent.
    pub requests: u64,
}

impl UploadError {
    /// A failure before any request was sent.
    pub(crate) fn early(failure: impl Into<Failure>, elapsed: Duration) -> Self {
        Self {
            failure: failure.into(),
            may_be_committed: false,
            action: None,
            span: None,
            attempts: 0,
            elapsed,
            parts_failed: 0,
            requests: 0,
        }
    }

    /// The family of the failure: `rejected`, `transport`, `malformed`, `source`, `config` or `exhausted`.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        self.failure.kind()
    }

    /// The last code that the server gave to the request that failed, also where we gave up on it.
    #[must_use]
    pub fn code(&self) -> Option<Code> {
        self.failure.code()
    }
}

impl fmt::Display for UploadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.action.map(Action::role), self.span) {
            (Some(Role::Open), _) => f.write_str("open upload: ")?,
            (Some(Role::Finish), _) => f.write_str("finish upload: ")?,
            (Some(Role::Part | Role::Next), Some(span)) => write!(f, "upload part at {span}: ")?,
            (Some(Role::Part | Role::Next), None) => f.write_str("upload part: ")?,
            (Some(Role::Whole), _) => f.write_str("upload small file: ")?,
            (Some(Role::Report), _) => f.write_str("report: ")?,
            (None, _) => {}
        }
        let plural = if self.attempts == 1 { "" } else { "s" };
        match &self.failure {
            Failure::Exhausted { why, last } => {
                let Self { attempts, elapsed, .. } = self;
                write!(f, "gave up after {attempts} attempt{plural} in {}{}", Seconds(*elapsed), why.note())?;
                if let Some(last) = last {
                    write!(f, ": {last}")?;
                }
            }
            failure if self.attempts > 1 => write!(f, "{failure} (attempt {})", self.attempts)?,
            failure => write!(f, "{failure}")?,
        }
        if self.parts_failed > 1 {
            write!(f, "; {} parts failed in all", self.parts_failed)?;
        }
        if self.may_be_committed {
            f.write_str("; the file may have been committed: ask before uploading it again")?;
        }
        Ok(())
    }
}

impl std::error::Error for UploadError {}

/// Seconds as people write them: `31 s`, and with decimals below ten.
pub(crate) struct Seconds(pub(crate) Duration);

impl fmt::Display for Seconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 < Duration::from_secs(10) {
            write!(f, "{:.1} s", self.0.as_secs_f64())
        } else {
            write!(f, "{} s", self.0.as_secs())
        }
    }
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::*;

    #[track_caller]
    fn check(error: &UploadError, expected: Expect) {
        expected.assert_eq(&format!("{}: {error}", error.kind()));
    }

    fn part_error(failure: Failure) -> UploadError {
        UploadError {
            action: Some(Action::UploadPart),
            span: Some(PartSpan { offset: 1_048_576, len: 524_288 }),
            attempts: 5,
            parts_failed: 1,
            ..UploadError::early(failure, Duration::from_secs(31))
        }
    }

    #[test]
    fn the_story_is_one_sentence() {
        let reset = Failure::Transport(TransportError::Reset);
        let gave_up = Failure::Exhausted { why: GaveUp::Attempts, last: Some(Box::new(reset.clone())) };
        check(
            &part_error(gave_up),
            expect!["exhausted: upload part at 1048576+524288: gave up after 5 attempts in 31 s: connection reset"],
        );
        let unclear = UploadError {
            action: Some(Action::FinishUpload),
            may_be_committed: true,
            attempts: 1,
            ..UploadError::early(reset, Duration::from_millis(1500))
        };
        check(
            &unclear,
            expect![
                "transport: finish upload: connection reset; the file may have been committed: ask before uploading it again"
            ],
        );
        check(
            &UploadError::early(SourceError::Empty, Duration::ZERO),
            expect!["source: the file is empty: there is nothing to upload"],
        );
    }

    #[test]
    fn the_last_code_is_known_even_when_we_gave_up() {
        let rejected = Rejected { code: Code::CACHE_WRITE, can_retry: Some(true), message: String::new() };
        let last = Some(Box::new(Failure::Rejected(rejected)));
        let error = part_error(Failure::Exhausted { why: GaveUp::Budget, last });
        assert_eq!((error.kind(), error.code()), ("exhausted", Some(Code::CACHE_WRITE)));
    }
}

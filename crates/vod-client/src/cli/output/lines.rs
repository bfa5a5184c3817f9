//! The lines of `--json`: one object an event, and one a result for each file. `docs/json-lines.md` says what they are.

use std::time::Duration;

use serde::Serialize;
use vod_proto::{Action, Code, PartSpan, Sha1};

use super::super::plan::Plan;
use crate::{error::UploadError, event::Event, exit, report::UploadReport};

/// A line.
#[derive(Serialize)]
#[serde(tag = "event", rename_all = "kebab-case", rename_all_fields = "kebab-case")]
pub(super) enum Line<'a> {
    Queued {
        file: &'a str,
        total: u64,
    },
    Hashing {
        file: &'a str,
        done: u64,
        total: u64,
    },
    Hashed {
        file: &'a str,
        file_sha1: Sha1,
        cached: bool,
    },
    Opened {
        file: &'a str,
        part_size: u64,
        parts: u64,
        listed: u64,
        held_bytes: u64,
    },
    AttemptStarted {
        file: &'a str,
        action: Action,
        part: Option<PartSpan>,
        attempt: u32,
    },
    AttemptFailed {
        file: &'a str,
        action: Action,
        part: Option<PartSpan>,
        attempt: u32,
        kind: &'static str,
        code: Option<Code>,
        message: String,
        retry_in_ms: Option<u64>,
    },
    PartDone {
        file: &'a str,
        part: PartSpan,
        skipped: bool,
    },
    Reopening {
        file: &'a str,
        kind: &'static str,
        code: Option<Code>,
        message: String,
    },
    Finishing {
        file: &'a str,
    },
    Plan {
        file: &'a str,
        #[serde(flatten)]
        plan: &'a Plan,
    },
    Result(ResultLine<'a>),
}

impl<'a> Line<'a> {
    /// The line of an event; how an upload ended is told by the result of its file.
    pub(super) fn of(file: &'a str, event: &Event) -> Option<Self> {
        Some(match event {
            Event::Queued { total } => Self::Queued { file, total: *total },
            Event::Hashing { done, total } => Self::Hashing { file, done: *done, total: *total },
            Event::Hashed { file_sha1, cached } => Self::Hashed { file, file_sha1: *file_sha1, cached: *cached },
            Event::Opened { part_size, parts, listed, held_bytes } => {
                Self::Opened { file, part_size: *part_size, parts: *parts, listed: *listed, held_bytes: *held_bytes }
            }
            Event::AttemptStarted { action, span, attempt } => {
                Self::AttemptStarted { file, action: *action, part: *span, attempt: *attempt }
            }
            Event::AttemptFailed { action, span, attempt, failure, retry_in } => Self::AttemptFailed {
                file,
                action: *action,
                part: *span,
                attempt: *attempt,
                kind: failure.kind(),
                code: failure.code(),
                message: failure.to_string(),
                retry_in_ms: retry_in.map(milliseconds),
            },
            Event::PartDone { span, skipped } => Self::PartDone { file, part: *span, skipped: *skipped },
            Event::Reopening { because } => {
                Self::Reopening { file, kind: because.kind(), code: because.code(), message: because.to_string() }
            }
            Event::Finishing => Self::Finishing { file },
            Event::Finished { .. } | Event::Failed { .. } => return None,
            Event::Missed { .. } => unreachable!("whoever is called misses nothing"),
        })
    }
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// How a file ended.
#[derive(Clone, Copy, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct ResultLine<'a> {
    /// None where nothing was begun.
    file: Option<&'a str>,
    exit: u8,
    #[serde(flatten)]
    stored: Option<&'a UploadReport>,
    #[serde(flatten)]
    failed: Option<Failed<'a>>,
    /// Of a failure.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) message: Option<&'a str>,
}

#[derive(Clone, Copy, Serialize)]
#[serde(rename_all = "kebab-case")]
struct Failed<'a> {
    outcome: &'static str,
    kind: &'a str,
    code: Option<Code>,
    may_be_committed: bool,
}

impl<'a> ResultLine<'a> {
    pub(super) const fn stored(file: &'a str, report: &'a UploadReport) -> Self {
        Self { file: Some(file), exit: exit::OK, stored: Some(report), failed: None, message: None }
    }

    pub(super) fn failed(error: &'a UploadError, exit: u8, message: &'a str) -> Self {
        Self::not_stored(error.kind(), error.code(), error.may_be_committed, exit, message)
    }

    pub(super) const fn interrupted(may_be_committed: bool, message: &'a str) -> Self {
        Self::not_stored("interrupted", None, may_be_committed, exit::INTERRUPTED, message)
    }

    /// The same, of this file.
    pub(super) const fn of_file(self, file: Option<&'a str>) -> Self {
        Self { file, ..self }
    }

    const fn not_stored(kind: &'a str, code: Option<Code>, may_be_committed: bool, exit: u8, message: &'a str) -> Self {
        let failed = Failed { outcome: "failed", kind, code, may_be_committed };
        Self { file: None, exit, stored: None, failed: Some(failed), message: Some(message) }
    }
}

#[cfg(test)]
mod tests;

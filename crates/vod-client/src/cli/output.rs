//! What the program says at its end: data to stdout, everything else to stderr.

use std::io::Write as _;

use serde::Serialize;
use vod_proto::Code;

use crate::{
    error::{Seconds, UploadError},
    report::{Outcome, UploadReport},
};

/// How it is said.
pub(super) struct Output {
    pub(super) json: bool,
    pub(super) quiet: bool,
}

/// The line of a failure.
#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct FailedLine<'a> {
    outcome: &'static str,
    kind: &'a str,
    code: Option<Code>,
    may_be_committed: bool,
    message: &'a str,
}

impl Output {
    pub(super) fn report(&self, report: &UploadReport) {
        if self.json {
            print(&json(report));
        } else if !self.quiet {
            print(&in_words(report));
        }
    }

    pub(super) fn error(&self, error: &UploadError) {
        self.failed(error.kind(), error.code(), error.may_be_committed, &error.to_string());
    }

    pub(super) fn interrupted(&self, may_be_committed: bool) {
        let message = if may_be_committed {
            "interrupted while the upload was being finished: the file may have been committed"
        } else {
            "interrupted: run the same command again to resume"
        };
        self.failed("interrupted", None, may_be_committed, message);
    }

    fn failed(&self, kind: &str, code: Option<Code>, may_be_committed: bool, message: &str) {
        if self.json {
            print(&json(&FailedLine { outcome: "failed", kind, code, may_be_committed, message }));
        } else {
            complain(message);
        }
    }
}

/// Says on stderr why nothing came of it.
pub(super) fn complain(message: &str) {
    let _ = writeln!(std::io::stderr().lock(), "error: {message}");
}

fn json(line: &impl Serialize) -> String {
    serde_json::to_string(line).expect("strings, numbers and booleans serialise")
}

fn in_words(report: &UploadReport) -> String {
    let UploadReport {
        outcome,
        file_id,
        url,
        verify_content,
        parts_sent,
        parts_skipped,
        attempts,
        bytes_sent,
        elapsed,
    } = report;
    let what = match outcome {
        Outcome::Finished => "stored",
        Outcome::CommittedEarlier => "stored (its first confirmation was lost)",
        Outcome::Existed => "was stored already",
    };
    let url = url.as_ref().map(|url| format!(" at {url}")).unwrap_or_default();
    let proof = verify_content.as_ref().map(|proof| format!("\nverify_content {proof}")).unwrap_or_default();
    let parts = if *parts_sent == 1 { "part" } else { "parts" };
    format!(
        "file {file_id} {what}{url}\n{parts_sent} {parts} sent, {parts_skipped} skipped, {attempts} requests, \
         {bytes_sent} bytes in {}{proof}",
        Seconds(*elapsed)
    )
}

pub(super) fn print(text: &str) {
    // A reader that has gone away needs no answer any more.
    let _ = writeln!(std::io::stdout().lock(), "{text}");
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_report_in_words() {
        let report = UploadReport {
            outcome: Outcome::Finished,
            file_id: "7".to_owned(),
            url: Some("http://x/f0.mp4".to_owned()),
            verify_content: Some("bm8=".to_owned()),
            parts_sent: 1,
            parts_skipped: 2,
            attempts: 3,
            bytes_sent: 1_048_576,
            elapsed: Duration::from_millis(1234),
        };
        expect_test::expect![[r"
            file 7 stored at http://x/f0.mp4
            1 part sent, 2 skipped, 3 requests, 1048576 bytes in 1.2 s
            verify_content bm8=
        "]]
        .assert_eq(&(in_words(&report) + "\n"));
    }

    #[test]
    fn a_failure_is_one_line_with_the_documented_keys() {
        let line = FailedLine {
            outcome: "failed",
            kind: "rejected",
            code: Some(Code::SIGNATURE),
            may_be_committed: false,
            message: "open upload: the server answered -10002",
        };
        expect_test::expect![[r#"{"outcome":"failed","kind":"rejected","code":-10002,"may-be-committed":false,"message":"open upload: the server answered -10002"}"#]]
            .assert_eq(&json(&line));
    }
}

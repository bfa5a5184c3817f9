//! What the program says: data to stdout, everything else to stderr.
//!
//! - [`lines`]: the lines of `--json`.

mod lines;

use std::{io::Write as _, path::Path};

use serde::Serialize;

use self::lines::{Line, ResultLine};
use super::{batch::Named, plan::Plan};
use crate::{
    error::{Seconds, UploadError},
    event::Event,
    exit,
    report::{Outcome, UploadReport},
};

/// How it is said.
#[derive(Clone, Copy, Debug)]
pub(super) struct Output {
    pub(super) json: bool,
    pub(super) quiet: bool,
}

impl Output {
    /// Something happened during the upload of a file.
    pub(super) fn event(self, path: &Path, event: &Event) {
        if self.json
            && !self.quiet
            && let Some(line) = Line::of(&path.to_string_lossy(), event)
        {
            print(&json(&line));
        }
    }

    /// A file is stored.
    pub(super) fn report(self, Named { path, among_many }: Named<'_>, report: &UploadReport) {
        if self.json {
            print(&json(&Line::Result(ResultLine::stored(&path.to_string_lossy(), report))));
        } else if !self.quiet {
            let file = if among_many { format!("{}: ", path.display()) } else { String::new() };
            print(&format!("{file}{}", in_words(report)));
        }
    }

    /// What an upload of a file would do. It was asked for, so it is said however quiet the rest is.
    pub(super) fn plan(self, path: &Path, plan: &Plan) {
        let file = path.to_string_lossy();
        print(&if self.json { json(&Line::Plan { file: &file, plan }) } else { plan.in_words(path) });
    }

    /// A file is not.
    pub(super) fn error(self, file: Named<'_>, error: &UploadError) {
        self.failed(Some(file), &ResultLine::failed(error, exit::of(error), &error.to_string()));
    }

    /// Nothing was begun.
    pub(super) fn refused(self, error: &UploadError) {
        self.failed(None, &ResultLine::failed(error, exit::of(error), &error.to_string()));
    }

    pub(super) fn interrupted(self, file: Named<'_>, may_be_committed: bool) {
        let message = if may_be_committed {
            "interrupted while the upload was being finished: the file may have been committed"
        } else {
            "interrupted"
        };
        self.failed(Some(file), &ResultLine::interrupted(may_be_committed, message));
    }

    fn failed(self, file: Option<Named<'_>>, line: &ResultLine<'_>) {
        if self.json {
            let path = file.map(|file| file.path.to_string_lossy());
            print(&json(&Line::Result(line.of_file(path.as_deref()))));
        } else {
            let file = file.filter(|file| file.among_many).map(|file| format!("{}: ", file.path.display()));
            complain(&format!("{}{}", file.unwrap_or_default(), line.message.unwrap_or_default()));
        }
    }

    /// Says on stderr how it went altogether, to people.
    pub(super) fn remark(self, text: &str) {
        if !self.quiet && !self.json {
            self.hint(text);
        }
    }

    /// Says on stderr what to do.
    pub(super) fn hint(self, text: &str) {
        // Nobody can be told that printing failed.
        let _ = writeln!(std::io::stderr().lock(), "{text}");
    }
}

/// Ends a line on stderr that somebody else began.
pub(super) fn below() {
    let _ = writeln!(std::io::stderr().lock());
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
    let [parts, requests] = [("part", *parts_sent), ("request", *attempts)]
        .map(|(noun, number)| format!("{noun}{}", if number == 1 { "" } else { "s" }));
    format!(
        "file {file_id} {what}{url}\n{parts_sent} {parts} sent, {parts_skipped} skipped, {attempts} {requests}, \
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
}

//! The tests of the workspace.

use std::{ffi::OsString, process::ExitCode};

use crate::cargo::{Failure, Line};

/// Runs the tests and the documentation's examples, both to their end.
///
/// nextest runs no documentation examples, and plain `cargo test` with `--all-targets` does not either:
/// the second command is the same for both, and no example runs twice.
///
/// # Errors
/// Names the commands that failed.
pub(crate) fn run(args: &[OsString]) -> Result<ExitCode, Failure> {
    let tests = if nextest_is_installed() {
        Line::cargo(&["nextest", "run", "--workspace"])
    } else {
        eprintln!("cargo-nextest is not installed: plain cargo test runs the same tests");
        Line::cargo(&["test", "--workspace", "--all-targets", "--no-fail-fast"])
    };
    let examples = Line::cargo(&["test", "--workspace", "--doc"]);

    let mut failures = Vec::new();
    for line in [tests.with(args), examples] {
        let status = line.run()?;
        if !status.success() {
            failures.push(line.failed(status).to_string());
        }
    }
    if failures.is_empty() { Ok(ExitCode::SUCCESS) } else { Err(Failure(failures.join("\nerror: "))) }
}

fn nextest_is_installed() -> bool {
    Line::cargo(&["nextest", "--version"]).output().is_ok_and(|output| output.status.success())
}

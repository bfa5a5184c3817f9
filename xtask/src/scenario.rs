//! Building the scenario runner, and handing over to it.

use std::{ffi::OsString, path::PathBuf, process::ExitCode};

use crate::cargo::{self, Failure, Line};

const BINARY: &str = "vod-scenario";

/// Builds the runner and runs scenarios; all of them where none is named. The exit code is the runner's.
///
/// # Errors
/// Says that the runner could not be built or started.
pub(crate) fn run(release: bool, args: &[OsString]) -> Result<ExitCode, Failure> {
    let status = Line::built(build(release)?, &["run"]).with(args).run()?;
    Ok(cargo::exit_code(status))
}

/// Builds the runner and says where it lies.
///
/// # Errors
/// Says that it could not be built.
pub(crate) fn build(release: bool) -> Result<PathBuf, Failure> {
    let line = Line::cargo(&["build", "--package", BINARY, "--bin", BINARY])
        .with(release.then_some("--release"))
        .with(["--message-format=json-render-diagnostics"]);
    let messages = line.stdout()?;
    executable(&String::from_utf8_lossy(&messages))
        .ok_or_else(|| Failure(format!("`{line}` built no {BINARY}: its messages name no such executable")))
}

/// The path of the runner in cargo's messages, one JSON object a line. Cargo alone knows the target directory.
fn executable(messages: &str) -> Option<PathBuf> {
    messages.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok()).find_map(|message| {
        let ours = message["target"]["name"] == BINARY && message["reason"] == "compiler-artifact";
        message["executable"].as_str().filter(|_| ours).map(PathBuf::from)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_executable_is_the_artifact_of_that_name_that_has_one() {
        let library = r#"{"reason":"compiler-artifact","target":{"name":"vod-scenario"},"executable":null}"#;
        let other = r#"{"reason":"compiler-artifact","target":{"name":"vod-mock"},"executable":"/t/vod-mock"}"#;
        let ours = r#"{"reason":"compiler-artifact","target":{"name":"vod-scenario"},"executable":"C:\\t\\a b"}"#;
        let end = r#"{"reason":"build-finished","success":true}"#;
        let all = [library, "not json", other, ours, end].join("\n");
        assert_eq!(executable(&all), Some(PathBuf::from(r"C:\t\a b")));
        assert_eq!(executable(&[library, other, end].join("\n")), None);
    }
}

//! Building the scenario runner, and handing over to it.

use std::{ffi::OsString, path::PathBuf, process::ExitCode};

use crate::cargo::{self, Failure, Line};

/// Builds the runner and runs scenarios; all of them where none is named. The exit code is the runner's.
///
/// # Errors
/// Says that the runner could not be built or started.
pub(crate) fn run(release: bool, args: &[OsString]) -> Result<ExitCode, Failure> {
    let status = runner(release)?.with(args).run()?;
    Ok(cargo::exit_code(status))
}

/// The built runner, about to run scenarios, which says how they are run from here.
///
/// # Errors
/// Says that it could not be built.
pub(crate) fn runner(release: bool) -> Result<Line, Failure> {
    Ok(Line::built(build(release)?, &["run"]).env("VOD_SCENARIO_COMMAND", "cargo xtask scenario"))
}

/// Builds the runner, always with optimisation, and tells stories drawn by chance. The exit code is the runner's.
///
/// # Errors
/// Says that the runner could not be built or started.
pub(crate) fn chaos(args: &[OsString]) -> Result<ExitCode, Failure> {
    let status = Line::built(build(true)?, &["chaos"]).with(args).run()?;
    Ok(cargo::exit_code(status))
}

/// Builds the runner and makes the recordings that are kept anew, where that makes a difference. The exit code is the runner's.
///
/// # Errors
/// Says that the runner could not be built or started.
pub(crate) fn recordings(check: bool) -> Result<ExitCode, Failure> {
    let status = Line::built(build(false)?, &["recordings"]).with(check.then_some("--check")).run()?;
    Ok(cargo::exit_code(status))
}

/// Builds the runner and says where it lies.
///
/// # Errors
/// Says that it could not be built.
pub(crate) fn build(release: bool) -> Result<PathBuf, Failure> {
    let [runner] = cargo::build(release, ["vod-scenario"])?;
    Ok(runner)
}

//! What must hold before a change is done, apart from the tests.

use std::process::ExitCode;

use clap::ValueEnum;

use crate::{
    cargo::{Failure, Line},
    clock::Stopwatch,
    docs, invariants, scenario,
};

/// One step of `cargo xtask ci`, in the order they run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Step {
    /// The source is formatted.
    Fmt,
    /// No lint speaks.
    Clippy,
    /// The documentation builds and its links lead somewhere.
    Doc,
    /// What `ARCHITECTURE.md` says cannot be in this workspace is not in it.
    Invariants,
    /// The tables in `docs/` are as `vod-proto` says.
    Docs,
    /// Every scenario passes in simulation, told by the command as people type it. The tests tell them with real processes too,
    /// and through a recorder.
    Scenarios,
    /// No recording that is kept would be another if it were made anew.
    Recordings,
}

/// What failed, and how to see it again without the rest.
struct Broken {
    failure: Failure,
    repeat: String,
}

/// Runs the steps, all or the named ones, and stops at the first that fails.
///
/// # Errors
/// Names the step that failed, what it said, and the command that repeats it.
pub(crate) fn run(only: &[Step]) -> Result<ExitCode, Failure> {
    let whole = Stopwatch::start();
    for &step in Step::value_variants().iter().filter(|step| only.is_empty() || only.contains(step)) {
        let watch = Stopwatch::start();
        let outcome = step.run();
        let took = watch.elapsed().as_secs_f64();
        match outcome {
            Ok(()) => eprintln!("ci: {} passed in {took:.1} s", step.name()),
            Err(Broken { failure, repeat }) => {
                eprintln!("ci: {} FAILED after {took:.1} s", step.name());
                return Err(Failure(format!("{failure}\nrepeat: {repeat}")));
            }
        }
    }
    eprintln!("ci: all passed in {:.1} s", whole.elapsed().as_secs_f64());
    Ok(ExitCode::SUCCESS)
}

impl Step {
    fn name(self) -> String {
        self.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned())
    }

    fn run(self) -> Result<(), Broken> {
        match self {
            Self::Fmt => command(&Line::cargo(&["fmt", "--all", "--check"])),
            Self::Clippy => {
                let lint = ["clippy", "--workspace", "--all-targets", "--locked", "--", "-D", "warnings"];
                command(&Line::cargo(&lint))
            }
            Self::Doc => {
                let doc = ["doc", "--workspace", "--no-deps", "--locked"];
                command(&Line::cargo(&doc).env("RUSTDOCFLAGS", "-D warnings"))
            }
            Self::Invariants => invariants::check().map_err(|failure| self.broken(failure)),
            Self::Docs => docs::check().map_err(|failure| self.broken(failure)),
            Self::Scenarios => self.scenarios(),
            Self::Recordings => self.recordings(),
        }
    }

    fn scenarios(self) -> Result<(), Broken> {
        let runner = scenario::runner(false).map_err(|failure| self.broken(failure))?;
        // The target is named: what runs here must not hang on the runner's default.
        command(&runner.with(["--target", "sim"]))
            .map_err(|broken| Broken { repeat: "cargo xtask scenario --target sim".to_owned(), ..broken })
    }

    fn recordings(self) -> Result<(), Broken> {
        let runner = scenario::build(false).map_err(|failure| self.broken(failure))?;
        command(&Line::built(runner, &["recordings", "--check"]))
            .map_err(|broken| Broken { repeat: "cargo xtask recordings --check".to_owned(), ..broken })
    }

    fn broken(self, failure: Failure) -> Broken {
        Broken { failure, repeat: format!("cargo xtask ci --only {}", self.name()) }
    }
}

/// Runs a line that is its own repetition.
fn command(line: &Line) -> Result<(), Broken> {
    let broken = |failure| Broken { failure, repeat: line.to_string() };
    let status = line.run().map_err(broken)?;
    if status.success() { Ok(()) } else { Err(broken(line.failed(status))) }
}

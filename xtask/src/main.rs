//! The project's own commands: `cargo xtask scenario | chaos | recordings | test | ci | docs | dist | bench`.
//!
//! - [`cargo`]: runs cargo and others from the root of the workspace, and says what it runs.
//! - [`scenario`]: builds the scenario runner and hands over to it.
//! - [`suite`]: the tests.
//! - [`ci`]: what must hold before a change is done, step by step.
//! - [`docs`]: the tables in `docs/` that are printed from `vod-proto`.
//! - [`dist`]: static binaries, an archive and a container image's folder.
//! - [`mod@bench`]: how fast what was built is, held against the bar.
//! - [`invariants`]: the step that reads dependencies, sources and `ARCHITECTURE.md`.
//!
//! Everything said here goes to stderr; stdout belongs to the programs that are run, and to tables of figures.

mod bench;
mod cargo;
mod ci;
mod clock;
mod dist;
mod docs;
mod invariants;
mod proof;
mod scenario;
mod suite;
mod tracked;

use std::{ffi::OsString, process::ExitCode};

use clap::{Parser, Subcommand};

/// The project's own commands.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Builds the scenario runner and runs scenarios: those named, or all.
    Scenario {
        /// Build and run with optimisation. Stands before the names.
        #[arg(long)]
        release: bool,
        /// What `vod-scenario run` takes: names, files and options.
        #[arg(value_name = "NAME|FILE|OPTION", trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<OsString>,
    },
    /// Builds the scenario runner with optimisation and tells stories drawn by chance.
    Chaos {
        /// What `vod-scenario chaos` takes: `--seeds A..B`, `--for 60s`, `--shard i/n`, `--save DIR`, `--jobs N`.
        #[arg(value_name = "OPTION", trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<OsString>,
    },
    /// Makes the recordings in `recordings/` anew from their stories, where that makes a difference.
    Recordings {
        /// Replaces nothing, and says which would be.
        #[arg(long)]
        check: bool,
    },
    /// Runs all tests, with nextest where it is installed, and the documentation's examples.
    Test {
        /// Handed to the test command: a filter, or options. The documentation's examples always run whole.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<OsString>,
    },
    /// Checks everything else that must hold, and stops at the first step that fails.
    Ci {
        /// Runs this step alone. May be given several times.
        #[arg(long, value_enum)]
        only: Vec<ci::Step>,
    },
    /// Prints the tables of `docs/` anew, from the data of `vod-proto`.
    Docs,
    /// Builds static binaries for Linux, and packs them as an archive and for a container image.
    Dist {
        /// For which target [default: this machine's].
        #[arg(long, value_name = "TRIPLE")]
        target: Option<String>,
    },
    /// Measures what was built against the bar, and says whether it is met. Without a name: what can be measured.
    Bench {
        #[command(subcommand)]
        what: Option<bench::Bench>,
    },
}

fn main() -> ExitCode {
    let outcome = match Cli::parse().command {
        Command::Scenario { release, args } => scenario::run(release, &args),
        Command::Chaos { args } => scenario::chaos(&args),
        Command::Recordings { check } => scenario::recordings(check),
        Command::Test { args } => suite::run(&args),
        Command::Ci { only } => ci::run(&only),
        Command::Docs => docs::print(),
        Command::Dist { target } => dist::run(target),
        Command::Bench { what } => bench::run(what),
    };
    outcome.unwrap_or_else(|failure| {
        eprintln!("error: {failure}");
        ExitCode::FAILURE
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        use clap::CommandFactory as _;
        Cli::command().debug_assert();
    }

    #[test]
    fn what_workflows_and_the_readme_call_is_known() {
        let files = tracked::files().unwrap();
        let calling = |path: &str| path.starts_with(".github/workflows/") || path == "README.md";
        let lines = files.iter().filter(|file| calling(&file.path)).flat_map(|file| file.text.lines());
        let mut calls = 0;
        for line in lines {
            let run = line.trim_start().trim_start_matches("- ").trim_start_matches("run: ").trim_start_matches("$ ");
            let Some(args) = run.strip_prefix("cargo xtask ") else { continue };
            let args = args.split(" #").next().unwrap_or_default().replace("${{ ", "").replace(" }}", "");
            let words = args.split_whitespace();
            let parsed = Cli::try_parse_from(std::iter::once("cargo xtask").chain(words));
            calls += 1;
            if let Err(error) = parsed {
                panic!("{line}: {error}");
            }
        }
        assert!(calls > 10, "only {calls} calls were found");
    }

    #[test]
    fn options_of_chaos_reach_the_scenario_runner() {
        let cli = Cli::try_parse_from(["cargo xtask", "chaos", "--seeds", "0..9", "--shard", "1/2"]);
        let Command::Chaos { args } = cli.unwrap().command else { panic!("not a chaos command") };
        assert_eq!(args, ["--seeds", "0..9", "--shard", "1/2"]);
    }

    #[test]
    fn options_behind_the_subcommand_reach_the_scenario_runner() {
        let cli = Cli::try_parse_from(["cargo xtask", "scenario", "--release", "--target", "sim", "plain-upload"]);
        let Command::Scenario { release, args } = cli.unwrap().command else { panic!("not a scenario command") };
        assert!(release);
        assert_eq!(args, ["--target", "sim", "plain-upload"]);
    }
}

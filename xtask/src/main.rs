//! The project's own commands: `cargo xtask scenario | chaos | recordings | test | ci | docs | bench`.
//!
//! - [`cargo`]: runs cargo and others from the root of the workspace, and says what it runs.
//! - [`scenario`]: builds the scenario runner and hands over to it.
//! - [`suite`]: the tests.
//! - [`ci`]: what must hold before a change is done, step by step.
//! - [`docs`]: the tables in `docs/` that are printed from `vod-proto`.
//! - [`mod@bench`]: how fast what was built is, held against the bar.
//! - [`invariants`]: the step that reads dependencies, sources and `ARCHITECTURE.md`.
//!
//! Everything said here goes to stderr; stdout belongs to the programs that are run, and to tables of figures.

mod bench;
mod cargo;
mod ci;
mod clock;
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

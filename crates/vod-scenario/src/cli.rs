//! The `vod-scenario` command line. Reports go to stdout, everything else to stderr.
//!
//! - `run`: tells stories; `chaos`: those drawn by chance; `list`: shows which there are.
//! - `recordings`: makes those that are kept anew.

mod chaos;
mod list;
mod recordings;
mod run;
mod stop;

use std::{
    borrow::Cow,
    ffi::{OsStr, OsString},
    fmt::Display,
    io::{self, Write as _},
    num::NonZeroUsize,
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::{Parser, Subcommand};

use crate::{exit, format, from_recording, library, report::visible};

/// Runs and judges scenarios against the mock and the client.
#[derive(Debug, Parser)]
#[command(name = "vod-scenario", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Runs scenarios: those named, or all in a folder
    Run(Box<run::RunArgs>),
    /// Tells stories drawn by chance in simulation, and makes those that break something smaller
    Chaos(chaos::ChaosArgs),
    /// Lists the scenarios in a folder
    List(list::ListArgs),
    /// Makes a scenario of a recorded failure, and prints it: what went wrong with each request becomes a fault
    FromRecording {
        /// The directory of a recording, or the file of a journal
        #[arg(value_name = "DIR|FILE")]
        recording: PathBuf,
    },
    /// Makes the recordings in ./recordings anew from their stories, where that makes a difference
    Recordings(recordings::Args),
    /// Prints the JSON schema of scenario files, for editors
    Schema,
    /// Checks scenario files without running them
    Check {
        /// The files
        #[arg(required = true, value_name = "FILE")]
        files: Vec<PathBuf>,
    },
}

/// Where scenarios that are named lie.
#[derive(Debug, clap::Args)]
struct Library {
    /// The folder of named scenarios, and of all where none is named
    #[arg(long, value_name = "DIR", env = "VOD_SCENARIOS", default_value = library::DIR)]
    scenarios: PathBuf,
}

impl Library {
    /// As a shell hands it over, where it is not as usual.
    fn flag(&self) -> String {
        if self.scenarios == Path::new(library::DIR) {
            return String::new();
        }
        let dir = self.scenarios.to_string_lossy();
        format!(" --scenarios {}", shlex::try_quote(&dir).unwrap_or(Cow::Borrowed(&*dir)))
    }
}

/// Runs the command line. `args` begins with the program's name.
///
/// `vod-scenario mock …`, `vod-scenario client …` and `vod-scenario proxy …` are the other programs: process scenarios run
/// them from this very binary, so that no test meets one that is stale or missing.
pub fn main(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let args: Vec<OsString> = args.into_iter().collect();
    let other = |name: &str| std::iter::once(OsString::from(name)).chain(args.iter().skip(2).cloned());
    match args.get(1).map(OsString::as_os_str).and_then(OsStr::to_str) {
        Some("mock") => vod_mock::cli::main(other("vod-mock")),
        Some("proxy") => vod_proxy::cli::main(other("vod-proxy")),
        Some("client") => vod_client::cli::main(other("vod-client")),
        _ => match Cli::try_parse_from(&args) {
            Ok(cli) => ExitCode::from(dispatch(cli.command)),
            Err(error) => {
                let _ = error.print();
                ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(exit::USAGE))
            }
        },
    }
}

fn dispatch(command: Command) -> u8 {
    match command {
        Command::Run(args) => run::run_all(&args),
        Command::Chaos(args) => chaos::run(args),
        Command::List(args) => list::list(&args),
        Command::FromRecording { recording } => match from_recording::from_recording(&recording) {
            Ok(text) => {
                say(text.trim_end());
                exit::PASS
            }
            Err(error) => {
                complain(error);
                exit::USAGE
            }
        },
        Command::Recordings(args) => recordings::run(&args),
        Command::Schema => {
            say(format::SCHEMA.trim_end());
            exit::PASS
        }
        Command::Check { files } => check(&files),
    }
}

/// A line for people, or for a program that reads reports; nothing in it acts on a terminal. Whoever does not read it any more misses nothing.
fn say(line: impl Display) {
    let _ = writeln!(io::stdout(), "{}", visible(&line.to_string()));
}

/// How many are told at a time.
fn jobs(word: &str) -> Result<NonZeroUsize, String> {
    word.parse().map_err(|_| "expected a number of 1 or more".to_owned())
}

fn complain(error: impl Display) {
    let _ = writeln!(io::stderr(), "vod-scenario: {}", visible(&error.to_string()));
}

fn check(files: &[PathBuf]) -> u8 {
    let mut code = exit::PASS;
    for file in files {
        match format::load(file) {
            Ok(cells) if cells.len() == 1 => say(format_args!("{}: a good scenario", file.display())),
            Ok(cells) => say(format_args!("{}: {} good scenarios", file.display(), cells.len())),
            Err(error) => {
                complain(error);
                code = exit::USAGE;
            }
        }
    }
    code
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }
}

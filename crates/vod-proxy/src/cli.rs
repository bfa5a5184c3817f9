//! The `vod-proxy` command line. What was asked for goes to stdout, everything else to stderr.

mod ca;
mod diff;
mod exchanges;
mod export;
mod leaks;
mod lint;
mod pass;
mod record;
mod replay;
mod serving;
mod show;
mod verify;

use std::{
    ffi::OsString,
    fmt::Display,
    io::{self, IsTerminal as _, Write as _},
    process::ExitCode,
};

use clap::{Parser, Subcommand};

use crate::exit;

/// Records sessions of the VOD multipart upload protocol, and replays them offline.
#[derive(Debug, Parser)]
#[command(name = "vod-proxy", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Passes requests on to real servers, and records them
    Record(record::Args),
    /// Passes requests on in the same way, and keeps nothing
    Pass(pass::Args),
    /// Answers from a recording, without asking anybody
    Replay(replay::Args),
    /// Shows what happened: a table of uploads, and a timeline
    Show(show::Args),
    /// Says which rules of the protocol the client broke, and which exchanges prove it
    Lint(lint::Args),
    /// Says what differs between two recordings: what was asked how often, and what was answered
    Diff(diff::Args),
    /// Writes the exchanges in the format of other tools
    Export(export::Args),
    /// Looks for known secrets in recordings, in every form in which they may be written
    Leaks(leaks::Args),
    /// Makes, shows or exports the CA that clients have to trust
    Ca(ca::Args),
    /// Says whether a recording is whole: its versions, its checksums, its bodies, its end
    Verify(verify::Args),
}

/// Runs the command line. `args` begins with the program's name.
pub fn main(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let filter = tracing_subscriber::EnvFilter::try_from_default_env().unwrap_or_else(|_| "warn".into());
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_ansi(io::stderr().is_terminal());
    // A log that cannot be written is not to be written about: a server would die of a full disk.
    let _ = log.with_writer(io::stderr).log_internal_errors(false).try_init();
    match Cli::try_parse_from(args) {
        Ok(Cli { command }) => ExitCode::from(match command {
            Command::Record(args) => record::run(args),
            Command::Pass(args) => pass::run(args),
            Command::Replay(args) => replay::run(args),
            Command::Show(args) => show::run(&args),
            Command::Lint(args) => lint::run(&args),
            Command::Diff(args) => diff::run(&args),
            Command::Export(args) => export::run(&args),
            Command::Leaks(args) => leaks::run(&args),
            Command::Ca(args) => ca::run(args),
            Command::Verify(args) => verify::run(&args),
        }),
        Err(error) => {
            // Help and version go to stdout with code 0, mistakes to stderr with code 2.
            let _ = error.print();
            ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(exit::USAGE))
        }
    }
}

/// A line for people, or for a program that reads on. Whoever does not read it any more misses nothing.
fn say(line: impl Display) {
    let _ = writeln!(io::stdout(), "{line}");
}

fn complain(error: impl Display) {
    let _ = writeln!(io::stderr(), "vod-proxy: {error}");
}

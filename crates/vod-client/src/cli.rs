//! The program `vod-client`: its command line, and what it prints.
//!
//! - `cli/upload.rs`: `vod-client upload`.
//!   - `cli/files.rs`: which files are meant; `cli/batch.rs`: one beside the other; `cli/interrupt.rs`: Ctrl-C;
//!     `cli/plan.rs`: `--dry-run`.
//! - `cli/sign.rs`: `vod-client sign ugc` and `vod-client sign request`.
//! - `cli/verify.rs`: `vod-client verify`.
//! - `cli/explain.rs`: `vod-client explain`.
//! - `cli/print.rs`: `vod-client completions` and `vod-client man`.
//! - `cli/connection.rs`: how the server is reached.
//! - `cli/keys.rs`: secrets, from the environment or a file.
//! - `cli/facts.rs`: what is said of a file; `cli/cache.rs`, `cli/patience.rs`: where digests are kept, how long is tried.
//! - `cli/values.rs`: durations as people write them.
//! - `cli/color.rs`: when colours are shown.
//! - `cli/output.rs`: data to stdout, everything else to stderr.
//! - `cli/progress.rs`: the bars, on a terminal.

mod batch;
mod cache;
mod color;
mod connection;
mod explain;
mod facts;
mod files;
mod interrupt;
mod keys;
mod output;
mod patience;
mod plan;
mod print;
mod progress;
mod sign;
mod upload;
mod values;
mod verify;

use std::{ffi::OsString, process::ExitCode, time::Duration};

use clap::{ColorChoice, CommandFactory as _, FromArgMatches as _, Parser, Subcommand};
use tracing::level_filters::LevelFilter;

use self::output::Output;

use crate::{
    error::{Failure, UploadError},
    exit,
};

/// Uploads files to the VOD service: in parallel, resumable, honest about what happened.
#[derive(Parser)]
#[command(
    name = "vod-client",
    version,
    after_help = "Secrets are read from the environment variables VOD_SECRET_KEY, VOD_TOKEN, VOD_VERIFY_KEY and \
                  VOD_SIGNATURE or from files, never from arguments, which every process of the machine can read.\n\
                  RUST_LOG sets what is logged to stderr (default: warn; error below a progress bar).\n\
                  Exit codes: 0 done, 2 usage, 3 configuration, 4 local file, 5 rejected, 6 network or retries spent, \
                  7 unreadable reply, 8 failed but may be stored, 9 forged, 10 expired, 130 interrupted; \
                  `vod-client explain exit` says more."
)]
struct Cli {
    /// Colours in messages and in the log; NO_COLOR turns them off too
    #[arg(long, global = true, value_name = "WHEN", default_value_t = ColorChoice::Auto)]
    color: ColorChoice,

    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Upload files, or what the service lacks of them
    Upload(Box<upload::UploadArgs>),
    /// Sign an upload or a request, and print what comes of it
    #[command(subcommand)]
    Sign(sign::SignCommand),
    /// Check what an upload is proven by, and print what it says
    Verify(verify::VerifyArgs),
    /// Say what a code means, whether it is tried again, and what to do
    Explain(explain::ExplainArgs),
    /// Print the completions of a shell
    Completions(print::CompletionsArgs),
    /// Print the manual page, for `man -l -`
    Man,
}

/// Runs the program, and says how it went. The first argument is the program's name.
///
/// Everything is printed before this returns; the exit codes are in [`exit`].
pub fn main(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let argv: Vec<OsString> = args.into_iter().collect();
    let matches = Cli::command().color(color::asked(&argv)).try_get_matches_from(&argv);
    let cli = match matches.and_then(|matches| Cli::from_arg_matches(&matches)) {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version go to stdout and are a success. Nobody can be told that printing failed.
            let _ = error.print();
            return ExitCode::from(if error.use_stderr() { exit::USAGE } else { exit::OK });
        }
    };
    ExitCode::from(match cli.command {
        Command::Upload(args) => upload::run(*args, &argv, cli.color),
        Command::Sign(command) => sign::run(command, cli.color),
        Command::Verify(args) => verify::run(args),
        Command::Explain(args) => explain::run(&args),
        Command::Completions(args) => print::completions(&args),
        Command::Man => print::man(),
    })
}

fn start_log(bar: bool, color: ColorChoice) {
    // The bar says itself that a request is tried again; lines of a log would tear it.
    let level = if bar { LevelFilter::ERROR } else { LevelFilter::WARN };
    let filter = tracing_subscriber::EnvFilter::builder().with_default_directive(level.into()).from_env_lossy();
    // Another program that calls this one may have its own log already.
    let _ = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(color::on_stderr(color))
        .try_init();
}

fn early(error: impl Into<Failure>) -> UploadError {
    UploadError::early(error, Duration::ZERO)
}

/// Prints what a command made or found, or why it could not, and says the exit code.
fn conclude(result: Result<String, Failure>) -> u8 {
    match result {
        Ok(text) => {
            output::print(&text);
            exit::OK
        }
        Err(failure) => {
            let error = early(failure);
            Output { json: false, quiet: false }.refused(&error);
            exit::of(&error)
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn no_secret_is_an_argument() {
        let mut cli = Cli::command();
        cli.build();
        let mut commands = vec![cli];
        while let Some(command) = commands.pop() {
            for argument in command.get_arguments() {
                let id = argument.get_id().as_str();
                let secret = ["key", "signature", "token", "password"].iter().any(|word| id.contains(word));
                let value = argument.get_action().takes_values() && !id.ends_with("_file");
                assert!(!(secret && value), "{} {argument}", command.get_name());
            }
            commands.extend(command.get_subcommands().cloned());
        }
    }
}

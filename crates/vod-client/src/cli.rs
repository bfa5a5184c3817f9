//! The program `vod-client`: its command line, and what it prints.
//!
//! - `cli/values.rs`: sizes and durations as people write them.
//! - `cli/output.rs`: data to stdout, everything else to stderr.
//! - `cli/progress.rs`: the bar, on a terminal.
//!
//! The secret key comes from the environment alone: an argument could be read by every process of the machine.

mod output;
mod progress;
mod values;

use std::{
    ffi::OsString,
    io::IsTerminal as _,
    path::PathBuf,
    process::ExitCode,
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use clap::{Args, Parser, Subcommand, ValueEnum};
use tracing::level_filters::LevelFilter;
use vod_proto::{FileFacts, sign::SecretKey};

use self::{output::Output, progress::Progress};

use crate::{
    clock::Stopwatch,
    core::RetryPolicy,
    error::{ConfigError, UploadError},
    event::Event,
    exit,
    report::UploadReport,
    source::FileSource,
    uploader::{Credentials, Dialect, Endpoint, Options, Uploader},
};

/// The environment variable that holds the secret key.
const SECRET_KEY: &str = "VOD_SECRET_KEY";

/// Uploads files to the VOD service: in parallel, resumable, honest about what happened.
#[derive(Debug, Parser)]
#[command(
    name = "vod-client",
    version,
    after_help = "The secret key is read from the environment variable VOD_SECRET_KEY, never from an argument.\n\
                  RUST_LOG sets what is logged to stderr (default: warn; error below a progress bar).\n\
                  Exit codes: 0 stored, 2 usage, 3 configuration, 4 local file, 5 rejected, 6 network or retries spent, \
                  7 unreadable reply, 8 failed but may be stored, 130 interrupted."
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Upload a file, or what the service lacks of it
    Upload(Box<UploadArgs>),
}

#[derive(Debug, Args)]
struct UploadArgs {
    /// The file
    file: PathBuf,

    /// Where to: http://HOST[:PORT]
    #[arg(long, env = "VOD_ENDPOINT", value_name = "URL")]
    endpoint: String,

    /// The public half of the account's key pair
    #[arg(long, env = "VOD_SECRET_ID", value_name = "ID", hide_env_values = true)]
    secret_id: String,

    /// The size of a part; a resumed upload keeps the one it began with
    #[arg(long, value_name = "SIZE", value_parser = values::size)]
    part_size: Option<u64>,

    /// How many parts are sent at once
    #[arg(long, value_name = "N", default_value_t = 4)]
    parallel: usize,

    /// How requests look: as the documents say, or as most clients really send them
    #[arg(long, value_enum, default_value_t = DialectArg::Documented)]
    dialect: DialectArg,

    /// The host to sign for, whatever the endpoint
    #[arg(long, value_name = "HOST")]
    sign_host: Option<String>,

    /// The name to show [default: the file's, without extension]
    #[arg(long)]
    name: Option<String>,

    /// The type, such as mp4 [default: the file's extension]
    #[arg(long = "type", value_name = "TYPE")]
    file_type: Option<String>,

    /// The class to file it under
    #[arg(long, value_name = "ID")]
    class_id: Option<u64>,

    /// A tag; may be given more than once
    #[arg(long = "tag", value_name = "TAG")]
    tags: Vec<String>,

    /// Transcode it after the upload
    #[arg(long)]
    transcode: bool,

    /// Take a cover from it, with --transcode
    #[arg(long, requires = "transcode")]
    screenshot: bool,

    /// Put the watermark on it, with --transcode
    #[arg(long, requires = "transcode")]
    watermark: bool,

    /// How often a request may be sent, the first time included
    #[arg(long, value_name = "N", default_value_t = RetryPolicy::default().attempts)]
    attempts: u32,

    /// When to give up the whole upload, such as 10m [default: never]
    #[arg(long, value_name = "DURATION", value_parser = values::duration)]
    deadline: Option<Duration>,

    /// How long a request may be without any byte moving
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = values::duration)]
    stall_timeout: Duration,

    /// Where all chance comes from, to repeat a run [default: drawn, and logged at level info]
    #[arg(long, value_name = "N")]
    seed: Option<u64>,

    /// Print one line of JSON, also on failure
    #[arg(long)]
    json: bool,

    /// Show no progress, and print nothing on success unless --json is given
    #[arg(long)]
    quiet: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum DialectArg {
    /// GET and POST, /v2
    Documented,
    /// POST always, /v3
    Observed,
}

/// Runs the program, and says how it went. The first argument is the program's name.
///
/// Everything is printed before this returns; the exit codes are in [`exit`].
pub fn main(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let cli = match Cli::try_parse_from(args) {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version go to stdout and are a success. Nobody can be told that printing failed.
            let _ = error.print();
            return ExitCode::from(if error.use_stderr() { exit::USAGE } else { exit::OK });
        }
    };
    let Command::Upload(args) = cli.command;
    let bar = !args.quiet && !args.json && std::io::stderr().is_terminal();
    start_log(bar);
    let output = Output { json: args.json, quiet: args.quiet };
    let end = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => {
            let end = runtime.block_on(upload_or_interrupt(*args, bar));
            // A read that hangs on a dead disk must not keep the program from ending.
            runtime.shutdown_background();
            end
        }
        Err(error) => End::Failed(early(ConfigError::Start(error.to_string()))),
    };
    ExitCode::from(match end {
        End::Done(report) => {
            output.report(&report);
            exit::OK
        }
        End::Failed(error) => {
            output.error(&error);
            exit::of(&error)
        }
        End::Interrupted { may_be_committed } => {
            output.interrupted(may_be_committed);
            exit::INTERRUPTED
        }
    })
}

/// How the program ends.
enum End {
    Done(UploadReport),
    Failed(UploadError),
    Interrupted { may_be_committed: bool },
}

fn start_log(bar: bool) {
    // The bar says itself that a request is tried again; lines of a log would tear it.
    let level = if bar { LevelFilter::ERROR } else { LevelFilter::WARN };
    let filter = tracing_subscriber::EnvFilter::builder().with_default_directive(level.into()).from_env_lossy();
    // Another program that calls this one may have its own log already.
    let _ = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .try_init();
}

async fn upload_or_interrupt(args: UploadArgs, bar: bool) -> End {
    // From its first byte to its answer, a finish may have stored the file.
    let finishing = AtomicBool::new(false);
    tokio::select! {
        biased;
        result = upload(args, bar, &finishing) => result.map_or_else(End::Failed, End::Done),
        () = interrupted() => End::Interrupted { may_be_committed: finishing.load(Ordering::Relaxed) },
    }
}

async fn interrupted() {
    if tokio::signal::ctrl_c().await.is_err() {
        // Without a handler, Ctrl-C ends the program the usual way.
        std::future::pending().await
    }
}

fn early(error: impl Into<crate::Failure>) -> UploadError {
    UploadError::early(error, Duration::ZERO)
}

async fn upload(args: UploadArgs, bar: bool, finishing: &AtomicBool) -> Result<UploadReport, UploadError> {
    let watch = Stopwatch::start();
    let endpoint = args.endpoint.parse::<Endpoint>().map_err(early)?;
    let key = std::env::var(SECRET_KEY).ok().filter(|key| !key.is_empty());
    let key = key.ok_or_else(|| early(ConfigError::NoSecretKey(SECRET_KEY)))?;
    let source = FileSource::open(&args.file).map_err(early)?;
    let mut facts = FileFacts::from_path(&args.file);
    let stem = args.file.file_stem().unwrap_or_default().to_string_lossy();
    if args.name.is_none() && facts.name != stem {
        tracing::warn!(file = %stem, name = %facts.name, "the service would not take the file's name: it gets another");
    }
    if let Some(name) = args.name {
        facts.name = name;
    }
    if let Some(file_type) = args.file_type {
        facts.file_type = file_type;
    }
    facts.tags = args.tags;
    facts.class_id = args.class_id;
    facts.transcode = args.transcode;
    facts.screenshot = args.screenshot;
    facts.watermark = args.watermark;

    let defaults = Options::default();
    let options = Options {
        dialect: match args.dialect {
            DialectArg::Documented => Dialect::Documented,
            DialectArg::Observed => Dialect::Observed,
        },
        part_size: args.part_size,
        parallel: args.parallel,
        retry: RetryPolicy { attempts: args.attempts, deadline: args.deadline, ..RetryPolicy::default() },
        sign_host: args.sign_host,
        seed: args.seed.unwrap_or(defaults.seed),
        stall_timeout: args.stall_timeout,
        ..defaults
    };
    let credentials = Credentials::new(args.secret_id, SecretKey::new(key));
    let uploader = Uploader::new(endpoint, credentials).options(options);

    let mut progress = Progress::new(bar);
    let observe = |event: Event| {
        if matches!(event, Event::AttemptStarted { action: vod_proto::Action::FinishUpload, .. }) {
            finishing.store(true, Ordering::Relaxed);
        }
        progress.show(&event);
    };
    let result = uploader.upload_observed(source, facts, observe).await;
    progress.clear();
    tracing::info!(elapsed = ?watch.elapsed(), "upload ends");
    result
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
    fn every_flag_is_read() {
        let line = "vod-client upload a.mp4 --endpoint http://h --secret-id id --part-size 512KiB --parallel 8 \
                    --dialect observed --sign-host s --name n --type t --class-id 3 --tag a --tag b --transcode \
                    --screenshot --watermark --attempts 2 --deadline 10m --stall-timeout 1500ms --seed 7 --json --quiet";
        let Command::Upload(args) = Cli::try_parse_from(line.split_whitespace()).unwrap().command;
        assert_eq!((args.part_size, args.parallel, args.attempts, args.seed), (Some(524_288), 8, 2, Some(7)));
        assert_eq!(args.deadline, Some(Duration::from_secs(600)));
        assert_eq!(args.stall_timeout, Duration::from_millis(1500));
        assert_eq!((args.tags, args.class_id), (vec!["a".to_owned(), "b".to_owned()], Some(3)));
    }

    #[test]
    fn the_secret_key_is_no_argument() {
        let help = Cli::command().find_subcommand_mut("upload").unwrap().render_long_help().to_string();
        assert!(!help.contains("--secret-key"), "{help}");
    }
}

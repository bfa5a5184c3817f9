//! `vod-client upload`.

use std::{
    io::IsTerminal as _,
    path::PathBuf,
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use clap::{Args, ValueEnum};
use vod_proto::FileFacts;

use super::{early, output::Output, progress::Progress, secret_key, start_log, values};
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

#[derive(Debug, Args)]
pub(super) struct UploadArgs {
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

/// How the program ends.
enum End {
    Done(UploadReport),
    Failed(UploadError),
    Interrupted { may_be_committed: bool },
}

/// Uploads, prints how it went, and says the exit code.
pub(super) fn run(args: UploadArgs) -> u8 {
    let bar = !args.quiet && !args.json && std::io::stderr().is_terminal();
    start_log(bar);
    let output = Output { json: args.json, quiet: args.quiet };
    let end = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => {
            let end = runtime.block_on(upload_or_interrupt(args, bar));
            // A read that hangs on a dead disk must not keep the program from ending.
            runtime.shutdown_background();
            end
        }
        Err(error) => End::Failed(early(ConfigError::Start(error.to_string()))),
    };
    match end {
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
    }
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

async fn upload(args: UploadArgs, bar: bool, finishing: &AtomicBool) -> Result<UploadReport, UploadError> {
    let watch = Stopwatch::start();
    let endpoint = args.endpoint.parse::<Endpoint>().map_err(early)?;
    let key = secret_key().map_err(early)?;
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
    let credentials = Credentials::new(args.secret_id, key);
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
    use clap::Parser as _;

    use super::*;

    #[derive(clap::Parser)]
    struct Line {
        #[command(flatten)]
        args: UploadArgs,
    }

    #[test]
    fn every_flag_is_read() {
        let line = "upload a.mp4 --endpoint http://h --secret-id id --part-size 512KiB --parallel 8 \
                    --dialect observed --sign-host s --name n --type t --class-id 3 --tag a --tag b --transcode \
                    --screenshot --watermark --attempts 2 --deadline 10m --stall-timeout 1500ms --seed 7 --json --quiet";
        let args = Line::parse_from(line.split_whitespace()).args;
        assert_eq!((args.part_size, args.parallel, args.attempts, args.seed), (Some(524_288), 8, 2, Some(7)));
        assert_eq!(args.deadline, Some(Duration::from_secs(600)));
        assert_eq!(args.stall_timeout, Duration::from_millis(1500));
        assert_eq!((args.tags, args.class_id), (vec!["a".to_owned(), "b".to_owned()], Some(3)));
    }
}

//! `vod-client upload`.

use std::{
    io::IsTerminal as _,
    path::PathBuf,
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use clap::{Args, ColorChoice, ValueEnum};
use vod_proto::{Family, FileFacts, Size};

use super::{
    cache::CacheArgs,
    connection::ConnectionArgs,
    early,
    facts::FactsArgs,
    keys::{SecretKeyArgs, SignatureArgs},
    output::Output,
    patience::PatienceArgs,
    progress::Progress,
    start_log, values,
};
use crate::{
    clock::Stopwatch,
    error::{ConfigError, UploadError},
    event::Event,
    exit,
    report::UploadReport,
    source::{FileSource, Source as _},
    uploader::{Credentials, Dialect, Endpoint, Options, Uploader},
};

#[derive(Args)]
pub(super) struct UploadArgs {
    /// The file
    file: PathBuf,

    /// Where to: http://HOST[:PORT] or https://HOST[:PORT]
    #[arg(long, env = "VOD_ENDPOINT", value_name = "URL")]
    endpoint: String,

    /// Which calls the upload is made of
    #[arg(long, value_enum, default_value_t = FamilyArg::Server)]
    family: FamilyArg,

    /// The public half of the account's key pair
    #[arg(long, env = "VOD_SECRET_ID", value_name = "ID", hide_env_values = true)]
    secret_id: Option<String>,

    #[command(flatten)]
    key: SecretKeyArgs,

    #[command(flatten)]
    signature: SignatureArgs,

    /// How long the upload signature holds that is made from the key pair, in the ugc family [default: 2d]
    #[arg(long, value_name = "DURATION", value_parser = values::duration)]
    expires_in: Option<Duration>,

    /// The size of a part; a resumed upload keeps the one it began with [default: 1MiB, 5MiB in the legacy family]
    #[arg(long, value_name = "SIZE")]
    part_size: Option<Size>,

    /// How many parts are sent at once; one in the legacy family, whatever this says
    #[arg(long, value_name = "N", default_value_t = 4)]
    parallel: usize,

    /// How requests look: as the documents say, or as most clients really send them
    #[arg(long, value_enum, default_value_t = DialectArg::Documented)]
    dialect: DialectArg,

    /// The host to sign for, whatever the endpoint [default: vod2.qcloud.com, vod.qcloud.com in the legacy family]
    #[arg(long, value_name = "HOST")]
    sign_host: Option<String>,

    #[command(flatten)]
    facts: FactsArgs,

    /// Whom to tell when it is transcoded, in the legacy family
    #[arg(long, value_name = "URL")]
    notify_url: Option<String>,

    /// The file is an image: the cover of the video with this id, in the server family
    #[arg(long, value_name = "FILE-ID")]
    cover_of: Option<String>,

    #[command(flatten)]
    cache: CacheArgs,

    /// Where all chance comes from, to repeat a run [default: drawn, and logged at level info]
    #[arg(long, value_name = "N")]
    seed: Option<u64>,

    /// Print one line of JSON, also on failure
    #[arg(long)]
    json: bool,

    /// Show no progress, and print nothing on success unless --json is given
    #[arg(long)]
    quiet: bool,

    #[command(flatten)]
    patience: PatienceArgs,

    #[command(flatten)]
    connection: ConnectionArgs,
}

#[derive(Clone, Copy, ValueEnum)]
enum FamilyArg {
    /// Three steps, each request signed with the key pair
    Server,
    /// The same steps under one upload signature
    Ugc,
    /// One action, part after part
    Legacy,
}

impl From<FamilyArg> for Family {
    fn from(family: FamilyArg) -> Self {
        match family {
            FamilyArg::Server => Self::Server,
            FamilyArg::Ugc => Self::Ugc,
            FamilyArg::Legacy => Self::Legacy,
        }
    }
}

#[derive(Clone, Copy, ValueEnum)]
enum DialectArg {
    /// GET and POST, /v2
    Documented,
    /// POST always, /v3
    Observed,
}

impl UploadArgs {
    /// What requests are signed with. An upload signature comes first: who has one mostly has no key pair.
    fn credentials(&self) -> Result<Credentials, ConfigError> {
        if let Some(token) = self.signature.signature()? {
            let said = self.facts.first_flag().or(self.expires_in.map(|_| "--expires-in"));
            let said = said.or(self.notify_url.as_ref().map(|_| "--notify-url"));
            return match said.or(self.cover_of.as_ref().map(|_| "--cover-of")) {
                Some(flag) => Err(ConfigError::Signature(format!(
                    "says all that is said of the file: {flag} has no place beside it"
                ))),
                None => Ok(Credentials::token(token)),
            };
        }
        let Some(id) = self.secret_id.clone() else {
            let found = "missing: expected --secret-id or VOD_SECRET_ID, or an upload signature".to_owned();
            return Err(ConfigError::Setting { name: "the secret id", found });
        };
        Ok(Credentials::new(id, self.key.secret_key()?))
    }
}

/// How the program ends.
enum End {
    Done(UploadReport),
    Failed(UploadError),
    Interrupted { may_be_committed: bool },
}

/// Uploads, prints how it went, and says the exit code.
pub(super) fn run(args: UploadArgs, color: ColorChoice) -> u8 {
    let bar = !args.quiet && !args.json && std::io::stderr().is_terminal();
    start_log(bar, color);
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
    let credentials = args.credentials().map_err(early)?;
    let source = FileSource::open(&args.file).map_err(early)?;
    let total = source.len();
    let facts = FileFacts { notify_url: args.notify_url, cover_of: args.cover_of, ..args.facts.facts(&args.file) };

    let defaults = Options::default();
    let options = Options {
        family: args.family.into(),
        dialect: match args.dialect {
            DialectArg::Documented => Dialect::Documented,
            DialectArg::Observed => Dialect::Observed,
        },
        part_size: args.part_size.map(Size::bytes),
        parallel: args.parallel,
        retry: args.patience.policy(),
        sign_host: args.sign_host,
        token_life: args.expires_in.unwrap_or(defaults.token_life),
        seed: args.seed.unwrap_or(defaults.seed),
        stall_timeout: args.patience.stall_timeout,
        digest_cache: args.cache.dir(),
        ..defaults
    };
    let options = args.connection.apply(options).map_err(early)?;
    let uploader = Uploader::new(endpoint, credentials).options(options);

    let mut progress = Progress::new(bar);
    let observe = |event: Event| {
        if let Event::AttemptStarted { action, span, .. } = &event
            && action.role().can_commit()
            && span.is_none_or(|span| span.end() == total)
        {
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
        assert_eq!(
            (args.part_size, args.parallel, args.patience.policy().attempts, args.seed),
            (Some(Size::new(524_288)), 8, 2, Some(7))
        );
        assert_eq!(args.patience.policy().deadline, Some(Duration::from_secs(600)));
        assert_eq!(args.patience.stall_timeout, Duration::from_millis(1500));
        assert_eq!((args.facts.tags, args.facts.class_id), (vec!["a".to_owned(), "b".to_owned()], Some(3)));
        assert_eq!(Family::from(args.family), Family::Server);

        let line = "upload a.mp4 --endpoint http://h --secret-id id --family ugc --expires-in 2d --notify-url http://u \
                    --cover-of 7";
        let args = Line::parse_from(line.split_whitespace()).args;
        assert_eq!((Family::from(args.family), args.expires_in), (Family::Ugc, Some(Duration::from_secs(172_800))));
        assert_eq!((args.notify_url.as_deref(), args.cover_of.as_deref()), (Some("http://u"), Some("7")));
    }
}

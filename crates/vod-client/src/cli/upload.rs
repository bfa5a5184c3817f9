//! `vod-client upload`.

use std::{
    ffi::OsString,
    io::IsTerminal as _,
    path::{Path, PathBuf},
    time::Duration,
};

use clap::{Args, ColorChoice, ValueEnum};
use vod_proto::{Family, FileFacts, Size, sign::SecretKey, ugc::UploadSignature};

use super::{
    batch::Batch,
    cache::CacheArgs,
    connection::ConnectionArgs,
    early,
    facts::FactsArgs,
    files,
    keys::{SecretKeyArgs, SignatureArgs, TokenArgs},
    output::Output,
    patience::PatienceArgs,
    progress::Progress,
    start_log, values,
};
use crate::{
    error::{ConfigError, UploadError},
    exit,
    uploader::{Credentials, Dialect, Endpoint, Options, Uploader},
};

/// What is missing where no account is named.
const SECRET_ID: &str = "the secret id";

#[derive(Args)]
pub(super) struct UploadArgs {
    /// The files, or patterns such as '*.mp4'
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,

    /// How many files are uploaded at once [default: 2, so that one is sent while the next is read for its SHA-1; more
    /// pay off with many small files]
    #[arg(long, value_name = "N", default_value_t = 2, hide_default_value = true, value_parser = clap::value_parser!(u16).range(1..=64))]
    jobs: u16,

    #[arg(
        long,
        env = "VOD_ENDPOINT",
        value_name = "URL",
        hide_env_values = true,
        help = "Where to: http://HOST[:PORT] or https://HOST[:PORT]"
    )]
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
    token: TokenArgs,

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

    /// Only tell what would be done: parts, their sizes, and the requests, but for what proves them; needs no keys
    #[arg(long)]
    dry_run: bool,

    /// Print lines of JSON: one for each event, and one for the result of each file
    #[arg(long)]
    json: bool,

    /// Show no progress and no events, and print nothing on success unless --json is given
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
            return Err(ConfigError::Setting { name: SECRET_ID, found });
        };
        let key = self.key.secret_key()?;
        Ok(match self.token.token()? {
            Some(token) => Credentials::temporary(id, key, token),
            None => Credentials::new(id, key),
        })
    }
}

/// Uploads, prints how it went, and says the exit code. `argv` is the command line, for whoever must repeat it.
pub(super) fn run(args: UploadArgs, argv: &[OsString], color: ColorChoice) -> u8 {
    let visible = !args.quiet && !args.json && std::io::stderr().is_terminal();
    start_log(visible, color);
    let output = Output { json: args.json, quiet: args.quiet };
    let batch = args.batch(output);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.map_err(|error| early(ConfigError::Start(error.to_string())));
    match batch.and_then(|batch| Ok((batch, runtime?))) {
        Ok((batch, runtime)) => {
            let progress = Progress::new(visible, batch.files.len());
            let code = runtime.block_on(batch.run(&progress, argv));
            // A read that hangs on a dead disk must not keep the program from ending.
            runtime.shutdown_background();
            code
        }
        Err(error) => {
            output.refused(&error);
            exit::of(&error)
        }
    }
}

impl UploadArgs {
    /// All that is to be done, once everything has been checked that can be checked without a look at the files.
    fn batch(self, output: Output) -> Result<Batch<impl Fn(&Path) -> FileFacts>, UploadError> {
        let endpoint = self.endpoint.parse::<Endpoint>().map_err(early)?;
        let credentials = match self.credentials() {
            // A plan shows nothing that was made from a key.
            Err(ConfigError::NoSecretKey(_) | ConfigError::Setting { name: SECRET_ID, .. }) if self.dry_run => {
                Credentials::new(self.secret_id.as_deref().unwrap_or("unknown"), SecretKey::new("unknown"))
            }
            credentials => credentials.map_err(early)?,
        };
        let files = files::expand(&self.files).map_err(early)?;
        self.check_many(files.len()).map_err(early)?;
        let options = self.options();
        let Self { facts, notify_url, cover_of, jobs, connection, dry_run, .. } = self;
        let options = connection.apply(options).map_err(early)?;
        let facts = move |path: &Path| FileFacts {
            notify_url: notify_url.clone(),
            cover_of: cover_of.clone(),
            ..facts.facts(path)
        };
        Ok(Batch {
            files,
            jobs: jobs.into(),
            uploader: Uploader::new(endpoint, credentials).options(options),
            facts,
            output,
            dry_run,
        })
    }

    fn options(&self) -> Options {
        let defaults = Options::default();
        Options {
            family: self.family.into(),
            dialect: match self.dialect {
                DialectArg::Documented => Dialect::Documented,
                DialectArg::Observed => Dialect::Observed,
            },
            part_size: self.part_size.map(Size::bytes),
            parallel: self.parallel,
            retry: self.patience.policy(),
            sign_host: self.sign_host.clone(),
            token_life: self.expires_in.unwrap_or(defaults.token_life),
            seed: self.seed.unwrap_or(defaults.seed),
            stall_timeout: self.patience.stall_timeout,
            digest_cache: self.cache.dir(),
            ..defaults
        }
    }

    /// Is nothing said of several files that can be true of one alone?
    fn check_many(&self, files: usize) -> Result<(), ConfigError> {
        let refused = |flag: &str| Err(ConfigError::Facts(format!("{flag} is for one file, and these are {files}")));
        match self {
            _ if files <= 1 => Ok(()),
            Self { facts, .. } if facts.name.is_some() => refused("--name"),
            Self { cover_of: Some(_), .. } => refused("--cover-of"),
            _ if self.signature_names_a_file()? => refused("the upload signature"),
            _ => Ok(()),
        }
    }

    fn signature_names_a_file(&self) -> Result<bool, ConfigError> {
        let token = self.signature.signature()?.and_then(|token| UploadSignature::decode(&token).ok());
        Ok(token.is_some_and(|token| !matches!(token.file_sha1(), Ok(None))))
    }
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
                    --screenshot --watermark --attempts 2 --deadline 10m --stall-timeout 1500ms --seed 7 --jobs 3 --json --quiet";
        let args = Line::parse_from(line.split_whitespace()).args;
        assert_eq!(
            (args.part_size, args.parallel, args.patience.policy().attempts, args.seed),
            (Some(Size::new(524_288)), 8, 2, Some(7))
        );
        assert_eq!((args.files, args.jobs), (vec![PathBuf::from("a.mp4")], 3));
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

//! `vod-client sign`: signatures for others to use, and for people to compare theirs with.

use std::{path::PathBuf, sync::Arc, time::Duration};

use clap::{Args, ColorChoice, Subcommand};
use vod_proto::{
    Family, PATH_V2, Query, SIGN_HOST, Sha1,
    query::Decoding,
    sign::{self, SignatureMethod},
};

use super::{facts::FactsArgs, keys::SecretKeyArgs, start_log, values};
use crate::{
    error::{ConfigError, Failure, SourceError},
    signer,
    source::{Digests, FileSource, Source, Work},
    uploader::{self, Options},
};

#[derive(Subcommand)]
pub(super) enum SignCommand {
    /// Print an upload signature for one file, to hand to whoever uploads it
    Ugc(UgcArgs),
    /// Print the path and query of a request with its signature
    Request(RequestArgs),
}

#[derive(Args)]
pub(super) struct UgcArgs {
    /// The file that may be uploaded
    #[arg(required_unless_present = "file_sha1", conflicts_with = "file_sha1")]
    file: Option<PathBuf>,

    /// Its SHA-1, where the file is not at hand
    #[arg(long, value_name = "SHA1", requires_all = ["name", "file_type"])]
    file_sha1: Option<Sha1>,

    /// The public half of the account's key pair
    #[arg(long, env = "VOD_SECRET_ID", value_name = "ID", hide_env_values = true)]
    secret_id: String,

    #[command(flatten)]
    key: SecretKeyArgs,

    #[command(flatten)]
    facts: FactsArgs,

    /// How long it holds, at most 90d [default: 2d]
    #[arg(long, value_name = "DURATION", value_parser = values::duration)]
    expires_in: Option<Duration>,

    /// The user within the application
    #[arg(long, value_name = "ID", default_value = signer::UID)]
    uid: String,
}

#[derive(Args)]
pub(super) struct RequestArgs {
    /// The parameters as they are sent, such as 'Action=FinishUpload&Nonce=1'; a Signature among them is left out
    query: String,

    /// The method
    #[arg(long, default_value = "GET", value_parser = ["GET", "POST"])]
    method: String,

    /// The host
    #[arg(long, default_value = SIGN_HOST)]
    host: String,

    /// The path
    #[arg(long, default_value = PATH_V2)]
    path: String,

    /// Print the text that is signed instead; needs no key
    #[arg(long)]
    text: bool,

    #[command(flatten)]
    key: SecretKeyArgs,
}

/// Signs, prints it, and says the exit code.
pub(super) fn run(command: SignCommand, color: ColorChoice) -> u8 {
    start_log(false, color);
    super::conclude(match command {
        SignCommand::Ugc(args) => ugc(args),
        SignCommand::Request(args) => request(&args),
    })
}

fn ugc(args: UgcArgs) -> Result<String, Failure> {
    let key = args.key.secret_key()?;
    let defaults = Options::default();
    let token_life = args.expires_in.unwrap_or(defaults.token_life);
    let options = Options { family: Family::Ugc, token_life, ..defaults };
    options.check()?;
    let path = args.file.unwrap_or_default();
    let facts = args.facts.facts(&path);
    uploader::check_facts(Family::Ugc, &facts)?;
    let file_sha1 = match args.file_sha1 {
        Some(file_sha1) => file_sha1,
        None => {
            let source: Arc<dyn Source> = Arc::new(FileSource::open(&path)?);
            if source.is_empty() {
                return Err(SourceError::Empty.into());
            }
            let runtime = tokio::runtime::Builder::new_current_thread().build();
            let runtime = runtime.map_err(|error| ConfigError::Start(error.to_string()))?;
            runtime.block_on(Digests::take(&source, Work::Inline, None, drop))?.sha1()
        }
    };
    Ok(signer::make_token(&args.secret_id, &key, &options, &facts, file_sha1, &args.uid))
}

fn request(args: &RequestArgs) -> Result<String, Failure> {
    let RequestArgs { query, method, host, path, text, key } = args;
    let given = Query::parse(query);
    // Only its first name is repeated: further on there may be a signature.
    let begins = given.pairs().next().map_or("", |pair| pair.raw_name());
    for (name, found, expected, wrong) in [
        ("host", host.as_str(), "a host alone, such as vod2.qcloud.com", host.is_empty() || host.contains('/')),
        ("path", path.as_str(), "a path alone, such as /v2/index.php", !path.starts_with('/') || path.contains('?')),
        (
            "query",
            begins,
            "parameters alone, such as 'Action=FinishUpload&Nonce=1'",
            begins.is_empty() || begins.contains(['/', '?']),
        ),
    ] {
        if wrong {
            return Err(ConfigError::Setting { name, found: format!("{found:?}: expected {expected}") }.into());
        }
    }
    let kept = given.pairs().filter(|pair| pair.name() != "Signature");
    let kept: Vec<_> = kept.map(|pair| format!("{}={}", pair.raw_name(), pair.raw_value())).collect();
    let mut query = Query::parse(&kept.join("&"));
    if *text {
        return Ok(sign::string_to_sign(method, host, path, &query, Decoding::Percent));
    }
    let algorithm = SignatureMethod::from_wire(query.get("SignatureMethod").as_deref());
    sign::sign_query(&key.secret_key()?, algorithm, method, host, path, &mut query);
    Ok(format!("{path}?{query}"))
}

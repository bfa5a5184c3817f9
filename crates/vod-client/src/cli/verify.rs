//! `vod-client verify`: is a proof of an upload genuine, what of, until when?

use std::io::Read as _;

use clap::Args;
use vod_proto::ugc::{UploadSignature, VerifyContent, VerifyError};

use super::{
    keys::{SecretKeyArgs, VerifyKeyArgs},
    output,
};
use crate::{
    clock::{self, WallClock},
    error::{ConfigError, Failure},
    exit,
};

/// The longest proof that is read. A real one has a hundred bytes.
const PROOF_MAX: u64 = 64 * 1024;

#[derive(Args)]
pub(super) struct VerifyArgs {
    /// The verify_content that a finished upload brought; read from stdin if it is not given
    proof: Option<String>,

    /// Check an upload signature instead, with the secret key; it is read from stdin
    #[arg(long, conflicts_with = "proof")]
    upload_signature: bool,

    #[command(flatten)]
    verify_key: VerifyKeyArgs,

    #[command(flatten)]
    secret_key: SecretKeyArgs,
}

/// What a proof comes to.
enum Verdict {
    /// Genuine: what it says, and until when, in seconds since 1970.
    Genuine { says: String, expires: u64 },
    /// Made with another key.
    Forged(String),
    /// Nothing that this protocol knows.
    Malformed(String),
}

/// Checks, prints what was found, and says the exit code.
pub(super) fn run(args: VerifyArgs) -> u8 {
    let verdict = if args.upload_signature { upload_signature(&args.secret_key) } else { verify_content(args) };
    let now = u64::try_from(WallClock::system().seconds()).unwrap_or_default();
    match verdict {
        Err(failure) => super::conclude(Err(failure)),
        Ok(verdict) => tell(&verdict, now),
    }
}

fn tell(verdict: &Verdict, now: u64) -> u8 {
    match verdict {
        Verdict::Genuine { says, expires } if *expires < now => {
            output::complain(&format!("expired: {says}, valid until {}", clock::shown(*expires)));
            exit::EXPIRED
        }
        Verdict::Genuine { says, expires } => {
            output::print(&format!("{says}, valid until {}", clock::shown(*expires)));
            exit::OK
        }
        Verdict::Forged(why) => {
            output::complain(&format!("forged: {why}"));
            exit::FORGED
        }
        Verdict::Malformed(why) => {
            output::complain(&format!("malformed: {why}"));
            exit::MALFORMED
        }
    }
}

fn from_stdin() -> Result<String, Failure> {
    let mut bytes = Vec::new();
    let read = std::io::stdin().lock().take(PROOF_MAX).read_to_end(&mut bytes);
    read.map_err(|error| ConfigError::Start(format!("stdin cannot be read: {error}")))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn verify_content(args: VerifyArgs) -> Result<Verdict, Failure> {
    let key = args.verify_key.verify_key()?;
    let proof = args.proof.map_or_else(from_stdin, Ok)?;
    Ok(match VerifyContent::verify(&key, &proof) {
        Ok(VerifyContent { expires, file_id }) => Verdict::Genuine { says: format!("file {file_id}"), expires },
        Err(error @ VerifyError::Forged) => Verdict::Forged(error.to_string()),
        Err(error @ VerifyError::Malformed) => Verdict::Malformed(error.to_string()),
    })
}

fn upload_signature(key: &SecretKeyArgs) -> Result<Verdict, Failure> {
    let (key, token) = (key.secret_key()?, from_stdin()?);
    let read = UploadSignature::decode(token.trim_end()).and_then(|token| {
        let (secret_id, file_sha1, expires) = (token.secret_id()?, token.file_sha1()?, token.expires()?);
        let file = file_sha1.map_or_else(|| "any file".to_owned(), |file_sha1| format!("file {file_sha1}"));
        let name = token.field("f").map(|name| format!(" named {name:?}")).unwrap_or_default();
        Ok((token.holds(&key), format!("{file}{name} for account {secret_id}"), expires))
    });
    Ok(match read {
        Ok((true, says, expires)) => Verdict::Genuine { says, expires },
        Ok((false, ..)) => Verdict::Forged("the upload signature was not made with this secret key".to_owned()),
        Err(error) => Verdict::Malformed(error.to_string()),
    })
}

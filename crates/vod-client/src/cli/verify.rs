//! `vod-client verify`: is a proof of an upload genuine, what of, until when?

use std::io::Read as _;

use clap::Args;
use vod_proto::ugc::{UploadSignature, VerifyContent, VerifyError};

use super::{key_in, output, secret_key};
use crate::{
    clock::{self, WallClock},
    error::{ConfigError, Failure},
    exit,
};

/// The environment variable that holds the verify key.
const VERIFY_KEY: &str = "VOD_VERIFY_KEY";

/// The longest proof that is read. A real one has a hundred bytes.
const PROOF_MAX: u64 = 64 * 1024;

#[derive(Args)]
pub(super) struct VerifyArgs {
    /// The verify_content that a finished upload brought; read from stdin if it is not given
    proof: Option<String>,

    /// Check an upload signature instead, with the secret key
    #[arg(long, value_name = "TOKEN", conflicts_with = "proof")]
    upload_signature: Option<String>,
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
    let verdict = match args.upload_signature {
        Some(token) => upload_signature(&token),
        None => verify_content(args.proof),
    };
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

fn verify_content(proof: Option<String>) -> Result<Verdict, Failure> {
    let key = key_in(VERIFY_KEY).ok_or(ConfigError::NoVerifyKey(VERIFY_KEY))?;
    let proof = match proof {
        Some(proof) => proof,
        None => {
            let mut bytes = Vec::new();
            let read = std::io::stdin().lock().take(PROOF_MAX).read_to_end(&mut bytes);
            read.map_err(|error| ConfigError::Start(format!("stdin cannot be read: {error}")))?;
            String::from_utf8_lossy(&bytes).into_owned()
        }
    };
    Ok(match VerifyContent::verify(&key, &proof) {
        Ok(VerifyContent { expires, file_id }) => Verdict::Genuine { says: format!("file {file_id}"), expires },
        Err(error @ VerifyError::Forged) => Verdict::Forged(error.to_string()),
        Err(error @ VerifyError::Malformed) => Verdict::Malformed(error.to_string()),
    })
}

fn upload_signature(token: &str) -> Result<Verdict, Failure> {
    let key = secret_key()?;
    let read = UploadSignature::decode(token).and_then(|token| {
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

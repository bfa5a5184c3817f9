//! Where secrets come from: the environment or a file, never an argument, which every process of the machine can read.
//!
//! A file that its user owns is refused while others may read it, as ssh refuses a private key: one `chmod` mends it.
//! Files of other owners are let be, as there: what an orchestrator mounts has the modes it has, and is not its user's to
//! change. So are pipes, such as `<(pass show vod)`.

use std::{
    fs::File,
    io::Read as _,
    path::{Path, PathBuf},
};

use clap::Args;
use vod_proto::sign::SecretKey;

use crate::error::ConfigError;

/// The environment variable that holds the secret key.
const SECRET_KEY: &str = "VOD_SECRET_KEY";
/// The environment variable that holds the token of temporary keys.
const TOKEN: &str = "VOD_TOKEN";
/// The environment variable that holds the verify key.
const VERIFY_KEY: &str = "VOD_VERIFY_KEY";
/// The environment variable that holds an upload signature.
const SIGNATURE: &str = "VOD_SIGNATURE";

/// The longest file of secrets that is read, in bytes. An upload signature has some hundreds, a key some tens.
const SECRET_MAX: u64 = 64 * 1024;

#[derive(Args)]
pub(super) struct SecretKeyArgs {
    /// The file that holds the secret key, instead of the environment variable VOD_SECRET_KEY; nobody else may read it
    #[arg(long, value_name = "FILE")]
    secret_key_file: Option<PathBuf>,
}

impl SecretKeyArgs {
    /// The secret key: the file's if there is one, for that was asked for in so many words.
    pub(super) fn secret_key(&self) -> Result<SecretKey, ConfigError> {
        let key = secret("--secret-key-file", self.secret_key_file.as_deref(), SECRET_KEY)?;
        key.map(SecretKey::new).ok_or(ConfigError::NoSecretKey(SECRET_KEY))
    }
}

#[derive(Args)]
pub(super) struct TokenArgs {
    /// The file that holds the token of temporary keys, instead of the environment variable VOD_TOKEN; nobody else may
    /// read it
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
}

impl TokenArgs {
    /// The token; none where the key pair is no temporary one.
    pub(super) fn token(&self) -> Result<Option<String>, ConfigError> {
        secret("--token-file", self.token_file.as_deref(), TOKEN)
    }
}

#[derive(Args)]
pub(super) struct VerifyKeyArgs {
    /// The file that holds the verify key, instead of the environment variable VOD_VERIFY_KEY; nobody else may read it
    #[arg(long, value_name = "FILE")]
    verify_key_file: Option<PathBuf>,
}

impl VerifyKeyArgs {
    pub(super) fn verify_key(&self) -> Result<SecretKey, ConfigError> {
        let key = secret("--verify-key-file", self.verify_key_file.as_deref(), VERIFY_KEY)?;
        key.map(SecretKey::new).ok_or(ConfigError::NoVerifyKey(VERIFY_KEY))
    }
}

#[derive(Args)]
pub(super) struct SignatureArgs {
    /// The file that holds an upload signature made elsewhere, instead of the environment variable VOD_SIGNATURE; it
    /// says all that is said of the file, and takes the place of the key pair, in the ugc family
    #[arg(long, value_name = "FILE")]
    signature_file: Option<PathBuf>,
}

impl SignatureArgs {
    pub(super) fn signature(&self) -> Result<Option<String>, ConfigError> {
        secret("--signature-file", self.signature_file.as_deref(), SIGNATURE)
    }
}

fn secret(flag: &'static str, file: Option<&Path>, variable: &str) -> Result<Option<String>, ConfigError> {
    match file {
        Some(path) => read(flag, path).map(Some),
        None => Ok(std::env::var(variable).ok().filter(|secret| !secret.is_empty())),
    }
}

/// Reads a file that holds one secret. Nothing of it is repeated, whatever is wrong with it.
fn read(flag: &'static str, path: &Path) -> Result<String, ConfigError> {
    let text = private_text(flag, path)?;
    let secret = text.trim_end();
    match secret {
        "" => Err(unusable(flag, path, "is empty")),
        _ if secret.contains(char::is_control) => Err(unusable(flag, path, NOT_TEXT)),
        _ => Ok(secret.to_owned()),
    }
}

/// Reads a file that may hold secrets.
pub(super) fn private_text(flag: &'static str, path: &Path) -> Result<String, ConfigError> {
    let unreadable = |error: std::io::Error| unusable(flag, path, &format!("cannot be read: {error}"));
    let file = File::open(path).map_err(unreadable)?;
    if let Some(mode) = open_to_others(&file).map_err(unreadable)? {
        let why = format!("others can read (mode {mode:03o}): run chmod 600 {}", path.display());
        return Err(unusable(flag, path, &why));
    }
    let mut text = String::new();
    match file.take(SECRET_MAX + 1).read_to_string(&mut text) {
        Ok(_) if text.len() as u64 > SECRET_MAX => Err(unusable(flag, path, NOT_TEXT)),
        Ok(_) => Ok(text),
        Err(error) if error.kind() == std::io::ErrorKind::InvalidData => Err(unusable(flag, path, NOT_TEXT)),
        Err(error) => Err(unreadable(error)),
    }
}

const NOT_TEXT: &str = "does not hold one line of text";

fn unusable(flag: &'static str, path: &Path, why: &str) -> ConfigError {
    ConfigError::Setting { name: flag, found: format!("{}, which {why}", path.display()) }
}

/// The mode of a file of ours that others can read.
#[cfg(unix)]
fn open_to_others(file: &File) -> std::io::Result<Option<u32>> {
    use std::os::unix::fs::MetadataExt as _;

    let metadata = file.metadata()?;
    let ours = metadata.is_file() && metadata.uid() == rustix::process::geteuid().as_raw();
    Ok(Some(metadata.mode() & 0o777).filter(|mode| ours && mode & 0o077 != 0))
}

/// Other systems have no modes; there a file in a user's folder is that user's alone.
#[cfg(not(unix))]
fn open_to_others(_: &File) -> std::io::Result<Option<u32>> {
    Ok(None)
}

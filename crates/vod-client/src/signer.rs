//! The line of a request: which method, path and parameters, and what proves that it may be asked.

use vod_proto::{
    Action, Family, FileFacts, PATH_V2, PATH_V3, Query, Request, Sha1,
    request::{TokenTerms, sign_token},
    sign::{self, SecretKey, SignatureMethod},
    ugc::{Malformed, UploadSignature},
};

use crate::{
    clock,
    core::Dice,
    error::ConfigError,
    uploader::{Credentials, Dialect, Options, Proof},
};

/// The region in every request. The documents say that any will do for this service.
const REGION: &str = "gz";

/// The user in the upload signatures that are made here: what the service's own SDKs say where there are no users.
pub(crate) const UID: &str = "1";

/// What the requests of one upload are signed with.
pub(crate) struct Signer<'a> {
    options: &'a Options,
    secret_id: String,
    /// Of temporary keys.
    token: Option<&'a str>,
    how: How<'a>,
}

enum How<'a> {
    /// Each request anew.
    Requests(&'a SecretKey),
    /// One for all of them.
    Token(String),
}

/// A request, but for its body.
pub(crate) struct Line {
    pub(crate) action: Action,
    pub(crate) method: &'static str,
    /// Path and query.
    pub(crate) target: String,
}

impl<'a> Signer<'a> {
    /// Makes ready to sign the requests of one upload.
    pub(crate) fn new(
        credentials: &'a Credentials,
        options: &'a Options,
        facts: &FileFacts,
        file_sha1: Sha1,
    ) -> Result<Self, ConfigError> {
        let token = match &credentials.0 {
            Proof::KeyPair { token, .. } => token.as_deref(),
            Proof::Token(_) => None,
        };
        let (secret_id, how) = match (&credentials.0, options.family) {
            (Proof::Token(text), _) => {
                let token = Token::read(text, options)?;
                if let Some(signed) = token.file_sha1.filter(|signed| *signed != file_sha1) {
                    let why = format!("is for another file: its SHA-1 is {signed}, and this one's is {file_sha1}");
                    return Err(ConfigError::Signature(why));
                }
                (token.secret_id, How::Token(text.clone()))
            }
            (Proof::KeyPair { secret_id, secret_key, .. }, Family::Ugc) => {
                (secret_id.clone(), How::Token(make_token(secret_id, secret_key, options, facts, file_sha1, UID)))
            }
            (Proof::KeyPair { secret_id, secret_key, .. }, Family::Server | Family::Legacy) => {
                (secret_id.clone(), How::Requests(secret_key))
            }
        };
        Ok(Self { options, secret_id, token, how })
    }

    /// Completes a request with what proves it, which comes last.
    pub(crate) fn line(&self, request: &Request, nonce: u64) -> Line {
        let Options { family, dialect, .. } = *self.options;
        let action = request.action(family);
        let (method, path) = method_and_path(dialect, action);
        let mut query = request.to_query(family);
        match &self.how {
            How::Token(token) if dialect == Dialect::Documented => query.push("signature", token),
            How::Token(token) => {
                self.push_common(&mut query, nonce);
                query.push("Signature", token);
            }
            How::Requests(key) => {
                self.push_common(&mut query, nonce);
                let host = self.options.sign_host();
                sign::sign_query(key, SignatureMethod::HmacSha1, method, host, path, &mut query);
            }
        }
        Line { action, method, target: format!("{path}?{query}") }
    }

    fn push_common(&self, query: &mut Query, nonce: u64) {
        query.push("Region", REGION);
        query.push("Timestamp", seconds(self.options));
        query.push("Nonce", nonce);
        query.push("SecretId", &self.secret_id);
        if let Some(token) = self.token {
            query.push("Token", token);
        }
    }
}

/// Makes an upload signature that holds from now on.
pub(crate) fn make_token(
    secret_id: &str,
    secret_key: &SecretKey,
    options: &Options,
    facts: &FileFacts,
    file_sha1: Sha1,
    uid: &str,
) -> String {
    let made = seconds(options);
    let random = Dice::new(options.seed, file_sha1).token();
    let expires = made + options.token_life.as_secs();
    sign_token(secret_key, facts, &TokenTerms { secret_id, file_sha1, made, expires, random, uid })
}

/// Checks all that can be said of the credentials before the file is read, which may take minutes.
pub(crate) fn check(credentials: &Credentials, options: &Options) -> Result<(), ConfigError> {
    match &credentials.0 {
        Proof::KeyPair { token: Some(_), .. } if options.family == Family::Ugc => {
            let found = "given: the ugc family has no place for it in its upload signatures".to_owned();
            Err(ConfigError::Setting { name: "the token of temporary keys", found })
        }
        Proof::KeyPair { .. } => Ok(()),
        Proof::Token(text) => Token::read(text, options).map(drop),
    }
}

/// What an upload signature says that was made elsewhere. Whether it holds is for the server to say, who has the key.
struct Token {
    secret_id: String,
    /// The first version of the documents names no file.
    file_sha1: Option<Sha1>,
}

impl Token {
    /// Reads one that can serve an upload now.
    fn read(text: &str, options: &Options) -> Result<Self, ConfigError> {
        if options.family != Family::Ugc {
            let why = format!("is for the ugc family alone: the {} family signs with a key pair", options.family);
            return Err(ConfigError::Signature(why));
        }
        let unreadable = |error: Malformed| ConfigError::Signature(format!("cannot be read: {error}"));
        let token = UploadSignature::decode(text).map_err(unreadable)?;
        let secret_id = token.secret_id().map_err(unreadable)?;
        let file_sha1 = token.file_sha1().map_err(unreadable)?;
        let expires = token.expires().map_err(unreadable)?;
        if expires < seconds(options) {
            let when = clock::shown(expires);
            return Err(ConfigError::Signature(format!("has expired: it held until {when}")));
        }
        Ok(Self { secret_id, file_sha1 })
    }
}

fn seconds(options: &Options) -> u64 {
    // Before 1970 there was no service.
    u64::try_from(options.clock.seconds()).unwrap_or_default()
}

const fn method_and_path(dialect: Dialect, action: Action) -> (&'static str, &'static str) {
    match (dialect, action.family()) {
        (Dialect::Documented, _) => (action.documented_method(), PATH_V2),
        (Dialect::Observed, Family::Legacy) => ("POST", PATH_V2),
        (Dialect::Observed, Family::Server | Family::Ugc) => ("POST", PATH_V3),
    }
}

#[cfg(test)]
mod tests;

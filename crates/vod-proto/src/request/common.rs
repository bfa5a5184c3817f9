//! What every request of the server and legacy families carries.

use std::borrow::Cow;

use super::{Reader, Violation};
use crate::{
    Code, Family, Query,
    params::{self, COMMON},
    rules::{self, Deviation},
};

/// The parameters that every request of the server and legacy families carries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommonParams<'q> {
    /// Seconds since 1970; milliseconds, as one client sends them, are brought down to seconds.
    pub timestamp: u64,
    /// The public half of the key pair, which names the account.
    pub secret_id: Cow<'q, str>,
    /// What deviates from the documents.
    pub deviations: Vec<Deviation>,
}

/// From here on a time can only be meant in milliseconds: as seconds it would be the year 33658.
pub(crate) const MILLISECONDS_FROM: u64 = 1_000_000_000_000;

impl<'q> CommonParams<'q> {
    /// Reads the common parameters. `Nonce` and `Region` are checked for form alone: no client depends on more.
    ///
    /// # Errors
    /// Names the parameter that is missing or malformed, with the code that the family has for it.
    pub fn from_query(family: Family, query: &'q Query) -> Result<Self, Violation> {
        let read = |name: &'static str| {
            let code = params::common_refusal(family, name);
            move |violation: Violation| Violation { code, ..violation }
        };
        let mut reader = Reader::new(query, COMMON);
        let sent = reader.number("Timestamp").map_err(read("Timestamp"))?;
        let timestamp = if sent >= MILLISECONDS_FROM {
            reader.deviates(&rules::TIMESTAMP_SECONDS, format!("Timestamp is {sent}, in milliseconds"));
            sent / 1000
        } else {
            sent
        };
        let nonce = reader.text("Nonce").map_err(read("Nonce"))?;
        if nonce.is_empty() || !nonce.bytes().all(|b| b.is_ascii_digit()) {
            return Err(read("Nonce")(reader.wrong("Nonce", &nonce)));
        }
        reader.text("Region").map_err(read("Region"))?;
        let secret_id = reader.text("SecretId").map_err(read("SecretId"))?;
        if secret_id.is_empty() {
            return Err(read("SecretId")(reader.wrong("SecretId", "")));
        }
        if query.pair("Signature").is_none() {
            return Err(read("Signature")(reader.missing("Signature")));
        }
        Ok(Self { timestamp, secret_id, deviations: reader.deviations })
    }
}

/// The code for a signature that does not hold.
#[must_use]
pub const fn wrong_signature(family: Family) -> Code {
    match family {
        Family::Legacy => Code::LEGACY_SIGNATURE,
        Family::Server | Family::Ugc => Code::SIGNATURE,
    }
}

/// The code for a SecretId that no account has.
#[must_use]
pub const fn unknown_account(family: Family) -> Code {
    match family {
        Family::Legacy => Code::LEGACY_NO_ACCOUNT,
        Family::Server | Family::Ugc => Code::SIGNATURE,
    }
}

/// The code for a signature that has expired.
#[must_use]
pub const fn lapsed_signature(family: Family) -> Code {
    match family {
        Family::Legacy => Code::LEGACY_SIGNATURE_LAPSED,
        Family::Server | Family::Ugc => Code::SIGNATURE,
    }
}

//! What requests say and what proves them, said and proved wrongly.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
};

use vod_proto::{Family, FileFacts, Md5, Request, Sha1};

use super::{Mutant, here};
use crate::{
    error::ConfigError,
    signer::{self, Line},
    uploader::{Credentials, Options},
};

/// A signer that errs; with no mistake to make it is the signer.
pub(crate) struct Signer<'a> {
    real: signer::Signer<'a>,
    family: Family,
    /// The target of each request, as it was signed first.
    first: Mutex<BTreeMap<String, String>>,
}

impl<'a> Signer<'a> {
    pub(crate) fn new(
        credentials: &'a Credentials,
        options: &'a Options,
        facts: &FileFacts,
        file_sha1: Sha1,
    ) -> Result<Self, ConfigError> {
        let real = signer::Signer::new(credentials, options, facts, file_sha1)?;
        Ok(Self { real, family: options.family, first: Mutex::default() })
    }

    pub(crate) fn line(&self, request: &Request, nonce: u64) -> Line {
        let line = self.real.line(&said(request), nonce);
        match here() {
            Some(Mutant::SecretLogged) => tracing::debug!(target = line.target, "sending"),
            Some(Mutant::RetryNotSignedAnew) => {
                let key = format!("{} {}", line.action, request.to_query(self.family));
                let mut first = self.first.lock().unwrap_or_else(PoisonError::into_inner);
                let target = first.entry(key).or_insert_with(|| line.target.clone()).clone();
                return Line { target, ..line };
            }
            _ => {}
        }
        line
    }
}

/// What is said in the place of a request.
fn said(request: &Request) -> Request {
    let mut request = request.clone();
    match (here(), &mut request) {
        (Some(Mutant::PartMd5Wrong), Request::Part(part)) => part.part_md5 = Md5::of(part.part_md5.as_bytes()),
        (Some(Mutant::CoverForgotten), Request::Init(init)) => init.facts.cover_of = None,
        (Some(Mutant::CoverForgotten), Request::Whole(file)) => file.facts.cover_of = None,
        _ => {}
    }
    request
}

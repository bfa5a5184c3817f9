//! What a request asks, checked in the documented order: action, common parameters, signature, protocol parameters.

use jiff::Timestamp;
use vod_proto::{
    Action, Code, Limits, PATH_V2, PATH_V3, Request, SIGN_HOST,
    reply::Rejected,
    request::{CommonParams, Violation},
    rules::{self, Deviation, Profile},
    sign,
};
use vod_serve::{Head, ReplyOut};

use crate::{
    accounts::{Account, Accounts},
    core::{UploadKey, refuse},
};

/// Hosts that clients are known to sign for, whatever address they connect to.
const SIGN_HOSTS: [&str; 3] = [SIGN_HOST, "vod.qcloud.com", "vod.api.qcloud.com"];

/// Whether signatures are checked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Auth {
    /// They must hold. The default: a client that signs wrongly should learn it here.
    #[default]
    Verify,
    /// Anything goes, common parameters may be missing too: for trying things by hand.
    Any,
}

/// The standards a request is held to.
pub(crate) struct Standards {
    pub(crate) accounts: Accounts,
    pub(crate) profile: Profile,
    pub(crate) auth: Auth,
    pub(crate) limits: Limits,
    pub(crate) sign_hosts: Vec<String>,
}

/// A request that passed every check that its head allows.
#[derive(Debug)]
pub(crate) struct Asked {
    pub(crate) key: UploadKey,
    pub(crate) app_id: u64,
    pub(crate) request: Request,
}

/// Why a request is not answered with what it asks.
#[derive(Debug)]
pub(crate) enum Refusal {
    /// In the words of the protocol.
    Rejected(Rejected),
    /// It is not for this protocol at all.
    Foreign(ReplyOut),
}

impl From<Violation> for Refusal {
    fn from(violation: Violation) -> Self {
        Self::Rejected(refuse(violation.code, violation.message))
    }
}

impl From<Rejected> for Refusal {
    fn from(rejected: Rejected) -> Self {
        Self::Rejected(rejected)
    }
}

impl Standards {
    /// The account that a request belongs to.
    pub(crate) fn account(&self, head: &Head) -> Option<&Account> {
        let named = head.query.get("SecretId").and_then(|secret_id| self.accounts.of_secret_id(&secret_id));
        match self.auth {
            Auth::Verify => named,
            Auth::Any => named.or_else(|| self.accounts.first()),
        }
    }

    /// Checks a request's head.
    pub(crate) fn check(&self, head: &Head, now: Timestamp) -> Result<Asked, Refusal> {
        if !rules::known_path(&head.path) {
            tracing::warn!(path = head.path, "a request for an unknown path");
            let error = format!("unknown path {}, expected {PATH_V2}, {PATH_V3} or /__vod/", head.path);
            let body = serde_json::json!({ "error": error }).to_string();
            return Err(Refusal::Foreign(ReplyOut { status: 404, ..ReplyOut::json(body) }));
        }
        let action = head.query.get("Action").ok_or_else(|| {
            refuse(Code::COMMON_PARAMS, "parameter Action is missing: expected InitUpload, UploadPart or FinishUpload")
        })?;
        let action: Action = action.parse().map_err(|unknown: vod_proto::action::UnknownAction| {
            tracing::warn!(action = unknown.0, "a request for an unknown action");
            refuse(Code::COMMON_PARAMS, unknown.to_string())
        })?;
        if !matches!(head.method.as_str(), "GET" | "POST") {
            let message = format!("{action} was sent by {}: expected GET or POST", head.method);
            return Err(refuse(Code::COMMON_PARAMS, message).into());
        }
        self.note(rules::request_line(action, &head.method, &head.path))?;
        let account = match self.auth {
            Auth::Verify => self.verify(head, now)?,
            Auth::Any => {
                self.account(head).ok_or_else(|| refuse(Code::SIGNATURE, "there is no account to answer for"))?
            }
        };
        let parsed = Request::from_query(action, &head.query, &self.limits)?;
        self.note(parsed.deviations)?;
        let key = UploadKey { account: account.name.clone(), file_sha1: parsed.request.file_sha1() };
        Ok(Asked { key, app_id: account.app_id, request: parsed.request })
    }

    /// Checks common parameters, account, signature and its age.
    fn verify(&self, head: &Head, now: Timestamp) -> Result<&Account, Refusal> {
        let common = CommonParams::from_query(&head.query)?;
        self.note(common.deviations)?;
        let account = self
            .accounts
            .of_secret_id(&common.secret_id)
            .ok_or_else(|| refuse(Code::SIGNATURE, "no account has this SecretId"))?;
        let own = head.host.rsplit_once(':').map_or(head.host.as_str(), |(host, _)| host);
        let given = self.sign_hosts.iter().map(String::as_str);
        let hosts: Vec<&str> = [own, &head.host].into_iter().chain(SIGN_HOSTS).chain(given).collect();
        if !sign::request_holds(&account.secret_key, &head.method, &hosts, &head.path, &head.query) {
            let tried = hosts.join(", ");
            let message = format!(
                "the signature does not hold for account {} over {} {} with any of the hosts {tried}",
                account.name, head.method, head.path
            );
            return Err(refuse(Code::SIGNATURE, message).into());
        }
        let off = now.as_second().abs_diff(i64::try_from(common.timestamp).unwrap_or(i64::MAX));
        if off > self.limits.timestamp_window_s {
            let code = match self.profile {
                Profile::Observed => Code::SIGNATURE,
                Profile::Documented => Code::REPLAY,
            };
            let window = self.limits.timestamp_window_s;
            let message = format!(
                "parameter Timestamp is {}: expected within {window} s of the server's {}, not {off} s off",
                common.timestamp,
                now.as_second()
            );
            return Err(refuse(code, message).into());
        }
        Ok(account)
    }

    /// Notes deviations from the documents, or refuses the first of them.
    pub(crate) fn note(&self, deviations: impl IntoIterator<Item = Deviation>) -> Result<(), Rejected> {
        for deviation in deviations {
            match (self.profile, deviation.rule.refusal) {
                (Profile::Documented, Some(code)) => return Err(refuse(code, deviation.to_string())),
                _ => tracing::debug!(rule = deviation.rule.id, "{}", deviation.found),
            }
        }
        Ok(())
    }
}

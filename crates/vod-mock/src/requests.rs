//! What a request asks, checked in the documented order: action, common parameters, signature, protocol parameters.

use std::sync::Arc;

use jiff::Timestamp;
use vod_proto::{
    Action, Code, Family, LEGACY_SIGN_HOST, PATH_V2, PATH_V3, Request, SIGN_HOST, SIGN_HOSTS,
    action::Role,
    query::Decoding,
    reply::Rejected,
    request::{Claims, CommonParams, SentSignature, Violation, common},
    rules::{self, Deviation, Profile},
    sign,
};
use vod_serve::{Head, ReplyOut};

use crate::{
    core::refuse,
    namespace::{ActiveAccount, Namespaces},
};

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
    pub(crate) namespaces: Namespaces,
    pub(crate) profile: Profile,
    pub(crate) auth: Auth,
    pub(crate) sign_hosts: Vec<String>,
    /// Is the admin API answered beside the protocol?
    pub(crate) admin_here: bool,
}

/// A request that passed every check that its head allows.
pub(crate) struct Asked {
    pub(crate) action: Action,
    pub(crate) account: Arc<ActiveAccount>,
    pub(crate) request: Request,
}

/// Why a request is not answered with what it asks.
#[derive(Debug)]
pub(crate) enum Refusal {
    /// In the words of the protocol, as the family writes them.
    Rejected(Rejected, Family),
    /// It is not for this protocol at all.
    Foreign(ReplyOut),
}

fn broken(violation: Violation) -> Rejected {
    refuse(violation.code, violation.message)
}

impl Standards {
    /// The account that a request belongs to.
    pub(crate) fn account(&self, claims: &Claims<'_>) -> Option<Arc<ActiveAccount>> {
        let named = claims.secret_id.as_ref().and_then(|secret_id| self.namespaces.of_secret_id(secret_id));
        match self.auth {
            Auth::Verify => named,
            Auth::Any => named.or_else(|| self.namespaces.first()),
        }
    }

    /// Checks the head of a request that came from this [account](Self::account), if from any.
    pub(crate) fn check(
        &self,
        head: &Head,
        caller: Option<Arc<ActiveAccount>>,
        now: Timestamp,
    ) -> Result<Asked, Refusal> {
        if !rules::known_path(head.path()) {
            tracing::warn!(path = head.path(), "a request for an unknown path");
            let known = if self.admin_here { [PATH_V2, PATH_V3, "/__vod/"].as_slice() } else { &[PATH_V2, PATH_V3] };
            let error = format!("unknown path {}: expected one of {}", head.path(), known.join(", "));
            let mut foreign = ReplyOut::json(serde_json::json!({ "error": error }).to_string());
            foreign.status = 404;
            return Err(Refusal::Foreign(foreign));
        }
        let unknown = |message: String| Refusal::Rejected(refuse(Code::COMMON_PARAMS, message), Family::Server);
        let Some(action) = head.query.get("Action") else {
            return Err(unknown(format!("parameter Action is missing: expected one of {}", Action::names())));
        };
        let action: Action = action.parse().map_err(|error: vod_proto::action::UnknownAction| {
            tracing::warn!(action = error.0, "a request for an unknown action");
            unknown(error.to_string())
        })?;
        let checked = self.check_action(action, head, caller, now);
        checked.map_err(|rejected| Refusal::Rejected(rejected, action.family()))
    }

    fn check_action(
        &self,
        action: Action,
        head: &Head,
        caller: Option<Arc<ActiveAccount>>,
        now: Timestamp,
    ) -> Result<Asked, Rejected> {
        if !matches!(head.method.as_str(), "GET" | "POST") {
            let code = match action.family() {
                Family::Legacy => Code::BAD_PARAMETER,
                Family::Server | Family::Ugc => Code::COMMON_PARAMS,
            };
            return Err(refuse(code, format!("{action} was sent by {}: expected GET or POST", head.method)));
        }
        let line = rules::request_line(action, head.method.as_str(), head.path());
        self.note(action.family(), line.into_iter().chain(rules::transport(action, head.secure)))?;
        if action.role() == Role::Next
            && let Some(form) = form_data(head)
        {
            let message = format!("header Content-Type is {form:?}: expected the part's bytes, never a form");
            return Err(refuse(Code::BAD_PARAMETER, message));
        }
        let (account, decoding) = match (self.auth, action.family()) {
            (Auth::Verify, Family::Ugc) => (verify_token(head, caller)?, Decoding::Form),
            (Auth::Verify, family) => self.verify(family, head, caller, now)?,
            (Auth::Any, _) => {
                let account = caller.ok_or_else(|| refuse(Code::SIGNATURE, "there is no account to answer for"))?;
                (account, Decoding::Form)
            }
        };
        account
            .rates
            .admit(action, &account.limits, now)
            .map_err(|why| refuse(Code::OVER_QUOTA, format!("account {} {why}", account.account.name)))?;
        let parsed = Request::from_query(action, &head.query.sent_as(decoding), &account.limits).map_err(broken)?;
        self.note(action.family(), parsed.deviations)?;
        Ok(Asked { action, account, request: parsed.request })
    }

    /// Checks common parameters, account, signature and its age. Says how the query is to be read, too.
    fn verify(
        &self,
        family: Family,
        head: &Head,
        caller: Option<Arc<ActiveAccount>>,
        now: Timestamp,
    ) -> Result<(Arc<ActiveAccount>, Decoding), Rejected> {
        let params = CommonParams::from_query(family, &head.query).map_err(broken)?;
        self.note(family, params.deviations)?;
        let account = caller
            .ok_or_else(|| refuse(common::unknown_account(family), "parameter SecretId is wrong: no account has it"))?;
        let (method, host, path) = (head.method.as_str(), head.host(), head.path());
        let hosts = self.hosts(family, &host);
        let reading = sign::request_reading(&account.account.secret_key, method, &hosts, path, &head.query);
        let Some(decoding) = reading else {
            let tried = hosts.join(", ");
            let message = format!(
                "parameter Signature is wrong: the signature does not hold for account {} over {method} {path} with any of the hosts {tried}",
                account.account.name
            );
            return Err(refuse(common::wrong_signature(family), message));
        };
        let off = now.as_second().abs_diff(i64::try_from(params.timestamp).unwrap_or(i64::MAX));
        if off > account.limits.timestamp_window_s {
            let code = match self.profile {
                Profile::Observed => common::lapsed_signature(family),
                Profile::Documented => Code::REPLAY,
            };
            let window = account.limits.timestamp_window_s;
            let message = format!(
                "parameter Timestamp is {}: expected within {window} s of the server's {}, not {off} s off",
                params.timestamp,
                now.as_second()
            );
            return Err(refuse(code, message));
        }
        Ok((account, decoding))
    }

    /// The hosts that the client of a request may have signed for, each once. The likeliest stands first: to try one
    /// that is not it costs a hash over the whole request.
    fn hosts<'a>(&'a self, family: Family, host: &'a str) -> Vec<&'a str> {
        let likeliest = if family == Family::Legacy { LEGACY_SIGN_HOST } else { SIGN_HOST };
        let without_port = host.rsplit_once(':').map_or(host, |(host, _)| host);
        let given = self.sign_hosts.iter().map(String::as_str);
        let mut hosts = Vec::with_capacity(8);
        for host in [likeliest, without_port, host].into_iter().chain(SIGN_HOSTS).chain(given) {
            if !hosts.contains(&host) {
                hosts.push(host);
            }
        }
        hosts
    }

    /// Notes deviations from the documents, or refuses the first of them.
    pub(crate) fn note(&self, family: Family, deviations: impl IntoIterator<Item = Deviation>) -> Result<(), Rejected> {
        for deviation in deviations {
            match (self.profile, deviation.rule.refusal_in(family)) {
                (Profile::Documented, Some(code)) => return Err(refuse(code, deviation.to_string())),
                _ => tracing::debug!(rule = deviation.rule.id, "{}", deviation.found),
            }
        }
        Ok(())
    }
}

/// Checks an upload signature: whose it is, that it holds, and that it has not expired.
fn verify_token(head: &Head, caller: Option<Arc<ActiveAccount>>) -> Result<Arc<ActiveAccount>, Rejected> {
    let sent = SentSignature::of_query(&head.query).map_err(broken)?;
    sent.secret_id().map_err(broken)?;
    let account = caller.ok_or_else(|| broken(sent.wrong("no account has its SecretId")))?;
    if !sent.holds(&account.account.secret_key) {
        let why = format!("the upload signature does not hold for account {}", account.account.name);
        return Err(broken(sent.wrong(why)));
    }
    let (expires, now) = (sent.expires().map_err(broken)?, account.space.now().as_second());
    if i64::try_from(expires).is_ok_and(|expires| expires < now) {
        return Err(broken(sent.wrong(format!("the upload signature expired at {expires}, it is {now} now"))));
    }
    Ok(account)
}

/// The type of a body that is a form, as a browser would send a file.
fn form_data(head: &Head) -> Option<String> {
    let kind = head.headers.get(http::header::CONTENT_TYPE)?;
    let kind = String::from_utf8_lossy(kind.as_bytes());
    kind.to_ascii_lowercase().starts_with("multipart/form-data").then(|| kind.into_owned())
}

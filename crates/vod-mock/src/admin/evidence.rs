//! What was seen: exchanges, the rules they break, the uploads that came of them, who was called back.

use std::{borrow::Cow, sync::Arc};

use axum::{
    Json,
    body::{Body, Bytes},
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse as _, Response},
};
use futures_util::stream;
use vod_proto::{Exchange, Sha1};
use vod_serve::journal::{Kept, Whose};

use super::{
    Admin,
    ask::{Ask, parsed, switch},
    follow,
    refusal::{Place, Refusal},
};

/// How many bytes of lines are sent at once, roughly. Default 64 KiB: the answer may be longer than memory is wide.
const BATCH: usize = 64 << 10;

/// What holds lines of JSON.
pub(super) const JSON_LINES: &str = "application/jsonl";

/// Which exchanges are asked for: all that is given must fit.
pub(super) struct Filter {
    action: Option<String>,
    file_sha1: Option<Sha1>,
    /// Only exchanges after this number.
    after: Option<u64>,
}

impl Filter {
    pub(super) fn fits(&self, exchange: &Exchange) -> bool {
        self.action.is_none() | (self.action == exchange.action)
            && self.file_sha1.is_none() | (self.file_sha1 == exchange.file_sha1)
            && self.after.is_none_or(|after| exchange.seq > after)
    }
}

pub(super) fn line(exchange: &Exchange) -> Result<String, serde_json::Error> {
    Ok(exchange.to_line()? + "\n")
}

impl Admin {
    /// Whose evidence is asked for. Who has none, and no account, is a mistake.
    fn whose(&self, account: Option<Cow<'_, str>>) -> Result<Whose, Refusal> {
        let Some(name) = account else { return Ok(Whose::Everybody) };
        let (spaces, whose) = (self.mind.namespaces(), Whose::account(&name));
        // What an earlier life left may be of accounts that this one does not know.
        let known = spaces.named(&name).is_some() || spaces.space(&name).is_some() || self.mind.journal().knows(&name);
        if known { Ok(whose) } else { Err(self.no_account(&name, Place::Query).named("account")) }
    }
}

pub(super) async fn exchanges(State(admin): State<Arc<Admin>>, ask: Ask) -> Result<Response, Refusal> {
    let [account, action, sha1, after, follow] = ask.query(["account", "action", "file-sha1", "after", "follow"])?;
    let filter = Filter {
        action: action.map(Cow::into_owned),
        file_sha1: parsed("file-sha1", sha1, "the SHA-1 of a file, as 40 hex digits")?,
        after: parsed("after", after, "the number of an exchange")?,
    };
    let whose = admin.whose(account)?;
    if switch("follow", follow)? {
        return Ok(follow::exchanges(&admin, whose, filter));
    }
    let Kept { exchanges, lacking } = admin.mind.journal().kept(&whose);
    let mut fitting = exchanges.into_iter().filter(move |exchange| filter.fits(exchange));
    let batches = std::iter::from_fn(move || {
        let mut batch = String::new();
        while batch.len() < BATCH
            && let Some(exchange) = fitting.next()
        {
            match line(&exchange) {
                Ok(line) => batch.push_str(&line),
                Err(error) => return Some(Err(error)),
            }
        }
        (!batch.is_empty()).then(|| Ok(Bytes::from(batch)))
    });
    let head = [(header::CONTENT_TYPE.as_str(), JSON_LINES), ("x-vod-evicted", &lacking.evicted().to_string())];
    Ok((head, Body::from_stream(stream::iter(batches))).into_response())
}

pub(super) async fn findings(State(admin): State<Arc<Admin>>, ask: Ask) -> Result<Response, Refusal> {
    let [account] = ask.query(["account"])?;
    let whose = admin.whose(account)?;
    // A long journal takes the linter seconds, in which uploads must go on.
    let found = tokio::task::spawn_blocking(move || admin.mind.findings(&whose)).await;
    let broken = |error| {
        let error = format!("the linter broke off: {error}");
        Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, Place::Server, error)
    };
    Ok(Json(found.map_err(broken)?).into_response())
}

pub(super) async fn callbacks(State(admin): State<Arc<Admin>>, ask: Ask) -> Result<Response, Refusal> {
    let [account, file_id] = ask.query(["account", "file-id"])?;
    let whose = admin.whose(account)?;
    let mut log = admin.callbacks.log();
    log.retain(|delivery| whose.is(Some(&delivery.account)));
    log.retain(|delivery| file_id.as_ref().is_none_or(|file_id| *file_id == delivery.file_id));
    Ok(([("x-vod-dropped", admin.callbacks.dropped().to_string())], Json(log)).into_response())
}

pub(super) async fn uploads(State(admin): State<Arc<Admin>>, ask: Ask) -> Result<Response, Refusal> {
    let [account, rehash] = ask.query(["account", "rehash"])?;
    let (whose, rehash) = (admin.whose(account)?, switch("rehash", rehash)?);
    Ok(Json(admin.mind.views(&whose, rehash).await).into_response())
}

pub(super) async fn upload(State(admin): State<Arc<Admin>>, ask: Ask) -> Result<Response, Refusal> {
    let [account, rehash] = ask.query(["account", "rehash"])?;
    let (whose, rehash) = (admin.whose(account)?, switch("rehash", rehash)?);
    let wrong = |status, error: String| Refusal::new(status, Place::Path, error).named("sha");
    let sha = ask.path("sha");
    let sha: Sha1 = sha.parse().map_err(|error| wrong(StatusCode::BAD_REQUEST, format!("{error}")))?;
    let views = admin.mind.view_of(&whose, sha, rehash).await;
    if views.is_empty() {
        return Err(wrong(StatusCode::NOT_FOUND, format!("there is no upload of {sha}")));
    }
    Ok(Json(views).into_response())
}

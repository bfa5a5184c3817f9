//! What a test or a person can ask the mock beside the protocol, under `/__vod/`.

use std::sync::Arc;

use axum::{
    Json, Router,
    extract::{Path, Query, State, rejection::QueryRejection},
    http::{StatusCode, Uri, header},
    response::{IntoResponse, Response},
    routing::get,
};
use serde::Deserialize;
use serde_json::{Value, json};
use tower::ServiceExt as _;
use vod_proto::{Exchange, Sha1};
use vod_serve::{
    fault::Fate,
    host::AsideBody,
    journal::{Kept, Whose},
};

use crate::{callbacks::Callbacks, mind::Mind};

/// The routes, as they are named to whoever asks for another.
const ROUTES: [&str; 7] = ["health", "callbacks", "exchanges", "faults", "findings", "uploads", "uploads/{sha}"];

pub(crate) fn router(mind: Arc<Mind>, callbacks: Arc<Callbacks>) -> Router {
    Router::new()
        .route("/__vod/health", get(health))
        .route("/__vod/callbacks", get(called_back).with_state(callbacks))
        .route("/__vod/exchanges", get(exchanges))
        .route("/__vod/faults", get(faults))
        .route("/__vod/findings", get(findings))
        .route("/__vod/uploads", get(uploads))
        .route("/__vod/uploads/{sha}", get(upload))
        .fallback(unknown)
        .with_state(mind)
}

/// Answers a request, or says that there is nothing here.
pub(crate) async fn answer(
    router: Option<Router>,
    request: http::Request<hyper::body::Incoming>,
) -> http::Response<AsideBody> {
    let response = match router {
        Some(router) => match router.oneshot(request).await {
            Ok(response) => response,
            Err(never) => match never {},
        },
        None => StatusCode::NOT_FOUND.into_response(),
    };
    response.map(|body| {
        use http_body_util::BodyExt as _;
        body.map_err(Into::into).boxed_unsync()
    })
}

async fn health() -> Json<Value> {
    Json(json!({ "status": "ok", "version": env!("CARGO_PKG_VERSION") }))
}

/// Which callbacks are asked for: all that is given must fit.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct CallbackFilter {
    account: Option<String>,
    file_id: Option<String>,
}

/// What became of each callback. `x-vod-dropped` says how many are missing because they are too many to remember.
async fn called_back(
    State(callbacks): State<Arc<Callbacks>>,
    filter: Result<Query<CallbackFilter>, QueryRejection>,
) -> Response {
    let Query(CallbackFilter { account, file_id }) = match filter {
        Ok(filter) => filter,
        Err(wrong) => return error(StatusCode::BAD_REQUEST, &wrong.body_text()),
    };
    let mut log = callbacks.log();
    log.retain(|delivery| account.as_ref().is_none_or(|account| *account == delivery.account));
    log.retain(|delivery| file_id.as_ref().is_none_or(|file_id| *file_id == delivery.file_id));
    ([("x-vod-dropped", callbacks.dropped().to_string())], Json(log)).into_response()
}

/// Which exchanges are asked for: all that is given must fit.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Filter {
    account: Option<String>,
    action: Option<String>,
    file_sha1: Option<Sha1>,
    /// Only exchanges after this number.
    after: Option<u64>,
}

impl Filter {
    fn fits(&self, exchange: &Exchange) -> bool {
        self.action.is_none() | (self.action == exchange.action)
            && self.file_sha1.is_none() | (self.file_sha1 == exchange.file_sha1)
            && self.after.is_none_or(|after| exchange.seq > after)
    }
}

/// One exchange a line. `x-vod-evicted` says how many are missing because they no longer fitted into memory: of the
/// account, where one is asked for.
async fn exchanges(State(mind): State<Arc<Mind>>, filter: Result<Query<Filter>, QueryRejection>) -> Response {
    let filter = match filter {
        Ok(Query(filter)) => filter,
        Err(wrong) => return error(StatusCode::BAD_REQUEST, &wrong.body_text()),
    };
    let mut lines = String::new();
    let whose = filter.account.as_deref().map_or(Whose::Everybody, Whose::account);
    let Kept { exchanges, lacking } = mind.journal().kept(&whose);
    for exchange in exchanges.iter().filter(|exchange| filter.fits(exchange)) {
        match exchange.to_line() {
            Ok(line) => lines.push_str(&line),
            Err(wrong) => return error(StatusCode::INTERNAL_SERVER_ERROR, &wrong.to_string()),
        }
        lines.push('\n');
    }
    let evicted = lacking.evicted().to_string();
    ([(header::CONTENT_TYPE.as_str(), "application/jsonl"), ("x-vod-evicted", &evicted)], lines).into_response()
}

async fn faults(State(mind): State<Arc<Mind>>) -> Json<Vec<Fate>> {
    Json(mind.engine().fates())
}

/// The breaches of rules that the exchanges so far prove, and what that comes to.
async fn findings(State(mind): State<Arc<Mind>>) -> Response {
    // A long journal takes the linter seconds, in which uploads must go on.
    match tokio::task::spawn_blocking(move || mind.findings()).await {
        Ok(findings) => Json(findings).into_response(),
        Err(wrong) => error(StatusCode::INTERNAL_SERVER_ERROR, &wrong.to_string()),
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct ViewOptions {
    /// Read stored files again and show the SHA-1 of their bytes.
    #[serde(default)]
    rehash: bool,
}

async fn uploads(State(mind): State<Arc<Mind>>, options: Result<Query<ViewOptions>, QueryRejection>) -> Response {
    match options {
        Ok(Query(options)) => Json(mind.views(options.rehash).await).into_response(),
        Err(wrong) => error(StatusCode::BAD_REQUEST, &wrong.body_text()),
    }
}

async fn upload(
    State(mind): State<Arc<Mind>>,
    Path(sha): Path<String>,
    options: Result<Query<ViewOptions>, QueryRejection>,
) -> Response {
    let options = match options {
        Ok(Query(options)) => options,
        Err(wrong) => return error(StatusCode::BAD_REQUEST, &wrong.body_text()),
    };
    let sha: Sha1 = match sha.parse() {
        Ok(sha) => sha,
        Err(wrong) => return error(StatusCode::BAD_REQUEST, &format!("{wrong}")),
    };
    let views = mind.view_of(sha, options.rehash).await;
    if views.is_empty() {
        return error(StatusCode::NOT_FOUND, &format!("there is no upload of {sha}"));
    }
    Json(views).into_response()
}

async fn unknown(uri: Uri) -> Response {
    error(
        StatusCode::NOT_FOUND,
        &format!("unknown path {}, expected /__vod/ and one of {}", uri.path(), ROUTES.join(", ")),
    )
}

fn error(status: StatusCode, message: &str) -> Response {
    (status, Json(json!({ "error": message }))).into_response()
}

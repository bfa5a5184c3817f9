//! What a test or a person can ask of the mock beside the protocol, under `/__vod/`, as `admin/openapi.json` says it.
//!
//! - `gate`: who may ask at all.
//! - `ask`: a request, refused where it says something that nobody knows; `refusal`: why, where, and what was expected.
//! - `accounts`, `faults`: made and taken away at run time, with the accounts' clocks and what faults hold.
//! - `evidence`: exchanges, findings, uploads, callbacks; `follow`: exchanges as they end; `metrics`: what is counted.

mod accounts;
mod ask;
mod evidence;
mod faults;
mod follow;
mod gate;
mod metrics;
mod refusal;

use std::sync::{Arc, atomic::AtomicU64};

use axum::{
    Json, Router,
    body::Body,
    http::{HeaderValue, Method, Request, StatusCode, Uri, header},
    response::{IntoResponse as _, Response},
    routing::{MethodRouter, delete, get, post},
};
use http_body_util::BodyExt as _;
use serde_json::json;
use tower::ServiceExt as _;
use vod_serve::{host::AsideBody, tls::Leaf, traffic::Traffic};

pub use self::gate::{AdminPlace, AdminPolicy, AdminToken, BadToken};
use self::{
    ask::Ask,
    refusal::{Place, Refusal},
};
use crate::{callbacks::Callbacks, mind::Mind, namespace::ActiveAccount};

/// What the routes are described by. A test holds it against them.
const OPENAPI: &str = include_str!("admin/openapi.json");

/// Where all routes are.
const ROOT: &str = "/__vod/";

/// Is this a path of the admin API, known or not?
pub(crate) fn is_admin(path: &str) -> bool {
    path.starts_with(ROOT) || path == "/__vod"
}

/// Every route, by its path under the root.
fn routes() -> [(&'static str, MethodRouter<Arc<Admin>>); 15] {
    [
        ("accounts", get(accounts::list).post(accounts::add)),
        ("accounts/{name}", delete(accounts::remove)),
        ("callbacks", get(evidence::callbacks)),
        ("clock/advance", post(accounts::advance)),
        ("exchanges", get(evidence::exchanges)),
        ("faults", get(faults::list).post(faults::plant).delete(faults::lift_all)),
        ("faults/{id}", delete(faults::lift)),
        ("findings", get(evidence::findings)),
        ("health", get(health)),
        ("metrics", get(metrics::metrics)),
        ("openapi.json", get(openapi)),
        ("release/{hold}", post(faults::release)),
        ("reset", post(accounts::reset)),
        ("uploads", get(evidence::uploads)),
        ("uploads/{sha}", get(evidence::upload)),
    ]
}

/// What the routes answer from.
pub(crate) struct Admin {
    mind: Arc<Mind>,
    callbacks: Arc<Callbacks>,
    traffic: Arc<Traffic>,
    /// What is shown to whoever speaks TLS.
    leaf: Option<Leaf>,
    /// Is it asked over a port of its own, which no fault can shut?
    apart: bool,
    /// How many follow the exchanges at this moment.
    followers: Arc<AtomicU64>,
}

impl Admin {
    /// The account of this name, for a request that names it in its query.
    fn account(&self, name: &str) -> Result<Arc<ActiveAccount>, Refusal> {
        self.mind.namespaces().named(name).ok_or_else(|| self.no_account(name, Place::Query).named("account"))
    }

    /// The one account there is, for a request that names none.
    fn only_account(&self) -> Result<Arc<ActiveAccount>, Refusal> {
        match &self.mind.namespaces().accounts()[..] {
            [only] => Ok(Arc::clone(only)),
            _ => {
                let error = "query parameter account is missing, and there is more than one account";
                Err(Refusal::query("account", error).expecting(self.names()))
            }
        }
    }

    fn no_account(&self, name: &str, place: Place) -> Refusal {
        let error = format!("there is no account named {name:?}");
        Refusal::new(StatusCode::NOT_FOUND, place, error).expecting(self.names())
    }

    fn names(&self) -> Vec<String> {
        self.mind.namespaces().accounts().iter().map(|active| active.account.name.clone()).collect()
    }
}

/// The admin API, with whoever keeps its gate.
pub(crate) struct Door {
    policy: AdminPolicy,
    router: Router,
}

impl Door {
    pub(crate) fn new(
        policy: AdminPolicy,
        mind: Arc<Mind>,
        callbacks: Arc<Callbacks>,
        traffic: Arc<Traffic>,
        leaf: Option<Leaf>,
    ) -> Self {
        let (apart, followers) = (policy.place == AdminPlace::Apart, Arc::default());
        let admin = Arc::new(Admin { mind, callbacks, traffic, leaf, apart, followers });
        let router = routes()
            .into_iter()
            .fold(Router::new(), |router, (path, methods)| router.route(&format!("{ROOT}{path}"), methods));
        let router = router.fallback(unknown).with_state(admin);
        Self { policy, router }
    }

    /// Answers a request.
    pub(crate) async fn answer(&self, request: Request<hyper::body::Incoming>) -> Response<AsideBody> {
        let mut response = match self.policy.admit(request.headers()) {
            Ok(()) => self.route(request.map(Body::new)).await,
            Err(refusal) => refusal.into_response(),
        };
        // What is asked twice may be answered differently.
        response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        response.map(|body| body.map_err(Into::into).boxed_unsync())
    }

    async fn route(&self, request: Request<Body>) -> Response {
        let method = request.method().clone();
        let answered = self.router.clone().oneshot(request).await;
        let response = answered.unwrap_or_else(|never| match never {});
        if response.status() == StatusCode::METHOD_NOT_ALLOWED {
            return wrong_method(&method, response.headers().get(header::ALLOW)).into_response();
        }
        response
    }
}

fn wrong_method(method: &Method, allow: Option<&HeaderValue>) -> Refusal {
    let error = format!("method {method} is not known here");
    let refusal = Refusal::new(StatusCode::METHOD_NOT_ALLOWED, Place::Method, error);
    let Some(allow) = allow else { return refusal };
    let names = allow.to_str().unwrap_or_default().split(',').map(str::trim);
    refusal.expecting(names).header(header::ALLOW, allow.clone())
}

async fn unknown(uri: Uri, _: Result<Ask, Refusal>) -> Refusal {
    let error = format!("unknown path {}", uri.path());
    let paths = routes().map(|(path, _)| format!("{ROOT}{path}"));
    Refusal::new(StatusCode::NOT_FOUND, Place::Path, error).expecting(paths)
}

async fn health(ask: Ask) -> Result<Response, Refusal> {
    let [] = ask.query([])?;
    Ok(Json(json!({ "status": "ok", "version": env!("CARGO_PKG_VERSION") })).into_response())
}

async fn openapi(ask: Ask) -> Result<Response, Refusal> {
    let [] = ask.query([])?;
    Ok(([(header::CONTENT_TYPE, "application/json")], OPENAPI).into_response())
}

//! Accounts: made, shown, begun anew and given up at run time; and their clocks.

use std::{sync::Arc, time::Duration};

use axum::{
    Json,
    extract::State,
    http::StatusCode,
    response::{IntoResponse as _, Response},
};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::json;
use vod_proto::{Limits, event::redacted_url, sign::SecretKey};
use vod_serve::clock::fresh_secret;

use super::{
    Admin,
    ask::{Ask, Secrecy},
    refusal::{Place, Refusal},
};
use crate::{
    accounts::{Account, AccountsError, demo_app_id},
    mind::Left,
    namespace::ActiveAccount,
};

/// How far a clock is moved at once, at most. Default 100 years: no session and no signature lives longer.
const FARTHEST: Duration = Duration::from_secs(100 * 366 * 86_400);

/// An account as whoever makes it describes it. What is missing of its key pair is made up.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct NewAccount {
    name: String,
    #[serde(default = "demo_app_id")]
    app_id: u64,
    secret_id: Option<String>,
    secret_key: Option<SecretKey>,
    verify_key: Option<SecretKey>,
    callback_url: Option<String>,
    limits: Option<Limits>,
}

/// An account without its secrets.
#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct Shown {
    name: String,
    app_id: u64,
    has_verify_key: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    callback_url: Option<String>,
    now: Timestamp,
    limits: Limits,
}

impl Shown {
    fn of(active: &ActiveAccount) -> Self {
        let Account { name, app_id, verify_key, callback_url, .. } = &active.account;
        Self {
            name: name.clone(),
            app_id: *app_id,
            has_verify_key: verify_key.is_some(),
            callback_url: callback_url.as_deref().map(redacted_url),
            now: active.space.now(),
            limits: active.limits.clone(),
        }
    }
}

/// An account that was just made, with what was made up of its key pair: it is told this once.
#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct Made {
    #[serde(flatten)]
    shown: Shown,
    #[serde(skip_serializing_if = "Option::is_none")]
    secret_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    secret_key: Option<String>,
}

/// Letters and digits that nobody can guess.
fn made_up() -> Result<String, Refusal> {
    let unknown = |error| format!("this machine has no chance to offer: {error}");
    let bytes = fresh_secret().map_err(unknown);
    let bytes = bytes.map_err(|why| Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, Place::Server, why))?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

pub(super) async fn list(State(admin): State<Arc<Admin>>, ask: Ask) -> Result<Response, Refusal> {
    let [] = ask.query([])?;
    let accounts = admin.mind.namespaces().accounts();
    Ok(Json(accounts.iter().map(|active| Shown::of(active)).collect::<Vec<_>>()).into_response())
}

pub(super) async fn add(State(admin): State<Arc<Admin>>, ask: Ask) -> Result<Response, Refusal> {
    let [] = ask.query([])?;
    ask.media_type(&["application/json"])?;
    let new: NewAccount = ask.json(Secrecy::Secret)?;
    let random = made_up()?;
    let (for_id, for_key) = random.split_at(24);
    let secret_id = new.secret_id.is_none().then(|| format!("AKID{for_id}"));
    let secret_key = new.secret_key.is_none().then(|| for_key.to_owned());
    let account = Account {
        name: new.name,
        app_id: new.app_id,
        secret_id: new.secret_id.or_else(|| secret_id.clone()).unwrap_or_default(),
        secret_key: new.secret_key.unwrap_or_else(|| SecretKey::new(for_key)),
        verify_key: new.verify_key,
        callback_url: new.callback_url,
        limits: new.limits,
    };
    let active = admin.mind.add_account(account).map_err(refused)?;
    let made = Made { shown: Shown::of(&active), secret_id, secret_key };
    Ok((StatusCode::CREATED, Json(made)).into_response())
}

/// Why an account is not taken, and where that stands in the body.
fn refused(error: AccountsError) -> Refusal {
    let (status, pointer) = match &error {
        AccountsError::Name(_) => (StatusCode::CONFLICT, "/name"),
        AccountsError::SecretId(..) => (StatusCode::CONFLICT, "/secret-id"),
        AccountsError::BadName(_) => (StatusCode::BAD_REQUEST, "/name"),
        AccountsError::Limits(..) => (StatusCode::BAD_REQUEST, "/limits"),
        AccountsError::CallbackUrl(..) => (StatusCode::BAD_REQUEST, "/callback-url"),
        AccountsError::NoKey(_) | AccountsError::Empty => (StatusCode::BAD_REQUEST, ""),
    };
    Refusal::body(error.to_string()).status(status).pointed(pointer)
}

/// Nobody is told that something is gone which comes back.
fn forgotten(Left(left): Left) -> Result<(), Refusal> {
    if left == 0 {
        return Ok(());
    }
    let error = format!(
        "{left} uploads are forgotten until the next start alone, and come back with it: the store could not be \
         written. All else is forgotten"
    );
    Err(Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, Place::Server, error))
}

pub(super) async fn remove(State(admin): State<Arc<Admin>>, ask: Ask) -> Result<Response, Refusal> {
    let [] = ask.query([])?;
    ask.bodiless()?;
    let name = ask.path("name");
    let Some(left) = admin.mind.remove_account(name).await else { return Err(admin.no_account(name, Place::Path)) };
    forgotten(left)?;
    Ok(Json(json!({ "removed": name })).into_response())
}

pub(super) async fn reset(State(admin): State<Arc<Admin>>, ask: Ask) -> Result<Response, Refusal> {
    let [account] = ask.query(["account"])?;
    ask.bodiless()?;
    let reset = match &account {
        Some(name) => {
            forgotten(admin.mind.reset(&*admin.account(name)?).await)?;
            vec![name.to_string()]
        }
        None => {
            forgotten(admin.mind.reset_all().await)?;
            admin.names()
        }
    };
    Ok(Json(json!({ "reset": reset })).into_response())
}

/// How far a clock is to be moved.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Advance {
    by: String,
}

pub(super) async fn advance(State(admin): State<Arc<Admin>>, ask: Ask) -> Result<Response, Refusal> {
    let [account] = ask.query(["account"])?;
    let active = match account {
        Some(name) => admin.account(&name)?,
        None => admin.only_account()?,
    };
    ask.media_type(&["application/json"])?;
    let Advance { by } = ask.json(Secrecy::Open)?;
    let wrong = |why: String| Refusal::body(format!("by is {by:?}: {why}")).pointed("/by");
    let by = humantime::parse_duration(&by)
        .map_err(|error| wrong(format!("expected a time such as \"2d\" or \"90m\": {error}")))?;
    if by > FARTHEST {
        return Err(wrong("expected 100 years at most".to_owned()));
    }
    admin.mind.advance(&active, by).await;
    Ok(Json(json!({ "account": active.account.name, "now": active.space.now() })).into_response())
}

//! Faults: planted, shown, lifted and let go at run time.

use std::{sync::Arc, time::Duration};

use axum::{
    Json,
    extract::State,
    http::StatusCode,
    response::{IntoResponse as _, Response},
};
use serde_json::json;
use vod_serve::{
    Plan,
    fault::{Fate, PlanError, UnknownHold, Verdict},
};

use super::{
    Admin,
    ask::{Ask, Secrecy, switch},
    refusal::{Place, Refusal},
};

/// How long a fault strikes that is planted without a time. Default 10 minutes: longer than the test that planted it
/// takes, and over before the next run, should that test have died without lifting it.
const TIME_TO_LIVE: Duration = Duration::from_secs(600);

/// How long a fault may strike. Default 24 hours: whatever is wanted for longer stands in a plan that the server is
/// started with.
const LONGEST: Duration = Duration::from_secs(86_400);

pub(super) async fn list(State(admin): State<Arc<Admin>>, ask: Ask) -> Result<Response, Refusal> {
    let [account, unfired] = ask.query(["account", "unfired"])?;
    let unfired = switch("unfired", unfired)?;
    let engine = admin.mind.engine();
    let mut fates = match &account {
        Some(name) => engine.fates_of(Some(&admin.account(name)?.account.name)),
        None => engine.fates(),
    };
    fates.retain(|fate| !unfired || fate.struck == 0);
    Ok(Json(fates).into_response())
}

pub(super) async fn plant(State(admin): State<Arc<Admin>>, ask: Ask) -> Result<Response, Refusal> {
    let [account, ttl] = ask.query(["account", "ttl"])?;
    let account = account.map(|name| admin.account(&name)).transpose()?;
    let time_to_live = ttl.map_or(Ok(TIME_TO_LIVE), |ttl| time_to_live(&ttl))?;
    let plan: Plan = match ask.media_type(&["application/json", "application/toml"])? {
        "application/toml" => ask.toml()?,
        _ => ask.json(Secrecy::Open)?,
    };
    if plan.faults.is_empty() {
        return Err(Refusal::body("the plan has no fault: expected at least one").pointed("/fault"));
    }
    let ids: Vec<String> = plan.faults.iter().map(|fault| fault.id.clone()).collect();
    let refused = |error: PlanError| {
        let refusal = Refusal::body(error.to_string());
        // The last of that id: where it stands twice, the second is too much.
        match ids.iter().rposition(|id| *id == error.id) {
            Some(index) => refusal.pointed(format!("/fault/{index}")),
            None => refusal,
        }
    };
    if !admin.apart
        && let Some(fault) = plan.faults.iter().find(|fault| matches!(fault.verdict, Verdict::Refuse(_)))
    {
        let why = "connections are refused on the whole port, which this admin API shares: nobody could see or lift \
                   the fault. Expected another verdict, or --admin-listen";
        return Err(refused(PlanError { id: fault.id.clone(), why: why.to_owned() }));
    }
    // Those of an account of its own are checked by the engine, which says more of it.
    if account.is_none()
        && let Some((id, stranger)) = plan.strangers(|name| admin.mind.namespaces().named(name).is_some()).next()
    {
        let why = format!("there is no account named {stranger:?} whose requests it could strike: make it first");
        let refusal = refused(PlanError { id: id.to_owned(), why });
        return Err(refusal.expecting(admin.names()));
    }
    let engine = admin.mind.engine();
    let name = account.as_ref().map(|active| active.account.name.as_str());
    let handles = engine.plant(name, plan, Some(time_to_live)).map_err(refused)?;
    if let Some(gone) = account.as_ref().filter(|active| active.is_removed()) {
        // Whoever removed it may have lifted its faults before these were there.
        handles.iter().for_each(|handle| _ = engine.lift(*handle));
        return Err(admin.no_account(&gone.account.name, Place::Query).named("account"));
    }
    let fates: Vec<Fate> = handles.iter().filter_map(|handle| engine.fate(*handle)).collect();
    Ok((StatusCode::CREATED, Json(fates)).into_response())
}

fn time_to_live(text: &str) -> Result<Duration, Refusal> {
    let wrong = |why: String| Refusal::query("ttl", format!("query parameter ttl is {text:?}: {why}"));
    let time = humantime::parse_duration(text)
        .map_err(|error| wrong(format!("expected a time such as \"60s\" or \"5m\": {error}")))?;
    match time {
        Duration::ZERO => Err(wrong("expected more than no time".to_owned())),
        time if time > LONGEST => Err(wrong("expected 24h at most".to_owned())),
        time => Ok(time),
    }
}

pub(super) async fn lift_all(State(admin): State<Arc<Admin>>, ask: Ask) -> Result<Response, Refusal> {
    let [account] = ask.query(["account"])?;
    ask.bodiless()?;
    let account = account.map(|name| admin.account(&name)).transpose()?;
    let name = account.as_ref().map(|active| active.account.name.as_str());
    Ok(Json(admin.mind.engine().lift_all(name)).into_response())
}

pub(super) async fn lift(State(admin): State<Arc<Admin>>, ask: Ask) -> Result<Response, Refusal> {
    let [account] = ask.query(["account"])?;
    ask.bodiless()?;
    let account = account.map(|name| admin.account(&name)).transpose()?;
    let name = account.as_ref().map(|active| active.account.name.as_str());
    let (engine, id) = (admin.mind.engine(), ask.path("id"));
    match engine.lift_named(name, id) {
        Some(fate) => Ok(Json(fate).into_response()),
        None => {
            let whose = name.map_or("the whole server".to_owned(), |name| format!("the account {name}"));
            let refusal = Refusal::new(StatusCode::NOT_FOUND, Place::Path, format!("{whose} has no fault {id:?}"));
            Err(refusal.expecting(engine.fates_of(name).into_iter().map(|fate| fate.id)))
        }
    }
}

pub(super) async fn release(State(admin): State<Arc<Admin>>, ask: Ask) -> Result<Response, Refusal> {
    let [account] = ask.query(["account"])?;
    ask.bodiless()?;
    let account = account.map(|name| admin.account(&name)).transpose()?;
    let name = account.as_ref().map(|active| active.account.name.as_str());
    let released = admin.mind.engine().release(name, ask.path("hold"));
    let released = released.map_err(|UnknownHold { name: hold, known }| {
        let whose = name.map_or("the whole server".to_owned(), |name| format!("the account {name}"));
        let error = format!("no fault of {whose} holds under the name {hold:?}");
        Refusal::new(StatusCode::NOT_FOUND, Place::Path, error).expecting(known)
    })?;
    Ok(Json(json!({ "released": released })).into_response())
}

//! What one request looks like.

use std::collections::BTreeMap;

use super::Finding;
use crate::{
    Exchange, Family, Limits, Query, Request,
    action::Role,
    request::CommonParams,
    rules::{self, Deviation, KNOWN_ACTIONS, PARAMETERS, PART_BODY},
};

/// What each request deviates in. What many requests of one upload deviate in alike is one finding.
pub(super) fn check(exchanges: &[&Exchange], limits: &Limits) -> Vec<Finding> {
    let mut found: BTreeMap<_, Vec<u64>> = BTreeMap::new();
    for exchange in exchanges.iter().copied().filter(|exchange| is_for_us(exchange)) {
        for Deviation { rule, found: what } in deviations(exchange, limits) {
            let key = (rule.id, what, exchange.account.as_deref(), exchange.file_sha1);
            found.entry(key).or_insert_with(Vec::new).push(exchange.seq);
        }
    }
    let finding = |((id, found, account, file_sha1), mut exchanges): ((&str, String, Option<&str>, _), Vec<u64>)| {
        exchanges.sort_unstable();
        exchanges.dedup();
        let rule = rules::by_id(id)?;
        Some(Finding { rule, found, exchanges, account: account.map(str::to_owned), file_sha1 })
    };
    found.into_iter().filter_map(finding).collect()
}

/// Is it a request of this protocol? A browser's question whether it may ask is not, nor is a request for another page.
fn is_for_us(exchange: &Exchange) -> bool {
    let path = exchange.request.target.split('?').next().unwrap_or_default();
    exchange.request.method != "OPTIONS" && (rules::known_path(path) || exchange.known_action().is_some())
}

/// What one request deviates in: by what its line and its parameters say, and by the body that came with it.
///
/// `limits` are those of the server that was asked.
#[must_use]
pub fn deviations(exchange: &Exchange, limits: &Limits) -> Vec<Deviation> {
    let Some(action) = exchange.known_action() else {
        let found = match &exchange.action {
            Some(name) => format!("the action is {:?}", name.chars().take(80).collect::<String>()),
            None => "there is no parameter Action".to_owned(),
        };
        return vec![Deviation::new(&KNOWN_ACTIONS, found)];
    };
    let (path, query) = exchange.path_and_query();
    let mut deviations = rules::request_line(action, &exchange.request.method, path);
    deviations.extend(rules::transport(action, exchange.request.tls));
    let mut unreadable = None;
    if action.family() != Family::Ugc {
        match CommonParams::from_query(action.family(), &query) {
            Ok(common) => deviations.extend(common.deviations),
            Err(violation) => unreadable = Some(violation),
        }
    }
    match Request::from_query(action, &query, limits) {
        Ok(parsed) => {
            deviations.extend(parsed.deviations);
            deviations.extend(announced(exchange, &parsed.request));
        }
        Err(violation) => unreadable = unreadable.or(Some(violation)),
    }
    // What no profile forgives, in the words of the refusal.
    deviations.extend(unreadable.map(|violation| Deviation::new(&PARAMETERS, format!("{action}: {violation}"))));
    deviations.extend(body(exchange, &query));
    deviations
}

/// What the announced length of a part is, against what the query says of it.
fn announced(exchange: &Exchange, request: &Request) -> Vec<Deviation> {
    let header = exchange.request.headers.iter().find(|(name, _)| name == "content-length");
    let length = header.and_then(|(_, value)| value.parse().ok());
    let (tail, length) = match request {
        Request::Part(part) => (rules::empty_tail(part), rules::part_length(Role::Part, part.span, length)),
        Request::Next(next) => (None, rules::part_length(Role::Next, next.span, length)),
        Request::Init(_) | Request::Finish(_) | Request::Whole(_) | Request::Report(_) => (None, None),
    };
    tail.into_iter().chain(length).collect()
}

/// What the body of a part is, against what the query says of it. A body that did not come whole proves nothing.
fn body(exchange: &Exchange, query: &Query) -> Option<Deviation> {
    let part = exchange.part?;
    exchange.times.body_done?;
    let body = &exchange.request.body;
    if body.len > 0 && body.sha1.is_none() {
        return None;
    }
    if body.len != part.len {
        let found = format!("the body has {} bytes, dataSize is {}", body.len, part.len);
        return Some(Deviation::new(&PART_BODY, found));
    }
    let announced = query.get("dataMd5")?.parse().ok()?;
    let md5 = body.md5.filter(|md5| *md5 != announced)?;
    Some(Deviation::new(&PART_BODY, format!("the body has MD5 {md5}, dataMd5 is {announced}")))
}

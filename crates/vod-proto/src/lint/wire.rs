//! What one request looks like.

use std::collections::BTreeMap;

use super::Finding;
use crate::{
    Action, Exchange, Family, Limits, Request, findings,
    request::CommonParams,
    rules::{self, Deviation, KNOWN_ACTIONS, PARAMETERS, PART_BODY},
};

/// What each request deviates in. What many requests of one upload deviate in alike is one finding.
pub(super) fn check(exchanges: &[Exchange], limits: &Limits) -> Vec<Finding> {
    let mut found: BTreeMap<_, Vec<u64>> = BTreeMap::new();
    for exchange in exchanges.iter().filter(|exchange| is_for_us(exchange)) {
        for Deviation { rule, found: what } in of_exchange(exchange, limits) {
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
    let known_path = rules::known_path(exchange.path_and_query().0);
    exchange.request.method != "OPTIONS" && (known_path || exchange.known_action().is_some())
}

fn of_exchange(exchange: &Exchange, limits: &Limits) -> Vec<Deviation> {
    let mut deviations = findings::of_exchange(exchange, limits);
    match (exchange.known_action(), &exchange.action) {
        (Some(action), _) => deviations.extend(unreadable(exchange, action, limits)),
        (None, Some(name)) => {
            let name: String = name.chars().take(80).collect();
            deviations.push(Deviation::new(&KNOWN_ACTIONS, format!("the action is {name:?}")));
        }
        (None, None) => deviations.push(Deviation::new(&KNOWN_ACTIONS, "there is no parameter Action")),
    }
    deviations.extend(body(exchange));
    deviations
}

/// What no profile forgives, in the words of the refusal.
fn unreadable(exchange: &Exchange, action: Action, limits: &Limits) -> Option<Deviation> {
    let (_, query) = exchange.path_and_query();
    let common =
        (action.family() != Family::Ugc).then(|| CommonParams::from_query(action.family(), &query).err()).flatten();
    let violation = common.or_else(|| Request::from_query(action, &query, limits).err())?;
    Some(Deviation::new(&PARAMETERS, format!("{action}: {violation}")))
}

/// What the body of a part is, against what the query says of it. A body that did not come whole proves nothing.
fn body(exchange: &Exchange) -> Option<Deviation> {
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
    let (_, query) = exchange.path_and_query();
    let announced = query.get("dataMd5")?.parse().ok()?;
    let md5 = body.md5.filter(|md5| *md5 != announced)?;
    Some(Deviation::new(&PART_BODY, format!("the body has MD5 {md5}, dataMd5 is {announced}")))
}

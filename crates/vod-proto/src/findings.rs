//! What requests on record deviate from the documents in: the same rules that a server holds them to, read from evidence.

use crate::{
    Exchange, Family, Limits, PartSpan, Request, UploadPart,
    action::Role,
    request::CommonParams,
    rules::{self, Deviation, LEGACY_CONTENT_LENGTH, NO_EMPTY_TAIL, PART_CONTENT_LENGTH, request_line},
};

/// What a request that is on record deviates in. A request that could not be read deviates in nothing:
/// it was refused, and the exchange says why.
#[must_use]
pub fn of_exchange(exchange: &Exchange, limits: &Limits) -> Vec<Deviation> {
    let Some(action) = exchange.known_action() else { return Vec::new() };
    let (path, query) = exchange.path_and_query();
    let mut deviations = request_line(action, &exchange.request.method, path);
    deviations.extend(rules::transport(action, exchange.request.tls));
    if action.family() != Family::Ugc
        && let Ok(common) = CommonParams::from_query(action.family(), &query)
    {
        deviations.extend(common.deviations);
    }
    if let Ok(parsed) = Request::from_query(action, &query, limits) {
        deviations.extend(parsed.deviations);
        let header = exchange.request.headers.iter().find(|(name, _)| name == "content-length");
        let length = header.and_then(|(_, value)| value.parse().ok());
        match parsed.request {
            Request::Part(part) => {
                deviations.extend(empty_tail(&part));
                deviations.extend(part_length(Role::Part, part.span, length));
            }
            Request::Next(next) => deviations.extend(part_length(Role::Next, next.span, length)),
            Request::Init(_) | Request::Finish(_) | Request::Whole(_) | Request::Report(_) => {}
        }
    }
    deviations
}

/// An empty part, as one client sends it at the end of a file whose size is a multiple of the part size.
#[must_use]
pub fn empty_tail(part: &UploadPart) -> Option<Deviation> {
    (part.span.len == 0)
        .then(|| Deviation::new(&NO_EMPTY_TAIL, format!("an empty part at offset {}", part.span.offset)))
}

/// What the announced length of a part's body deviates in; none is a body whose length is not announced.
#[must_use]
pub fn part_length(role: Role, span: PartSpan, content_length: Option<u64>) -> Option<Deviation> {
    let found = match content_length {
        Some(len) if len == span.len => return None,
        Some(len) => format!("Content-Length is {len}, dataSize is {}", span.len),
        None => "the part has no Content-Length".to_owned(),
    };
    let rule = if role == Role::Next { &LEGACY_CONTENT_LENGTH } else { &PART_CONTENT_LENGTH };
    Some(Deviation::new(rule, found))
}

//! What lets a page of another origin upload from a browser.

use http::{HeaderValue, header};
use vod_serve::{Head, ReplyOut};

/// How long a browser may remember the answer to a preflight, in seconds. Default 10 minutes: one question an upload.
const MAX_AGE: &str = "600";

/// Adds the headers without which a browser keeps a reply from its page. Requests that name no origin get none.
pub(crate) fn dress(head: &Head, reply: &mut ReplyOut) {
    if !head.headers.contains_key(header::ORIGIN) {
        return;
    }
    let mut add = |name, value| reply.headers.push((name, value));
    // Uploads carry their proof in the query and no cookie, so every origin may.
    add(header::ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    if head.is_preflight() {
        add(header::ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("GET, POST, OPTIONS"));
        let asked = head.headers.get(header::ACCESS_CONTROL_REQUEST_HEADERS);
        if let Some(names) = asked.filter(|names| names.to_str().is_ok()) {
            add(header::ACCESS_CONTROL_ALLOW_HEADERS, names.clone());
        }
        add(header::ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static(MAX_AGE));
    }
}

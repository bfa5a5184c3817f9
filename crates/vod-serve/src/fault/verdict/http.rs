//! `{ http = { status = 503, retry-after = "2s" } }`: an answer of HTTP itself.

use std::time::Duration;

use http::{HeaderValue, header};
use serde::{Deserialize, Serialize};

use super::{Change, Instead, Kind, Phase, Scene, Selector, Striking, at_once};
use crate::message::ReplyOut;

/// An answer of HTTP itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", expecting = "a table such as { status = 503 }")]
pub struct HttpFault {
    /// The status, 400 to 599.
    pub status: u16,
    /// The `Retry-After` header, in whole seconds on the wire, such as `"2s"`. Default none.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "super::super::duration::optional")]
    pub retry_after: Option<Duration>,
}

impl Kind for HttpFault {
    fn name(&self) -> &'static str {
        "http"
    }

    fn phases(&self) -> &'static [Phase] {
        &Phase::BEFORE_REPLY
    }

    fn check(&self, _: Phase, _: &Selector) -> Result<(), String> {
        if (400..600).contains(&self.status) {
            Ok(())
        } else {
            Err(format!("status is {}: expected 400 to 599", self.status))
        }
    }

    fn strike<'a>(&'a self, _: &'a Scene<'a>) -> Striking<'a> {
        let mut headers = vec![(header::CONTENT_TYPE, HeaderValue::from_static("text/plain"))];
        if let Some(after) = self.retry_after {
            // The header counts whole seconds: a fraction is rounded up, since coming back sooner was not asked for.
            let seconds = after.as_secs() + u64::from(after.subsec_nanos() > 0);
            headers.push((header::RETRY_AFTER, HeaderValue::from(seconds)));
        }
        let reply = ReplyOut::new(self.status, headers, format!("injected {}\n", self.status));
        at_once(Ok(Change::instead(Instead::Reply(reply))))
    }
}

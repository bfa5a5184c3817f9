//! `{ reply = { code = -10004, can-retry = true } }`: a reply of the protocol that the server does not mean.

use serde::{Deserialize, Serialize};
use vod_proto::{
    Action, Code,
    reply::{Rejected, Reply},
};

use super::{Change, Instead, Kind, Phase, Scene, Striking, at_once};
use crate::message::ReplyOut;

/// A reply of the protocol that the server does not mean.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", expecting = "a table such as { code = -10004 }")]
pub struct ReplyFault {
    /// The code to answer.
    pub code: i64,
    /// The reply's `canRetry`. Default false.
    #[serde(default)]
    pub can_retry: bool,
    /// The reply's message. Default `injected`.
    #[serde(default = "injected")]
    pub message: String,
}

fn injected() -> String {
    "injected".to_owned()
}

impl Kind for ReplyFault {
    fn name(&self) -> &'static str {
        "reply"
    }

    fn phases(&self) -> &'static [Phase] {
        &Phase::BEFORE_REPLY
    }

    fn strike<'a>(&'a self, scene: &'a Scene<'a>) -> Striking<'a> {
        // Written as the action's family writes it; for an unknown action like most.
        let action = scene.open.subject().action.as_deref().and_then(|name| name.parse::<Action>().ok());
        let family = action.map(Action::family).unwrap_or_default();
        let rejected =
            Rejected { code: Code(self.code), can_retry: Some(self.can_retry), message: self.message.clone() };
        let reply = ReplyOut::of(&Reply::Rejected(rejected), family);
        at_once(Ok(Change::instead(Instead::Reply(reply))))
    }
}

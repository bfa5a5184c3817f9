//! `{ truncate-reply = { at = 20 } }`: the first bytes of the reply, in a message that HTTP takes for whole.
//!
//! A connection that is cut within a reply is another thing: `close` or `reset` in the phase `mid-reply`.

use serde::{Deserialize, Serialize};

use super::{Change, Instead, Kind, Need, Phase, Scene, Striking, at_once};

/// How much of the reply is left.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", expecting = "a table such as { at = 20 }")]
pub struct TruncateReply {
    /// So many bytes of its body; a reply that has no more is not struck.
    pub at: u64,
}

impl Kind for TruncateReply {
    fn name(&self) -> &'static str {
        "truncate-reply"
    }

    fn phases(&self) -> &'static [Phase] {
        &[Phase::AfterCommit]
    }

    fn needs(&self) -> Need {
        Need::ReplyByte(self.at)
    }

    fn strike<'a>(&'a self, _: &'a Scene<'a>) -> Striking<'a> {
        // What it needs is a reply that has a byte there, so the number fits.
        let first = usize::try_from(self.at).unwrap_or(usize::MAX);
        at_once(Ok(Change::instead(Instead::First(first))))
    }
}

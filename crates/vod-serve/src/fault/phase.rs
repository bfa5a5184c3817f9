//! When a fault strikes, in the course of an exchange.

use serde::{Deserialize, Serialize};

/// When a fault strikes, in the course of an exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    /// The request's head is known, its body is not read.
    BeforeRead,
    /// While the body is read.
    MidBody,
    /// The body is read, nothing has come of it yet.
    BeforeCommit,
    /// The request has had its effect, the reply is not begun.
    AfterCommit,
    /// While the reply is written.
    MidReply,
}

impl Phase {
    /// Every phase, in their order.
    pub const ALL: [Self; 5] = [Self::BeforeRead, Self::MidBody, Self::BeforeCommit, Self::AfterCommit, Self::MidReply];

    /// Those in which one answer can still be put in the place of another.
    pub(super) const BEFORE_REPLY: [Self; 3] = [Self::BeforeRead, Self::BeforeCommit, Self::AfterCommit];

    /// Is there a byte that a fault could wait for?
    #[must_use]
    pub const fn counts_bytes(self) -> bool {
        matches!(self, Self::MidBody | Self::MidReply)
    }
}

impl std::fmt::Display for Phase {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::BeforeRead => "before-read",
            Self::MidBody => "mid-body",
            Self::BeforeCommit => "before-commit",
            Self::AfterCommit => "after-commit",
            Self::MidReply => "mid-reply",
        })
    }
}

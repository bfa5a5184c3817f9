//! What a judgement comes to, also where evidence is missing.

use serde::{Deserialize, Serialize};

/// What a judgement comes to. Only [`Pass`](Verdict::Pass) is green.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// Everything holds.
    Pass,
    /// Something is broken.
    Fail,
    /// Nothing is known to be broken, and not everything is known.
    Inconclusive,
}

impl Verdict {
    /// Broken outweighs unknown: what is proven is not made doubtful by what else is missing.
    #[must_use]
    pub const fn of(broken: bool, unknown: bool) -> Self {
        match (broken, unknown) {
            (true, _) => Self::Fail,
            (false, true) => Self::Inconclusive,
            (false, false) => Self::Pass,
        }
    }
}

impl std::fmt::Display for Verdict {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(match self {
            Self::Pass => "pass",
            Self::Fail => "fail",
            Self::Inconclusive => "inconclusive",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_proven_outweighs_what_is_missing_and_what_is_missing_is_no_pass() {
        assert_eq!(Verdict::of(true, true), Verdict::Fail);
        assert_eq!(Verdict::of(true, false), Verdict::Fail);
        assert_eq!(Verdict::of(false, true), Verdict::Inconclusive);
        assert_eq!(Verdict::of(false, false), Verdict::Pass);
    }
}

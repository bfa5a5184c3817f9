//! `{ corrupt = { offset = 100 } }`: what is kept of a part differs from what came, in one byte.

use serde::{Deserialize, Serialize};

use super::{Change, Effects, Kind, Need, Phase, Power, Scene, Selector, Striking, at_once};

/// Which byte is changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", expecting = "a table such as { offset = 0 }")]
pub struct Corrupt {
    /// The byte of the part, from 0; a part that ends before it is not struck.
    pub offset: u64,
}

impl Kind for Corrupt {
    fn name(&self) -> &'static str {
        "corrupt"
    }

    fn phases(&self) -> &'static [Phase] {
        &[Phase::BeforeCommit]
    }

    fn on_reply(&self) -> bool {
        false
    }

    fn needs(&self) -> Need {
        Need::PartByte(self.offset)
    }

    fn takes(&self) -> Power {
        Power::Rereads
    }

    fn check(&self, _: Phase, on: &Selector) -> Result<(), String> {
        on.sends_part("only requests that send a part have one to corrupt")
    }

    fn strike<'a>(&'a self, _: &'a Scene<'a>) -> Striking<'a> {
        at_once(Ok(Change::effects(Effects { corrupt: Some(self.offset), ..Effects::default() })))
    }
}

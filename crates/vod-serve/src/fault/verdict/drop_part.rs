//! `"drop-part"`: acknowledges a part and does not keep it.

use super::{Change, Effects, Kind, Need, Phase, Power, Scene, Selector, Striking, at_once};

pub(super) struct DropPart;

impl Kind for DropPart {
    fn name(&self) -> &'static str {
        "drop-part"
    }

    fn phases(&self) -> &'static [Phase] {
        &[Phase::BeforeCommit]
    }

    fn on_reply(&self) -> bool {
        false
    }

    fn needs(&self) -> Need {
        Need::PartByte(0)
    }

    fn takes(&self) -> Power {
        Power::Spoils
    }

    fn check(&self, _: Phase, on: &Selector) -> Result<(), String> {
        on.sends_part("only requests that send a part have one to drop")
    }

    fn strike<'a>(&'a self, _: &'a Scene<'a>) -> Striking<'a> {
        at_once(Ok(Change::effects(Effects { drop_part: true, ..Effects::default() })))
    }
}

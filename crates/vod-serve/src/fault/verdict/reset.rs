//! `"reset"`: resets the connection, on TCP with an RST.

use vod_proto::exchange::End;

use super::{Kind, Phase, Scene, Striking, at_once};
use crate::rim::cut;

pub(super) struct Reset;

impl Kind for Reset {
    fn name(&self) -> &'static str {
        "reset"
    }

    fn phases(&self) -> &'static [Phase] {
        &Phase::ALL
    }

    fn strike<'a>(&'a self, scene: &'a Scene<'a>) -> Striking<'a> {
        at_once(Err(cut(scene.open, End::Reset)))
    }
}

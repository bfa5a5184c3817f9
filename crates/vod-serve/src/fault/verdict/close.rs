//! `"close"`: closes the connection.

use vod_proto::exchange::End;

use super::{Kind, Phase, Scene, Striking, at_once};
use crate::rim::cut;

pub(super) struct Close;

impl Kind for Close {
    fn name(&self) -> &'static str {
        "close"
    }

    fn phases(&self) -> &'static [Phase] {
        &Phase::ALL
    }

    fn strike<'a>(&'a self, scene: &'a Scene<'a>) -> Striking<'a> {
        at_once(Err(cut(scene.open, End::Closed)))
    }
}

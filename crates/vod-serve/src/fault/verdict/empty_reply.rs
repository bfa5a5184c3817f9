//! `"empty-reply"`: takes the whole request, also its body, and closes the connection without a byte.

use super::{Change, Instead, Kind, Phase, Scene, Striking, at_once};

pub(super) struct EmptyReply;

impl Kind for EmptyReply {
    fn name(&self) -> &'static str {
        "empty-reply"
    }

    fn phases(&self) -> &'static [Phase] {
        &Phase::BEFORE_REPLY
    }

    fn strike<'a>(&'a self, _: &'a Scene<'a>) -> Striking<'a> {
        at_once(Ok(Change::instead(Instead::Nothing)))
    }
}

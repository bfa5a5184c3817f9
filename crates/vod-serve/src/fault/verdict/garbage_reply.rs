//! `"garbage-reply"`: status 200, and bytes that are no JSON, nor text.

use super::{Change, Instead, Kind, Phase, Scene, Striking, at_once};
use crate::message::ReplyOut;

/// What is answered: it begins like JSON, and goes on with what no UTF-8 has.
const GARBAGE: &[u8] = b"{\"code\":0,\xff\xfe\x00\x9d<html>injected garbage";

pub(super) struct GarbageReply;

impl Kind for GarbageReply {
    fn name(&self) -> &'static str {
        "garbage-reply"
    }

    fn phases(&self) -> &'static [Phase] {
        &Phase::BEFORE_REPLY
    }

    fn strike<'a>(&'a self, _: &'a Scene<'a>) -> Striking<'a> {
        at_once(Ok(Change::instead(Instead::Reply(ReplyOut::json(GARBAGE)))))
    }
}

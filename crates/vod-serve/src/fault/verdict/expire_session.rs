//! `"expire-session"`: the upload's session is gone, as if its time were over.

use vod_proto::action::Role;

use super::{Change, Kind, Need, Phase, Power, Scene, Selector, Striking, at_once};

pub(super) struct ExpireSession;

impl Kind for ExpireSession {
    fn name(&self) -> &'static str {
        "expire-session"
    }

    fn phases(&self) -> &'static [Phase] {
        &Phase::BEFORE_REPLY
    }

    fn on_reply(&self) -> bool {
        false
    }

    fn needs(&self) -> Need {
        Need::Session
    }

    fn takes(&self) -> Power {
        Power::Spoils
    }

    fn check(&self, phase: Phase, on: &Selector) -> Result<(), String> {
        on.of_role(|role| role != Role::Report, "Report is about no upload")?;
        let left = |role| phase != Phase::AfterCommit || role != Role::Finish;
        on.of_role(left, "a finish that was accepted leaves no session to expire")
    }

    fn strike<'a>(&'a self, _: &'a Scene<'a>) -> Striking<'a> {
        at_once(Ok(Change { expire_session: true, ..Change::default() }))
    }
}

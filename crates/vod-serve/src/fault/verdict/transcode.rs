//! `{ transcode = -502 }`: lets the transcoding of the file that the request stores fail.

use serde::{Deserialize, Serialize};
use vod_proto::action::Role;

use super::{Change, Effects, Kind, Need, Phase, Power, Scene, Selector, Striking, at_once};

/// The code it fails with, which is negative.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Transcode(pub i64);

impl Kind for Transcode {
    fn name(&self) -> &'static str {
        "transcode"
    }

    fn phases(&self) -> &'static [Phase] {
        &[Phase::BeforeCommit]
    }

    fn on_reply(&self) -> bool {
        false
    }

    fn needs(&self) -> Need {
        Need::File
    }

    fn takes(&self) -> Power {
        Power::Spoils
    }

    fn check(&self, _: Phase, on: &Selector) -> Result<(), String> {
        if self.0 >= 0 {
            return Err(format!("transcode is {}: expected a negative code such as -502", self.0));
        }
        on.of_role(Role::can_commit, "only requests that can store a file have one to transcode")
    }

    fn strike<'a>(&'a self, _: &'a Scene<'a>) -> Striking<'a> {
        at_once(Ok(Change::effects(Effects { transcode: Some(self.0), ..Effects::default() })))
    }
}

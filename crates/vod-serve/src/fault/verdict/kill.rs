//! `{ kill = "client" }`, `{ kill = "mock" }`: asks whoever can to kill, and holds everything back until it is done.

use vod_proto::exchange::End;

use super::{Kind, Phase, Power, Scene, Striking};
use crate::{KillTarget, rim::cut};

impl Kind for KillTarget {
    fn name(&self) -> &'static str {
        match self {
            Self::Client => "kill client",
            Self::Mock => "kill mock",
        }
    }

    fn phases(&self) -> &'static [Phase] {
        &Phase::ALL
    }

    fn takes(&self) -> Power {
        Power::Kills
    }

    fn strike<'a>(&'a self, scene: &'a Scene<'a>) -> Striking<'a> {
        Box::pin(async {
            scene.rim.kill(*self, scene.id, scene.open).await;
            Err(cut(scene.open, End::Killed))
        })
    }
}

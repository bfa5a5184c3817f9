//! `{ refuse = "2s" }`: closes the connection, and refuses every new one for so long, as a server that restarts.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use vod_proto::exchange::End;

use super::{super::duration, Kind, Phase, Power, Scene, Selector, Striking};
use crate::rim::cut;

/// For how long connections are refused. It is the whole server's, whoever's request it strikes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Refuse(#[serde(with = "duration")] pub Duration);

impl Kind for Refuse {
    fn name(&self) -> &'static str {
        "refuse"
    }

    fn phases(&self) -> &'static [Phase] {
        &Phase::ALL
    }

    fn takes(&self) -> Power {
        Power::Refuses
    }

    fn check(&self, _: Phase, _: &Selector) -> Result<(), String> {
        if self.0.is_zero() { Err("refuse is 0: expected a time".to_owned()) } else { Ok(()) }
    }

    fn strike<'a>(&'a self, scene: &'a Scene<'a>) -> Striking<'a> {
        Box::pin(async {
            // Nobody hears of the close before the door is shut.
            scene.rim.door().shut(self.0).await;
            Err(cut(scene.open, End::Closed))
        })
    }
}

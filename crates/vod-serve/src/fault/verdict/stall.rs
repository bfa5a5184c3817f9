//! `{ stall = "10s" }`, `{ stall = "forever" }`: falls silent as a machine does that lost its network.
//!
//! Nothing more is taken in or given out, and then the connection is closed. On record it is a timeout from the start:
//! whatever the client does, it hears nothing more.

use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};
use vod_proto::exchange::End;

use super::{super::duration, Kind, Phase, Scene, Selector, Striking};
use crate::rim::cut;

/// How long it is silent before it closes; none for ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stall(pub Option<Duration>);

const FOREVER: &str = "forever";

impl Kind for Stall {
    fn name(&self) -> &'static str {
        "stall"
    }

    fn phases(&self) -> &'static [Phase] {
        &Phase::ALL
    }

    fn check(&self, _: Phase, _: &Selector) -> Result<(), String> {
        match self.0 {
            Some(Duration::ZERO) => Err("stall is 0: expected a time of silence, or \"forever\"".to_owned()),
            _ => Ok(()),
        }
    }

    fn strike<'a>(&'a self, scene: &'a Scene<'a>) -> Striking<'a> {
        Box::pin(async {
            // First the end: what comes meanwhile, as a client that leaves or a server that stops, changes nothing.
            scene.open.end(End::Timeout);
            scene.open.line().freeze();
            let silence = async {
                match self.0 {
                    Some(silence) => tokio::time::sleep(silence).await,
                    None => std::future::pending().await,
                }
            };
            // A server that stops ends what is under way; this is over, but for its connection.
            tokio::select! {
                biased;
                () = scene.rim.stopped() => {}
                () = silence => {}
            }
            Err(cut(scene.open, End::Timeout))
        })
    }
}

impl Serialize for Stall {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match &self.0 {
            Some(silence) => duration::serialize(silence, serializer),
            None => serializer.serialize_str(FOREVER),
        }
    }
}

impl<'de> Deserialize<'de> for Stall {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        if text == FOREVER {
            return Ok(Self(None));
        }
        duration::parse(&text)
            .map(|silence| Self(Some(silence)))
            .map_err(|wrong| D::Error::custom(format!("{wrong}, or {FOREVER:?}")))
    }
}

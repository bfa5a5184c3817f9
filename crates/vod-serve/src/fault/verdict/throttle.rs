//! `{ throttle = { read = "256KiB/s" } }`, `{ throttle = { write = "1KiB/s" } }`: a slow reader, a slow writer.

use std::{fmt, num::NonZeroU64, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};
use vod_proto::{Size, action::Role};

use super::{Change, Kind, Phase, Scene, Selector, Striking, at_once};

/// How fast bytes pass, from when it strikes to the end of the exchange. They pass evenly, in small pieces.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", expecting = "a table such as { read = \"256KiB/s\" }")]
pub struct Throttle {
    /// How fast the request is taken in. Default: as fast as it comes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub read: Option<Rate>,
    /// How fast the reply is given out. Default: as fast as it is taken.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub write: Option<Rate>,
}

/// Bytes a second, at least one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate(NonZeroU64);

impl Rate {
    /// So many bytes a second; none for 0.
    #[must_use]
    pub fn new(bytes: u64) -> Option<Self> {
        NonZeroU64::new(bytes).map(Self)
    }

    /// Bytes a second.
    #[must_use]
    pub const fn bytes(self) -> u64 {
        self.0.get()
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match Size::new(self.bytes()).to_string().strip_suffix(" bytes") {
            Some(bytes) => write!(f, "{bytes}/s"),
            None => write!(f, "{}/s", Size::new(self.bytes())),
        }
    }
}

impl FromStr for Rate {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let size = text.strip_suffix("/s").and_then(|size| size.trim_end().parse::<Size>().ok());
        size.and_then(|size| Self::new(size.bytes()))
            .ok_or_else(|| format!("{text:?} is no rate above 0 such as \"256KiB/s\" or \"1000/s\""))
    }
}

impl Serialize for Rate {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Rate {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

impl Kind for Throttle {
    fn name(&self) -> &'static str {
        "throttle"
    }

    fn phases(&self) -> &'static [Phase] {
        &Phase::ALL
    }

    fn on_reply(&self) -> bool {
        false
    }

    fn check(&self, phase: Phase, on: &Selector) -> Result<(), String> {
        match self {
            Self { read: None, write: None } => Err("throttle has neither read nor write".to_owned()),
            Self { read: None, .. } => Ok(()),
            Self { .. } if !matches!(phase, Phase::BeforeRead | Phase::MidBody) => {
                Err(format!("in phase {phase} nothing is left to read: expected throttle in before-read or mid-body"))
            }
            Self { .. } => on.of_role(Role::has_body, "only requests that send a part or a file have a body to read"),
        }
    }

    fn strike<'a>(&'a self, scene: &'a Scene<'a>) -> Striking<'a> {
        scene.open.line().throttle(*self);
        at_once(Ok(Change::default()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_read_as_people_write_them_and_show_the_same() {
        for (text, bytes) in [("256KiB/s", 256 << 10), ("1MiB/s", 1 << 20), ("1000/s", 1000)] {
            let rate: Rate = text.parse().unwrap();
            assert_eq!((rate.bytes(), rate.to_string()), (bytes, text.to_owned()));
        }
        for text in ["", "256KiB", "0/s", "0KiB/s", "fast", "-1/s", "1KiB/h"] {
            assert!(text.parse::<Rate>().is_err(), "{text:?} was read");
        }
    }
}

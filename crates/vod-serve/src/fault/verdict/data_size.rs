//! `{ data-size = "512KiB" }`: a resume that insists on another grid than the client asks for.
//!
//! The upload begins anew on that grid, as if somebody had begun it with that part size, and the answer is code 1.

use serde::{Deserialize, Serialize};
use vod_proto::{Size, action::Role};

use super::{Change, Effects, Kind, Need, Phase, Power, Scene, Selector, Striking, at_once};

/// The part size that is insisted on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct DataSize(pub Size);

impl Kind for DataSize {
    fn name(&self) -> &'static str {
        "data-size"
    }

    fn phases(&self) -> &'static [Phase] {
        &[Phase::BeforeCommit]
    }

    fn on_reply(&self) -> bool {
        false
    }

    fn needs(&self) -> Need {
        Need::Opening
    }

    fn takes(&self) -> Power {
        Power::Spoils
    }

    fn check(&self, _: Phase, on: &Selector) -> Result<(), String> {
        if self.0.bytes() == 0 {
            return Err("data-size is 0: expected at least a byte".to_owned());
        }
        on.of_role(|role| role == Role::Open, "only InitUpload and InitUploadEx are answered with a part size")
    }

    fn strike<'a>(&'a self, _: &'a Scene<'a>) -> Striking<'a> {
        at_once(Ok(Change::effects(Effects { part_size: Some(self.0.bytes()), ..Effects::default() })))
    }
}

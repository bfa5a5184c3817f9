//! `{ list = "stale" }`: lies about the parts that are here, when an upload is resumed.

use serde::{Deserialize, Serialize};
use vod_proto::action::Role;

use super::{Change, Effects, Kind, Need, Phase, Power, Scene, Selector, Striking, at_once};

/// What is wrong with the list of parts. The parts themselves stay.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ListLie {
    /// It is of a while ago: the part that was kept last is not on it.
    Stale,
    /// No part has its `dataMd5`.
    WithoutMd5,
    /// Every part has a `dataSha`, its SHA-1, and no `dataMd5`.
    ShaInsteadOfMd5,
    /// Every part has the `dataMd5` of other bytes.
    OtherMd5,
    /// No part is on it.
    Empty,
}

impl Kind for ListLie {
    fn name(&self) -> &'static str {
        match self {
            Self::Stale => "list stale",
            Self::WithoutMd5 => "list without-md5",
            Self::ShaInsteadOfMd5 => "list sha-instead-of-md5",
            Self::OtherMd5 => "list other-md5",
            Self::Empty => "list empty",
        }
    }

    fn phases(&self) -> &'static [Phase] {
        &[Phase::BeforeCommit]
    }

    fn on_reply(&self) -> bool {
        false
    }

    fn needs(&self) -> Need {
        Need::List
    }

    fn takes(&self) -> Power {
        Power::Spoils
    }

    fn check(&self, _: Phase, on: &Selector) -> Result<(), String> {
        on.of_role(|role| role == Role::Open, "only InitUpload and InitUploadEx are answered with a list of parts")
    }

    fn strike<'a>(&'a self, _: &'a Scene<'a>) -> Striking<'a> {
        at_once(Ok(Change::effects(Effects { list: Some(*self), ..Effects::default() })))
    }
}

//! The actions of the protocol, by their wire names.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// One of the calls a client makes, as named by the query parameter `Action`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Action {
    /// Opens or resumes an upload.
    InitUpload,
    /// Sends one part.
    UploadPart,
    /// Puts the parts together.
    FinishUpload,
}

impl Action {
    /// Every action, in the order an upload calls them.
    pub const ALL: [Self; 3] = [Self::InitUpload, Self::UploadPart, Self::FinishUpload];

    /// The value of `Action` on the wire.
    #[must_use]
    pub const fn wire_name(self) -> &'static str {
        match self {
            Self::InitUpload => "InitUpload",
            Self::UploadPart => "UploadPart",
            Self::FinishUpload => "FinishUpload",
        }
    }

    /// The method the documents demand: GET, except where a body is sent.
    #[must_use]
    pub const fn documented_method(self) -> &'static str {
        match self {
            Self::InitUpload | Self::FinishUpload => "GET",
            Self::UploadPart => "POST",
        }
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.wire_name())
    }
}

/// A value of `Action` that no document names.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown action {0:?}, expected one of InitUpload, UploadPart, FinishUpload")]
pub struct UnknownAction(pub String);

impl FromStr for Action {
    type Err = UnknownAction;

    fn from_str(name: &str) -> Result<Self, UnknownAction> {
        Self::ALL.into_iter().find(|a| a.wire_name() == name).ok_or_else(|| UnknownAction(name.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_action_is_named_in_the_error() {
        let error = "initupload".parse::<Action>().unwrap_err();
        assert!(error.to_string().contains("\"initupload\""), "{error}");
    }

    #[test]
    fn serde_and_the_wire_use_one_name() {
        for action in Action::ALL {
            assert_eq!(serde_json::to_string(&action).unwrap(), format!("\"{}\"", action.wire_name()));
        }
    }
}

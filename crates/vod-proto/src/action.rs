//! The actions of the protocol, by their wire names, and what each is for.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// A generation and kind of the protocol: it decides how a request is signed and what a reply looks like.
///
/// Source: `docs/protocol.md`, *Families*.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Family {
    /// Three steps, each request signed with the account's key pair. The default.
    #[default]
    Server,
    /// The same three steps under one upload signature, which an application hands to its users' devices.
    Ugc,
    /// One action that sends part after part, in the order that the server dictates.
    Legacy,
}

impl Family {
    /// Every family, in the order of this page.
    pub const ALL: [Self; 3] = [Self::Server, Self::Ugc, Self::Legacy];

    /// Its name in files and on command lines.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Server => "server",
            Self::Ugc => "ugc",
            Self::Legacy => "legacy",
        }
    }

    /// The action that opens an upload, and that tells what the server has of it.
    #[must_use]
    pub const fn open(self) -> Action {
        match self {
            Self::Server => Action::InitUpload,
            Self::Ugc => Action::InitUploadEx,
            Self::Legacy => Action::MultipartUploadVodFile,
        }
    }

    /// The action that sends a part.
    #[must_use]
    pub const fn part(self) -> Action {
        match self {
            Self::Server => Action::UploadPart,
            Self::Ugc => Action::UploadPartEx,
            Self::Legacy => Action::MultipartUploadVodFile,
        }
    }

    /// The action that puts the parts together.
    #[must_use]
    pub const fn finish(self) -> Action {
        match self {
            Self::Server => Action::FinishUpload,
            Self::Ugc => Action::FinishUploadEx,
            Self::Legacy => Action::MultipartUploadVodFile,
        }
    }
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Family {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let known = Self::ALL.into_iter().find(|family| family.name() == name);
        known.ok_or_else(|| format!("unknown family {name:?}, expected server, ugc or legacy"))
    }
}

/// What a call is for, whatever its family.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// Opens or resumes an upload.
    Open,
    /// Sends one part of an open upload.
    Part,
    /// Puts the parts together.
    Finish,
    /// Sends the part that the server wants next; the first opens the upload and the last finishes it.
    Next,
    /// Sends a whole small file.
    Whole,
    /// Tells the service how an upload went; nothing comes of it.
    Report,
}

impl Role {
    /// Does it send a part of a larger file?
    #[must_use]
    pub const fn sends_part(self) -> bool {
        matches!(self, Self::Part | Self::Next)
    }

    /// Has its request a body?
    #[must_use]
    pub const fn has_body(self) -> bool {
        matches!(self, Self::Part | Self::Next | Self::Whole)
    }

    /// Can a file be stored by it?
    #[must_use]
    pub const fn can_commit(self) -> bool {
        matches!(self, Self::Finish | Self::Next | Self::Whole)
    }
}

/// One of the calls a client makes, as named by the query parameter `Action`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Action {
    /// Opens or resumes an upload.
    InitUpload,
    /// Sends one part.
    UploadPart,
    /// Puts the parts together.
    FinishUpload,
    /// `InitUpload` under an upload signature.
    InitUploadEx,
    /// `UploadPart` under an upload signature.
    UploadPartEx,
    /// `FinishUpload` under an upload signature.
    FinishUploadEx,
    /// Sends the part that the server wants next; the older generation's one action.
    MultipartUploadVodFile,
    /// Sends a whole small file, such as a cover.
    SmallFileUpload,
    /// Tells the service how an upload went. No document names it; two clients send it.
    Report,
}

impl Action {
    /// Every action: family by family, in the order an upload calls them.
    pub const ALL: [Self; 9] = [
        Self::InitUpload,
        Self::UploadPart,
        Self::FinishUpload,
        Self::InitUploadEx,
        Self::UploadPartEx,
        Self::FinishUploadEx,
        Self::MultipartUploadVodFile,
        Self::SmallFileUpload,
        Self::Report,
    ];

    /// The value of `Action` on the wire.
    #[must_use]
    pub const fn wire_name(self) -> &'static str {
        match self {
            Self::InitUpload => "InitUpload",
            Self::UploadPart => "UploadPart",
            Self::FinishUpload => "FinishUpload",
            Self::InitUploadEx => "InitUploadEx",
            Self::UploadPartEx => "UploadPartEx",
            Self::FinishUploadEx => "FinishUploadEx",
            Self::MultipartUploadVodFile => "MultipartUploadVodFile",
            Self::SmallFileUpload => "SmallFileUpload",
            Self::Report => "Report",
        }
    }

    /// Whose signature and whose form of reply it has.
    #[must_use]
    pub const fn family(self) -> Family {
        match self {
            Self::InitUpload | Self::UploadPart | Self::FinishUpload | Self::SmallFileUpload | Self::Report => {
                Family::Server
            }
            Self::InitUploadEx | Self::UploadPartEx | Self::FinishUploadEx => Family::Ugc,
            Self::MultipartUploadVodFile => Family::Legacy,
        }
    }

    /// What it is for.
    #[must_use]
    pub const fn role(self) -> Role {
        match self {
            Self::InitUpload | Self::InitUploadEx => Role::Open,
            Self::UploadPart | Self::UploadPartEx => Role::Part,
            Self::FinishUpload | Self::FinishUploadEx => Role::Finish,
            Self::MultipartUploadVodFile => Role::Next,
            Self::SmallFileUpload => Role::Whole,
            Self::Report => Role::Report,
        }
    }

    /// The method the documents demand: GET, except where a body is sent; `Report` is only known by POST.
    #[must_use]
    pub const fn documented_method(self) -> &'static str {
        match self.role() {
            Role::Open | Role::Finish => "GET",
            Role::Part | Role::Next | Role::Whole | Role::Report => "POST",
        }
    }

    /// The names of all actions, for messages.
    #[must_use]
    pub fn names() -> String {
        Self::ALL.map(Self::wire_name).join(", ")
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.wire_name())
    }
}

/// A value of `Action` that no document names.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown action {0:?}, expected one of {names}", names = Action::names())]
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
        let error = "initupload".parse::<Action>().unwrap_err().to_string();
        assert!(error.contains("\"initupload\"") && error.contains("MultipartUploadVodFile"), "{error}");
    }

    #[test]
    fn serde_and_the_wire_use_one_name() {
        for action in Action::ALL {
            assert_eq!(serde_json::to_string(&action).unwrap(), format!("\"{}\"", action.wire_name()));
        }
        for family in Family::ALL {
            assert_eq!(serde_json::to_string(&family).unwrap(), format!("\"{family}\""));
            assert_eq!(family.name().parse(), Ok(family));
        }
    }

    #[test]
    fn a_familys_steps_are_its_own() {
        for family in Family::ALL {
            for action in [family.open(), family.part(), family.finish()] {
                assert_eq!(action.family(), family, "{action}");
            }
        }
    }
}

//! What is remembered of an upload, one fact at a time, in the order it became true.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use vod_proto::{Family, FileFacts, InitUpload, Md5, PartSpan, Sha1};

/// The name of a kept body within its store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct BodyId(pub u64);

/// Which generation of the service an upload belongs to. They have hosts and products of their own, and know nothing
/// of each other's files.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Generation {
    /// The server and UGC families, which are two doors to the same uploads.
    #[default]
    Current,
    /// The legacy family.
    Legacy,
}

impl From<Family> for Generation {
    fn from(family: Family) -> Self {
        match family {
            Family::Server | Family::Ugc => Self::Current,
            Family::Legacy => Self::Legacy,
        }
    }
}

/// What tells uploads apart: whose, of which generation, and which file. Nothing else identifies one on the wire.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct UploadKey {
    /// The account's name.
    pub account: String,
    /// The generation.
    pub generation: Generation,
    /// The file's SHA-1.
    pub file_sha1: Sha1,
}

/// What the first request of a session fixed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Opened {
    /// What was said of the file.
    pub file: FileFacts,
    /// Its size in bytes.
    pub file_size: u64,
    /// The grid in bytes; none where parts come in the order that the server dictates.
    pub part_size: Option<u64>,
}

impl From<&InitUpload> for Opened {
    fn from(init: &InitUpload) -> Self {
        Self { file: init.facts.clone(), file_size: init.file_size, part_size: Some(init.part_size) }
    }
}

/// A fact about an upload.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub enum Record {
    /// A session was opened; an earlier one of the same upload is gone.
    Opened {
        /// Which upload.
        key: UploadKey,
        /// When.
        at: Timestamp,
        /// What was fixed.
        facts: Opened,
    },
    /// A part was acknowledged; an earlier one at its place is gone.
    Part {
        /// Which upload.
        key: UploadKey,
        /// When.
        at: Timestamp,
        /// Where it lies.
        span: PartSpan,
        /// Its MD5, where the family has one.
        md5: Option<Md5>,
        /// Its SHA-1: two parts of one MD5 can be made on purpose, and only equal bytes may keep the file's hash.
        sha1: Sha1,
        /// Where its bytes are kept.
        body: BodyId,
    },
    /// The file was put together; the session is over.
    Stored {
        /// Which upload.
        key: UploadKey,
        /// When.
        at: Timestamp,
        /// The id that was handed out.
        file_id: String,
    },
    /// A small file came whole, in one request; a session of it is over.
    Whole {
        /// Which upload.
        key: UploadKey,
        /// When.
        at: Timestamp,
        /// What was said of it.
        facts: Opened,
        /// Its SHA-1.
        sha1: Sha1,
        /// Where its bytes are kept.
        body: BodyId,
        /// The id that was handed out.
        file_id: String,
    },
    /// The session is gone without a file.
    Dropped {
        /// Which upload.
        key: UploadKey,
    },
    /// Nothing of it is left, as if there had never been anything.
    Forgotten {
        /// Which upload.
        key: UploadKey,
    },
}

impl Record {
    /// Which upload it is about.
    #[must_use]
    pub const fn key(&self) -> &UploadKey {
        match self {
            Self::Opened { key, .. }
            | Self::Part { key, .. }
            | Self::Stored { key, .. }
            | Self::Whole { key, .. }
            | Self::Dropped { key }
            | Self::Forgotten { key } => key,
        }
    }
}

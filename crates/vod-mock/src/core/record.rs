//! What is remembered of an upload, one fact at a time, in the order it became true.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use vod_proto::{InitUpload, Md5, PartSpan, Sha1};

/// The name of a kept body within its store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct BodyId(pub u64);

/// What tells uploads apart: whose, and which file. Nothing else identifies one on the wire.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct UploadKey {
    /// The account's name.
    pub account: String,
    /// The file's SHA-1.
    pub file_sha1: Sha1,
}

/// What the first `InitUpload` of a session fixed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Opened {
    /// The file's name.
    pub file_name: String,
    /// The file's type.
    pub file_type: String,
    /// Its size in bytes.
    pub file_size: u64,
    /// The grid in bytes.
    pub part_size: u64,
    /// Tags.
    pub tags: Vec<String>,
    /// Class.
    pub class_id: Option<u64>,
    /// To be transcoded.
    pub transcode: bool,
    /// A screenshot is to be taken.
    pub screenshot: bool,
    /// To be watermarked.
    pub watermark: bool,
}

impl From<&InitUpload> for Opened {
    fn from(init: &InitUpload) -> Self {
        Self {
            file_name: init.file_name.clone(),
            file_type: init.file_type.clone(),
            file_size: init.file_size,
            part_size: init.part_size,
            tags: init.tags.clone(),
            class_id: init.class_id,
            transcode: init.transcode,
            screenshot: init.screenshot,
            watermark: init.watermark,
        }
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
        /// Its MD5.
        md5: Md5,
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
    /// The session is gone without a file.
    Dropped {
        /// Which upload.
        key: UploadKey,
    },
}

impl Record {
    /// Which upload it is about.
    #[must_use]
    pub const fn key(&self) -> &UploadKey {
        match self {
            Self::Opened { key, .. } | Self::Part { key, .. } | Self::Stored { key, .. } | Self::Dropped { key } => key,
        }
    }
}

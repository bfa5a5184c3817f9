//! What happens during an upload, for progress bars and logs.
//!
//! - `event/stream.rs`: [`Events`], for whoever would rather wait for events than be called with them.

mod stream;

use std::time::Duration;

use vod_proto::{Action, PartSpan, Sha1};

pub use self::stream::Events;
use crate::{
    error::{Failure, UploadError},
    report::UploadReport,
};

/// Something that happened during an upload.
///
/// They are told in this order: [`Queued`](Self::Queued) first; then how the source is read; then
/// [`Opened`](Self::Opened), which says how many parts wait to be sent; each part's attempts, with the reason and the
/// delay of those that are made again, until it is acknowledged or skipped ([`PartDone`](Self::PartDone)); at last
/// [`Finished`](Self::Finished) or [`Failed`](Self::Failed), behind which comes nothing. An upload that is dropped tells
/// nothing more.
///
/// Whoever calls [`Uploader::upload_observed`](crate::Uploader::upload_observed) hears every one of them; [`Events`]
/// makes a stream of it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// The upload was accepted: nothing has been read or sent yet.
    Queued {
        /// The source's size in bytes.
        total: u64,
    },
    /// So much of the file has gone into its SHA-1. Not told where the digest cache knows it.
    Hashing {
        /// Bytes so far.
        done: u64,
        /// The file's size in bytes.
        total: u64,
    },
    /// The upload's identity is known.
    Hashed {
        /// The SHA-1 of the whole file.
        file_sha1: Sha1,
        /// The digest cache knew it: the file was not read.
        cached: bool,
    },
    /// The server opened the upload, or told what it has of it. In the legacy family, whenever it goes on elsewhere
    /// than behind the part it was sent.
    Opened {
        /// The grid in force, in bytes; in the legacy family, the size of the parts behind the first.
        part_size: u64,
        /// How many parts the file has.
        parts: u64,
        /// How many of them the server says it has.
        listed: u64,
        /// The bytes of those that need no second look, because this upload sent or compared them before; in the legacy
        /// family, which allows no look, of all.
        held_bytes: u64,
    },
    /// A request goes out.
    AttemptStarted {
        /// Which action.
        action: Action,
        /// Which part, for an action that sends one.
        span: Option<PartSpan>,
        /// The n-th time since the upload was last opened, counted from 1.
        attempt: u32,
    },
    /// A request failed.
    AttemptFailed {
        /// Which action.
        action: Action,
        /// Which part, for an action that sends one.
        span: Option<PartSpan>,
        /// The n-th time since the upload was last opened, counted from 1.
        attempt: u32,
        /// What came of it.
        failure: Failure,
        /// When the request is sent again; none where it is not.
        retry_in: Option<Duration>,
    },
    /// The server has this part; a small file that is sent whole is one.
    PartDone {
        /// Which.
        span: PartSpan,
        /// It had it before, with the same bytes.
        skipped: bool,
    },
    /// The opening action is asked again, to learn what the server has.
    Reopening {
        /// Why.
        because: Failure,
    },
    /// Every part is there, and the server is asked to put them together. In the legacy family the last part is still
    /// to come: that is how the server is asked. A small file that is sent whole never comes here.
    Finishing,
    /// The file is stored: the upload is over.
    Finished {
        /// What the upload returns.
        report: Box<UploadReport>,
    },
    /// The upload failed: it is over.
    Failed {
        /// What the upload returns.
        error: Box<UploadError>,
    },
    /// Of [`Events`] alone: its reader was so far behind that these events were let go.
    Missed {
        /// How many.
        events: u64,
    },
}

impl Event {
    /// The last event of an upload that ended like this.
    pub(crate) fn ended(result: &Result<UploadReport, UploadError>) -> Self {
        match result.clone() {
            Ok(report) => Self::Finished { report: Box::new(report) },
            Err(error) => Self::Failed { error: Box::new(error) },
        }
    }
}

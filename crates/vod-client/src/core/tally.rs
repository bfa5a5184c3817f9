//! What an upload counts as it goes, for its report.

use std::time::Duration;

use vod_proto::reply::Stored;

use crate::report::{Outcome, UploadReport};

/// What has been done so far.
#[derive(Debug, Default)]
pub(super) struct Tally {
    /// Parts that the server acknowledged.
    pub(super) parts_sent: u64,
    /// Parts that it had before.
    pub(super) parts_skipped: u64,
    /// Requests of any kind, attempts counted singly.
    pub(super) requests: u64,
    /// Bytes of bodies that the transport took.
    pub(super) bytes_sent: u64,
}

impl Tally {
    /// The report of an upload that succeeded at this time.
    pub(super) fn report(&self, outcome: Outcome, stored: Stored, now: Duration) -> UploadReport {
        let Stored { file_id, url, verify_content } = stored;
        UploadReport {
            outcome,
            file_id,
            url,
            verify_content,
            parts_sent: self.parts_sent,
            parts_skipped: self.parts_skipped,
            attempts: self.requests,
            bytes_sent: self.bytes_sent,
            elapsed: now,
        }
    }
}

//! The numbers that bound an upload, as data: a server may be given others, nothing scales them unseen.

use serde::{Deserialize, Serialize};

/// What a server allows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Limits {
    /// Smallest `dataSize` of an `InitUpload`, in bytes. Default 524,288 (documented).
    pub part_size_min: u64,
    /// Largest `dataSize` of an `InitUpload`, in bytes. Default 1,048,576 (documented).
    pub part_size_max: u64,
    /// Longest `fileName`, in characters. Default 40 (documented).
    pub file_name_chars: usize,
    /// How long an unfinished upload is kept after its last part, in seconds.
    /// Default 172,800: two days is what the one public statement on resuming says.
    pub session_lifetime_s: u64,
    /// Longest request body that is read, also when it is only thrown away, in bytes.
    /// Default 8 MiB: above every part size of either generation, and small enough to drain in passing.
    pub body_ceiling: u64,
    /// How far a `Timestamp` may be off the server's clock, in seconds. Default 7,200 (documented).
    pub timestamp_window_s: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            part_size_min: 524_288,
            part_size_max: 1_048_576,
            file_name_chars: 40,
            session_lifetime_s: 172_800,
            body_ceiling: 8 << 20,
            timestamp_window_s: 7_200,
        }
    }
}

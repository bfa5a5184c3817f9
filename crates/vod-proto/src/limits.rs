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

/// Limits that exclude each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LimitsError {
    /// A part must have a byte.
    #[error("part-size-min is 0: expected at least 1")]
    Zero,
    /// No part size is left.
    #[error("part-size-min is {min}, above part-size-max, {max}")]
    Crossed {
        /// The smallest.
        min: u64,
        /// The largest.
        max: u64,
    },
    /// Parts could never be read.
    #[error("part-size-max is {max}, above body-ceiling, {ceiling}")]
    Ceiling {
        /// The largest part.
        max: u64,
        /// The longest body.
        ceiling: u64,
    },
}

impl Limits {
    /// Checks that an upload is possible at all.
    ///
    /// # Errors
    /// Names the limits that exclude each other.
    pub const fn check(&self) -> Result<(), LimitsError> {
        let Self { part_size_min: min, part_size_max: max, body_ceiling: ceiling, .. } = *self;
        if min == 0 {
            return Err(LimitsError::Zero);
        }
        if min > max {
            return Err(LimitsError::Crossed { min, max });
        }
        if max > ceiling { Err(LimitsError::Ceiling { max, ceiling }) } else { Ok(()) }
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_that_exclude_each_other_are_refused() {
        assert_eq!(Limits::default().check(), Ok(()));
        assert_eq!(Limits { part_size_min: 0, ..Limits::default() }.check(), Err(LimitsError::Zero));
        let crossed = Limits { part_size_min: 9, part_size_max: 8, ..Limits::default() }.check();
        assert_eq!(crossed, Err(LimitsError::Crossed { min: 9, max: 8 }));
        let ceiling = Limits { body_ceiling: 9, ..Limits::default() }.check();
        assert_eq!(ceiling, Err(LimitsError::Ceiling { max: 1_048_576, ceiling: 9 }));
    }
}

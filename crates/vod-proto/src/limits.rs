//! The numbers that bound an upload, as data: a server may be given others, nothing scales them unseen.

use serde::{Deserialize, Serialize};

/// What the length of a file's name is counted in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum NameUnit {
    /// Characters of the text.
    #[default]
    Characters,
    /// Bytes of its UTF-8.
    Bytes,
}

impl std::fmt::Display for NameUnit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Characters => "characters",
            Self::Bytes => "bytes",
        })
    }
}

/// What a server allows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Limits {
    /// Smallest `dataSize` of an `InitUpload`, in bytes. Default 524,288 (documented).
    pub part_size_min: u64,
    /// Largest `dataSize` of an `InitUpload`, in bytes. Default 1,048,576 (documented).
    pub part_size_max: u64,
    /// Length of the first part of a legacy upload that has more than one, in bytes. Default 524,288 (documented).
    pub legacy_first_part: u64,
    /// Largest part of a legacy upload, in bytes; the smallest but the last is `part-size-min`.
    /// Default 5,242,880 (documented).
    pub legacy_part_max: u64,
    /// Largest file of `SmallFileUpload`, in bytes. Default 1,048,575: "under 1 MB" (documented).
    pub small_file_max: u64,
    /// Longest `fileName`, in units of `file-name-unit`. Default 40 (documented).
    pub file_name_max: usize,
    /// What `file-name-max` counts. Default characters, as the earlier documents say; the later ones say bytes.
    pub file_name_unit: NameUnit,
    /// How many `InitUpload` one account may send in a minute. Default none; the documents say 100.
    pub init_per_minute: Option<u32>,
    /// How many `UploadPart` one account may send in a minute. Default none; the documents say 10,000.
    pub part_per_minute: Option<u32>,
    /// How many `FinishUpload` one account may send in a minute. Default none; the documents say 100.
    pub finish_per_minute: Option<u32>,
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
    /// A part must have a byte, a name a character.
    #[error("{0} is 0: expected at least 1")]
    Zero(&'static str),
    /// No size is left between a lower and an upper limit.
    #[error("{low} is {min}, above {high}, {max}")]
    Crossed {
        /// The lower limit.
        low: &'static str,
        /// What it demands.
        min: u64,
        /// The upper limit.
        high: &'static str,
        /// What it allows.
        max: u64,
    },
    /// A part or a file could never be read.
    #[error("{name} is {max}, above body-ceiling, {ceiling}")]
    Ceiling {
        /// Which limit.
        name: &'static str,
        /// What it allows.
        max: u64,
        /// The longest body.
        ceiling: u64,
    },
}

impl Limits {
    /// How long a file name is, in the unit that is counted.
    #[must_use]
    pub fn file_name_len(&self, name: &str) -> usize {
        match self.file_name_unit {
            NameUnit::Characters => name.chars().count(),
            NameUnit::Bytes => name.len(),
        }
    }

    /// Checks that an upload is possible at all.
    ///
    /// # Errors
    /// Names the limits that exclude each other.
    pub fn check(&self) -> Result<(), LimitsError> {
        let Self { part_size_min: min, part_size_max: max, legacy_first_part, body_ceiling: ceiling, .. } = *self;
        let least_1 = [
            ("part-size-min", min),
            ("legacy-first-part", legacy_first_part),
            ("small-file-max", self.small_file_max),
            ("file-name-max", self.file_name_max as u64),
        ];
        if let Some((name, _)) = least_1.into_iter().find(|(_, limit)| *limit == 0) {
            return Err(LimitsError::Zero(name));
        }
        for (high, max) in [("part-size-max", max), ("legacy-part-max", self.legacy_part_max)] {
            if min > max {
                return Err(LimitsError::Crossed { low: "part-size-min", min, high, max });
            }
        }
        let bodies = [
            ("part-size-max", max),
            ("legacy-first-part", legacy_first_part),
            ("legacy-part-max", self.legacy_part_max),
            ("small-file-max", self.small_file_max),
        ];
        match bodies.into_iter().find(|(_, max)| *max > ceiling) {
            Some((name, max)) => Err(LimitsError::Ceiling { name, max, ceiling }),
            None => Ok(()),
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            part_size_min: 524_288,
            part_size_max: 1_048_576,
            legacy_first_part: 524_288,
            legacy_part_max: 5_242_880,
            small_file_max: 1_048_575,
            file_name_max: 40,
            file_name_unit: NameUnit::default(),
            init_per_minute: None,
            part_per_minute: None,
            finish_per_minute: None,
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
        let zero = |limits: Limits| limits.check().unwrap_err().to_string();
        assert_eq!(zero(Limits { part_size_min: 0, ..Limits::default() }), "part-size-min is 0: expected at least 1");
        assert_eq!(zero(Limits { file_name_max: 0, ..Limits::default() }), "file-name-max is 0: expected at least 1");
        let crossed = zero(Limits { part_size_min: 9, part_size_max: 8, ..Limits::default() });
        assert_eq!(crossed, "part-size-min is 9, above part-size-max, 8");
        let crossed = zero(Limits { legacy_part_max: 8, ..Limits::default() });
        assert_eq!(crossed, "part-size-min is 524288, above legacy-part-max, 8");
        let ceiling = Limits { body_ceiling: 9, ..Limits::default() }.check();
        assert_eq!(ceiling, Err(LimitsError::Ceiling { name: "part-size-max", max: 1_048_576, ceiling: 9 }));
    }
}

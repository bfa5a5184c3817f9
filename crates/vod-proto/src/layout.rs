//! How a file is cut into parts: the only home of that arithmetic.

use serde::{Deserialize, Serialize};

use crate::Limits;

/// One piece of a file: `len` bytes from `offset`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct PartSpan {
    /// First byte, counted from 0.
    pub offset: u64,
    /// Length in bytes.
    pub len: u64,
}

impl PartSpan {
    /// The first byte behind the part.
    #[must_use]
    pub const fn end(self) -> u64 {
        self.offset.saturating_add(self.len)
    }
}

impl std::fmt::Display for PartSpan {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}+{}", self.offset, self.len)
    }
}

/// The grid of an upload: a file size and the part size agreed at `InitUpload`.
///
/// Every part is `part_size` long except the last, which is what remains and may be as long as the others.
/// An empty file has no part.
///
/// ```
/// use vod_proto::{Layout, PartSpan};
///
/// // The example of the documents: 6,000,000 bytes in parts of 1 MiB.
/// let layout = Layout::new(6_000_000, 1_048_576).unwrap();
/// assert_eq!(layout.count(), 6);
/// assert_eq!(layout.part(5), Some(PartSpan { offset: 5_242_880, len: 757_120 }));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    file_size: u64,
    part_size: u64,
}

/// A span that is not a part of the grid.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OffGrid {
    /// The offset is no multiple of the part size.
    #[error("offset {offset} is no multiple of the upload's dataSize {part_size}")]
    Offset {
        /// What was asked for.
        offset: u64,
        /// The grid.
        part_size: u64,
    },
    /// The offset lies at or behind the end of the file.
    #[error("offset {offset} is not inside the file of {file_size} bytes")]
    Outside {
        /// What was asked for.
        offset: u64,
        /// The file's size.
        file_size: u64,
    },
    /// The part at this offset has another length.
    #[error("dataSize {len} at offset {offset}: the part there has {expected} bytes")]
    Length {
        /// Where.
        offset: u64,
        /// What was asked for.
        len: u64,
        /// What the grid says.
        expected: u64,
    },
}

impl Layout {
    /// The grid of a file of `file_size` bytes in parts of `part_size`; none for a part size of 0.
    #[must_use]
    pub const fn new(file_size: u64, part_size: u64) -> Option<Self> {
        if part_size == 0 { None } else { Some(Self { file_size, part_size }) }
    }

    /// The size of the whole file in bytes.
    #[must_use]
    pub const fn file_size(&self) -> u64 {
        self.file_size
    }

    /// The grid: the size of every part but the last, in bytes.
    #[must_use]
    pub const fn part_size(&self) -> u64 {
        self.part_size
    }

    /// How many parts there are.
    #[must_use]
    pub const fn count(&self) -> u64 {
        self.file_size.div_ceil(self.part_size)
    }

    /// The part with this index, counted from 0.
    #[must_use]
    pub fn part(&self, index: u64) -> Option<PartSpan> {
        let offset = index.checked_mul(self.part_size).filter(|offset| *offset < self.file_size)?;
        Some(PartSpan { offset, len: self.part_size.min(self.file_size - offset) })
    }

    /// All parts in order.
    pub fn parts(&self) -> impl Iterator<Item = PartSpan> + use<> {
        let layout = *self;
        (0..layout.count()).filter_map(move |index| layout.part(index))
    }

    /// The index of a span, which must be exactly a part of the grid.
    ///
    /// # Errors
    /// Says in which way the span is off the grid.
    pub fn index_of(&self, span: PartSpan) -> Result<u64, OffGrid> {
        let PartSpan { offset, len } = span;
        if !offset.is_multiple_of(self.part_size) {
            return Err(OffGrid::Offset { offset, part_size: self.part_size });
        }
        let index = offset / self.part_size;
        match self.part(index) {
            None => Err(OffGrid::Outside { offset, file_size: self.file_size }),
            Some(part) if part.len != len => Err(OffGrid::Length { offset, len, expected: part.len }),
            Some(_) => Ok(index),
        }
    }
}

/// How a file is cut where the server dictates the offsets, as the legacy family does: a first part of a length of its
/// own, then parts of one size, whatever the offset they begin at; the last is what remains.
///
/// Source: `docs/protocol.md`, *Parts*.
///
/// ```
/// use vod_proto::{LegacyLayout, Limits, PartSpan};
///
/// let layout = LegacyLayout::new(6_000_000, 5_242_880, &Limits::default()).unwrap();
/// assert_eq!(layout.part_at(0), Some(PartSpan { offset: 0, len: 524_288 }));
/// assert_eq!(layout.part_at(524_288), Some(PartSpan { offset: 524_288, len: 5_242_880 }));
/// assert_eq!(layout.part_at(5_767_168), Some(PartSpan { offset: 5_767_168, len: 232_832 }));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LegacyLayout {
    file_size: u64,
    first_part: u64,
    part_size: u64,
}

impl LegacyLayout {
    /// The cut of a file of `file_size` bytes in parts of `part_size`; none for a part size of 0.
    #[must_use]
    pub const fn new(file_size: u64, part_size: u64, limits: &Limits) -> Option<Self> {
        let first_part = limits.legacy_first_part;
        if part_size == 0 || first_part == 0 { None } else { Some(Self { file_size, first_part, part_size }) }
    }

    /// The size of the whole file in bytes.
    #[must_use]
    pub const fn file_size(&self) -> u64 {
        self.file_size
    }

    /// The size of every part but the first and the last, in bytes.
    #[must_use]
    pub const fn part_size(&self) -> u64 {
        self.part_size
    }

    /// The part to send where this offset is wanted; none at and behind the end of the file.
    #[must_use]
    pub fn part_at(&self, offset: u64) -> Option<PartSpan> {
        let left = self.file_size.checked_sub(offset).filter(|left| *left > 0)?;
        let most = if offset == 0 { self.first_part } else { self.part_size };
        Some(PartSpan { offset, len: most.min(left) })
    }

    /// Is it the part that ends the file?
    #[must_use]
    pub const fn is_last(&self, part: PartSpan) -> bool {
        part.end() == self.file_size
    }

    /// How many parts bring an upload from one offset to the other.
    #[must_use]
    pub fn count(&self, from: u64, to: u64) -> u64 {
        let (from, to) = (from.min(self.file_size), to.min(self.file_size));
        if from >= to {
            return 0;
        }
        let first = self.part_at(from).map_or(to, PartSpan::end).min(to);
        1 + (to - first).div_ceil(self.part_size)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layout(file_size: u64, part_size: u64) -> Layout {
        Layout::new(file_size, part_size).unwrap()
    }

    #[test]
    fn the_documented_example() {
        let offsets: Vec<_> = layout(6_000_000, 1_048_576).parts().map(|p| (p.offset, p.len)).collect();
        let mib = 1_048_576;
        assert_eq!(
            offsets,
            [(0, mib), (mib, mib), (2 * mib, mib), (3 * mib, mib), (4 * mib, mib), (5_242_880, 757_120)]
        );
    }

    #[test]
    fn a_file_of_whole_parts_has_a_full_last_part_and_no_empty_one() {
        let layout = layout(2 * 524_288, 524_288);
        assert_eq!(layout.count(), 2);
        assert_eq!(layout.part(1).unwrap().len, 524_288);
        assert_eq!(layout.part(2), None);
    }

    #[test]
    fn spans_off_the_grid_are_told_apart() {
        let layout = layout(6_000_000, 1_048_576);
        let at = |offset, len| layout.index_of(PartSpan { offset, len });
        assert_eq!(at(5_242_880, 757_120), Ok(5));
        assert!(matches!(at(524_288, 1_048_576), Err(OffGrid::Offset { .. })));
        assert!(matches!(at(6_291_456, 1), Err(OffGrid::Outside { .. })));
        assert!(matches!(at(0, 524_288), Err(OffGrid::Length { expected: 1_048_576, .. })));
        assert!(matches!(at(u64::MAX - (u64::MAX % 1_048_576), 1), Err(OffGrid::Outside { .. })));
    }

    proptest::proptest! {
        #[test]
        fn parts_cover_the_file_without_gap_or_overlap(size in 0..50_000_000_u64, part in 1_000..2_000_000_u64) {
            let mut next = 0;
            for span in layout(size, part).parts() {
                proptest::prop_assert_eq!(span.offset, next);
                proptest::prop_assert!(span.len > 0 && span.len <= part);
                next = span.end();
            }
            proptest::prop_assert_eq!(next, size);
        }

        #[test]
        fn dictated_parts_cover_the_file_from_wherever_they_begin(
            size in 0..50_000_000_u64,
            part in 524_288..5_242_880_u64,
            from in proptest::prop_oneof![proptest::strategy::Just(0), 0..50_000_000_u64],
        ) {
            let limits = Limits::default();
            let layout = LegacyLayout::new(size, part, &limits).unwrap();
            let (mut at, mut count) = (from, 0);
            while let Some(span) = layout.part_at(at) {
                proptest::prop_assert_eq!(span.offset, at);
                let len = if at == 0 { limits.legacy_first_part } else { part };
                proptest::prop_assert!(span.len == len || (span.len < len && layout.is_last(span)), "{}", span);
                (at, count) = (span.end(), count + 1);
                proptest::prop_assert_eq!(layout.count(from, at), count);
            }
            proptest::prop_assert_eq!(at, from.max(size));
            proptest::prop_assert_eq!(layout.count(from, size), count);
        }
    }
}

//! The SHA-1 of a file along its contiguous prefix, so that finishing need not read the file again.

use vod_proto::{PartSpan, Sha1, digest::Sha1Hasher};

/// How far the file's SHA-1 has been taken.
///
/// The bytes come from the stored parts. When a part that was passed is replaced by other bytes, the epoch
/// changes and the hash starts again.
#[derive(Clone, Debug, Default)]
pub struct Prefix {
    hasher: Sha1Hasher,
    passed: u64,
    /// The session it belongs to, and how often a part of that was replaced.
    epoch: (u64, u64),
}

impl Prefix {
    /// The empty prefix of the n-th session of an upload.
    #[must_use]
    pub fn of_session(session: u64) -> Self {
        Self { epoch: (session, 0), ..Self::default() }
    }

    /// The first byte that is not taken in yet.
    #[must_use]
    pub const fn passed(&self) -> u64 {
        self.passed
    }

    /// Takes in the next bytes.
    pub fn absorb(&mut self, bytes: &[u8]) {
        self.hasher.update(bytes);
        self.passed += bytes.len() as u64;
    }

    /// The part at `span` was replaced by other bytes.
    pub fn replaced(&mut self, span: PartSpan) {
        if span.offset < self.passed {
            *self = Self { epoch: self.epoch, ..Self::default() };
        }
        // Someone may be hashing the replaced part at this moment, on a copy: what comes of it no longer counts.
        self.epoch.1 += 1;
    }

    /// Takes over the work that was done on a copy, unless a part, or the whole session, was replaced meanwhile.
    pub fn take_over(&mut self, ahead: Self) {
        if ahead.epoch == self.epoch && ahead.passed > self.passed {
            *self = ahead;
        }
    }

    /// The SHA-1 of everything taken in.
    #[must_use]
    pub fn sha1(&self) -> Sha1 {
        self.hasher.clone().finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_replaced_part_that_was_passed_starts_the_hash_again() {
        let mut prefix = Prefix::default();
        prefix.absorb(b"helxo");
        prefix.replaced(PartSpan { offset: 3, len: 1 });
        assert_eq!(prefix.passed(), 0);
        prefix.absorb(b"hello");
        assert_eq!(prefix.sha1(), Sha1::of(b"hello"));
    }

    #[test]
    fn work_on_a_copy_is_dropped_when_a_part_was_replaced_under_it() {
        let mut prefix = Prefix::default();
        let mut ahead = prefix.clone();
        ahead.absorb(b"helxo");
        prefix.replaced(PartSpan { offset: 3, len: 1 });
        prefix.take_over(ahead);
        assert_eq!(prefix.passed(), 0);
    }

    #[test]
    fn work_for_an_earlier_session_is_dropped() {
        let mut ahead = Prefix::of_session(1);
        ahead.absorb(b"hello");
        let mut prefix = Prefix::of_session(2);
        prefix.take_over(ahead);
        assert_eq!(prefix.passed(), 0);
    }
}

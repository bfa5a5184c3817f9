//! Chance that is keyed, not drawn: the same request of the same run meets the same fate, in whatever order it comes.

use sha2::{Digest as _, Sha256};

use crate::Subject;

/// The dice of one fault and one very attempt: they always fall the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Dice([u8; 32]);

impl Dice {
    /// The dice that belong to this fault and this very attempt.
    pub(super) fn of(seed: u64, fault: &str, subject: &Subject, attempt: u32) -> Self {
        let mut hash = Sha256::new();
        hash.update(seed.to_be_bytes());
        for text in [fault, subject.action.as_deref().unwrap_or("")] {
            hash.update((text.len() as u64).to_be_bytes());
            hash.update(text);
        }
        if let Some(file_sha1) = subject.file_sha1 {
            hash.update(file_sha1.as_bytes());
        }
        hash.update(subject.part.map_or(u64::MAX, |part| part.offset).to_be_bytes());
        hash.update(attempt.to_be_bytes());
        Self(hash.finalize().into())
    }

    /// A number from 0 (inclusive) to 1 (exclusive); one die of eight.
    pub(super) fn roll(&self, die: usize) -> f64 {
        let at = die % 8 * 4;
        // 32 bits are finer than any chance a person writes down, and exact in an f64.
        let bits = u32::from_be_bytes([self.0[at], self.0[at + 1], self.0[at + 2], self.0[at + 3]]);
        f64::from(bits) / f64::from(u32::MAX).next_up()
    }
}

/// The die that decides whether a fault with a `chance` strikes; the others belong to what it does then.
pub(super) const WHETHER: usize = 0;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_roll_depends_on_every_part_of_its_key_and_nothing_else() {
        let subject = |offset| Subject {
            action: Some("UploadPart".into()),
            part: Some(vod_proto::PartSpan { offset, len: 1 }),
            ..Subject::default()
        };
        let base = Dice::of(1, "f", &subject(0), 1);
        assert_eq!(base, Dice::of(1, "f", &subject(0), 1));
        let others = [
            Dice::of(2, "f", &subject(0), 1),
            Dice::of(1, "g", &subject(0), 1),
            Dice::of(1, "f", &subject(1), 1),
            Dice::of(1, "f", &subject(0), 2),
        ];
        for die in 0..8 {
            let same = others.iter().filter(|other| other.roll(die).to_bits() == base.roll(die).to_bits());
            assert_eq!(same.count(), 0, "die {die}: {base:?} {others:?}");
        }
    }

    #[test]
    fn rolls_are_spread_evenly_and_the_dice_fall_apart_from_each_other() {
        let dice = |n| Dice::of(7, "f", &Subject::default(), n);
        for die in 0..8 {
            let below = (0..10_000_u32).filter(|n| dice(*n).roll(die) < 0.3).count();
            assert!((2_800..3_200).contains(&below), "{below} of 10,000 rolls of die {die} below 0.3");
        }
        let both = (0..10_000_u32).filter(|n| dice(*n).roll(0) < 0.5 && dice(*n).roll(1) < 0.5).count();
        assert!((2_300..2_700).contains(&both), "{both} of 10,000 pairs below 0.5");
    }
}

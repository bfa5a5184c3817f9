//! Chance that is keyed, not drawn: the same request of the same run meets the same fate, in whatever order it comes.

use sha2::{Digest as _, Sha256};

use crate::Subject;

/// A number from 0 (inclusive) to 1 (exclusive) that belongs to this fault and this very attempt.
pub(super) fn roll(seed: u64, fault: &str, subject: &Subject, attempt: u32) -> f64 {
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
    let digest = hash.finalize();
    // 32 bits are finer than any chance a person writes down, and exact in an f64.
    let bits = u32::from_be_bytes([digest[0], digest[1], digest[2], digest[3]]);
    f64::from(bits) / f64::from(u32::MAX).next_up()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_roll_depends_on_every_part_of_its_key_and_nothing_else() {
        let subject = |offset| Subject {
            action: Some("UploadPart".to_owned()),
            part: Some(vod_proto::PartSpan { offset, len: 1 }),
            ..Subject::default()
        };
        let base = roll(1, "f", &subject(0), 1);
        assert_eq!(base.to_bits(), roll(1, "f", &subject(0), 1).to_bits());
        let others = [
            roll(2, "f", &subject(0), 1),
            roll(1, "g", &subject(0), 1),
            roll(1, "f", &subject(1), 1),
            roll(1, "f", &subject(0), 2),
        ];
        assert!(others.iter().all(|other| other.to_bits() != base.to_bits()), "{base} {others:?}");
    }

    #[test]
    fn rolls_are_spread_evenly() {
        let below = (0..10_000_u32).filter(|n| roll(7, "f", &Subject::default(), *n) < 0.3).count();
        assert!((2_800..3_200).contains(&below), "{below} of 10,000 rolls below 0.3");
    }
}

//! Chance by key, never by order: each draw has its own generator, so that what runs beside it cannot reshuffle it.

use std::time::Duration;

use rand_chacha::{
    ChaCha8Rng,
    rand_core::{Rng as _, SeedableRng as _},
};
use vod_proto::{Action, Sha1};

/// A request that may be sent more than once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct CallId {
    pub(crate) action: Action,
    /// The part's index, or its offset where the server dictates it; 0 for the other actions.
    pub(crate) part: u64,
    /// How often the upload had been opened, or turned back by the server, when this was first asked.
    pub(crate) round: u32,
}

/// The chance of one upload.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Dice {
    seed: u64,
}

/// The largest `Nonce`: a positive number that every server of the time could read as a 32-bit integer.
const NONCE_MAX: u64 = 0x7fff_ffff;

impl Dice {
    /// Two files uploaded with one seed draw differently, or their nonces would repeat.
    pub(crate) fn new(seed: u64, file_sha1: Sha1) -> Self {
        let [a, b, c, d, e, f, g, h, ..] = *file_sha1.as_bytes();
        Self { seed: seed ^ u64::from_le_bytes([a, b, c, d, e, f, g, h]) }
    }

    /// The `Nonce` of an attempt: 1 to 2³¹ - 1.
    pub(crate) fn nonce(self, call: CallId, attempt: u32) -> u64 {
        1 + self.below(NONCE_MAX, b'n', call, attempt)
    }

    /// The random number of the upload signature that this upload makes: 1 to 2³¹ - 1, of the ten digits allowed.
    pub(crate) fn token(self) -> u64 {
        let call = CallId { action: Action::InitUploadEx, part: 0, round: 0 };
        1 + self.below(NONCE_MAX, b't', call, 0)
    }

    /// A wait between the two, both possible.
    pub(crate) fn between(self, low: Duration, high: Duration, call: CallId, attempt: u32) -> Duration {
        let span = high.saturating_sub(low).as_micros().saturating_add(1);
        let drawn = self.below(u64::try_from(span).unwrap_or(u64::MAX), b'j', call, attempt);
        low + Duration::from_micros(drawn)
    }

    /// A number below `bound`. Multiplied, not taken modulo; written out here because it must never change.
    fn below(self, bound: u64, purpose: u8, call: CallId, attempt: u32) -> u64 {
        let mut key = [0; 32];
        key[..8].copy_from_slice(&self.seed.to_le_bytes());
        key[8..16].copy_from_slice(&call.part.to_le_bytes());
        key[16..20].copy_from_slice(&call.round.to_le_bytes());
        key[20..24].copy_from_slice(&attempt.to_le_bytes());
        key[24] = match call.action {
            Action::InitUpload => 1,
            Action::UploadPart => 2,
            Action::FinishUpload => 3,
            Action::InitUploadEx => 4,
            Action::UploadPartEx => 5,
            Action::FinishUploadEx => 6,
            Action::MultipartUploadVodFile => 7,
            Action::SmallFileUpload => 8,
            Action::Report => 9,
        };
        key[25] = purpose;
        let drawn = ChaCha8Rng::from_seed(key).next_u64();
        u64::try_from((u128::from(drawn) * u128::from(bound)) >> 64)
            .expect("a product's upper half is below its factor")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CALL: CallId = CallId { action: Action::UploadPart, part: 3, round: 1 };

    fn dice() -> Dice {
        Dice::new(7, Sha1::of(b"file"))
    }

    #[test]
    fn a_draw_depends_on_its_key_alone() {
        let first = dice().nonce(CALL, 1);
        let _ = dice().nonce(CALL, 2);
        assert_eq!(dice().nonce(CALL, 1), first, "draws in between change nothing");
        let others = [
            dice().nonce(CALL, 2),
            dice().nonce(CallId { part: 4, ..CALL }, 1),
            dice().nonce(CallId { round: 2, ..CALL }, 1),
            dice().nonce(CallId { action: Action::FinishUpload, ..CALL }, 1),
            Dice::new(8, Sha1::of(b"file")).nonce(CALL, 1),
            Dice::new(7, Sha1::of(b"other")).nonce(CALL, 1),
        ];
        assert!(!others.contains(&first), "{first} among {others:?}");
    }

    #[test]
    fn draws_are_the_same_in_every_version() {
        // Scenario files name seeds: these numbers are a promise.
        expect_test::expect!["[852050136, 1729411733, 980691191]"]
            .assert_eq(&format!("{:?}", [1, 2, 3].map(|attempt| dice().nonce(CALL, attempt))));
    }

    proptest::proptest! {
        #[test]
        fn draws_stay_in_their_bounds(seed: u64, attempt: u32, low in 0..10_000_u64, more in 0..10_000_u64) {
            let dice = Dice::new(seed, Sha1::of(b""));
            proptest::prop_assert!((1..=NONCE_MAX).contains(&dice.nonce(CALL, attempt)));
            let (low, high) = (Duration::from_micros(low), Duration::from_micros(low + more));
            let drawn = dice.between(low, high, CALL, attempt);
            proptest::prop_assert!(low <= drawn && drawn <= high, "{:?}", drawn);
        }
    }
}

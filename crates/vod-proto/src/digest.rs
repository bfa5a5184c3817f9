//! Digests as types, so that the SHA-1 of a file is never taken for the MD5 of a part.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha1::Digest as _;

/// A text that is not the hexadecimal form of a digest.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not {kind}: expected {digits} hexadecimal digits")]
pub struct InvalidDigest {
    text: String,
    kind: &'static str,
    digits: usize,
}

macro_rules! digest {
    (
        $(#[$doc:meta])* $name:ident, $(#[$hasher_doc:meta])* $hasher:ident, $algorithm:ty, $len:literal, $kind:literal
    ) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name([u8; $len]);

        impl $name {
            /// The digest of bytes that are at hand as a whole.
            #[must_use]
            pub fn of(bytes: &[u8]) -> Self {
                let mut hasher = $hasher::default();
                hasher.update(bytes);
                hasher.finish()
            }

            /// The digest's bytes.
            #[must_use]
            pub const fn as_bytes(&self) -> &[u8; $len] {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&hex::encode(self.0))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({self})", stringify!($name))
            }
        }

        /// Reads either case of hex; writing is always lower case.
        impl FromStr for $name {
            type Err = InvalidDigest;

            fn from_str(text: &str) -> Result<Self, InvalidDigest> {
                let mut bytes = [0; $len];
                hex::decode_to_slice(text, &mut bytes).map_err(|_| InvalidDigest {
                    text: text.chars().take(80).collect(),
                    kind: $kind,
                    digits: 2 * $len,
                })?;
                Ok(Self(bytes))
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
            }
        }

        $(#[$hasher_doc])*
        pub struct $hasher($algorithm);

        impl Default for $hasher {
            fn default() -> Self {
                Self(<$algorithm>::new())
            }
        }

        impl $hasher {
            /// Takes in the next bytes.
            pub fn update(&mut self, bytes: &[u8]) {
                self.0.update(bytes);
            }

            /// The digest of everything taken in.
            #[must_use]
            pub fn finish(self) -> $name {
                $name(self.0.finalize().into())
            }
        }

        impl fmt::Debug for $hasher {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(stringify!($hasher))
            }
        }
    };
}

digest!(
    /// A SHA-1: of a whole file (`fileSha`, the upload's identity) or of a body that an exchange marks.
    Sha1,
    /// Takes a SHA-1 piece by piece. A clone continues from the same state.
    #[derive(Clone)]
    Sha1Hasher, sha1::Sha1, 20, "a SHA-1"
);
digest!(
    /// An MD5, of one part (`dataMd5`).
    Md5,
    /// Takes an MD5 piece by piece.
    Md5Hasher, fast_md5::Md5, 16, "an MD5"
);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// What is compared with is another implementation, which shares no line with ours.
        #[test]
        fn md5s_are_those_of_another_implementation_however_the_bytes_come(
            bytes in prop::collection::vec(any::<u8>(), 0..700),
            cuts in prop::collection::vec(0..700_usize, 0..8),
        ) {
            let mut cuts: Vec<_> = cuts.into_iter().map(|cut| cut.min(bytes.len())).collect();
            cuts.sort_unstable();
            let mut hasher = Md5Hasher::default();
            let mut from = 0;
            for to in cuts.into_iter().chain([bytes.len()]) {
                hasher.update(&bytes[from..to]);
                from = to;
            }
            let theirs = Md5(md5::Md5::digest(&bytes).into());
            prop_assert_eq!(hasher.finish(), theirs);
            prop_assert_eq!(Md5::of(&bytes), theirs);
        }
    }

    #[test]
    fn md5s_of_long_bodies_are_those_of_another_implementation_at_every_alignment() {
        let bytes: Vec<u8> = (0..1_u32 << 20).map(|n| n.wrapping_mul(0x9E37_79B9).to_be_bytes()[0]).collect();
        for start in 0..64 {
            let part = &bytes[start..bytes.len() - 3 * start];
            assert_eq!(Md5::of(part), Md5(md5::Md5::digest(part).into()), "from byte {start}");
        }
    }

    #[test]
    fn the_test_suite_of_rfc_1321_holds() {
        for (text, expected) in [
            ("", "d41d8cd98f00b204e9800998ecf8427e"),
            ("a", "0cc175b9c0f1b6a831c399e269772661"),
            ("abc", "900150983cd24fb0d6963f7d28e17f72"),
            ("message digest", "f96b697d7cb7938d525a2f31aaf161d0"),
            ("abcdefghijklmnopqrstuvwxyz", "c3fcd3d76192e4007dfb496cca67e13b"),
            ("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789", "d174ab98d277d9f5a5611c2c9f419d9f"),
            (
                "12345678901234567890123456789012345678901234567890123456789012345678901234567890",
                "57edf4a22be3c955ac49da2e2107b67a",
            ),
        ] {
            assert_eq!(Md5::of(text.as_bytes()).to_string(), expected, "{text:?}");
        }
    }

    #[test]
    fn a_sha1_is_the_known_one() {
        assert_eq!(Sha1::of(b"abc").to_string(), "a9993e364706816aba3e25717850c26c9cd0d89d");
    }

    #[test]
    fn upper_case_reads_and_lower_case_is_written() {
        let sha: Sha1 = "A9993E364706816ABA3E25717850C26C9CD0D89D".parse().unwrap();
        assert_eq!(sha, Sha1::of(b"abc"));
        assert_eq!(serde_json::to_string(&sha).unwrap(), "\"a9993e364706816aba3e25717850c26c9cd0d89d\"");
    }

    #[test]
    fn a_wrong_length_says_what_was_expected() {
        let error = "abc".parse::<Md5>().unwrap_err().to_string();
        assert_eq!(error, "\"abc\" is not an MD5: expected 32 hexadecimal digits");
    }
}

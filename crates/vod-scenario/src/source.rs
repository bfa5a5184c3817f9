//! Bytes to upload, made from a seed: the same on every machine and in every version.

use std::{
    fs::File,
    io::{self, BufWriter, Write as _},
    path::Path,
};

use bytes::Bytes;
use rand_chacha::{
    ChaCha8Rng,
    rand_core::{Rng as _, SeedableRng as _},
};
use vod_proto::{Sha1, digest::Sha1Hasher};

use crate::format;

/// The length of a block in bytes: a prime, so that no two parts, frames or buffers see the same place of it.
const BLOCK: usize = 65_521;

/// How many bytes at the start of each block are its own. The rest is the same in all blocks:
/// drawing every byte would take longer than uploading it, and a block at the wrong place is told by its stamp.
const STAMP: usize = 16;

/// The bytes of a source: its length and its digest, known once they were made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SourceFacts {
    /// How many bytes.
    pub size: u64,
    /// Their SHA-1, which no client and no server took.
    pub sha1: Sha1,
}

/// Hands the bytes to `take`, block by block.
fn make<E>(source: &format::Source, mut take: impl FnMut(&[u8]) -> Result<(), E>) -> Result<SourceFacts, E> {
    let mut rng = ChaCha8Rng::seed_from_u64(source.seed);
    let mut hasher = Sha1Hasher::default();
    let mut block = vec![0; BLOCK];
    rng.fill_bytes(&mut block);
    let size = source.size.bytes();
    let mut left = size;
    while left > 0 {
        let len = usize::try_from(left).map_or(BLOCK, |left| left.min(BLOCK));
        hasher.update(&block[..len]);
        take(&block[..len])?;
        left -= len as u64;
        rng.fill_bytes(&mut block[..STAMP]);
    }
    Ok(SourceFacts { size, sha1: hasher.finish() })
}

/// The bytes in memory.
#[must_use]
pub fn in_memory(source: &format::Source) -> (Bytes, SourceFacts) {
    let mut bytes = Vec::new();
    let made = make(source, |piece| {
        bytes.extend_from_slice(piece);
        Ok::<(), std::convert::Infallible>(())
    });
    let Ok(facts) = made;
    (Bytes::from(bytes), facts)
}

/// The bytes in a new file.
///
/// # Errors
/// If the file cannot be written.
pub fn in_file(source: &format::Source, path: &Path) -> io::Result<SourceFacts> {
    let mut file = BufWriter::new(File::create_new(path)?);
    let facts = make(source, |piece| file.write_all(piece))?;
    file.flush()?;
    Ok(facts)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(size: u64, seed: u64) -> format::Source {
        format::Source { size: format::Size::new(size), seed, claims_source: false }
    }

    #[test]
    fn the_bytes_of_a_seed_never_change() {
        // Written down once: a scenario that failed last year must meet the same bytes today.
        let (bytes, facts) = in_memory(&spec(100_000, 7));
        assert_eq!(facts.sha1, Sha1::of(&bytes));
        assert_eq!(facts.sha1.to_string(), "6beaae512f480ed88c037b49c03deaac1dc6a1dc");
    }

    #[test]
    fn a_longer_source_begins_like_a_shorter_one_and_another_seed_differs() {
        let (short, _) = in_memory(&spec(BLOCK as u64 + 13, 7));
        let (long, _) = in_memory(&spec(3 * BLOCK as u64, 7));
        assert_eq!(long[..short.len()], short);
        assert_ne!(in_memory(&spec(1000, 7)).1.sha1, in_memory(&spec(1000, 8)).1.sha1);
    }

    #[test]
    fn no_two_blocks_are_equal() {
        let (bytes, _) = in_memory(&spec(50 * BLOCK as u64, 7));
        let blocks: std::collections::BTreeSet<_> = bytes.chunks(BLOCK).collect();
        assert_eq!(blocks.len(), 50);
    }

    #[test]
    fn a_file_holds_the_same_bytes() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("video.mp4");
        let facts = in_file(&spec(200_001, 3), &path).unwrap();
        let (bytes, in_memory) = in_memory(&spec(200_001, 3));
        assert_eq!(facts, in_memory);
        assert_eq!(std::fs::read(&path).unwrap(), bytes);
    }
}

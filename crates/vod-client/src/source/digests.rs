//! One reading of a source gives the SHA-1 of the whole and the MD5 of each part, on every core.
//!
//! The SHA-1 goes from byte to byte, so one core takes it; meanwhile the others take the MD5s of the same bytes and
//! read the next ones. What is in memory are two strides, however large the source is.

use std::{
    num::NonZero,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

use vod_proto::{Md5, PartSpan, Sha1, digest::Sha1Hasher};

use super::{Source, Work, in_memory, read};
use crate::error::SourceError;

/// How much is taken in between two looks at the outside, at least one part: some ten milliseconds on any machine of
/// this century.
const STRIDE: u64 = 8 << 20;

/// How much is read at once where there are no parts.
const BLOCK: u64 = 1 << 20;

/// How many cores take part at most: with more, all would wait for the one that takes the SHA-1.
const CORES_MOST: usize = 4;

/// How many parts have their MD5s remembered at most, in 2 MiB: those of a file of 128 GiB in parts of 1 MiB. Of a
/// source with more of them each MD5 is taken when it is needed.
const REMEMBERED_MOST: u64 = 1 << 17;

/// The digests of a source.
#[derive(Debug)]
pub(crate) struct Digests {
    sha1: Sha1,
    source_len: u64,
    /// The size of the parts whose MD5s these are, in bytes; the last may be shorter.
    grid: u64,
    md5s: Vec<Md5>,
}

impl Digests {
    /// Reads a source once. The MD5s are those of the parts on this grid, in bytes; without one, there are none.
    /// `progress` is told how many bytes have been taken in.
    pub(crate) async fn take(
        source: &Arc<dyn Source>,
        work: Work,
        grid: Option<u64>,
        mut progress: impl FnMut(u64),
    ) -> Result<Self, SourceError> {
        let source_len = source.len();
        let grid = grid.filter(|grid| *grid > 0 && source_len.div_ceil(*grid) <= REMEMBERED_MOST);
        let cores = match work {
            Work::Inline => 1,
            Work::Pool => thread::available_parallelism().map_or(1, NonZero::get).min(CORES_MOST),
        };
        let mut taking = Taking::new(grid, cores);
        while taking.at < source_len {
            let source = Arc::clone(source);
            taking = work.run(move || taking.stride(source.as_ref())).await?;
            progress(taking.at);
        }
        let Taking { sha1, md5s, .. } = taking;
        Ok(Self { sha1: sha1.finish(), source_len, grid: grid.unwrap_or(0), md5s })
    }

    /// Digests that were taken before.
    pub(super) const fn known(sha1: Sha1, source_len: u64, grid: u64, md5s: Vec<Md5>) -> Self {
        Self { sha1, source_len, grid, md5s }
    }

    /// The grid, in bytes, and the MD5s of the parts on it.
    pub(super) fn parts(&self) -> (u64, &[Md5]) {
        (self.grid, &self.md5s)
    }

    /// The SHA-1 of the whole.
    pub(crate) const fn sha1(&self) -> Sha1 {
        self.sha1
    }

    /// The MD5 of a part, if it is one of those that were taken.
    pub(crate) fn md5(&self, span: PartSpan) -> Option<Md5> {
        let index = span.offset.checked_div(self.grid)?;
        let len = self.grid.min(self.source_len.checked_sub(span.offset)?);
        let is_part = index * self.grid == span.offset && len == span.len;
        self.md5s.get(usize::try_from(index).ok()?).copied().filter(|_| is_part)
    }
}

/// Digests that are being taken.
struct Taking {
    sha1: Sha1Hasher,
    md5s: Vec<Md5>,
    wants_md5s: bool,
    cores: usize,
    /// How much is read at once, and has an MD5 of its own where there are parts.
    block: u64,
    /// How many bytes have been taken in.
    at: u64,
    /// The bytes behind those, already read.
    ahead: Vec<u8>,
    /// A buffer without use at the moment.
    spare: Vec<u8>,
}

impl Taking {
    fn new(grid: Option<u64>, cores: usize) -> Self {
        let (sha1, md5s, ahead, spare) = (Sha1Hasher::default(), Vec::new(), Vec::new(), Vec::new());
        Self { sha1, md5s, wants_md5s: grid.is_some(), cores, block: grid.unwrap_or(BLOCK), at: 0, ahead, spare }
    }

    /// Takes in the next bytes, and reads those behind them.
    fn stride(mut self, source: &dyn Source) -> Result<Self, SourceError> {
        let stride = self.block * (STRIDE / self.block).max(1);
        let after = |at: u64| in_memory(stride.min(source.len() - at));
        let block = in_memory(self.block.min(source.len()));
        if self.ahead.is_empty() {
            self.ahead.resize(after(self.at), 0);
            let mut blocks = blocks(&mut self.ahead, block, self.at);
            blocks.try_for_each(|(offset, bytes)| read(source, offset, bytes))?;
        }
        let (bytes, behind) = (&self.ahead, self.at + self.ahead.len() as u64);
        self.spare.resize(after(behind), 0);
        let unread = Mutex::new(blocks(&mut self.spare, block, behind));
        let md5s = Mutex::new(vec![None; if self.wants_md5s { bytes.len().div_ceil(block) } else { 0 }]);
        let unhashed = AtomicUsize::new(0);
        // Whoever has nothing else to do takes the MD5 of a part that has none yet, or reads what is still unread.
        let lend_a_hand = || {
            let locked = || md5s.lock().unwrap_or_else(PoisonError::into_inner);
            let parts = locked().len();
            loop {
                let index = unhashed.fetch_add(1, Ordering::Relaxed);
                if index >= parts {
                    break;
                }
                let from = index * block;
                let md5 = Md5::of(&bytes[from..bytes.len().min(from + block)]);
                locked()[index] = Some(md5);
            }
            loop {
                let next = unread.lock().unwrap_or_else(PoisonError::into_inner).next();
                let Some((offset, bytes)) = next else { return Ok(()) };
                read(source, offset, bytes)?;
            }
        };
        thread::scope(|scope| {
            let others: Vec<_> = (1..self.cores).map(|_| scope.spawn(lend_a_hand)).collect();
            self.sha1.update(bytes);
            let mine = lend_a_hand();
            let theirs =
                others.into_iter().map(|other| other.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
            theirs.fold(mine, Result::and)
        })?;
        drop(unread);
        self.md5s.extend(md5s.into_inner().unwrap_or_else(PoisonError::into_inner).into_iter().flatten());
        std::mem::swap(&mut self.ahead, &mut self.spare);
        self.at = behind;
        Ok(self)
    }
}

/// A buffer in blocks, each with its place in the source.
fn blocks(buffer: &mut [u8], block: usize, from: u64) -> impl Iterator<Item = (u64, &mut [u8])> {
    let places = (0u64..).map(move |index| from + index * block as u64);
    places.zip(buffer.chunks_mut(block.max(1)))
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;
    use crate::source::BytesSource;

    fn bytes(len: usize) -> Vec<u8> {
        (0..len).map(|n| n.to_le_bytes()[0] ^ n.to_le_bytes()[1] ^ n.to_le_bytes()[2]).collect()
    }

    async fn take(source: impl Source, work: Work, grid: Option<u64>) -> (Result<Digests, SourceError>, Vec<u64>) {
        let (source, mut seen): (Arc<dyn Source>, _) = (Arc::new(source), Vec::new());
        let taken = Digests::take(&source, work, grid, |at| seen.push(at)).await;
        (taken, seen)
    }

    #[tokio::test]
    async fn one_reading_gives_what_each_would_give_alone_wherever_the_work_is_done() {
        const MIB: usize = 1 << 20;
        // Less than a part, whole parts, whole strides, and a little more of each.
        for (len, grid) in [(1, 7), (21, 7), (22, 7), (16 * MIB, MIB), (17 * MIB + 1, MIB), (9 * MIB, 9 * MIB), (5, 9)]
        {
            let bytes = bytes(len);
            for work in [Work::Inline, Work::Pool] {
                let (taken, seen) = take(BytesSource::new(bytes.clone()), work, Some(grid as u64)).await;
                let digests = taken.unwrap();
                assert_eq!(digests.sha1(), Sha1::of(&bytes), "{len} bytes");
                for (index, part) in bytes.chunks(grid).enumerate() {
                    let span = PartSpan { offset: (index * grid) as u64, len: part.len() as u64 };
                    assert_eq!(digests.md5(span), Some(Md5::of(part)), "{len} bytes, {span}");
                    let others = [PartSpan { len: span.len + 1, ..span }, PartSpan { offset: span.offset + 1, ..span }];
                    assert_eq!(others.map(|other| digests.md5(other)), [None, None], "{len} bytes, {span}");
                }
                assert!(seen.is_sorted() && seen.last() == Some(&(len as u64)), "{len} bytes: {seen:?}");
            }
        }
    }

    #[tokio::test]
    async fn every_source_is_read_once() {
        struct Counted(BytesSource, Arc<Mutex<Vec<u64>>>);

        impl Source for Counted {
            fn len(&self) -> u64 {
                self.0.len()
            }

            fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
                self.1.lock().unwrap().extend(offset..offset + buffer.len() as u64);
                self.0.read_at(offset, buffer)
            }
        }

        for grid in [None, Some(100_000)] {
            let read = Arc::new(Mutex::new(Vec::new()));
            let source = Counted(BytesSource::new(bytes(1_000_001)), Arc::clone(&read));
            take(source, Work::Pool, grid).await.0.unwrap();
            let mut read = read.lock().unwrap().clone();
            read.sort_unstable();
            assert!(read.into_iter().eq(0..1_000_001), "{grid:?}");
        }
    }

    #[tokio::test]
    async fn without_a_grid_or_with_too_fine_a_one_there_are_no_md5s() {
        let bytes = bytes(200_000);
        for grid in [None, Some(1)] {
            let digests = take(BytesSource::new(bytes.clone()), Work::Inline, grid).await.0.unwrap();
            assert_eq!(digests.sha1(), Sha1::of(&bytes));
            assert_eq!(digests.md5(PartSpan { offset: 0, len: 1 }), None, "{grid:?}");
        }
    }

    #[tokio::test]
    async fn a_source_that_ends_too_soon_is_an_error_in_every_stride() {
        struct Short(u64);

        impl Source for Short {
            fn len(&self) -> u64 {
                20 << 20
            }

            fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
                if offset + buffer.len() as u64 > self.0 { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(()) }
            }
        }

        for ends in [0, 7 << 20, (8 << 20) + 1, (20 << 20) - 1] {
            for grid in [None, Some(1 << 20)] {
                let error = take(Short(ends), Work::Pool, grid).await.0.unwrap_err();
                assert!(matches!(error, SourceError::Changed(_)), "{ends}: {error}");
            }
        }
    }
}

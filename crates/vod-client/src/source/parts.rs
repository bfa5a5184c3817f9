//! The bytes of parts, in memory that is used again: as much of it as parts are in flight.

use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use vod_proto::{Md5, PartSpan};

use super::{Digests, Source, Work, in_memory, read};
use crate::error::SourceError;

/// A source, as it is read part by part.
pub(crate) struct Parts {
    source: Arc<dyn Source>,
    work: Work,
    digests: Digests,
    unused: Arc<Unused>,
}

/// Memory that nobody uses at the moment.
#[derive(Default)]
struct Unused(Mutex<Vec<Vec<u8>>>);

impl Parts {
    pub(crate) fn new(source: Arc<dyn Source>, work: Work, digests: Digests) -> Self {
        Self { source, work, digests, unused: Arc::default() }
    }

    /// The source's length in bytes.
    pub(crate) fn len(&self) -> u64 {
        self.source.len()
    }

    /// Is the source still what it was?
    pub(crate) async fn check_unchanged(&self) -> Result<(), SourceError> {
        let source = Arc::clone(&self.source);
        self.work.run(move || source.check_unchanged()).await
    }

    /// A part's bytes, and their MD5. Where that is known from the first reading, it is that of the bytes as they were
    /// then: whoever compares it with what it gets finds a source that has changed since.
    pub(crate) async fn with_md5(&self, span: PartSpan) -> Result<(Bytes, Md5), SourceError> {
        let known = self.digests.md5(span);
        self.read(span, move |bytes| known.unwrap_or_else(|| Md5::of(bytes))).await
    }

    /// The MD5 of a part's bytes.
    pub(crate) async fn md5(&self, span: PartSpan) -> Result<Md5, SourceError> {
        match self.digests.md5(span) {
            Some(known) => Ok(known),
            None => Ok(self.read(span, Md5::of).await?.1),
        }
    }

    /// The bytes of a part whose request announces no MD5.
    pub(crate) async fn bytes(&self, span: PartSpan) -> Result<Bytes, SourceError> {
        Ok(self.read(span, |_| ()).await?.0)
    }

    async fn read<R: Send + 'static>(
        &self,
        span: PartSpan,
        also: impl FnOnce(&[u8]) -> R + Send + 'static,
    ) -> Result<(Bytes, R), SourceError> {
        let (source, mut lent) = (Arc::clone(&self.source), self.unused.lend());
        self.work
            .run(move || {
                lent.bytes.resize(in_memory(span.len), 0);
                read(source.as_ref(), span.offset, &mut lent.bytes)?;
                let also = also(&lent.bytes);
                Ok((Bytes::from_owner(lent), also))
            })
            .await
    }
}

impl Unused {
    fn lend(self: &Arc<Self>) -> Lent {
        let bytes = self.0.lock().unwrap_or_else(PoisonError::into_inner).pop().unwrap_or_default();
        Lent { bytes, of: Arc::clone(self) }
    }
}

/// Memory that is used, and given back when it is dropped.
struct Lent {
    bytes: Vec<u8>,
    of: Arc<Unused>,
}

impl AsRef<[u8]> for Lent {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        self.of.0.lock().unwrap_or_else(PoisonError::into_inner).push(std::mem::take(&mut self.bytes));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::BytesSource;

    async fn parts(bytes: &'static [u8], grid: u64) -> Parts {
        let source: Arc<dyn Source> = Arc::new(BytesSource::new(bytes));
        let digests = Digests::take(&source, Work::Inline, Some(grid), drop).await.unwrap();
        Parts::new(source, Work::Inline, digests)
    }

    #[tokio::test]
    async fn parts_are_read_on_any_grid_with_their_md5s() {
        let parts = parts(b"0123456789", 4).await;
        for (span, expected) in [((0, 4), "0123"), ((8, 2), "89"), ((1, 5), "12345")] {
            let span = PartSpan { offset: span.0, len: span.1 };
            let (bytes, md5) = parts.with_md5(span).await.unwrap();
            assert_eq!((bytes.as_ref(), md5), (expected.as_bytes(), Md5::of(expected.as_bytes())));
            assert_eq!(parts.md5(span).await.unwrap(), md5);
            assert_eq!(parts.bytes(span).await.unwrap(), expected);
        }
        let beyond = parts.bytes(PartSpan { offset: 8, len: 3 }).await.unwrap_err();
        assert!(matches!(beyond, SourceError::Changed(_)), "{beyond}");
    }

    #[tokio::test]
    async fn memory_is_used_again_once_nobody_holds_the_bytes() {
        let parts = parts(b"0123456789", 4).await;
        let span = |offset| PartSpan { offset, len: 4 };
        let (first, second) = (parts.bytes(span(0)).await.unwrap(), parts.bytes(span(4)).await.unwrap());
        assert_eq!((first.as_ref(), second.as_ref()), (&b"0123"[..], &b"4567"[..]));
        let place = first.as_ptr();
        let clone = first.clone();
        drop(first);
        assert_ne!(parts.bytes(span(4)).await.unwrap().as_ptr(), place, "somebody holds a clone");
        drop(clone);
        let again = parts.bytes(PartSpan { offset: 7, len: 2 }).await.unwrap();
        assert_eq!((again.as_ptr(), again.as_ref()), (place, &b"78"[..]));
    }
}

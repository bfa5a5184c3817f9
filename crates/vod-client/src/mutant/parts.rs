//! The bytes of parts, cut short.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, PoisonError},
};

use bytes::Bytes;
use vod_proto::{Md5, PartSpan};

use super::{Mutant, is};
use crate::{
    error::SourceError,
    source::{self, Digests, Source, Work},
};

/// Parts that may be cut; with no mistake to make they are whole.
pub(crate) struct Parts {
    real: source::Parts,
    /// Where parts began that were read before.
    read: Mutex<BTreeSet<u64>>,
}

impl Parts {
    pub(crate) fn new(source: Arc<dyn Source>, work: Work, digests: Digests) -> Self {
        Self { real: source::Parts::new(source, work, digests), read: Mutex::default() }
    }

    pub(crate) fn len(&self) -> u64 {
        self.real.len()
    }

    pub(crate) async fn check_unchanged(&self) -> Result<(), SourceError> {
        self.real.check_unchanged().await
    }

    pub(crate) async fn with_md5(&self, span: PartSpan) -> Result<(Bytes, Md5), SourceError> {
        let (bytes, md5) = self.real.with_md5(span).await?;
        Ok((self.left(span, bytes), md5))
    }

    pub(crate) async fn md5(&self, span: PartSpan) -> Result<Md5, SourceError> {
        self.real.md5(span).await
    }

    pub(crate) async fn bytes(&self, span: PartSpan) -> Result<Bytes, SourceError> {
        let bytes = self.real.bytes(span).await?;
        Ok(self.left(span, bytes))
    }

    /// What is left of a part when it is sent again.
    fn left(&self, span: PartSpan, mut bytes: Bytes) -> Bytes {
        let first = self.read.lock().unwrap_or_else(PoisonError::into_inner).insert(span.offset);
        if first || !is(Mutant::RetriedPartCut) {
            return bytes;
        }
        bytes.split_off(bytes.len() / 2)
    }
}

//! Bodies are hashed and dropped: for loads that neither memory nor a disk could hold.

use std::{io, sync::Arc};

use async_trait::async_trait;
use bytes::Bytes;

use super::{Staging, Store, bodies::Bodies};
use crate::core::{BodyId, Record};

/// How many bytes of bodies that were not hashed yet are held in memory; more go to a temporary file without a name.
/// Default 16 MiB: what 16 connections send at once, each a part of the largest documented size.
const AHEAD: u64 = 16 << 20;

/// Keeps digests alone: a body is gone once the file's hash has passed it, so memory and disk stay constant however
/// much is uploaded.
///
/// Parts that come ahead of a gap are kept until it is closed. A part that was passed can be sent again with the same
/// bytes; other bytes are answered with -10003. A stored file cannot be read again: what is shown as its `stored-sha1`
/// is what its bytes made when they were taken in.
/// It remembers nothing for a later server: one that is opened on it finds it empty.
pub struct DigestStore {
    bodies: Bodies,
}

impl DigestStore {
    /// An empty store.
    #[must_use]
    pub fn new() -> Arc<Self> {
        Arc::new(Self { bodies: Bodies::new(AHEAD) })
    }

    /// How many bytes bodies take up at this moment, in memory and in the temporary file: those that are coming in,
    /// and those ahead of a gap. A little more than they are long: room is taken in pieces.
    #[must_use]
    pub fn held(&self) -> u64 {
        self.bodies.held()
    }
}

#[async_trait]
impl Store for DigestStore {
    async fn load(&self) -> io::Result<Vec<Record>> {
        // What an earlier server did not hash belongs to nobody any more.
        self.bodies.clear();
        Ok(Vec::new())
    }

    async fn append(&self, _: &Record) -> io::Result<()> {
        Ok(())
    }

    async fn stage(&self) -> io::Result<Box<dyn Staging>> {
        Ok(self.bodies.stage())
    }

    async fn read(&self, body: BodyId, offset: u64, len: usize) -> io::Result<Bytes> {
        self.bodies.read(body, offset, len).await
    }

    async fn discard(&self, body: BodyId) {
        self.bodies.discard(body);
    }

    fn rereads(&self) -> bool {
        false
    }

    async fn passed(&self, body: BodyId) {
        self.bodies.discard(body);
    }
}

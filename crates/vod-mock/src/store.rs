//! Where bodies and records are kept.
//!
//! The trait is narrow on purpose: bodies are staged and then kept under a number, records are appended in order.
//! Everything that has a meaning is decided above it, so a shared store (a database and an object store)
//! has only these few things to do.

mod disk;
mod log;
mod memory;

use std::io;

use async_trait::async_trait;
use bytes::Bytes;
pub use disk::{DiskError, DiskStore};
pub use memory::MemoryStore;

use crate::core::{BodyId, Record};

/// Keeps bodies and records.
#[async_trait]
pub trait Store: Send + Sync + 'static {
    /// The records of earlier lives, in the order they were appended. Called once, before anything else.
    async fn load(&self) -> io::Result<Vec<Record>>;

    /// Appends a record. When this returns, the record survives the death of the process,
    /// as far as this store promises anything to survive it.
    async fn append(&self, record: &Record) -> io::Result<()>;

    /// Begins to take in a body. Dropping what is returned gives the body up.
    async fn stage(&self) -> io::Result<Box<dyn Staging>>;

    /// Reads up to `len` bytes of a kept body from `offset`; fewer only at its end.
    async fn read(&self, body: BodyId, offset: u64, len: usize) -> io::Result<Bytes>;

    /// Gives up a body that was kept.
    async fn discard(&self, body: BodyId);
}

/// A body that is being taken in.
#[async_trait]
pub trait Staging: Send {
    /// Takes in the next bytes.
    async fn write(&mut self, bytes: Bytes) -> io::Result<()>;

    /// Keeps what was taken in, under a number that was never used before.
    async fn keep(self: Box<Self>) -> io::Result<BodyId>;
}

//! Where bodies and records are kept.
//!
//! - `memory`: in memory, and what is above a ceiling in a temporary file.
//! - `disk`, `log`: in a directory, so that what was acknowledged survives a kill.
//! - `digest`: nowhere; bodies are hashed and dropped.
//! - `bodies`, `spill`, `extents`: what the first and the last do with bodies.
//!
//! The trait is narrow on purpose: bodies are staged and then kept under a number, records are appended in order.
//! Everything that has a meaning is decided above it, so a shared store (a database and an object store)
//! has only these few things to do.

mod bodies;
mod digest;
mod disk;
mod extents;
mod log;
mod memory;
mod spill;

use std::io;

use async_trait::async_trait;
use bytes::Bytes;
pub use digest::DigestStore;
pub use disk::{DiskError, DiskStore};
pub use memory::MemoryStore;

use crate::core::{BodyId, Record};

/// Keeps bodies and records.
#[async_trait]
pub trait Store: Send + Sync + 'static {
    /// The records of earlier lives, those of one upload in the order they were appended; or fewer that make the same
    /// of it. Called once by each server, before anything else.
    async fn load(&self) -> io::Result<Vec<Record>>;

    /// Appends a record. When this returns, the record survives the death of the process,
    /// as far as this store promises anything to survive it.
    async fn append(&self, record: &Record) -> io::Result<()>;

    /// Begins to take in a body. Dropping what is returned gives the body up.
    async fn stage(&self) -> io::Result<Box<dyn Staging>>;

    /// Reads up to `len` bytes of a kept body from `offset`: as many as are at hand together, none only at its end.
    async fn read(&self, body: BodyId, offset: u64, len: usize) -> io::Result<Bytes>;

    /// Gives up a body that was kept.
    async fn discard(&self, body: BodyId);

    /// Can a kept body be read for as long as nobody gives it up? Default yes.
    /// Where it cannot, a body is gone once it was [`passed`](Self::passed), so a part that was passed is not
    /// replaced by other bytes any more.
    fn rereads(&self) -> bool {
        true
    }

    /// The file's hash has taken this kept body in. A store that does not [reread](Self::rereads) lets go of it.
    async fn passed(&self, _body: BodyId) {}
}

/// A body that is being taken in. After an error it can only be given up.
#[async_trait]
pub trait Staging: Send {
    /// Takes in the next bytes.
    async fn write(&mut self, bytes: Bytes) -> io::Result<()>;

    /// Turns all bits of one byte that was taken in: what is kept then differs from what came.
    ///
    /// # Errors
    /// If nothing was taken in at this offset.
    async fn flip(&mut self, offset: u64) -> io::Result<()>;

    /// Keeps what was taken in, under a number that was never used before.
    async fn keep(self: Box<Self>) -> io::Result<BodyId>;
}

/// The error of [`Staging::flip`].
fn nothing_at(offset: u64) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, format!("no byte was taken in at offset {offset}"))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    /// The bytes of a kept body, in whatever pieces they come.
    async fn read_all(store: &dyn Store, body: BodyId) -> Vec<u8> {
        let mut bytes = Vec::new();
        loop {
            let piece = store.read(body, bytes.len() as u64, 5).await.expect("it is kept");
            if piece.is_empty() {
                return bytes;
            }
            bytes.extend_from_slice(&piece);
        }
    }

    #[tokio::test]
    async fn one_byte_is_turned_and_what_comes_behind_it_goes_to_the_end() {
        let dir = tempfile::tempdir().expect("a directory");
        let disk = DiskStore::open(dir.path()).unwrap_or_else(|error| panic!("{error}"));
        let stores: [Arc<dyn Store>; 2] = [MemoryStore::new(), disk];
        for store in stores {
            let mut staged = store.stage().await.expect("it can be begun");
            assert!(staged.flip(0).await.is_err(), "nothing is there yet");
            staged.write(Bytes::from_static(b"hello ")).await.expect("it is taken in");
            staged.flip(1).await.expect("it is there");
            assert!(staged.flip(6).await.is_err(), "it is behind the end");
            staged.write(Bytes::from_static(b"world")).await.expect("it is taken in");
            staged.flip(10).await.expect("it is there");
            let body = staged.keep().await.expect("it is kept");
            assert_eq!(read_all(&*store, body).await, [&b"h\x9allo worl\x9b"[..]].concat());
        }
    }
}

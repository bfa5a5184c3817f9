//! Everything in memory. It outlives the server it is handed to, so that a simulated crash loses only the server.

use std::{
    collections::BTreeMap,
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};

use super::{Staging, Store};
use crate::core::{BodyId, Record};

/// Keeps everything in memory.
#[derive(Default)]
pub struct MemoryStore {
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    records: Vec<Record>,
    bodies: BTreeMap<BodyId, Vec<Bytes>>,
    last: u64,
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

impl MemoryStore {
    /// An empty store.
    #[must_use]
    pub fn new() -> Arc<Self> {
        Arc::new(Self::default())
    }
}

#[async_trait]
impl Store for MemoryStore {
    async fn load(&self) -> io::Result<Vec<Record>> {
        Ok(lock(&self.state).records.clone())
    }

    async fn append(&self, record: &Record) -> io::Result<()> {
        lock(&self.state).records.push(record.clone());
        Ok(())
    }

    async fn stage(&self) -> io::Result<Box<dyn Staging>> {
        Ok(Box::new(MemoryStaging { state: Arc::clone(&self.state), pieces: Vec::new() }))
    }

    async fn read(&self, body: BodyId, offset: u64, len: usize) -> io::Result<Bytes> {
        let pieces = lock(&self.state).bodies.get(&body).cloned().ok_or(io::ErrorKind::NotFound)?;
        let mut skip = usize::try_from(offset).map_err(io::Error::other)?;
        let mut out = BytesMut::new();
        for piece in pieces {
            let from = skip.min(piece.len());
            skip -= from;
            let to = piece.len().min(from + len - out.len());
            out.extend_from_slice(&piece[from..to]);
        }
        Ok(out.freeze())
    }

    async fn discard(&self, body: BodyId) {
        lock(&self.state).bodies.remove(&body);
    }
}

struct MemoryStaging {
    state: Arc<Mutex<State>>,
    pieces: Vec<Bytes>,
}

#[async_trait]
impl Staging for MemoryStaging {
    async fn write(&mut self, bytes: Bytes) -> io::Result<()> {
        // A copy of its own: a piece of a connection's read buffer would keep the whole buffer alive.
        self.pieces.push(Bytes::copy_from_slice(&bytes));
        Ok(())
    }

    async fn keep(self: Box<Self>) -> io::Result<BodyId> {
        let mut state = lock(&self.state);
        state.last += 1;
        let body = BodyId(state.last);
        state.bodies.insert(body, self.pieces);
        Ok(body)
    }
}

//! Everything in memory. It outlives the server it is handed to, so that a simulated crash loses only the server.

use std::{
    collections::BTreeMap,
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};

use super::{Staging, Store, nothing_at};
use crate::core::{BodyId, Record};

/// Keeps everything in memory.
#[derive(Default)]
pub struct MemoryStore {
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    records: Vec<Record>,
    bodies: BTreeMap<BodyId, Bytes>,
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
        Ok(Box::new(MemoryStaging { state: Arc::clone(&self.state), bytes: BytesMut::new() }))
    }

    async fn read(&self, body: BodyId, offset: u64, len: usize) -> io::Result<Bytes> {
        let whole = lock(&self.state).bodies.get(&body).cloned().ok_or(io::ErrorKind::NotFound)?;
        let from = usize::try_from(offset).map_err(io::Error::other)?.min(whole.len());
        Ok(whole.slice(from..whole.len().min(from.saturating_add(len))))
    }

    async fn discard(&self, body: BodyId) {
        lock(&self.state).bodies.remove(&body);
    }
}

struct MemoryStaging {
    state: Arc<Mutex<State>>,
    bytes: BytesMut,
}

#[async_trait]
impl Staging for MemoryStaging {
    async fn write(&mut self, bytes: Bytes) -> io::Result<()> {
        self.bytes.extend_from_slice(&bytes);
        Ok(())
    }

    async fn flip(&mut self, offset: u64) -> io::Result<()> {
        let at = usize::try_from(offset).map_err(io::Error::other)?;
        let byte = self.bytes.get_mut(at).ok_or_else(|| nothing_at(offset))?;
        *byte = !*byte;
        Ok(())
    }

    async fn keep(self: Box<Self>) -> io::Result<BodyId> {
        let mut state = lock(&self.state);
        state.last += 1;
        let body = BodyId(state.last);
        state.bodies.insert(body, self.bytes.freeze());
        Ok(body)
    }
}

//! Everything in memory. It outlives the server it is handed to, so that a simulated crash loses only the server.

use std::{
    collections::BTreeMap,
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use async_trait::async_trait;
use bytes::Bytes;

use super::{Staging, Store, bodies::Bodies};
use crate::core::{BodyId, History, Record, UploadKey};

/// Keeps everything in memory, and bodies above a ceiling in a temporary file without a name.
///
/// Nothing of it is left when the process ends. As long as bodies stay below the ceiling, no thread and no file is
/// used, so that a simulation may stand on it.
pub struct MemoryStore {
    uploads: Mutex<BTreeMap<UploadKey, History>>,
    bodies: Bodies,
}

impl Default for MemoryStore {
    fn default() -> Self {
        Self { uploads: Mutex::default(), bodies: Bodies::new(Self::CEILING) }
    }
}

impl MemoryStore {
    /// How many bytes of bodies are held in memory, by default: 256 MiB. No test that is meant to be fast uploads more,
    /// and a mock beside a build leaves a small machine its memory.
    pub const CEILING: u64 = 256 << 20;

    /// An empty store with the usual ceiling.
    #[must_use]
    pub fn new() -> Arc<Self> {
        Arc::new(Self::default())
    }

    /// An empty store that holds so many bytes of bodies in memory at most, those included that are coming in.
    /// With 0 every body goes to the temporary file.
    #[must_use]
    pub fn with_ceiling(bytes: u64) -> Arc<Self> {
        Arc::new(Self { bodies: Bodies::new(bytes), ..Self::default() })
    }

    /// How many bytes bodies take up at this moment, in memory and in the temporary file, those included that are
    /// coming in. A little more than they are long: room is taken in pieces.
    #[must_use]
    pub fn held(&self) -> u64 {
        self.bodies.held()
    }

    fn uploads(&self) -> MutexGuard<'_, BTreeMap<UploadKey, History>> {
        self.uploads.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Store for MemoryStore {
    async fn load(&self) -> io::Result<Vec<Record>> {
        Ok(self.uploads().values().flat_map(History::records).collect())
    }

    async fn append(&self, record: &Record) -> io::Result<()> {
        let mut uploads = self.uploads();
        match record {
            Record::Forgotten { key } => _ = uploads.remove(key),
            _ => uploads.entry(record.key().clone()).or_default().push(record.clone()),
        }
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
}

//! One temporary file without a name, for what does not fit into memory. It is gone with the process.

use std::{
    fs::File,
    io,
    os::unix::fs::FileExt as _,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use bytes::Bytes;

use super::extents::Extents;

/// The shortest stretch of the file that is taken into use, in bytes: a body that trickles in shall not lie in crumbs.
/// Default 64 KiB; what a body does not fill is given back when it is kept.
const EXTENT_LEAST: u64 = 64 << 10;

/// The file, made when something is first written to it.
#[derive(Default)]
pub(super) struct Spill {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    file: Option<Arc<File>>,
    extents: Extents,
}

impl Spill {
    /// With a file that is there already.
    #[cfg(test)]
    pub(super) fn into(file: File) -> Self {
        Self { state: Mutex::new(State { file: Some(Arc::new(file)), extents: Extents::default() }) }
    }

    /// Where the file may end.
    pub(super) fn end(&self) -> u64 {
        self.state().extents.end()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The file, made if it is not there. May block.
    pub(super) fn file(&self) -> io::Result<Arc<File>> {
        let mut state = self.state();
        let file = match state.file.take() {
            Some(file) => file,
            None => Arc::new(tempfile::tempfile()?),
        };
        Ok(Arc::clone(state.file.insert(file)))
    }

    /// Takes a stretch into use that has room for `len` bytes or more.
    pub(super) fn extent(self: &Arc<Self>, len: u64) -> Extent {
        let len = len.max(EXTENT_LEAST);
        Extent { at: self.state().extents.take(len), len, filled: 0, spill: Arc::clone(self) }
    }
}

/// A stretch of the file, given back when it is dropped.
///
/// Whoever writes to it or reads from it on another thread holds it there: a request that is given up meanwhile must
/// not have its stretch written to when it is somebody else's.
pub(super) struct Extent {
    at: u64,
    len: u64,
    filled: u64,
    spill: Arc<Spill>,
}

impl Extent {
    /// How many bytes still fit.
    pub(super) const fn room(&self) -> u64 {
        self.len - self.filled
    }

    /// How many bytes it holds.
    pub(super) const fn filled(&self) -> u64 {
        self.filled
    }

    /// Writes behind what it holds, on a thread that may block. `bytes` must fit.
    pub(super) async fn append(mut self, bytes: Bytes) -> io::Result<Self> {
        let write = move || {
            debug_assert!(bytes.len() as u64 <= self.room(), "an extent is never written past its end");
            self.spill.file()?.write_all_at(&bytes, self.at + self.filled)?;
            self.filled += bytes.len() as u64;
            Ok(self)
        };
        tokio::task::spawn_blocking(write).await.map_err(io::Error::other)?
    }

    /// Turns all bits of one byte that it holds, on a thread that may block.
    pub(super) async fn flip(self, offset: u64) -> io::Result<Self> {
        let flip = move || {
            let (file, at) = (self.spill.file()?, self.at + offset);
            let mut byte = [0];
            file.read_exact_at(&mut byte, at)?;
            file.write_all_at(&[!byte[0]], at)?;
            Ok(self)
        };
        tokio::task::spawn_blocking(flip).await.map_err(io::Error::other)?
    }

    /// Reads what it holds. May block.
    pub(super) fn read(&self, offset: u64, len: usize) -> io::Result<Bytes> {
        let rest = self.filled.saturating_sub(offset);
        let mut bytes = vec![0; len.min(usize::try_from(rest).unwrap_or(usize::MAX))];
        self.spill.file()?.read_exact_at(&mut bytes, self.at + offset)?;
        Ok(bytes.into())
    }

    /// Gives back what was not filled.
    pub(super) fn shrink(&mut self) {
        self.spill.state().extents.give(self.at + self.filled, self.room());
        self.len = self.filled;
    }
}

impl Drop for Extent {
    fn drop(&mut self) {
        let mut state = self.spill.state();
        state.extents.give(self.at, self.len);
        if state.extents.end() == 0
            && let Some(file) = &state.file
        {
            // The room goes back to the disk too. Where it cannot, the file is as long as it was.
            let _ = file.set_len(0);
        }
    }
}

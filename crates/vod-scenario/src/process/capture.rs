//! What a program writes, kept up to a bound.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncReadExt as _},
    task::JoinHandle,
};

/// How much of one stream is kept. Default 8 MiB: a hundred times what a story writes.
const KEPT_MOST: usize = 8 << 20;

/// How long the end of a stream is waited for when its writer is gone. Default 2 s: only a process that nobody knows of
/// can still hold it.
const END_WITHIN: Duration = Duration::from_secs(2);

/// A stream that is being read to its end, so that its writer never has to wait.
#[derive(Debug)]
pub(super) struct Capture {
    reader: JoinHandle<()>,
    kept: Arc<Mutex<Kept>>,
}

#[derive(Debug, Default)]
struct Kept {
    bytes: Vec<u8>,
    dropped: u64,
}

/// What was kept of a stream.
#[derive(Debug, Default)]
pub(super) struct Captured {
    pub(super) text: String,
    dropped: u64,
    unended: bool,
}

impl Captured {
    /// Why it may not be all of it.
    pub(super) fn lost(&self) -> Option<String> {
        if self.unended {
            return Some("somebody holds it open, and may write on".to_owned());
        }
        (self.dropped > 0).then(|| format!("{} bytes beyond {} MiB were not kept", self.dropped, KEPT_MOST >> 20))
    }
}

impl Capture {
    pub(super) fn of(mut stream: impl AsyncRead + Unpin + Send + 'static) -> Self {
        let kept = Arc::new(Mutex::new(Kept::default()));
        let shared = Arc::clone(&kept);
        let reader = tokio::spawn(async move {
            let mut piece = vec![0; 8 << 10];
            while let Ok(len @ 1..) = stream.read(&mut piece).await {
                let mut kept = shared.lock().unwrap_or_else(PoisonError::into_inner);
                let room = len.min(KEPT_MOST - kept.bytes.len());
                kept.bytes.extend_from_slice(&piece[..room]);
                kept.dropped += (len - room) as u64;
            }
        });
        Self { reader, kept }
    }

    /// What was written, once the writer is gone and the stream has ended. Safe to drop until then.
    pub(super) async fn captured(&mut self) -> Captured {
        let unended = !self.reader.is_finished() && tokio::time::timeout(END_WITHIN, &mut self.reader).await.is_err();
        if unended {
            self.reader.abort();
        }
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let Kept { bytes, dropped } = std::mem::take(&mut *kept);
        Captured { text: String::from_utf8_lossy(&bytes).into_owned(), dropped, unended }
    }
}

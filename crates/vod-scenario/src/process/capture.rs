//! What a program writes, kept up to a bound.

use tokio::{
    io::{AsyncRead, AsyncReadExt as _},
    task::JoinHandle,
};

/// How much of one stream is kept. Default 8 MiB: a hundred times what a story writes.
const KEPT_MOST: usize = 8 << 20;

/// A stream that is being read to its end, so that its writer never has to wait.
#[derive(Debug)]
pub(super) struct Capture(JoinHandle<Vec<u8>>);

impl Capture {
    pub(super) fn of(mut stream: impl AsyncRead + Unpin + Send + 'static) -> Self {
        Self(tokio::spawn(async move {
            let (mut kept, mut piece) = (Vec::new(), vec![0; 8 << 10]);
            while let Ok(len @ 1..) = stream.read(&mut piece).await {
                let room = KEPT_MOST - kept.len();
                kept.extend_from_slice(&piece[..len.min(room)]);
            }
            kept
        }))
    }

    /// The text, once the stream has ended. Safe to drop until then; not to be asked again after.
    pub(super) async fn text(&mut self) -> String {
        String::from_utf8_lossy(&(&mut self.0).await.unwrap_or_default()).into_owned()
    }
}

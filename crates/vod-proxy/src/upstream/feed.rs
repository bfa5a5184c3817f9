//! The body of a request as it goes on: as fast as it is taken, and with no end of its own where its client went away.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tokio::sync::mpsc;

/// A body that comes piece by piece.
pub(crate) struct Feed {
    pieces: Option<mpsc::Receiver<Piece>>,
}

enum Piece {
    Bytes(Bytes),
    End,
}

/// Who hands the pieces over. Dropped without [`finish`](Self::finish), it breaks the body off, and the connection with it.
pub(crate) struct Feeder(mpsc::Sender<Piece>);

/// Whoever should take the body is gone.
pub(crate) struct NotTaken;

/// The client went away.
#[derive(Debug, thiserror::Error)]
#[error("the client went away within the body")]
pub(crate) struct BrokenOff;

impl Feed {
    /// No body.
    pub(crate) const fn none() -> Self {
        Self { pieces: None }
    }

    /// A body that is fed. Two pieces may wait: one is sent while the next one comes.
    pub(crate) fn fed() -> (Feeder, Self) {
        let (feeder, pieces) = mpsc::channel(2);
        (Feeder(feeder), Self { pieces: Some(pieces) })
    }
}

impl Feeder {
    /// Hands a piece over, as soon as there is room.
    pub(crate) async fn give(&self, bytes: Bytes) -> Result<(), NotTaken> {
        self.0.send(Piece::Bytes(bytes)).await.map_err(|_| NotTaken)
    }

    /// All was handed over.
    pub(crate) async fn finish(self) {
        // Nobody is there to be told if whoever should take it is gone.
        let _ = self.0.send(Piece::End).await;
    }
}

impl Body for Feed {
    type Data = Bytes;
    type Error = BrokenOff;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BrokenOff>>> {
        let Some(pieces) = &mut self.pieces else { return Poll::Ready(None) };
        match ready!(pieces.poll_recv(cx)) {
            Some(Piece::Bytes(bytes)) => Poll::Ready(Some(Ok(Frame::data(bytes)))),
            Some(Piece::End) => {
                self.pieces = None;
                Poll::Ready(None)
            }
            None => Poll::Ready(Some(Err(BrokenOff))),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.pieces.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        if self.pieces.is_some() { SizeHint::default() } else { SizeHint::with_exact(0) }
    }
}

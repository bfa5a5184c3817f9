//! The body of a reply: it makes the exchange visible before its last frame, and is cut where a fault says so.

use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use crate::{
    fault::{Phase, Strike},
    journal::Open,
    rim::{Cut, Rim},
    transport::Delivery,
};

type Striking = Pin<Box<dyn Future<Output = Result<(), Cut>> + Send>>;

pub(crate) struct ReplyBody {
    /// What is still to be written.
    rest: Bytes,
    open: Arc<Open>,
    rim: Arc<Rim>,
    state: State,
}

enum State {
    /// All that is left goes out in one frame.
    Whole,
    /// So many bytes go out, then a fault strikes.
    CutAfter(usize, Strike),
    /// They are handed over; the fault waits until they are really written.
    AwaitFlush {
        seen: u64,
        strike: Strike,
    },
    /// The fault strikes.
    Striking(Striking),
    Done,
}

impl ReplyBody {
    /// `silent` says that HTTP will not ask for the body, as in the answer to a HEAD request.
    pub(crate) fn new(bytes: Bytes, silent: bool, open: Arc<Open>, rim: Arc<Rim>) -> Self {
        let aimed = rim.aim(Phase::MidReply, &open);
        let state = match aimed.and_then(|strike| Some((usize::try_from(strike.at).ok()?, strike))) {
            Some((at, strike)) if at < bytes.len() && !silent => State::CutAfter(at, strike),
            _ => State::Whole,
        };
        let mut body = Self { rest: bytes, open, rim, state };
        if silent || body.rest.is_empty() {
            body.hand_over();
        }
        body
    }

    /// The last bytes are about to leave: from here on the exchange can be seen.
    fn hand_over(&mut self) {
        self.open.publish();
        let delivery: Arc<dyn Delivery> = self.open.clone();
        self.open.line().tell_when_flushed(delivery);
        self.state = State::Done;
    }
}

impl Body for ReplyBody {
    type Data = Bytes;
    type Error = Cut;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Cut>>> {
        let this = self.get_mut();
        loop {
            match &mut this.state {
                State::Whole => {
                    this.hand_over();
                    return Poll::Ready(Some(Ok(Frame::data(std::mem::take(&mut this.rest)))));
                }
                State::CutAfter(at, strike) => {
                    let first = this.rest.split_to(*at);
                    this.state = State::AwaitFlush { seen: this.open.line().flushes(), strike: strike.clone() };
                    if !first.is_empty() {
                        return Poll::Ready(Some(Ok(Frame::data(first))));
                    }
                }
                State::AwaitFlush { seen, strike } => {
                    ready!(this.open.line().poll_flushed_since(*seen, cx));
                    let (rim, open, strike) = (Arc::clone(&this.rim), Arc::clone(&this.open), strike.clone());
                    this.state =
                        State::Striking(Box::pin(
                            async move { rim.hit(strike, Phase::MidReply, &open).await.map(drop) },
                        ));
                }
                State::Striking(strike) => {
                    if let Err(cut) = ready!(strike.as_mut().poll(cx)) {
                        this.state = State::Done;
                        return Poll::Ready(Some(Err(cut)));
                    }
                    this.state = State::Whole;
                }
                State::Done => return Poll::Ready(None),
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(self.state, State::Done)
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.rest.len() as u64)
    }
}

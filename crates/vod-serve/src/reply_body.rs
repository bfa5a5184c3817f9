//! The body of a reply: it makes the exchange visible before its last frame, and is cut where a fault says so.

use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use crate::{
    fault::Phase,
    journal::Open,
    message::Stakes,
    rim::{Aimed, Cut, Rim},
    transport::Delivery,
};

type Striking = Pin<Box<dyn Future<Output = Result<(), Cut>> + Send>>;

pub(crate) struct ReplyBody {
    /// What is still to be written.
    rest: Bytes,
    open: Arc<Open>,
    state: State,
}

enum State {
    /// All that is left goes out in one frame.
    Whole,
    /// So many bytes go out, then a fault strikes.
    CutAfter(usize, Aimed),
    /// They are handed over; the fault waits until they are really written, for so many flushes.
    AwaitFlush(u64, Aimed),
    /// The fault strikes.
    Striking(Striking),
    Done,
}

impl ReplyBody {
    /// `silent` says that HTTP will not ask for the body, as in the answer to a HEAD request.
    pub(crate) fn new(bytes: Bytes, silent: bool, open: Arc<Open>, rim: &Arc<Rim>) -> Self {
        let stakes = Stakes { reply: (!silent).then_some(bytes.len() as u64), ..Stakes::default() };
        let aimed = rim.aim(Phase::MidReply, &open, stakes);
        let state = match aimed.and_then(|aimed| Some((usize::try_from(aimed.at()).ok()?, aimed))) {
            Some((at, aimed)) => State::CutAfter(at, aimed),
            None => State::Whole,
        };
        let mut body = Self { rest: bytes, open, state };
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
            match std::mem::replace(&mut this.state, State::Done) {
                State::Whole => {
                    this.hand_over();
                    return Poll::Ready(Some(Ok(Frame::data(std::mem::take(&mut this.rest)))));
                }
                State::CutAfter(at, aimed) => {
                    let first = this.rest.split_to(at);
                    this.state = State::AwaitFlush(this.open.line().flushes(), aimed);
                    if !first.is_empty() {
                        return Poll::Ready(Some(Ok(Frame::data(first))));
                    }
                }
                State::AwaitFlush(seen, aimed) => {
                    if this.open.line().poll_flushed_since(seen, cx).is_pending() {
                        this.state = State::AwaitFlush(seen, aimed);
                        return Poll::Pending;
                    }
                    this.state = State::Striking(Box::pin(aimed.hit()));
                }
                State::Striking(mut strike) => match strike.as_mut().poll(cx) {
                    Poll::Pending => {
                        this.state = State::Striking(strike);
                        return Poll::Pending;
                    }
                    Poll::Ready(Err(cut)) => return Poll::Ready(Some(Err(cut))),
                    Poll::Ready(Ok(())) => this.state = State::Whole,
                },
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

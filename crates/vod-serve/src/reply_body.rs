//! The body of a reply: it makes the exchange visible before its last frame, and is cut where a fault, or its tail, says
//! so.

use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use vod_proto::exchange::End;

use crate::{
    fault::Phase,
    journal::Open,
    message::{Behind, Receipt, Stakes, Tail},
    rim::{Aimed, Cut, Rim, cut},
    transport::Delivery,
};

type Striking = Pin<Box<dyn Future<Output = Result<(), Cut>> + Send>>;

pub(crate) struct ReplyBody {
    /// What is still to be written.
    rest: Bytes,
    /// What comes behind it.
    tail: Option<Pin<Box<dyn Tail>>>,
    receipt: Option<Box<dyn Receipt>>,
    /// How many bytes are still to come, where that was announced beside a tail: HTTP asks for no more than those.
    to_come: Option<u64>,
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
    /// What came of the tail is handed over; once it is written, for so many flushes, the connection ends so.
    Breaking(u64, End),
    Done,
}

impl ReplyBody {
    /// `announced` is the length that the head tells of all of it. `silent` says that HTTP will not ask for the body, as in the answer to a HEAD request.
    pub(crate) fn new(
        bytes: Bytes,
        announced: Option<u64>,
        Behind { tail, receipt }: Behind,
        silent: bool,
        open: Arc<Open>,
        rim: &Arc<Rim>,
    ) -> Self {
        // Of a reply that comes bit by bit nobody knows yet which bytes it has.
        let has_bytes = !silent && tail.is_none();
        let stakes = Stakes { reply: has_bytes.then_some(bytes.len() as u64), ..Stakes::default() };
        let aimed = rim.aim(Phase::MidReply, &open, stakes);
        let state = match aimed.and_then(|aimed| Some((usize::try_from(aimed.at()).ok()?, aimed))) {
            Some((at, aimed)) => State::CutAfter(at, aimed),
            None => State::Whole,
        };
        let to_come = announced.filter(|_| tail.is_some());
        let mut body = Self { rest: bytes, tail: tail.filter(|_| !silent), receipt, to_come, open, state };
        if silent || body.rest.is_empty() && body.tail.is_none() {
            body.hand_over();
        }
        body
    }

    /// The next bytes of the tail. Where there are no more, what is known of all that passed is noted.
    fn poll_tail(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, End>>> {
        let Some(tail) = &mut self.tail else { return Poll::Ready(None) };
        let next = ready!(tail.as_mut().poll_next(cx));
        if !matches!(next, Some(Ok(_))) {
            self.note_tail();
        }
        Poll::Ready(next)
    }

    fn note_tail(&mut self) {
        let Some(tail) = self.tail.take() else { return };
        match (tail.as_ref().text(), tail.as_ref().mark()) {
            (Some(text), _) => self.open.reply_text(text),
            (None, Some(mark)) => self.open.reply_mark(mark, tail.as_ref().came()),
            (None, None) => {}
        }
    }

    /// A piece of a reply with a tail. The last that was announced is the last that is asked for.
    fn piece(&mut self, bytes: Bytes) -> Poll<Option<Result<Frame<Bytes>, Cut>>> {
        self.state = State::Whole;
        self.to_come = self.to_come.map(|to_come| to_come.saturating_sub(bytes.len() as u64));
        if self.to_come == Some(0) {
            self.note_tail();
            self.hand_over();
        }
        Poll::Ready(Some(Ok(Frame::data(bytes))))
    }

    /// The last bytes are about to leave: from here on the exchange can be seen.
    fn hand_over(&mut self) {
        self.open.publish();
        if let Some(receipt) = self.receipt.take() {
            receipt.handed_over();
        }
        let delivery: Arc<dyn Delivery> = self.open.clone();
        self.open.line().tell_when_flushed(delivery);
        self.state = State::Done;
    }
}

impl Drop for ReplyBody {
    fn drop(&mut self) {
        self.note_tail();
    }
}

impl Body for ReplyBody {
    type Data = Bytes;
    type Error = Cut;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Cut>>> {
        let this = self.get_mut();
        loop {
            match std::mem::replace(&mut this.state, State::Done) {
                State::Whole if this.tail.is_none() => {
                    this.hand_over();
                    return Poll::Ready(Some(Ok(Frame::data(std::mem::take(&mut this.rest)))));
                }
                State::Whole if !this.rest.is_empty() => {
                    let rest = std::mem::take(&mut this.rest);
                    return this.piece(rest);
                }
                State::Whole => match this.poll_tail(cx) {
                    Poll::Pending => {
                        this.state = State::Whole;
                        return Poll::Pending;
                    }
                    Poll::Ready(Some(Ok(bytes))) => return this.piece(bytes),
                    Poll::Ready(Some(Err(end))) => this.state = State::Breaking(this.open.line().flushes(), end),
                    Poll::Ready(None) => this.hand_over(),
                },
                State::Breaking(seen, end) => {
                    if this.open.line().poll_flushed_since(seen, cx).is_pending() {
                        this.state = State::Breaking(seen, end);
                        return Poll::Pending;
                    }
                    return Poll::Ready(Some(Err(cut(&this.open, end))));
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
        if self.tail.is_some() { SizeHint::default() } else { SizeHint::with_exact(self.rest.len() as u64) }
    }
}

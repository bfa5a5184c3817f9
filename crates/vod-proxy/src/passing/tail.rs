//! A reply as it passes, and what is kept of it.

use std::{
    io, mem,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, header};
use hyper::body::{Body as _, Incoming};
use tokio::time::Sleep;
use vod_proto::{
    digest::Sha1Hasher,
    exchange::{End, Kept, Mark},
    redact::{Redactor, TextRedaction},
};
use vod_serve::{Journal, Tail};

use super::{Keeping, SILENCE, draft, not_kept};
use crate::{
    recording::{Bodies, Draft},
    upstream::broken_by,
};

/// How long a reply may be to stand in its line, in bytes. Default 256 KiB: a list of some five thousand parts. A longer one
/// is kept as a file.
const INLINE_MOST: usize = 256 << 10;

/// The body of a reply.
pub(super) struct PassingReply {
    incoming: Incoming,
    /// Since when the server says nothing.
    silent: Option<Pin<Box<Sleep>>>,
    len: u64,
    ended: bool,
    holding: Holding,
}

/// What is held of it.
enum Holding {
    /// Nothing is kept.
    Nothing,
    /// All of it so far.
    All(BytesMut, Box<Keeper>),
    /// What its file does not have.
    Long(Box<Keeper>),
    Mark(Mark),
}

/// What is needed to keep a reply that does not stand in its line.
struct Keeper {
    /// Where replies are kept, if they are.
    bodies: Option<Bodies>,
    redactor: Arc<Redactor>,
    /// It is packed: nobody can read it, and find a secret in it.
    packed: bool,
    sha1: Sha1Hasher,
    file: Option<Redacted>,
}

/// A file of what came, without its secrets.
struct Redacted {
    draft: Draft,
    redaction: TextRedaction<Arc<Redactor>>,
    hashed: Sha1Hasher,
    len: u64,
}

impl PassingReply {
    pub(super) fn new(incoming: Incoming, headers: &HeaderMap, keeping: &Keeping, journal: &Journal) -> Self {
        let holding = match keeping {
            Keeping::Nothing => Holding::Nothing,
            Keeping::In(bodies, kept) => {
                let packed = headers.get(header::CONTENT_ENCODING).is_some_and(|encoding| encoding != "identity");
                let redactor = Arc::clone(journal.redactor());
                let bodies = kept.replies().then(|| bodies.clone());
                let keeper = Keeper { bodies, redactor, packed, sha1: Sha1Hasher::default(), file: None };
                Holding::All(BytesMut::new(), Box::new(keeper))
            }
        };
        Self { incoming, silent: None, len: 0, ended: false, holding }
    }

    fn take(&mut self, bytes: &[u8]) {
        self.len += bytes.len() as u64;
        match &mut self.holding {
            Holding::Nothing | Holding::Mark(_) => {}
            Holding::Long(keeper) => keeper.write(bytes),
            Holding::All(held, _) => {
                held.extend_from_slice(bytes);
                if held.len() > INLINE_MOST {
                    self.spill();
                }
            }
        }
    }

    /// It does not stand in its line.
    fn spill(&mut self) {
        if let Holding::All(held, mut keeper) = mem::replace(&mut self.holding, Holding::Nothing) {
            keeper.begin();
            keeper.write(&held);
            self.holding = Holding::Long(keeper);
        }
    }

    fn end(&mut self) {
        self.ended = true;
        if matches!(&self.holding, Holding::All(held, keeper) if keeper.packed || !is_text(held)) {
            self.spill();
        }
        self.holding = match mem::replace(&mut self.holding, Holding::Nothing) {
            Holding::Long(keeper) => Holding::Mark(keeper.finish(self.len)),
            held => held,
        };
    }
}

impl Keeper {
    fn begin(&mut self) {
        // What cannot be read may hold anything.
        let Some(draft) = self.bodies.as_ref().filter(|_| !self.packed).and_then(draft) else { return };
        let redaction = TextRedaction::new(Arc::clone(&self.redactor));
        self.file = Some(Redacted { draft, redaction, hashed: Sha1Hasher::default(), len: 0 });
    }

    fn write(&mut self, bytes: &[u8]) {
        self.sha1.update(bytes);
        if let Some(file) = &mut self.file
            && let Err(error) = file.write(bytes)
        {
            not_kept(&error);
            self.file = None;
        }
    }

    fn finish(mut self, len: u64) -> Mark {
        match self.file.take().map(Redacted::finish) {
            Some(Ok(kept)) => return kept,
            Some(Err(error)) => not_kept(&error),
            None => {}
        }
        let sha1 = mem::take(&mut self.sha1).finish();
        Mark { len, sha1: (len > 0).then_some(sha1), md5: None, kept: Kept::Digest }
    }
}

impl Redacted {
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        let mut sure = Vec::with_capacity(bytes.len());
        self.redaction.push(bytes, &mut sure);
        self.hashed.update(&sure);
        self.len += sure.len() as u64;
        self.draft.write(&sure)
    }

    /// What is known of what was kept.
    fn finish(self) -> io::Result<Mark> {
        let Self { mut draft, redaction, mut hashed, len } = self;
        let mut sure = Vec::new();
        redaction.finish(&mut sure);
        hashed.update(&sure);
        draft.write(&sure)?;
        let sha1 = hashed.finish();
        draft.keep(sha1)?;
        Ok(Mark { len: len + sure.len() as u64, sha1: Some(sha1), md5: None, kept: Kept::File })
    }
}

/// Is it text, a letter that was cut in two at its end allowed for?
fn is_text(bytes: &[u8]) -> bool {
    str::from_utf8(bytes).err().is_none_or(|error| error.error_len().is_none())
}

impl Tail for PassingReply {
    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, End>>> {
        let this = self.get_mut();
        loop {
            let Poll::Ready(frame) = Pin::new(&mut this.incoming).poll_frame(cx) else {
                ready!(this.silent.get_or_insert_with(|| Box::pin(tokio::time::sleep(SILENCE))).as_mut().poll(cx));
                return Poll::Ready(Some(Err(End::Timeout)));
            };
            this.silent = None;
            match frame {
                // What comes behind a body says nothing in this protocol.
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(bytes) if !bytes.is_empty() => {
                        this.take(&bytes);
                        // Nobody asks for more than was announced.
                        if this.incoming.is_end_stream() {
                            this.end();
                        }
                        return Poll::Ready(Some(Ok(bytes)));
                    }
                    _ => {}
                },
                Some(Err(error)) => return Poll::Ready(Some(Err(broken_by(&error)))),
                None => {
                    if !this.ended {
                        this.end();
                    }
                    return Poll::Ready(None);
                }
            }
        }
    }

    fn mark(self: Pin<&Self>) -> Option<Mark> {
        Some(match &self.holding {
            Holding::Mark(mark) => mark.clone(),
            _ => Mark { len: self.len, ..Mark::default() },
        })
    }

    fn came(self: Pin<&Self>) -> Option<u64> {
        Some(self.len)
    }

    fn text(self: Pin<&Self>) -> Option<&[u8]> {
        match &self.get_ref().holding {
            Holding::All(held, keeper) if !keeper.packed && is_text(held) => Some(held),
            _ => None,
        }
    }
}

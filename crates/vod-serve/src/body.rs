//! The body of a request as it streams in: counted, marked, bounded, and cut where a fault says so.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use http_body::Body as _;
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use vod_proto::{
    Md5, Sha1,
    digest::{Md5Hasher, Sha1Hasher},
    exchange::{End, Kept, Mark},
};

use crate::{
    clock::instant,
    fault::Phase,
    journal::Open,
    message::Stakes,
    rim::{Aimed, Cut, Rim, cut},
    transport::Pace,
};

/// How long a client may leave a body waiting for its next byte. Default 60 s: longer than any retry of a sane client.
const IDLE: Duration = Duration::from_secs(60);

/// How long a body may take from its first byte awaited to its last, not counting what a fault holds it up.
/// Default 10 minutes: the longest body that is read, 8 MiB, over a line of 32 KiB/s takes less than half of it.
/// A peer that trickles is not served for ever.
const WHOLE: Duration = Duration::from_secs(600);

/// Why a body ended before its end.
#[derive(Debug, thiserror::Error)]
pub enum BodyError {
    /// The client went away.
    #[error("the client went away within the body")]
    ClientGone,
    /// The client sent nothing for too long, or all too slowly.
    #[error("no byte of the body came for 60 s, or not all of them within 10 minutes")]
    Timeout,
    /// The body is longer than this server reads.
    #[error("the body is longer than the ceiling of {0} bytes")]
    TooLong(u64),
    /// A fault cut the connection, or the host did.
    #[error(transparent)]
    Cut(#[from] Cut),
}

/// A body that is being read.
pub struct Body {
    incoming: Incoming,
    open: Arc<Open>,
    /// How many bytes are read at most.
    ceiling: u64,
    /// Bytes handed on so far.
    len: u64,
    /// From the first byte on, unless nobody wants it.
    sha1: Option<Box<Sha1Hasher>>,
    unhashed: bool,
    hashing: Option<Box<Md5Hasher>>,
    /// Known at the end.
    md5: Option<Md5>,
    /// What came, but stands behind the byte that a fault strikes at.
    held: Option<Bytes>,
    aimed: Option<Aimed>,
    /// How long the client may still take.
    left: Duration,
    /// Under a throttle: the line alone cannot slow down what was read before it, as a short body often is.
    pace: Pace,
    ended: bool,
    kept: Kept,
}

impl Body {
    pub(crate) fn new(incoming: Incoming, open: Arc<Open>, rim: &Arc<Rim>, ceiling: u64) -> Self {
        let stakes = Stakes { body: incoming.size_hint().exact(), ..Stakes::default() };
        let aimed = rim.aim(Phase::MidBody, &open, stakes);
        // Most requests have no body, and no timer for one.
        let (left, pace, ended) = (WHOLE, Pace::default(), incoming.is_end_stream());
        let (kept, unhashed) = (Kept::default(), false);
        Self {
            incoming,
            open,
            ceiling,
            len: 0,
            sha1: None,
            unhashed,
            hashing: None,
            md5: None,
            held: None,
            aimed,
            left,
            pace,
            ended,
            kept,
        }
    }

    /// Takes the MD5 along. Call it before the first byte is read.
    pub fn take_md5(&mut self) {
        self.hashing = Some(Box::default());
    }

    /// Takes no SHA-1 along, for a server that keeps no evidence. Call it before the first byte is read.
    pub const fn skip_sha1(&mut self) {
        self.unhashed = true;
    }

    /// The next bytes, or none at the end.
    ///
    /// # Errors
    /// The client may go away or fall silent, the body may be too long, a fault may strike.
    pub async fn next(&mut self) -> Result<Option<Bytes>, BodyError> {
        self.allowed().await;
        // A byte that was announced is struck before it comes. Any other may not be there at all.
        if self.incoming.size_hint().lower() > 0 || self.held.is_some() {
            self.strike().await?;
        }
        let Some(mut bytes) = self.receive().await? else {
            self.md5 = self.hashing.take().map(|hasher| hasher.finish()).or(self.md5);
            return Ok(None);
        };
        self.strike().await?;
        let most = self.allowed().await;
        // The byte lies behind what was handed on.
        let room = self
            .aimed
            .as_ref()
            .map_or(usize::MAX, |aimed| usize::try_from(aimed.at() - self.len).unwrap_or(usize::MAX));
        if bytes.len() > room.min(most) {
            self.held = Some(bytes.split_off(room.min(most)));
        }
        if let Some(rate) = self.open.line().reads_at() {
            self.pace.passed(bytes.len(), rate);
        }
        self.len += bytes.len() as u64;
        self.open.body_progress(self.len);
        if self.len > self.ceiling {
            return Err(BodyError::TooLong(self.ceiling));
        }
        if !self.unhashed {
            self.sha1.get_or_insert_default().update(&bytes);
        }
        if let Some(md5) = &mut self.hashing {
            md5.update(&bytes);
        }
        Ok(Some(bytes))
    }

    /// Waits for as long as what was handed on should have taken, and tells how much may follow.
    async fn allowed(&mut self) -> usize {
        match self.open.line().reads_at() {
            Some(rate) => std::future::poll_fn(|cx| self.pace.poll_allowed(rate, cx)).await,
            None => usize::MAX,
        }
    }

    /// Lets the fault strike that waits for the next byte.
    async fn strike(&mut self) -> Result<(), Cut> {
        match self.aimed.take_if(|aimed| aimed.at() == self.len) {
            Some(aimed) => aimed.hit().await,
            None => Ok(()),
        }
    }

    async fn receive(&mut self) -> Result<Option<Bytes>, BodyError> {
        if let Some(held) = self.held.take() {
            return Ok(Some(held));
        }
        while !self.ended {
            let awaited = instant();
            let frame = tokio::time::timeout(IDLE.min(self.left), self.incoming.frame()).await;
            let frame = frame.map_err(|_| BodyError::Timeout)?;
            if self.open.line().reads_at().is_none() {
                self.left = self.left.saturating_sub(awaited.elapsed());
            }
            match frame {
                None => self.ended = true,
                Some(Err(_)) => return Err(BodyError::ClientGone),
                // Trailers say nothing in this protocol.
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(bytes) if !bytes.is_empty() => return Ok(Some(bytes)),
                    _ => {}
                },
            }
        }
        Ok(None)
    }

    /// How many bytes were read.
    #[must_use]
    pub const fn len(&self) -> u64 {
        self.len
    }

    /// Was nothing read?
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The MD5 of the whole, where it was asked for, once [`Body::next`] has said that this was the end.
    #[must_use]
    pub const fn md5(&self) -> Option<Md5> {
        self.md5
    }

    /// The SHA-1 of what was read.
    #[must_use]
    pub fn sha1(&self) -> Sha1 {
        self.sha1.as_deref().cloned().unwrap_or_default().finish()
    }

    /// Notes now what is known of it and when it was read, where an answer may be long in coming.
    pub fn done(&self) {
        self.open.body_done(self.mark());
    }

    /// Says how its bytes are kept. Default: not at all.
    pub const fn keep(&mut self, kept: Kept) {
        self.kept = kept;
    }

    /// Ends the exchange here, in the middle of its body, and the connection with it: what to return for a host that will
    /// not read on.
    #[must_use]
    pub fn break_off(&self, end: End) -> BodyError {
        BodyError::Cut(cut(&self.open, end))
    }

    /// Reads what is left and throws it away.
    pub(crate) async fn drain(&mut self) -> Result<(), BodyError> {
        while self.next().await?.is_some() {}
        Ok(())
    }

    /// What is known of it, at the end.
    pub(crate) fn mark(&self) -> Mark {
        Mark {
            len: self.len,
            sha1: (self.ended && self.len > 0 && !self.unhashed).then(|| self.sha1()),
            md5: self.md5.filter(|_| self.len > 0),
            kept: self.kept,
        }
    }
}

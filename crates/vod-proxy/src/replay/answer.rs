//! A recorded reply on its way out again: from its line, or from the file that keeps its body.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http::{HeaderName, HeaderValue, header};
use tokio::{
    fs::File,
    io::{AsyncRead, AsyncReadExt as _, ReadBuf},
};
use vod_proto::{
    Exchange, Sha1,
    digest::Sha1Hasher,
    exchange::{End, Kept, Mark, ReplyRecord},
    reply::Reply,
};
use vod_serve::{Answer, Receipt, ReplyOut, Tail};

use crate::recording::Bodies;

/// How much of a body is read at once, in bytes. Default 64 KiB. A body that is no longer is read before its reply begins, so
/// that faults can strike at its bytes.
const AT_ONCE: u64 = 64 << 10;

/// What HTTP itself says about a message on one connection: it is said anew.
const FRAMING: [HeaderName; 4] =
    [header::CONTENT_LENGTH, header::TRANSFER_ENCODING, HeaderName::from_static("keep-alive"), header::TRAILER];

/// The file of a reply's body, if it is in one.
pub(super) fn file_of(reply: &ReplyRecord) -> Option<(Sha1, u64)> {
    let mark = reply.mark.as_ref().filter(|mark| mark.kept == Kept::File && mark.len > 0)?;
    mark.sha1.map(|sha1| (sha1, mark.len))
}

/// Is there a body of which nothing was kept but its length and digest?
pub(super) fn is_lost(reply: &ReplyRecord) -> bool {
    reply.body.is_empty() && reply.mark.as_ref().is_some_and(|mark| mark.len > 0) && file_of(reply).is_none()
}

/// The answer that was recorded.
///
/// # Errors
/// How the connection ends, where there was none.
pub(super) async fn recorded(exchange: &Exchange, bodies: &Bodies, receipt: Box<dyn Receipt>) -> Result<Answer, End> {
    let ended = (exchange.end != End::Replied).then_some(exchange.end);
    let Some(reply) = &exchange.reply else { return Err(ended.unwrap_or(End::Closed)) };
    let announced = header_of(reply, "content-length").and_then(|value| value.parse::<u64>().ok());
    let (text, mut file) = match file_of(reply) {
        None => (Bytes::from(reply.body.clone()), None),
        Some((sha1, len)) => match body(bodies, sha1, len).await {
            Ok(Body::Short(bytes)) => (bytes, None),
            Ok(Body::Long(file)) => (Bytes::new(), Some(file)),
            Err(error) => {
                tracing::error!(%error, %sha1, seq = exchange.seq, "the body of a recorded reply cannot be read");
                return Err(End::Closed);
            }
        },
    };
    let len = text.len() as u64 + file.as_ref().map_or(0, |file| file.left);
    let is_head = exchange.request.method == "HEAD";
    let short = !is_head && announced.is_some_and(|announced| announced > len);
    let broken = ended.or(short.then_some(End::Closed));
    let length = match broken {
        // As it was announced, if it was: what comes of it ends before.
        Some(_) => announced.filter(|announced| *announced > len),
        // The answer to HEAD tells the length of a body that does not come.
        None if is_head => announced,
        None => file.as_ref().map(|_| len),
    };
    let mut headers = headers(reply);
    headers.extend(length.map(|length| (header::CONTENT_LENGTH, HeaderValue::from(length))));
    if let Some(file) = &mut file {
        file.then = broken;
    }
    let broken = || broken.map(|end| Box::pin(Breaks(end)) as Pin<Box<dyn Tail>>);
    let tail = file.map(|file| Box::into_pin(file) as Pin<Box<dyn Tail>>).or_else(broken);
    let rejected = matches!(exchange.parsed_reply(), Some(Reply::Rejected(_)));
    let (accepted, out) = (reply.status < 400 && !rejected, ReplyOut::new(reply.status, headers, text));
    // A proxy's own word stays one, so that the replay's journal tells what the recording does.
    let out = match exchange.unreached {
        Some(why) => out.of_a_proxy(why),
        None => out,
    };
    Ok(Answer { reply: out, tail, accepted, receipt: Some(receipt) })
}

fn header_of<'r>(reply: &'r ReplyRecord, wanted: &str) -> Option<&'r str> {
    reply.headers.iter().find(|(name, _)| name == wanted).map(|(_, value)| value.as_str())
}

fn headers(reply: &ReplyRecord) -> Vec<(HeaderName, HeaderValue)> {
    let headers = reply.headers.iter().filter_map(|(name, value)| {
        let name = HeaderName::from_bytes(name.as_bytes()).ok().filter(|name| !FRAMING.contains(name))?;
        Some((name, HeaderValue::from_bytes(value.as_bytes()).ok()?))
    });
    headers.collect()
}

enum Body {
    Short(Bytes),
    Long(Box<FromFile>),
}

async fn body(bodies: &Bodies, sha1: Sha1, len: u64) -> io::Result<Body> {
    let mut file = File::open(bodies.path(sha1)).await?;
    if len > AT_ONCE {
        let body = FromFile { file, left: len, sha1, hasher: Sha1Hasher::default(), then: None };
        return Ok(Body::Long(Box::new(body)));
    }
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes).await?;
    if Sha1::of(&bytes) == sha1 { Ok(Body::Short(bytes.into())) } else { Err(changed()) }
}

fn changed() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "it is not what it was: its name says otherwise")
}

/// A reply that breaks off.
struct Breaks(End);

impl Tail for Breaks {
    fn poll_next(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Bytes, End>>> {
        Poll::Ready(Some(Err(self.0)))
    }

    fn mark(self: Pin<&Self>) -> Option<Mark> {
        None
    }
}

/// A long body, piece by piece. Its last piece is let out only if all of them are what was recorded.
struct FromFile {
    file: File,
    left: u64,
    sha1: Sha1,
    hasher: Sha1Hasher,
    then: Option<End>,
}

impl FromFile {
    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Bytes>> {
        let mut piece = vec![0; usize::try_from(self.left.min(AT_ONCE)).unwrap_or(usize::MAX)];
        let mut into = ReadBuf::new(&mut piece);
        ready!(Pin::new(&mut self.file).poll_read(cx, &mut into))?;
        let read = into.filled().len();
        piece.truncate(read);
        self.left -= read as u64;
        self.hasher.update(&piece);
        if read == 0 || self.left == 0 && self.hasher.clone().finish() != self.sha1 {
            return Poll::Ready(Err(changed()));
        }
        Poll::Ready(Ok(piece.into()))
    }
}

impl Tail for FromFile {
    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, End>>> {
        if self.left == 0 {
            return Poll::Ready(self.then.map(Err));
        }
        match ready!(self.poll_piece(cx)) {
            Ok(piece) => Poll::Ready(Some(Ok(piece))),
            Err(error) => {
                tracing::error!(%error, sha1 = %self.sha1, "the body of a recorded reply cannot be read");
                Poll::Ready(Some(Err(End::Closed)))
            }
        }
    }

    fn mark(self: Pin<&Self>) -> Option<Mark> {
        None
    }
}

//! A host that answers nothing of its own: it passes each request on, and the reply back, bit by bit.
//!
//! - `headers`: which headers end here; `tail`: the reply as it passes.
//! - [`Keeping`]: what is kept of bodies on the way.
//!
//! Everything is done while the request is read, the reply awaited too: so whoever goes away takes the connection to the
//! server along, which sees what it would see without a proxy.

mod headers;
mod tail;
#[cfg(test)]
mod tests;

use std::{pin::pin, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{HeaderValue, Request, Response, header};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use vod_proto::exchange::{End, Kept, Unreached};
use vod_serve::{
    Answer, Effects, Head, Host, Journal, ReplyOut, Stakes, Subject,
    body::{Body, BodyError},
    host::AsideBody,
};

use self::{headers::passed_on, tail::PassingReply};
use crate::{
    forward::Way,
    recording::{Bodies, Draft, KeptBodies},
    subject,
    upstream::{Connect, Feed, Feeder, NotTaken, Origin, Trouble, Upstream},
};

/// How long a server may say nothing, and how long it may take nothing. Default 10 minutes: longer than any client of this
/// protocol waits, so that it is the client that gives up, and no connection stays for ever.
pub(crate) const SILENCE: Duration = Duration::from_secs(600);

/// How long the end of a server's connection waits for that of the client's. Default 1 ms: where both are gone at once, as when a
/// server sees its client leave, it is the client who went, whichever of them is heard of sooner.
const CLIENT_FIRST: Duration = Duration::from_millis(1);

/// What is kept of what passes.
#[derive(Clone, Debug)]
pub(crate) enum Keeping {
    /// Nothing, not even a hash.
    Nothing,
    /// A recording, and which bodies beside its lines.
    In(Bodies, KeptBodies),
}

/// Passes requests on.
pub(crate) struct Passing<C> {
    pub(crate) way: Way,
    pub(crate) upstream: Arc<Upstream<C>>,
    pub(crate) journal: Arc<Journal>,
    pub(crate) keeping: Keeping,
}

/// What became of a request.
pub(crate) enum Passed {
    /// It was answered.
    Answered(Response<Incoming>),
    /// The proxy has to answer itself: status, why, and in words.
    Own(u16, Unreached, String),
    /// The connection ended.
    Ended(End),
}

impl From<Trouble> for Passed {
    fn from(trouble: Trouble) -> Self {
        match trouble {
            Trouble::Unreached(why, text) => Self::Own(502, why, text),
            Trouble::Ended(end) => Self::Ended(end),
        }
    }
}

impl<C: Connect> Passing<C> {
    /// Makes of a request what is sent on.
    fn request(&self, head: &Head, to: &Origin, feed: Feed) -> Result<Request<Feed>, http::Error> {
        let mut request = Request::builder().method(head.method.clone()).uri(to.uri(head.target())?).body(feed)?;
        *request.headers_mut() = passed_on(&head.headers);
        if let Some(host) = self.way.host_header(to) {
            request.headers_mut().insert(header::HOST, host);
        }
        if matches!(self.keeping, Keeping::In(..)) {
            // What is packed cannot be redacted.
            request.headers_mut().remove(header::ACCEPT_ENCODING);
        }
        Ok(request)
    }

    /// Sends a request on, its body as it comes, and waits for the head of the reply.
    async fn pass(&self, head: &Head, to: &Origin, body: &mut Body) -> Result<Passed, BodyError> {
        let (feeder, outgoing) = if has_body(head) {
            let (feeder, outgoing) = Feed::fed();
            (Some(feeder), outgoing)
        } else {
            (None, Feed::none())
        };
        let request = match self.request(head, to, outgoing) {
            Ok(request) => request,
            Err(error) => return Ok(Passed::Own(400, Unreached::Failed, error.to_string())),
        };
        let mut draft = self.draft(feeder.is_some());
        let mut reply = pin!(async {
            let replied = self.upstream.send(request).await;
            if replied.is_err() {
                // Whoever reads the client's connection drops what waits here.
                tokio::time::sleep(CLIENT_FIRST).await;
            }
            replied
        });
        let mut answered = None;
        let fed = {
            let mut feeding = pin!(feed(feeder, body, &mut draft));
            loop {
                tokio::select! {
                    biased;
                    replied = &mut reply, if answered.is_none() => match replied {
                        // What is left of the body goes on: a server may answer early, and read to the end.
                        Ok(replied) => answered = Some(replied),
                        Err(trouble) => break Err(trouble),
                    },
                    fed = &mut feeding => break Ok(fed?),
                }
            }
        };
        match fed {
            Ok(Fed::Whole) => {
                keep(draft, body);
                body.done();
            }
            Ok(Fed::Untaken) => {}
            Ok(Fed::Stuck) => return Err(body.break_off(End::Timeout)),
            // It is gone in the middle of the body, and for the client so is this proxy.
            Err(Trouble::Ended(end)) => return Err(body.break_off(end)),
            // Whoever was not reached is spoken for by the proxy, once the body was read.
            Err(trouble) => return Ok(trouble.into()),
        }
        if let Some(answered) = answered {
            return Ok(Passed::Answered(answered));
        }
        Ok(match tokio::time::timeout(SILENCE, reply).await {
            Ok(Ok(answered)) => Passed::Answered(answered),
            Ok(Err(trouble)) => trouble.into(),
            Err(_) => Passed::Ended(End::Timeout),
        })
    }

    /// Where the body of a request is written to, if it is kept.
    fn draft(&self, has_body: bool) -> Option<Draft> {
        match &self.keeping {
            Keeping::In(bodies, kept) if has_body && kept.requests() => draft(bodies),
            _ => None,
        }
    }
}

/// Does a body follow this head?
fn has_body(head: &Head) -> bool {
    head.headers.contains_key(header::TRANSFER_ENCODING) || head.content_length().is_some_and(|len| len > 0)
}

/// How far a body went on.
enum Fed {
    Whole,
    /// Nobody takes it any more.
    Untaken,
    /// Whoever should take it does not.
    Stuck,
}

async fn feed(feeder: Option<Feeder>, body: &mut Body, draft: &mut Option<Draft>) -> Result<Fed, BodyError> {
    let Some(feeder) = feeder else { return Ok(Fed::Whole) };
    while let Some(bytes) = body.next().await? {
        write(draft, &bytes);
        match tokio::time::timeout(SILENCE, feeder.give(bytes)).await {
            Ok(Ok(())) => {}
            Ok(Err(NotTaken)) => return Ok(Fed::Untaken),
            Err(_) => return Ok(Fed::Stuck),
        }
    }
    feeder.finish().await;
    Ok(Fed::Whole)
}

fn draft(bodies: &Bodies) -> Option<Draft> {
    bodies.draft().inspect_err(not_kept).ok()
}

fn write(draft: &mut Option<Draft>, bytes: &[u8]) {
    if let Some(open) = draft
        && let Err(error) = open.write(bytes)
    {
        not_kept(&error);
        *draft = None;
    }
}

/// Keeps what was written of a request's body, which is all of it.
fn keep(draft: Option<Draft>, body: &mut Body) {
    let Some(draft) = draft.filter(|_| !body.is_empty()) else { return };
    match draft.keep(body.sha1()) {
        Ok(()) => body.keep(Kept::File),
        Err(error) => not_kept(&error),
    }
}

/// Of what cannot be written, as on a full disk, the digest is what remains, and the exchange says so.
fn not_kept(error: &std::io::Error) {
    tracing::error!(%error, "the recording lacks a body: it could not be written");
}

impl<C: Connect> Host for Passing<C> {
    type Caller = ();
    type Staged = Passed;

    async fn subject(&self, head: &Head) -> (Subject, ()) {
        (subject(head, self.journal.redactor()), ())
    }

    fn is_known(&self, (): &()) -> bool {
        true
    }

    async fn read(&self, head: &Head, (): (), body: &mut Body) -> Result<Passed, BodyError> {
        if matches!(self.keeping, Keeping::Nothing) {
            body.skip_sha1();
        }
        match self.way.of(head) {
            Ok(to) => self.pass(head, &to, body).await,
            Err((status, why)) => Ok(Passed::Own(status, Unreached::NotAllowed, why)),
        }
    }

    fn stakes(&self, _: &Passed) -> Stakes {
        Stakes::default()
    }

    async fn has_session(&self, _: &Subject) -> bool {
        false
    }

    async fn expire_session(&self, _: &Subject) {}

    fn body_ceiling(&self, _: &Subject) -> u64 {
        u64::MAX
    }

    async fn commit(&self, passed: Passed, _: Effects) -> Result<Answer, End> {
        match passed {
            Passed::Answered(answered) => {
                let (head, incoming) = answered.into_parts();
                let tail = PassingReply::new(incoming, &head.headers, &self.keeping, &self.journal);
                let mut headers = Vec::with_capacity(head.headers.len());
                headers.extend(passed_on(&head.headers).iter().map(|(name, value)| (name.clone(), value.clone())));
                let reply = ReplyOut::new(head.status.as_u16(), headers, Bytes::new());
                Ok(Answer { reply, tail: Some(Box::pin(tail)), accepted: true, receipt: None })
            }
            Passed::Own(status, why, text) => {
                tracing::warn!(?why, "{text}");
                let plain = HeaderValue::from_static("text/plain; charset=utf-8");
                let reply = ReplyOut::new(status, vec![(header::CONTENT_TYPE, plain)], format!("vod-proxy: {text}\n"));
                Ok(Answer { reply: reply.of_a_proxy(why), tail: None, accepted: false, receipt: None })
            }
            Passed::Ended(end) => Err(end),
        }
    }

    fn dress(&self, _: &Head, _: &mut ReplyOut) {}

    fn is_aside(&self, _: &str) -> bool {
        false
    }

    async fn aside(&self, _: Request<Incoming>) -> Response<AsideBody> {
        let nothing = http_body_util::Empty::new().map_err(|never| match never {}).boxed_unsync();
        Response::new(nothing)
    }
}

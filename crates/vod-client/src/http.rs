//! One request over HTTP/1.1, and what came of it. Nothing is retried here.
//!
//! - `http/dial.rs`: connections through proxies and over TLS, on top of any transport.
//! - `http/shared.rs`: connections that uploads have in common.

mod dial;
mod shared;

use std::{
    convert::Infallible,
    error::Error as StdError,
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use ::http::{HeaderValue, Method, Response, StatusCode, Uri, header, uri::Scheme};
use bytes::{Buf as _, Bytes, BytesMut};
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use hyper_util::{
    client::legacy::{self, Client, connect::Connection},
    rt::{TokioExecutor, TokioTimer},
};
use tokio_rustls::TlsConnector;
use tower_service::Service;
use vod_proto::{Action, reply::Reply};

use self::dial::Dial;
pub(crate) use self::shared::Shared;
use crate::{
    clock::Stopwatch,
    connection::{Headers, Proxy},
    core::{Delivery, Trouble},
    error::{ConfigError, Failure, TransportError},
    uploader::{Endpoint, Options},
};

/// A part's bytes are handed to the transport in frames of at most this, which is the watchdog's resolution.
const FRAME: usize = 64 * 1024;

/// How much a connection buffers before it asks for more. Small, because what lies here counts as accepted: the
/// watchdog would take the silence while a slow link drains a large buffer for a stall.
const CONNECTION_BUFFER: usize = 64 * 1024;

/// The longest reply that is read. A list of a million parts, the most there may be, is longer; but a hundred thousand
/// (100 GB in the documented grid) take a fifth of this.
const REPLY_MAX: usize = 64 << 20;

type BoxError = Box<dyn StdError + Send + Sync>;

/// What opens connections: hyper-util's `HttpConnector`, or one that a test or a simulation brings.
///
/// Implemented by every service from [`Uri`] to a connection, so nobody implements it by hand.
pub trait Connect:
    Service<
        Uri,
        Response: hyper::rt::Read + hyper::rt::Write + Connection + Unpin + Send + 'static,
        Error: Into<BoxError>,
        Future: Send + 'static,
    > + Clone
    + Send
    + Sync
    + 'static
{
}

impl<C> Connect for C where
    C: Service<
            Uri,
            Response: hyper::rt::Read + hyper::rt::Write + Connection + Unpin + Send + 'static,
            Error: Into<BoxError>,
            Future: Send + 'static,
        > + Clone
        + Send
        + Sync
        + 'static
{
}

/// A request, signed and ready.
pub(crate) struct Outgoing {
    pub(crate) action: Action,
    pub(crate) method: Method,
    pub(crate) uri: Uri,
    pub(crate) body: Bytes,
}

/// Sends requests to one server.
pub(crate) struct Http<C> {
    client: Client<Timed<Dial<C>>, PartBody>,
    stall: Duration,
    headers: Headers,
    proxy: Option<Proxy>,
    /// For a proxy that is handed each request; one that opens a tunnel is told when it does.
    authorization: Option<HeaderValue>,
}

impl<C: Connect> Http<C> {
    /// A client with connections of its own. Nothing is sent yet.
    ///
    /// # Errors
    /// If the proxy is none, or nobody is known whose certificates could be trusted.
    pub(crate) fn new(connector: C, endpoint: &Endpoint, options: &Options) -> Result<Self, ConfigError> {
        let server = endpoint.uri("/");
        let proxy = options.proxies.to(&server)?;
        let secure = |uri: &Uri| uri.scheme() == Some(&Scheme::HTTPS);
        let tls = if secure(&server) || proxy.as_ref().is_some_and(|proxy| secure(&proxy.uri)) {
            Some(TlsConnector::from(options.trust.config()?))
        } else {
            None
        };
        let authorization = proxy.as_ref().filter(|_| !secure(&server)).and_then(|proxy| proxy.authorization.clone());
        let connector = Dial::new(connector, tls, proxy.clone());
        let client = Client::builder(TokioExecutor::new())
            // Whether a request may be sent again is decided in one place, and that is not the pool. But one that met a
            // kept connection whose server had left meanwhile was not sent, not a byte of it: it takes the next
            // connection, and no attempt was made.
            .retry_canceled_requests(true)
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(options.pool_idle_timeout)
            .http1_max_buf_size(CONNECTION_BUFFER)
            .build(Timed { connector, timeout: options.connect_timeout });
        Ok(Self { client, stall: options.stall_timeout, headers: options.headers.clone(), proxy, authorization })
    }

    /// Sends one request once. Also tells how many bytes of its body the transport took.
    pub(crate) async fn send(&self, outgoing: Outgoing) -> (Result<Reply, Trouble>, u64) {
        let Outgoing { action, method, uri, body } = outgoing;
        let progress = Arc::new(Progress::start());
        let mut request = ::http::Request::builder()
            .method(method)
            .uri(uri)
            .header(header::USER_AGENT, concat!("vod-client/", env!("CARGO_PKG_VERSION")));
        if action.role().has_body() {
            request = request.header(header::CONTENT_TYPE, "application/octet-stream");
        }
        let body = PartBody { rest: body, progress: Arc::clone(&progress) };
        let mut request = request.body(body).expect("a method, a URI and constant headers make a request");
        self.headers.put(request.headers_mut());
        if let Some(authorization) = &self.authorization {
            request.headers_mut().insert(header::PROXY_AUTHORIZATION, authorization.clone());
        }
        let exchange = async {
            let response = self.client.request(request).await.map_err(|error| trouble_of_client(&error))?;
            progress.note(0);
            match &self.proxy {
                Some(proxy) if response.status() == StatusCode::PROXY_AUTHENTICATION_REQUIRED => {
                    Err(not_acted_on(dial::turned_away(proxy)))
                }
                _ => read_reply(action, response, &progress).await,
            }
        };
        let result = watch(exchange, &progress, self.stall).await;
        (result, progress.bytes.load(Ordering::Relaxed))
    }
}

/// Ends an exchange in which nothing moves.
async fn watch(
    exchange: impl Future<Output = Result<Reply, Trouble>>,
    progress: &Progress,
    stall: Duration,
) -> Result<Reply, Trouble> {
    let mut exchange = std::pin::pin!(exchange);
    loop {
        let last = progress.last();
        let stalled_at = progress.since.at(last + stall);
        tokio::select! {
            biased;
            result = &mut exchange => return result,
            () = tokio::time::sleep_until(stalled_at) => {
                if progress.last() == last {
                    return Err(maybe_acted_on(Failure::Transport(TransportError::Stalled(stall))));
                }
            }
        }
    }
}

/// What has moved, in either direction.
struct Progress {
    since: Stopwatch,
    /// Microseconds after `since` at which something last moved.
    last: AtomicU64,
    /// Bytes of the body that the transport has taken.
    bytes: AtomicU64,
}

impl Progress {
    fn start() -> Self {
        Self { since: Stopwatch::start(), last: AtomicU64::new(0), bytes: AtomicU64::new(0) }
    }

    fn note(&self, bytes: usize) {
        let now = u64::try_from(self.since.elapsed().as_micros()).unwrap_or(u64::MAX);
        #[cfg(feature = "mutants")]
        let now = crate::mutant::moved_at(now);
        self.last.store(now, Ordering::Relaxed);
        self.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    fn last(&self) -> Duration {
        Duration::from_micros(self.last.load(Ordering::Relaxed))
    }
}

/// A body that is handed out in frames as the transport takes them.
struct PartBody {
    rest: Bytes,
    progress: Arc<Progress>,
}

impl Body for PartBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if !self.rest.has_remaining() {
            return Poll::Ready(None);
        }
        let len = FRAME.min(self.rest.len());
        let frame = self.rest.split_to(len);
        self.progress.note(len);
        Poll::Ready(Some(Ok(Frame::data(frame))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.rest.len() as u64)
    }
}

async fn read_reply(action: Action, response: Response<Incoming>, progress: &Progress) -> Result<Reply, Trouble> {
    let (head, mut body) = response.into_parts();
    let status = head.status;
    if status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS {
        // The connection stays usable only if the rest is read, which is not worth a long wait: it is dropped.
        let delivery = match status {
            StatusCode::TOO_MANY_REQUESTS => Delivery::NotActedOn,
            _ => Delivery::MaybeActedOn,
        };
        let failure = Failure::Transport(TransportError::Status(status.as_u16()));
        return Err(Trouble { failure, delivery, retry_after: retry_after(&head.headers) });
    }
    let mut text = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| trouble_of_chain(&error))?;
        progress.note(0);
        if let Some(data) = frame.data_ref() {
            if text.len() + data.len() > REPLY_MAX {
                let why = format!("it is longer than {REPLY_MAX} bytes");
                return Err(maybe_acted_on(Failure::Malformed(why)));
            }
            text.extend_from_slice(data);
        }
    }
    let text = String::from_utf8_lossy(&text);
    match Reply::parse(action, &text) {
        Ok(parsed) => {
            if !parsed.unknown_fields.is_empty() {
                tracing::debug!(%action, fields = ?parsed.unknown_fields, "the reply has fields that nobody knows");
            }
            Ok(parsed.reply)
        }
        // What has no reply of the protocol in it is best described by its status, unless that says all is well.
        Err(_) if !status.is_success() => {
            let trouble = maybe_acted_on(Failure::Transport(TransportError::Status(status.as_u16())));
            Err(Trouble { retry_after: retry_after(&head.headers), ..trouble })
        }
        Err(malformed) => Err(maybe_acted_on(malformed.into())),
    }
}

fn retry_after(headers: &::http::HeaderMap) -> Option<Duration> {
    let seconds = headers.get(header::RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds))
}

const fn maybe_acted_on(failure: Failure) -> Trouble {
    Trouble { failure, delivery: Delivery::MaybeActedOn, retry_after: None }
}

fn not_acted_on(failure: impl Into<Failure>) -> Trouble {
    Trouble { failure: failure.into(), delivery: Delivery::NotActedOn, retry_after: None }
}

fn trouble_of_client(error: &legacy::Error) -> Trouble {
    if error.is_connect() {
        if let Some(error) = config_error(error) {
            return not_acted_on(error);
        }
        return not_acted_on(TransportError::Connect(innermost(error)));
    }
    trouble_of_chain(error)
}

/// Reads an error by the causes in it that are known by type.
fn trouble_of_chain(error: &(dyn StdError + 'static)) -> Trouble {
    for cause in std::iter::successors(Some(error), |cause| (*cause).source()) {
        if let Some(error) = cause.downcast_ref::<io::Error>() {
            match error.kind() {
                io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionAborted => {
                    return maybe_acted_on(Failure::Transport(TransportError::Reset));
                }
                io::ErrorKind::UnexpectedEof => return maybe_acted_on(Failure::Transport(TransportError::Closed)),
                _ => {}
            }
        }
        if let Some(error) = cause.downcast_ref::<hyper::Error>() {
            // Hyper says this only of requests of which it has not written a byte.
            if error.is_canceled() {
                return not_acted_on(TransportError::NotSent);
            }
            if error.is_incomplete_message() {
                return maybe_acted_on(Failure::Transport(TransportError::Closed));
            }
            if error.is_parse() {
                return maybe_acted_on(Failure::Malformed(format!("not HTTP: {}", innermost(error))));
            }
        }
    }
    maybe_acted_on(Failure::Transport(TransportError::Broken(innermost(error))))
}

/// What the caller must mend, if that is why there is no connection.
fn config_error(error: &(dyn StdError + 'static)) -> Option<ConfigError> {
    std::iter::successors(Some(error), |cause| (*cause).source()).find_map(|cause| cause.downcast_ref()).cloned()
}

fn innermost(error: &(dyn StdError + 'static)) -> String {
    let last = std::iter::successors(Some(error), |cause| (*cause).source()).last();
    let text = last.unwrap_or(error).to_string();
    text.split(" (os error").next().unwrap_or_default().to_lowercase()
}

/// Bounds the time that a connection may take, whatever opens it; proxy and handshakes included.
#[derive(Clone)]
struct Timed<C> {
    connector: C,
    timeout: Duration,
}

impl<C: Connect> Service<Uri> for Timed<C> {
    type Response = C::Response;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<C::Response, BoxError>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.connector.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let (connecting, timeout) = (self.connector.call(uri), self.timeout);
        Box::pin(async move {
            match tokio::time::timeout(timeout, connecting).await {
                Ok(connected) => connected.map_err(Into::into),
                Err(_) => Err(format!("no answer in {} s", timeout.as_secs_f64()).into()),
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_body_goes_out_in_small_frames_that_are_counted() {
        let progress = Arc::new(Progress::start());
        let mut body = PartBody { rest: Bytes::from(vec![7; FRAME + 1]), progress: Arc::clone(&progress) };
        assert_eq!(body.size_hint().exact(), Some(65_537), "so that a Content-Length is sent");
        let mut lens = Vec::new();
        while let Some(frame) = body.frame().await {
            lens.push(frame.unwrap().into_data().unwrap().len());
        }
        assert_eq!(lens, [FRAME, 1]);
        assert_eq!(progress.bytes.load(Ordering::Relaxed), 65_537);
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_exchange_goes_on_and_a_stalled_one_is_ended() {
        let stall = Duration::from_secs(30);
        let progress = Progress::start();
        let slow = async {
            for _ in 0..10 {
                tokio::time::sleep(Duration::from_secs(29)).await;
                progress.note(1);
            }
            Ok(Reply::Part)
        };
        assert_eq!(watch(slow, &progress, stall).await, Ok(Reply::Part), "290 s, but never 30 without a byte");

        let progress = Progress::start();
        let stalled = async {
            tokio::time::sleep(Duration::from_secs(10)).await;
            progress.note(1);
            std::future::pending().await
        };
        let trouble = watch(stalled, &progress, stall).await.unwrap_err();
        assert_eq!(trouble.delivery, Delivery::MaybeActedOn);
        assert_eq!(progress.since.elapsed().as_secs(), 40, "30 s after the last byte, not after the start");
    }
}

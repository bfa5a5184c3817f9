//! The servers that requests are passed on to: connections to them, kept and used again, and what goes wrong on the way.
//!
//! - [`Origin`]: which server; `trust`: whose certificates are believed.
//! - `feed`: the body of a request, as it goes on; `trouble`: what an error says of how it ended.

mod feed;
mod origin;
mod trouble;
mod trust;

use std::{
    error::Error as StdError,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use http::{Request, Response, Uri};
use hyper::body::Incoming;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{
        Client,
        connect::{Connection, HttpConnector},
    },
    rt::{TokioExecutor, TokioTimer},
};
use tokio_rustls::rustls::ClientConfig;
use tower_service::Service;

pub(crate) use feed::{Feed, Feeder, NotTaken};
pub use origin::{BadOrigin, Origin};
pub(crate) use trouble::{Trouble, broken_by};
#[cfg(test)]
pub(crate) use trust::trust;
pub use trust::{TrustError, trust_file, trust_nobody, trust_system};

/// How long a connection may take to be made, name, handshake and all. Default 10 s: on a bad line it takes a second or two.
pub const CONNECT_WITHIN: Duration = Duration::from_secs(10);

/// How long a connection that nobody uses is kept. Default 4 s: many servers close theirs after 5, and a request that crosses
/// such a close on its way is lost without a word.
const IDLE: Duration = Duration::from_secs(4);

/// How much of a reply a connection reads ahead of its client. Default 128 KiB: memory stays small with many connections.
const READ_AHEAD: usize = 128 << 10;

/// The kernel's send buffer for each connection, in bytes; systems may allow less. Default 1 MiB, a part as most clients cut it, so
/// that one fits in while the next is read. More would be hidden from the client, which could not tell a server that takes little
/// from one that takes nothing; with less, and with what the kernel finds by itself, a third fewer parts are passed on.
const SEND_BUFFER: usize = 1 << 20;

pub(crate) type BoxError = Box<dyn StdError + Send + Sync>;

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

/// Connections over TCP, as the system resolves names.
#[must_use]
pub fn tcp() -> HttpConnector {
    let mut connector = HttpConnector::new();
    // Requests are awaited, and TLS is spoken above this.
    connector.set_nodelay(true);
    connector.set_send_buffer_size(Some(SEND_BUFFER));
    connector.enforce_http(false);
    connector
}

/// Sends requests on.
pub struct Upstream<C> {
    client: Client<Timed<HttpsConnector<C>>, Feed>,
}

impl<C: Connect> Upstream<C> {
    /// Nothing is connected to yet. `tls` says whose certificates are believed; see [`trust_system`] and [`trust_file`].
    #[must_use]
    pub fn new(connector: C, tls: ClientConfig) -> Self {
        let connector =
            HttpsConnectorBuilder::new().with_tls_config(tls).https_or_http().enable_http1().wrap_connector(connector);
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE)
            .http1_max_buf_size(READ_AHEAD)
            .set_host(false)
            .build(Timed(connector));
        Self { client }
    }

    /// Sends one request on, once, and waits for the head of its reply. Dropped, it ends the connection.
    pub(crate) async fn send(&self, request: Request<Feed>) -> Result<Response<Incoming>, Trouble> {
        self.client.request(request).await.map_err(|error| Trouble::of(&error))
    }
}

/// It took too long to connect.
#[derive(Debug, thiserror::Error)]
#[error("no connection within {} s", CONNECT_WITHIN.as_secs())]
pub(crate) struct TooLate;

/// Bounds the time that a connection may take, whatever opens it, handshakes included.
#[derive(Clone)]
struct Timed<C>(C);

impl<C> Service<Uri> for Timed<C>
where
    C: Service<Uri, Error: Into<BoxError>, Future: Send + 'static>,
{
    type Response = C::Response;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<C::Response, BoxError>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.0.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let connecting = self.0.call(uri);
        Box::pin(async move {
            match tokio::time::timeout(CONNECT_WITHIN, connecting).await {
                Ok(connected) => connected.map_err(Into::into),
                Err(_) => Err(TooLate.into()),
            }
        })
    }
}

//! Takes connections and leads each request through its phases:
//! before-read, mid-body, before-commit, after-commit, mid-reply.

use std::{convert::Infallible, pin::Pin, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::Either;
use hyper::{body::Incoming, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    sync::{mpsc, oneshot},
    task::JoinSet,
};
use vod_proto::exchange::End;

use crate::{
    Answer, Cut, Engine, Head, Host, Journal, Killer, Listener, ReplyOut, Stakes, Transport, WallClock,
    body::{Body, BodyError},
    fault::Phase,
    host::AsideBody,
    journal::Open,
    reply_body::ReplyBody,
    rim::{Rim, SETTLED_WITHIN, cut},
    transport::{Line, LineHandle},
};

/// How long a connection may wait for the head of its next request.
/// Default 75 s: above the idle time after which HTTP clients drop their connections themselves.
const HEAD_TIMEOUT: Duration = Duration::from_secs(75);

/// How long to wait after a connection could not be accepted, as when the process is out of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// A fault plan that this server cannot carry out.
#[derive(Debug, thiserror::Error)]
#[error("the fault plan has a fault that kills, but nobody here can kill")]
pub struct NoKiller;

/// A server: a host's mind on the rim.
pub struct Server<H> {
    host: Arc<H>,
    rim: Arc<Rim>,
}

impl<H: Host> Server<H> {
    /// A server. It takes no connection until [`run`](Self::run) or [`connection`](Self::connection) is called.
    ///
    /// `body_ceiling` is how many bytes of one body are read at most.
    ///
    /// # Errors
    /// If the plan kills and there is no `killer`.
    pub fn new(
        host: Arc<H>,
        engine: Arc<Engine>,
        journal: Arc<Journal>,
        clock: WallClock,
        killer: Option<Arc<dyn Killer>>,
        body_ceiling: u64,
    ) -> Result<Self, NoKiller> {
        if killer.is_none() && engine.kills() {
            return Err(NoKiller);
        }
        Ok(Self { host, rim: Arc::new(Rim::new(engine, journal, clock, killer, body_ceiling)) })
    }

    /// Takes connections for as long as it is polled. Dropping it drops every connection with it.
    pub async fn run<L: Listener>(&self, mut listener: L) -> Infallible {
        let mut connections = JoinSet::new();
        loop {
            tokio::select! {
                biased;
                Some(_) = connections.join_next() => {}
                accepted = listener.accept() => match accepted {
                    Ok(transport) => {
                        connections.spawn(self.connection(transport));
                    }
                    Err(error) => {
                        tracing::warn!(%error, "a connection could not be accepted");
                        tokio::time::sleep(ACCEPT_PAUSE).await;
                    }
                },
            }
        }
    }

    /// Waits until what is handed over to connections is out, a second at most: a client may have its answer before
    /// this server knows it. Call it before [`stop`](Self::stop), while [`run`](Self::run) is still polled.
    pub async fn settled(&self) {
        // Whoever does not read for a second is not waited for: that is for those to tell who stay.
        let _ = tokio::time::timeout(SETTLED_WITHIN, self.rim.journal().settled()).await;
    }

    /// Ends every exchange that is under way, as closed by this server. Call it before dropping [`run`](Self::run).
    pub fn stop(&self) {
        self.rim.journal().stop();
    }

    /// Serves one connection to its end.
    pub fn connection<T: Transport>(&self, transport: T) -> impl Future<Output = ()> + Send + use<T, H> {
        let (host, rim) = (Arc::clone(&self.host), Arc::clone(&self.rim));
        async move {
            let secure = transport.is_secure();
            let (line, handle) = Line::new(transport);
            let (commits, mut begun) = mpsc::unbounded_channel::<Commit>();
            let service = service_fn(move |request| {
                let (host, rim, line) = (Arc::clone(&host), Arc::clone(&rim), Arc::clone(&handle));
                let commits = commits.clone();
                async move { request_through(host, rim, Arrival { line, secure }, commits, request).await }
            });
            let connection = hyper::server::conn::http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(HEAD_TIMEOUT)
                .auto_date_header(false)
                .serve_connection(TokioIo::new(line), service);
            // Boxed: the compiler cannot yet see through hyper's generics that the error converts for every lifetime.
            let connection: Pin<Box<dyn Future<Output = hyper::Result<()>> + Send>> = Box::pin(connection);
            let served = async move {
                match connection.await {
                    // Nobody else hears of a request that is not HTTP: it has no head to journal.
                    Err(error) if error.is_parse() => tracing::warn!(%error, "a request that is not HTTP was refused"),
                    Err(error) => tracing::debug!(%error, "a connection ended"),
                    Ok(()) => {}
                }
            };
            // Hyper drops a request whose client is gone, wherever it stands. A commit must not end half way, so it
            // is carried out beside the connection, and outlives it if need be; both end with the task they share.
            let committed = async move {
                while let Some(commit) = begun.recv().await {
                    commit.await;
                }
            };
            futures_util::future::join(served, committed).await;
        }
    }
}

/// A commit that is carried out beside its connection.
type Commit = Pin<Box<dyn Future<Output = ()> + Send>>;

/// What a request came over.
struct Arrival {
    line: Arc<LineHandle>,
    secure: bool,
}

type OutBody = Either<ReplyBody, AsideBody>;

/// Leads one request through its phases.
async fn request_through<H: Host>(
    host: Arc<H>,
    rim: Arc<Rim>,
    arrival: Arrival,
    commits: mpsc::UnboundedSender<Commit>,
    request: Request<Incoming>,
) -> Result<Response<OutBody>, Cut> {
    if host.is_aside(request.uri().path()) {
        return Ok(host.aside(request).await.map(Either::Right));
    }
    let start = rim.clock().now();
    let head = Head::of(&request, arrival.secure);
    let subject = host.subject(&head).await;
    let open = rim.journal().open(&head, subject, start, arrival.line);
    rim.admit(&open).await?;

    let before_read = rim.strike(Phase::BeforeRead, &open, Stakes::default()).await?;
    let mut body = Body::new(request.into_body(), Arc::clone(&open), Arc::clone(&rim));
    let read = async {
        let decided = match before_read.reply {
            None => Decided::ByHost(host.read(&head, open.subject(), &mut body).await?),
            Some(reply) => Decided::ByFault(reply),
        };
        match body.drain().await {
            // A body without end is no reason to withhold an answer that is decided: the connection ends after it.
            Ok(()) | Err(BodyError::TooLong(_)) => Ok(decided),
            Err(error) => Err(error),
        }
    };
    let decided = match read.await {
        Ok(decided) => decided,
        Err(BodyError::Cut(cut)) => return Err(cut),
        Err(BodyError::Timeout) => return Err(cut(&open, End::Timeout)),
        Err(BodyError::TooLong(_)) => return Err(cut(&open, End::Closed)),
        Err(BodyError::ClientGone) => {
            open.client_gone();
            return Err(Cut::of(End::ClientGone { after: body.len() }));
        }
    };
    open.body_done(body.mark());

    let mut reply = match decided {
        Decided::ByFault(reply) => reply,
        Decided::ByHost(staged) => settle(Arc::clone(&host), &rim, &open, &commits, staged).await?,
    };
    host.dress(&head, &mut reply);
    open.reply(reply.record());
    Ok(response(reply, head.method == Method::HEAD.as_str(), open, rim))
}

/// What a request came to, once its body was read.
enum Decided<S> {
    /// It is answered as a fault wants.
    ByFault(ReplyOut),
    /// It waits to be committed.
    ByHost(S),
}

/// Commits what was read, with what strikes before and after it, and says what to answer.
async fn settle<H: Host>(
    host: Arc<H>,
    rim: &Rim,
    open: &Arc<Open>,
    commits: &mpsc::UnboundedSender<Commit>,
    staged: H::Staged,
) -> Result<ReplyOut, Cut> {
    let before = rim.strike(Phase::BeforeCommit, open, host.stakes(&staged)).await?;
    if let Some(reply) = before.reply {
        return Ok(reply);
    }
    let (done, answered) = oneshot::channel();
    let commit: Commit = Box::pin(async move {
        // Nobody waits for the answer if the client is gone.
        let _ = done.send(host.commit(staged, before.effects).await);
    });
    // Either fails only if the connection's task is being dropped, and this request with it.
    commits.send(commit).map_err(|_| Cut::of(End::Closed))?;
    let Answer { reply, accepted } = answered.await.map_err(|_| Cut::of(End::Closed))?;
    if !accepted {
        return Ok(reply);
    }
    let after = rim.strike(Phase::AfterCommit, open, Stakes::default()).await?;
    Ok(after.reply.unwrap_or(reply))
}

fn response(reply: ReplyOut, silent: bool, open: Arc<Open>, rim: Arc<Rim>) -> Response<OutBody> {
    let mut response = Response::new(Either::Left(ReplyBody::new(Bytes::from(reply.body), silent, open, rim)));
    *response.status_mut() = StatusCode::from_u16(reply.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    for (name, value) in reply.headers {
        if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::try_from(value)) {
            response.headers_mut().append(name, value);
        }
    }
    response
}

//! Takes connections and leads each request through its phases:
//! before-read, mid-body, before-commit, after-commit, mid-reply.

use std::{
    collections::VecDeque,
    convert::Infallible,
    future::{pending, poll_fn},
    pin::{Pin, pin},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use futures_util::future::{FusedFuture as _, FutureExt as _};

use http::{Method, Request, Response, StatusCode, header};
use http_body::Body as _;
use http_body_util::Either;
use hyper::{body::Incoming, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::{sync::oneshot, task::JoinSet, time::Instant};
use vod_proto::exchange::End;

use crate::{
    Answer, Cut, Effects, Engine, Head, Host, Journal, Killer, Listener, ReplyOut, Stakes, Transport, WallClock, aside,
    body::{Body, BodyError},
    clock::instant,
    door::Shut,
    fault::{Instead, Phase},
    journal::{Open, Writer},
    message::{Behind, host_name},
    reply_body::ReplyBody,
    rim::{Rim, SETTLED_WITHIN, cut},
    traffic::Traffic,
    transport::{Line, LineHandle},
};

/// How long a connection may wait for the head of its next request.
/// Default 75 s: above the idle time after which HTTP clients drop their connections themselves.
pub(crate) const HEAD_TIMEOUT: Duration = Duration::from_secs(75);

/// How long to wait after a connection could not be accepted, as when the process is out of file descriptors.
pub(crate) const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// A server: a host's mind on the rim.
pub struct Server<H> {
    host: Arc<H>,
    rim: Arc<Rim>,
}

impl<H: Host> Server<H> {
    /// A server. It takes no connection until [`run`](Self::run) or [`connection`](Self::connection) is called.
    ///
    /// The engine's powers must say truly whether there is a `killer`, or a plan waits for a kill that nobody does.
    /// What comes in that no exchange tells of is counted as `traffic`.
    #[must_use]
    pub fn new(
        host: Arc<H>,
        engine: Arc<Engine>,
        journal: Arc<Journal>,
        clock: WallClock,
        killer: Option<Arc<dyn Killer>>,
        traffic: Arc<Traffic>,
    ) -> Self {
        journal.begin();
        Self { host, rim: Arc::new(Rim::new(engine, journal, clock, killer, traffic)) }
    }

    pub(crate) const fn host(&self) -> &Arc<H> {
        &self.host
    }

    pub(crate) const fn rim(&self) -> &Arc<Rim> {
        &self.rim
    }

    /// Another host's mind on the same rim: its faults, its journal, its clock.
    #[must_use]
    pub fn with(&self, host: Arc<H>) -> Self {
        Self { host, rim: Arc::clone(&self.rim) }
    }

    /// Takes connections for as long as it is polled. Dropping it drops every connection with it.
    pub async fn run<L: Listener>(&self, listener: L) -> Infallible {
        self.run_with(listener, |transport| self.connection(transport)).await
    }

    /// The same, where connections begin otherwise than with a request: `serve` makes of each what
    /// [`connection`](Self::connection) serves.
    pub async fn run_with<L: Listener, F>(&self, mut listener: L, serve: impl Fn(L::Io) -> F) -> Infallible
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let mut connections = JoinSet::new();
        let mut asked = self.rim.door().keep();
        let mut shut_until = None;
        loop {
            tokio::select! {
                biased;
                Some(_) = connections.join_next() => {}
                Some(Shut { time, done }) = asked.recv() => {
                    match listener.shut() {
                        Ok(()) => shut_until = shut_until.max(instant().checked_add(time)),
                        Err(error) => tracing::error!(%error, "connections cannot be refused"),
                    }
                    // Whoever asked may be gone.
                    let _ = done.send(());
                }
                () = until(shut_until), if shut_until.is_some() => match listener.open() {
                    Ok(()) => shut_until = None,
                    Err(error) => {
                        tracing::error!(%error, "no connection can be taken again yet");
                        shut_until = instant().checked_add(ACCEPT_PAUSE);
                    }
                },
                accepted = listener.accept(), if shut_until.is_none() => match accepted {
                    Ok(transport) => {
                        connections.spawn(serve(transport));
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

    /// What came in so far that no exchange tells of.
    #[must_use]
    pub fn traffic(&self) -> &Traffic {
        self.rim.traffic()
    }

    /// Ends every exchange that is under way, as closed by this server. Call it before dropping [`run`](Self::run).
    pub fn stop(&self) {
        self.rim.stop();
    }

    /// Serves one connection to its end.
    pub fn connection<T: Transport>(&self, transport: T) -> impl Future<Output = ()> + Send + use<T, H> {
        let (host, rim) = (Arc::clone(&self.host), Arc::clone(&self.rim));
        async move {
            let traffic = Arc::clone(rim.traffic());
            let _counted = traffic.connection();
            let secure = transport.is_secure();
            let (line, handle) = Line::new(transport);
            let silent = head_missing(Arc::clone(&handle));
            let writer = rim.journal().writer(handle);
            let shared = Arc::new(Shared { host, rim: Arc::clone(&rim), writer, secure });
            let beside = Beside::default();
            let served = async {
                let service = service_fn(|request| request_through(&shared, &beside, request));
                let connection = hyper::server::conn::http1::Builder::new()
                    // Hyper's own timer is set anew for every head; a connection here has one.
                    .header_read_timeout(None)
                    .auto_date_header(false)
                    // Replies are short: one piece of memory is written faster than two.
                    .writev(false)
                    .serve_connection(TokioIo::new(line), service);
                // Boxed: the compiler cannot yet see through hyper's generics that the error converts for every
                // lifetime.
                let connection: Pin<Box<dyn Future<Output = hyper::Result<()>> + Send + '_>> = Box::pin(connection);
                let ended = tokio::select! {
                    biased;
                    ended = connection => ended,
                    () = silent => return tracing::debug!("a connection brought no head in time"),
                };
                match ended {
                    // Nobody else hears of a request that is not HTTP: it has no head to journal.
                    Err(error) if error.is_parse() => {
                        rim.traffic().not_http.fetch_add(1, Ordering::Relaxed);
                        tracing::warn!(%error, "a request that is not HTTP was refused");
                    }
                    Err(error) => tracing::debug!(%error, "a connection ended"),
                    Ok(()) => {}
                }
            };
            // Hyper drops a request whose client is gone, wherever it stands. A commit must not end half way, so it
            // is carried out beside the connection, and outlives it if need be; both end with the task they share.
            let mut served = pin!(served.fuse());
            poll_fn(|cx| {
                let ended = served.is_terminated() || served.as_mut().poll(cx).is_ready();
                let carried_out = beside.poll(cx);
                if ended { carried_out } else { Poll::Pending }
            })
            .await;
        }
    }
}

/// Waits until the head of a request did not come in its time.
async fn head_missing(line: Arc<LineHandle>) {
    loop {
        let awaited = line.head_awaited();
        let Some(due) = awaited.unwrap_or_else(instant).checked_add(HEAD_TIMEOUT) else { return pending().await };
        if awaited.is_some() && due <= instant() {
            return;
        }
        tokio::time::sleep_until(due).await;
    }
}

async fn until(moment: Option<Instant>) {
    match moment {
        Some(moment) => tokio::time::sleep_until(moment).await,
        None => pending().await,
    }
}

/// A commit that is carried out beside its connection.
type Commit = Pin<Box<dyn Future<Output = ()> + Send>>;

/// What is carried out beside a connection, in its task: one after the other, by whoever polls it after the connection.
#[derive(Default)]
struct Beside {
    commits: Mutex<VecDeque<Commit>>,
    /// Is there any? Asked whenever the task is woken, so not behind the lock.
    any: AtomicBool,
}

impl Beside {
    fn begin(&self, commit: Commit) {
        self.commits.lock().unwrap_or_else(PoisonError::into_inner).push_back(commit);
        self.any.store(true, Ordering::Release);
    }

    /// Ready when there is nothing left to do.
    fn poll(&self, cx: &mut Context<'_>) -> Poll<()> {
        if !self.any.load(Ordering::Acquire) {
            return Poll::Ready(());
        }
        let mut commits = self.commits.lock().unwrap_or_else(PoisonError::into_inner);
        while let Some(commit) = commits.front_mut() {
            ready!(commit.as_mut().poll(cx));
            commits.pop_front();
        }
        self.any.store(false, Ordering::Release);
        Poll::Ready(())
    }
}

/// What the requests of one connection share: one count of users for all of it, that no other connection changes.
struct Shared<H> {
    host: Arc<H>,
    rim: Arc<Rim>,
    writer: Arc<Writer>,
    secure: bool,
}

type OutBody = Either<ReplyBody, aside::Answer>;

/// Leads one request through its phases.
async fn request_through<H: Host>(
    shared: &Arc<Shared<H>>,
    beside: &Beside,
    request: Request<Incoming>,
) -> Result<Response<OutBody>, Cut> {
    let Shared { host, rim, writer, secure } = &**shared;
    writer.line().head_came();
    if host.is_aside(request.uri().path()) {
        let line = Arc::clone(writer.line());
        return Ok(rim.asides().answer(&**host, line, request).await.map(Either::Right));
    }
    let start = rim.clock().now();
    let (parts, incoming) = request.into_parts();
    let head = Head::of(parts, *secure);
    let (mut subject, caller) = host.subject(&head).await;
    if !rim.is_idle() {
        subject.host = Some(host_name(&head.host()).into());
    }
    let open = writer.open(&head, subject, start, || host.is_known(&caller));
    rim.admit(&open).await?;

    let stakes = at_stake(&**host, rim, Phase::BeforeRead, &open, Stakes::default()).await;
    let before_read = rim.strike(Phase::BeforeRead, &open, stakes).await?;
    if before_read.expire_session {
        host.expire_session(open.subject()).await;
    }
    // Most requests have none: nobody needs to know how long it might have been.
    let ceiling = if incoming.is_end_stream() { 0 } else { host.body_ceiling(open.subject()) };
    let mut body = Body::new(incoming, Arc::clone(&open), rim, ceiling);
    let read = async {
        let decided = match before_read.instead {
            None => Decided::ByHost(host.read(&head, caller, &mut body).await?),
            Some(instead) => Decided::ByFault(instead),
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

    let (mut reply, behind) = match decided {
        Decided::ByFault(instead) => (put(instead, None, &open)?, Behind::default()),
        Decided::ByHost(staged) => settle(shared, &open, beside, staged).await?,
    };
    host.dress(&head, &mut reply);
    open.reply(&reply);
    Ok(response(reply, behind, head.method == Method::HEAD, open, rim).map(Either::Left))
}

/// What a request came to, once its body was read.
enum Decided<S> {
    /// It is answered as a fault wants.
    ByFault(Instead),
    /// It waits to be committed.
    ByHost(S),
}

/// Adds to what is at stake whether there is a session, where a fault could strike that needs to know.
async fn at_stake<H: Host>(host: &H, rim: &Rim, phase: Phase, open: &Open, stakes: Stakes) -> Stakes {
    let session = rim.asks(phase, open) && host.has_session(open.subject()).await;
    Stakes { session, ..stakes }
}

/// Puts what a fault wants in the place of the reply that was made, if one was.
fn put(instead: Instead, made: Option<ReplyOut>, open: &Open) -> Result<ReplyOut, Cut> {
    match (instead, made) {
        (Instead::Reply(reply), _) => Ok(reply),
        (Instead::First(len), Some(mut reply)) => {
            reply.truncate(len);
            Ok(reply)
        }
        (Instead::First(_), None) | (Instead::Nothing, _) => Err(cut(open, End::Closed)),
    }
}

/// Commits what was read, with what strikes before and after it, and says what to answer.
async fn settle<H: Host>(
    shared: &Arc<Shared<H>>,
    open: &Arc<Open>,
    beside: &Beside,
    staged: H::Staged,
) -> Result<(ReplyOut, Behind), Cut> {
    let Shared { host, rim, .. } = &**shared;
    let stakes = host.stakes(&staged);
    let stakes = at_stake(&**host, rim, Phase::BeforeCommit, open, stakes).await;
    let before = rim.strike(Phase::BeforeCommit, open, stakes).await?;
    if before.expire_session {
        host.expire_session(open.subject()).await;
    }
    if let Some(instead) = before.instead {
        return Ok((put(instead, None, open)?, Behind::default()));
    }
    let answer = commit(Arc::clone(shared), beside, staged, before.effects).await?;
    let Answer { reply, tail, accepted, receipt } = answer.map_err(|end| cut(open, end))?;
    let behind = Behind { tail, receipt };
    if !accepted {
        return Ok((reply, behind));
    }
    // Of a reply that comes bit by bit nobody knows yet which bytes it has.
    let stakes = Stakes { reply: behind.tail.is_none().then_some(reply.body().len() as u64), ..Stakes::default() };
    let stakes = at_stake(&**host, rim, Phase::AfterCommit, open, stakes).await;
    let after = rim.strike(Phase::AfterCommit, open, stakes).await?;
    if after.expire_session {
        host.expire_session(open.subject()).await;
    }
    match after.instead {
        Some(instead) => Ok((put(instead, Some(reply), open)?, Behind::default())),
        None => Ok((reply, behind)),
    }
}

/// Has a request committed, and waits for it. Once begun it is finished, whether anybody waits or not.
async fn commit<H: Host>(
    shared: Arc<Shared<H>>,
    beside: &Beside,
    staged: H::Staged,
    effects: Effects,
) -> Result<Result<Answer, End>, Cut> {
    let mut commit = Box::pin(async move { shared.host.commit(staged, effects).await });
    // Most commits wait for nothing: they are over before anybody could drop them.
    if let Poll::Ready(answer) = poll_fn(|cx| Poll::Ready(commit.as_mut().poll(cx))).await {
        return Ok(answer);
    }
    let (done, answered) = oneshot::channel();
    beside.begin(Box::pin(async move {
        // Nobody waits for the answer if the client is gone.
        let _ = done.send(commit.await);
    }));
    // It fails only if the connection's task is being dropped, and this request with it.
    answered.await.map_err(|_| Cut::of(End::Closed))
}

fn response(reply: ReplyOut, behind: Behind, silent: bool, open: Arc<Open>, rim: &Arc<Rim>) -> Response<ReplyBody> {
    let (status, headers, body) = reply.into_parts();
    let announced = headers.iter().find(|(name, _)| *name == header::CONTENT_LENGTH);
    let announced = announced.and_then(|(_, value)| value.to_str().ok()?.parse().ok());
    let mut response = Response::new(ReplyBody::new(body, announced, behind, silent, open, rim));
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    for (name, value) in headers {
        response.headers_mut().append(name, value);
    }
    response
}

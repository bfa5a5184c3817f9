//! Takes connections and leads each request through its phases:
//! before-read, mid-body, before-commit, after-commit, mid-reply.

use std::{convert::Infallible, pin::Pin, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::Either;
use hyper::{body::Incoming, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{sync::watch, task::JoinSet};
use vod_proto::{
    Code,
    exchange::End,
    reply::{Rejected, Reply},
};

use crate::{
    Effects, Engine, Head, Host, Journal, KillTarget, Killer, Listener, ReplyOut, Transport, WallClock,
    body::{Body, BodyError},
    fault::{HttpFault, Phase, ReplyFault, Strike, Verdict},
    host::AsideBody,
    journal::Open,
    reply_body::ReplyBody,
    transport::{Line, LineHandle},
};

/// How long a connection may wait for the head of its next request.
/// Default 75 s: above the idle time after which HTTP clients drop their connections themselves.
const HEAD_TIMEOUT: Duration = Duration::from_secs(75);

/// How long to wait after a connection could not be accepted, as when the process is out of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// The connection was ended by this server on purpose.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("the connection was cut: {0}")]
pub struct Cut(End);

/// A fault plan that this server cannot carry out.
#[derive(Debug, thiserror::Error)]
#[error("the fault plan has a fault that kills, but nobody here can kill")]
pub struct NoKiller;

/// What every connection of a server shares.
pub(crate) struct Rim {
    engine: Arc<Engine>,
    journal: Arc<Journal>,
    clock: WallClock,
    killer: Option<Arc<dyn Killer>>,
    pub(crate) body_ceiling: u64,
    /// Whoever is being killed at this moment gets no answer any more.
    condemned: watch::Sender<Vec<Condemned>>,
}

/// Whose exchanges are held back while a kill is carried out.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Condemned {
    /// Those of one account: its client is being killed.
    Account(Option<String>),
    /// All: this server is being killed.
    All,
}

impl Condemned {
    fn holds(&self, open: &Open) -> bool {
        match self {
            Self::Account(account) => open.subject().account == *account,
            Self::All => true,
        }
    }
}

/// What a fault changes in the course of an exchange that goes on.
#[derive(Default)]
pub(crate) struct Change {
    reply: Option<ReplyOut>,
    effects: Effects,
}

impl Rim {
    pub(crate) fn cut_point(&self, phase: Phase, open: &Open) -> Option<u64> {
        self.engine.cut_point(phase, open.subject(), open.attempt())
    }

    /// Lets the fault that fits strike, if there is one.
    pub(crate) async fn strike(&self, phase: Phase, open: &Arc<Open>) -> Result<Change, Cut> {
        let Some(strike) = self.engine.strike(phase, open.subject(), open.attempt()) else {
            return Ok(Change::default());
        };
        open.struck(phase, &strike);
        let Strike { id, verdict } = strike;
        tracing::debug!(fault = id, %phase, verdict = verdict.name(), "a fault strikes");
        let mut change = Change::default();
        match verdict {
            Verdict::Reply(reply) => change.reply = Some(injected_reply(&reply)),
            Verdict::Http(http) => change.reply = Some(injected_http(&http)),
            Verdict::Delay(delay) => tokio::time::sleep(delay).await,
            Verdict::DropPart => change.effects.drop_part = true,
            Verdict::Close => return Err(cut(open, End::Closed)),
            Verdict::Reset => return Err(cut(open, End::Reset)),
            Verdict::Kill(target) => {
                self.kill(target, &id, open).await;
                return Err(cut(open, End::Killed));
            }
        }
        Ok(change)
    }

    /// Holds everything back, has the victim killed, and lets its connections go.
    async fn kill(&self, target: KillTarget, fault: &str, open: &Open) {
        let condemned = match target {
            KillTarget::Mock => Condemned::All,
            KillTarget::Client => Condemned::Account(open.subject().account.clone()),
        };
        // First the word, then the list: an exchange that is not on the list yet will hear the word.
        self.condemned.send_modify(|all| all.push(condemned.clone()));
        let mut victims = self.journal.under_way();
        victims.retain(|other| condemned.holds(other));
        for victim in &victims {
            victim.line().freeze();
            victim.end(End::Killed);
        }
        if let Some(killer) = &self.killer {
            killer.kill(target, fault).await;
        }
        for victim in &victims {
            victim.line().close();
        }
        self.condemned.send_modify(|all| {
            if let Some(at) = all.iter().position(|other| *other == condemned) {
                all.remove(at);
            }
        });
    }

    /// Lets an exchange go on, unless it came from or to someone who is being killed.
    async fn admit(&self, open: &Open) -> Result<(), Cut> {
        let mut condemned = self.condemned.subscribe();
        let held = |all: &Vec<Condemned>| all.iter().any(|one| one.holds(open));
        if !held(&condemned.borrow_and_update()) {
            return Ok(());
        }
        open.line().freeze();
        open.end(End::Killed);
        // The sender is this rim itself, so it cannot be gone.
        let _ = condemned.wait_for(|all| !held(all)).await;
        open.line().close();
        Err(Cut(End::Killed))
    }
}

fn cut(open: &Open, end: End) -> Cut {
    open.end(end);
    if end == End::Reset {
        open.line().reset()
    } else {
        open.line().close()
    }
    Cut(end)
}

fn injected_reply(reply: &ReplyFault) -> ReplyOut {
    let rejected =
        Rejected { code: Code(reply.code), can_retry: Some(reply.can_retry), message: reply.message.clone() };
    ReplyOut::json(Reply::Rejected(rejected).to_json())
}

fn injected_http(http: &HttpFault) -> ReplyOut {
    let mut headers = vec![("content-type".to_owned(), "text/plain".to_owned())];
    if let Some(after) = http.retry_after {
        // The header counts whole seconds: a fraction is rounded up, since coming back sooner was not asked for.
        let seconds = after.as_secs() + u64::from(after.subsec_nanos() > 0);
        headers.push(("retry-after".to_owned(), seconds.to_string()));
    }
    ReplyOut { status: http.status, headers, body: format!("injected {}\n", http.status) }
}

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
        let condemned = watch::Sender::new(Vec::new());
        Ok(Self { host, rim: Arc::new(Rim { engine, journal, clock, killer, body_ceiling, condemned }) })
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

    /// Serves one connection to its end.
    pub fn connection<T: Transport>(&self, transport: T) -> impl Future<Output = ()> + Send + use<T, H> {
        let (host, rim) = (Arc::clone(&self.host), Arc::clone(&self.rim));
        async move {
            let (line, handle) = Line::new(transport);
            let service = service_fn(move |request| {
                let (host, rim, line) = (Arc::clone(&host), Arc::clone(&rim), Arc::clone(&handle));
                async move { request_through(&*host, rim, line, request).await }
            });
            let connection = hyper::server::conn::http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(HEAD_TIMEOUT)
                .auto_date_header(false)
                .serve_connection(TokioIo::new(line), service);
            // Boxed: the compiler cannot yet see through hyper's generics that the error converts for every lifetime.
            let connection: Pin<Box<dyn Future<Output = hyper::Result<()>> + Send>> = Box::pin(connection);
            if let Err(error) = connection.await {
                tracing::debug!(%error, "a connection ended");
            }
        }
    }
}

type OutBody = Either<ReplyBody, AsideBody>;

/// Leads one request through its phases.
async fn request_through<H: Host>(
    host: &H,
    rim: Arc<Rim>,
    line: Arc<LineHandle>,
    request: Request<Incoming>,
) -> Result<Response<OutBody>, Cut> {
    if host.is_aside(request.uri().path()) {
        return Ok(host.aside(request).await.map(Either::Right));
    }
    let start = rim.clock.now();
    let head = Head::of(&request);
    let subject = host.subject(&head).await;
    let open = rim.journal.open(&head, subject, start, line);
    rim.admit(&open).await?;

    let mut change = rim.strike(Phase::BeforeRead, &open).await?;
    let mut body = Body::new(request.into_body(), Arc::clone(&open), Arc::clone(&rim));
    let read = async {
        let staged = match change.reply {
            None => Some(host.read(&head, open.subject(), &mut body).await?),
            Some(_) => None,
        };
        match body.drain().await {
            // A body without end is no reason to withhold an answer that is decided: the connection ends after it.
            Ok(()) | Err(BodyError::TooLong(_)) => Ok(staged),
            Err(error) => Err(error),
        }
    };
    let staged = match read.await {
        Ok(staged) => staged,
        Err(BodyError::Cut(cut)) => return Err(cut),
        Err(BodyError::Timeout) => return Err(cut(&open, End::Timeout)),
        Err(BodyError::ClientGone | BodyError::TooLong(_)) => {
            open.client_gone();
            return Err(Cut(End::ClientGone { after: body.len() }));
        }
    };
    open.body_done(body.mark());

    if let Some(staged) = staged {
        change = rim.strike(Phase::BeforeCommit, &open).await?;
        if change.reply.is_none() {
            let reply = host.commit(staged, change.effects).await;
            change = rim.strike(Phase::AfterCommit, &open).await?;
            change.reply = change.reply.or(Some(reply));
        }
    }
    // Every way here has set a reply: a fault's, or the host's.
    let reply = change.reply.unwrap_or_else(|| ReplyOut::json(String::new()));
    open.reply(reply.record());
    Ok(response(reply, head.method == Method::HEAD.as_str(), open, rim))
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

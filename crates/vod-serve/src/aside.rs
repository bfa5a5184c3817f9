//! What a server answers beside its protocol: no fault strikes it, and nothing of it is on record.

use std::{
    convert::Infallible,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Response};
use http_body::{Body, Frame, SizeHint};
use hyper::{body::Incoming, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{sync::watch, task::JoinSet, time::timeout};

use crate::{
    Host, Listener, Server, Transport,
    host::AsideBody,
    server::{ACCEPT_PAUSE, HEAD_TIMEOUT},
    transport::{Delivery, Line, LineHandle},
};

/// How long a server that stops waits for a peer to take the next piece of its answer, which may be the 400 KB that wait
/// before the socket. Default 1 s: on loopback they take milliseconds.
const READ_WITHIN: Duration = Duration::from_secs(1);

/// How long it waits in all. Default 5 s: half of what is usual until whoever stops a process kills it.
const READ_OUT_WITHIN: Duration = Duration::from_secs(5);

/// Counts the answers beside the protocol that are not out yet, and tells whenever one of them goes on.
#[derive(Debug, Default)]
pub(crate) struct Asides(watch::Sender<usize>);

impl Asides {
    /// Answers a request.
    pub(crate) async fn answer<H: Host>(
        &self,
        host: &H,
        line: Arc<LineHandle>,
        request: Request<Incoming>,
    ) -> Response<Answer> {
        self.0.send_modify(|number| *number += 1);
        let under_way = Some(UnderWay(self.0.clone()));
        host.aside(request).await.map(|body| Answer { body, line, under_way })
    }

    /// Waits until all are out: as long as somebody reads, and not for ever.
    async fn over(&self) {
        let mut under_way = self.0.subscribe();
        let over = async {
            while *under_way.borrow_and_update() > 0 && timeout(READ_WITHIN, under_way.changed()).await.is_ok() {}
        };
        // Whoever is that slow is cut off.
        let _ = timeout(READ_OUT_WITHIN, over).await;
    }
}

/// An answer that is not out yet; dropping this says that it is, or never will be.
#[derive(Debug)]
struct UnderWay(watch::Sender<usize>);

impl UnderWay {
    fn goes_on(&self) {
        self.0.send_modify(|_| {});
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.send_modify(|number| *number -= 1);
    }
}

/// Whatever becomes of it, it is dropped then.
impl Delivery for UnderWay {
    fn delivered(&self) {}

    fn lost(&self) {}

    fn given_up(&self) {}
}

/// The body of an answer. Its last bytes are out a while after it has ended, and dropped.
pub(crate) struct Answer {
    body: AsideBody,
    line: Arc<LineHandle>,
    under_way: Option<UnderWay>,
}

impl Body for Answer {
    type Data = Bytes;
    type Error = Box<dyn std::error::Error + Send + Sync>;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        if let Some(under_way) = &self.under_way {
            under_way.goes_on();
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        if let Some(under_way) = self.under_way.take() {
            self.line.tell_when_flushed(Arc::new(under_way));
        }
    }
}

impl<H: Host> Server<H> {
    /// Takes connections on which every request is answered [beside the protocol](Host::aside), for as long as it is
    /// polled. No fault shuts this listener. Dropping it drops every connection with it.
    pub async fn run_aside<L: Listener>(&self, mut listener: L) -> Infallible {
        let mut connections = JoinSet::new();
        loop {
            tokio::select! {
                biased;
                Some(_) = connections.join_next() => {}
                accepted = listener.accept() => match accepted {
                    Ok(transport) => {
                        connections.spawn(self.connection_aside(transport));
                    }
                    Err(error) => {
                        tracing::warn!(%error, "a connection beside the protocol could not be accepted");
                        tokio::time::sleep(ACCEPT_PAUSE).await;
                    }
                },
            }
        }
    }

    /// Waits until what is answered beside the protocol is out: as long as somebody reads, five seconds at most. Call it
    /// after [`stop`](Self::stop), while the listeners are still polled, or whoever reads is cut off.
    pub async fn read_out(&self) {
        self.rim().asides().over().await;
    }

    fn connection_aside<T: Transport>(&self, transport: T) -> impl Future<Output = ()> + Send + use<T, H> {
        let (host, rim) = (Arc::clone(self.host()), Arc::clone(self.rim()));
        async move {
            let (line, handle) = Line::new(transport);
            let service = service_fn(move |request| {
                let (host, rim, line) = (Arc::clone(&host), Arc::clone(&rim), Arc::clone(&handle));
                async move { Ok::<_, Infallible>(rim.asides().answer(&*host, line, request).await) }
            });
            let connection = hyper::server::conn::http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(HEAD_TIMEOUT)
                .auto_date_header(false)
                .serve_connection(TokioIo::new(line), service);
            // Boxed: the compiler cannot yet see through hyper's generics that the error converts for every lifetime.
            let connection: Pin<Box<dyn Future<Output = hyper::Result<()>> + Send>> = Box::pin(connection);
            if let Err(error) = connection.await {
                tracing::debug!(%error, "a connection beside the protocol ended");
            }
        }
    }
}

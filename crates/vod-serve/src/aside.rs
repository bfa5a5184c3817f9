//! A listener for what a server answers beside its protocol: no fault shuts it or strikes there, and nothing that is
//! asked there is on record.

use std::{convert::Infallible, pin::Pin, sync::Arc};

use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::task::JoinSet;

use crate::{
    Host, Listener, Server, Transport,
    server::{ACCEPT_PAUSE, HEAD_TIMEOUT},
    transport::Line,
};

impl<H: Host> Server<H> {
    /// Takes connections on which every request is answered [beside the protocol](Host::aside), for as long as it is
    /// polled. Dropping it drops every connection with it.
    pub async fn run_aside<L: Listener>(&self, mut listener: L) -> Infallible {
        let mut connections = JoinSet::new();
        loop {
            tokio::select! {
                biased;
                Some(_) = connections.join_next() => {}
                accepted = listener.accept() => match accepted {
                    Ok(transport) => {
                        connections.spawn(answer(Arc::clone(self.host()), transport));
                    }
                    Err(error) => {
                        tracing::warn!(%error, "a connection beside the protocol could not be accepted");
                        tokio::time::sleep(ACCEPT_PAUSE).await;
                    }
                },
            }
        }
    }
}

async fn answer<H: Host, T: Transport>(host: Arc<H>, transport: T) {
    // Nobody cuts this line, but it gives up peers that take nothing of their answer.
    let (line, _) = Line::new(transport);
    let service = service_fn(move |request| {
        let host = Arc::clone(&host);
        async move { Ok::<_, Infallible>(host.aside(request).await) }
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

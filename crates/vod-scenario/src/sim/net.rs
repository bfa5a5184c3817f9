//! The network of a simulation: one address, clients that connect to it, and a mock that may be away.

use std::{
    future::{Ready, ready},
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
    time::Duration,
};

use http::Uri;
use hyper_util::rt::TokioIo;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tower_service::Service;
use vod_serve::{Listener, Transport as _};

use super::pipe::{End, Hold, Pipe};

/// The network.
#[derive(Clone, Debug, Default)]
pub(super) struct Net(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    listening: Option<UnboundedSender<End>>,
    /// Every client's connections, by the number of the client.
    connections: Vec<(usize, Hold)>,
    latency: Option<Duration>,
}

/// How long what a server writes is under way to its client. Default 1 ms, the grain of a paused clock: what a client does
/// because of a reply is then later than the reply, and the order of the two can be told. What a client writes is there at
/// once: nothing would be told apart by that.
const LATENCY: Duration = Duration::from_millis(1);

impl Net {
    /// A network on which replies take their time.
    pub(super) fn with_latency() -> Self {
        let net = Self::default();
        net.state().latency = Some(LATENCY);
        net
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Listens at the address. Whoever listened before does no more.
    pub(super) fn listen(&self) -> SimListener {
        let (arrivals, waiting) = unbounded_channel();
        self.state().listening = Some(arrivals);
        SimListener { net: self.clone(), waiting }
    }

    /// What the client with this number connects by.
    pub(super) fn connector(&self, client: usize) -> SimConnector {
        SimConnector { net: self.clone(), client }
    }

    /// Takes every connection away from a client, as its death does.
    pub(super) fn cut(&self, client: usize) {
        let state = self.state();
        for (_, connection) in state.connections.iter().filter(|(of, _)| *of == client) {
            connection.cut();
        }
    }

    /// How many connections are still held by anyone.
    pub(super) fn open(&self) -> usize {
        self.state().connections.iter().filter(|(_, connection)| connection.is_held()).count()
    }

    /// How many connections a client has not let go of.
    #[cfg(test)]
    pub(super) fn held_by(&self, client: usize) -> usize {
        self.state().connections.iter().filter(|(of, connection)| *of == client && connection.is_held_here()).count()
    }

    fn connect(&self, client: usize) -> io::Result<TokioIo<End>> {
        let mut state = self.state();
        let (near, far) = Pipe::connect(state.latency);
        let refused = || io::Error::from(io::ErrorKind::ConnectionRefused);
        state.listening.as_ref().ok_or_else(refused)?.send(far).map_err(|_| refused())?;
        state.connections.push((client, near.hold()));
        Ok(TokioIo::new(near))
    }
}

/// The mock's ear. Dropping it refuses whoever comes, and resets whoever was waiting.
#[derive(Debug)]
pub(super) struct SimListener {
    net: Net,
    waiting: UnboundedReceiver<End>,
}

impl Listener for SimListener {
    type Io = End;

    async fn accept(&mut self) -> io::Result<End> {
        // The sender goes only when another listener takes the address.
        match self.waiting.recv().await {
            Some(end) => Ok(end),
            None => std::future::pending().await,
        }
    }

    fn shut(&mut self) -> io::Result<()> {
        self.turn_away();
        Ok(())
    }

    fn open(&mut self) -> io::Result<()> {
        let (arrivals, waiting) = unbounded_channel();
        self.net.state().listening = Some(arrivals);
        self.waiting = waiting;
        Ok(())
    }
}

impl SimListener {
    fn turn_away(&mut self) {
        self.waiting.close();
        while let Ok(mut end) = self.waiting.try_recv() {
            end.reset_on_drop();
        }
    }
}

impl Drop for SimListener {
    fn drop(&mut self) {
        self.turn_away();
    }
}

/// Connects a client, whatever the address: there is only one.
#[derive(Clone, Debug)]
pub(super) struct SimConnector {
    net: Net,
    client: usize,
}

impl Service<Uri> for SimConnector {
    type Response = TokioIo<End>;
    type Error = io::Error;
    type Future = Ready<io::Result<TokioIo<End>>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        ready(self.net.connect(self.client))
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    #[tokio::test]
    async fn connections_are_refused_while_nobody_listens() {
        let net = Net::default();
        assert_eq!(net.connect(1).unwrap_err().kind(), io::ErrorKind::ConnectionRefused);
        let mut listener = net.listen();
        let mut near = net.connect(1).unwrap().into_inner();
        let mut far = listener.accept().await.unwrap();
        near.write_all(b"hi").await.unwrap();
        let mut bytes = [0; 2];
        far.read_exact(&mut bytes).await.unwrap();
        assert_eq!(&bytes, b"hi");
        drop(listener);
        assert_eq!(net.connect(1).unwrap_err().kind(), io::ErrorKind::ConnectionRefused);
        let _back = net.listen();
        assert!(net.connect(1).is_ok());
    }

    #[tokio::test]
    async fn a_shut_listener_refuses_whoever_comes_and_resets_whoever_waited_until_it_opens() {
        let net = Net::default();
        let mut listener = net.listen();
        let mut waited = net.connect(1).unwrap().into_inner();
        listener.shut().unwrap();
        assert_eq!(waited.read_u8().await.unwrap_err().kind(), io::ErrorKind::ConnectionReset);
        assert_eq!(net.connect(1).unwrap_err().kind(), io::ErrorKind::ConnectionRefused);
        listener.open().unwrap();
        let _near = net.connect(1).unwrap();
        assert!(listener.accept().await.is_ok());
    }

    #[tokio::test]
    async fn whoever_waited_when_the_mock_died_is_reset() {
        let net = Net::default();
        let listener = net.listen();
        let mut near = net.connect(1).unwrap().into_inner();
        drop(listener);
        assert_eq!(near.read_u8().await.unwrap_err().kind(), io::ErrorKind::ConnectionReset);
    }

    #[tokio::test]
    async fn only_the_client_that_dies_loses_its_connections() {
        let net = Net::default();
        let mut listener = net.listen();
        let (mut one, mut two) = (net.connect(1).unwrap().into_inner(), net.connect(2).unwrap().into_inner());
        let (mut far_one, mut far_two) = (listener.accept().await.unwrap(), listener.accept().await.unwrap());
        net.cut(1);
        assert!(one.write_all(b"x").await.is_err());
        assert_eq!(far_one.read(&mut [0]).await.unwrap(), 0, "the mock sees the end");
        two.write_all(b"x").await.unwrap();
        assert_eq!(far_two.read_u8().await.unwrap(), b'x');
        assert_eq!(net.open(), 2);
        drop((one, far_one, two, far_two));
        assert_eq!(net.open(), 0);
    }
}

//! The rim of a proxy that passes requests on: joins the way that they take, the servers and the journal.

use std::{
    collections::BTreeMap,
    convert::Infallible,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use hyper_util::client::legacy::connect::HttpConnector;
use tokio::task::JoinSet;
use tokio_rustls::rustls::ClientConfig;
use vod_serve::{
    Engine, Journal, Listener, Plan, Server, Transport, WallClock,
    fault::Powers,
    tls::{Ca, HostName, Leaf, NotAHost, Tls, TlsTransport},
    traffic::Traffic,
};

use crate::{
    Recording,
    forward::{Allowed, Opening, open},
    passing::{Keeping, Passing, Way},
    upstream::{Connect, Origin, Upstream, tcp},
};

/// How long to wait after a connection could not be accepted, as when the process is out of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Whose requests are passed on, and where to.
pub enum Route {
    /// A server's place is taken: every request goes to it. Clients may be spoken to over TLS.
    Reverse(Origin, Option<Tls>),
    /// Clients know that they talk to a proxy, and name the server. In the tunnels that they ask for, the certificates are
    /// this CA's.
    Forward(Allowed, Arc<Ca>),
}

/// A proxy without a socket of its own: give it a listener, or single connections.
pub struct Proxy<C = HttpConnector> {
    upstream: Arc<Upstream<C>>,
    journal: Arc<Journal>,
    keeping: Keeping,
    engine: Arc<Engine>,
    clock: WallClock,
    traffic: Arc<Traffic>,
    /// For all that comes through no tunnel.
    server: Server<Passing<C>>,
    entry: Entry<C>,
}

/// How connections come in.
enum Entry<C> {
    Reverse(Option<Leaf>),
    Forward { allowed: Allowed, ca: Arc<Ca>, tunnels: Mutex<BTreeMap<Origin, Arc<Tunnel<C>>>> },
}

/// All connections that lead to one server.
struct Tunnel<C> {
    server: Server<Passing<C>>,
    leaf: Option<Leaf>,
}

impl Proxy {
    /// A proxy over TCP that records. The journal is the one that the recording was opened with.
    #[must_use]
    pub fn recording(route: Route, trust: ClientConfig, recording: &Recording, journal: Arc<Journal>) -> Self {
        Self::recording_over(tcp(), route, trust, recording, journal, WallClock::system())
    }

    /// A proxy over TCP that keeps nothing of what it passes on.
    #[must_use]
    pub fn passing(route: Route, trust: ClientConfig) -> Self {
        // What is over is forgotten at once.
        let journal = Journal::builder(0).ceiling(0).counted(0).memory();
        Self::new(tcp(), route, trust, Keeping::Nothing, journal, WallClock::system())
    }
}

impl<C: Connect> Proxy<C> {
    /// The same as [`recording`](Proxy::recording) over connections of another kind, and at another time.
    #[must_use]
    pub fn recording_over(
        connector: C,
        route: Route,
        trust: ClientConfig,
        recording: &Recording,
        journal: Arc<Journal>,
        clock: WallClock,
    ) -> Self {
        let keeping = Keeping::In(recording.bodies(), recording.manifest().bodies);
        Self::new(connector, route, trust, keeping, journal, clock)
    }

    fn new(
        connector: C,
        route: Route,
        trust: ClientConfig,
        keeping: Keeping,
        journal: Arc<Journal>,
        clock: WallClock,
    ) -> Self {
        let upstream = Arc::new(Upstream::new(connector, trust));
        let engine =
            Engine::new(Plan::default(), 0, Powers::default()).expect("a plan without faults asks for nothing");
        let (engine, traffic) = (Arc::new(engine), Arc::<Traffic>::default());
        let (way, entry) = match route {
            Route::Reverse(origin, tls) => (Way::Reverse(origin), Entry::Reverse(tls.map(|tls| tls.leaf()))),
            Route::Forward(allowed, ca) => {
                (Way::Forward(allowed.clone()), Entry::Forward { allowed, ca, tunnels: Mutex::default() })
            }
        };
        let host =
            Passing { way, upstream: Arc::clone(&upstream), journal: Arc::clone(&journal), keeping: keeping.clone() };
        let server =
            Server::new(Arc::new(host), Arc::clone(&engine), Arc::clone(&journal), clock, None, Arc::clone(&traffic));
        Self { upstream, journal, keeping, engine, clock, traffic, server, entry }
    }

    /// Takes connections for as long as it is polled; dropping it drops them all.
    pub async fn serve<L: Listener>(self: &Arc<Self>, mut listener: L) -> Infallible {
        let mut connections = JoinSet::new();
        loop {
            tokio::select! {
                biased;
                Some(_) = connections.join_next() => {}
                accepted = listener.accept() => match accepted {
                    Ok(transport) => {
                        connections.spawn(Arc::clone(self).connection(transport));
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
    pub async fn connection<T: Transport>(self: Arc<Self>, transport: T) {
        match &self.entry {
            Entry::Reverse(None) => self.server.connection(transport).await,
            Entry::Reverse(Some(leaf)) => self.server.connection(TlsTransport::new(transport, leaf)).await,
            Entry::Forward { allowed, ca, tunnels } => match open(transport, allowed).await {
                Ok(Opening::Requests(transport)) => self.server.connection(transport).await,
                Ok(Opening::Tunnel(transport, origin)) => match self.tunnel(origin, ca, tunnels) {
                    Ok(tunnel) => match &tunnel.leaf {
                        Some(leaf) => tunnel.server.connection(TlsTransport::new(transport, leaf)).await,
                        None => tunnel.server.connection(transport).await,
                    },
                    Err(error) => tracing::warn!(%error, "no certificate can be made for the host of a tunnel"),
                },
                Err(error) => tracing::debug!(%error, "a connection brought no request"),
            },
        }
    }

    /// What leads to a server. There are no more of them than there are hosts and ports that may be asked.
    fn tunnel(
        &self,
        to: Origin,
        ca: &Ca,
        tunnels: &Mutex<BTreeMap<Origin, Arc<Tunnel<C>>>>,
    ) -> Result<Arc<Tunnel<C>>, NotAHost> {
        let mut tunnels = tunnels.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(tunnel) = tunnels.get(&to) {
            return Ok(Arc::clone(tunnel));
        }
        let leaf = if to.is_secure() {
            let name: HostName = to.host().trim_matches(['[', ']']).parse()?;
            Some(ca.leaf(&[name], WallClock::system().now()))
        } else {
            None
        };
        let host = Passing {
            way: Way::Tunnel(to.clone()),
            upstream: Arc::clone(&self.upstream),
            journal: Arc::clone(&self.journal),
            keeping: self.keeping.clone(),
        };
        let server = Server::new(
            Arc::new(host),
            Arc::clone(&self.engine),
            Arc::clone(&self.journal),
            self.clock,
            None,
            Arc::clone(&self.traffic),
        );
        let tunnel = Arc::new(Tunnel { server, leaf });
        tunnels.insert(to, Arc::clone(&tunnel));
        Ok(tunnel)
    }

    /// Waits until replies that are handed over are out, a second at most. Call it before [`stop`](Self::stop), while
    /// [`serve`](Self::serve) is still polled, or the recording says that a client was cut off that has its reply.
    pub async fn settled(&self) {
        self.server.settled().await;
    }

    /// Ends what is under way, as closed by this proxy. Call it before dropping [`serve`](Self::serve), or the recording says
    /// that the clients went away.
    pub fn stop(&self) {
        self.server.stop();
    }

    /// What is on record.
    #[must_use]
    pub const fn journal(&self) -> &Arc<Journal> {
        &self.journal
    }
}

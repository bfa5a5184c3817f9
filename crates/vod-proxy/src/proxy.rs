//! The rim of a proxy that passes requests on: joins the way that they take, the servers and the journal.

use std::{convert::Infallible, sync::Arc};

use hyper_util::client::legacy::connect::HttpConnector;
use tokio_rustls::rustls::ClientConfig;
use vod_serve::{
    Engine, Journal, Listener, Plan, Server, Transport, WallClock,
    fault::Powers,
    tls::{Ca, Leaf, Tls, TlsTransport},
    traffic::Traffic,
};

use crate::{
    Recording,
    forward::{Allowed, Tunnels, Way},
    passing::{Keeping, Passing},
    upstream::{Connect, Origin, Upstream, tcp},
};

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
    /// For all that comes through no tunnel.
    server: Server<Passing<C>>,
    entry: Entry<C>,
}

/// How connections come in.
enum Entry<C> {
    Reverse(Option<Leaf>),
    Forward(Tunnels<Passing<C>>),
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
        let (way, entry) = match route {
            Route::Reverse(origin, tls) => (Way::Reverse(origin), Entry::Reverse(tls.map(|tls| tls.leaf()))),
            Route::Forward(allowed, ca) => (Way::Forward(allowed.clone()), Entry::Forward(Tunnels::new(allowed, ca))),
        };
        let host =
            Passing { way, upstream: Arc::clone(&upstream), journal: Arc::clone(&journal), keeping: keeping.clone() };
        let traffic = Arc::<Traffic>::default();
        let server = Server::new(Arc::new(host), Arc::new(engine), Arc::clone(&journal), clock, None, traffic);
        Self { upstream, journal, keeping, server, entry }
    }

    /// Takes connections for as long as it is polled; dropping it drops them all.
    pub async fn serve<L: Listener>(self: &Arc<Self>, listener: L) -> Infallible {
        self.server.run_with(listener, |transport| Arc::clone(self).connection(transport)).await
    }

    /// Serves one connection to its end.
    pub async fn connection<T: Transport>(self: Arc<Self>, transport: T) {
        match &self.entry {
            Entry::Reverse(None) => self.server.connection(transport).await,
            Entry::Reverse(Some(leaf)) => self.server.connection(TlsTransport::new(transport, leaf)).await,
            Entry::Forward(tunnels) => tunnels.connection(transport, &self.server, |way| self.passing_on(way)).await,
        }
    }

    fn passing_on(&self, way: Way) -> Passing<C> {
        let (upstream, journal) = (Arc::clone(&self.upstream), Arc::clone(&self.journal));
        Passing { way, upstream, journal, keeping: self.keeping.clone() }
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

//! The connections of a forward proxy's clients: to the proxy itself, or to the host that each had itself connected to.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use vod_serve::{
    Host, Server, Transport, WallClock,
    tls::{Ca, HostName, Leaf, NotAHost, TlsTransport},
};

use super::{
    Allowed, Way,
    opening::{Opening, open},
};
use crate::upstream::Origin;

/// What clients have themselves connected to, each with a certificate of this CA.
pub(crate) struct Tunnels<H> {
    allowed: Allowed,
    ca: Arc<Ca>,
    open: Mutex<BTreeMap<Origin, Arc<Tunnel<H>>>>,
}

/// All connections that lead to one host.
struct Tunnel<H> {
    server: Server<H>,
    leaf: Option<Leaf>,
}

impl<H: Host> Tunnels<H> {
    pub(crate) fn new(allowed: Allowed, ca: Arc<Ca>) -> Self {
        Self { allowed, ca, open: Mutex::default() }
    }

    /// Whose certificates these are.
    pub(crate) const fn ca(&self) -> &Arc<Ca> {
        &self.ca
    }

    /// Serves one connection to its end. What comes through no tunnel is for `server`; `lead` makes the mind of a tunnel.
    pub(crate) async fn connection<T: Transport>(
        &self,
        transport: T,
        server: &Server<H>,
        lead: impl FnOnce(Way) -> H + Send,
    ) {
        match open(transport, &self.allowed).await {
            Ok(Opening::Requests(transport)) => server.connection(transport).await,
            Ok(Opening::Tunnel(transport, origin)) => match self.tunnel(origin, server, lead) {
                Ok(tunnel) => match &tunnel.leaf {
                    Some(leaf) => tunnel.server.connection(TlsTransport::new(transport, leaf)).await,
                    None => tunnel.server.connection(transport).await,
                },
                Err(error) => tracing::warn!(%error, "no certificate can be made for the host of a tunnel"),
            },
            Err(error) => tracing::debug!(%error, "a connection brought no request"),
        }
    }

    /// What leads to a host. There are no more of them than there are hosts and ports that may be asked.
    fn tunnel(&self, to: Origin, server: &Server<H>, lead: impl FnOnce(Way) -> H) -> Result<Arc<Tunnel<H>>, NotAHost> {
        let mut tunnels = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(tunnel) = tunnels.get(&to) {
            return Ok(Arc::clone(tunnel));
        }
        let leaf = if to.is_secure() {
            let name: HostName = to.host().trim_matches(['[', ']']).parse()?;
            Some(self.ca.leaf(&[name], WallClock::system().now()))
        } else {
            None
        };
        let server = server.with(Arc::new(lead(Way::Tunnel(to.clone()))));
        let tunnel = Arc::new(Tunnel { server, leaf });
        tunnels.insert(to, Arc::clone(&tunnel));
        Ok(tunnel)
    }
}

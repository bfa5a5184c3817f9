//! Whose certificate a server shows, and for which hosts.

use std::sync::Arc;

use super::{Ca, HostName, Leaf};
use crate::WallClock;
use vod_proto::SIGN_HOSTS;

/// How a server speaks TLS.
///
/// Certificates are dated by the machine's clock, whatever time it is for the server: clients judge them by their own.
pub struct Tls {
    /// Who signs the certificate that the server shows. Default: a new CA, for this server alone.
    pub ca: Arc<Ca>,
    /// The hosts that clients believe they talk to, beside `localhost`, `127.0.0.1` and `::1`.
    /// Default: the hosts of the service, so that a client whose resolver is told to come here notices nothing.
    pub names: Vec<HostName>,
}

impl Tls {
    /// With a CA, for the hosts of the service.
    #[must_use]
    pub fn with_ca(ca: Arc<Ca>) -> Self {
        let names = SIGN_HOSTS.map(|name| name.parse().expect("the hosts of the service have names"));
        Self { ca, names: names.to_vec() }
    }

    /// The certificate to show.
    #[must_use]
    pub fn leaf(&self) -> Leaf {
        let mut names = self.names.clone();
        names.extend(HostName::loopback());
        names.sort();
        names.dedup();
        self.ca.leaf(&names, WallClock::system().now())
    }
}

impl Default for Tls {
    fn default() -> Self {
        Self::with_ca(Arc::new(Ca::make(WallClock::system().now())))
    }
}

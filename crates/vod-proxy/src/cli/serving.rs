//! What `record` and `pass` have in common: where requests go, where they come in, and serving until asked to stop.

use std::{io, net::SocketAddr, path::PathBuf, sync::Arc};

use tokio_rustls::rustls::ClientConfig;
use vod_serve::{
    Port,
    journal::JournalError,
    program::{
        ReadyFile, ReadyFileError, TlsArgs, TlsArgsError, announce, asked_to_stop, raise_open_files, serve_until,
        shortened,
    },
};

use super::complain;
use crate::{
    Proxy, RecordingError, Route, exit,
    forward::{Allowed, AllowedHost},
    recording::Source,
    upstream::{Origin, TrustError, trust_file, trust_system},
};

/// The kernel's receive buffer for each connection, in bytes: as much as goes out at once to the server, for the same reasons.
const RECEIVE_BUFFER: usize = 1 << 20;

#[derive(Debug, clap::Args)]
#[group(id = "route", required = true, multiple = false, args = ["upstream", "forward"])]
pub(super) struct Args {
    /// Be a reverse proxy, in the place of this server: http or https, host and port
    #[arg(long, value_name = "URL")]
    upstream: Option<Origin>,
    /// Be a forward proxy, for clients that know it by HTTP_PROXY or HTTPS_PROXY
    #[arg(long, requires = "allow")]
    forward: bool,
    /// A host that may be asked by the forward proxy, at ports 80 and 443 or at the one that is named; all others are refused
    #[arg(long, value_name = "HOST[:PORT]", conflicts_with = "upstream")]
    allow: Vec<AllowedHost>,
    /// Where to listen; port 0 picks a free one
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8267")]
    listen: SocketAddr,
    /// Believe the certificates of upstream servers if these CAs signed them, in PEM, and no others [default: whom the system
    /// trusts]
    #[arg(long, value_name = "FILE")]
    upstream_ca: Option<PathBuf>,
    #[command(flatten)]
    tls: TlsArgs,
    /// Also write the first line of stdout to this file, once it listens; it is removed when the proxy is stopped
    #[arg(long, value_name = "FILE")]
    ready_file: Option<PathBuf>,
}

/// Why the proxy could not start, or go on.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    #[error("cannot read {path}: {source}")]
    Read { path: PathBuf, source: io::Error },
    #[error("{path}: {source}")]
    Rules { path: PathBuf, source: Box<toml::de::Error> },
    #[error(transparent)]
    Recording(#[from] RecordingError),
    #[error(transparent)]
    Trust(#[from] TrustError),
    #[error("cannot listen on {addr}: {source}")]
    Listen { addr: SocketAddr, source: io::Error },
    #[error(transparent)]
    Ready(#[from] ReadyFileError),
    #[error(transparent)]
    Tls(#[from] TlsArgsError),
    #[error("cannot start: {0}")]
    Runtime(#[source] io::Error),
    #[error("the recording lacks {0} exchanges that could not be written")]
    Unwritable(u64),
}

impl Failure {
    const fn exit_code(&self) -> u8 {
        match self {
            Self::Listen { .. } | Self::Runtime(_) => exit::LISTEN,
            Self::Ready(_)
            | Self::Unwritable(_)
            | Self::Tls(TlsArgsError::Ca(_))
            | Self::Recording(
                RecordingError::Io { .. }
                | RecordingError::Exchanges(JournalError::Io { .. } | JournalError::InUse { .. }),
            ) => exit::WRITE,
            Self::Read { .. } | Self::Rules { .. } | Self::Recording(_) | Self::Trust(_) | Self::Tls(_) => exit::USAGE,
        }
    }
}

/// Runs a server until it is asked to stop.
pub(super) fn run(serving: impl Future<Output = Result<(), Failure>>) -> u8 {
    raise_open_files();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(Failure::Runtime);
    match runtime.and_then(|runtime| runtime.block_on(serving)) {
        Ok(()) => exit::DONE,
        Err(failure) => {
            complain(shortened(failure.to_string()));
            failure.exit_code()
        }
    }
}

impl Args {
    /// Whom it is that is recorded.
    pub(super) fn source(&self) -> Source {
        match &self.upstream {
            Some(origin) => Source::Upstream(origin.to_string()),
            None => Source::Hosts(self.allowed().hosts()),
        }
    }

    fn allowed(&self) -> Allowed {
        self.allow.iter().cloned().collect()
    }

    /// Serves until asked to stop; `make` makes the proxy.
    pub(super) async fn serve(
        self,
        make: impl FnOnce(Route, ClientConfig) -> Result<Proxy, Failure>,
    ) -> Result<(), Failure> {
        let trust = match &self.upstream_ca {
            Some(path) => trust_file(path)?,
            None => trust_system()?,
        };
        let port = Port::bind(self.listen).await.map_err(|source| Failure::Listen { addr: self.listen, source })?;
        let addr = port.addr();
        if let Some(path) = &self.ready_file {
            ReadyFile::clear(path)?;
        }
        let allowed = self.allowed();
        let (route, scheme, ca) = match self.upstream {
            Some(origin) => {
                let (tls, ca) = self.tls.open(addr.ip(), None)?.unzip();
                let scheme = if tls.is_some() { "https" } else { "http" };
                (Route::Reverse(origin, tls), scheme, ca)
            }
            None => {
                let (ca, certificate) = self.tls.open_forward()?;
                (Route::Forward(allowed, ca), "http", Some(certificate))
            }
        };
        let proxy = Arc::new(make(route, trust)?);
        // Whoever reads that it listens may ask it to stop at once.
        let asked_to_stop = asked_to_stop();
        let mut ready = serde_json::json!({ "listening": format!("{scheme}://{addr}") });
        if let Some(ca) = ca {
            ready["ca"] = ca.to_string_lossy().into();
        }
        let _ready_file = announce(&ready, self.ready_file)?;
        let stopped = async {
            asked_to_stop.await;
            proxy.settled().await;
            // Before the connections are dropped: what this proxy ends was not ended by its clients.
            proxy.stop();
        };
        serve_until(stopped, proxy.serve(port.receive_buffer(RECEIVE_BUFFER))).await;
        // Last, and loud: whoever judges by the recording must not take what is missing for what did not happen.
        match proxy.journal().unwritable() {
            0 => Ok(()),
            unwritable => Err(Failure::Unwritable(unwritable)),
        }
    }
}

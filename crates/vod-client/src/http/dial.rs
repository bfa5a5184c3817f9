//! Opens a connection to a server on top of any transport: through a proxy if there is one, and over TLS if it is asked
//! for. Whoever calls it bounds the time of all of it together.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll},
};

use ::http::{Uri, uri::Scheme};
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::{
    client::legacy::connect::{Connected, Connection, HttpConnector, proxy::Tunnel},
    rt::TokioIo,
};
use tokio_rustls::{
    TlsConnector,
    rustls::{self, AlertDescription, CertificateError, pki_types::ServerName},
};
use tower_service::Service;

use super::{BoxError, Connect, config_error, innermost};
use crate::{
    clock,
    connection::{Proxy, shown},
    error::ConfigError,
};

/// The way to a server.
#[derive(Clone)]
pub(super) struct Dial<C> {
    hop: Hop<C>,
    proxy: Option<Proxy>,
}

impl<C> Dial<C> {
    /// `tls` is needed where the server or the proxy is at `https://`.
    pub(super) const fn new(connector: C, tls: Option<TlsConnector>, proxy: Option<Proxy>) -> Self {
        Self { hop: Hop { connector, tls }, proxy }
    }
}

impl<C: Connect> Service<Uri> for Dial<C> {
    type Response = Stream;
    type Error = BoxError;
    type Future = Dialling;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.hop.poll_ready(cx)
    }

    fn call(&mut self, server: Uri) -> Dialling {
        let Some(proxy) = self.proxy.clone() else { return self.hop.call(server) };
        if server.scheme() != Some(&Scheme::HTTPS) {
            let connecting = self.hop.call(proxy.uri.clone());
            return Box::pin(async move {
                let stream = connecting.await.map_err(|error| through(&proxy, error))?;
                // Requests are then made for the whole URL.
                Ok(Stream { proxied: true, ..stream })
            });
        }
        let mut tunnel = Tunnel::new(proxy.uri.clone(), self.hop.clone());
        if let Some(authorization) = proxy.authorization.clone() {
            tunnel = tunnel.with_auth(authorization);
        }
        let (connecting, tls) = (tunnel.call(server.clone()), self.hop.tls());
        Box::pin(async move {
            let stream = connecting.await.map_err(|error| not_tunnelled(&proxy, error))?;
            shake_hands(stream, &server, tls).await
        })
    }
}

type Dialling = Pin<Box<dyn Future<Output = Result<Stream, BoxError>> + Send>>;

/// A connection to the next who is on the way, over TLS if that is at `https://`.
#[derive(Clone)]
struct Hop<C> {
    connector: C,
    tls: Option<TlsConnector>,
}

impl<C> Hop<C> {
    fn tls(&self) -> TlsConnector {
        self.tls.clone().expect("whoever names an https:// URL brings what a handshake needs")
    }
}

impl<C: Connect> Service<Uri> for Hop<C> {
    type Response = Stream;
    type Error = BoxError;
    type Future = Dialling;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.connector.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, to: Uri) -> Dialling {
        let tls = (to.scheme() == Some(&Scheme::HTTPS)).then(|| self.tls());
        let connecting = self.connector.call(to.clone());
        Box::pin(async move {
            let io = connecting.await.map_err(Into::into)?;
            let stream = Stream { io: Box::new(io), proxied: false };
            match tls {
                Some(tls) => shake_hands(stream, &to, tls).await,
                None => Ok(stream),
            }
        })
    }
}

async fn shake_hands(stream: Stream, with: &Uri, tls: TlsConnector) -> Result<Stream, BoxError> {
    let host = with.host().unwrap_or_default();
    let peer = || with.authority().map(ToString::to_string).unwrap_or_default();
    // An address of version 6 stands in brackets in a URL, and without them in a certificate.
    let name = ServerName::try_from(host.trim_matches(['[', ']']).to_owned());
    let name =
        name.map_err(|_| ConfigError::Tls { peer: peer(), why: "no certificate can be for this name".into() })?;
    match tls.connect(name, TokioIo::new(stream.io)).await {
        Ok(secured) => Ok(Stream { io: Box::new(TokioIo::new(secured)), proxied: false }),
        Err(error) => match error.get_ref().and_then(|cause| cause.downcast_ref::<rustls::Error>()) {
            Some(rustls::Error::InvalidCertificate(cause)) => {
                Err(ConfigError::Certificate { peer: peer(), why: distrust(cause) }.into())
            }
            Some(cause) if never_better(cause) => Err(ConfigError::Tls { peer: peer(), why: cause.to_string() }.into()),
            _ => Err(error.into()),
        },
    }
}

/// Will the same handshake fail the next time, too? Not if the peer was in trouble, or the connection.
fn never_better(error: &rustls::Error) -> bool {
    use AlertDescription::{HandshakeFailure, InsufficientSecurity, ProtocolVersion, UnrecognisedName};

    match error {
        rustls::Error::AlertReceived(alert) => {
            matches!(alert, HandshakeFailure | InsufficientSecurity | ProtocolVersion | UnrecognisedName)
        }
        rustls::Error::PeerIncompatible(_) | rustls::Error::InvalidMessage(_) => true,
        _ => false,
    }
}

/// What is wrong with a certificate, and what to do about it.
fn distrust(error: &CertificateError) -> String {
    use CertificateError::{
        Expired, ExpiredContext, NotValidForName, NotValidForNameContext, NotValidYet, NotValidYetContext,
        UnknownIssuer,
    };

    match error {
        UnknownIssuer => "nobody who is trusted has signed it; if that should be trusted, say so with --ca FILE or \
                          VOD_CA (of vod-mock --tls, the file that its first line calls ca)"
            .to_owned(),
        NotValidForName => "it is for another host".to_owned(),
        NotValidForNameContext { presented, .. } => {
            let names: Vec<_> = presented.iter().map(|name| plain(name)).collect();
            format!("it is for another host: {}", if names.is_empty() { "none".to_owned() } else { names.join(", ") })
        }
        Expired | ExpiredContext { .. } => format!("it has expired{}", clock_of(error)),
        NotValidYet | NotValidYetContext { .. } => format!("it does not hold yet{}", clock_of(error)),
        other => other.to_string(),
    }
}

/// A name as it stands in a certificate, of which rustls says of which type it is: `DnsName("h")`.
fn plain(name: &str) -> &str {
    let inner = name.split_once('(').and_then(|(_, rest)| rest.strip_suffix(')')).unwrap_or(name);
    inner.trim_matches('"')
}

/// Since or until when, beside the time that it is here: often it is this machine's clock that is wrong.
fn clock_of(error: &CertificateError) -> String {
    let (time, word, limit) = match error {
        CertificateError::ExpiredContext { time, not_after } => (time, "on", not_after),
        CertificateError::NotValidYetContext { time, not_before } => (time, "before", not_before),
        _ => return String::new(),
    };
    format!(" {word} {}, and here it is {}", clock::shown(limit.as_secs()), clock::shown(time.as_secs()))
}

/// Says of a failure that it befell the way to the proxy, not the server.
fn through(proxy: &Proxy, error: BoxError) -> BoxError {
    match config_error(&*error) {
        Some(error) => error.into(),
        None => format!("to the proxy {}: {}", shown(&proxy.uri), innermost(&*error)).into(),
    }
}

type TunnelError = <Tunnel<HttpConnector> as Service<Uri>>::Error;

fn not_tunnelled(proxy: &Proxy, error: TunnelError) -> BoxError {
    match error {
        TunnelError::ConnectFailed(error) => through(proxy, error),
        TunnelError::Io(error) => through(proxy, error.into()),
        TunnelError::ProxyAuthRequired => turned_away(proxy).into(),
        TunnelError::TunnelUnsuccessful => {
            format!("the proxy {} refuses to connect to the server", shown(&proxy.uri)).into()
        }
        error => format!("to the proxy {}: {error}", shown(&proxy.uri)).into(),
    }
}

/// The proxy wants to know who we are, or does not like who we say we are.
pub(super) fn turned_away(proxy: &Proxy) -> ConfigError {
    let why = match proxy.authorization {
        Some(_) => "it does not accept the user and password of its URL (407)",
        None => "it demands a user and a password (407): put them into its URL, in the environment variable",
    };
    ConfigError::Proxy { which: shown(&proxy.uri), why: why.to_owned() }
}

/// What a connection is at last, whatever lies below it.
trait Io: Read + Write + Send + Unpin {}

impl<T: Read + Write + Send + Unpin> Io for T {}

/// A connection to a server, or to the proxy that asks it for us.
pub(super) struct Stream {
    io: Box<dyn Io>,
    /// At its end is a proxy that is to be asked for whole URLs.
    proxied: bool,
}

impl Connection for Stream {
    fn connected(&self) -> Connected {
        Connected::new().proxy(self.proxied)
    }
}

impl Read for Stream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: ReadBufCursor<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(cx, buffer)
    }
}

impl Write for Stream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffers: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(cx, buffers)
    }
}

#[cfg(test)]
mod tests;

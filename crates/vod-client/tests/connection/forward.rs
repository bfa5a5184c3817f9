//! A forward proxy that writes down what it is asked, and takes everybody to one address, whatever host is asked for: so
//! nobody needs a name that can be resolved.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use ::http::{Method, Request, Response, StatusCode, Uri, header};
use http_body_util::{BodyExt as _, combinators::BoxBody};
use hyper::{body::Incoming, service::service_fn};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::{TokioExecutor, TokioIo},
};
use tokio::net::{TcpListener, TcpStream};
use vod_mock::{
    VodMock, WallClock,
    vod_serve::tls::{Ca, HostName, TlsTransport},
};

/// What it is asked for: `CONNECT host:port`, or a method and a URL without its query.
#[derive(Clone, Debug, Default)]
pub(super) struct Asked {
    pub(super) line: String,
    pub(super) headers: ::http::HeaderMap,
}

pub(super) struct Forward {
    pub(super) addr: SocketAddr,
    seen: Arc<Mutex<Seen>>,
}

#[derive(Default)]
struct Seen {
    asked: Vec<Asked>,
    connections: usize,
}

/// How it answers.
#[derive(Clone, Default)]
pub(super) struct Manners {
    /// Who may pass, as `Proxy-Authorization`; none for everybody.
    pub(super) demand: Option<&'static str>,
    /// It lets nobody through, and says this.
    pub(super) refuse: Option<u16>,
    /// It speaks TLS itself.
    pub(super) ca: Option<Arc<Ca>>,
}

impl Forward {
    /// A proxy whose every way leads to this mock.
    pub(super) async fn to(mock: &VodMock, manners: Manners) -> Self {
        Self::at(mock.endpoint().rsplit_once('/').unwrap().1.parse().unwrap(), manners).await
    }

    /// A proxy whose every way leads there. One that speaks TLS can stand for a server, too.
    pub(super) async fn at(target: SocketAddr, manners: Manners) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let addr = listener.local_addr().unwrap();
        let seen = Arc::new(Mutex::new(Seen::default()));
        let leaf = manners.ca.as_ref().map(|ca| ca.leaf(&HostName::loopback(), WallClock::system().now()));
        let shared = Arc::clone(&seen);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                shared.lock().unwrap().connections += 1;
                let (seen, manners) = (Arc::clone(&shared), manners.clone());
                let answer = service_fn(move |request| answer(request, target, Arc::clone(&seen), manners.clone()));
                let server = hyper::server::conn::http1::Builder::new();
                match &leaf {
                    Some(leaf) => {
                        let io = TokioIo::new(TlsTransport::new(stream, leaf));
                        tokio::spawn(server.serve_connection(io, answer).with_upgrades());
                    }
                    None => {
                        tokio::spawn(server.serve_connection(TokioIo::new(stream), answer).with_upgrades());
                    }
                }
            }
        });
        Self { addr, seen }
    }

    pub(super) fn url(&self) -> String {
        format!("http://{}", self.addr)
    }

    pub(super) fn asked(&self) -> Vec<Asked> {
        self.seen.lock().unwrap().asked.clone()
    }

    pub(super) fn lines(&self) -> Vec<String> {
        self.asked().into_iter().map(|asked| asked.line).collect()
    }

    /// Was it asked for tunnels to there alone, and for fewer than there were requests? Not always for one: a request may
    /// come before the connection of the last is known to be free again.
    #[track_caller]
    pub(super) fn assert_kept_tunnels(&self, to: &str, requests: usize) {
        let (line, lines) = (format!("CONNECT {to}"), self.lines());
        assert!((1..requests).contains(&lines.len()) && lines.iter().all(|asked| *asked == line), "{line}: {lines:?}");
    }

    pub(super) fn connections(&self) -> usize {
        self.seen.lock().unwrap().connections
    }
}

type Answer = Result<Response<BoxBody<bytes::Bytes, hyper::Error>>, hyper_util::client::legacy::Error>;

fn nothing(status: u16) -> Answer {
    let mut response = Response::new(http_body_util::Empty::new().map_err(|never| match never {}).boxed());
    *response.status_mut() = StatusCode::from_u16(status).unwrap();
    Ok(response)
}

async fn answer(
    mut request: Request<Incoming>,
    target: SocketAddr,
    seen: Arc<Mutex<Seen>>,
    manners: Manners,
) -> Answer {
    let target_line = request.uri().to_string();
    let line = format!("{} {}", request.method(), target_line.split('?').next().unwrap());
    seen.lock().unwrap().asked.push(Asked { line, headers: request.headers().clone() });
    let shown = request.headers_mut().remove(header::PROXY_AUTHORIZATION);
    if manners.demand.is_some_and(|demand| shown.is_none_or(|shown| shown != demand)) {
        return nothing(407);
    }
    if let Some(status) = manners.refuse {
        return nothing(status);
    }
    if request.method() == Method::CONNECT {
        tokio::spawn(async move {
            let mut client = TokioIo::new(hyper::upgrade::on(request).await.unwrap());
            let mut server = TcpStream::connect(target).await.unwrap();
            // How it ends is for the two to say.
            let _ = tokio::io::copy_bidirectional(&mut client, &mut server).await;
        });
        return nothing(200);
    }
    let path = request.uri().path_and_query().unwrap().clone();
    *request.uri_mut() =
        Uri::builder().scheme("http").authority(target.to_string()).path_and_query(path).build().unwrap();
    let client: Client<HttpConnector, Incoming> = Client::builder(TokioExecutor::new()).build_http();
    client.request(request).await.map(|response| response.map(|body| body.boxed()))
}

//! Where requests may go.

use http::{
    HeaderValue, Method,
    uri::{Authority, Scheme},
};
use vod_serve::Head;

use crate::{forward::Allowed, upstream::Origin};

/// Where the requests of a connection go.
#[derive(Clone, Debug)]
pub(crate) enum Way {
    /// All to one server, whatever host the client believes in.
    Reverse(Origin),
    /// To the one that each names, if it may be asked for.
    Forward(Allowed),
    /// The same, where nobody is asked: they are the hosts of a recording.
    Recorded(Allowed),
    /// To the one that the client had itself connected to, and to no other.
    Tunnel(Origin),
}

impl Way {
    /// Where a request goes; or the status that refuses it, and why.
    pub(crate) fn of(&self, head: &Head) -> Result<Origin, (u16, String)> {
        match self {
            Self::Reverse(origin) => match &head.absolute {
                None => Ok(origin.clone()),
                Some(_) => Err((
                    403,
                    format!(
                        "this is a reverse proxy, which asks {origin} alone: a forward proxy is vod-proxy … --forward"
                    ),
                )),
            },
            Self::Forward(allowed) => forward(allowed, head, refusal),
            Self::Recorded(allowed) => forward(allowed, head, |origin| unrecorded(origin, allowed)),
            Self::Tunnel(origin) => tunnelled(origin, head),
        }
    }

    /// What the server is told that it is called. In a tunnel the client says so itself.
    pub(crate) fn host_header(&self, to: &Origin) -> Option<HeaderValue> {
        match self {
            Self::Reverse(_) | Self::Forward(_) => Some(to.host_header()),
            Self::Tunnel(_) | Self::Recorded(_) => None,
        }
    }
}

fn forward(allowed: &Allowed, head: &Head, refusal: impl FnOnce(&Origin) -> String) -> Result<Origin, (u16, String)> {
    let origin = match &head.absolute {
        Some((None, authority)) if head.method == Method::CONNECT => {
            let to = Origin::of(true, authority).ok_or_else(|| no_server(authority))?;
            if allowed.allow(&to) {
                return Err((400, "CONNECT has to be the first request of its connection".to_owned()));
            }
            to
        }
        Some((Some(scheme), authority)) if *scheme == Scheme::HTTP => {
            Origin::of(false, authority).ok_or_else(|| no_server(authority))?
        }
        Some((Some(scheme), _)) => {
            return Err((400, format!("{scheme} is asked for by CONNECT, so that no proxy reads along unseen")));
        }
        Some((None, _)) | None => {
            let why =
                "this is a forward proxy: the request names no server (a reverse proxy is the one without --forward)";
            return Err((400, why.to_owned()));
        }
    };
    if allowed.allow(&origin) { Ok(origin) } else { Err((403, refusal(&origin))) }
}

fn tunnelled(origin: &Origin, head: &Head) -> Result<Origin, (u16, String)> {
    let named = match &head.absolute {
        Some((_, authority)) => Origin::of(origin.is_secure(), authority),
        None => head.host().parse().ok().and_then(|authority| Origin::of(origin.is_secure(), &authority)),
    };
    let same = named.is_some_and(|named| named.host() == origin.host() && named.port() == origin.port());
    if same {
        return Ok(origin.clone());
    }
    let why = "a request within a tunnel is for the host of the tunnel alone";
    Err((403, format!("{why}: this one leads to {origin}, and the request names {:?}", head.host())))
}

/// Why a server is not asked, and how to have it asked.
fn refusal(origin: &Origin) -> String {
    let (host, port) = (origin.host(), origin.port());
    let allow = if matches!(port, 80 | 443) { host.to_owned() } else { format!("{host}:{port}") };
    format!(
        "{host}:{port} is not on the list of hosts that may be asked: start the proxy with --allow {allow} if it should be"
    )
}

/// Why a host is not answered for.
fn unrecorded(origin: &Origin, allowed: &Allowed) -> String {
    format!("{}:{} was not recorded: the recording is of {}", origin.host(), origin.port(), allowed.hosts().join(", "))
}

fn no_server(authority: &Authority) -> (u16, String) {
    (400, format!("the request names no server that could be asked: {:?}", authority.host()))
}

//! What a client of a forward proxy begins its connection with: a request, or the wish to be connected to a host.

use std::{io, time::Duration};

use bytes::{Bytes, BytesMut};
use http::uri::Authority;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    time::timeout,
};
use vod_serve::Transport;

use super::{Allowed, rewound::Rewound};
use crate::upstream::Origin;

/// How long a client may take to say what it wants, and to begin in its tunnel. Default 75 s, as for the head of any request.
const OPENED_WITHIN: Duration = Duration::from_secs(75);

/// How long what it says may be, in bytes. Default 16 KiB.
const HEAD_MOST: usize = 16 << 10;

/// What a connection turned out to be.
pub(crate) enum Opening<T> {
    /// One of requests as to any server. Whoever may not be connected to a host hears so as the answer to its request.
    Requests(Rewound<T>),
    /// A tunnel to a host that may be asked, in which TLS is spoken, or is not.
    Tunnel(Rewound<T>, Origin),
}

/// Reads what a client begins with, and connects it if that is what it wants, and may.
///
/// # Errors
/// If it went away, or said nothing in time.
pub(crate) async fn open<T: Transport>(transport: T, allowed: &Allowed) -> io::Result<Opening<T>> {
    let late = |_| io::Error::from(io::ErrorKind::TimedOut);
    timeout(OPENED_WITHIN, begin(transport, allowed)).await.map_err(late)?
}

async fn begin<T: Transport>(mut transport: T, allowed: &Allowed) -> io::Result<Opening<T>> {
    const CONNECT: &[u8] = b"CONNECT ";
    let mut read = BytesMut::new();
    let end = loop {
        let common = read.len().min(CONNECT.len());
        if read[..common] != CONNECT[..common] || read.len() > HEAD_MOST {
            return Ok(Opening::Requests(Rewound::new(read.freeze(), transport)));
        }
        if let Some(at) = memchr::memmem::find(&read, b"\r\n\r\n") {
            break at + 4;
        }
        if transport.read_buf(&mut read).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    };
    let named = target(&read[CONNECT.len()..end]);
    let Some(authority) = named.filter(|authority| may_be_asked(authority, allowed)) else {
        return Ok(Opening::Requests(Rewound::new(read.freeze(), transport)));
    };
    let mut begun = read.split_off(end);
    transport.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n").await?;
    transport.flush().await?;
    if begun.is_empty() && transport.read_buf(&mut begun).await? == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    let secure = is_tls(&begun);
    let begun: Bytes = begun.freeze();
    match Origin::of(secure, &authority) {
        Some(origin) => Ok(Opening::Tunnel(Rewound::new(begun, transport), origin)),
        None => Err(io::ErrorKind::InvalidInput.into()),
    }
}

/// TLS begins with the byte 22, and a request with a letter.
fn is_tls(begun: &[u8]) -> bool {
    begun.first() == Some(&22)
}

/// Is the port named, and may the host be asked there, whatever is spoken to it?
fn may_be_asked(authority: &Authority, allowed: &Allowed) -> bool {
    authority.port().is_some() && Origin::of(true, authority).is_some_and(|origin| allowed.allow(&origin))
}

/// Whom a client wants to be connected to: what stands before the version.
fn target(head: &[u8]) -> Option<Authority> {
    let line = head.split(|byte| *byte == b'\r').next()?;
    let (target, version) = str::from_utf8(line).ok()?.split_once(' ')?;
    version.starts_with("HTTP/1.").then(|| target.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_host_with_its_port_can_be_connected_to() {
        let named = |line: &str| target(line.as_bytes()).map(|authority| authority.to_string());
        assert_eq!(named("h:443 HTTP/1.1\r\nhost: x\r\n\r\n").as_deref(), Some("h:443"));
        for bad in ["", "h:443", "h:443 FTP/1\r\n", "http://h/ HTTP/1.1\r\n", "a b HTTP/1.1\r\n"] {
            assert_eq!(named(bad), None, "{bad:?}");
        }
        let allowed: Allowed = ["h:443".parse().unwrap()].into_iter().collect();
        let check = |authority: &str, expected| {
            assert_eq!(may_be_asked(&authority.parse().unwrap(), &allowed), expected, "{authority}")
        };
        check("h:443", true);
        check("H.:443", true);
        check("h", false);
        check("h:80", false);
        check("me@h:443", false);
        check("evil:443", false);
    }
}

//! Who may ask at all: whoever has the token, where there is one, and no web page.

use std::net::IpAddr;

use axum::http::{HeaderMap, HeaderValue, StatusCode, header, uri::Authority};
use sha2::{Digest as _, Sha256};
use vod_proto::SIGN_HOSTS;

use super::refusal::{Place, Refusal};

/// Where `/__vod/` is answered, and to whom.
///
/// The mock cannot know who reaches a listener that it is given: where that may be somebody beyond this machine, set a
/// token, or answer nowhere.
#[derive(Clone, Debug, Default)]
pub struct AdminPolicy {
    /// Where it is answered. Default: wherever the protocol is.
    pub place: AdminPlace,
    /// What a request must show. Default: nothing.
    pub token: Option<AdminToken>,
}

/// Where `/__vod/` is answered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AdminPlace {
    /// On every connection that speaks the protocol. Over it no fault may be planted that refuses connections: nobody
    /// could take it away again.
    #[default]
    Shared,
    /// On connections of its own alone, those of [`Mock::serve_admin`](crate::Mock::serve_admin). Elsewhere the path is
    /// unknown, like any other.
    Apart,
    /// Nowhere. Whoever asks is told so.
    Nowhere,
}

/// The secret that requests to the admin API show, as `Authorization: Bearer TOKEN`. It can be compared, never read.
#[derive(Clone)]
pub struct AdminToken {
    digest: [u8; 32],
}

/// A token that no request could show.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the admin token is empty, or has characters that no header can carry: expected visible ASCII")]
pub struct BadToken;

impl AdminToken {
    /// A token.
    ///
    /// # Errors
    /// If it is empty, or not visible ASCII throughout.
    pub fn new(token: &str) -> Result<Self, BadToken> {
        let fits = !token.is_empty() && token.bytes().all(|byte| byte.is_ascii_graphic());
        if fits { Ok(Self { digest: digest(token.as_bytes()) }) } else { Err(BadToken) }
    }

    /// Is it this? How long that takes says nothing of the token: digests are compared, and nobody chooses those.
    fn is(&self, token: &[u8]) -> bool {
        digest(token) == self.digest
    }
}

fn digest(token: &[u8]) -> [u8; 32] {
    Sha256::digest(token).into()
}

impl std::fmt::Debug for AdminToken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("AdminToken")
    }
}

/// A page may have its own name lead to this machine once it is loaded, and then asks without naming its origin. The
/// name it asks for is still its own: one that anybody can register has dots, and is none of the service's.
fn known_host(headers: &HeaderMap) -> Result<(), Refusal> {
    let given = headers.get(header::HOST).map(|host| String::from_utf8_lossy(host.as_bytes()).to_ascii_lowercase());
    let Some(given) = given else { return Ok(()) };
    let authority = given.parse::<Authority>().ok();
    let host = authority.as_ref().map_or("", Authority::host).trim_end_matches('.');
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>().is_ok();
    let own = !host.contains('.') || host.ends_with(".localhost") || SIGN_HOSTS.contains(&host);
    if authority.is_some() && (address || own) {
        return Ok(());
    }
    let error = format!("header Host is {given:?}: expected this machine, as an address or by a name without a dot");
    Err(Refusal::new(StatusCode::FORBIDDEN, Place::Header, error).named("Host"))
}

impl AdminPolicy {
    /// May a request with these headers be answered?
    pub(super) fn admit(&self, headers: &HeaderMap) -> Result<(), Refusal> {
        if self.place == AdminPlace::Nowhere {
            let error = "the admin API is not served here: beyond loopback it is with a token alone, from \
                         --admin-token-file or VOD_ADMIN_TOKEN";
            return Err(Refusal::new(StatusCode::NOT_FOUND, Place::Path, error));
        }
        // A browser names the origin with every request that changes something. No page is served here, so whichever
        // it is, it is a foreign one: what it could do here, whoever visits it has not asked for.
        if let Some(origin) = headers.get(header::ORIGIN) {
            let error = format!("a web page, of {origin:?}, asks: expected a request without Origin");
            return Err(Refusal::new(StatusCode::FORBIDDEN, Place::Header, error).named("Origin"));
        }
        let Some(token) = &self.token else { return known_host(headers) };
        let wrong = match headers.get(header::AUTHORIZATION) {
            None => "is missing",
            Some(given) => match given.as_bytes().split_at_checked(b"Bearer ".len()) {
                Some((scheme, given)) if scheme.eq_ignore_ascii_case(b"Bearer ") && token.is(given) => return Ok(()),
                _ => "does not have the admin token",
            },
        };
        let error = format!("header Authorization {wrong}: expected Bearer and the token that vod-mock was given");
        let refusal = Refusal::new(StatusCode::UNAUTHORIZED, Place::Header, error).named("Authorization");
        Err(refusal.header(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer")))
    }
}

//! Which server a request goes to.

use std::{fmt, str::FromStr};

use http::{HeaderValue, Uri, uri::Authority};

/// A server: whether TLS is spoken to it, its host and its port.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Origin {
    secure: bool,
    /// In lower case, an address of version 6 in brackets, without a dot at the end.
    host: String,
    port: u16,
}

/// A text that names no server.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is no server: expected http:// or https://, a host and perhaps a port, without user, path or parameters"
)]
pub struct BadOrigin(String);

impl Origin {
    /// The server that an authority names: host and perhaps a port, for which stands the usual one. None of one that has a user,
    /// or a port that is none.
    #[must_use]
    pub fn of(secure: bool, authority: &Authority) -> Option<Self> {
        if authority.as_str().contains('@') {
            return None;
        }
        let usual = if secure { 443 } else { 80 };
        let host = authority.host().to_ascii_lowercase();
        let host = host.strip_suffix('.').unwrap_or(&host);
        let port = match authority.as_str()[authority.host().len()..].strip_prefix(':') {
            None | Some("") => usual,
            Some(port) => port.parse().ok()?,
        };
        (!host.is_empty()).then(|| Self { secure, host: host.to_owned(), port })
    }

    /// Is TLS spoken to it?
    #[must_use]
    pub const fn is_secure(&self) -> bool {
        self.secure
    }

    /// Its name, or its address.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Its port.
    #[must_use]
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// What stands in the `Host` header of requests to it: without the port where that is the usual one.
    #[must_use]
    pub fn host_header(&self) -> HeaderValue {
        HeaderValue::try_from(self.authority()).expect("the host of a URL fits into a header")
    }

    fn authority(&self) -> String {
        let usual = if self.secure { 443 } else { 80 };
        if self.port == usual { self.host.clone() } else { format!("{}:{}", self.host, self.port) }
    }

    /// The URL of a target on it.
    pub(crate) fn uri(&self, target: &str) -> Result<Uri, http::Error> {
        let scheme = if self.secure { "https" } else { "http" };
        Uri::builder().scheme(scheme).authority(self.authority()).path_and_query(target).build()
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", if self.secure { "https" } else { "http" }, self.authority())
    }
}

impl FromStr for Origin {
    type Err = BadOrigin;

    fn from_str(text: &str) -> Result<Self, BadOrigin> {
        let bad = || BadOrigin(hide_user(text));
        let uri: Uri = text.parse().map_err(|_| bad())?;
        let secure = match uri.scheme_str() {
            Some("http") => false,
            Some("https") => true,
            _ => return Err(bad()),
        };
        if !matches!(uri.path_and_query().map(|path| path.as_str()), None | Some("/")) {
            return Err(bad());
        }
        uri.authority().and_then(|authority| Self::of(secure, authority)).ok_or_else(bad)
    }
}

/// The text without what may be a password.
fn hide_user(text: &str) -> String {
    match text.rsplit_once('@') {
        Some((before, behind)) => match before.split_once("://") {
            Some((scheme, _)) => format!("{scheme}://…@{behind}"),
            None => format!("…@{behind}"),
        },
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: Result<&str, ()>) {
        let read = text.parse::<Origin>();
        assert_eq!(read.as_ref().map(ToString::to_string).map_err(|_| ()), expected.map(str::to_owned), "{text:?}");
    }

    #[test]
    fn a_server_is_a_scheme_a_host_and_a_port_and_nothing_more() {
        check("https://vod2.qcloud.com", Ok("https://vod2.qcloud.com"));
        check("http://VOD2.qcloud.com.:80/", Ok("http://vod2.qcloud.com"));
        check("http://127.0.0.1:8266", Ok("http://127.0.0.1:8266"));
        check("https://[::1]:443", Ok("https://[::1]"));
        for bad in ["", "vod2.qcloud.com", "ftp://h", "http://", "http://h/path", "http://h/?a", "http://h:99999"] {
            check(bad, Err(()));
        }
        let error = "http://me:sEcReT@h".parse::<Origin>().unwrap_err().to_string();
        assert!(error.starts_with("\"http://…@h\" is no server"), "{error}");
    }

    #[test]
    fn targets_go_on_to_the_letter() {
        let origin: Origin = "http://h:81".parse().unwrap();
        for target in ["/", "/v2/index.php?a=%2f+b&c=|{}", "/?", "//x"] {
            assert_eq!(origin.uri(target).unwrap().path_and_query().unwrap().as_str(), target);
        }
        assert_eq!(origin.host_header(), "h:81");
    }
}

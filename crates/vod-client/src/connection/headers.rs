//! What a caller adds to every request.

use std::fmt;

use ::http::{HeaderMap, HeaderName, HeaderValue, header};

use crate::error::ConfigError;

/// Headers that go with every request to the server, beside the protocol's own. A proxy that opens a tunnel does not get
/// them. Their values are shown nowhere, as they may be secrets.
///
/// ```
/// use vod_client::Headers;
///
/// let headers = Headers::default().with("X-Request-Source", "nightly")?.with("Authorization", "Bearer …")?;
/// assert!(headers.with("Content-Length", "7").is_err());
/// # Ok::<(), vod_client::ConfigError>(())
/// ```
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Headers(HeaderMap);

/// What the protocol or the connection needs as it is, and why it cannot be had otherwise.
const TAKEN: [(HeaderName, &str); 11] = [
    (header::HOST, "the endpoint says it"),
    (header::CONTENT_LENGTH, "the body says it"),
    (header::CONTENT_TYPE, "every body is application/octet-stream"),
    (header::CONTENT_ENCODING, "bodies go as they are"),
    (header::ACCEPT_ENCODING, "replies are read as they are"),
    (header::TRANSFER_ENCODING, "the body goes with its length"),
    (header::CONNECTION, "connections are kept or closed by need"),
    (header::UPGRADE, "connections speak HTTP/1.1 to their end"),
    (header::EXPECT, "bodies go without waiting"),
    (header::TRAILER, "nothing follows a body"),
    (header::PROXY_AUTHORIZATION, "the proxy's URL says it"),
];
/// Others of the same kind, which have no constant.
const TAKEN_BY_CONNECTIONS: [&str; 3] = ["keep-alive", "proxy-connection", "te"];

impl Headers {
    /// These, and one more. Headers may come several times; one named `User-Agent` takes the place of ours.
    ///
    /// # Errors
    /// If it is no header, or one that the protocol or the connection needs as it is.
    pub fn with(mut self, name: &str, value: &str) -> Result<Self, ConfigError> {
        let wrong = |why: &str| ConfigError::Header { name: name.to_owned(), why: why.to_owned() };
        let key = HeaderName::from_bytes(name.as_bytes()).map_err(|_| wrong("this is no name of a header"))?;
        if let Some((_, why)) = TAKEN.iter().find(|(taken, _)| *taken == key) {
            return Err(wrong(why));
        }
        if TAKEN_BY_CONNECTIONS.contains(&key.as_str()) {
            return Err(wrong("connections are kept or closed by need"));
        }
        let mut value = HeaderValue::from_str(value.trim())
            .map_err(|_| wrong("its value has characters that no header may have, such as a line break"))?;
        // Hyper shows no such value, whatever it logs.
        value.set_sensitive(true);
        self.0.append(key, value);
        Ok(self)
    }

    /// These, and one more that is written as on the wire: `Name: value`.
    ///
    /// # Errors
    /// As [`Headers::with`], and if there is no colon.
    pub fn with_line(self, line: &str) -> Result<Self, ConfigError> {
        // Without a colon, what is there may be a secret: it is not repeated.
        let wrong = || ConfigError::Header { name: "…".to_owned(), why: "expected Name: value".to_owned() };
        let (name, value) = line.split_once(':').ok_or_else(wrong)?;
        self.with(name.trim(), value)
    }

    /// Puts them into a request.
    pub(crate) fn put(&self, into: &mut HeaderMap) {
        for name in self.0.keys() {
            // What the caller says counts, and comes in the caller's order.
            into.remove(name);
        }
        into.extend(self.0.clone());
    }
}

/// Their names alone.
impl fmt::Debug for Headers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.keys().map(HeaderName::as_str)).finish()
    }
}

/// Does a line `Name: value` look as if whoever knows it could pose as somebody?
pub(crate) fn looks_secret(line: &str) -> bool {
    const NAMES: [&str; 9] =
        ["auth", "cookie", "token", "secret", "passw", "api-key", "apikey", "access-key", "credential"];
    let (name, value) = line.split_once(':').unwrap_or((line, ""));
    let (name, value) = (name.to_ascii_lowercase(), value.trim_start().to_ascii_lowercase());
    NAMES.iter().any(|part| name.contains(part)) || ["basic ", "bearer "].iter().any(|scheme| value.starts_with(scheme))
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::*;

    #[track_caller]
    fn refused(line: &str, expected: Expect) {
        expected.assert_eq(&Headers::default().with_line(line).unwrap_err().to_string());
    }

    #[test]
    fn what_would_break_the_protocol_is_refused_with_the_reason() {
        refused("Host: elsewhere", expect!["header Host: the endpoint says it"]);
        refused("content-length: 7", expect!["header content-length: the body says it"]);
        refused("Proxy-Authorization: Basic c2VjcmV0", expect!["header Proxy-Authorization: the proxy's URL says it"]);
        refused("TE: trailers", expect!["header TE: connections are kept or closed by need"]);
        refused("two words: x", expect!["header two words: this is no name of a header"]);
        refused(
            "X-A: s\r\nHost: h",
            expect!["header X-A: its value has characters that no header may have, such as a line break"],
        );
        refused("s3cret", expect!["header …: expected Name: value"]);
        for name in TAKEN.iter().map(|(name, _)| name.as_str()).chain(TAKEN_BY_CONNECTIONS) {
            assert!(Headers::default().with(name, "x").is_err(), "{name}");
        }
    }

    #[test]
    fn values_are_shown_nowhere_and_ours_give_way() {
        let headers = Headers::default().with_line("X-Api-Key: s3cret").unwrap();
        let headers = headers.with("user-agent", "mine").unwrap().with_line("x-api-key:again").unwrap();
        assert_eq!(format!("{headers:?}"), r#"["x-api-key", "user-agent"]"#);
        let mut request = HeaderMap::from_iter([(header::USER_AGENT, HeaderValue::from_static("ours"))]);
        headers.put(&mut request);
        let all: Vec<_> = request.get_all("x-api-key").iter().map(|value| value.to_str().unwrap()).collect();
        assert_eq!((all, &request[header::USER_AGENT]), (vec!["s3cret", "again"], &HeaderValue::from_static("mine")));
        assert!(!format!("{request:?}").contains("s3cret"), "{request:?}");
    }

    #[test]
    fn what_looks_secret() {
        for line in ["Authorization: x", "X-Api-Key: x", "cookie: a=b", "X-Auth-Token: x", "X-Who: Bearer abc"] {
            assert!(looks_secret(line), "{line}");
        }
        for line in ["X-Request-Id: 7", "User-Agent: a bearer of news", "Referer: http://h/"] {
            assert!(!looks_secret(line), "{line}");
        }
    }
}

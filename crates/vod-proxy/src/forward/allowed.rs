//! The hosts that may be asked.

use std::{fmt, str::FromStr};

use http::uri::Authority;

use crate::upstream::Origin;

/// The hosts that a forward proxy may ask. It connects to nothing else.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Allowed(Vec<AllowedHost>);

/// A host that may be asked, at one port, or at those of http and https.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AllowedHost {
    host: String,
    port: Option<u16>,
}

/// A text that names no host.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is no host: expected a name or an address, and perhaps a port, such as vod2.qcloud.com or 127.0.0.1:8266"
)]
pub struct BadHost(String);

impl BadHost {
    pub(crate) fn new(text: &str) -> Self {
        Self(text.to_owned())
    }
}

impl Allowed {
    /// May this server be asked?
    #[must_use]
    pub fn allow(&self, origin: &Origin) -> bool {
        self.0.iter().any(|allowed| {
            let port = allowed.port.map_or(matches!(origin.port(), 80 | 443), |port| port == origin.port());
            port && allowed.host == origin.host()
        })
    }

    /// The hosts, as they were named.
    #[must_use]
    pub fn hosts(&self) -> Vec<String> {
        self.0.iter().map(ToString::to_string).collect()
    }
}

impl FromIterator<AllowedHost> for Allowed {
    fn from_iter<I: IntoIterator<Item = AllowedHost>>(hosts: I) -> Self {
        Self(hosts.into_iter().collect())
    }
}

impl FromStr for AllowedHost {
    type Err = BadHost;

    fn from_str(text: &str) -> Result<Self, BadHost> {
        let bad = || BadHost::new(text);
        let authority: Authority = text.parse().map_err(|_| bad())?;
        let origin = Origin::of(false, &authority).ok_or_else(bad)?;
        let named = authority.as_str().len() > authority.host().len();
        Ok(Self { host: origin.host().to_owned(), port: named.then_some(origin.port()) })
    }
}

impl fmt::Display for AllowedHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.port {
            Some(port) => write!(f, "{}:{port}", self.host),
            None => f.write_str(&self.host),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_allowed_at_its_port_or_at_the_usual_two_and_nobody_else_is() {
        let allowed: Allowed =
            ["VOD2.qcloud.com", "127.0.0.1:8266", "[::1]"].map(|host| host.parse().unwrap()).into_iter().collect();
        let check = |url: &str, expected| assert_eq!(allowed.allow(&url.parse().unwrap()), expected, "{url}");
        check("http://vod2.qcloud.com", true);
        check("https://vod2.qcloud.com.", true);
        check("https://vod2.qcloud.com:80", true);
        check("https://vod2.qcloud.com:8443", false);
        check("http://127.0.0.1:8266", true);
        check("http://127.0.0.1", false);
        check("https://[::1]", true);
        check("https://xvod2.qcloud.com", false);
        check("https://vod2.qcloud.com.evil", false);
        check("https://qcloud.com", false);
        assert_eq!(allowed.hosts(), ["vod2.qcloud.com", "127.0.0.1:8266", "[::1]"]);
        for bad in ["", "http://h", "h/", "a b", "me@h", "h:x"] {
            assert!(bad.parse::<AllowedHost>().is_err(), "{bad:?}");
        }
    }
}

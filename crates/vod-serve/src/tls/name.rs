//! Whom a certificate may name.

use std::{fmt, net::IpAddr, str::FromStr};

use tokio_rustls::rustls::pki_types::ServerName;

/// A host that clients may ask for: a name in lower case, or an address.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct HostName(String);

/// A text that names no host.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no host: expected a name such as vod2.qcloud.com or an address, without scheme, port or wildcard")]
pub struct NotAHost(String);

impl HostName {
    /// The names under which a server on loopback is reached, whatever else it is called.
    #[must_use]
    pub fn loopback() -> [Self; 3] {
        ["localhost", "127.0.0.1", "::1"].map(|name| Self(name.to_owned()))
    }

    /// The name, or the address without brackets.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for HostName {
    type Err = NotAHost;

    fn from_str(text: &str) -> Result<Self, NotAHost> {
        let refused = || NotAHost(text.to_owned());
        // A dot at the end means the same host to a resolver, and another name to whoever compares certificates.
        let name = text.strip_suffix('.').unwrap_or(text).to_ascii_lowercase();
        ServerName::try_from(name.as_str()).map_err(|_| refused())?;
        Ok(Self(name))
    }
}

impl From<IpAddr> for HostName {
    fn from(addr: IpAddr) -> Self {
        Self(addr.to_string())
    }
}

impl fmt::Display for HostName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: Option<&str>) {
        let read = text.parse::<HostName>();
        assert_eq!(read.as_ref().ok().map(HostName::as_str), expected, "{text:?}");
        if let Err(error) = read {
            assert!(error.to_string().starts_with(&format!("{text:?} is no host")), "{error}");
        }
    }

    #[test]
    fn hosts_are_names_and_addresses_and_nothing_else() {
        check("vod2.qcloud.com", Some("vod2.qcloud.com"));
        check("VOD2.qcloud.com.", Some("vod2.qcloud.com"));
        check("localhost", Some("localhost"));
        check("10.0.0.7", Some("10.0.0.7"));
        check("::1", Some("::1"));
        let long = format!("{}.com", "a".repeat(64));
        for not in ["", ".", "a b", "https://a", "a:443", "[::1]", "*.qcloud.com", "-a.com", "a..b", "bücher.de", &long]
        {
            check(not, None);
        }
    }
}

//! Which proxy stands between us and a server, and for which servers none does.

use std::fmt;

use ::http::{HeaderValue, Uri, uri::Authority};
use hyper_util::client::proxy::matcher::Matcher;

use crate::error::ConfigError;

/// Through which proxy a server is reached. Default none, whatever the environment says: a library that heeds it unasked
/// does in a test what the machine wants.
///
/// A server at `http://` is asked for by its whole URL, one at `https://` through a tunnel (`CONNECT`). The proxy itself
/// speaks `http://` or `https://`; without a port it is asked at 80 or 443. User and password in its URL become
/// `Proxy-Authorization`, and are shown nowhere.
///
/// ```
/// use vod_client::Proxies;
///
/// let proxies = Proxies::through("http://proxy.example:3128")?.except("localhost, .internal, 10.0.0.0/8");
/// # Ok::<(), vod_client::ConfigError>(())
/// ```
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Proxies {
    /// For servers at `http://`; empty where there is none.
    http: String,
    /// For servers at `https://`.
    https: String,
    /// The servers that are reached without.
    except: String,
}

/// The proxy for one server.
#[derive(Clone)]
pub(crate) struct Proxy {
    /// Without user and password.
    pub(crate) uri: Uri,
    pub(crate) authorization: Option<HeaderValue>,
}

impl Proxies {
    /// The proxies of the environment, by the variables that curl reads: `http_proxy` for servers at `http://`,
    /// `https_proxy` for those at `https://`, `all_proxy` where the one that is meant is not set, and `no_proxy`.
    /// In capitals too, which count less. Beside `REQUEST_METHOD` the variable `HTTP_PROXY` is passed over: there it
    /// is what a web server's visitor sent as the header `Proxy`.
    ///
    /// # Errors
    /// Names the variable that is no URL.
    pub fn from_env() -> Result<Self, ConfigError> {
        Self::from_variables(|name| std::env::var(name).ok())
    }

    fn from_variables(variable: impl Fn(&str) -> Option<String>) -> Result<Self, ConfigError> {
        let set = |name: &str| variable(name).map(|value| value.trim().to_owned()).filter(|value| !value.is_empty());
        let first = |names: &[&'static str]| names.iter().find_map(|name| Some((*name, set(name)?)));
        let proxy = |names: &[&'static str]| match first(names) {
            Some((name, url)) => checked(name, url),
            None => Ok(String::new()),
        };
        let http: &[_] = match set("REQUEST_METHOD") {
            Some(_) => &["http_proxy", "all_proxy", "ALL_PROXY"],
            None => &["http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"],
        };
        Ok(Self {
            http: proxy(http)?,
            https: proxy(&["https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"])?,
            except: first(&["no_proxy", "NO_PROXY"]).map(|(_, list)| list).unwrap_or_default(),
        })
    }

    /// This proxy, for all servers.
    ///
    /// # Errors
    /// If this is no URL.
    pub fn through(url: &str) -> Result<Self, ConfigError> {
        let url = checked("the proxy", url.to_owned())?;
        Ok(Self { http: url.clone(), https: url, except: String::new() })
    }

    /// The same, but none for these servers, in place of those that were excepted before: names, which stand for all
    /// below them too; addresses and networks (`10.0.0.0/8`); `*` for all. Separated by commas.
    #[must_use]
    pub fn except(self, servers: impl Into<String>) -> Self {
        Self { except: servers.into(), ..self }
    }

    /// The same exceptions, and another proxy for all other servers.
    pub(crate) fn replaced(self, url: &str) -> Result<Self, ConfigError> {
        Ok(Self::through(url)?.except(self.except))
    }

    /// The proxy for a server.
    pub(crate) fn to(&self, server: &Uri) -> Result<Option<Proxy>, ConfigError> {
        let matcher =
            Matcher::builder().http(self.http.as_str()).https(self.https.as_str()).no(self.except.as_str()).build();
        let Some(proxy) = matcher.intercept(server) else { return Ok(None) };
        let uri = proxy.uri().clone();
        if !matches!(uri.scheme_str(), Some("http" | "https")) {
            let why = "expected http:// or https://, as no other kind of proxy is spoken to".to_owned();
            return Err(ConfigError::Proxy { which: shown(&uri), why });
        }
        Ok(Some(Proxy { uri, authorization: proxy.basic_auth().cloned() }))
    }
}

/// As people write a proxy's URL.
pub(crate) fn shown(proxy: &Uri) -> String {
    proxy.to_string().trim_end_matches('/').to_owned()
}

/// The URL of a proxy, if it is one. It may hold a password, so it is not repeated.
fn checked(which: &str, url: String) -> Result<String, ConfigError> {
    let anywhere = Uri::from_static("http://h");
    match Matcher::builder().all(url.as_str()).build().intercept(&anywhere) {
        Some(proxy) if proxy.uri().authority().is_some_and(port_can_be_read) => Ok(url),
        _ => {
            let why = "expected a URL such as http://proxy.example:3128".to_owned();
            Err(ConfigError::Proxy { which: which.to_owned(), why })
        }
    }
}

/// Is there a port after the host's colon, where there is a colon? What cannot be read would count as none.
pub(crate) fn port_can_be_read(authority: &Authority) -> bool {
    authority.port_u16().is_some() || authority.as_str().ends_with(authority.host())
}

/// Whether there are any: what they are called may hold a password.
impl fmt::Debug for Proxies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { http, https, except } = self;
        let set = |url: &String| if url.is_empty() { "none" } else { "set" };
        f.debug_struct("Proxies").field("http", &set(http)).field("https", &set(https)).field("except", except).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(variables: &[(&str, &str)]) -> Result<Proxies, ConfigError> {
        Proxies::from_variables(|name| {
            variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
        })
    }

    /// The proxy for a server, with its authorization.
    #[track_caller]
    fn to(variables: &[(&str, &str)], server: &str) -> String {
        match environment(variables).and_then(|proxies| proxies.to(&server.parse().unwrap())) {
            Ok(None) => "none".to_owned(),
            Ok(Some(Proxy { uri, authorization: None })) => shown(&uri),
            Ok(Some(Proxy { uri, authorization: Some(value) })) => {
                format!("{} as {}", shown(&uri), value.to_str().unwrap())
            }
            Err(error) => format!("error: {error}"),
        }
    }

    #[test]
    fn variables_are_read_as_curl_reads_them() {
        let all = [("HTTP_PROXY", "http://a:1"), ("HTTPS_PROXY", "http://b:2"), ("ALL_PROXY", "http://c:3")];
        assert_eq!([to(&all, "http://h"), to(&all, "https://h")], ["http://a:1", "http://b:2"]);
        assert_eq!(to(&all[2..], "http://h"), "http://c:3");
        assert_eq!(to(&all[2..], "https://h"), "http://c:3");
        assert_eq!(to(&all[..1], "https://h"), "none", "each is for its own scheme");
        assert_eq!(to(&[("http_proxy", "small:1"), all[0]], "http://h"), "http://small:1", "small letters come first");
        assert_eq!(to(&[("http_proxy", ""), all[2]], "http://h"), "http://c:3", "what is empty is not set");
        let cgi = [all[0], ("REQUEST_METHOD", "GET")];
        assert_eq!(to(&cgi, "http://h"), "none", "a visitor's header is no proxy of ours");
        assert_eq!(to(&[], "http://h"), "none");
    }

    #[test]
    fn some_servers_are_reached_without() {
        let to = |except, server: &str| to(&[("ALL_PROXY", "http://p:1"), ("NO_PROXY", except)], server);
        for (except, server) in [
            ("*", "http://h"),
            ("other, example.com", "https://vod.example.com"),
            (".example.com", "http://vod.example.com:80"),
            ("EXAMPLE.com", "http://example.com"),
            ("127.0.0.1", "http://127.0.0.1:8266"),
            ("10.0.0.0/8", "http://10.9.8.7"),
            ("::1", "https://[::1]:8266"),
        ] {
            assert_eq!(to(except, server), "none", "{except} {server}");
        }
        for (except, server) in
            [("", "http://h"), ("example.com", "http://notexample.com"), ("10.0.0.0/8", "http://11.0.0.1")]
        {
            assert_eq!(to(except, server), "http://p:1", "{except} {server}");
        }
    }

    #[test]
    fn a_password_becomes_a_header_and_is_shown_nowhere() {
        let variables = [("https_proxy", "http://me:p%40ss@p:3128/")];
        assert_eq!(to(&variables, "https://h"), "http://p:3128 as Basic bWU6cEBzcw==");
        let proxies = environment(&variables).unwrap();
        let proxy = proxies.to(&Uri::from_static("https://h")).unwrap().unwrap();
        let shown = format!("{proxies:?} {:?} {:?}", proxy.uri, proxy.authorization);
        assert!(!shown.contains("p%40ss") && !shown.contains("bWU6"), "{shown}");
        let wrong = to(&[("HTTPS_PROXY", "http://me:p%40ss@p:port")], "https://h");
        assert_eq!(wrong, "error: proxy HTTPS_PROXY: expected a URL such as http://proxy.example:3128");
    }

    #[test]
    fn a_proxy_of_another_kind_is_refused_where_it_would_be_asked() {
        let variables = [("all_proxy", "socks5://me:pass@p:1080"), ("http_proxy", "http://p:3128")];
        assert_eq!(to(&variables, "http://h"), "http://p:3128");
        assert_eq!(
            to(&variables, "https://h"),
            "error: proxy socks5://p:1080: expected http:// or https://, as no other kind of proxy is spoken to"
        );
    }
}

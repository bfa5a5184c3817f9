//! Who carries a callback to its URL.

use std::error::Error as StdError;

use async_trait::async_trait;
use bytes::Bytes;
use http::{Request, Uri, header, uri::Scheme};
use http_body_util::Full;
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use vod_proto::event;

/// Carries callbacks. Over HTTP in a mock that runs; whatever a test likes in a test.
#[async_trait]
pub trait Caller: Send + Sync {
    /// Posts a JSON text once, and gives back the status of the answer. It is dropped when it takes too long.
    ///
    /// # Errors
    /// Says why there was no answer. It must not repeat the URL, which may hold a password.
    async fn post(&self, url: &str, json: String) -> Result<u16, String>;

    /// Can it post to this URL at all? Default: as far as the URL tells.
    ///
    /// # Errors
    /// Says what is wrong with the URL, without repeating it.
    fn takes(&self, url: &str) -> Result<(), String> {
        check_url(url)
    }
}

/// Can a callback go to this URL at all?
///
/// # Errors
/// Says what is wrong with it, without repeating it.
pub fn check_url(url: &str) -> Result<(), String> {
    event::check_url(url).map_err(|wrong| wrong.to_string())
}

/// Posts over HTTP, each time on a connection of its own, so that one try is one connection.
///
/// Redirects are not followed, and a user and password in the URL are not sent.
pub struct HttpCaller {
    client: Client<HttpConnector, Full<Bytes>>,
}

impl Default for HttpCaller {
    fn default() -> Self {
        let client = Client::builder(TokioExecutor::new())
            .pool_max_idle_per_host(0)
            // Whether it is tried again is decided in one place, and that is not here.
            .retry_canceled_requests(false)
            .build_http();
        Self { client }
    }
}

fn parse(url: &str) -> Result<Uri, String> {
    let uri: Uri = url.parse().map_err(|wrong| format!("the URL cannot be used: {wrong}"))?;
    if uri.scheme() == Some(&Scheme::HTTP) {
        Ok(uri)
    } else {
        Err("callbacks go over http:// only: https:// is not built yet".to_owned())
    }
}

#[async_trait]
impl Caller for HttpCaller {
    fn takes(&self, url: &str) -> Result<(), String> {
        check_url(url)?;
        parse(url).map(|_| ())
    }

    async fn post(&self, url: &str, json: String) -> Result<u16, String> {
        let request = Request::post(parse(url)?)
            .header(header::CONTENT_TYPE, "application/json")
            .header(header::USER_AGENT, concat!("vod-mock/", env!("CARGO_PKG_VERSION")))
            .body(Full::from(json))
            .map_err(|wrong| chain(&wrong))?;
        let response = self.client.request(request).await.map_err(|error| chain(&error))?;
        Ok(response.status().as_u16())
    }
}

/// An error and what lies under it, in one line.
fn chain(error: &dyn StdError) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text = format!("{text}: {error}");
        source = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        net::TcpListener,
    };

    use super::*;

    /// Answers one request with `answer`, and gives back what was asked, once `until` was in it.
    async fn answer_once(listener: &TcpListener, until: &str, answer: &str) -> String {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut asked = Vec::new();
        while !String::from_utf8_lossy(&asked).contains(until) {
            assert!(stream.read_buf(&mut asked).await.unwrap() > 0, "{}", String::from_utf8_lossy(&asked));
        }
        stream.write_all(answer.as_bytes()).await.unwrap();
        String::from_utf8(asked).unwrap()
    }

    #[tokio::test]
    async fn json_is_posted_over_a_real_socket_and_any_status_is_an_answer() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let caller = HttpCaller::default();
        for (status, answer) in [
            (204, "HTTP/1.1 204 No Content\r\n\r\n"),
            (302, "HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n"),
            (500, "HTTP/1.1 500 Oh No\r\nContent-Length: 1000\r\n\r\nthe rest never comes"),
        ] {
            let url = format!("http://me:sEcReT@{addr}/call/back?a=b#c");
            let post = caller.post(&url, r#"{"a":"b"}"#.to_owned());
            let (asked, posted) = tokio::join!(answer_once(&listener, "}", answer), post);
            assert_eq!(posted, Ok(status));
            let (head, body) = asked.split_once("\r\n\r\n").unwrap();
            let head = head.to_ascii_lowercase();
            assert!(head.starts_with("post /call/back?a=b http/1.1\r\n"), "{head}");
            for line in [format!("host: {addr}"), "content-type: application/json".into(), "content-length: 9".into()] {
                assert!(head.lines().any(|header| header == line), "expected {line:?} in {head}");
            }
            assert!(!head.contains("secret"), "{head}");
            assert_eq!(body, r#"{"a":"b"}"#);
        }
    }

    #[tokio::test]
    async fn who_is_not_there_or_hangs_up_is_told_without_the_url() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://me:sEcReT@{}/", listener.local_addr().unwrap());
        let caller = HttpCaller::default();
        let hung_up = tokio::join!(caller.post(&url, "{}".to_owned()), answer_once(&listener, "{}", "")).0.unwrap_err();
        drop(listener);
        let refused = caller.post(&url, "{}".to_owned()).await.unwrap_err();
        assert!(refused.contains("refused"), "{refused}");
        assert!(!refused.contains("sEcReT") && !hung_up.contains("sEcReT"), "{refused}; {hung_up}");
    }

    #[tokio::test]
    async fn https_is_refused_in_words() {
        let error = HttpCaller::default().post("https://h/", "{}".to_owned()).await.unwrap_err();
        assert_eq!(error, "callbacks go over http:// only: https:// is not built yet");
        let takes = |url| HttpCaller::default().takes(url);
        assert_eq!(takes("https://h/"), Err(error));
        assert_eq!(takes("HTTP://h/"), Ok(()));
        assert_eq!(takes("h"), Err("expected a URL that begins with http:// or https://".to_owned()));
    }

    proptest::proptest! {
        /// The check when a URL is named and the parser when it is called are two: what the first takes, so must the second.
        #[test]
        fn whatever_the_check_takes_can_be_called(
            url in "https?://([a-z%:!$&'()*+,;=._~-]{0,8}@)?([a-zA-Z0-9._-]{1,8}|\\[::1\\])(:[0-9]{1,5})?([/?#][!-~]{0,20})?"
        ) {
            if check_url(&url).is_ok() {
                let uri = url.parse::<Uri>();
                proptest::prop_assert!(uri.as_ref().is_ok_and(|uri| uri.host().is_some()), "{url}: {uri:?}");
            }
        }
    }
}

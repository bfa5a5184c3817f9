//! What a proxy is asked for, and what it is not told.

use ::http::header;
use vod_client::{Headers, Options, Proxies, Trust, exit};
use vod_mock::{Tls, VodMock};

use super::{
    arrives,
    forward::{Forward, Manners},
    must_be_mended, options, trusting, upload,
};

const DEMAND: &str = "Basic bWU6czNjcmV0";

fn demanding() -> Manners {
    Manners { demand: Some(DEMAND), ..Manners::default() }
}

/// Through this proxy, as whoever.
fn through(proxy: &Forward, user: &str, options: Options) -> Options {
    let proxies = Proxies::through(&proxy.url().replace("//", &format!("//{user}"))).unwrap();
    Options { proxies, ..options }
}

fn marked(options: Options) -> Options {
    let headers = Headers::default().with("X-Mark", "here").unwrap().with("User-Agent", "mine").unwrap();
    Options { headers, ..options }
}

#[tokio::test]
async fn a_proxy_is_asked_for_the_whole_url_where_the_server_is_at_http() {
    let mock = VodMock::start().await;
    let proxy = Forward::to(&mock, demanding()).await;
    // Nobody could resolve this name.
    arrives(&mock, "http://vod.invalid:8266", through(&proxy, "me:s3cret@", marked(options()))).await;
    let url = "http://vod.invalid:8266/v2/index.php";
    let (get, post) = (format!("GET {url}"), format!("POST {url}"));
    assert_eq!(proxy.lines(), [&get, &post, &post, &post, &get].map(String::clone));
    for asked in proxy.asked() {
        assert_eq!(asked.headers[header::PROXY_AUTHORIZATION], DEMAND);
        assert_eq!(asked.headers[header::HOST], "vod.invalid:8266");
        assert_eq!(
            (&asked.headers["x-mark"], &asked.headers[header::USER_AGENT]),
            (&"here".parse().unwrap(), &"mine".parse().unwrap())
        );
    }
    assert!(proxy.connections() < 5, "connections to a proxy are kept: {}", proxy.connections());
}

#[tokio::test]
async fn a_proxy_opens_a_tunnel_where_the_server_is_at_https_and_hears_nothing_of_the_requests() {
    let mock = VodMock::start_tls().await;
    let proxy = Forward::to(&mock, demanding()).await;
    arrives(&mock, "https://vod2.qcloud.com", through(&proxy, "me:s3cret@", marked(trusting(&mock)))).await;
    proxy.assert_kept_tunnels("vod2.qcloud.com:443", 5);
    let asked = &proxy.asked()[0];
    assert_eq!(asked.headers[header::PROXY_AUTHORIZATION], DEMAND);
    assert!(!asked.headers.contains_key("x-mark"), "{asked:?}");
    assert!(mock.exchanges().iter().all(|exchange| exchange.request.tls && exchange.request.host == "vod2.qcloud.com"));
}

#[tokio::test]
async fn a_server_behind_a_tunnel_gets_our_headers_and_not_the_password_of_the_proxy() {
    let (mock, ca) = (VodMock::start().await, Tls::default().ca);
    let trust = Trust::only(ca.pem().as_bytes()).unwrap();
    let server = Forward::to(&mock, Manners { ca: Some(ca), ..Manners::default() }).await;
    let proxy = Forward::at(server.addr, demanding()).await;
    arrives(&mock, "https://localhost", through(&proxy, "me:s3cret@", Options { trust, ..marked(options()) })).await;
    proxy.assert_kept_tunnels("localhost:443", 5);
    assert_eq!(server.lines().len(), 5);
    for asked in server.asked() {
        assert_eq!(asked.headers["x-mark"], "here");
        assert!(!asked.headers.contains_key(header::PROXY_AUTHORIZATION), "{asked:?}");
        assert!(asked.line.ends_with(" /v2/index.php"), "{asked:?}");
    }
}

#[tokio::test]
async fn a_proxy_that_does_not_know_us_is_asked_once() {
    let (plain, secure) = tokio::join!(VodMock::start(), VodMock::start_tls());
    for (mock, endpoint, options) in
        [(&plain, "http://vod2.qcloud.com", options()), (&secure, "https://vod2.qcloud.com", trusting(&secure))]
    {
        for (user, why) in [
            ("", "it demands a user and a password (407): put them into its URL, in the environment variable"),
            ("me:gu3ss@", "it does not accept the user and password of its URL (407)"),
        ] {
            let proxy = Forward::to(mock, demanding()).await;
            let said = must_be_mended(endpoint, through(&proxy, user, options.clone())).await;
            assert_eq!(said, format!("open upload: proxy {}: {why}", proxy.url()));
            assert_eq!(proxy.lines().len(), 1);
        }
        assert!(mock.exchanges().is_empty());
    }
}

#[tokio::test]
async fn a_proxy_that_refuses_or_is_not_there_is_named_and_may_do_better_later() {
    let mock = VodMock::start_tls().await;
    let proxy = Forward::to(&mock, Manners { refuse: Some(503), ..Manners::default() }).await;
    let error = upload("https://vod2.qcloud.com", through(&proxy, "", trusting(&mock))).await.unwrap_err();
    let url = proxy.url();
    let expected = format!("cannot connect: the proxy {url} refuses to connect to the server");
    assert!(error.to_string().ends_with(&expected), "{error}");
    assert_eq!((error.attempts, proxy.lines().len(), exit::of(&error)), (2, 2, exit::EXHAUSTED));

    // Nobody listens at port 1.
    let nobody = Proxies::through("http://me:s3cret@127.0.0.1:1").unwrap();
    for endpoint in ["http://vod.invalid", "https://vod.invalid"] {
        let error = upload(endpoint, Options { proxies: nobody.clone(), ..trusting(&mock) }).await.unwrap_err();
        let expected = ": cannot connect: to the proxy http://127.0.0.1:1: connection refused";
        assert!(error.to_string().ends_with(expected), "{error}");
    }
}

#[tokio::test]
async fn a_server_that_is_excepted_is_reached_without() {
    let mock = VodMock::start().await;
    let proxy = Forward::to(&mock, Manners::default()).await;
    let proxies = Proxies::through(&proxy.url()).unwrap().except("example.com, 127.0.0.0/8");
    arrives(&mock, mock.endpoint(), Options { proxies, ..options() }).await;
    assert_eq!((proxy.lines().len(), proxy.connections(), mock.exchanges().len()), (0, 0, 5));
}

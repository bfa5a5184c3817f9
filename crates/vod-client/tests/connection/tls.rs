//! Whom the client trusts, and what it says of whom it does not.

use std::{net::SocketAddr, sync::Arc};

use tokio::net::TcpListener;
use vod_client::{Options, Proxies, Trust, exit};
use vod_mock::{Action, Config, Fault, Tls, Verdict, VodMock};

use super::{
    arrives,
    forward::{Forward, Manners},
    hasty, must_be_mended, options, trusting, upload,
};

#[tokio::test]
async fn an_upload_over_tls_arrives_where_its_ca_is_trusted() {
    let mock = VodMock::start_tls().await;
    arrives(&mock, mock.endpoint(), trusting(&mock)).await;
    assert!(mock.exchanges().iter().all(|exchange| exchange.request.tls));
    assert_eq!(mock.exchanges().len(), 5, "an init, three parts, a finish");
}

#[tokio::test]
async fn a_server_whose_ca_is_not_trusted_is_asked_once_and_told_nothing() {
    let (mock, other) = tokio::join!(VodMock::start_tls(), VodMock::start_tls());
    for trust in [trusting(&other).trust, Trust::system()] {
        let said = must_be_mended(mock.endpoint(), Options { trust, ..options() }).await;
        let peer = mock.endpoint().trim_start_matches("https://");
        assert_eq!(
            said,
            format!(
                "open upload: the certificate of {peer} is not trusted: nobody who is trusted has signed it; if that \
                 should be trusted, say so with --ca FILE or VOD_CA (of vod-mock --tls, the file that its first line \
                 calls ca)"
            )
        );
    }
    assert!(mock.exchanges().is_empty());
}

#[tokio::test]
async fn a_certificate_for_another_host_is_not_believed() {
    let tls = Tls { names: vec!["vod.example".parse().unwrap()], ..Tls::default() };
    let mock = VodMock::start_with(Config { tls: Some(tls), ..Config::default() }).await.unwrap();
    let proxy = Forward::to(&mock, Manners::default()).await;
    let options = Options { proxies: Proxies::through(&proxy.url()).unwrap(), ..trusting(&mock) };
    let said = must_be_mended("https://other.example", options.clone()).await;
    let start = "open upload: the certificate of other.example is not trusted: it is for another host: ";
    assert!(said.starts_with(start) && said.contains("vod.example") && said.contains("localhost"), "{said}");
    assert!(!said.contains("DnsName"), "{said}");
    assert!(mock.exchanges().is_empty());
    arrives(&mock, "https://vod.example", options).await;
}

#[tokio::test]
async fn who_speaks_no_tls_is_not_asked_again() {
    let plain = VodMock::start().await;
    let said = must_be_mended(&plain.endpoint().replace("http:", "https:"), options()).await;
    assert!(said.starts_with("open upload: cannot speak TLS with 127.0.0.1:"), "{said}");
}

#[tokio::test]
async fn who_never_answers_the_handshake_has_the_time_that_a_connection_may_take() {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let addr: SocketAddr = listener.local_addr().unwrap();
    let silent = tokio::spawn(async move {
        let mut held = Vec::new();
        while let Ok((stream, _)) = listener.accept().await {
            held.push(stream);
        }
    });
    let error = upload(&format!("https://{addr}"), hasty(options())).await.unwrap_err();
    assert!(error.to_string().ends_with(": cannot connect: no answer in 0.2 s"), "{error}");
    assert_eq!((error.attempts, exit::of(&error)), (2, exit::EXHAUSTED), "it may answer the next time");
    silent.abort();
}

#[tokio::test]
async fn a_stall_is_noticed_over_tls_and_resets_are_ridden_out() {
    let mock = VodMock::start_tls().await;
    let stall = mock.fault(Fault::on(Action::UploadPart).part(1).attempt(1).before_commit(Verdict::stall_forever()));
    let reset = mock.fault(Fault::on(Action::UploadPart).part(2).attempt(1).after_commit(Verdict::Reset));
    let close = mock.fault(Fault::on(Action::InitUpload).attempt(1).before_commit(Verdict::Close));
    let stall_timeout = std::time::Duration::from_millis(300);
    arrives(&mock, mock.endpoint(), Options { stall_timeout, ..trusting(&mock) }).await;
    assert_eq!((stall.struck(), reset.struck(), close.struck()), (1, 1, 1));
}

#[tokio::test]
async fn a_proxy_over_tls_must_be_trusted_too() {
    let ca = Tls::default().ca;
    let mock = VodMock::start_with(Config { tls: Some(Tls::with_ca(Arc::clone(&ca))), ..Config::default() }).await;
    let mock = mock.unwrap();
    let proxy = Forward::to(&mock, Manners { ca: Some(ca), ..Manners::default() }).await;
    let proxies = Proxies::through(&proxy.url().replace("http:", "https:")).unwrap();
    let options = Options { proxies, ..trusting(&mock) };
    arrives(&mock, "https://vod2.qcloud.com", options.clone()).await;
    proxy.assert_kept_tunnels("vod2.qcloud.com:443", 5);
    let said = must_be_mended("http://vod2.qcloud.com", Options { trust: Trust::system(), ..options }).await;
    let expected = format!("open upload: the certificate of {} is not trusted: nobody", proxy.addr);
    assert!(said.starts_with(&expected), "{said}");
}

//! Servers that are not to be waited for, and those that are not to be believed.

use std::sync::Arc;

use vod_serve::{
    WallClock,
    tls::{Ca, Tls, TlsTransport},
};

use super::{net::heard, *};
use crate::passing::SILENCE;

/// What a client hears that sends this to a server that is `played` so, what is recorded, and how many seconds it took.
async fn silent<F>(request: &[u8], played: impl FnOnce(Pipe) -> F) -> (Heard, Exchange, u64)
where
    F: Future<Output = ()> + Send + 'static,
{
    let net = Net::listening();
    let (proxy, dir) = net.reverse(KeptBodies::Replies, Rules::default());
    let (client, end) = Pipe::pair();
    let connection = tokio::spawn(proxy.connection(end));
    let (request, listening) = (request.to_vec(), net.clone());
    let hearing = tokio::spawn(heard(client, request));
    let server = tokio::spawn(played(listening.accepted().await));
    let heard = hearing.await.unwrap();
    connection.await.unwrap();
    server.abort();
    let exchange = recorded(&dir).remove(0);
    let took = exchange.times.reply_done.unwrap() / 1_000_000;
    (heard, exchange, took)
}

#[tokio::test(start_paused = true)]
async fn a_server_that_says_nothing_is_given_up_after_ten_minutes() {
    let (heard, exchange, took) = silent(GET.as_bytes(), |mut server| async move {
        read_request(&mut server).await;
        std::future::pending().await
    })
    .await;
    assert_eq!((heard.text.as_str(), exchange.end, exchange.reply), ("", End::Timeout, None));
    assert_eq!(took, SILENCE.as_secs());
}

#[tokio::test(start_paused = true)]
async fn a_server_that_falls_silent_in_its_reply_is_given_up_ten_minutes_after_its_last_byte() {
    let (heard, exchange, took) = silent(GET.as_bytes(), |mut server| async move {
        read_request(&mut server).await;
        server.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n{").await.unwrap();
        tokio::time::sleep(SILENCE - Duration::from_secs(1)).await;
        server.write_all(b"\"code").await.unwrap();
        std::future::pending().await
    })
    .await;
    assert!(heard.text.ends_with("\r\n\r\n{\"code"), "{}", heard.text);
    assert_eq!((exchange.end, exchange.reply.unwrap().body.as_str()), (End::Timeout, "{\"code"));
    assert_eq!(took, 2 * SILENCE.as_secs() - 1);
}

#[tokio::test(start_paused = true)]
async fn a_server_that_takes_nothing_of_a_body_is_given_up_after_ten_minutes() {
    let head = "POST /?Action=UploadPart HTTP/1.1\r\nhost: h\r\ncontent-length: 4000000\r\n\r\n";
    let request = [head.as_bytes(), &[7; 4_000_000]].concat();
    let (heard, exchange, took) = silent(&request, |server| async move {
        let _kept = server;
        std::future::pending().await
    })
    .await;
    assert_eq!((heard.text.as_str(), exchange.end, exchange.reply), ("", End::Timeout, None));
    assert_eq!(took, SILENCE.as_secs());
    // What a proxy holds of it is bounded.
    assert!(exchange.request.body.len < 2_000_000, "{} bytes", exchange.request.body.len);
}

#[tokio::test(start_paused = true)]
async fn a_server_whose_certificate_is_not_trusted_is_told_nothing_and_said_to_be_untrusted() {
    let net = Net::listening();
    let (proxy, dir) = net.reverse_to("https://vod2.qcloud.com");
    let leaf = Tls::with_ca(Arc::new(Ca::make(WallClock::system().now()))).leaf();
    let listening = net.clone();
    let server = tokio::spawn(async move {
        let mut server = TlsTransport::new(listening.accepted().await, &leaf);
        server.read(&mut [0; 9]).await.map_or(0, |read| read)
    });
    let heard = heard_by(&proxy, GET.as_bytes()).await;
    assert!(heard.text.starts_with("HTTP/1.1 502 "), "{}", heard.text);
    assert!(heard.text.contains("its certificate is not trusted: "), "{}", heard.text);
    let exchange = recorded(&dir).remove(0);
    assert_eq!((exchange.unreached, exchange.end), (Some(Unreached::Untrusted), End::Replied));
    assert_eq!(server.await.unwrap(), 0, "not one byte of the request reached it");
}

//! A replay that clients take for a forward proxy.

use tokio_rustls::{TlsConnector, rustls::pki_types::ServerName};
use vod_serve::WallClock;

use super::*;
use crate::upstream::trust;

fn forward(session: &Session) -> (TempDir, Replay) {
    let ca = Arc::new(Ca::make(WallClock::system().now()));
    replay_with(session, ReplayConfig { forward: Some(ca), ..ReplayConfig::default() }).unwrap()
}

fn finish() -> String {
    call(Action::FinishUpload, &[], 9)
}

#[test]
fn a_host_that_was_recorded_is_answered_for_in_its_tunnel_with_a_certificate_of_its_name() {
    let mut session = Session::default();
    session.finish(OK);
    let (_dir, replay) = forward(&session);
    block_on(async {
        let (mut client, pipe) = tokio::io::duplex(1 << 20);
        let served = replay.connection(Pipe(pipe));
        let asking = async {
            client
                .write_all(b"CONNECT vod2.qcloud.com:443 HTTP/1.1\r\nHost: vod2.qcloud.com:443\r\n\r\n")
                .await
                .unwrap();
            let mut opened = [0; 39];
            client.read_exact(&mut opened).await.unwrap();
            assert_eq!(&opened, b"HTTP/1.1 200 Connection established\r\n\r\n");
            let trusting = trust(replay.ca_pem().unwrap().as_bytes()).unwrap();
            let name = ServerName::try_from("vod2.qcloud.com").unwrap();
            let mut client = TlsConnector::from(Arc::new(trusting)).connect(name, client).await.expect("it is trusted");
            let head = format!("GET {} HTTP/1.1\r\nHost: vod2.qcloud.com\r\nConnection: close\r\n\r\n", finish());
            client.write_all(head.as_bytes()).await.unwrap();
            let mut answer = String::new();
            client.read_to_string(&mut answer).await.unwrap();
            assert_eq!(body(&answer), OK, "{answer}");
        };
        tokio::join!(served, asking);
    });
    assert!(replay.report().is_complete(), "{}", replay.report());
}

#[test]
fn hosts_that_were_not_recorded_are_refused_whatever_way_they_are_named() {
    let mut session = Session::default();
    session.finish(OK);
    let (_dir, replay) = forward(&session);
    let target = finish();
    block_on(async {
        let ask = |first: String, host: &str| ask_by(&replay, format!("{first} HTTP/1.1\r\nHost: {host}"), b"");
        // The recording is of https, so it is of port 443 alone.
        for (first, host) in [
            (format!("GET http://evil.example{target}"), "vod2.qcloud.com"),
            (format!("GET http://vod2.qcloud.com{target}"), "vod2.qcloud.com"),
            ("CONNECT evil.example:443".to_owned(), "vod2.qcloud.com:443"),
            ("CONNECT vod2.qcloud.com:22".to_owned(), "vod2.qcloud.com:443"),
        ] {
            let answer = ask(first.clone(), host).await;
            assert!(answer.starts_with("HTTP/1.1 403 "), "{first}: {answer}");
            assert!(answer.contains("the recording is of vod2.qcloud.com:443"), "{first}: {answer}");
        }
        let answer = ask(format!("GET {target}"), "vod2.qcloud.com").await;
        assert!(answer.starts_with("HTTP/1.1 400 ") && answer.contains("names no server"), "{answer}");
        let answer = ask(format!("GET http://vod2.qcloud.com:443{target}"), "other").await;
        assert_eq!(body(&answer), OK, "in a URL, too, a host may be asked at its port");
        // In a tunnel, without TLS, for the host of another.
        let tunnelled = "CONNECT vod2.qcloud.com:443 HTTP/1.1\r\n\r\nGET / HTTP/1.1\r\nHost: evil.example".to_owned();
        let answer = ask_by(&replay, tunnelled, b"").await;
        assert!(answer.contains("established\r\n\r\nHTTP/1.1 403 "), "{answer}");
    });
    let said: Vec<_> = replay.report().unmatched_lines().collect();
    assert!(said.len() == 6 && said[0].contains("is not answered: "), "{said:?}");
}

#[test]
fn without_it_absolute_urls_are_answered_as_ever_and_a_bad_host_is_refused_with_it() {
    let mut session = Session::default();
    session.finish(OK);
    let (_dir, replay) = replay(&session);
    block_on(async {
        let head = format!("GET http://whoever{} HTTP/1.1\r\nHost: whoever", finish());
        assert_eq!(body(&ask_by(&replay, head, b"").await), OK);
    });
    let bad = Source::Hosts(vec!["a b".to_owned()]).allowed().unwrap_err();
    assert!(ReplayError::from(bad).to_string().contains("\"a b\" is no host"));
}

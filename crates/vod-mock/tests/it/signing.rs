//! Which host a client may have signed for, whatever it connects to.

use vod_mock::{Config, DEMO_SECRET_KEY, VodMock};
use vod_proto::{
    Query,
    sign::{SecretKey, SignatureMethod, sign_query},
};

use crate::wire::{assert_says, config, init, json, mock, raw};

/// Opens an upload, signed for a host and sent with this `Host` header.
async fn opened(mock: &VodMock, signed_for: &str, host: &str) -> serde_json::Value {
    let target = init(b"file");
    let (unsigned, _) = target.split_once("&Signature=").unwrap();
    let (path, mut query) = Query::split_target(unsigned);
    sign_query(&SecretKey::new(DEMO_SECRET_KEY), SignatureMethod::HmacSha1, "GET", signed_for, path, &mut query);
    let head = format!("GET {path}?{query} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
    json(&raw(mock, &head, b"").await.unwrap())
}

#[tokio::test]
async fn a_client_signs_for_its_own_address_or_a_known_host_and_for_no_other_also_after_one_that_held() {
    let mock = mock(Config { sign_hosts: vec!["given.example".to_owned()], ..config() }).await;
    let own = "upload.example:8266";
    let known = ["vod2.qcloud.com", "vod.qcloud.com", "vod.api.qcloud.com", "given.example", "upload.example", own];
    for signed_for in known {
        assert_says(&opened(&mock, signed_for, own).await, 0, &[]);
        for other in ["", "vod2.qcloud.co", "xvod2.qcloud.com", "given.example:8266", "other.example"] {
            let refusal = opened(&mock, other, own).await;
            assert_says(&refusal, -10002, &["parameter Signature is wrong"]);
            let message = refusal["message"].as_str().unwrap();
            for host in known {
                let named = message.split([' ', ',']).filter(|word| *word == host).count();
                assert_eq!(named, 1, "{host} is tried once: {message}");
            }
        }
    }
}

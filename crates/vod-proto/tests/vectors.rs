//! Bytes from outside our own encoder: documented examples and requests that real clients sent.
//!
//! Both ends of this project share one encoder, so a mistake in it would hide from every round trip.

use serde::Deserialize;
use vod_proto::{
    Action, Limits, Query, Request,
    query::Decoding,
    request::CommonParams,
    rules,
    sign::{self, SecretKey, SignatureMethod},
    ugc::{UploadSignature, VerifyContent},
};

#[derive(Deserialize)]
struct Documented {
    vectors: Vec<Vector>,
}

#[derive(Deserialize)]
struct Vector {
    kind: String,
    #[serde(default)]
    key: String,
    #[serde(default)]
    string_to_sign: String,
    #[serde(default)]
    signature: String,
    url_encoded: Option<String>,
    #[serde(default)]
    original: String,
    #[serde(default)]
    verify_key: String,
    #[serde(default)]
    verify_content: String,
}

#[test]
fn documented_request_signatures_are_reproduced() {
    let documented: Documented = serde_json::from_str(include_str!("vectors/documented.json")).unwrap();
    let mut seen = 0;
    for vector in documented.vectors.iter().filter(|v| v.kind.starts_with("api2.0-")) {
        let method =
            if vector.kind == "api2.0-sha256" { SignatureMethod::HmacSha256 } else { SignatureMethod::HmacSha1 };
        let key = SecretKey::new(&vector.key);
        assert_eq!(sign::sign(&key, method, &vector.string_to_sign), vector.signature, "{}", vector.string_to_sign);
        assert!(sign::holds(&key, method, &vector.string_to_sign, &vector.signature));
        if let Some(encoded) = &vector.url_encoded {
            let mut query = Query::default();
            query.push("Signature", &vector.signature);
            assert_eq!(query.to_string(), format!("Signature={encoded}"));
        }
        seen += 1;
    }
    assert_eq!(seen, 3, "the file holds three request signatures");
}

#[test]
fn the_canonical_string_of_the_documents_is_rebuilt_from_its_parameters() {
    let documented: Documented = serde_json::from_str(include_str!("vectors/documented.json")).unwrap();
    for vector in documented.vectors.iter().filter(|v| v.kind.starts_with("api2.0-")) {
        let rest = vector.string_to_sign.strip_prefix("GETcvm.api.qcloud.com").unwrap();
        let (path, raw) = rest.split_once('?').unwrap();
        // Sent in another order, as clients do.
        let reversed: Vec<_> = raw.split('&').rev().collect();
        let query = Query::parse(&reversed.join("&"));
        let text = sign::string_to_sign("GET", "cvm.api.qcloud.com", path, &query, Decoding::Form);
        assert_eq!(text, vector.string_to_sign);
    }
}

#[test]
fn the_documented_upload_signature_and_proof_are_reproduced() {
    let documented: Documented = serde_json::from_str(include_str!("vectors/documented.json")).unwrap();
    let of = |kind: &str| documented.vectors.iter().find(|v| v.kind == kind).unwrap();
    let ugc = of("ugc-v1");
    let key = SecretKey::new(&ugc.key);
    assert_eq!(UploadSignature::sign(&key, &Query::parse(&ugc.original)), ugc.signature);
    let signature = UploadSignature::decode(&ugc.signature).unwrap();
    assert!(signature.holds(&key));
    assert_eq!((signature.field("f").as_deref(), signature.expires()), (Some("tencent_test.mp4"), Ok(1_437_995_704)));
    let proof = of("verify_content");
    let key = SecretKey::new(&proof.verify_key);
    let content = VerifyContent::verify(&key, &proof.verify_content).unwrap();
    assert_eq!((content.expires, content.file_id.as_str()), (1_488_160_264, "7031868222808505913"));
    assert_eq!(content.sign(&key), proof.verify_content);
}

#[derive(Deserialize)]
struct Clients {
    requests: Vec<Sent>,
}

#[derive(Deserialize)]
struct Sent {
    client: String,
    action: String,
    method: String,
    target: String,
    sign_host: String,
    body_len: u64,
    body_md5: String,
}

fn sent() -> Vec<Sent> {
    let clients: Clients = serde_json::from_str(include_str!("vectors/clients.json")).expect("the vectors are JSON");
    clients.requests
}

#[test]
fn signatures_of_real_clients_hold_and_break_when_a_byte_changes() {
    let key = SecretKey::new("testSecretKey");
    let sent = sent();
    assert_eq!(sent.len(), 7);
    for request in sent {
        let (path, query) = Query::split_target(&request.target);
        let hosts = ["127.0.0.1", request.sign_host.as_str()];
        let label = format!("{} {}", request.client, request.action);
        assert!(sign::request_holds(&key, &request.method, &hosts, path, &query), "{label}");
        let changed = Query::split_target(&request.target.replace("Region=", "Region=x")).1;
        assert!(!sign::request_holds(&key, &request.method, &hosts, path, &changed), "{label}");
    }
}

#[test]
fn requests_of_real_clients_parse_and_their_deviations_are_named() {
    let mut shown = String::new();
    for request in &sent() {
        let action: Action = request.action.parse().unwrap();
        let (path, query) = Query::split_target(&request.target);
        let common = CommonParams::from_query(action.family(), &query).unwrap();
        assert_eq!(common.secret_id, "testSecretId");
        let parsed = Request::from_query(action, &query, &Limits::default()).unwrap();
        assert_eq!(parsed.request.file_sha1().expect("named").to_string(), "de608d64ffbfdd09764069a3db038283eaac35eb");
        if let Request::Part(part) = &parsed.request {
            assert_eq!(part.span.len, request.body_len);
            assert_eq!(part.part_md5.to_string(), request.body_md5);
        }
        let mut ids: Vec<_> = rules::request_line(action, &request.method, path)
            .iter()
            .chain(&common.deviations)
            .chain(&parsed.deviations)
            .map(|deviation| deviation.rule.id)
            .collect();
        ids.dedup();
        shown.push_str(&format!("{} {action}: {}\n", request.client, ids.join(", ")));
    }
    expect_test::expect![[r#"
        nodejs-server-sdk-v4 InitUpload: documented-method, timestamp-seconds, known-parameters
        nodejs-server-sdk-v4 UploadPart: timestamp-seconds, known-parameters
        nodejs-server-sdk-v4 FinishUpload: documented-method, timestamp-seconds, known-parameters
        php-server-sdk-v4 InitUpload: documented-method, documented-path, known-parameters, tags-plural
        php-server-sdk-v4 UploadPart: documented-path, known-parameters
        php-server-sdk-v4 FinishUpload: documented-method, documented-path, known-parameters
        php-shaozeming-multipart MultipartUploadVodFile: known-parameters
    "#]]
    .assert_eq(&shown);
}

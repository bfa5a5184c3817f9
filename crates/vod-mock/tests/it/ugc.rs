//! The UGC family: one upload signature for all three calls, and what it says.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::Value;
use vod_mock::{Auth, Config, DEMO_SECRET_ID, DEMO_SECRET_KEY, DEMO_VERIFY_KEY, MemoryStore, VodMock};
use vod_proto::{
    FileFacts, Md5, Query, Sha1,
    rules::Profile,
    sign::SecretKey,
    ugc::{UploadSignature, VerifyContent},
};
use vod_serve::Plan;

use crate::wire::{
    NOW, PART, account, assert_code, assert_says, config, config_at, file, findings, get, mock, post, unsigned,
};

/// When the signatures of these tests expire.
const EXPIRES: i64 = NOW + 3600;

/// What an application signs for a file, in the order of the documents.
pub(crate) fn original(file: &[u8]) -> String {
    let sha = Sha1::of(file);
    format!("s={DEMO_SECRET_ID}&f=test&fs={sha}&ft=mp4&t={NOW}&e={EXPIRES}&r=2081660421&uid=1")
}

pub(crate) fn token(original: &str) -> String {
    UploadSignature::sign(&SecretKey::new(DEMO_SECRET_KEY), &Query::parse(original))
}

/// Any call with a signature, as the documents write it.
pub(crate) fn call(action: &str, token: &str, params: &[(&str, &str)]) -> String {
    unsigned(&[&[("Action", action)], params, &[("signature", token)]].concat())
}

pub(crate) fn init(file: &[u8], token: &str) -> String {
    let (sha, size) = (Sha1::of(file).to_string(), file.len().to_string());
    call("InitUploadEx", token, &[("fileSha", &sha), ("fileSize", &size), ("dataSize", "524288")])
}

pub(crate) fn part<'a>(file: &'a [u8], index: usize, token: &str) -> (String, &'a [u8]) {
    let offset = index * PART;
    let body = &file[offset..file.len().min(offset + PART)];
    let (sha, md5) = (Sha1::of(file).to_string(), Md5::of(body).to_string());
    let (offset, len) = (offset.to_string(), body.len().to_string());
    let params = [("fileSha", sha.as_str()), ("offset", &offset), ("dataSize", &len), ("dataMd5", &md5)];
    (call("UploadPartEx", token, &params), body)
}

pub(crate) fn finish(file: &[u8], token: &str) -> String {
    call("FinishUploadEx", token, &[("fileSha", &Sha1::of(file).to_string())])
}

/// A whole upload of a file of one part.
async fn uploaded(mock: &VodMock, file: &[u8], token: &str) -> Value {
    assert_code(&get(mock, &init(file, token)).await, 0, 0);
    assert_code(&post(mock, part(file, 0, token)).await, 0, 0);
    get(mock, &finish(file, token)).await
}

#[tokio::test]
async fn one_signature_carries_a_file_from_init_to_its_proof_in_both_profiles() {
    for profile in [Profile::Observed, Profile::Documented] {
        let mock = mock(Config { profile, ..config() }).await;
        let file = file(2);
        let token = token(&original(&file));
        assert_code(&get(&mock, &init(&file, &token)).await, 0, 0);
        assert_code(&post(&mock, part(&file, 2, &token)).await, 0, 0);
        assert_code(&post(&mock, part(&file, 0, &token)).await, 0, 0);
        let resumed = get(&mock, &init(&file, &token)).await;
        assert_code(&resumed, 1, 0);
        assert_eq!((&resumed["dataSize"], resumed["listParts"].as_array().map(Vec::len)), (&524_288.into(), Some(2)));
        assert_says(&get(&mock, &finish(&file, &token)).await, -10003, &["offset 524288 ", "missing"]);
        assert_code(&post(&mock, part(&file, 1, &token)).await, 0, 0);
        let stored = get(&mock, &finish(&file, &token)).await;
        assert_code(&stored, 0, 0);
        let id = stored["fileId"].as_str().unwrap();
        assert_eq!(stored["url"], format!("http://10013.vod2.myqcloud.com/vod10013/{id}/f0.mp4"));
        let proof = VerifyContent::verify(&SecretKey::new(DEMO_VERIFY_KEY), stored["verify_content"].as_str().unwrap());
        let proof = proof.unwrap_or_else(|error| panic!("{error}: {stored}"));
        assert_eq!((proof.file_id.as_str(), proof.expires), (id, NOW.unsigned_abs() + 86_400));
        let exists = get(&mock, &init(&file, &token)).await;
        assert_code(&exists, 2, 0);
        assert_eq!((&exists["fileId"], &exists["url"]), (&stored["fileId"], &stored["url"]));
        assert_eq!(get(&mock, &finish(&file, &token)).await, stored, "a finish is repeatable");
        assert_eq!(findings(&mock).await, [""; 0], "what the documents say is no deviation");
    }
}

#[tokio::test]
async fn a_proof_is_made_with_the_accounts_own_key_or_not_at_all() {
    let mock = mock(Config { accounts: account(""), ..config() }).await;
    let file = file(0);
    let stored = uploaded(&mock, &file, &token(&original(&file))).await;
    assert_code(&stored, 0, 0);
    assert_eq!(stored.get("verify_content"), None, "{stored}");
    // And with one of its own, it is made with that.
    let mock = self::mock(Config { accounts: account("verify-key = \"its own\""), ..config() }).await;
    let stored = uploaded(&mock, &file, &token(&original(&file))).await;
    let proof = |key: &str| VerifyContent::verify(&SecretKey::new(key), stored["verify_content"].as_str().unwrap());
    assert!(proof("its own").is_ok() && proof(DEMO_VERIFY_KEY).is_err(), "{stored}");
}

#[tokio::test]
async fn the_proof_belongs_to_the_ugc_family_whoever_began_the_upload() {
    let mock = mock(config()).await;
    let file = file(0);
    let stored = uploaded(&mock, &file, &token(&original(&file))).await;
    let by_server = get(&mock, &crate::wire::finish(&file)).await;
    assert_code(&by_server, 0, 0);
    assert_eq!(
        (&by_server["fileId"], by_server.get("verify_content")),
        (&stored["fileId"], None),
        "two doors, one file"
    );
}

#[tokio::test]
async fn what_the_signature_says_of_the_file_counts_and_the_query_is_not_heard() {
    let mock = mock(config()).await;
    let file = file(0);
    let said = "&tc=1&ss=1&wm=1&cid=42&tag.2=%E6%B5%B7&tag.1=a+b";
    let signed = original(&file).replace("f=test", "f=%E5%A4%8F%20day").replace("ft=mp4", "ft=MOV");
    let token = token(&(signed + said));
    let (sha, size) = (Sha1::of(&file).to_string(), file.len().to_string());
    let params = [
        ("fileSha", sha.as_str()),
        ("fileSize", &size),
        ("dataSize", "524288"),
        ("fileName", "other"),
        ("fileType", "avi"),
        ("classId", "7"),
        ("isTranscode", "0"),
        ("tag.1", "other"),
    ];
    assert_code(&get(&mock, &call("InitUploadEx", &token, &params)).await, 0, 0);
    let facts = FileFacts {
        name: "夏 day".to_owned(),
        file_type: "MOV".to_owned(),
        tags: vec!["a b".to_owned(), "海".to_owned()],
        class_id: Some(42),
        transcode: true,
        screenshot: true,
        watermark: true,
        ..FileFacts::default()
    };
    let view = mock.upload(Sha1::of(&file)).await.unwrap();
    assert_eq!(view.file, Some(facts));
    // The same as anybody can ask for it.
    let seen = get(&mock, &format!("/__vod/uploads/{sha}")).await;
    assert_eq!((&seen[0]["file"]["name"], &seen[0]["file"]["class-id"]), (&"夏 day".into(), &42.into()), "{seen}");
}

/// A signature of these fields whose Base64 has a plus sign, so that it matters how that is written.
fn with_plus(file: &[u8]) -> String {
    let plain = original(file);
    (0..10_000)
        .map(|random| token(&plain.replace("r=2081660421", &format!("r={random}"))))
        .find(|token| token.contains('+'))
        .expect("one in a few has one")
}

fn wrapped(token: &str, end: &str) -> String {
    let lines: Vec<_> = token.as_bytes().chunks(76).map(|line| std::str::from_utf8(line).unwrap()).collect();
    lines.join(end) + end
}

/// Every form in which known clients send a signature, and what of it the documents have otherwise.
#[tokio::test]
async fn signatures_of_real_clients_hold_and_their_deviations_are_noted() {
    let file = file(0);
    let plain = original(&file);
    let upper = Sha1::of(&file).to_string().to_uppercase();
    let plus = with_plus(&file);
    let as_documented = init(&file, &token(&plain));
    let milliseconds = plain.replace(&format!("e={EXPIRES}"), &format!("e={EXPIRES}000"));
    let sixteen_digits = plain.replace(&format!("e={EXPIRES}"), &format!("e={NOW}172800"));
    let hundred_days = plain.replace(&format!("e={EXPIRES}"), &format!("e={}", NOW + 100 * 86_400));
    let mut shuffled: Vec<_> = plain.split('&').collect();
    shuffled.reverse();
    let shuffled = shuffled.join("&");
    let first_version = plain.replace(&format!("&fs={}&ft=mp4", Sha1::of(&file)), "").replace("&uid=1", "");
    let first_version = first_version.replace("f=test", "f=tencent_test.mp4");
    let common = "&Region=gz&Timestamp=1&Nonce=000562251&SecretId=somebody&RequestClient=SDK_JAVA_2.0.4";
    for (form, target, noted) in [
        ("as documented", as_documented.clone(), vec![]),
        ("in any order", init(&file, &token(&shuffled)), vec![]),
        ("wrapped as on Unix", init(&file, &wrapped(&token(&plain), "\n")), vec![]),
        ("wrapped as on Windows", init(&file, &wrapped(&token(&plain), "\r\n")), vec![]),
        ("its plus not encoded", init(&file, &plus).replace("%2B", "+"), vec![]),
        ("named Signature", as_documented.replace("signature=", "Signature="), vec!["signature-name"]),
        (
            "with upper-case digests",
            init(&file, &token(&plain.replace(&Sha1::of(&file).to_string(), &upper)))
                .replace(&Sha1::of(&file).to_string(), &upper),
            vec!["digest-lower-case"],
        ),
        ("expiring in milliseconds", init(&file, &token(&milliseconds)), vec!["expiry-seconds"]),
        ("expiring in a joined text", init(&file, &token(&sixteen_digits)), vec!["expiry-seconds"]),
        ("for a hundred days", init(&file, &token(&hundred_days)), vec!["expiry-90-days"]),
        ("with a name as it is", init(&file, &token(&plain.replace("f=test", "f=my video"))), vec![]),
        ("with 11 random digits", init(&file, &token(&plain.replace("r=", "r=1"))), vec!["signature-random"]),
        ("of the first version", init(&file, &token(&first_version)), vec!["signature-fields"]),
        ("beside common parameters", format!("{as_documented}{common}"), vec!["known-parameters"]),
        (
            "without fileSha",
            as_documented.replace(&format!("fileSha={}&", Sha1::of(&file)), ""),
            vec!["file-sha-required"],
        ),
    ] {
        let mock = mock(config()).await;
        let reply = get(&mock, &target).await;
        assert_eq!(reply["code"], 0, "{form}: {reply}");
        assert_eq!(findings(&mock).await, noted, "{form}");
        let opened = mock.upload(Sha1::of(&file)).await.unwrap();
        assert_eq!((opened.account.as_str(), opened.file_size), ("demo", Some(1000)), "{form}");
    }
}

/// Its parameters are nothing but the action, the signature and what a part must say of itself.
#[tokio::test]
async fn the_oldest_java_client_uploads_with_little_more_than_a_wrapped_signature() {
    let aimed = format!(
        "{{ action = \"FinishUploadEx\", account = \"demo\", file-sha = \"{}\", times = 1 }}",
        Sha1::of(&file(1))
    );
    let plan: Plan = toml::from_str(&format!(
        "[[fault]]\nid = \"f\"\non = {aimed}\nphase = \"before-read\"\n\
         do = {{ reply = {{ code = -10004, can-retry = true }} }}\n"
    ))
    .unwrap();
    let mock = mock(Config { plan, ..config() }).await;
    let file = file(1);
    let token = wrapped(&token(&original(&file)), "\n");
    let java = |action: &str, params: &[(&str, &str)]| {
        unsigned(&[&[("Action", action)], params, &[("Signature", token.as_str())]].concat())
    };
    let size = file.len().to_string();
    let empty: &[u8] = b"";
    let opened = post(&mock, (java("InitUploadEx", &[("fileSize", &size), ("dataSize", "524288")]), empty)).await;
    assert_code(&opened, 0, 0);
    for offset in [0, PART] {
        let body = &file[offset..file.len().min(offset + PART)];
        let (offset, len, md5) = (offset.to_string(), body.len().to_string(), Md5::of(body).to_string());
        let params = [("offset", offset.as_str()), ("dataSize", &len), ("dataMd5", &md5)];
        assert_code(&post(&mock, (java("UploadPartEx", &params), body)).await, 0, 0);
    }
    // The fault is aimed by account and file, which only the signature names.
    assert_code(&post(&mock, (java("FinishUploadEx", &[]), empty)).await, -10004, 1);
    let stored = post(&mock, (java("FinishUploadEx", &[]), empty)).await;
    assert_code(&stored, 0, 0);
    assert!(stored["verify_content"].is_string(), "{stored}");
    assert_eq!(mock.upload(Sha1::of(&file)).await.unwrap().commits, 1);
}

#[tokio::test]
async fn signatures_that_prove_nothing_are_refused_and_never_repeated() {
    let mock = mock(config()).await;
    let file = file(0);
    let plain = original(&file);
    let good = token(&plain);
    let other_key = UploadSignature::sign(&SecretKey::new("another"), &Query::parse(&plain));
    let other_fs = plain.replace(&Sha1::of(&file).to_string(), "xyz");
    // The same fields in other words: the MAC is over the bytes, not over what they mean.
    let mut respelt = STANDARD.decode(&good).unwrap()[..20].to_vec();
    respelt.extend_from_slice(plain.replace("f=test", "f=tes%74").as_bytes());
    let mut spoilt = STANDARD.decode(&good).unwrap();
    spoilt[3] ^= 1;
    for (what, token, words) in [
        ("another key", other_key, ["parameter signature", "does not hold for account demo"]),
        ("other words", STANDARD.encode(&respelt), ["parameter signature", "does not hold for account demo"]),
        ("one bit", STANDARD.encode(&spoilt), ["parameter signature", "does not hold for account demo"]),
        ("a stranger", token(&plain.replace(DEMO_SECRET_ID, "AKIDstranger")), ["parameter signature", "no account"]),
        ("nobody", token(&plain.replace("s=AKID", "k=AKID")), ["parameter signature", "field s"]),
        ("no end", token(&plain.replace("&e=", "&E=")), ["parameter signature", "field e"]),
        ("no digest", token(&other_fs), ["parameter signature", "field fs"]),
        ("no Base64", "?!".to_owned(), ["parameter signature", "not Base64"]),
        ("the HMAC alone", STANDARD.encode([7; 20]), ["parameter signature", "20 bytes"]),
        // What the page of every call shows: the first 37 characters of a real one.
        ("the documents' sample", "IEmbRAPy5IgIAFnt7XPAToaY3RRzPUFLSURVZ".to_owned(), ["signature", "not Base64"]),
        ("nothing", String::new(), ["parameter signature", "bytes"]),
    ] {
        for target in [init(&file, &token), part(&file, 0, &token).0, finish(&file, &token)] {
            let reply = get(&mock, &target).await;
            assert_code(&reply, -10002, 0);
            assert_says(&reply, -10002, &words);
            assert!(token.len() < 8 || !reply.to_string().contains(&token[..8]), "{what}: {reply}");
        }
    }
    let unsigned = unsigned(&[("Action", "FinishUploadEx"), ("fileSha", &Sha1::of(&file).to_string())]);
    assert_says(&get(&mock, &unsigned).await, -10002, &["parameter signature is missing"]);
    assert_eq!(mock.uploads().await, [], "nothing came of any of them");
}

#[tokio::test]
async fn a_signature_is_for_one_file() {
    let mock = mock(config()).await;
    let (file, other) = (file(0), file(1));
    let token = token(&original(&file));
    let (asked, signed) = (Sha1::of(&other).to_string(), Sha1::of(&file).to_string());
    for target in [init(&other, &token), part(&other, 0, &token).0, finish(&other, &token)] {
        assert_says(&get(&mock, &target).await, -10003, &["fileSha", &asked, &signed]);
    }
    let named_nowhere = self::token(&original(&file).replace(&format!("&fs={signed}"), ""));
    let target = call("FinishUploadEx", &named_nowhere, &[]);
    assert_says(&get(&mock, &target).await, -10003, &["parameter fileSha is missing"]);
}

#[tokio::test]
async fn a_signature_that_has_expired_is_refused_by_each_of_the_calls() {
    let file = file(0);
    let store = MemoryStore::new();
    let token = token(&original(&file));
    let at = async |now| VodMock::start_on(config_at(now), std::sync::Arc::clone(&store) as _).await.unwrap();
    let refused = [EXPIRES.to_string(), (EXPIRES + 2).to_string(), "expired".to_owned()];
    let refused: Vec<_> = refused.iter().map(String::as_str).collect();
    assert_says(&get(&at(EXPIRES + 2).await, &init(&file, &token)).await, -10002, &refused);
    assert_code(&get(&at(EXPIRES - 2).await, &init(&file, &token)).await, 0, 0);
    assert_says(&post(&at(EXPIRES + 2).await, part(&file, 0, &token)).await, -10002, &refused);
    assert_code(&post(&at(EXPIRES - 2).await, part(&file, 0, &token)).await, 0, 0);
    assert_says(&get(&at(EXPIRES + 2).await, &finish(&file, &token)).await, -10002, &refused);
    // A new signature takes up where the old one ended.
    let renewed = self::token(&original(&file).replace(&format!("e={EXPIRES}"), &format!("e={}", EXPIRES + 10)));
    let late = at(EXPIRES + 2).await;
    assert_code(&get(&late, &init(&file, &renewed)).await, 1, 0);
    assert_code(&get(&late, &finish(&file, &renewed)).await, 0, 0);
}

#[tokio::test]
async fn where_nothing_is_verified_a_signature_is_still_read() {
    let mock = mock(Config { auth: Auth::Any, accounts: account(""), ..config() }).await;
    let file = file(0);
    let strange = original(&file).replace(DEMO_SECRET_ID, "AKIDstranger").replace(&EXPIRES.to_string(), "5");
    let token = UploadSignature::sign(&SecretKey::new("another"), &Query::parse(&strange));
    assert_code(&uploaded(&mock, &file, &token).await, 0, 0);
    assert_eq!(mock.upload(Sha1::of(&file)).await.unwrap().account, "test", "strangers count as the first account");
    let without = unsigned(&[("Action", "FinishUploadEx"), ("fileSha", &Sha1::of(&file).to_string())]);
    assert_says(&get(&mock, &without).await, -10002, &["parameter signature is missing"]);
}

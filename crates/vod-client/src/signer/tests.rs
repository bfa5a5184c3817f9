//! Each family in each dialect, to the letter: what is sent, where to, in which order.

use std::time::Duration;

use expect_test::{Expect, expect};
use vod_proto::{FinishUpload, InitUpload, Md5, NextPart, PartSpan, SmallFile, UploadPart, ugc::UploadSignature};

use super::*;
use crate::WallClock;

const NOW: i64 = 1_465_185_768;

fn key() -> SecretKey {
    SecretKey::new("Gu5t9xGARNpq86cd98joQYCN3Cozk1qA")
}

fn credentials() -> Credentials {
    Credentials::new("AKIDz8krbsJ5yKBZQpn74WFkmLPx3gnPhESA", key())
}

fn options(family: Family, dialect: Dialect) -> Options {
    let clock = WallClock::fixed(jiff::Timestamp::from_second(NOW).unwrap());
    Options { family, dialect, clock, seed: 7, ..Options::default() }
}

fn facts() -> FileFacts {
    FileFacts {
        name: "夏天 +1".to_owned(),
        file_type: "mp4".to_owned(),
        tags: vec!["a".to_owned(), "b c".to_owned()],
        class_id: Some(7),
        transcode: true,
        ..FileFacts::default()
    }
}

fn file_sha1() -> Sha1 {
    Sha1::of(b"file")
}

/// The lines of a family's requests. An upload signature is shown as what it says.
#[track_caller]
fn check(family: Family, dialect: Dialect, facts: &FileFacts, expected: Expect) {
    let file_sha1 = file_sha1();
    let (span, part_md5) = (PartSpan { offset: 0, len: 524_288 }, Md5::of(b"part"));
    let said = facts.clone();
    let requests = match family {
        Family::Legacy => vec![Request::Next(NextPart { facts: said, file_sha1, file_size: 600_000, span })],
        Family::Server | Family::Ugc => vec![
            Request::Init(InitUpload { facts: said, file_sha1, file_size: 600_000, part_size: 524_288 }),
            Request::Part(UploadPart { file_sha1, span, part_md5 }),
            Request::Finish(FinishUpload { file_sha1 }),
        ],
    };
    check_requests(family, dialect, facts, &requests, expected);
}

#[track_caller]
fn check_requests(family: Family, dialect: Dialect, facts: &FileFacts, requests: &[Request], expected: Expect) {
    let (options, credentials) = (options(family, dialect), credentials());
    let signer = Signer::new(&credentials, &options, facts, file_sha1()).unwrap();
    let mut shown = String::new();
    for request in requests {
        let Line { action, method, target } = signer.line(request, 11_886);
        assert_eq!(action, request.action(family));
        let (path, query) = Query::split_target(&target);
        shown.push_str(&format!("{method} {path}\n"));
        for pair in query.pairs() {
            let (name, value) = (pair.raw_name(), pair.raw_value());
            if family == Family::Ugc && name.eq_ignore_ascii_case("signature") {
                let token = UploadSignature::decode(&query.get(name).unwrap()).unwrap();
                assert!(token.holds(&key()), "{target}");
                shown.push_str(&format!("  {name}={{{}}}\n", token.fields()));
            } else {
                shown.push_str(&format!("  {name}={value}\n"));
            }
        }
        if family != Family::Ugc {
            assert!(sign::request_holds(&key(), method, &[options.sign_host()], path, &query), "{target}");
        }
    }
    expected.assert_eq(&shown);
}

#[test]
fn the_token_of_temporary_keys_goes_with_every_request_and_is_signed() {
    let temporary = Credentials::temporary("AKIDtemporary", key(), "a+b/c=");
    let (finish, next) = (FinishUpload { file_sha1: file_sha1() }, PartSpan { offset: 0, len: 600_000 });
    let next = NextPart { facts: facts(), file_sha1: file_sha1(), file_size: 600_000, span: next };
    for (family, request) in [(Family::Server, Request::Finish(finish)), (Family::Legacy, Request::Next(next))] {
        for dialect in [Dialect::Documented, Dialect::Observed] {
            let options = options(family, dialect);
            let signer = Signer::new(&temporary, &options, &facts(), file_sha1()).unwrap();
            let Line { method, target, .. } = signer.line(&request, 1);
            let (path, query) = Query::split_target(&target);
            assert_eq!(query.get("Token").as_deref(), Some("a+b/c="), "{target}");
            let holds = |query| sign::request_holds(&key(), method, &[options.sign_host()], path, query);
            assert!(holds(&query), "{target}");
            assert!(!holds(&Query::parse(&query.to_string().replace("a%2Bb", "ab"))), "it is not signed: {target}");
        }
    }
}

#[test]
fn an_upload_signature_has_no_place_for_the_token_of_temporary_keys() {
    let temporary = Credentials::temporary("AKIDtemporary", key(), "the-token");
    let refused = super::check(&temporary, &options(Family::Ugc, Dialect::Documented)).unwrap_err();
    let told = refused.to_string();
    assert!(told.contains("token of temporary keys is given: the ugc family") && !told.contains("the-token"), "{told}");
}

#[test]
fn server_documented() {
    check(
        Family::Server,
        Dialect::Documented,
        &facts(),
        expect![[r#"
        GET /v2/index.php
          Action=InitUpload
          fileName=%E5%A4%8F%E5%A4%A9%20%2B1
          fileSha=971c419dd609331343dee105fffd0f4608dc0bf2
          fileSize=600000
          dataSize=524288
          fileType=mp4
          tags.1=a
          tags.2=b%20c
          classId=7
          isTranscode=1
          Region=gz
          Timestamp=1465185768
          Nonce=11886
          SecretId=AKIDz8krbsJ5yKBZQpn74WFkmLPx3gnPhESA
          Signature=xwklv2ncaFj67ccZ5PVS6c0RbWs%3D
        POST /v2/index.php
          Action=UploadPart
          fileSha=971c419dd609331343dee105fffd0f4608dc0bf2
          offset=0
          dataSize=524288
          dataMd5=f4c9385f1902f7334b00b9b4ecd164de
          Region=gz
          Timestamp=1465185768
          Nonce=11886
          SecretId=AKIDz8krbsJ5yKBZQpn74WFkmLPx3gnPhESA
          Signature=DmXWTs0qqc%2B2q2Z2%2FqFa4%2FWVwV0%3D
        GET /v2/index.php
          Action=FinishUpload
          fileSha=971c419dd609331343dee105fffd0f4608dc0bf2
          Region=gz
          Timestamp=1465185768
          Nonce=11886
          SecretId=AKIDz8krbsJ5yKBZQpn74WFkmLPx3gnPhESA
          Signature=ERy8EkcwQoL%2BLsycNwGT%2BWrMirQ%3D
    "#]],
    );
}

#[test]
fn server_observed() {
    check(
        Family::Server,
        Dialect::Observed,
        &facts(),
        expect![[r#"
        POST /v3/index.php
          Action=InitUpload
          fileName=%E5%A4%8F%E5%A4%A9%20%2B1
          fileSha=971c419dd609331343dee105fffd0f4608dc0bf2
          fileSize=600000
          dataSize=524288
          fileType=mp4
          tags.1=a
          tags.2=b%20c
          classId=7
          isTranscode=1
          Region=gz
          Timestamp=1465185768
          Nonce=11886
          SecretId=AKIDz8krbsJ5yKBZQpn74WFkmLPx3gnPhESA
          Signature=3QDGRyoqdsSSd%2FU2g5CNtPSGMpo%3D
        POST /v3/index.php
          Action=UploadPart
          fileSha=971c419dd609331343dee105fffd0f4608dc0bf2
          offset=0
          dataSize=524288
          dataMd5=f4c9385f1902f7334b00b9b4ecd164de
          Region=gz
          Timestamp=1465185768
          Nonce=11886
          SecretId=AKIDz8krbsJ5yKBZQpn74WFkmLPx3gnPhESA
          Signature=u6nhmvpsSryMqbOgqfx8UmsqCrc%3D
        POST /v3/index.php
          Action=FinishUpload
          fileSha=971c419dd609331343dee105fffd0f4608dc0bf2
          Region=gz
          Timestamp=1465185768
          Nonce=11886
          SecretId=AKIDz8krbsJ5yKBZQpn74WFkmLPx3gnPhESA
          Signature=MpqBqTm9SHhsOEfLiXF0k4B9PSo%3D
    "#]],
    );
}

fn cover() -> FileFacts {
    FileFacts { cover_of: Some("16092504232103571364".to_owned()), ..FileFacts::from_path("c.png".as_ref()) }
}

#[test]
fn a_cover_in_three_steps() {
    check(
        Family::Server,
        Dialect::Documented,
        &cover(),
        expect![[r#"
        GET /v2/index.php
          Action=InitUpload
          fileName=c
          fileSha=971c419dd609331343dee105fffd0f4608dc0bf2
          fileSize=600000
          dataSize=524288
          fileType=png
          extra.usage=1
          extra.fileId=16092504232103571364
          Region=gz
          Timestamp=1465185768
          Nonce=11886
          SecretId=AKIDz8krbsJ5yKBZQpn74WFkmLPx3gnPhESA
          Signature=QsYvNpNF4AjfhrUkZKLQhT8t16U%3D
        POST /v2/index.php
          Action=UploadPart
          fileSha=971c419dd609331343dee105fffd0f4608dc0bf2
          offset=0
          dataSize=524288
          dataMd5=f4c9385f1902f7334b00b9b4ecd164de
          Region=gz
          Timestamp=1465185768
          Nonce=11886
          SecretId=AKIDz8krbsJ5yKBZQpn74WFkmLPx3gnPhESA
          Signature=DmXWTs0qqc%2B2q2Z2%2FqFa4%2FWVwV0%3D
        GET /v2/index.php
          Action=FinishUpload
          fileSha=971c419dd609331343dee105fffd0f4608dc0bf2
          Region=gz
          Timestamp=1465185768
          Nonce=11886
          SecretId=AKIDz8krbsJ5yKBZQpn74WFkmLPx3gnPhESA
          Signature=ERy8EkcwQoL%2BLsycNwGT%2BWrMirQ%3D
    "#]],
    );
}

#[test]
fn a_small_cover_is_posted_whole_in_both_dialects() {
    let whole = SmallFile { facts: cover(), file_sha1: file_sha1(), file_size: 204_800 };
    let whole = [Request::Whole(whole)];
    check_requests(
        Family::Server,
        Dialect::Documented,
        &cover(),
        &whole,
        expect![[r#"
        POST /v2/index.php
          Action=SmallFileUpload
          fileName=c
          fileSha=971c419dd609331343dee105fffd0f4608dc0bf2
          fileSize=204800
          dataSize=204800
          fileType=png
          extra.usage=1
          extra.fileId=16092504232103571364
          Region=gz
          Timestamp=1465185768
          Nonce=11886
          SecretId=AKIDz8krbsJ5yKBZQpn74WFkmLPx3gnPhESA
          Signature=nG5lKF2tQtAdYKMsaFe2%2FN%2FbhgI%3D
    "#]],
    );
    check_requests(
        Family::Server,
        Dialect::Observed,
        &cover(),
        &whole,
        expect![[r#"
        POST /v3/index.php
          Action=SmallFileUpload
          fileName=c
          fileSha=971c419dd609331343dee105fffd0f4608dc0bf2
          fileSize=204800
          dataSize=204800
          fileType=png
          extra.usage=1
          extra.fileId=16092504232103571364
          Region=gz
          Timestamp=1465185768
          Nonce=11886
          SecretId=AKIDz8krbsJ5yKBZQpn74WFkmLPx3gnPhESA
          Signature=OCv3nZudIOKbXzwU2d8DMgmMQkE%3D
    "#]],
    );
}

#[test]
fn ugc_documented_has_no_common_parameters() {
    check(
        Family::Ugc,
        Dialect::Documented,
        &facts(),
        expect![[r#"
        GET /v2/index.php
          Action=InitUploadEx
          fileSha=971c419dd609331343dee105fffd0f4608dc0bf2
          fileSize=600000
          dataSize=524288
          signature={s=AKIDz8krbsJ5yKBZQpn74WFkmLPx3gnPhESA&f=%E5%A4%8F%E5%A4%A9%20%2B1&fs=971c419dd609331343dee105fffd0f4608dc0bf2&ft=mp4&t=1465185768&e=1465358568&r=394914243&uid=1&tc=1&cid=7&tag.1=a&tag.2=b%20c}
        POST /v2/index.php
          Action=UploadPartEx
          fileSha=971c419dd609331343dee105fffd0f4608dc0bf2
          offset=0
          dataSize=524288
          dataMd5=f4c9385f1902f7334b00b9b4ecd164de
          signature={s=AKIDz8krbsJ5yKBZQpn74WFkmLPx3gnPhESA&f=%E5%A4%8F%E5%A4%A9%20%2B1&fs=971c419dd609331343dee105fffd0f4608dc0bf2&ft=mp4&t=1465185768&e=1465358568&r=394914243&uid=1&tc=1&cid=7&tag.1=a&tag.2=b%20c}
        GET /v2/index.php
          Action=FinishUploadEx
          fileSha=971c419dd609331343dee105fffd0f4608dc0bf2
          signature={s=AKIDz8krbsJ5yKBZQpn74WFkmLPx3gnPhESA&f=%E5%A4%8F%E5%A4%A9%20%2B1&fs=971c419dd609331343dee105fffd0f4608dc0bf2&ft=mp4&t=1465185768&e=1465358568&r=394914243&uid=1&tc=1&cid=7&tag.1=a&tag.2=b%20c}
    "#]],
    );
}

#[test]
fn ugc_observed() {
    check(
        Family::Ugc,
        Dialect::Observed,
        &facts(),
        expect![[r#"
        POST /v3/index.php
          Action=InitUploadEx
          fileSha=971c419dd609331343dee105fffd0f4608dc0bf2
          fileSize=600000
          dataSize=524288
          Region=gz
          Timestamp=1465185768
          Nonce=11886
          SecretId=AKIDz8krbsJ5yKBZQpn74WFkmLPx3gnPhESA
          Signature={s=AKIDz8krbsJ5yKBZQpn74WFkmLPx3gnPhESA&f=%E5%A4%8F%E5%A4%A9%20%2B1&fs=971c419dd609331343dee105fffd0f4608dc0bf2&ft=mp4&t=1465185768&e=1465358568&r=394914243&uid=1&tc=1&cid=7&tag.1=a&tag.2=b%20c}
        POST /v3/index.php
          Action=UploadPartEx
          fileSha=971c419dd609331343dee105fffd0f4608dc0bf2
          offset=0
          dataSize=524288
          dataMd5=f4c9385f1902f7334b00b9b4ecd164de
          Region=gz
          Timestamp=1465185768
          Nonce=11886
          SecretId=AKIDz8krbsJ5yKBZQpn74WFkmLPx3gnPhESA
          Signature={s=AKIDz8krbsJ5yKBZQpn74WFkmLPx3gnPhESA&f=%E5%A4%8F%E5%A4%A9%20%2B1&fs=971c419dd609331343dee105fffd0f4608dc0bf2&ft=mp4&t=1465185768&e=1465358568&r=394914243&uid=1&tc=1&cid=7&tag.1=a&tag.2=b%20c}
        POST /v3/index.php
          Action=FinishUploadEx
          fileSha=971c419dd609331343dee105fffd0f4608dc0bf2
          Region=gz
          Timestamp=1465185768
          Nonce=11886
          SecretId=AKIDz8krbsJ5yKBZQpn74WFkmLPx3gnPhESA
          Signature={s=AKIDz8krbsJ5yKBZQpn74WFkmLPx3gnPhESA&f=%E5%A4%8F%E5%A4%A9%20%2B1&fs=971c419dd609331343dee105fffd0f4608dc0bf2&ft=mp4&t=1465185768&e=1465358568&r=394914243&uid=1&tc=1&cid=7&tag.1=a&tag.2=b%20c}
    "#]],
    );
}

#[test]
fn legacy_is_one_action_and_the_same_in_both_dialects() {
    let facts = FileFacts { notify_url: Some("http://a.example/b?c=d".to_owned()), ..facts() };
    check(
        Family::Legacy,
        Dialect::Documented,
        &facts,
        expect![[r#"
        POST /v2/index.php
          Action=MultipartUploadVodFile
          fileName=%E5%A4%8F%E5%A4%A9%20%2B1
          fileSha=971c419dd609331343dee105fffd0f4608dc0bf2
          fileSize=600000
          dataSize=524288
          offset=0
          fileType=mp4
          tags.1=a
          tags.2=b%20c
          classId=7
          isTranscode=1
          notifyUrl=http%3A%2F%2Fa.example%2Fb%3Fc%3Dd
          Region=gz
          Timestamp=1465185768
          Nonce=11886
          SecretId=AKIDz8krbsJ5yKBZQpn74WFkmLPx3gnPhESA
          Signature=PTl%2BaWMbAbKDVYOeZEMME1cjJig%3D
    "#]],
    );
    check(
        Family::Legacy,
        Dialect::Observed,
        &facts,
        expect![[r#"
        POST /v2/index.php
          Action=MultipartUploadVodFile
          fileName=%E5%A4%8F%E5%A4%A9%20%2B1
          fileSha=971c419dd609331343dee105fffd0f4608dc0bf2
          fileSize=600000
          dataSize=524288
          offset=0
          fileType=mp4
          tags.1=a
          tags.2=b%20c
          classId=7
          isTranscode=1
          notifyUrl=http%3A%2F%2Fa.example%2Fb%3Fc%3Dd
          Region=gz
          Timestamp=1465185768
          Nonce=11886
          SecretId=AKIDz8krbsJ5yKBZQpn74WFkmLPx3gnPhESA
          Signature=PTl%2BaWMbAbKDVYOeZEMME1cjJig%3D
    "#]],
    );
}

#[test]
fn another_host_may_be_signed() {
    let (credentials, sign_host) = (credentials(), Some("example.com".to_owned()));
    let options = Options { sign_host, ..options(Family::Server, Dialect::Documented) };
    let signer = Signer::new(&credentials, &options, &facts(), file_sha1()).unwrap();
    let line = signer.line(&Request::Finish(FinishUpload { file_sha1: file_sha1() }), 1);
    let (path, query) = Query::split_target(&line.target);
    assert!(sign::request_holds(&key(), line.method, &["example.com"], path, &query), "{}", line.target);
    assert!(!sign::request_holds(&key(), line.method, &[vod_proto::SIGN_HOST], path, &query), "{}", line.target);
}

fn token(fields: &str) -> String {
    UploadSignature::sign(&key(), &Query::parse(fields))
}

/// What becomes of an upload signature that was made elsewhere.
#[track_caller]
fn check_token(family: Family, text: &str, expected: Expect) {
    let (credentials, options) = (Credentials::token(text), options(family, Dialect::Documented));
    let early = super::check(&credentials, &options);
    let ready = Signer::new(&credentials, &options, &FileFacts::default(), file_sha1());
    let shown = match (early, ready) {
        (Ok(()), Ok(signer)) => format!("used for {}", signer.secret_id),
        (Ok(()), Err(error)) => format!("once the file is read: {error}"),
        (Err(error), Err(again)) if error == again => error.to_string(),
        _ => panic!("what is wrong before the file is read is wrong afterwards"),
    };
    assert!(!shown.contains(text), "it is a secret");
    expected.assert_eq(&shown);
}

#[test]
fn an_upload_signature_made_elsewhere_must_be_for_this_file_and_still_hold() {
    let good = format!("s=id&f=n&fs={}&e={NOW}", file_sha1());
    let ugc = |fields: &str, expected: Expect| check_token(Family::Ugc, &token(fields), expected);
    ugc(&good, expect!["used for id"]);
    ugc(&good.replace(&NOW.to_string(), "1465185769000"), expect!["used for id"]);
    ugc("s=id&f=n.mp4&e=9999999999", expect!["used for id"]);
    ugc(
        &good.replace(&NOW.to_string(), "1465185767"),
        expect!["the upload signature has expired: it held until 2016-06-06T04:02:47Z"],
    );
    ugc(
        &good.replace(&file_sha1().to_string(), &Sha1::of(b"other").to_string()),
        expect![
            "once the file is read: the upload signature is for another file: its SHA-1 is d0941e68da8f38151ff86a61fc59f7c5cf9fcaa2, and this one's is 971c419dd609331343dee105fffd0f4608dc0bf2"
        ],
    );
    ugc(
        &good.replace("s=id", "k=id"),
        expect!["the upload signature cannot be read: the signature's field s: expected the account's SecretId"],
    );
    check_token(
        Family::Ugc,
        "IEmbRAPy5IgIAFnt7XPAToaY3RRzPUFLSURVZ",
        expect!["the upload signature cannot be read: the signature is not Base64: Invalid input length: 37"],
    );
    check_token(
        Family::Server,
        &token(&good),
        expect!["the upload signature is for the ugc family alone: the server family signs with a key pair"],
    );
    check_token(
        Family::Legacy,
        &token(&good),
        expect!["the upload signature is for the ugc family alone: the legacy family signs with a key pair"],
    );
}

#[tokio::test(start_paused = true)]
async fn one_upload_signature_serves_the_whole_upload() {
    let (credentials, options) = (credentials(), options(Family::Ugc, Dialect::Documented));
    let signer = Signer::new(&credentials, &options, &facts(), file_sha1()).unwrap();
    let token = |nonce| {
        let line = signer.line(&Request::Finish(FinishUpload { file_sha1: file_sha1() }), nonce);
        Query::split_target(&line.target).1.get("signature").unwrap().into_owned()
    };
    let first = token(1);
    tokio::time::advance(Duration::from_secs(3600)).await;
    assert_eq!(token(2), first);
}

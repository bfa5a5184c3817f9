use expect_test::{Expect, expect};

use super::*;

const SHA: &str = "b4a5c70c76e79e01ab3a5c306de3d9eedeadeca9";
const MD5: &str = "0bee89b07a248e27c83fc3d5951213c1";

#[track_caller]
fn check(action: Action, raw: &str, expected: Expect) {
    let shown = match Request::from_query(action, &Query::parse(raw), &Limits::default()) {
        Ok(parsed) => {
            let rules: Vec<_> = parsed.deviations.iter().map(|d| d.rule.id).collect();
            format!("ok {rules:?}")
        }
        Err(violation) => format!("{}: {violation}", violation.code),
    };
    expected.assert_eq(&shown);
}

fn init(change: impl Fn(String) -> String) -> String {
    change(format!("Action=InitUpload&fileName=test&fileSha={SHA}&fileSize=20350000&dataSize=1048576&fileType=mp4"))
}

#[test]
fn init_upload() {
    let action = Action::InitUpload;
    check(action, &init(|q| q), expect!["ok []"]);
    check(
        action,
        &init(|q| q.replace("fileType=mp4", "")),
        expect!["-10003: parameter fileType is missing: expected the file's type, such as mp4"],
    );
    check(
        action,
        &init(|q| q.replace("=1048576", "=1048577")),
        expect![[r#"-10003: parameter dataSize is "1048577": expected 524288 to 1048576 bytes"#]],
    );
    check(
        action,
        &init(|q| q.replace("=1048576", "=524287")),
        expect![[r#"-10003: parameter dataSize is "524287": expected 524288 to 1048576 bytes"#]],
    );
    check(
        action,
        &init(|q| q.replace("=20350000", "=%2B5")),
        expect![[r#"-10003: parameter fileSize is "+5": expected the file's size in bytes, at least 1"#]],
    );
    check(
        action,
        &init(|q| q.replace("=20350000", "=0")),
        expect![[r#"-10003: parameter fileSize is "0": expected the file's size in bytes, at least 1"#]],
    );
    check(
        action,
        &init(|q| q.replace("=test", "=a%2Fb")),
        expect![[r#"-10003: parameter fileName is "a/b": expected none of \ / : * ? " < >"#]],
    );
    check(action, &init(|q| q.replace("=test", "=a%7Cb")), expect![[r#"ok ["file-name-no-pipe"]"#]]);
    check(action, &init(|q| q.replace("=test", &format!("={}", "%E6%B5%8B".repeat(40)))), expect!["ok []"]);
    check(
        action,
        &init(|q| q.replace("=test", &format!("={}", "a".repeat(41)))),
        expect![[
            r#"-10003: parameter fileName is "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa": expected 1 to 40 characters"#
        ]],
    );
    check(action, &init(|q| q.replace(SHA, &SHA.to_uppercase())), expect![[r#"ok ["digest-lower-case"]"#]]);
    check(action, &init(|q| q + "&tag.1=a&storeTime=0"), expect![[r#"ok ["known-parameters", "tags-plural"]"#]]);
    check(
        action,
        &init(|q| q + "&isTranscode=2"),
        expect![[r#"-10003: parameter isTranscode is "2": expected 0 or 1"#]],
    );
    check(
        action,
        &init(|q| q + "&tags.0=a"),
        expect![[r#"-10003: parameter tags.0 is "a": expected a tag that is not empty, n counting from 1"#]],
    );
}

#[test]
fn upload_part() {
    let action = Action::UploadPart;
    let good = format!("fileSha={SHA}&offset=0&dataSize=1048576&dataMd5={MD5}");
    check(action, &good, expect!["ok []"]);
    check(
        action,
        &good.replace(MD5, "12"),
        expect![[r#"-10003: parameter dataMd5 is "12": expected the part's MD5 in hexadecimal digits"#]],
    );
    check(
        action,
        &good.replace("offset=0", "offset=-1"),
        expect![[r#"-10003: parameter offset is "-1": expected a byte offset"#]],
    );
    check(
        action,
        &good.replace("offset=0", "offset=99999999999999999999"),
        expect![[r#"-10003: parameter offset is "99999999999999999999": expected a byte offset"#]],
    );
}

#[test]
fn tags_are_read_in_order_of_their_index_under_either_name() {
    let query = Query::parse(&init(|q| q + "&tags.10=c&tag.2=b&tags.1=a"));
    let parsed = Request::from_query(Action::InitUpload, &query, &Limits::default()).unwrap();
    let Request::Init(init) = parsed.request else { panic!("not an InitUpload") };
    assert_eq!(init.facts.tags, ["a", "b", "c"]);
}

fn facts() -> FileFacts {
    FileFacts {
        name: "测试 video+1".to_owned(),
        file_type: "mp4".to_owned(),
        tags: vec!["a".to_owned(), "b c".to_owned()],
        class_id: Some(7),
        transcode: true,
        screenshot: false,
        watermark: true,
        ..FileFacts::default()
    }
}

/// A signature over these fields, in a query.
fn token(original: &str) -> String {
    let token = crate::ugc::UploadSignature::sign(&crate::sign::SecretKey::new("k"), &Query::parse(original));
    let mut query = Query::default();
    query.push("signature", &token);
    query.to_string()
}

const FIELDS: &str = "s=id&f=test&fs=b4a5c70c76e79e01ab3a5c306de3d9eedeadeca9&ft=mp4&t=1&e=9&r=5&uid=1";

#[test]
fn what_is_written_is_read_back_without_deviation() {
    let (facts, file_sha1, file_size) = (facts(), Sha1::of(b"x"), 600_000);
    let span = PartSpan { offset: 0, len: 524_288 };
    let cover = FileFacts {
        cover_of: Some("7".to_owned()),
        name: facts.name.clone(),
        file_type: "png".to_owned(),
        ..FileFacts::default()
    };
    let legacy = FileFacts { notify_url: Some("http://a.example/b?c=d".to_owned()), ..facts.clone() };
    let requests = [
        Request::Init(InitUpload { facts: facts.clone(), file_sha1, file_size, part_size: 524_288 }),
        Request::Part(UploadPart { file_sha1, span, part_md5: Md5::of(b"y") }),
        Request::Finish(FinishUpload { file_sha1 }),
        Request::Next(NextPart { facts: legacy, file_sha1, file_size, span }),
        Request::Whole(SmallFile { facts: cover, file_sha1, file_size: 3 }),
    ];
    for request in requests {
        let line = request.to_query(Family::Server).to_string();
        let action = request.action(Family::Server);
        let parsed = Request::from_query(action, &Query::parse(&line), &Limits::default()).unwrap();
        assert_eq!(parsed, Parsed { request, deviations: vec![] });
    }
}

#[test]
fn an_upload_signature_brings_the_facts_that_the_query_leaves_out() {
    let file_sha1 = Sha1::of(b"x");
    let request = Request::Init(InitUpload { facts: facts(), file_sha1, file_size: 600_000, part_size: 524_288 });
    let terms = TokenTerms { secret_id: "id", file_sha1, made: 1, expires: 2, random: 3, uid: "u" };
    let mut query = request.to_query(Family::Ugc);
    assert!(!query.to_string().contains("fileName"), "{query}");
    query.push("signature", sign_token(&crate::sign::SecretKey::new("k"), &facts(), &terms));
    let parsed = Request::from_query(Action::InitUploadEx, &Query::parse(&query.to_string()), &Limits::default());
    assert_eq!(parsed, Ok(Parsed { request, deviations: vec![] }));
}

#[test]
fn init_upload_ex() {
    let action = Action::InitUploadEx;
    let good = format!("fileSha={SHA}&fileSize=20350000&dataSize=1048576&{}", token(FIELDS));
    let with = |from: &str, to: &str| {
        format!("fileSha={SHA}&fileSize=20350000&dataSize=1048576&{}", token(&FIELDS.replace(from, to)))
    };
    check(action, &good, expect!["ok []"]);
    check(action, &good.replace("signature", "Signature"), expect![[r#"ok ["signature-name"]"#]]);
    check(action, &good.replace("=1048576", "=600000"), expect![[r#"ok ["ugc-part-size"]"#]]);
    check(action, &good.replace(&format!("fileSha={SHA}&"), ""), expect![[r#"ok ["file-sha-required"]"#]]);
    check(
        action,
        &good.replace(&SHA[..2], "00"),
        expect![[
            r#"-10003: parameter fileSha is "00a5c70c76e79e01ab3a5c306de3d9eedeadeca9": expected what the upload signature is for, b4a5c70c76e79e01ab3a5c306de3d9eedeadeca9"#
        ]],
    );
    check(
        action,
        &(good.clone() + "&fileName=other&tags.1=x"),
        expect![[r#"ok ["known-parameters", "known-parameters"]"#]],
    );
    check(
        action,
        &good.replace("&signature=", "&other="),
        expect!["-10002: parameter signature is missing: expected an upload signature"],
    );
    check(
        action,
        "fileSha=1&signature=IEmbRAPy5IgIAFnt7XPAToaY3RRzPUFLSURVZ",
        expect!["-10002: parameter signature is wrong: the signature is not Base64: Invalid input length: 37"],
    );
    check(action, &with("e=9", "e=1795226849763"), expect![[r#"ok ["expiry-seconds"]"#]]);
    check(action, &with("e=9", "e=7776002"), expect![[r#"ok ["expiry-90-days"]"#]]);
    check(
        action,
        &with("e=9", "e=soon"),
        expect!["-10002: parameter signature is wrong: the signature's field e: expected seconds since 1970"],
    );
    check(action, &with("r=5", "r=12345678901"), expect![[r#"ok ["signature-random"]"#]]);
    check(action, &with("&uid=1", ""), expect![[r#"ok ["signature-fields"]"#]]);
    check(
        action,
        &with("&ft=mp4", ""),
        expect!["-10003: the upload signature's field ft is missing: expected the file's type, such as mp4"],
    );
    check(
        action,
        &with("f=test&fs=b4a5c70c76e79e01ab3a5c306de3d9eedeadeca9&ft=mp4", "f=test.avi"),
        expect![[r#"ok ["signature-fields"]"#]],
    );
    check(
        action,
        &with("f=test&fs=b4a5c70c76e79e01ab3a5c306de3d9eedeadeca9&ft=mp4", "f=test.a%20b"),
        expect!["-10003: the upload signature's field ft is missing: expected the file's type, such as mp4"],
    );
    check(
        action,
        &with("f=test", "f=a%2Fb"),
        expect![[r#"-10003: the upload signature's field f is "a/b": expected none of \ / : * ? " < >"#]],
    );
    check(
        action,
        &with("uid=1", "uid=1&tc=2"),
        expect![[r#"-10003: the upload signature's field tc is "2": expected 0 or 1"#]],
    );
    check(
        action,
        &with("uid=1", "uid=1&cid=x"),
        expect![[r#"-10003: the upload signature's field cid is "x": expected a class id"#]],
    );
    check(action, &with("uid=1", "uid=1&tag.1=a&tag.2=b&tc=1&cid=7"), expect!["ok []"]);
    check(action, &with(SHA, &SHA.to_uppercase()), expect![[r#"ok ["digest-lower-case"]"#]]);
}

#[test]
fn upload_part_ex() {
    let action = Action::UploadPartEx;
    let good = format!("fileSha={SHA}&offset=0&dataSize=524288&dataMd5={MD5}&{}", token(FIELDS));
    check(action, &good, expect!["ok []"]);
    check(
        action,
        &good.replace("&dataMd5=0", "&dataMd5=x"),
        expect![[
            r#"-10003: parameter dataMd5 is "xbee89b07a248e27c83fc3d5951213c1": expected the part's MD5 in hexadecimal digits"#
        ]],
    );
    check(action, &good.replace(&format!("fileSha={SHA}&"), ""), expect![[r#"ok ["file-sha-required"]"#]]);
    check(
        action,
        &good.replace("&signature=", "&Token="),
        expect!["-10002: parameter signature is missing: expected an upload signature"],
    );
    check(
        action,
        &good.replace(&SHA[..2], "00"),
        expect![[
            r#"-10003: parameter fileSha is "00a5c70c76e79e01ab3a5c306de3d9eedeadeca9": expected what the upload signature is for, b4a5c70c76e79e01ab3a5c306de3d9eedeadeca9"#
        ]],
    );
}

#[test]
fn finish_upload_ex_as_one_client_sends_it() {
    check(
        Action::FinishUploadEx,
        &token(FIELDS).replace("signature", "Signature"),
        expect![[r#"ok ["signature-name", "file-sha-required"]"#]],
    );
    check(
        Action::FinishUploadEx,
        &token("s=id&f=a.mp4&t=1&e=2&r=3"),
        expect!["-10003: parameter fileSha is missing: expected the file's SHA-1 in hexadecimal digits"],
    );
}

#[test]
fn multipart_upload_vod_file() {
    let action = Action::MultipartUploadVodFile;
    let good = format!("fileName=test&fileSha={SHA}&fileSize=1200000&dataSize=524288&offset=0&fileType=mp4");
    let at = |size: u64, offset: u64, len: u64| {
        good.replace("=1200000", &format!("={size}"))
            .replace("dataSize=524288", &format!("dataSize={len}"))
            .replace("offset=0", &format!("offset={offset}"))
    };
    check(action, &good, expect!["ok []"]);
    check(action, &at(512, 0, 512), expect!["ok []"]);
    check(
        action,
        &at(1_200_000, 0, 524_289),
        expect![[
            r#"-25982: parameter dataSize is "524289": expected 524288 bytes, as this is the first part and not the last"#
        ]],
    );
    check(
        action,
        &at(1_200_000, 0, 10_240),
        expect![[
            r#"-25982: parameter dataSize is "10240": expected 524288 bytes, as this is the first part and not the last"#
        ]],
    );
    check(
        action,
        &at(1_200_000, 524_288, 524_287),
        expect![[
            r#"-25982: parameter dataSize is "524287": expected 524288 to 5242880 bytes, as this is not the last part"#
        ]],
    );
    check(action, &at(1_200_000, 524_288, 675_712), expect!["ok []"]);
    check(
        action,
        &at(1_200_000, 524_288, 675_713),
        expect!["-25977: parameters offset 524288 and dataSize 675713 reach beyond fileSize 1200000"],
    );
    check(
        action,
        &at(1_200_000, u64::MAX, 1),
        expect!["-25977: parameters offset 18446744073709551615 and dataSize 1 reach beyond fileSize 1200000"],
    );
    check(action, &at(9_000_000, 524_288, 5_242_880), expect!["ok []"]);
    check(
        action,
        &at(9_000_000, 524_288, 5_242_881),
        expect![[
            r#"-25982: parameter dataSize is "5242881": expected 524288 to 5242880 bytes, as this is not the last part"#
        ]],
    );
    check(
        action,
        &at(9_000_000, 9_000_000, 0),
        expect![[r#"-25982: parameter dataSize is "0": expected 1 to 5242880 bytes"#]],
    );
    for (from, to) in [
        ("fileSha=b4", "fileSha=zz"),
        ("fileSize=1200000", "fileSize=0"),
        ("fileType=mp4", "fileType="),
        ("fileName=test", "fileName=a%3Ab"),
        ("offset=0", "offset=x"),
        ("&offset=0", ""),
    ] {
        assert_ne!(good.replace(from, to), good);
        let refused = Request::from_query(action, &Query::parse(&good.replace(from, to)), &Limits::default());
        let code = refused.expect_err(to).code.0;
        let expected = match from.split_once('=').map(|(name, _)| name) {
            Some("fileSha") => -25985,
            Some("fileSize") => -25981,
            Some("fileType") => -25986,
            _ => 4000,
        };
        assert_eq!(code, expected, "{to}");
    }
    for (more, code) in [
        ("tags.0=a", -25984),
        ("tags.1=", -25984),
        ("classId=x", -25983),
        ("isScreenshot=2", -25980),
        ("isWatermark=2", -25979),
        ("isTranscode=2", -25978),
        ("notifyUrl=nowhere", -25976),
    ] {
        let refused = Request::from_query(action, &Query::parse(&format!("{good}&{more}")), &Limits::default());
        assert_eq!(refused.expect_err(more).code.0, code, "{more}");
    }
    check(action, &(good.clone() + "&notifyUrl=http%3A%2F%2Fcb.example.com%2Fx"), expect!["ok []"]);
    check(
        action,
        &(good.clone() + "&notifyUrl=http://me:sEcReT@h:0/"),
        expect![[r#"-25976: parameter notifyUrl is "http://redacted@h:0/": expected an http or https URL"#]],
    );
}

#[test]
fn small_file_upload() {
    let action = Action::SmallFileUpload;
    let good = format!("fileName=cover&fileSha={SHA}&fileSize=9&dataSize=9&fileType=png&extra.usage=1&extra.fileId=77");
    check(action, &good, expect!["ok []"]);
    check(
        action,
        &good.replace("extra.", ""),
        expect![[r#"ok ["known-parameters", "known-parameters", "cover-prefix"]"#]],
    );
    check(
        action,
        &good.replace("&extra.fileId=77", ""),
        expect!["-10003: parameter extra.fileId is missing: expected the id of the video that it is the cover of"],
    );
    check(
        action,
        &good.replace("=77", "=x7"),
        expect![[r#"-10003: parameter extra.fileId is "x7": expected the id of the video that it is the cover of"#]],
    );
    check(
        action,
        &good.replace("usage=1", "usage=2"),
        expect![[r#"-10003: parameter extra.usage is "2": expected 1, for a video's cover"#]],
    );
    check(
        action,
        &good.replace("dataSize=9", "dataSize=8"),
        expect![[r#"-10003: parameter dataSize is "8": expected the file's size again, 9"#]],
    );
    check(
        action,
        &good.replace("=9", "=1048576"),
        expect![[
            r#"-10003: parameter fileSize is "1048576": expected 1 to 1048575 bytes; a larger file takes the three steps"#
        ]],
    );
}

#[test]
fn a_cover_through_the_three_steps_and_a_report() {
    check(Action::InitUpload, &init(|q| q + "&extra.usage=1&extra.fileId=77"), expect!["ok []"]);
    check(
        Action::InitUpload,
        &init(|q| q + "&usage=1&fileId=77"),
        expect![[r#"ok ["known-parameters", "known-parameters", "cover-prefix"]"#]],
    );
    check(
        Action::InitUpload,
        &init(|q| q + "&extra.fileId=77"),
        expect!["-10003: parameter extra.usage is missing: expected 1, for a video's cover"],
    );
    check(Action::Report, "errCode=0&speed=1&fileId=x&platform=java&version=1.0", expect![[r#"ok ["known-actions"]"#]]);
}

#[test]
fn names_are_counted_in_the_unit_of_the_limits() {
    let limits = Limits { file_name_unit: crate::limits::NameUnit::Bytes, ..Limits::default() };
    let long = Query::parse(&init(|q| q.replace("=test", &format!("={}", "%E6%B5%8B".repeat(14)))));
    let refused = Request::from_query(Action::InitUpload, &long, &limits).expect_err("42 bytes");
    assert!(refused.message.ends_with("expected 1 to 40 bytes"), "{refused}");
}

#[test]
fn common_parameters() {
    let check = |raw: &str, expected: Expect| {
        let shown = match CommonParams::from_query(Family::Server, &Query::parse(raw)) {
            Ok(common) => format!("{} {} {:?}", common.timestamp, common.secret_id, common.deviations.len()),
            Err(violation) => format!("{}: {violation}", violation.code),
        };
        expected.assert_eq(&shown);
    };
    let good = "Region=gz&Timestamp=1465185768&Nonce=000562251&SecretId=id&Signature=s";
    check(good, expect!["1465185768 id 0"]);
    check(&good.replace("1465185768", "1795226849763"), expect!["1795226849 id 1"]);
    check(
        &good.replace("Nonce=000562251", "Nonce=-1"),
        expect![[r#"-10001: parameter Nonce is "-1": expected a positive integer"#]],
    );
    check(
        &good.replace("SecretId=id&", ""),
        expect!["-10001: parameter SecretId is missing: expected the account's SecretId"],
    );
    check(
        &good.replace("&Signature=s", ""),
        expect!["-10001: parameter Signature is missing: expected the request's signature"],
    );
    check("", expect!["-10001: parameter Timestamp is missing: expected seconds since 1970"]);
}

proptest::proptest! {
    #[test]
    fn no_query_panics(raw in "\\PC{0,300}", which in 0..Action::ALL.len()) {
        let query = Query::parse(&raw);
        let _ = Request::from_query(Action::ALL[which], &query, &Limits::default());
        let _ = (CommonParams::from_query(Family::Legacy, &query), Claims::of(&query));
    }
}

//! What `observed` accepts and notes, `documented` refuses with the rule named; and what is decided alike by both.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Value, json};
use vod_mock::{Config, VodMock};
use vod_proto::{Limits, Md5, Query, Sha1, limits::NameUnit, lint, rules::Profile};

use crate::{
    legacy, ugc,
    wire::{
        NOW, PART, assert_code, assert_says, config, file, finish, get, init, json as body_of, mock, part, part_of,
        post, raw, send, target, target_at, unsigned,
    },
};

const BOTH: [Profile; 2] = [Profile::Observed, Profile::Documented];

async fn profiled(profile: Profile) -> VodMock {
    mock(Config { profile, ..config() }).await
}

/// The parameters that open the upload of a file; `change` is added, or replaces what is usual.
fn init_params<'a>(sha: &'a str, change: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    let usual = [("fileName", "test"), ("fileSha", sha), ("fileSize", "1000"), ("dataSize", "524288")];
    let mut params = vec![("Action", "InitUpload")];
    params.extend(usual.into_iter().chain([("fileType", "mp4")]));
    for (name, value) in change {
        params.retain(|(known, _)| known != name);
        params.push((name, value));
    }
    params
}

/// A request as it goes on the wire: method, target, headers and body.
struct Sent {
    method: &'static str,
    target: String,
    headers: String,
    body: Vec<u8>,
}

fn got(target: String) -> Sent {
    Sent { method: "GET", target, headers: String::new(), body: Vec::new() }
}

fn posted(target: String, body: &[u8]) -> Sent {
    Sent { method: "POST", target, headers: format!("Content-Length: {}\r\n", body.len()), body: body.to_vec() }
}

fn chunked(target: String, body: &[u8]) -> Sent {
    let body = [format!("{:x}\r\n", body.len()).as_bytes(), body, b"\r\n0\r\n\r\n"].concat();
    Sent { method: "POST", target, headers: "Transfer-Encoding: chunked\r\n".to_owned(), body }
}

async fn ask(mock: &VodMock, sent: &Sent) -> Value {
    let Sent { method, target, headers, body } = sent;
    let head = format!("{method} {target} HTTP/1.1\r\nHost: vod2.qcloud.com\r\nConnection: close\r\n{headers}\r\n");
    body_of(&raw(mock, &head, body).await.unwrap())
}

/// What of the last exchange the documents would have had otherwise.
fn noted(mock: &VodMock) -> Vec<&'static str> {
    let exchange = mock.exchanges().into_iter().next_back().unwrap();
    lint::deviations(&exchange, &Limits::default()).iter().map(|found| found.rule.id).collect()
}

/// Every way in which real clients do otherwise than the documents say: the rule, a request that does not keep it and
/// keeps every other, the code that `documented` answers, and what its message names.
fn deviations() -> Vec<(&'static str, Sent, i64, Vec<String>)> {
    let file = file(0);
    let (sha, md5) = (Sha1::of(&file).to_string(), Md5::of(&file).to_string());
    let (upper, upper_md5) = (sha.to_uppercase(), md5.to_uppercase());
    let (plain, milliseconds) = (ugc::original(&file), format!("{NOW}000"));
    let token = ugc::token(&plain);
    let init_with = |change: &[(&str, &str)]| got(target("GET", &init_params(&sha, change)));
    let ex_with = |plain: &str| got(ugc::init(&file, &ugc::token(plain)));
    let legacy_with = |change: &[(&str, &str)]| posted(legacy::next(&file, 0, &file, change), &file);
    let part_params = |md5: &str| {
        let (sha, md5) = (sha.clone(), md5.to_owned());
        let span = [("offset", "0"), ("dataSize", "1000")];
        target("POST", &[&[("Action", "UploadPart"), ("fileSha", &sha)], &span[..], &[("dataMd5", &md5)]].concat())
    };
    let legacy_params =
        [("fileName", "test"), ("fileSha", &sha), ("fileSize", "1000"), ("dataSize", "1000"), ("offset", "0")];
    let legacy_params = [&[("Action", "MultipartUploadVodFile")], &legacy_params[..], &[("fileType", "mp4")]].concat();
    let on_v3 = |target: String| target.replace("/v2/", "/v3/");
    let end = part_of(&file, 1000, b"");
    let e = format!("e={}", NOW + 3600);
    let of_part = [("offset", "0"), ("dataSize", "1000"), ("dataMd5", &md5)];
    let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
    vec![
        (
            "documented-method",
            posted(target("POST", &init_params(&sha, &[])), b""),
            -10001,
            words(&["InitUpload", "POST"]),
        ),
        (
            "documented-method",
            posted(target("POST", &[("Action", "FinishUpload"), ("fileSha", &sha)]), b""),
            -10001,
            words(&["FinishUpload", "POST"]),
        ),
        ("documented-method", posted(ugc::init(&file, &token), b""), -10001, words(&["InitUploadEx", "POST"])),
        ("documented-method", posted(ugc::finish(&file, &token), b""), -10001, words(&["FinishUploadEx", "POST"])),
        (
            "documented-path",
            got(target_at("/v3/index.php", "GET", &init_params(&sha, &[]))),
            -10001,
            words(&["InitUpload", "/v3/index.php"]),
        ),
        ("documented-path", got(on_v3(ugc::init(&file, &token))), -10001, words(&["InitUploadEx", "/v3/index.php"])),
        (
            "documented-path",
            posted(target_at("/v3/index.php", "POST", &legacy_params), &file),
            4000,
            words(&["MultipartUploadVodFile", "/v3/index.php"]),
        ),
        ("tags-plural", init_with(&[("tag.1", "a")]), -10003, words(&["tag.n"])),
        ("tags-plural", legacy_with(&[("tag.1", "a")]), -25984, words(&["tag.n"])),
        ("digest-lower-case", init_with(&[("fileSha", &upper)]), -10003, words(&["fileSha", &upper])),
        ("digest-lower-case", posted(part_params(&upper_md5), &file), -10003, words(&["dataMd5", &upper_md5])),
        ("digest-lower-case", ex_with(&plain.replace(&sha, &upper)), -10003, words(&["field fs", &upper])),
        ("digest-lower-case", legacy_with(&[("fileSha", &upper)]), -25985, words(&["fileSha", &upper])),
        (
            "file-sha-required",
            got(ugc::call("FinishUploadEx", &token, &[])),
            -10003,
            words(&["FinishUploadEx", "fileSha"]),
        ),
        (
            "file-sha-required",
            posted(ugc::call("UploadPartEx", &token, &of_part), &file),
            -10003,
            words(&["UploadPartEx", "fileSha"]),
        ),
        (
            "signature-name",
            got(ugc::init(&file, &token).replace("signature=", "Signature=")),
            -10002,
            words(&["InitUploadEx", "Signature"]),
        ),
        ("signature-fields", ex_with(&plain.replace("&uid=1", "")), -10002, words(&["signature", "uid"])),
        ("signature-random", ex_with(&plain.replace("r=", "r=1")), -10002, words(&["field r", "12081660421"])),
        (
            "expiry-seconds",
            ex_with(&plain.replace(&e, &(e.clone() + "000"))),
            -10002,
            words(&["expires", "milliseconds"]),
        ),
        (
            "expiry-90-days",
            ex_with(&plain.replace(&e, &format!("e={}", NOW + 91 * 86_400))),
            -10002,
            words(&["holds for 7862400 s"]),
        ),
        ("timestamp-seconds", init_with(&[("Timestamp", &milliseconds)]), 4500, words(&["Timestamp", &milliseconds])),
        ("timestamp-seconds", legacy_with(&[("Timestamp", &milliseconds)]), 4500, words(&["Timestamp", &milliseconds])),
        (
            "ugc-part-size",
            got(ugc::init(&file, &token).replace("dataSize=524288", "dataSize=600000")),
            -10003,
            words(&["dataSize", "600000"]),
        ),
        ("part-content-length", chunked(part_of(&file, 0, &file), &file), -10006, words(&["no Content-Length"])),
        ("part-content-length", chunked(ugc::part(&file, 0, &token).0, &file), -10006, words(&["no Content-Length"])),
        (
            "legacy-content-length",
            chunked(legacy::next(&file, 0, &file, &[]), &file),
            -25982,
            words(&["no Content-Length"]),
        ),
        ("no-empty-tail", posted(end, b""), -10003, words(&["empty part at offset 1000"])),
        ("file-name-no-pipe", init_with(&[("fileName", "a|b")]), -10003, words(&["fileName", "a|b"])),
        ("file-name-no-pipe", ex_with(&plain.replace("f=test", "f=a%7Cb")), -10003, words(&["f is", "a|b"])),
        ("file-name-no-pipe", legacy_with(&[("fileName", "a|b")]), 4000, words(&["fileName", "a|b"])),
    ]
}

#[tokio::test]
async fn what_clients_do_otherwise_is_noted_by_observed_and_refused_by_documented() {
    for (rule, sent, code, words) in deviations() {
        let (observed, documented) = (profiled(Profile::Observed).await, profiled(Profile::Documented).await);
        let file = file(0);
        let query = Query::split_target(&sent.target).1;
        let action = query.get("Action").unwrap();
        // What comes after the opening needs one, and a finish its part.
        for mock in [&observed, &documented] {
            if action.starts_with("UploadPart") || action.starts_with("Finish") {
                assert_code(&get(mock, &init(&file)).await, 0, 0);
            }
            if action.starts_with("Finish") {
                assert_code(&post(mock, part(&file, 0)).await, 0, 0);
            }
        }
        let reply = ask(&observed, &sent).await;
        assert_eq!(reply["code"], 0, "{rule}: {reply}");
        assert_eq!(noted(&observed), [rule], "{}", sent.target);
        let refused = ask(&documented, &sent).await;
        let rule = format!("rule {rule}");
        let words: Vec<_> = words.iter().map(String::as_str).chain([rule.as_str()]).collect();
        assert_says(&refused, code, &words);
        let retry = (action != "MultipartUploadVodFile").then_some(i64::from(code == -10006));
        assert_eq!(refused.get("canRetry").and_then(Value::as_i64), retry, "{refused}");
    }
}

#[tokio::test]
async fn every_rule_that_documented_refuses_is_in_the_table() {
    let mut asked: Vec<_> = deviations().iter().map(|(rule, ..)| *rule).collect();
    // Over an encrypted connection: the legacy family's own test.
    asked.push("legacy-http-only");
    for rule in vod_proto::rules::ALL.iter().filter(|rule| rule.refusal.is_some()) {
        assert!(asked.contains(&rule.id), "nobody asks about {}", rule.id);
    }
}

#[tokio::test]
async fn what_the_documents_say_passes_both() {
    for profile in BOTH {
        let mock = profiled(profile).await;
        let file = file(1);
        assert_code(&get(&mock, &init(&file)).await, 0, 0);
        assert_code(&post(&mock, part(&file, 0)).await, 0, 0);
        assert_code(&post(&mock, part(&file, 1)).await, 0, 0);
        assert_code(&get(&mock, &finish(&file)).await, 0, 0);
        for exchange in mock.exchanges() {
            assert_eq!(lint::deviations(&exchange, &Limits::default()), []);
        }
    }
}

#[tokio::test]
async fn what_is_only_ever_noted_is_refused_by_neither() {
    let file = file(0);
    let sha = Sha1::of(&file).to_string();
    for (rules, target) in [
        (vec!["known-parameters"], target("GET", &init_params(&sha, &[("storeTime", "0")]))),
        (vec!["known-parameters"], ugc::init(&file, &ugc::token(&ugc::original(&file))) + "&isUGC=true"),
    ] {
        for profile in BOTH {
            let mock = profiled(profile).await;
            assert_code(&get(&mock, &target).await, 0, 0);
            assert_eq!(noted(&mock), rules);
        }
    }
}

/// Seconds and a window of two hours are demanded by both; only the code differs.
#[tokio::test]
async fn timestamps_out_of_the_window_have_a_code_of_their_own() {
    let file = file(0);
    let sha = Sha1::of(&file).to_string();
    for (off, fits) in [(-7201, false), (-7190, true), (7190, true), (7210, false)] {
        let at = (NOW + off).to_string();
        let init = target("GET", &init_params(&sha, &[("Timestamp", &at)]));
        let next = legacy::next(&file, 0, &file, &[("Timestamp", &at)]);
        for (profile, server, legacy) in [(Profile::Observed, -10002, -26498), (Profile::Documented, 4500, 4500)] {
            let mock = profiled(profile).await;
            let replies = [get(&mock, &init).await, post(&mock, (next.clone(), &file)).await];
            let codes = replies.each_ref().map(|reply| reply["code"].as_i64().unwrap());
            assert_eq!(codes, if fits { [0, 0] } else { [server, legacy] }, "{off} {replies:?}");
        }
    }
}

#[tokio::test]
async fn requests_are_signed_with_the_method_and_path_they_are_sent_by() {
    let file = file(0);
    for profile in BOTH {
        let mock = profiled(profile).await;
        let by_get = init(&file);
        let code = ask(&mock, &posted(by_get.clone(), b"")).await["code"].clone();
        assert_eq!(code, if profile == Profile::Observed { -10002 } else { -10001 });
        let code = get(&mock, &by_get.replace("/v2/", "/v3/")).await["code"].clone();
        assert_eq!(code, if profile == Profile::Observed { -10002 } else { -10001 });
        let answer = send(&mock, "GET", &by_get.replace("/v2/", "/v4/"), b"").await.unwrap();
        let answer = String::from_utf8(answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 404 ") && answer.contains("/v4/index.php"), "{answer}");
        assert!(answer.contains("/v2/index.php") && answer.contains("/v3/index.php"), "{answer}");
    }
}

#[tokio::test]
async fn the_md5_is_of_the_part_and_not_of_the_file() {
    for profile in BOTH {
        let mock = profiled(profile).await;
        let file = file(1);
        get(&mock, &init(&file)).await;
        let (whole, (target, body)) = (Md5::of(&file).to_string(), part(&file, 0));
        let params = [("offset", "0"), ("dataSize", "524288"), ("dataMd5", &whole)];
        let sha = Sha1::of(&file).to_string();
        let of_file = [&[("Action", "UploadPart"), ("fileSha", sha.as_str())], &params[..]].concat();
        let refused = post(&mock, (self::target("POST", &of_file), body)).await;
        assert_says(&refused, -10006, &["dataMd5", &whole, &Md5::of(body).to_string()]);
        assert_code(&post(&mock, (target, body)).await, 0, 0);
    }
}

#[tokio::test]
async fn listed_parts_have_their_length_by_both_names_and_their_md5_by_one() {
    for profile in BOTH {
        let mock = profiled(profile).await;
        let file = file(1);
        get(&mock, &init(&file)).await;
        for index in [0, 1] {
            assert_code(&post(&mock, part(&file, index)).await, 0, 0);
        }
        let listed = |offset: usize| {
            let body = &file[offset..file.len().min(offset + PART)];
            let (len, md5) = (body.len(), Md5::of(body).to_string());
            json!({ "offset": offset, "dataSize": len, "dataLen": len, "dataMd5": md5 })
        };
        // Names in lower camel case, whatever a translation made of them.
        let expected = json!({
            "code": 1, "message": "", "codeDesc": "", "canRetry": 0, "dataSize": 524_288,
            "listParts": [listed(0), listed(PART)],
        });
        assert_eq!(get(&mock, &init(&file)).await, expected);
    }
}

#[tokio::test]
async fn the_very_same_request_is_no_replay() {
    for profile in BOTH {
        let mock = profiled(profile).await;
        let file = file(0);
        let (init, part) = (init(&file), part(&file, 0));
        assert_code(&get(&mock, &init).await, 0, 0);
        assert_code(&get(&mock, &init).await, 0, 0);
        assert_code(&post(&mock, part.clone()).await, 0, 0);
        assert_code(&post(&mock, part).await, 0, 0);
    }
}

#[tokio::test]
async fn instant_upload_names_the_file_and_its_url_where_the_page_does_and_can_be_turned_off() {
    let file = file(0);
    let token = ugc::token(&ugc::original(&file));
    for profile in BOTH {
        let mock = profiled(profile).await;
        get(&mock, &init(&file)).await;
        post(&mock, part(&file, 0)).await;
        let stored = get(&mock, &finish(&file)).await;
        let mut expected = json!({
            "code": 2, "message": "", "codeDesc": "", "canRetry": 0, "fileId": stored["fileId"], "url": stored["url"],
        });
        assert_eq!(get(&mock, &ugc::init(&file, &token)).await, expected);
        if profile == Profile::Documented {
            // The server family's page has no url in its list.
            expected.as_object_mut().unwrap().remove("url");
        }
        assert_eq!(get(&mock, &init(&file)).await, expected);
        let off = crate::wire::mock(Config { profile, instant_upload: false, ..config() }).await;
        get(&off, &init(&file)).await;
        post(&off, part(&file, 0)).await;
        get(&off, &finish(&file)).await;
        assert_code(&get(&off, &init(&file)).await, 0, 0);
    }
}

#[tokio::test]
async fn the_server_family_takes_any_part_size_between_the_two() {
    for (size, code) in [(524_287, -10003), (524_288, 0), (700_001, 0), (1_048_576, 0), (1_048_577, -10003)] {
        for profile in BOTH {
            let mock = profiled(profile).await;
            let size = size.to_string();
            let reply =
                get(&mock, &target("GET", &init_params(&Sha1::of(b"x").to_string(), &[("dataSize", &size)]))).await;
            assert_code(&reply, code, 0);
            if code != 0 {
                assert_says(&reply, code, &["dataSize", &size, "524288 to 1048576"]);
            }
        }
    }
}

/// The documents' two examples: one has its arithmetic wrong, the other has it right.
#[tokio::test]
async fn the_last_part_is_what_remains_and_offsets_are_multiples_of_the_sessions_part_size() {
    for profile in BOTH {
        let mock = profiled(profile).await;
        let bytes: Vec<u8> = (0..6_000_000_u32).map(|n| n.to_le_bytes()[1]).collect();
        let sha = Sha1::of(&bytes).to_string();
        let change = |size: &'static str| [("fileSize", "6000000"), ("dataSize", size)];
        let first = target("GET", &init_params(&sha, &change("1048576")));
        assert_code(&get(&mock, &first).await, 0, 0);
        let send = async |offset: usize, len: usize| {
            let body = &bytes[offset..offset + len];
            post(&mock, (part_of(&bytes, offset, body), body)).await
        };
        assert_says(&send(5_242_880, 1024).await, -10003, &["dataSize 1024", "757120"]);
        assert_code(&send(5_242_880, 757_120).await, 0, 0);
        // Whatever a later request asks for, the first one's grid holds.
        let resumed = get(&mock, &target("GET", &init_params(&sha, &change("524288")))).await;
        assert_eq!((&resumed["code"], &resumed["dataSize"]), (&1.into(), &1_048_576.into()));
        assert_says(&send(524_288, 524_288).await, -10003, &["offset 524288", "1048576"]);
        assert_says(&send(0, 524_288).await, -10003, &["dataSize 524288", "1048576"]);
        assert_code(&send(1_048_576, 1_048_576).await, 0, 0);
    }
}

#[tokio::test]
async fn names_have_up_to_forty_characters_or_bytes_and_some_characters_never() {
    let sha = Sha1::of(b"x").to_string();
    let ask = async |mock: &VodMock, name: &str| {
        let reply = get(mock, &target("GET", &init_params(&sha, &[("fileName", name)]))).await;
        if reply["code"] != 0 {
            assert_says(&reply, -10003, &["fileName", name]);
        }
        reply["code"] == 0
    };
    for profile in BOTH {
        let by_characters = profiled(profile).await;
        let limits = Limits { file_name_unit: NameUnit::Bytes, ..Limits::default() };
        let by_bytes = mock(Config { profile, limits, ..config() }).await;
        for (name, characters, bytes) in [
            ("夏".repeat(40), true, false),
            ("夏".repeat(41), false, false),
            ("夏".repeat(13), true, true),
            ("n".repeat(40), true, true),
            ("n".repeat(41), false, false),
        ] {
            assert_eq!((ask(&by_characters, &name).await, ask(&by_bytes, &name).await), (characters, bytes), "{name}");
        }
        for banned in ['\\', '/', ':', '*', '?', '"', '<', '>'] {
            let named = target("GET", &init_params(&sha, &[("fileName", &format!("a{banned}"))]));
            assert_says(&get(&by_characters, &named).await, -10003, &["fileName", "none of"]);
        }
    }
}

#[tokio::test]
async fn failures_of_the_newer_families_are_the_negative_codes_and_always_have_four_fields() {
    for profile in BOTH {
        let mock = profiled(profile).await;
        let file = file(0);
        let (sha, token) = (Sha1::of(&file).to_string(), ugc::token(&ugc::original(&file)));
        // The parameter's name is a slip of one example, which leaves the real one missing.
        let slip =
            target("POST", &[("Action", "UploadPart"), ("dataSha", &sha), ("offset", "0"), ("dataSize", "1000")]);
        let replies = [
            (get(&mock, &unsigned(&[("Action", "FinishUpload")])).await, -10001),
            (get(&mock, &ugc::finish(&file, "AAAA")).await, -10002),
            (post(&mock, (slip.clone(), &file)).await, -10003),
            (get(&mock, &finish(&file)).await, -10005),
            (get(&mock, &init(&file)).await, 0),
            (post(&mock, (part(&file, 0).0, b"x")).await, -10006),
            (post(&mock, ugc::part(&file, 0, &token)).await, 0),
            (get(&mock, &ugc::init(&file, &token)).await, 1),
            (get(&mock, &ugc::finish(&file, &token)).await, 0),
            (get(&mock, &finish(&file)).await, 0),
            (get(&mock, &init(&file)).await, 2),
        ];
        for (reply, code) in replies {
            assert_eq!(reply["code"], code, "{reply}");
            assert!(
                reply["canRetry"].is_u64() && reply["message"].is_string() && reply["codeDesc"].is_string(),
                "{reply}"
            );
        }
        assert_says(&post(&mock, (slip, &file)).await, -10003, &["parameter fileSha is missing"]);
    }
}

#[tokio::test]
async fn the_proof_begins_with_forty_digits_as_in_the_example() {
    for profile in BOTH {
        let mock = profiled(profile).await;
        let file = file(0);
        let token = ugc::token(&ugc::original(&file));
        get(&mock, &ugc::init(&file, &token)).await;
        post(&mock, ugc::part(&file, 0, &token)).await;
        let stored = get(&mock, &ugc::finish(&file, &token)).await;
        let proof = STANDARD.decode(stored["verify_content"].as_str().unwrap()).unwrap();
        let (mac, plain) = std::str::from_utf8(&proof).unwrap().split_at(40);
        assert!(mac.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b)), "{mac}");
        assert_eq!(plain, format!("ExpTime={}&FileId={}", NOW + 86_400, stored["fileId"].as_str().unwrap()));
    }
}

#[tokio::test]
async fn rates_are_off_unless_the_limits_say_so() {
    let file = file(0);
    for profile in BOTH {
        let free = profiled(profile).await;
        for _ in 0..110 {
            assert_code(&get(&free, &init(&file)).await, 0, 0);
        }
        let limits = Limits {
            init_per_minute: Some(2),
            part_per_minute: Some(3),
            finish_per_minute: Some(1),
            ..Limits::default()
        };
        let bound = mock(Config { profile, limits, ..config() }).await;
        for allowed in [true, true, false] {
            assert_code(&get(&bound, &init(&file)).await, if allowed { 0 } else { 4400 }, i64::from(!allowed));
        }
        for allowed in [true, true, true, false] {
            assert_code(&post(&bound, part(&file, 0)).await, if allowed { 0 } else { 4400 }, i64::from(!allowed));
        }
        assert_code(&get(&bound, &finish(&file)).await, 0, 0);
        assert_says(&get(&bound, &finish(&file)).await, 4400, &["demo", "1 FinishUpload", "1 are allowed"]);
        // The documents give no rate for the UGC family, and none to whoever proves nothing.
        let token = ugc::token(&ugc::original(&file));
        assert_code(&get(&bound, &ugc::init(&file, &token)).await, 2, 0);
        assert_code(&get(&bound, &init(&file).replace("Signature=", "Signature=x")).await, -10002, 0);
    }
}

#[tokio::test]
async fn post_without_length_or_chunks_is_an_empty_body() {
    let mock = profiled(Profile::Observed).await;
    let signed = target("POST", &init_params(&Sha1::of(b"x").to_string(), &[]));
    let bare = Sent { method: "POST", target: signed, headers: String::new(), body: Vec::new() };
    assert_code(&ask(&mock, &bare).await, 0, 0);
}

//! Every parameter that the documents name: refused where it is missing or wrong, heard where it is right.
//!
//! The codes are written out here, as the documents have them, and each list must name every parameter of its action.

use std::collections::BTreeSet;

use vod_mock::{DEMO_SECRET_ID, DEMO_SECRET_KEY, VodMock};
use vod_proto::{
    Action, FileFacts, Md5, Query, Sha1,
    params::{self, Param},
    sign::{SecretKey, SignatureMethod, sign_query},
    ugc::UploadSignature,
};

use crate::wire::{NOW, PART, config, file, get, mock, post, target, unsigned};

/// A way to be wrong: a parameter, what is sent in its place, and the code. Nothing is sent where nothing stands.
type Wrong = (&'static str, Option<&'static str>, i64);

type Params<'a> = [(&'a str, &'a str)];

/// Puts another value in a parameter's place, or nothing.
fn spoiled<'a>(good: &Params<'a>, (name, value, _): &Wrong) -> Vec<(&'a str, &'a str)> {
    let mut params = good.to_vec();
    let at = params.iter().position(|(known, _)| known == name);
    match (at, value) {
        (Some(at), Some(value)) => params[at].1 = value,
        (Some(at), None) => drop(params.remove(at)),
        (None, Some(value)) => params.push((name, value)),
        (None, None) => panic!("{name} is not there to be left out"),
    }
    params
}

/// The name that a list of parameters has for one: tags are counted.
fn listed(name: &str) -> String {
    match name.split_once('.') {
        Some((stem @ ("tags" | "tag"), _)) => format!("{stem}.n"),
        _ => name.to_owned(),
    }
}

/// Every parameter of a list is among these, and each that is required is also left out.
#[track_caller]
fn all_of(list: &[Param], wrong: &[Wrong]) {
    let named: BTreeSet<_> = wrong.iter().map(|(name, ..)| listed(name)).collect();
    let left_out: BTreeSet<_> =
        wrong.iter().filter(|(_, value, _)| value.is_none()).map(|(name, ..)| listed(name)).collect();
    for param in list {
        assert!(named.contains(param.name), "{} is never wrong here", param.name);
        assert!(!param.required || left_out.contains(param.name), "{} is never left out here", param.name);
    }
}

/// Each wrong parameter is answered with its code and named.
async fn refused(
    mock: &VodMock,
    good: &Params<'_>,
    wrong: &[Wrong],
    write: impl Fn(&Params<'_>) -> String,
    body: &[u8],
) {
    for row @ (name, value, code) in wrong {
        let reply = post(mock, (write(&spoiled(good, row)), body)).await;
        let message = reply["message"].as_str().unwrap_or_default();
        assert_eq!(reply["code"].as_i64(), Some(*code), "{name} is {value:?}: {reply}");
        assert!(message.contains(name), "{name} is {value:?}: {reply}");
    }
    assert_eq!(mock.upload(Sha1::of(body)).await, None, "nothing came of any of them");
}

fn signed(params: &Params<'_>) -> String {
    target("POST", params)
}

#[tokio::test]
async fn common_parameters() {
    let wrong = [
        ("Action", None, -10001),
        ("Region", None, -10001),
        ("Timestamp", None, -10001),
        ("Timestamp", Some("today"), -10001),
        ("Nonce", None, -10001),
        ("Nonce", Some("-7"), -10001),
        ("SecretId", None, -10001),
        ("SecretId", Some(""), -10001),
        ("Signature", None, -10001),
    ];
    let legacy = wrong.map(|(name, value, _)| match name {
        // Without an action nobody knows whose code to answer with.
        "Action" => (name, value, -10001),
        "SecretId" => (name, value, -25997),
        _ => (name, value, 4000),
    });
    let optional = [("SignatureMethod", Some("any"), 0), ("Token", Some("any"), 0)];
    all_of(params::COMMON, &[&wrong[..], &optional].concat());
    let mock = mock(config()).await;
    let (file, now) = (file(0), NOW.to_string());
    let (sha, size) = (Sha1::of(&file).to_string(), file.len().to_string());
    for (action, wrong) in [("FinishUpload", wrong), ("MultipartUploadVodFile", legacy)] {
        let good = [
            ("Action", action),
            ("Region", "gz"),
            ("Timestamp", &now),
            ("Nonce", "000562251"),
            ("SecretId", DEMO_SECRET_ID),
            ("Signature", "these come before it"),
        ];
        refused(&mock, &good, &wrong, unsigned, &file).await;
    }

    let init = [
        ("Action", "InitUpload"),
        ("fileName", "test"),
        ("fileSha", &sha),
        ("fileSize", &size),
        ("dataSize", "524288"),
        ("fileType", "mp4"),
        ("Region", "gz"),
        ("Timestamp", &now),
        ("Nonce", "000562251"),
        ("SecretId", DEMO_SECRET_ID),
        ("Token", "it is signed like the rest"),
    ];
    let key = SecretKey::new(DEMO_SECRET_KEY);
    for (says, made) in [
        (None, SignatureMethod::HmacSha1),
        (Some("HmacSHA1"), SignatureMethod::HmacSha1),
        (Some("HmacSHA256"), SignatureMethod::HmacSha256),
        // Only that one word selects it.
        (Some("HMACSHA256"), SignatureMethod::HmacSha1),
    ] {
        for (algorithm, code) in [(made, 0), (other_than(made), -10002)] {
            let mut query = Query::default();
            for (name, value) in init.into_iter().chain(says.map(|says| ("SignatureMethod", says))) {
                query.push(name, value);
            }
            sign_query(&key, algorithm, "GET", "vod2.qcloud.com", "/v2/index.php", &mut query);
            let reply = get(&mock, &format!("/v2/index.php?{query}")).await;
            assert_eq!(reply["code"], code, "SignatureMethod {says:?}: {reply}");
        }
    }
}

const fn other_than(algorithm: SignatureMethod) -> SignatureMethod {
    match algorithm {
        SignatureMethod::HmacSha1 => SignatureMethod::HmacSha256,
        SignatureMethod::HmacSha256 => SignatureMethod::HmacSha1,
    }
}

#[tokio::test]
async fn init_upload() {
    let wrong = [
        ("fileName", None, -10003),
        ("fileName", Some(""), -10003),
        ("fileName", Some("a/b"), -10003),
        ("fileSha", None, -10003),
        ("fileSha", Some("b4a5"), -10003),
        ("fileSize", None, -10003),
        ("fileSize", Some("0"), -10003),
        ("dataSize", None, -10003),
        ("dataSize", Some("524287"), -10003),
        ("dataSize", Some("1048577"), -10003),
        ("fileType", None, -10003),
        ("fileType", Some(".mp4"), -10003),
        ("tags.0", Some("a"), -10003),
        ("classId", Some("first"), -10003),
        ("isTranscode", Some("2"), -10003),
        ("isScreenshot", Some("2"), -10003),
        ("isWatermark", Some("2"), -10003),
        ("extra.usage", Some("2"), -10003),
        ("extra.fileId", Some("x7"), -10003),
    ];
    all_of(params::of(Action::InitUpload), &wrong);
    let mock = mock(config()).await;
    let file = file(1);
    let (sha, size) = (Sha1::of(&file).to_string(), file.len().to_string());
    let good = [
        ("Action", "InitUpload"),
        ("fileName", "a video"),
        ("fileSha", &sha),
        ("fileSize", &size),
        ("dataSize", "600000"),
        ("fileType", "mp4"),
        ("tags.2", "b"),
        ("tags.1", "a"),
        ("classId", "7"),
        ("isTranscode", "1"),
        ("isScreenshot", "1"),
        ("isWatermark", "1"),
        ("extra.usage", "1"),
        ("extra.fileId", "77"),
    ];
    refused(&mock, &good, &wrong, signed, &file).await;
    assert_eq!(post(&mock, (signed(&good), b"")).await["code"], 0);
    let view = mock.upload(Sha1::of(&file)).await.unwrap();
    let facts = FileFacts {
        name: "a video".to_owned(),
        file_type: "mp4".to_owned(),
        tags: vec!["a".to_owned(), "b".to_owned()],
        class_id: Some(7),
        transcode: true,
        screenshot: true,
        watermark: true,
        cover_of: Some("77".to_owned()),
        notify_url: None,
    };
    let size = u64::try_from(file.len()).unwrap();
    assert_eq!((view.file, view.file_size, view.part_size), (Some(facts), Some(size), Some(600_000)));
}

/// A file whose upload is open, and its one part.
async fn opened(mock: &VodMock) -> (Vec<u8>, String, String, String) {
    let file = file(0);
    let (sha, size, md5) = (Sha1::of(&file).to_string(), file.len().to_string(), Md5::of(&file).to_string());
    assert_eq!(get(mock, &crate::wire::init(&file)).await["code"], 0);
    (file, sha, size, md5)
}

/// The parameters of a part, whoever signs.
const WRONG_PARTS: [Wrong; 8] = [
    ("fileSha", Some("b4a5"), -10003),
    ("offset", None, -10003),
    ("offset", Some("-1"), -10003),
    ("offset", Some("1"), -10003),
    ("dataSize", None, -10003),
    ("dataSize", Some("all"), -10003),
    ("dataMd5", None, -10003),
    ("dataMd5", Some("0bee"), -10003),
];

#[tokio::test]
async fn upload_part() {
    let wrong = [&[("fileSha", None, -10003)], &WRONG_PARTS[..]].concat();
    all_of(params::of(Action::UploadPart), &wrong);
    let mock = mock(config()).await;
    let (file, sha, size, md5) = opened(&mock).await;
    let good = [("Action", "UploadPart"), ("fileSha", &sha), ("offset", "0"), ("dataSize", &size), ("dataMd5", &md5)];
    for row @ (name, _, code) in &wrong {
        let reply = post(&mock, (signed(&spoiled(&good, row)), &file)).await;
        assert_eq!(reply["code"], *code, "{reply}");
        assert!(reply["message"].as_str().unwrap_or_default().contains(name), "{reply}");
    }
    assert_eq!(mock.upload(Sha1::of(&file)).await.unwrap().parts, 0);
    assert_eq!(post(&mock, (signed(&good), &file)).await["code"], 0);
}

#[tokio::test]
async fn finish_upload() {
    let wrong = [("fileSha", None, -10003), ("fileSha", Some("b4a5"), -10003)];
    all_of(params::of(Action::FinishUpload), &wrong);
    let mock = mock(config()).await;
    let (_, sha, _, _) = opened(&mock).await;
    let good = [("Action", "FinishUpload"), ("fileSha", sha.as_str())];
    refused(&mock, &good, &wrong, signed, b"").await;
    let reply = post(&mock, (signed(&good), b"")).await;
    assert!(
        reply["message"].as_str().unwrap_or_default().contains("missing"),
        "its part is, and no parameter: {reply}"
    );
}

/// The fields of an upload signature, as the documents list them.
fn fields(sha: &str) -> Vec<(&'static str, String)> {
    let (made, expires) = (NOW.to_string(), (NOW + 3600).to_string());
    [("s", DEMO_SECRET_ID), ("f", "a video"), ("fs", sha), ("ft", "mp4"), ("t", &made), ("e", &expires), ("r", "7")]
        .into_iter()
        .chain([("uid", "1")])
        .map(|(name, value)| (name, value.to_owned()))
        .collect()
}

fn token(fields: &Params<'_>) -> String {
    let mut original = Query::default();
    for (name, value) in fields {
        original.push(name, value);
    }
    UploadSignature::sign(&SecretKey::new(DEMO_SECRET_KEY), &original)
}

fn token_for(sha: &str) -> String {
    let fields = fields(sha);
    let fields: Vec<_> = fields.iter().map(|(name, value)| (*name, value.as_str())).collect();
    token(&fields)
}

/// Without it nobody may upload, and half of one is none.
const WRONG_TOKENS: [Wrong; 2] = [("signature", None, -10002), ("signature", Some("IEmbRAPy5IgIAFnt7XPAToaY"), -10002)];

#[tokio::test]
async fn init_upload_ex() {
    let wrong = [
        ("fileSha", Some("b4a5"), -10003),
        ("fileSize", None, -10003),
        ("fileSize", Some("0"), -10003),
        ("dataSize", None, -10003),
        ("dataSize", Some("524287"), -10003),
        ("signature", None, -10002),
        ("signature", Some("IEmbRAPy5IgIAFnt7XPAToaY"), -10002),
    ];
    let mock = mock(config()).await;
    let file = file(1);
    let (sha, size) = (Sha1::of(&file).to_string(), file.len().to_string());
    let token = token_for(&sha);
    let good = [
        ("Action", "InitUploadEx"),
        ("fileSha", sha.as_str()),
        ("fileSize", &size),
        ("dataSize", "524288"),
        ("signature", &token),
    ];
    refused(&mock, &good, &wrong, unsigned, &file).await;
    // The signature names the file too, so that a fileSha that is left out is no harm.
    let left_out = [("fileSha", None, 0)];
    all_of(params::of(Action::InitUploadEx), &[&wrong[..], &left_out].concat());
    assert_eq!(post(&mock, (unsigned(&spoiled(&good, &left_out[0])), b"")).await["code"], 0);
    assert_eq!(mock.upload(Sha1::of(&file)).await.unwrap().part_size, Some(524_288));
}

#[tokio::test]
async fn upload_part_ex() {
    let wrong = [&WRONG_PARTS[..], &WRONG_TOKENS].concat();
    let left_out = ("fileSha", None, 0);
    all_of(params::of(Action::UploadPartEx), &[&wrong[..], &[left_out]].concat());
    let mock = mock(config()).await;
    let (file, sha, size, md5) = opened(&mock).await;
    let token = token_for(&sha);
    let good = [
        ("Action", "UploadPartEx"),
        ("fileSha", sha.as_str()),
        ("offset", "0"),
        ("dataSize", &size),
        ("dataMd5", &md5),
        ("signature", &token),
    ];
    for row @ (name, _, code) in &wrong {
        let reply = post(&mock, (unsigned(&spoiled(&good, row)), &file)).await;
        assert_eq!(reply["code"], *code, "{reply}");
        assert!(reply["message"].as_str().unwrap_or_default().contains(name), "{reply}");
    }
    assert_eq!(mock.upload(Sha1::of(&file)).await.unwrap().parts, 0);
    assert_eq!(post(&mock, (unsigned(&spoiled(&good, &left_out)), &file)).await["code"], 0);
}

#[tokio::test]
async fn finish_upload_ex() {
    let wrong = [
        ("fileSha", Some("b4a5"), -10003),
        ("signature", None, -10002),
        ("signature", Some("IEmbRAPy5IgIAFnt7XPAToaY"), -10002),
    ];
    let left_out = ("fileSha", None, 0);
    all_of(params::of(Action::FinishUploadEx), &[&wrong[..], &[left_out]].concat());
    let mock = mock(config()).await;
    let (_, sha, _, _) = opened(&mock).await;
    let token = token_for(&sha);
    let good = [("Action", "FinishUploadEx"), ("fileSha", sha.as_str()), ("signature", &token)];
    refused(&mock, &good, &wrong, unsigned, b"").await;
    for good in [good.to_vec(), spoiled(&good, &left_out)] {
        let reply = post(&mock, (unsigned(&good), b"")).await;
        let message = reply["message"].as_str().unwrap_or_default();
        assert!(message.contains("missing"), "its part is, and no parameter: {reply}");
    }
}

/// Each field of an upload signature that holds: what is wrong in it is refused all the same.
#[tokio::test]
async fn upload_signature_fields() {
    let wrong = [
        ("s", None, -10002),
        ("e", None, -10002),
        ("e", Some("soon"), -10002),
        ("fs", Some("b4a5"), -10002),
        ("f", None, -10003),
        ("f", Some("a/b"), -10003),
        ("ft", None, -10003),
        ("ft", Some(".mp4"), -10003),
        ("tc", Some("2"), -10003),
        ("ss", Some("2"), -10003),
        ("wm", Some("2"), -10003),
        ("cid", Some("first"), -10003),
        ("tag.0", Some("a"), -10003),
    ];
    // What these say is needed by nobody: the profile `observed` only notes that they are missing or odd.
    let noted = [
        ("fs", None, 0),
        ("t", None, 0),
        ("t", Some("today"), 0),
        ("r", None, 0),
        ("r", Some("12345678901"), 0),
        ("uid", None, 0),
    ];
    all_of(params::TOKEN_FIELDS, &[&wrong[..], &noted].concat());
    let observed = mock(config()).await;
    let documented = vod_proto::rules::Profile::Documented;
    let documented = mock(vod_mock::Config { profile: documented, ..config() }).await;
    let file = file(1);
    let (sha, size) = (Sha1::of(&file).to_string(), file.len().to_string());
    let owned = fields(&sha);
    let good: Vec<_> = owned.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let init = |fields: &Params<'_>| {
        let token = token(fields);
        let params = [("fileSha", sha.as_str()), ("fileSize", &size), ("dataSize", "524288"), ("signature", &token)];
        unsigned(&[&[("Action", "InitUploadEx")], &params[..]].concat())
    };
    refused(&observed, &good, &wrong, init, &file).await;
    for row in &noted {
        // Not knowing the time, nobody can say that it is wrong.
        let refusal = if row.1 == Some("today") { 0 } else { -10002 };
        for (mock, code) in [(&documented, refusal), (&observed, 0)] {
            let reply = get(mock, &init(&spoiled(&good, row))).await;
            assert_eq!(reply["code"], code, "{row:?}: {reply}");
        }
    }
    let said = [("tc", "1"), ("ss", "1"), ("wm", "1"), ("cid", "42"), ("tag.2", "b"), ("tag.1", "a")];
    let fresh = mock(config()).await;
    assert_eq!(get(&fresh, &init(&[&good[..], &said].concat())).await["code"], 0);
    let facts = FileFacts {
        name: "a video".to_owned(),
        file_type: "mp4".to_owned(),
        tags: vec!["a".to_owned(), "b".to_owned()],
        class_id: Some(42),
        transcode: true,
        screenshot: true,
        watermark: true,
        ..FileFacts::default()
    };
    assert_eq!(fresh.upload(Sha1::of(&file)).await.unwrap().file, Some(facts));
}

#[tokio::test]
async fn multipart_upload_vod_file() {
    let wrong = [
        ("fileName", None, 4000),
        ("fileName", Some("a:b"), 4000),
        ("fileSha", None, -25985),
        ("fileSha", Some("b4a5"), -25985),
        ("fileSize", None, -25981),
        ("fileSize", Some("0"), -25981),
        ("dataSize", None, -25982),
        ("dataSize", Some("10240"), -25982),
        ("offset", None, 4000),
        ("offset", Some("here"), 4000),
        ("offset", Some("999999999"), -25977),
        ("fileType", None, -25986),
        ("fileType", Some("m.p"), -25986),
        ("tags.1", Some(""), -25984),
        ("classId", Some("first"), -25983),
        ("isTranscode", Some("2"), -25978),
        ("isScreenshot", Some("2"), -25980),
        ("isWatermark", Some("2"), -25979),
        ("notifyUrl", Some("nowhere"), -25976),
    ];
    all_of(params::of(Action::MultipartUploadVodFile), &wrong);
    let mock = mock(config()).await;
    let file = file(1);
    let (sha, size) = (Sha1::of(&file).to_string(), file.len().to_string());
    let good = [
        ("Action", "MultipartUploadVodFile"),
        ("fileName", "a video"),
        ("fileSha", sha.as_str()),
        ("fileSize", &size),
        ("dataSize", "524288"),
        ("offset", "0"),
        ("fileType", "mp4"),
        ("tags.1", "a"),
        ("classId", "7"),
        ("isTranscode", "1"),
        ("isScreenshot", "1"),
        ("isWatermark", "1"),
        ("notifyUrl", "http://app.example/told"),
    ];
    refused(&mock, &good, &wrong, signed, &file).await;
    let reply = post(&mock, (signed(&good), &file[..PART])).await;
    assert_eq!((&reply["flag"], &reply["offset"]), (&0.into(), &"524288".into()), "{reply}");
    let facts = FileFacts {
        name: "a video".to_owned(),
        file_type: "mp4".to_owned(),
        tags: vec!["a".to_owned()],
        class_id: Some(7),
        transcode: true,
        screenshot: true,
        watermark: true,
        cover_of: None,
        notify_url: Some("http://app.example/told".to_owned()),
    };
    assert_eq!(mock.upload(Sha1::of(&file)).await.unwrap().file, Some(facts));
}

#[tokio::test]
async fn small_file_upload() {
    let wrong = [
        ("fileName", None, -10003),
        ("fileName", Some("a*b"), -10003),
        ("fileSha", None, -10003),
        ("fileSha", Some("b4a5"), -10003),
        ("fileSize", None, -10003),
        ("fileSize", Some("1048576"), -10003),
        ("dataSize", None, -10003),
        ("dataSize", Some("1"), -10003),
        ("fileType", None, -10003),
        ("fileType", Some(""), -10003),
        ("extra.usage", None, -10003),
        ("extra.usage", Some("2"), -10003),
        ("extra.fileId", None, -10003),
        ("extra.fileId", Some("x7"), -10003),
    ];
    all_of(params::of(Action::SmallFileUpload), &wrong);
    let mock = mock(config()).await;
    let file = file(0);
    let (sha, size) = (Sha1::of(&file).to_string(), file.len().to_string());
    let good = [
        ("Action", "SmallFileUpload"),
        ("fileName", "cover"),
        ("fileSha", sha.as_str()),
        ("fileSize", &size),
        ("dataSize", &size),
        ("fileType", "png"),
        ("extra.usage", "1"),
        ("extra.fileId", "77"),
    ];
    refused(&mock, &good, &wrong, signed, &file).await;
    let reply = post(&mock, (signed(&good), &file)).await;
    let (url, id) = (reply["url"].as_str().unwrap_or_default(), reply["fileId"].as_str().unwrap_or_default());
    assert!(url.ends_with(&format!("/77/{id}.png")), "{reply}");
}

#[tokio::test]
async fn report() {
    let heard =
        [("errCode", "x"), ("speed", "-1"), ("fileId", ""), ("fileSha", "b4a5"), ("platform", "?"), ("version", "")];
    let odd = heard.map(|(name, value)| (name, Some(value), 0));
    all_of(params::of(Action::Report), &odd);
    let mock = mock(config()).await;
    for row in &odd {
        let reply = post(&mock, (signed(&spoiled(&[("Action", "Report")], row)), b"")).await;
        assert_eq!(reply["code"], 0, "{row:?}: {reply}");
    }
    assert_eq!(mock.uploads().await, [], "nothing comes of a report");
}

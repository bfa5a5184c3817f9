//! Whatever is sent, something sane comes back, and soon.

use std::time::Duration;

use proptest::{
    collection::vec,
    option,
    prelude::*,
    sample::{Index, select},
    test_runner::TestRunner,
};
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};
use vod_mock::{Config, DEMO_SECRET_ID, VodMock};
use vod_proto::{Action, Md5, Sha1, params, rules::Profile};

use crate::{
    ugc,
    wire::{config, file, get, mock, target_at, unsigned},
};

/// What one answer may take at most; an honest one takes a millisecond.
const PATIENCE: Duration = Duration::from_secs(20);

/// Every name that any action knows, and some that none does.
fn names() -> Vec<String> {
    let lists = Action::ALL.map(params::of).into_iter().chain([params::COMMON, params::TOKEN_FIELDS]);
    let known = lists.flatten().map(|param| param.name.replace(".n", ".1"));
    let mut names: Vec<_> = known.chain(["tag.1", "tags.0", "usage", "fileId", "x", ""].map(str::to_owned)).collect();
    names.sort();
    names.dedup();
    names.retain(|name| name != "Action");
    names
}

fn values() -> impl Strategy<Value = String> {
    let file = file(0);
    let token = ugc::token(&ugc::original(&file));
    let fixed = [
        "0",
        "1",
        "-1",
        "5",
        "10",
        "1000",
        "524288",
        "1048576",
        "525288",
        "18446744073709551615",
        "9223372036854775808",
        "99999999999999999999",
        "",
        " ",
        "mp4",
        "test",
        "a/b",
        "夏",
        "http://h/",
        "http://[",
        "+5",
        "0x10",
        "1e3",
        "da39a3ee5e6b4b0d3255bfef95601890afd80709",
    ];
    let fixed: Vec<String> = fixed.map(str::to_owned).into_iter().chain([token]).collect();
    prop_oneof![3 => select(fixed), 1 => "\\PC{0,60}", 1 => "[ -~]{0,20}"]
}

/// Parameters with which every action is as it should be, for a file of one part.
fn sane() -> Vec<(String, String)> {
    let file = file(0);
    let (sha, md5, token) =
        (Sha1::of(&file).to_string(), Md5::of(&file).to_string(), ugc::token(&ugc::original(&file)));
    let params = [
        ("fileName", "test"),
        ("fileSha", &sha),
        ("fileSize", "1000"),
        ("dataSize", "1000"),
        ("offset", "0"),
        ("dataMd5", &md5),
        ("fileType", "mp4"),
        ("extra.usage", "1"),
        ("extra.fileId", "7"),
        ("signature", &token),
    ];
    params.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec()
}

#[derive(Clone, Debug)]
struct Sent {
    method: &'static str,
    path: &'static str,
    action: String,
    params: Vec<(String, String)>,
    signed: bool,
    body: Vec<u8>,
    framing: u8,
}

fn requests() -> impl Strategy<Value = Sent> {
    let actions: Vec<_> = Action::ALL.map(|action| action.wire_name().to_owned()).to_vec();
    (
        prop_oneof![6 => Just("POST"), 4 => Just("GET"), 1 => select(vec!["PUT", "HEAD", "OPTIONS", "X"])],
        prop_oneof![8 => Just("/v2/index.php"), 2 => Just("/v3/index.php"), 1 => select(vec!["/", "/v2//index.php"])],
        prop_oneof![15 => select(actions), 1 => "\\PC{0,12}"],
        (wild(), any::<Option<bool>>(), select(vec!["1000", "524288"])),
        prop::bool::weighted(0.9),
        prop_oneof![3 => Just(file(0)), 1 => vec(any::<u8>(), 0..1200)],
        0..9_u8,
    )
        .prop_map(|(method, path, action, (wild, sane, grid), signed, body, framing)| {
            let params = parameters(&action, wild, sane, grid);
            Sent { method, path, action, params, signed, body, framing }
        })
}

/// Up to six values, each for a parameter that the action knows or for any.
fn wild() -> impl Strategy<Value = Vec<(Index, bool, String)>> {
    vec((any::<Index>(), prop::bool::weighted(0.8), values()), 0..6)
}

/// Wild parameters alone, or in front of sane ones or in their place. Most actions open an upload by a grid, and the
/// others send the whole file as one part.
fn parameters(action: &str, wild: Vec<(Index, bool, String)>, sane: Option<bool>, grid: &str) -> Vec<(String, String)> {
    let own = action.parse().map_or(params::COMMON, params::of);
    let name = |at: Index, known| if known { at.get(own).name.replace(".n", ".1") } else { at.get(&names()).clone() };
    let wild: Vec<_> = wild.into_iter().map(|(at, known, value)| (name(at, known), value)).collect();
    let Some(replace) = sane else { return wild };
    let mut params = self::sane();
    params[3].1 = grid.to_owned();
    if replace {
        params.retain(|(name, _)| wild.iter().all(|(other, _)| other != name));
    }
    [wild, params].concat()
}

impl Sent {
    fn bytes(&self) -> Vec<u8> {
        let mut params = vec![("Action", self.action.as_str())];
        params.extend(self.params.iter().map(|(name, value)| (name.as_str(), value.as_str())));
        let target = match self.signed {
            true => target_at(self.path, self.method, &params),
            false => unsigned(&params).replace("/v2/index.php", self.path),
        };
        let (framing, body) = match self.framing {
            0 => (String::new(), Vec::new()),
            1 => {
                let chunk = [format!("{:x}\r\n", self.body.len()).as_bytes(), &self.body, b"\r\n"].concat();
                let chunk = if self.body.is_empty() { Vec::new() } else { chunk };
                ("Transfer-Encoding: chunked\r\n".to_owned(), [&chunk[..], b"0\r\n\r\n"].concat())
            }
            2 => ("Content-Length: 7\r\nContent-Type: multipart/form-data\r\n".to_owned(), b"7 bytes".to_vec()),
            _ => (format!("Content-Length: {}\r\n", self.body.len()), self.body.clone()),
        };
        let method = self.method;
        let head = format!("{method} {target} HTTP/1.1\r\nHost: vod2.qcloud.com\r\nConnection: close\r\n{framing}\r\n");
        [head.as_bytes(), &body].concat()
    }
}

/// Sends bytes and reads to the end. The server may hang up before all was taken.
async fn exchange(mock: &VodMock, bytes: &[u8], end: bool) -> String {
    let exchange = async {
        let mut stream = TcpStream::connect(mock.endpoint().strip_prefix("http://").unwrap()).await.unwrap();
        let _ = stream.write_all(bytes).await;
        if end {
            let _ = stream.shutdown().await;
        }
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer).await;
        String::from_utf8_lossy(&answer).into_owned()
    };
    tokio::time::timeout(PATIENCE, exchange).await.expect("an answer, or an end")
}

/// Codes that speak of a parameter, or of a body that is not what one says.
fn of_a_parameter(code: i64) -> bool {
    matches!(code, -10001 | -10003 | -10006 | 4000 | -25997 | -25986..=-25976)
}

fn check(sent: &Sent, answer: &str) -> Result<(), TestCaseError> {
    let Some((head, body)) = answer.split_once("\r\n\r\n") else {
        return Err(TestCaseError::fail(format!("no whole head: {answer:?}")));
    };
    let status = head.get(9..12).unwrap_or_default();
    if sent.method == "OPTIONS" {
        prop_assert_eq!((status, body), ("204", ""));
        return Ok(());
    }
    if !sent.path.ends_with("index.php") || sent.path.contains("//") {
        prop_assert_eq!(status, "404");
        return Ok(());
    }
    prop_assert_eq!(status, "200");
    if sent.method == "HEAD" {
        prop_assert_eq!(body, "");
        return Ok(());
    }
    let reply: Value = serde_json::from_str(body).map_err(|error| TestCaseError::fail(format!("{error}: {body:?}")))?;
    let code = reply["code"].as_i64().unwrap_or(i64::MAX);
    let message = reply["message"].as_str().unwrap_or_default();
    if of_a_parameter(code) {
        let mut names = names();
        names.retain(|name| name.len() > 2);
        let named = names.iter().any(|name| message.contains(&name.replace(".1", ".")));
        let line =
            ["Action", "unknown action", "was sent by", "was sent to", "Content-Type", "Content-Length", "missing"];
        prop_assert!(named || line.iter().any(|word| message.contains(word)), "{} {:?}", code, message);
    }
    prop_assert!(code == 0 || !message.is_empty() || code == 1 || code == 2, "{reply}");
    prop_assert!(!answer.contains(DEMO_SECRET_ID), "{}", answer);
    Ok(())
}

#[test]
fn any_query_and_body_is_answered_and_every_refusal_names_what_it_is_about() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    for profile in [Profile::Observed, Profile::Documented] {
        let mock = runtime.block_on(mock(Config { profile, ..config() }));
        let mut runner =
            TestRunner::new(ProptestConfig { cases: 1000, failure_persistence: None, ..Default::default() });
        runner
            .run(&requests(), |sent| {
                let answer = runtime.block_on(exchange(&mock, &sent.bytes(), false));
                check(&sent, &answer)
            })
            .unwrap_or_else(|failed| panic!("{failed}"));
        runtime.block_on(async {
            assert_eq!(get(&mock, "/__vod/health").await["status"], "ok");
            // Whatever it made of them can be shown and judged.
            get(&mock, "/__vod/findings").await;
            get(&mock, "/__vod/uploads?rehash=true").await;
        });
    }
}

#[test]
fn any_bytes_end_in_an_answer_or_a_hang_up() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let mock = runtime.block_on(mock(config()));
    let lines = prop_oneof![
        vec(any::<u8>(), 0..300),
        "(GET|POST|OPTIONS) [!-~]{1,60} HTTP/1\\.[01]\r\n([!-9;-~]{1,10}: [ -~]{0,20}\r\n){0,4}\r\n[ -~]{0,40}"
            .prop_map(String::into_bytes),
    ];
    let sent = (lines, option::of(0..200_usize));
    let mut runner = TestRunner::new(ProptestConfig { cases: 300, failure_persistence: None, ..Default::default() });
    runner
        .run(&sent, |(mut bytes, cut)| {
            bytes.truncate(cut.unwrap_or(usize::MAX));
            // The client has nothing more to say: the server must not wait for it.
            runtime.block_on(exchange(&mock, &bytes, true));
            Ok(())
        })
        .unwrap_or_else(|failed| panic!("{failed}"));
    assert_eq!(runtime.block_on(get(&mock, "/__vod/health"))["status"], "ok");
}

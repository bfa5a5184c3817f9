//! What a page of another origin needs, and what HTTP clients of every kind do with their bodies.

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};
use vod_mock::{Config, VodMock};
use vod_serve::Plan;

use crate::wire::{PART, assert_code, config, file, finish, get, init, json, mock, part, part_of, raw, target};

/// Status line, headers in lower case, and body.
async fn ask(mock: &VodMock, method: &str, target: &str, headers: &str, body: &[u8]) -> (String, String, String) {
    let head = format!("{method} {target} HTTP/1.1\r\nHost: vod2.qcloud.com\r\nConnection: close\r\n{headers}\r\n");
    let answer = String::from_utf8(raw(mock, &head, body).await.unwrap()).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let (status, headers) = head.split_once("\r\n").unwrap_or((head, ""));
    (status.to_owned(), headers.to_ascii_lowercase(), body.to_owned())
}

const ORIGIN: &str = "Origin: http://page.example\r\n";
const PREFLIGHT: &str = "Origin: http://page.example\r\nAccess-Control-Request-Method: POST\r\n\
                         Access-Control-Request-Headers: content-type\r\n";

#[tokio::test]
async fn a_preflight_is_answered_for_any_action_and_has_no_effect() {
    let mock = mock(config()).await;
    let file = file(1);
    let ex = part(&file, 0).0.replace("UploadPart", "UploadPartEx");
    for target in [init(&file), part(&file, 0).0, finish(&file), ex, "/v2/index.php?Action=Nonsense".to_owned()] {
        let (status, headers, body) = ask(&mock, "OPTIONS", &target, PREFLIGHT, b"").await;
        assert_eq!((status.as_str(), body.as_str()), ("HTTP/1.1 204 No Content", ""), "{target}");
        for line in [
            "access-control-allow-origin: *",
            "access-control-allow-methods: get, post, options",
            "access-control-allow-headers: content-type",
            "access-control-max-age: 600",
        ] {
            assert!(headers.lines().any(|header| header == line), "expected {line:?} for {target} in {headers}");
        }
    }
    assert_eq!(mock.uploads().await, []);
    // Also where the path is wrong: what is wrong the page then learns from the request itself.
    assert_eq!(ask(&mock, "OPTIONS", "/v4/index.php", PREFLIGHT, b"").await.0, "HTTP/1.1 204 No Content");
}

#[tokio::test]
async fn no_fault_takes_a_preflight_for_the_request() {
    // Neither one that is aimed at the action, nor one that is aimed at everything, in any phase.
    let fault = |id: &str, on: &str, phase: &str| {
        format!("[[fault]]\nid = {id:?}\non = {on}\nphase = {phase:?}\ndo = \"close\"\n")
    };
    let plan: Plan = toml::from_str(
        &[
            fault("aimed", "{ action = \"InitUpload\", attempt = 1 }", "before-read"),
            fault("all", "{ times = 1 }", "before-commit"),
            fault("reply", "{ times = 1 }", "mid-reply"),
        ]
        .concat(),
    )
    .unwrap();
    let mock = mock(Config { plan, ..config() }).await;
    let init = init(&file(0));
    for _ in 0..3 {
        assert_eq!(ask(&mock, "OPTIONS", &init, PREFLIGHT, b"").await.0, "HTTP/1.1 204 No Content");
    }
    assert_eq!(mock.unfired(), ["aimed", "all", "reply"], "all of them wait for the request");
    for _ in 0..3 {
        let head = format!("GET {init} HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
        let answer = raw(&mock, &head, b"").await.unwrap();
        assert!(!answer.ends_with(b"}"), "{}", String::from_utf8_lossy(&answer));
    }
    assert_eq!(mock.unfired(), [""; 0]);
    // The three whose replies were cut may have opened it.
    let code = get(&mock, &init).await["code"].clone();
    assert!(code == 0 || code == 1, "{code}");
    let preflights = mock.exchanges().into_iter().filter(|exchange| exchange.request.method == "OPTIONS");
    assert!(preflights.into_iter().all(|exchange| exchange.faults.is_empty() && exchange.action.is_none()));
}

#[tokio::test]
async fn whatever_is_answered_a_page_may_read_it() {
    let fault = |id: &str, attempt: u32, verdict: &str| {
        let on = format!("{{ action = \"InitUpload\", attempt = {attempt} }}");
        format!("[[fault]]\nid = {id:?}\non = {on}\nphase = \"before-read\"\ndo = {verdict}\n")
    };
    let injected = [
        fault("reply", 1, "{ reply = { code = -10004, can-retry = true } }"),
        fault("http", 3, "{ http = { status = 503 } }"),
    ];
    let plan: Plan = toml::from_str(&injected.concat()).unwrap();
    let mock = mock(Config { plan, ..config() }).await;
    let init = init(&file(0));
    let refused = target("GET", &[("Action", "FinishUpload"), ("fileSha", "x")]);
    for (what, target, status) in [
        ("an injected reply", init.as_str(), "200"),
        ("an injected status", &init, "503"),
        ("a success", &init, "200"),
        ("a refusal", &refused, "200"),
        ("an unknown action", "/v2/index.php?Action=x", "200"),
        ("an unknown path", "/nowhere", "404"),
    ] {
        let (line, headers, _) = ask(&mock, "GET", target, ORIGIN, b"").await;
        assert!(line.contains(status), "{what}: {line}");
        assert!(headers.lines().any(|line| line == "access-control-allow-origin: *"), "{what}: {headers}");
        let (_, headers, _) = ask(&mock, "GET", target, "", b"").await;
        assert!(!headers.contains("access-control"), "who names no origin is no browser: {headers}");
    }
    assert_eq!(mock.unfired(), [""; 0]);
}

/// Sends a head, waits for an invitation if there is one, sends the body, and gives back all that came.
async fn expecting(mock: &VodMock, head: &str, body: &[u8]) -> (bool, String) {
    let mut stream = TcpStream::connect(mock.endpoint().strip_prefix("http://").unwrap()).await.unwrap();
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut first = [0; 25];
    stream.read_exact(&mut first).await.unwrap();
    let invited = first.starts_with(b"HTTP/1.1 100 ");
    let mut answer = if invited { Vec::new() } else { first.to_vec() };
    if invited {
        stream.write_all(body).await.unwrap();
    }
    stream.read_to_end(&mut answer).await.unwrap();
    (invited, String::from_utf8(answer).unwrap())
}

/// The body is asked for also where the answer is decided: a client that sends it all the same would lose the answer.
#[tokio::test]
async fn who_waits_to_be_asked_for_a_body_is_asked_and_answered() {
    let mock = mock(config()).await;
    let file = file(1);
    let (target, body) = part(&file, 0);
    let expect = |target: &str, len: usize| {
        format!(
            "POST {target} HTTP/1.1\r\nHost: h\r\nConnection: close\r\nExpect: 100-continue\r\nContent-Length: {len}\r\n\r\n"
        )
    };
    let (invited, answer) = expecting(&mock, &expect(&target, body.len()), body).await;
    assert!(invited && answer.contains("\"code\":-10005"), "before any session: {answer}");
    get(&mock, &init(&file)).await;
    let unsigned = target.replace("Signature=", "Signature=x");
    let (invited, answer) = expecting(&mock, &expect(&unsigned, body.len()), body).await;
    assert!(invited && answer.contains("\"code\":-10002"), "{answer}");
    let (invited, answer) = expecting(&mock, &expect(&target, body.len()), body).await;
    assert!(invited && answer.contains("\"code\":0"), "{answer}");
    // Whoever has nothing to send need not be asked.
    let (invited, answer) = expecting(&mock, &expect(&finish(&file).replace("GET", "POST"), 0), b"").await;
    assert!(!invited && answer.contains("\"code\":-10002"), "{answer}");
}

#[tokio::test]
async fn bodies_may_be_chunked_and_have_any_content_type() {
    let mock = mock(config()).await;
    let file = file(2);
    get(&mock, &init(&file)).await;
    for (index, kind) in
        ["application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "video/mp4"].into_iter().enumerate()
    {
        let (target, body) = part(&file, index);
        // In many chunks, of which none ends where another thing does.
        let mut chunked = Vec::new();
        for chunk in body.chunks(99_991) {
            chunked.extend_from_slice(format!("{:X};x=y\r\n", chunk.len()).as_bytes());
            chunked.extend_from_slice(chunk);
            chunked.extend_from_slice(b"\r\n");
        }
        chunked.extend_from_slice(b"0\r\nTrailer: x\r\n\r\n");
        let headers = format!("Content-Type: {kind}\r\nTransfer-Encoding: chunked\r\n");
        let (_, _, reply) = ask(&mock, "POST", &target, &headers, &chunked).await;
        assert_code(&serde_json::from_str(&reply).unwrap(), 0, 0);
    }
    assert_code(&get(&mock, &finish(&file)).await, 0, 0);
}

#[tokio::test]
async fn a_body_that_reads_like_a_form_says_nothing() {
    let mock = mock(config()).await;
    let headers =
        |body: &str| format!("Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n", body.len());
    let target_of_form = target("POST", &[("Action", "FinishUpload")]);
    let form = target_of_form.split_once('?').unwrap().1;
    let (_, _, reply) = ask(&mock, "POST", "/v2/index.php", &headers(form), form.as_bytes()).await;
    assert!(reply.contains("-10001") && reply.contains("Action is missing"), "{reply}");
    // And where the bytes are a part, they are that part's bytes.
    let file = [b"Action=FinishUpload&x=".as_slice(), &file(1)].concat();
    get(&mock, &init(&file)).await;
    let (target, body) = part(&file, 0);
    let headers = format!("Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {PART}\r\n");
    assert_code(&serde_json::from_str(&ask(&mock, "POST", &target, &headers, body).await.2).unwrap(), 0, 0);
}

#[tokio::test]
async fn parts_without_any_length_are_empty_and_other_methods_are_named() {
    let mock = mock(config()).await;
    let file = file(1);
    get(&mock, &init(&file)).await;
    let (target, body) = part(&file, 0);
    let (_, _, reply) = ask(&mock, "POST", &target, "", b"").await;
    assert!(reply.contains("-10006") && reply.contains("the body has 0 bytes"), "{reply}");
    for method in ["PUT", "DELETE", "PATCH"] {
        let length = format!("Content-Length: {}\r\n", body.len());
        let (status, _, reply) = ask(&mock, method, &target, &length, body).await;
        assert_eq!(status, "HTTP/1.1 200 OK");
        assert!(reply.contains("-10001") && reply.contains(method) && reply.contains("GET or POST"), "{reply}");
        let legacy = target.replace("UploadPart", "MultipartUploadVodFile");
        let (_, _, reply) = ask(&mock, method, &legacy, &length, body).await;
        assert!(reply.contains("4000") && reply.contains(method) && !reply.contains("canRetry"), "{reply}");
    }
    let (status, headers, body) = ask(&mock, "HEAD", &init(&file), "", b"").await;
    assert_eq!((status.as_str(), body.as_str()), ("HTTP/1.1 200 OK", ""), "{headers}");
    assert_eq!(mock.exchanges().into_iter().next_back().unwrap().code().map(|code| code.0), Some(-10001));
}

#[tokio::test]
async fn connections_are_kept_alive_across_refusals() {
    let mock = mock(config()).await;
    let file = file(0);
    let mut stream = TcpStream::connect(mock.endpoint().strip_prefix("http://").unwrap()).await.unwrap();
    let part = part_of(&file, 0, &file);
    let post = |target: &str| format!("POST {target} HTTP/1.1\r\nHost: h\r\nContent-Length: {}\r\n\r\n", file.len());
    // Refused unread, then opened, then taken, all on one connection and sent at once.
    let mut sent = [post(&part).as_bytes(), &file].concat();
    sent.extend_from_slice(format!("GET {} HTTP/1.1\r\nHost: h\r\n\r\n", init(&file)).as_bytes());
    sent.extend_from_slice(post(&part).as_bytes());
    sent.extend_from_slice(&file);
    sent.extend_from_slice(
        format!("GET {} HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n", finish(&file)).as_bytes(),
    );
    stream.write_all(&sent).await.unwrap();
    let mut answers = Vec::new();
    stream.read_to_end(&mut answers).await.unwrap();
    let codes: Vec<_> = mock.exchanges().iter().map(|exchange| exchange.code().map(|code| code.0)).collect();
    assert_eq!(codes, [Some(-10005), Some(0), Some(0), Some(0)]);
    let last = String::from_utf8(answers).unwrap();
    let last = last.rfind("HTTP/1.1 200").map(|at| last[at..].to_owned()).unwrap();
    assert_code(&json(last.as_bytes()), 0, 0);
}

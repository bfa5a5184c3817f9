//! Proxies over pipes: what a client hears, what a server hears, and what stands in the recording.

mod limits;
mod net;

use std::{fs, io, time::Duration};

use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use vod_proto::{
    Exchange, Sha1,
    exchange::{End, Kept, Unreached},
    redact::Rules,
};

use self::net::{Heard, Net, Pipe, heard_by, read_request};
use crate::{
    Recording,
    leaks::{self, Secret},
    recording::{Held, KeptBodies},
};

const OK: &str = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 10\r\n\r\n{\"code\":0}";

/// What was recorded.
fn recorded(dir: &TempDir) -> Vec<Exchange> {
    let recording = Recording::open(dir.path()).unwrap();
    let checked = recording.verify().unwrap();
    // The recorder may be at work still: then nothing else is missing.
    let missing = checked.end.gap.evicted - u64::from(checked.end.unclosed);
    assert!(missing == 0 && !checked.end.torn && checked.missing.is_empty() && checked.changed.is_empty(), "{checked}");
    recording.exchanges().unwrap().0
}

/// Has one request answered by a server that answers so, and says what the client heard, and what was recorded.
async fn one(request: &str, answer: &'static str, then: Option<End>) -> (Heard, Exchange) {
    let net = Net::answering(answer, then);
    let (proxy, dir) = net.reverse(KeptBodies::Replies, Rules::default());
    let heard = heard_by(&proxy, request.as_bytes()).await;
    (heard, recorded(&dir).remove(0))
}

const GET: &str = "GET /v2/index.php?Action=InitUpload HTTP/1.1\r\nhost: here\r\nconnection: close\r\n\r\n";

#[tokio::test(start_paused = true)]
async fn a_request_goes_on_to_the_letter_and_so_does_its_reply() {
    let net = Net::answering(
        "HTTP/1.1 203 Fine\r\nserver: x\r\nset-cookie: a=sEcReTsEcReT\r\nkeep-alive: timeout=5\r\ncontent-length: 10\r\n\r\n{\"code\":0}",
        None,
    );
    let (proxy, dir) = net.reverse(KeptBodies::Replies, Rules::default());
    let request = "POST /a%2fb?x=%7e+|&Action=UploadPart HTTP/1.1\r\nHost: here:1\r\nX-Many: 1\r\nX-Many: 2\r\n\
                   accept-encoding: gzip\r\nproxy-connection: keep-alive\r\nconnection: close, x-hop\r\nx-hop: 1\r\ncontent-length: 5\r\n\r\nhello";
    let heard = heard_by(&proxy, request.as_bytes()).await;
    assert_eq!(
        net.requests(),
        [
            "POST /a%2fb?x=%7e+|&Action=UploadPart HTTP/1.1\r\nhost: up\r\nx-many: 1\r\nx-many: 2\r\ncontent-length: 5\r\n\r\nhello"
        ]
    );
    assert!(heard.text.starts_with("HTTP/1.1 203 "), "{}", heard.text);
    assert!(heard.text.contains("server: x\r\nset-cookie: a=sEcReTsEcReT\r\ncontent-length: 10\r\n"), "{}", heard.text);
    assert!(heard.text.ends_with("\r\n\r\n{\"code\":0}") && !heard.text.contains("keep-alive"), "{}", heard.text);
    let exchange = recorded(&dir).remove(0);
    assert_eq!((exchange.request.host.as_str(), exchange.action.as_deref()), ("here:1", Some("UploadPart")));
    assert_eq!((exchange.request.body.len, exchange.request.body.sha1), (5, Some(Sha1::of(b"hello"))));
    let reply = exchange.reply.unwrap();
    assert_eq!((reply.status, reply.body.as_str(), reply.mark), (203, "{\"code\":0}", None));
    assert_eq!((exchange.end, exchange.unreached), (End::Replied, None));
}

#[tokio::test(start_paused = true)]
async fn a_server_that_breaks_off_is_recorded_and_passed_on_as_what_it_is() {
    const HALF: &str = "HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n{\"cod";
    for end in [End::Reset, End::Closed] {
        let (heard, exchange) = one(GET, "", Some(end)).await;
        assert_eq!((heard.text.as_str(), heard.reset), ("", end == End::Reset), "before the reply");
        assert_eq!((exchange.end, exchange.reply), (end, None));
        let (heard, exchange) = one(GET, HALF, Some(end)).await;
        assert!(heard.text.ends_with("\r\n\r\n{\"cod"), "{}", heard.text);
        assert_eq!(heard.reset, end == End::Reset, "within the reply");
        let reply = exchange.reply.unwrap();
        assert_eq!((exchange.end, reply.body.as_str()), (end, "{\"cod"));
    }
}

#[tokio::test(start_paused = true)]
async fn a_server_that_is_not_reached_is_spoken_for_and_told_from_one_that_says_the_same() {
    let tried = [
        (Unreached::Refused, io::ErrorKind::ConnectionRefused.into(), "connection refused"),
        (Unreached::Unresolved, io::Error::other(net::DnsError), "its name has no address"),
        (Unreached::Timeout, io::ErrorKind::TimedOut.into(), "timed out"),
        (Unreached::Failed, io::ErrorKind::PermissionDenied.into(), "permission denied"),
    ];
    for (why, error, words) in tried {
        let net = Net::failing(error);
        let (proxy, dir) = net.reverse(KeptBodies::Replies, Rules::default());
        let heard = heard_by(&proxy, GET.as_bytes()).await;
        assert!(heard.text.starts_with("HTTP/1.1 502 ") && heard.text.contains(words), "{why:?}: {}", heard.text);
        let exchange = recorded(&dir).remove(0);
        assert_eq!((exchange.unreached, exchange.end), (Some(why), End::Replied));
    }
    let (_, exchange) = one(GET, "HTTP/1.1 502 Bad\r\ncontent-length: 0\r\n\r\n", None).await;
    assert_eq!((exchange.reply.unwrap().status, exchange.unreached), (502, None));
    let (heard, exchange) = one(GET, "SSH-2.0-x\r\n", None).await;
    assert!(heard.text.starts_with("HTTP/1.1 502 "), "{}", heard.text);
    assert_eq!(exchange.unreached, Some(Unreached::Failed));
}

#[tokio::test(start_paused = true)]
async fn whoever_never_lets_itself_be_connected_to_is_given_up_after_ten_seconds() {
    let net = Net::silent();
    let (proxy, dir) = net.reverse(KeptBodies::Replies, Rules::default());
    let heard = heard_by(&proxy, GET.as_bytes()).await;
    assert!(heard.text.contains("no connection within 10 s"), "{}", heard.text);
    let exchange = recorded(&dir).remove(0);
    assert_eq!(exchange.unreached, Some(Unreached::Timeout));
    assert_eq!(exchange.times.reply_done.map(|us| us / 1_000_000), Some(10));
}

#[tokio::test(start_paused = true)]
async fn a_client_that_goes_away_is_gone_for_the_server_too() {
    for (framing, body) in [("content-length: 9", "hell"), ("transfer-encoding: chunked", "4\r\nhell\r\n")] {
        let net = Net::listening();
        let (proxy, dir) = net.reverse(KeptBodies::Replies, Rules::default());
        let (mut client, end) = Pipe::pair();
        let connection = tokio::spawn(proxy.connection(end));
        let head = format!("POST /?Action=UploadPart HTTP/1.1\r\nhost: h\r\n{framing}\r\n\r\n");
        client.write_all(format!("{head}{body}").as_bytes()).await.unwrap();
        let mut server = net.accepted().await;
        let mut seen = vec![0; 200];
        let mut len = 0;
        while !seen[..len].ends_with(body.as_bytes()) {
            len += server.read(&mut seen[len..]).await.unwrap();
        }
        drop(client);
        // The body never comes to its end, in whatever way that would be said: nothing more comes.
        assert_eq!(server.read(&mut seen).await.unwrap_or(0), 0, "{framing}");
        connection.await.unwrap();
        assert_eq!(recorded(&dir)[0].end, End::ClientGone { after: 4 });
    }
}

#[tokio::test(start_paused = true)]
async fn of_both_ends_that_are_gone_at_once_it_is_the_client_who_went() {
    let net = Net::listening();
    let (proxy, dir) = net.reverse(KeptBodies::Replies, Rules::default());
    let (mut client, end) = Pipe::pair();
    let connection = tokio::spawn(proxy.connection(end));
    client.write_all(b"POST /?Action=UploadPart HTTP/1.1\r\nhost: h\r\ncontent-length: 5\r\n\r\nhello").await.unwrap();
    let mut server = net.accepted().await;
    assert!(read_request(&mut server).await.unwrap().ends_with("hello"));
    // As where a server is told that its client was killed, and closes: its end may be heard of a moment sooner.
    drop(server);
    tokio::task::yield_now().await;
    drop(client);
    connection.await.unwrap();
    assert_eq!(recorded(&dir)[0].end, End::ClientGone { after: 5 });
}

#[tokio::test(start_paused = true)]
async fn a_client_that_gives_a_silent_server_up_leaves_nothing_behind() {
    let net = Net::listening();
    let (proxy, dir) = net.reverse(KeptBodies::Replies, Rules::default());
    let (mut client, end) = Pipe::pair();
    let connection = tokio::spawn(proxy.connection(end));
    client.write_all(b"POST /?Action=UploadPart HTTP/1.1\r\nhost: h\r\ncontent-length: 5\r\n\r\nhello").await.unwrap();
    let mut server = net.accepted().await;
    assert!(read_request(&mut server).await.unwrap().ends_with("hello"));
    tokio::time::sleep(Duration::from_secs(30)).await;
    drop(client);
    assert_eq!(server.read(&mut [0; 9]).await.unwrap_or(0), 0, "its connection ends");
    connection.await.unwrap();
    let exchange = &recorded(&dir)[0];
    assert_eq!((exchange.end, exchange.request.body.len), (End::ClientGone { after: 5 }, 5));
    assert_eq!(exchange.request.body.sha1, Some(Sha1::of(b"hello")), "what was read is known");
}

#[tokio::test(start_paused = true)]
async fn a_body_and_a_reply_go_on_as_they_come() {
    let net = Net::listening();
    let (proxy, _dir) = net.reverse(KeptBodies::Replies, Rules::default());
    let (mut client, end) = Pipe::pair();
    tokio::spawn(proxy.connection(end));
    client
        .write_all(b"POST / HTTP/1.1\r\nhost: h\r\nexpect: 100-continue\r\ntransfer-encoding: chunked\r\n\r\n")
        .await
        .unwrap();
    let mut text = [0; 512];
    let len = client.read(&mut text).await.unwrap();
    assert_eq!(&text[..len], b"HTTP/1.1 100 Continue\r\n\r\n");
    client.write_all(b"3\r\nhel\r\n").await.unwrap();
    let mut server = net.accepted().await;
    let mut seen = String::new();
    while !seen.contains("hel\r\n") {
        let len = server.read(&mut text).await.unwrap();
        seen.push_str(str::from_utf8(&text[..len]).unwrap());
    }
    client.write_all(b"2\r\nlo\r\n0\r\n\r\n").await.unwrap();
    let mut heard = String::new();
    for (said, end) in [("HTTP/1.1 200 OK\r\n\r\nbit", "bit\r\n"), (" by bit", " by bit\r\n")] {
        server.write_all(said.as_bytes()).await.unwrap();
        while !heard.ends_with(end) {
            let len = client.read(&mut text).await.unwrap();
            assert_ne!(len, 0, "{heard}");
            heard.push_str(str::from_utf8(&text[..len]).unwrap());
        }
    }
}

#[tokio::test(start_paused = true)]
async fn connections_are_used_again() {
    let net = Net::answering(OK, None);
    let (proxy, dir) = net.reverse(KeptBodies::Replies, Rules::default());
    for _ in 0..3 {
        assert!(heard_by(&proxy, GET.as_bytes()).await.text.ends_with("{\"code\":0}"));
    }
    assert_eq!((net.connections().len(), recorded(&dir).len()), (1, 3));
}

#[tokio::test(start_paused = true)]
async fn a_forward_proxy_connects_to_no_host_that_is_not_allowed() {
    let net = Net::answering(OK, None);
    let (proxy, dir) = net.forward(&["up", "up:81"]);
    for request in [
        "GET http://evil/ HTTP/1.1\r\nhost: up\r\n",
        "GET http://up:82/ HTTP/1.1\r\nhost: up\r\n",
        "GET http://up.evil/ HTTP/1.1\r\nhost: up\r\n",
        "GET http://up@evil/ HTTP/1.1\r\nhost: up\r\n",
        "GET https://up/ HTTP/1.1\r\nhost: up\r\n",
        "GET / HTTP/1.1\r\nhost: up\r\n",
        "CONNECT evil:443 HTTP/1.1\r\nhost: up:443\r\n",
        "CONNECT up:22 HTTP/1.1\r\nhost: up:443\r\n",
    ] {
        let heard = heard_by(&proxy, format!("{request}connection: close\r\n\r\n").as_bytes()).await;
        assert!(heard.text.starts_with("HTTP/1.1 40"), "{request}: {}", heard.text);
    }
    assert_eq!(net.connections(), [""; 0]);
    let evil = heard_by(&proxy, b"GET http://evil:8080/ HTTP/1.1\r\nhost: up\r\nconnection: close\r\n\r\n").await.text;
    assert!(evil.starts_with("HTTP/1.1 403 ") && evil.contains("--allow evil:8080"), "{evil}");
    for exchange in recorded(&dir) {
        assert_eq!(exchange.unreached, Some(Unreached::NotAllowed), "{exchange:?}");
    }
    let heard = heard_by(&proxy, b"GET http://UP:81/x?y HTTP/1.1\r\nhost: other\r\nconnection: close\r\n\r\n").await;
    assert!(heard.text.ends_with("{\"code\":0}"), "{}", heard.text);
    assert_eq!(net.connections(), ["up:81"]);
    assert_eq!(net.requests(), ["GET /x?y HTTP/1.1\r\nhost: up:81\r\n\r\n"]);
}

#[tokio::test(start_paused = true)]
async fn a_tunnel_leads_to_its_own_host_alone() {
    let net = Net::answering(OK, None);
    let (proxy, _dir) = net.forward(&["up:81", "other:81"]);
    let begin = "CONNECT up:81 HTTP/1.1\r\nhost: up:81\r\n\r\n";
    let heard =
        heard_by(&proxy, format!("{begin}GET /x HTTP/1.1\r\nhost: up:81\r\nconnection: close\r\n\r\n").as_bytes())
            .await;
    assert!(heard.text.starts_with("HTTP/1.1 200 Connection established\r\n\r\nHTTP/1.1 200 "), "{}", heard.text);
    assert_eq!(net.connections(), ["up:81"]);
    for host in ["other:81", "up", "evil:81"] {
        let request = format!("{begin}GET /x HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n");
        let heard = heard_by(&proxy, request.as_bytes()).await;
        assert!(heard.text.contains("established\r\n\r\nHTTP/1.1 403 "), "{host}: {}", heard.text);
    }
    assert_eq!(net.connections(), ["up:81"]);
}

const SECRET_ID: &str = "AKIDz8krbsJ5yKBZQpn74WFkmLPx3gnPhESA";
const SIGNATURE: &str = "NSI3UqqD99b/UJb4tbG/xZpRW64=";
const COOKIE: &str = "session=0123456789abcdef0123";
const KEY: &str = "Gu5t9xGARNpq86cd98joQYCN3Cozk1qA";

fn secrets() -> Vec<Secret> {
    [SECRET_ID, SIGNATURE, COOKIE, KEY].iter().filter_map(|secret| Secret::new(*secret, secret)).collect()
}

#[tokio::test(start_paused = true)]
async fn no_secret_is_written_wherever_it_stands_and_equal_ones_stay_equal() {
    let answer = "HTTP/1.1 200 OK\r\nset-cookie: session=0123456789abcdef0123\r\nx-ticket: Gu5t9xGARNpq86cd98joQYCN3Cozk1qA\r\n\
                  content-length: 158\r\n\r\n{\"code\":0,\"data\":{\"secretId\":\"AKIDz8krbsJ5yKBZQpn74WFkmLPx3gnPhESA\",\
                  \"ticket\":\"Gu5t9xGARNpq86cd98joQYCN3Cozk1qA\",\"Signature\":\"NSI3UqqD99b\\/UJb4tbG\\/xZpRW64=\"}}";
    assert_eq!(answer.split_once("\r\n\r\n").unwrap().1.len(), 158);
    let net = Net::answering(answer, None);
    let name = || vec!["x-ticket".to_owned(), "Ticket".to_owned()];
    let rules = Rules { parameters: name(), headers: name(), fields: name() };
    let (proxy, dir) = net.reverse(KeptBodies::All, rules);
    let request = format!(
        "POST /?Action=UploadPart&SecretId={SECRET_ID}&ticket={KEY}&Signature={} HTTP/1.1\r\nhost: h\r\ncookie: {COOKIE}\r\n\
         authorization: {KEY}\r\nx-ticket: {KEY}\r\nconnection: close\r\n\r\n",
        SIGNATURE.replace('/', "%2F").replace('=', "%3D")
    );
    let heard = heard_by(&proxy, request.as_bytes()).await;
    assert!(heard.text.contains(KEY), "the client hears all");
    assert_eq!(leaks::find(dir.path(), &secrets()).unwrap().leaks, []);
    let exchange = recorded(&dir).remove(0);
    let reply = exchange.reply.as_ref().unwrap();
    let announced = reply.headers.iter().find(|(name, _)| name == "content-length").unwrap();
    assert_eq!(announced.1, reply.body.len().to_string(), "{}", reply.body);
    let account = exchange.account.as_deref().unwrap();
    assert!(reply.body.contains(&format!("\"secretId\":\"{account}\"")), "{}", reply.body);
    assert!(exchange.request.target.contains(&format!("SecretId={account}&")), "{}", exchange.request.target);
    // What leaks is found: the request as it came.
    fs::write(dir.path().join("leak"), request).unwrap();
    let found: Vec<_> = leaks::find(dir.path(), &secrets()).unwrap().leaks.into_iter().map(|leak| leak.name).collect();
    for secret in [SECRET_ID, SIGNATURE, COOKIE, KEY] {
        assert!(found.iter().any(|name| name == secret), "{secret}: {found:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_recorder_that_goes_on_gives_no_placeholder_of_before_to_another_secret() {
    let net = Net::answering(OK, None);
    let ask = |secrets: [&str; 2]| {
        let [id, token] = secrets;
        format!("GET /?Action=InitUpload&SecretId={id}&Token={token} HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n")
    };
    let (proxy, dir) = net.reverse(KeptBodies::Replies, Rules::default());
    heard_by(&proxy, ask(["abc", SIGNATURE]).as_bytes()).await;
    drop(proxy);
    // A life in which nothing is recorded takes no numbers, and two more do.
    drop(net.reverse_in(dir.path()));
    for secrets in [["xyz", "abc"], ["abc", SIGNATURE]] {
        heard_by(&net.reverse_in(dir.path()), ask(secrets).as_bytes()).await;
    }
    let exchanges = recorded(&dir);
    let accounts: Vec<_> = exchanges.iter().filter_map(|exchange| exchange.account.as_deref()).collect();
    assert_eq!(accounts, ["redacted-n1", "redacted-n2.1", "redacted-n3.1"]);
    let token = |at: usize| exchanges[at].request.target.rsplit_once("Token=").unwrap().1.to_owned();
    assert_eq!(token(1), "redacted-n2.2");
    assert_eq!(token(0), token(2), "what is too long to be guessed is the same in all lives");
}

#[tokio::test(start_paused = true)]
async fn what_does_not_fit_into_a_line_is_kept_under_its_sha1() {
    let keep = |body: Vec<u8>, kept| async move {
        let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", body.len());
        let net = Net::answering_bytes([head.as_bytes(), &*body].concat(), None);
        let (proxy, dir) = net.reverse(kept, Rules::default());
        let heard = heard_by(&proxy, GET.as_bytes()).await;
        assert!(heard.bytes.ends_with(&body));
        let reply = recorded(&dir).remove(0).reply.unwrap();
        if let Some(mark) = &reply.mark {
            assert_eq!((reply.body.as_str(), mark.len), ("", body.len() as u64));
            assert_eq!(mark.sha1, Some(Sha1::of(&body)));
        }
        let bodies = Recording::open(dir.path()).unwrap().bodies();
        assert_eq!(
            bodies.look(Sha1::of(&body)).unwrap() == Held::Whole,
            reply.mark.as_ref().is_some_and(|mark| mark.kept == Kept::File)
        );
        reply.mark.map(|mark| mark.kept)
    };
    let long = |member: &str| format!("{{\"list\":\"{}\",{member}}}", "x,".repeat(200_000)).into_bytes();
    assert_eq!(keep(b"{}".to_vec(), KeptBodies::Digest).await, None);
    assert_eq!(keep(vec![0, 159, 146, 150], KeptBodies::Replies).await, Some(Kept::File));
    assert_eq!(keep(vec![0, 159, 146, 150], KeptBodies::Requests).await, Some(Kept::Digest));
    assert_eq!(keep(long("\"a\":\"b\""), KeptBodies::All).await, Some(Kept::File));
}

#[tokio::test(start_paused = true)]
async fn secrets_in_what_does_not_fit_into_a_line_give_way_too_and_it_can_be_replayed() {
    let list = "x,".repeat(200_000);
    let body = |token: &str, id: &str| format!(r#"{{"list":"{list}","Token":"{token}","message":"{id}, {list}{id}"}}"#);
    let said = body(KEY, SECRET_ID);
    let net = Net::answering(&format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{said}", said.len()), None);
    let (proxy, dir) = net.reverse(KeptBodies::Replies, Rules::default());
    let request =
        format!("GET /?Action=InitUpload&SecretId={SECRET_ID} HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n");
    assert!(heard_by(&proxy, request.as_bytes()).await.text.ends_with(&said), "the client hears all");
    assert_eq!(leaks::find(dir.path(), &secrets()).unwrap().leaks, []);
    let exchange = recorded(&dir).remove(0);
    let redactor = proxy.journal().redactor();
    let expected = body(&redactor.value(KEY), exchange.account.as_deref().unwrap());
    let reply = exchange.reply.unwrap();
    let mark = reply.mark.unwrap();
    assert_eq!(
        (mark.kept, mark.len, mark.sha1),
        (Kept::File, expected.len() as u64, Some(Sha1::of(expected.as_bytes())))
    );
    assert_eq!(reply.headers, [("content-length".to_owned(), expected.len().to_string())]);
    let recording = Recording::open(dir.path()).unwrap();
    drop(proxy);
    assert!(recording.verify().unwrap().is_whole());
    assert_eq!(fs::read_to_string(recording.bodies().path(mark.sha1.unwrap())).unwrap(), expected);
    let replay = crate::Replay::open(dir.path()).unwrap();
    let (mut client, end) = Pipe::pair();
    let served = tokio::spawn(replay.connection(end));
    client.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    client.read_to_end(&mut answer).await.unwrap();
    assert!(answer.ends_with(expected.as_bytes()), "{} bytes", answer.len());
    served.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn bodies_of_requests_are_kept_where_that_is_wanted() {
    for (kept, expected) in [(KeptBodies::Replies, Kept::Digest), (KeptBodies::Requests, Kept::File)] {
        let net = Net::answering(OK, None);
        let (proxy, dir) = net.reverse(kept, Rules::default());
        let request = "POST / HTTP/1.1\r\nhost: h\r\ncontent-length: 5\r\nconnection: close\r\n\r\nhello";
        heard_by(&proxy, request.as_bytes()).await;
        assert_eq!(recorded(&dir)[0].request.body.kept, expected);
        let bodies = Recording::open(dir.path()).unwrap().bodies();
        assert_eq!(bodies.look(Sha1::of(b"hello")).unwrap() == Held::Whole, expected == Kept::File);
    }
}

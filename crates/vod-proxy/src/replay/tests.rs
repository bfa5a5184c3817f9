//! Every test here runs where no socket can be opened: in a runtime without the driver that sockets need.

mod forward;

use std::{
    path::PathBuf,
    pin::Pin,
    sync::Mutex,
    task::{Context, Poll},
};

use tempfile::TempDir;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, DuplexStream, ReadBuf};
use vod_proto::{
    Action,
    exchange::{End, Kept, Mark, Unreached, seal},
};
use vod_serve::{
    KillTarget,
    fault::{Fault, Verdict},
};

use super::{
    crafted::{OK, Session, call, part},
    *,
};
use crate::recording::{FORMAT, KeptBodies, MANIFEST_FILE, Manifest, Redaction, Source};

/// A connection in memory.
struct Pipe(DuplexStream);

impl Transport for Pipe {
    fn reset_on_drop(&mut self) {}
}

impl AsyncRead for Pipe {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl AsyncWrite for Pipe {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

/// A recording of this session, as a recorder would have left it.
fn record(session: &Session) -> (TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("recording");
    let manifest = Manifest {
        format: FORMAT,
        tool: "test".to_owned(),
        started: jiff::Timestamp::UNIX_EPOCH,
        bodies: KeptBodies::Replies,
        source: Source::Upstream("https://vod2.qcloud.com".to_owned()),
        redaction: Redaction { key: [7; 32], ..Redaction::default() },
    };
    let recording = Recording::create(&path, manifest).unwrap();
    let lines = session.exchanges.iter().map(|exchange| {
        let mut line = exchange.to_line().unwrap();
        seal(&mut line);
        line + "\n"
    });
    std::fs::write(recording.exchanges_path(), lines.collect::<String>()).unwrap();
    (dir, path)
}

fn replay_with(session: &Session, config: ReplayConfig) -> Result<(TempDir, Replay), ReplayError> {
    let (dir, path) = record(session);
    Replay::open_with(path, config).map(|replay| (dir, replay))
}

fn replay(session: &Session) -> (TempDir, Replay) {
    replay_with(session, ReplayConfig::default()).unwrap()
}

/// Does something by a paused clock, where no socket can be opened.
fn block_on<T>(work: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    runtime.unwrap().block_on(work)
}

/// What a client gets, to the end of its connection.
async fn ask(replay: &Replay, method: &str, target: &str, body: &[u8]) -> String {
    ask_by(replay, format!("{method} {target} HTTP/1.1\r\nHost: h\r\nContent-Length: {}", body.len()), body).await
}

async fn ask_by(replay: &Replay, head: String, body: &[u8]) -> String {
    let (mut client, pipe) = tokio::io::duplex(1 << 20);
    let served = replay.connection(Pipe(pipe));
    let asking = async {
        let head = format!("{head}\r\nConnection: close\r\n\r\n");
        // A replay may break off before it has read all.
        let _ = client.write_all(&[head.as_bytes(), body].concat()).await;
        let mut answer = String::new();
        client.read_to_string(&mut answer).await.map(|_| answer)
    };
    tokio::join!(served, asking).1.unwrap()
}

async fn ask_part(replay: &Replay, offset: u64, bytes: &[u8]) -> String {
    ask(replay, "POST", &part(offset, bytes, 9), bytes).await
}

fn body(answer: &str) -> &str {
    answer.split_once("\r\n\r\n").map_or("", |(_, body)| body)
}

const BUSY: &str = r#"{"code":-10004,"canRetry":1,"message":"busy"}"#;

#[test]
fn failures_are_given_as_they_were() {
    let mut session = Session::default();
    for end in [End::Reset, End::Closed, End::Timeout] {
        session.broken_part(0, b"aaaa", end);
    }
    session.part(0, b"aaaa", "try later").reply.as_mut().unwrap().status = 503;
    let unreached = session.part(0, b"aaaa", "refused");
    unreached.reply.as_mut().unwrap().status = 502;
    unreached.unreached = Some(Unreached::Refused);
    session.part(0, b"aaaa", OK);
    let (_dir, replay) = replay(&session);
    block_on(async {
        for end in [End::Reset, End::Closed, End::Timeout] {
            assert_eq!(ask_part(&replay, 0, b"aaaa").await, "");
            assert_eq!(replay.exchanges().last().unwrap().end, end);
        }
        let answer = ask_part(&replay, 0, b"aaaa").await;
        assert!(answer.starts_with("HTTP/1.1 503 ") && answer.ends_with("\r\n\r\ntry later"), "{answer}");
        let answer = ask_part(&replay, 0, b"aaaa").await;
        assert!(answer.starts_with("HTTP/1.1 502 "), "{answer}");
        assert_eq!(replay.exchanges().last().unwrap().unreached, Some(Unreached::Refused));
        let answer = ask_part(&replay, 0, b"aaaa").await;
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n"), "{answer}");
        assert_eq!(body(&answer), OK);
    });
    assert!(replay.report().is_complete(), "{}", replay.report());
}

#[test]
fn a_reply_that_was_cut_short_is_cut_behind_the_same_bytes() {
    let mut session = Session::default();
    let cut = session.part(0, b"aaaa", r#"{"cod"#);
    cut.end = End::Closed;
    cut.reply.as_mut().unwrap().headers.push(("content-length".to_owned(), "10".to_owned()));
    let chunked = session.part(0, b"aaaa", r#"{"cod"#);
    chunked.end = End::Reset;
    let (_dir, replay) = replay(&session);
    block_on(async {
        let answer = ask_part(&replay, 0, b"aaaa").await;
        assert!(answer.contains("content-length: 10\r\n") && answer.ends_with("\r\n\r\n{\"cod"), "{answer}");
        assert_eq!(replay.exchanges()[0].end, End::Closed);
        let answer = ask_part(&replay, 0, b"aaaa").await;
        assert!(answer.ends_with("\r\n\r\n5\r\n{\"cod\r\n"), "{answer:?}");
        assert_eq!(replay.exchanges()[1].end, End::Reset);
    });
    assert!(replay.report().is_complete());
}

#[test]
fn an_answer_to_head_tells_a_length_and_has_no_body() {
    let mut session = Session::default();
    let reply = session.push("HEAD", "/video.mp4", b"", Some(""), End::Replied).reply.as_mut().unwrap();
    reply.headers.push(("content-length".to_owned(), "10".to_owned()));
    let (_dir, replay) = replay(&session);
    let answer = block_on(ask(&replay, "HEAD", "/video.mp4", b""));
    assert!(answer.contains("content-length: 10\r\n") && answer.ends_with("\r\n\r\n"), "{answer}");
    assert_eq!(replay.exchanges()[0].end, End::Replied);
    assert!(replay.report().is_complete());
}

#[test]
fn a_request_that_broke_off_in_its_body_breaks_off_there_again() {
    let mut session = Session::default();
    session.broken_part(0, b"aaaa", End::Reset).request.body = Mark { len: 3, ..Mark::default() };
    session.part(0, b"aaaa", OK);
    let (_dir, replay) = replay(&session);
    block_on(async {
        let (mut client, pipe) = tokio::io::duplex(1 << 20);
        let target = part(0, b"aaaa", 9);
        let head = format!("POST {target} HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\n\r\naaa");
        client.write_all(head.as_bytes()).await.unwrap();
        // It ends although the last byte never came.
        replay.connection(Pipe(pipe)).await;
        let exchange = &replay.exchanges()[0];
        assert_eq!((exchange.end, exchange.request.body.len), (End::Reset, 3));
        assert_eq!(body(&ask_part(&replay, 0, b"aaaa").await), OK);
    });
    assert!(replay.report().is_complete());
}

#[test]
fn what_is_not_recorded_is_answered_with_501_and_listed() {
    let mut session = Session::default();
    session.init(OK);
    session.part(0, b"aaaa", OK);
    let (_dir, replay) = replay(&session);
    block_on(async {
        for _ in 0..2 {
            let answer = ask_part(&replay, 0, b"aaab").await;
            assert!(answer.starts_with("HTTP/1.1 501 "), "{answer}");
            let said: serde_json::Value = serde_json::from_str(body(&answer)).unwrap();
            assert_eq!(said["nearest"]["number"], 2);
            assert_eq!(said["nearest"]["differences"].as_array().unwrap().len(), 2);
        }
    });
    let unmatched = replay.unmatched();
    assert_eq!(
        unmatched.iter().map(|(miss, times)| (&*miss.asked, *times)).collect::<Vec<_>>(),
        [("UploadPart 0+4", 2)]
    );
    let report = replay.report();
    assert_eq!(report.unused.iter().map(|exchange| exchange.seq).collect::<Vec<_>>(), [1, 2]);
    let lines = report.to_string();
    assert!(
        lines.contains("(asked 2 times)\n")
            && lines.contains("InitUpload (request 1) was recorded and never asked for\n")
    );
}

#[test]
fn nothing_is_asked_of_anybody_else() {
    let mut session = Session::default();
    session.init(OK);
    let (_dir, replay) = replay(&session);
    block_on(async {
        // Used up, unknown, through a proxy to somewhere else, and a tunnel: a socket would panic here.
        let init = call(Action::InitUpload, &[("dataSize", "4"), ("fileName", "a b")], 9);
        assert_eq!(body(&ask(&replay, "GET", &format!("http://vod2.qcloud.com{init}"), b"").await), OK);
        for (method, target) in [("GET", &*init), ("GET", "http://127.0.0.1:9/x"), ("CONNECT", "vod2.qcloud.com:443")] {
            let answer = ask(&replay, method, target, b"").await;
            assert!(answer.starts_with("HTTP/1.1 501 "), "{method} {target}: {answer}");
        }
    });
    // And nothing here so much as names what could connect.
    let room = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = vec![room.join("replay.rs"), room.join("cli/replay.rs")];
    let inside = std::fs::read_dir(room.join("replay")).unwrap().map(|entry| entry.unwrap().path());
    files
        .extend(inside.filter(|path| path.extension().is_some_and(|kind| kind == "rs") && !path.ends_with("tests.rs")));
    assert!(files.len() > 8, "{files:?}");
    for path in files {
        let text = std::fs::read_to_string(&path).unwrap();
        for word in [
            "tokio::net",
            "std::net::Tcp",
            "TcpStream",
            "TcpSocket",
            "UdpSocket",
            "UnixStream",
            "::client",
            "hyper_util",
            "Connect",
            "crate::proxy",
            "crate::upstream",
            "crate::passing",
        ] {
            assert!(!text.contains(word), "{}: {word}", path.display());
        }
    }
}

#[test]
fn an_answer_that_a_fault_took_away_is_there_again() {
    let mut session = Session::default();
    session.part(0, b"aaaa", OK);
    session.part(4, b"bbbb", OK);
    session.finish(OK);
    session.init(OK);
    let faults = vec![
        Fault::on(Action::UploadPart).part(2).times(1).after_commit(Verdict::Reset),
        Fault::on(Action::FinishUpload).times(1).mid_reply(3, Verdict::Close),
    ];
    let config = ReplayConfig { plan: Plan { faults }, ..ReplayConfig::default() };
    let (_dir, replay) = replay_with(&session, config).unwrap();
    block_on(async {
        assert_eq!(body(&ask_part(&replay, 0, b"aaaa").await), OK);
        assert_eq!(ask_part(&replay, 4, b"bbbb").await, "");
        assert_eq!(body(&ask_part(&replay, 4, b"bbbb").await), OK);
        let finish = call(Action::FinishUpload, &[], 9);
        assert_eq!(body(&ask(&replay, "GET", &finish, b"").await), &OK[..3]);
        assert_eq!(body(&ask(&replay, "GET", &finish, b"").await), OK);
    });
    assert_eq!(replay.engine().unfired(), Vec::<String>::new());
    assert_eq!(replay.unused().iter().map(|exchange| exchange.seq).collect::<Vec<_>>(), [4]);
}

/// Counts how often it was to kill.
#[derive(Default)]
struct Counting(Mutex<Vec<KillTarget>>);

impl Killer for Counting {
    fn kill<'a>(&'a self, target: KillTarget, _: &'a str) -> Pin<Box<dyn Future<Output = ()> + Send + 'a>> {
        lock(&self.0).push(target);
        Box::pin(async {})
    }
}

#[test]
fn a_client_is_killed_again_where_it_was_and_the_next_one_goes_on() {
    let mut session = Session::default();
    session.init(OK);
    session.broken_part(4, b"bbbb", End::Killed);
    session.broken_part(8, b"cccc", End::ClientGone { after: 4 });
    session.broken_part(12, b"dddd", End::ClientGone { after: 4 });
    for (offset, bytes) in [(4, b"bbbb"), (8, b"cccc"), (12, b"dddd")] {
        session.part(offset, bytes, OK);
    }
    let faults = vec![Fault::on(Action::UploadPart).part(2).attempt(1).after_commit(Verdict::Kill(KillTarget::Client))];
    let killer = Arc::new(Counting::default());
    let by = Some(Arc::clone(&killer) as Arc<dyn Killer>);
    let config = ReplayConfig { plan: Plan { faults }, killer: by, ..ReplayConfig::default() };
    let (_dir, replay) = replay_with(&session, config).unwrap();
    block_on(async {
        let init = call(Action::InitUpload, &[("dataSize", "4"), ("fileName", "a b")], 9);
        assert_eq!(body(&ask(&replay, "GET", &init, b"").await), OK);
        // Whoever is to be killed waits for it, as it did then; the last part does not come this time.
        let minute = std::time::Duration::from_secs(60);
        assert!(tokio::time::timeout(minute, ask_part(&replay, 8, b"cccc")).await.is_err());
        assert_eq!(ask_part(&replay, 4, b"bbbb").await, "");
        assert_eq!(*lock(&killer.0), [KillTarget::Client]);
        for (offset, bytes) in [(4, b"bbbb"), (8, b"cccc"), (12, b"dddd")] {
            let answer = tokio::time::timeout(minute, ask_part(&replay, offset, bytes)).await;
            assert_eq!(answer.as_deref().map(body), Ok(OK), "{offset}");
        }
    });
    assert!(replay.report().is_complete(), "{}", replay.report());
}

#[test]
fn whatever_comes_of_a_client_who_is_killed_takes_nothing_from_the_next_one() {
    let mut session = Session::default();
    session.broken_part(4, b"bbbb", End::ClientGone { after: 4 }).times.reply_done = Some(9);
    session.part(8, b"cccc", OK).start += jiff::SignedDuration::from_micros(10);
    let faults = vec![Fault::on(Action::UploadPart).part(2).attempt(1).after_commit(Verdict::Kill(KillTarget::Client))];
    let killer = Some(Arc::new(Counting::default()) as Arc<dyn Killer>);
    let (_dir, replay) =
        replay_with(&session, ReplayConfig { plan: Plan { faults }, killer, ..Default::default() }).unwrap();
    block_on(async {
        let (mut slow, pipe) = tokio::io::duplex(1 << 20);
        let slow_one = replay.connection(Pipe(pipe));
        // It was asked behind a death then, and now before.
        let early = ask_part(&replay, 8, b"cccc");
        let killed = async {
            tokio::task::yield_now().await;
            ask_part(&replay, 4, b"bbbb").await
        };
        assert_eq!(tokio::join!(early, killed), (String::new(), String::new()));
        // And this one was on its way.
        let head = format!("POST {} HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\n\r\ncccc", part(8, b"cccc", 9));
        slow.write_all(head.as_bytes()).await.unwrap();
        slow_one.await;
        assert_eq!(replay.unused().len(), 1);
        assert_eq!(body(&ask_part(&replay, 8, b"cccc").await), OK);
    });
    assert!(replay.report().is_complete(), "{}", replay.report());
}

#[test]
fn a_fault_that_would_spoil_uploads_is_refused() {
    let mut session = Session::default();
    session.part(0, b"aaaa", OK);
    let plan = Plan { faults: vec![Fault::on(Action::UploadPart).before_commit(Verdict::DropPart)] };
    let error = replay_with(&session, ReplayConfig { plan, ..ReplayConfig::default() }).err().unwrap().to_string();
    assert!(error.contains("this server has no uploads of its own to spoil"), "{error}");
}

#[test]
fn answers_come_after_their_recorded_time_or_at_once() {
    let mut session = Session::default();
    session.part(0, b"aaaa", OK).times.reply_done = Some(3_000_000);
    for (timing, expected) in [("none", 0), ("recorded", 3_000), ("x2", 1_500)] {
        let config = ReplayConfig { timing: timing.parse().unwrap(), ..ReplayConfig::default() };
        let (_dir, replay) = replay_with(&session, config).unwrap();
        let took = block_on(async {
            let clock = WallClock::fixed(jiff::Timestamp::UNIX_EPOCH);
            assert_eq!(body(&ask_part(&replay, 0, b"aaaa").await), OK);
            clock.now()
        });
        assert_eq!(took.as_millisecond(), expected, "{timing}");
    }
}

/// A session whose only reply has this body in a file, and the recording of it.
fn with_file(bytes: &[u8]) -> (TempDir, PathBuf) {
    let mut session = Session::default();
    let reply = session.init("").reply.as_mut().unwrap();
    let mark = Mark { len: bytes.len() as u64, sha1: Some(Sha1::of(bytes)), md5: None, kept: Kept::File };
    reply.mark = Some(mark);
    let (dir, path) = record(&session);
    let mut draft = Recording::open(&path).unwrap().bodies().draft().unwrap();
    draft.write(bytes).unwrap();
    draft.keep(Sha1::of(bytes)).unwrap();
    (dir, path)
}

#[test]
fn a_body_in_a_file_is_given_whole_however_long_and_broken_off_where_it_is_not_what_it_was() {
    let init = call(Action::InitUpload, &[("dataSize", "4"), ("fileName", "a b")], 9);
    for len in [10, 64 << 10, (64 << 10) + 1, 300_000] {
        let bytes = "0123456789".repeat(len / 10 + 1)[..len].to_owned().into_bytes();
        let (_dir, path) = with_file(&bytes);
        let open = || Replay::open(&path).unwrap();
        let replay = open();
        let answer = block_on(ask(&replay, "GET", &init, b""));
        assert!(answer.contains(&format!("content-length: {len}\r\n")), "{}", &answer[..200]);
        assert!(body(&answer).as_bytes() == bytes, "{len} bytes came otherwise");
        assert!(replay.report().is_complete());
        let file = Recording::open(&path).unwrap().bodies().path(Sha1::of(&bytes));
        let mut changed = bytes.clone();
        changed[len / 2] ^= 1;
        std::fs::write(file, changed).unwrap();
        let answer = block_on(ask(&open(), "GET", &init, b""));
        assert!(body(&answer).len() < len, "a changed body of {len} bytes passed");
    }
}

#[test]
fn a_recording_that_cannot_be_replayed_is_refused_at_once() {
    let opened = |path: &PathBuf| Replay::open(path).err().map(|error| error.to_string()).unwrap_or_default();
    let (_dir, path) = with_file(b"0123456789");
    let file = Recording::open(&path).unwrap().bodies().path(Sha1::of(b"0123456789"));
    std::fs::write(&file, "012").unwrap();
    let sha1 = Sha1::of(b"0123456789");
    assert_eq!(
        opened(&path),
        format!("InitUpload (request 1) cannot be replayed: the body {sha1} of its reply has 3 bytes: recorded 10")
    );
    std::fs::remove_file(&file).unwrap();
    assert_eq!(
        opened(&path),
        format!("InitUpload (request 1) cannot be replayed: the body {sha1} of its reply is missing")
    );
    let mut session = Session::default();
    session.init("").reply.as_mut().unwrap().mark = Some(Mark { len: 5, ..Mark::default() });
    let (_dir, path) = record(&session);
    assert!(
        opened(&path).contains("only length and digest were kept (record with --bodies replies)"),
        "{}",
        opened(&path)
    );
    let (_dir, path) = record(&Session::default());
    assert!(opened(&path).ends_with("holds no exchange: there is nothing to replay"), "{}", opened(&path));
    let manifest = path.join(MANIFEST_FILE);
    std::fs::write(&manifest, "format = 7").unwrap();
    assert!(opened(&path).ends_with("a recording of format 7: this version reads format 1"), "{}", opened(&path));
}

#[test]
fn a_torn_recording_is_replayed_up_to_its_last_whole_exchange_and_says_so() {
    let mut session = Session::default();
    session.init(OK);
    session.finish(OK);
    let (_dir, path) = record(&session);
    let lines = path.join("exchanges.jsonl");
    let text = std::fs::read_to_string(&lines).unwrap();
    let first = text.find('\n').unwrap() + 1;
    std::fs::write(&lines, &text[..first + 30]).unwrap();
    let replay = Replay::open(&path).unwrap();
    assert_eq!(replay.lacks(), Some("its last line is torn, as a killed recorder leaves it"));
    assert_eq!(replay.unused().len(), 1);
    std::fs::write(&lines, text.replacen("InitUpload", "InitUpl0ad", 1)).unwrap();
    let error = Replay::open(&path).err().unwrap().to_string();
    assert!(error.contains("line 1: not as it was written"), "{error}");
}

#[test]
fn accounts_are_told_apart_by_the_key_of_the_recording() {
    let redactor = vod_proto::redact::Redactor::new([7; 32]);
    let (mine, yours) = ("AKIDz8krbsJ5yKBZQpn74WFkmLPx3gnPhESA", "AKIDyoursyoursyoursyoursyoursyours00");
    let finish = |id: &str| call(Action::FinishUpload, &[], 1).replace("redacted-1", id);
    let mut session = Session::default();
    session.push("GET", &redactor.target(&finish(mine)), b"", Some(OK), End::Replied);
    session.push("GET", &redactor.target(&finish(yours)), b"", Some(BUSY), End::Replied);
    let (_dir, replay) = replay(&session);
    block_on(async {
        assert_eq!(body(&ask(&replay, "GET", &finish(yours), b"").await), BUSY);
        assert_eq!(body(&ask(&replay, "GET", &finish(mine), b"").await), OK);
    });
    let on_record = format!("{:?}", replay.exchanges());
    assert!(!on_record.contains("AKID"), "{on_record}");
}

#[test]
fn short_accounts_are_told_apart_by_the_order_in_which_they_come_whatever_other_short_secrets_there_are() {
    let finish = |id: &str| call(Action::FinishUpload, &[], 1).replace("redacted-1", id);
    let with_token = |id: &str, token: &str| finish(id).replace("SecretId=", &format!("Token={token}&SecretId="));
    let mut session = Session::default();
    // Two lives of a recorder, each with numbers of its own, of which tokens take some.
    for (first, between) in [(1, "t"), (58, "u")] {
        let redactor = vod_proto::redact::Redactor::new([7; 32]).from_exchange(first);
        for (id, reply) in [("mine", OK), ("yours", BUSY)] {
            session.push("GET", &redactor.target(&with_token(id, between)), b"", Some(reply), End::Replied);
        }
    }
    let (_dir, replay) = replay(&session);
    block_on(async {
        for _ in 0..2 {
            assert_eq!(body(&ask(&replay, "GET", &finish("one"), b"").await), OK);
            assert_eq!(body(&ask(&replay, "GET", &finish("another"), b"").await), BUSY);
        }
    });
    assert!(replay.report().is_complete());
}

//! The rim over transports that misbehave in ways a socket seldom does.

use std::{
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use futures_util::stream;
use http::{Request, Response, header};
use http_body_util::{BodyExt as _, StreamBody};
use hyper::body::{Frame, Incoming};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, DuplexStream, ReadBuf};
use vod_proto::{
    Exchange,
    exchange::{End, Kept, Mark},
};
use vod_serve::{
    Answer, Effects, Engine, Head, Host, Journal, KillTarget, Killer, Plan, Receipt, ReplyOut, Server, Stakes, Subject,
    Tail, Transport, WallClock,
    body::{Body, BodyError},
    fault::Powers,
    host::AsideBody,
};

/// How long the answer aside is, in bytes, and its pieces.
const ASIDE: usize = 4 << 20;
const PIECE: usize = 64 << 10;

/// Answers everything with code 0, `/aside` at length, `/bit-by-bit` in two pieces, and breaks off where the path says so.
#[derive(Default)]
struct Yes {
    /// How many answers were given away.
    given: Arc<AtomicU64>,
}

struct Given(Arc<AtomicU64>);

impl Receipt for Given {
    fn handed_over(self: Box<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

/// What is left of a reply, piece by piece, and how the connection ends behind it if not in order.
struct Pieces {
    left: Vec<&'static [u8]>,
    then: Option<End>,
}

impl Tail for Pieces {
    fn poll_next(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Bytes, End>>> {
        if self.left.is_empty() {
            return Poll::Ready(self.then.map(Err));
        }
        Poll::Ready(Some(Ok(Bytes::from_static(self.left.remove(0)))))
    }

    fn mark(self: Pin<&Self>) -> Option<Mark> {
        let read = 2 - self.left.len() as u64;
        self.then.is_none().then(|| Mark { len: read, kept: Kept::File, ..Mark::default() })
    }
}

impl Host for Yes {
    type Caller = ();
    type Staged = String;

    async fn subject(&self, head: &Head) -> (Subject, ()) {
        let action = head.query.get("Action").map(|action| vod_serve::action(&action));
        (Subject { action, ..Subject::default() }, ())
    }

    fn is_known(&self, (): &()) -> bool {
        true
    }

    async fn read(&self, head: &Head, (): (), body: &mut Body) -> Result<String, BodyError> {
        if head.path() == "/half-a-body" {
            body.next().await?;
            return Err(body.break_off(End::Reset));
        }
        Ok(head.path().to_owned())
    }

    fn stakes(&self, _: &String) -> Stakes {
        Stakes::default()
    }

    async fn has_session(&self, _: &Subject) -> bool {
        false
    }

    async fn expire_session(&self, _: &Subject) {}

    fn body_ceiling(&self, _: &Subject) -> u64 {
        1 << 20
    }

    async fn commit(&self, path: String, _: Effects) -> Result<Answer, End> {
        let answer = |body: &str, tail: Option<Pieces>| {
            let tail = tail.map(|tail| Box::pin(tail) as Pin<Box<dyn Tail>>);
            let receipt: Option<Box<dyn Receipt>> = Some(Box::new(Given(Arc::clone(&self.given))));
            Ok(Answer { reply: ReplyOut::json(body.to_owned()), tail, accepted: true, receipt })
        };
        match path.as_str() {
            "/announced" => {
                let answered = answer(r#"{"co"#, Some(Pieces { left: vec![b"de\":", b"0}"], then: None }));
                answered.map(|mut answer: Answer| {
                    answer.reply.headers.push((header::CONTENT_LENGTH, 10.into()));
                    answer
                })
            }
            "/no-answer" => Err(End::Reset),
            "/bit-by-bit" => answer(r#"{"co"#, Some(Pieces { left: vec![b"de\":", b"0}"], then: None })),
            "/broken" => answer(r#"{"code"#, Some(Pieces { left: vec![], then: Some(End::Closed) })),
            _ => answer(r#"{"code":0}"#, None),
        }
    }

    fn dress(&self, _: &Head, _: &mut ReplyOut) {}

    fn is_aside(&self, path: &str) -> bool {
        path == "/aside"
    }

    async fn aside(&self, _: Request<Incoming>) -> Response<AsideBody> {
        let pieces = (0..ASIDE / PIECE).map(|_| Ok(Frame::data(Bytes::from(vec![b'x'; PIECE]))));
        Response::new(StreamBody::new(stream::iter(pieces)).boxed_unsync())
    }
}

/// What is odd about a pipe.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Oddity {
    WritesFail,
    NeverFlushed,
    /// The flush is over this long after it was first asked for.
    FlushedLate(Duration),
}

struct Odd(DuplexStream, Oddity, Option<Pin<Box<tokio::time::Sleep>>>);

impl Odd {
    const fn new(pipe: DuplexStream, oddity: Oddity) -> Self {
        Self(pipe, oddity, None)
    }
}

impl Transport for Odd {
    fn reset_on_drop(&mut self) {}
}

impl AsyncRead for Odd {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl AsyncWrite for Odd {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match self.1 {
            Oddity::WritesFail => Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
            Oddity::NeverFlushed | Oddity::FlushedLate(_) => Pin::new(&mut self.0).poll_write(cx, buf),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.1 {
            Oddity::NeverFlushed => Poll::Pending,
            Oddity::WritesFail => Poll::Ready(Ok(())),
            Oddity::FlushedLate(after) => {
                let late = self.2.get_or_insert_with(|| Box::pin(tokio::time::sleep(after)));
                late.as_mut().poll(cx).map(Ok)
            }
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

/// Kills nobody.
struct Nobody;

impl Killer for Nobody {
    fn kill<'a>(&'a self, _: KillTarget, _: &'a str) -> Pin<Box<dyn Future<Output = ()> + Send + 'a>> {
        Box::pin(async {})
    }
}

fn server() -> (Server<Yes>, Arc<Journal>) {
    server_with(Plan::default())
}

fn server_with(plan: Plan) -> (Server<Yes>, Arc<Journal>) {
    let journal = Journal::memory(1);
    let engine =
        Arc::new(Engine::new(plan, 1, Powers { kills: true, ..Powers::default() }).expect("a plan that can strike"));
    let killer: Option<Arc<dyn Killer>> = Some(Arc::new(Nobody));
    let (clock, traffic) = (WallClock::system(), Arc::default());
    let server = Server::new(Arc::<Yes>::default(), engine, Arc::clone(&journal), clock, killer, traffic);
    (server, journal)
}

const REQUEST: &[u8] = b"GET /v2/index.php?Action=InitUpload HTTP/1.1\r\nHost: h\r\n\r\n";

#[tokio::test]
async fn an_exchange_is_visible_before_the_last_frame_of_its_reply_leaves() {
    let (server, journal) = server();
    let (mut client, pipe) = tokio::io::duplex(4096);
    // The server never learns that the reply is out, so whatever is visible was so before.
    tokio::spawn(server.connection(Odd::new(pipe, Oddity::NeverFlushed)));
    client.write_all(REQUEST).await.expect("the pipe is open");
    let mut answer = Vec::new();
    while !answer.ends_with(br#"{"code":0}"#) {
        client.read_buf(&mut answer).await.expect("the pipe is open");
    }
    let exchanges = journal.exchanges();
    assert_eq!(exchanges.len(), 1, "the answer is here, the evidence is not");
    assert_eq!(exchanges[0].action.as_deref(), Some("InitUpload"));
}

#[tokio::test]
async fn what_was_shown_as_replied_is_corrected_when_the_reply_could_not_be_written() {
    let (server, journal) = server();
    let (mut client, pipe) = tokio::io::duplex(4096);
    let connection = tokio::spawn(server.connection(Odd::new(pipe, Oddity::WritesFail)));
    client.write_all(REQUEST).await.expect("the pipe is open");
    connection.await.expect("the connection ends");
    let exchanges = journal.exchanges();
    assert_eq!(exchanges.len(), 1);
    assert_eq!(exchanges[0].end, End::ClientGone { after: 0 });
    assert!(!exchanges[0].acknowledged());
}

/// What a client gets that asks for this path, to the end of its connection, and what is on record.
async fn ask(path: &str) -> (String, Exchange) {
    let (server, journal) = server();
    let (mut client, pipe) = tokio::io::duplex(4096);
    let connection = tokio::spawn(server.connection(Odd::new(pipe, Oddity::FlushedLate(Duration::ZERO))));
    let request = format!("GET {path} HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
    client.write_all(request.as_bytes()).await.expect("the pipe is open");
    let mut answer = String::new();
    client.read_to_string(&mut answer).await.expect("the answer is text");
    connection.await.expect("the connection ends");
    (answer, journal.exchanges().remove(0))
}

#[tokio::test]
async fn a_reply_that_comes_bit_by_bit_passes_whole_and_is_on_record_by_its_mark() {
    let (answer, exchange) = ask("/bit-by-bit").await;
    assert!(answer.ends_with("\r\n\r\n4\r\n{\"co\r\n4\r\nde\":\r\n2\r\n0}\r\n0\r\n\r\n"), "{answer:?}");
    let reply = exchange.reply.expect("it was answered");
    assert_eq!((exchange.end, reply.body.as_str()), (End::Replied, ""));
    assert_eq!(reply.mark.map(|mark| (mark.len, mark.kept)), Some((2, Kept::File)));
}

#[tokio::test]
async fn a_reply_that_breaks_off_does_so_behind_what_came_of_it() {
    let (answer, exchange) = ask("/broken").await;
    assert!(answer.ends_with("\r\n\r\n6\r\n{\"code\r\n"), "{answer:?}");
    let reply = exchange.reply.expect("an answer was begun");
    assert_eq!((exchange.end, reply.body.as_str(), reply.mark), (End::Closed, "{\"code", None));
}

#[tokio::test]
async fn where_there_is_no_answer_the_connection_ends_as_the_host_says() {
    let (answer, exchange) = ask("/no-answer").await;
    assert_eq!((answer.as_str(), exchange.end, exchange.reply), ("", End::Reset, None));
}

#[tokio::test]
async fn a_reply_that_comes_bit_by_bit_may_announce_how_long_it_is() {
    let (answer, exchange) = ask("/announced").await;
    assert!(answer.contains("content-length: 10\r\n") && answer.ends_with("\r\n\r\n{\"code\":0}"), "{answer:?}");
    let mark = exchange.reply.and_then(|reply| reply.mark).map(|mark| mark.len);
    assert_eq!((exchange.end, mark), (End::Replied, Some(2)));
}

#[tokio::test]
async fn a_host_may_break_off_in_the_middle_of_a_body() {
    let (server, journal) = server();
    let (mut client, pipe) = tokio::io::duplex(4096);
    let request = b"POST /half-a-body HTTP/1.1\r\nHost: h\r\nContent-Length: 8\r\n\r\nhalf";
    client.write_all(request).await.expect("the pipe is open");
    server.connection(Odd::new(pipe, Oddity::FlushedLate(Duration::ZERO))).await;
    let exchange = journal.exchanges().remove(0);
    assert_eq!((exchange.end, exchange.request.body.len, exchange.reply), (End::Reset, 4, None));
}

/// How many answers a host hears of as given away, of one request on a server with this fault.
async fn given(path: &str, fault: &str) -> u64 {
    let plan = if fault.is_empty() { Plan::default() } else { toml::from_str(fault).expect("the plan is TOML") };
    let host = Arc::<Yes>::default();
    let engine = Arc::new(Engine::new(plan, 1, Powers::default()).expect("a plan that can strike"));
    let server = Server::new(Arc::clone(&host), engine, Journal::memory(1), WallClock::system(), None, Arc::default());
    let (mut client, pipe) = tokio::io::duplex(4096);
    let served = tokio::spawn(server.connection(Odd::new(pipe, Oddity::FlushedLate(Duration::ZERO))));
    let request = format!("GET {path} HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
    client.write_all(request.as_bytes()).await.expect("the pipe is open");
    client.read_to_end(&mut Vec::new()).await.expect("the pipe is open");
    served.await.expect("the connection ends");
    host.given.load(Ordering::SeqCst)
}

#[tokio::test]
async fn a_host_hears_whether_its_answer_was_given_away() {
    for path in ["/", "/bit-by-bit", "/announced"] {
        assert_eq!(given(path, "").await, 1, "{path}");
    }
    assert_eq!(given("/broken", "").await, 0, "it broke off");
    for fault in [
        "phase = \"before-commit\"\ndo = { http = { status = 503 } }",
        "phase = \"after-commit\"\ndo = \"reset\"",
        "phase = \"after-commit\"\ndo = { http = { status = 503 } }",
        "phase = \"mid-reply\"\nat = 3\ndo = \"close\"",
    ] {
        assert_eq!(given("/", &format!("[[fault]]\nid = \"f\"\n{fault}\n")).await, 0, "{fault}");
    }
}

/// How an exchange ends whose client has its answer, where the server learns that so late, and stops as soon as it can.
async fn end_when_stopped(flushed_after: Duration, settle: bool) -> End {
    let (server, journal) = server();
    let (mut client, pipe) = tokio::io::duplex(4096);
    tokio::spawn(server.connection(Odd::new(pipe, Oddity::FlushedLate(flushed_after))));
    client.write_all(REQUEST).await.expect("the pipe is open");
    let mut answer = Vec::new();
    while !answer.ends_with(br#"{"code":0}"#) {
        client.read_buf(&mut answer).await.expect("the pipe is open");
    }
    if settle {
        server.settled().await;
    }
    server.stop();
    journal.exchanges()[0].end
}

#[tokio::test(start_paused = true)]
async fn a_server_that_stops_waits_for_what_is_handed_over_but_not_for_ever() {
    assert_eq!(end_when_stopped(Duration::from_millis(10), true).await, End::Replied);
    assert_eq!(end_when_stopped(Duration::from_millis(10), false).await, End::Closed, "nobody waited");
    assert_eq!(end_when_stopped(Duration::from_secs(9), true).await, End::Closed, "a second is enough");
}

#[tokio::test(start_paused = true)]
async fn requests_that_come_at_once_are_all_on_record_as_answered() {
    let (server, journal) = server();
    let (mut client, pipe) = tokio::io::duplex(4096);
    tokio::spawn(server.connection(Odd::new(pipe, Oddity::FlushedLate(Duration::from_millis(10)))));
    client.write_all(&REQUEST.repeat(3)).await.expect("the pipe is open");
    let mut answers = Vec::new();
    while String::from_utf8_lossy(&answers).matches(r#"{"code":0}"#).count() < 3 {
        client.read_buf(&mut answers).await.expect("the pipe is open");
    }
    server.settled().await;
    server.stop();
    let ends: Vec<_> = journal.exchanges().iter().map(|exchange| exchange.end).collect();
    assert_eq!(ends, [End::Replied; 3]);
}

/// How an exchange with the host h ends whose client has its answer while the server learns that late, and somebody is
/// killed meanwhile for a request to a host.
async fn end_beside_a_kill(flushed_after: Duration, victim: &str, host: &str) -> End {
    let plan = "[[fault]]\nid = \"f\"\non = { action = \"FinishUpload\" }\nphase = \"after-commit\"\n";
    let plan = format!("{plan}do = {{ kill = \"{victim}\" }}\n");
    let (server, journal) = server_with(toml::from_str(&plan).expect("the plan is TOML"));
    let (mut client, pipe) = tokio::io::duplex(4096);
    tokio::spawn(server.connection(Odd::new(pipe, Oddity::FlushedLate(flushed_after))));
    client.write_all(REQUEST).await.expect("the pipe is open");
    let mut answer = Vec::new();
    while !answer.ends_with(br#"{"code":0}"#) {
        client.read_buf(&mut answer).await.expect("the pipe is open");
    }
    let (mut killing, pipe) = tokio::io::duplex(4096);
    let killed = tokio::spawn(server.connection(Odd::new(pipe, Oddity::FlushedLate(Duration::ZERO))));
    let finish = String::from_utf8_lossy(REQUEST).replace("InitUpload", "FinishUpload");
    let finish = finish.replace("Host: h", &format!("Host: {host}"));
    killing.write_all(finish.as_bytes()).await.expect("the pipe is open");
    killed.await.expect("the connection is cut");
    let exchanges = journal.exchanges();
    assert_eq!(exchanges[1].end, End::Killed);
    exchanges[0].end
}

#[tokio::test(start_paused = true)]
async fn a_kill_lets_out_what_is_handed_over_but_does_not_wait_for_ever() {
    assert_eq!(end_beside_a_kill(Duration::from_millis(10), "mock", "h").await, End::Replied);
    assert_eq!(end_beside_a_kill(Duration::from_secs(9), "mock", "h").await, End::Killed);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_asks_another_host_is_not_the_one_that_is_killed() {
    assert_eq!(end_beside_a_kill(Duration::from_secs(9), "client", "h:80").await, End::Killed);
    assert_eq!(end_beside_a_kill(Duration::from_secs(9), "client", "another").await, End::Replied);
}

/// Somebody asks aside at length, and takes this much of it every quarter of a second, while the server stops.
/// Says how long the server waited, and how much came in all.
#[expect(clippy::disallowed_methods, reason = "a test measures the paused time")]
async fn read_out(at_once: usize) -> (Duration, usize) {
    let (server, _) = server();
    let (mut client, pipe) = tokio::io::duplex(4096);
    let connection = tokio::spawn(server.connection(Odd::new(pipe, Oddity::FlushedLate(Duration::ZERO))));
    client.write_all(b"GET /aside HTTP/1.1\r\nHost: h\r\n\r\n").await.expect("the pipe is open");
    assert_eq!(client.read_u8().await.expect("the pipe is open"), b'H', "it is under way");
    let reading = tokio::spawn(async move {
        let (mut buf, mut all) = (vec![0; PIECE], 0);
        loop {
            tokio::time::sleep(Duration::from_millis(250)).await;
            let until = all + at_once;
            while all < until {
                match client.read(&mut buf).await.expect("no reset") {
                    0 => return all,
                    read => all += read,
                }
            }
        }
    });
    server.stop();
    let began = tokio::time::Instant::now();
    server.read_out().await;
    let waited = began.elapsed();
    connection.abort();
    if at_once == 0 {
        reading.abort();
    }
    (waited, reading.await.unwrap_or_default())
}

#[tokio::test(start_paused = true)]
async fn what_is_answered_aside_is_waited_for_as_long_as_somebody_reads_but_not_for_ever() {
    let (waited, read) = read_out(512 << 10).await;
    assert!(read > ASIDE, "{read} bytes of {ASIDE} and a head");
    assert!((2..4).contains(&waited.as_secs()), "{waited:?} for eight times a quarter of a second");
    let (waited, _) = read_out(0).await;
    assert_eq!(waited.as_secs(), 1, "nobody reads");
    let (waited, read) = read_out(32 << 10).await;
    assert!(read < ASIDE, "{read} bytes of {ASIDE}: it is cut off");
    assert_eq!(waited.as_secs(), 5, "whoever needs 32 s");
}

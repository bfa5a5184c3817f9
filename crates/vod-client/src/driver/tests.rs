//! Whole uploads against a tiny server over pipes in memory, on a paused clock: nothing here takes real time.
//!
//! - `tests/connections.rs`: what several uploads have in common.

mod connections;

use std::{
    collections::VecDeque,
    sync::{
        Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use ::http::{Request as HttpRequest, Response, Uri};
use expect_test::expect;
use http_body_util::{BodyExt as _, Full};
use hyper::{body::Incoming, service::service_fn};
use hyper_util::{client::legacy::connect, rt::TokioIo};
use tokio::io::DuplexStream;
use vod_proto::{
    Action, Code, Family, Limits, Query, Sha1,
    action::Role,
    reply::{InitReply, ListedPart, NextReply, Rejected, Stored},
    sign::{self, SecretKey},
    ugc::UploadSignature,
};

use super::*;
use crate::{
    BytesSource, Credentials, Dialect, Events, Failure, FileFacts, Identity, Options, Outcome, RetryPolicy,
    TransportError, WallClock, Work,
};

const KEY: &str = "Gu5t9xGARNpq86cd98joQYCN3Cozk1qA";

/// One end of a pipe, as a connection.
struct Pipe {
    io: TokioIo<DuplexStream>,
    /// The other end is closed, which whoever looks next will notice.
    left: Arc<AtomicBool>,
}

impl connect::Connection for Pipe {
    fn connected(&self) -> connect::Connected {
        connect::Connected::new()
    }
}

impl hyper::rt::Read for Pipe {
    fn poll_read(
        mut self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
        buffer: hyper::rt::ReadBufCursor<'_>,
    ) -> std::task::Poll<std::io::Result<()>> {
        if self.left.load(Ordering::Relaxed) {
            return std::task::Poll::Ready(Ok(()));
        }
        std::pin::Pin::new(&mut self.io).poll_read(cx, buffer)
    }
}

impl hyper::rt::Write for Pipe {
    fn poll_write(
        mut self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
        bytes: &[u8],
    ) -> std::task::Poll<std::io::Result<usize>> {
        std::pin::Pin::new(&mut self.io).poll_write(cx, bytes)
    }

    fn poll_flush(
        mut self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<std::io::Result<()>> {
        std::pin::Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(
        mut self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<std::io::Result<()>> {
        std::pin::Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

/// What the server does with a request.
#[derive(Clone, Debug)]
enum Act {
    /// Answers with this text, status 200.
    Say(String),
    /// Answers with this status, a `Retry-After` and no JSON.
    Status(u16, u64),
    /// Closes the connection instead of answering.
    Close,
    /// Does what is asked, and then closes the connection instead of answering.
    Lose,
    /// Never answers.
    Hang,
}

fn say(reply: &Reply) -> Act {
    Act::Say(reply.to_json(Family::Server))
}

/// A server that does what it is told, keeps the target lines, and holds signatures to account.
#[derive(Clone, Default)]
struct Server(Arc<Mutex<Inner>>);

#[derive(Default)]
struct Inner {
    acts: Vec<(Action, VecDeque<Act>)>,
    lines: Vec<String>,
    bytes: u64,
    /// What the legacy family's server has of the file.
    held: Vec<u8>,
    /// Connections that are refused before one is taken.
    refuse: u32,
    /// Every connection that was taken.
    taken: Vec<Arc<AtomicBool>>,
}

impl Server {
    fn on(self, action: Action, acts: impl IntoIterator<Item = Act>) -> Self {
        self.0.lock().unwrap().acts.push((action, acts.into_iter().collect()));
        self
    }

    fn lines(&self) -> Vec<String> {
        self.0.lock().unwrap().lines.clone()
    }

    /// `InitUpload UploadPart@0 …`: what was asked, in order.
    fn story(&self) -> String {
        let short = self.lines().into_iter().map(|line| {
            let query = Query::split_target(line.split(' ').nth(1).unwrap()).1;
            let action = query.get("Action").unwrap().into_owned();
            query.get("offset").map_or(action.clone(), |offset| format!("{action}@{offset}"))
        });
        short.collect::<Vec<_>>().join(" ")
    }

    /// How many connections were opened.
    fn opened(&self) -> usize {
        self.0.lock().unwrap().taken.len()
    }

    /// Closes every connection that there is.
    fn leave_all(&self) {
        self.0.lock().unwrap().taken.iter().for_each(|left| left.store(true, Ordering::Relaxed));
    }

    async fn serve(self, io: DuplexStream) {
        let service = service_fn(|request: HttpRequest<Incoming>| {
            let server = self.clone();
            async move { server.answer(request).await }
        });
        let _ = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(io), service).await;
    }

    async fn answer(&self, request: HttpRequest<Incoming>) -> Result<Response<Full<Bytes>>, std::io::Error> {
        let (head, body) = request.into_parts();
        let target = head.uri.to_string();
        let (path, query) = Query::split_target(&target);
        let method = head.method.as_str();
        let action: Action = query.get("Action").unwrap().parse().unwrap();
        let key = SecretKey::new(KEY);
        match action.family() {
            Family::Ugc => assert!(UploadSignature::of_query(&query).unwrap().1.unwrap().holds(&key), "{target}"),
            Family::Server => {
                assert!(sign::request_holds(&key, method, &[vod_proto::SIGN_HOST], path, &query), "{target}");
            }
            Family::Legacy => {
                assert!(sign::request_holds(&key, method, &[vod_proto::LEGACY_SIGN_HOST], path, &query), "{target}");
            }
        }
        let parsed = Request::from_query(action, &query, &Limits { part_size_min: 1, ..Limits::default() }).unwrap();
        let body = body.collect().await.map_err(std::io::Error::other)?.to_bytes();
        if let Request::Part(part) = &parsed.request {
            assert_eq!((part.span.len, part.part_md5), (body.len() as u64, Md5::of(&body)), "the body is what it says");
        }
        if let Request::Whole(whole) = &parsed.request {
            assert_eq!(
                (whole.file_size, whole.file_sha1),
                (body.len() as u64, Sha1::of(&body)),
                "the body is the file"
            );
        }
        let act = {
            let mut inner = self.0.lock().unwrap();
            inner.lines.push(format!("{method} {target}"));
            inner.bytes += body.len() as u64;
            let script = inner.acts.iter_mut().find(|(on, acts)| *on == action && !acts.is_empty());
            script.and_then(|(_, acts)| acts.pop_front())
        };
        let lost = matches!(act, Some(Act::Lose));
        let text = match act {
            Some(Act::Say(text)) => text,
            Some(Act::Close) => return Err(std::io::ErrorKind::ConnectionAborted.into()),
            Some(Act::Hang) => std::future::pending().await,
            Some(Act::Status(status, retry_after)) => {
                let response = Response::builder().status(status).header("Retry-After", retry_after);
                return Ok(response.body(Full::from("<html>busy</html>")).unwrap());
            }
            None | Some(Act::Lose) => match action.role() {
                Role::Open => Reply::Init(InitReply::Fresh),
                Role::Part => Reply::Part,
                Role::Finish | Role::Whole => Reply::Finish(stored()),
                Role::Next => self.take(&parsed.request, &body),
                Role::Report => panic!("{action} is not called"),
            }
            .to_json(action.family()),
        };
        if lost {
            return Err(std::io::ErrorKind::ConnectionAborted.into());
        }
        Ok(Response::new(Full::from(text)))
    }

    /// Keeps the part if it is the next one.
    fn take(&self, request: &Request, body: &[u8]) -> Reply {
        let Request::Next(next) = request else { panic!("not of the legacy family: {request:?}") };
        assert_eq!(next.span.len, body.len() as u64, "the body is what it says");
        let held = &mut self.0.lock().unwrap().held;
        if next.span.offset == held.len() as u64 {
            held.extend_from_slice(body);
        }
        Reply::Next(if held.len() as u64 == next.file_size {
            assert_eq!(Sha1::of(held), next.file_sha1, "the parts make the file");
            NextReply::Stored(stored())
        } else {
            NextReply::Continue { offset: held.len() as u64 }
        })
    }

    fn connector(&self) -> impl Connect {
        let server = self.clone();
        Connector(Arc::new(move || {
            let refused = {
                let mut inner = server.0.lock().unwrap();
                let refused = inner.refuse > 0;
                inner.refuse = inner.refuse.saturating_sub(1);
                refused
            };
            if refused {
                return Err(std::io::ErrorKind::ConnectionRefused.into());
            }
            let (ours, theirs) = tokio::io::duplex(16 * 1024);
            tokio::spawn(server.clone().serve(theirs));
            let left = Arc::<AtomicBool>::default();
            server.0.lock().unwrap().taken.push(Arc::clone(&left));
            Ok(Pipe { io: TokioIo::new(ours), left })
        }))
    }
}

type Open = dyn Fn() -> std::io::Result<Pipe> + Send + Sync;

#[derive(Clone)]
struct Connector(Arc<Open>);

impl tower_service::Service<Uri> for Connector {
    type Response = Pipe;
    type Error = std::io::Error;
    type Future = std::future::Ready<std::io::Result<Pipe>>;

    fn poll_ready(&mut self, _: &mut std::task::Context<'_>) -> std::task::Poll<std::io::Result<()>> {
        std::task::Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        std::future::ready((self.0)())
    }
}

fn stored() -> Stored {
    Stored { url: Some("http://x/f0.mp4".to_owned()), ..Stored::new("16092504232103571364") }
}

/// 2.5 parts of 100,000 bytes: each is longer than a frame and than a pipe.
fn bytes() -> Vec<u8> {
    (0..250_000_u32).map(|n| n.to_le_bytes()[0] ^ n.to_le_bytes()[1]).collect()
}

fn options() -> Options {
    Options {
        part_size: Some(100_000),
        parallel: 2,
        seed: 7,
        work: Work::Inline,
        clock: WallClock::fixed(jiff::Timestamp::from_second(1_465_185_768).unwrap()),
        ..Options::default()
    }
}

async fn upload(server: &Server, options: Options) -> Result<UploadReport, UploadError> {
    upload_bytes(server, options, bytes()).await
}

async fn upload_bytes(server: &Server, options: Options, bytes: Vec<u8>) -> Result<UploadReport, UploadError> {
    upload_as(server, options, bytes, FileFacts::from_path("夏天 +1.mp4".as_ref())).await
}

async fn upload_as(
    server: &Server,
    options: Options,
    bytes: Vec<u8>,
    facts: FileFacts,
) -> Result<UploadReport, UploadError> {
    let credentials = Credentials::new("AKIDz8krbsJ5yKBZQpn74WFkmLPx3gnPhESA", SecretKey::new(KEY));
    let endpoint = "http://mock.test".parse().unwrap();
    let uploader = Uploader::with_connector(endpoint, credentials, server.connector()).options(options);
    uploader.upload(BytesSource::new(bytes), facts).await
}

#[tokio::test(start_paused = true)]
async fn a_plain_upload() {
    let server = Server::default();
    // One part at a time, so that the server logs them in the order they were begun.
    let report = upload(&server, Options { parallel: 1, ..options() }).await.unwrap();
    assert_eq!(report.outcome, Outcome::Finished);
    assert_eq!((report.parts_sent, report.attempts, report.bytes_sent), (3, 5, 250_000));
    assert_eq!(report.file_id, "16092504232103571364");
    assert_eq!(server.story(), "InitUpload UploadPart@0 UploadPart@100000 UploadPart@200000 FinishUpload");
    assert_eq!(server.0.lock().unwrap().bytes, 250_000);
    let lines = server.lines();
    assert!(lines[0].starts_with("GET /v2/index.php?Action=InitUpload&fileName=%E5%A4%8F"), "{}", lines[0]);
    assert!(lines[1].starts_with("POST /v2/index.php?Action=UploadPart"), "{}", lines[1]);
    assert!(lines[0].contains("&Timestamp=1465185768&"), "{}", lines[0]);
}

#[tokio::test(start_paused = true)]
async fn the_observed_dialect_posts_everything_to_v3() {
    let server = Server::default();
    upload(&server, Options { dialect: Dialect::Observed, ..options() }).await.unwrap();
    assert!(server.lines().iter().all(|line| line.starts_with("POST /v3/index.php?")), "{:?}", server.lines());
}

/// The parameters of each line, but for their values.
fn names(lines: &[String]) -> Vec<String> {
    let names = lines.iter().map(|line| {
        let (path, query) = line.split_once('?').unwrap();
        let names = query.split('&').map(|pair| pair.split('=').next().unwrap());
        format!("{path} {}", names.collect::<Vec<_>>().join(" "))
    });
    names.collect()
}

#[tokio::test(start_paused = true)]
async fn a_ugc_upload_keeps_one_signature_and_brings_a_proof_home() {
    let proven = Stored { verify_content: Some("cHJvb2Y=".to_owned()), ..stored() };
    let finish = Act::Say(Reply::Finish(proven).to_json(Family::Ugc));
    // What is tried again minutes later is signed no other way.
    let server = Server::default()
        .on(Action::InitUploadEx, [Act::Status(503, 60)])
        .on(Action::UploadPartEx, [Act::Close])
        .on(Action::FinishUploadEx, [finish]);
    let report = upload(&server, Options { family: Family::Ugc, parallel: 1, ..options() }).await.unwrap();
    assert_eq!((report.outcome, report.verify_content.as_deref()), (Outcome::Finished, Some("cHJvb2Y=")));
    let lines = server.lines();
    expect![[r#"
        GET /v2/index.php Action fileSha fileSize dataSize signature
        GET /v2/index.php Action fileSha fileSize dataSize signature
        POST /v2/index.php Action fileSha offset dataSize dataMd5 signature
        POST /v2/index.php Action fileSha offset dataSize dataMd5 signature
        POST /v2/index.php Action fileSha offset dataSize dataMd5 signature
        POST /v2/index.php Action fileSha offset dataSize dataMd5 signature
        GET /v2/index.php Action fileSha signature"#]]
    .assert_eq(&names(&lines).join("\n"));
    let signature = |line: &String| Query::split_target(line).1.get("signature").unwrap().into_owned();
    assert!(lines.iter().all(|line| signature(line) == signature(&lines[0])), "{lines:?}");
    let token = UploadSignature::decode(&signature(&lines[0])).unwrap();
    let life = token.expires().unwrap() - 1_465_185_768;
    assert_eq!(
        (token.file_sha1(), token.field("f").as_deref(), life),
        (Ok(Some(Sha1::of(&bytes()))), Some("夏天 +1"), 172_800)
    );
}

#[tokio::test(start_paused = true)]
async fn a_lost_finish_reply_is_asked_about_in_the_ugc_family_too() {
    let exists = Act::Say(Reply::Init(InitReply::Exists(stored())).to_json(Family::Ugc));
    let fresh = Act::Say(Reply::Init(InitReply::Fresh).to_json(Family::Ugc));
    let server = Server::default().on(Action::InitUploadEx, [fresh, exists]).on(Action::FinishUploadEx, [Act::Close]);
    let report = upload(&server, Options { family: Family::Ugc, ..options() }).await.unwrap();
    assert_eq!(report.outcome, Outcome::CommittedEarlier);
    assert!(server.story().ends_with("FinishUploadEx InitUploadEx"), "{}", server.story());
}

/// Four parts in the legacy family: the first of its fixed size, two of the chosen one, and a rest.
fn legacy() -> (Options, Vec<u8>) {
    let options = Options { family: Family::Legacy, part_size: Some(600_000), ..options() };
    (options, bytes().repeat(8)[..1_800_000].to_vec())
}

/// Where the parts began that were sent, in order.
fn legacy_story(server: &Server) -> String {
    server.story().replace("MultipartUploadVodFile", "")
}

#[tokio::test(start_paused = true)]
async fn a_legacy_upload_sends_what_the_server_asks_for() {
    let (server, (options, bytes)) = (Server::default(), legacy());
    let report = upload_bytes(&server, options, bytes).await.unwrap();
    assert_eq!((report.outcome, report.parts_sent, report.attempts), (Outcome::Finished, 4, 4));
    assert_eq!(report.bytes_sent, 1_800_000);
    expect!["@0 @524288 @1124288 @1724288"].assert_eq(&legacy_story(&server));
    expect!["POST /v2/index.php Action fileName fileSha fileSize dataSize offset fileType Region Timestamp Nonce SecretId Signature"].assert_eq(&names(&server.lines()[..1]).join("\n"));
}

#[tokio::test(start_paused = true)]
async fn a_legacy_upload_resumes_where_the_server_stands() {
    let (server, (options, bytes)) = (Server::default(), legacy());
    server.0.lock().unwrap().held = bytes[..1_124_288].to_vec();
    let report = upload_bytes(&server, options, bytes).await.unwrap();
    assert_eq!((report.outcome, report.parts_sent, report.parts_skipped), (Outcome::Finished, 2, 2));
    expect!["@0 @1124288 @1724288"].assert_eq(&legacy_story(&server));
}

#[tokio::test(start_paused = true)]
async fn a_legacy_upload_rides_out_lost_requests_and_lost_replies() {
    let (options, bytes) = legacy();
    let go_on = Act::Say(Reply::Next(NextReply::Continue { offset: 524_288 }).to_json(Family::Legacy));
    let server = Server::default().on(
        Action::MultipartUploadVodFile,
        [Act::Close, Act::Lose, Act::Status(503, 7), go_on, Act::Hang, Act::Lose, Act::Lose],
    );
    let report = upload_bytes(&server, options, bytes).await.unwrap();
    assert_eq!(report.outcome, Outcome::Finished);
    expect!["@0 @0 @0 @0 @524288 @524288 @524288 @524288 @1124288 @1724288"].assert_eq(&legacy_story(&server));
}

#[tokio::test(start_paused = true)]
async fn a_legacy_upload_asks_again_whether_its_last_part_arrived() {
    let (options, bytes) = legacy();
    let server = Server::default();
    server.0.lock().unwrap().held = bytes[..1_724_288].to_vec();
    let go_on = Act::Say(Reply::Next(NextReply::Continue { offset: 1_724_288 }).to_json(Family::Legacy));
    let server = server.on(Action::MultipartUploadVodFile, [go_on, Act::Lose]);
    let report = upload_bytes(&server, options, bytes).await.unwrap();
    assert_eq!(report.outcome, Outcome::CommittedEarlier);
    expect!["@0 @1724288 @1724288"].assert_eq(&legacy_story(&server));
}

fn cover() -> FileFacts {
    FileFacts { cover_of: Some("16092504232103571364".to_owned()), ..FileFacts::from_path("cover.png".as_ref()) }
}

#[tokio::test(start_paused = true)]
async fn a_cover_that_fits_is_sent_whole_and_again_when_its_reply_is_lost() {
    let busy = Act::Say(r#"{"code":-10004,"message":"busy","canRetry":1}"#.to_owned());
    let server = Server::default().on(Action::SmallFileUpload, [busy, Act::Lose]);
    let report = upload_as(&server, options(), bytes(), cover()).await.unwrap();
    assert_eq!((report.outcome, report.parts_sent, report.attempts), (Outcome::CommittedEarlier, 1, 3));
    assert_eq!((report.bytes_sent, server.0.lock().unwrap().bytes), (750_000, 750_000));
    assert_eq!(server.story(), ["SmallFileUpload"; 3].join(" "));
    expect!["POST /v2/index.php Action fileName fileSha fileSize dataSize fileType extra.usage extra.fileId Region Timestamp Nonce SecretId Signature"].assert_eq(&names(&server.lines()[..1]).join("\n"));
}

#[tokio::test(start_paused = true)]
async fn only_a_cover_of_less_than_a_megabyte_is_sent_whole() {
    let largest = usize::try_from(Limits::default().small_file_max).unwrap();
    let video = FileFacts { cover_of: None, ..cover() };
    for (len, facts, whole) in
        [(1, cover(), true), (largest, cover(), true), (largest + 1, cover(), false), (1, video, false)]
    {
        let server = Server::default();
        let bytes = bytes().repeat(5)[..len].to_vec();
        let report = upload_as(&server, Options { part_size: None, ..options() }, bytes, facts).await.unwrap();
        assert_eq!(report.outcome, Outcome::Finished);
        let steps = if whole { "SmallFileUpload" } else { "InitUpload UploadPart@0 FinishUpload" };
        assert_eq!(server.story(), steps, "{len} bytes");
    }
}

/// Uploads with a signature over these fields, made elsewhere.
async fn upload_under(server: &Server, family: Family, fields: &str) -> Result<UploadReport, UploadError> {
    let token = UploadSignature::sign(&SecretKey::new(KEY), &Query::parse(fields));
    let endpoint = "http://mock.test".parse().unwrap();
    let uploader = Uploader::with_connector(endpoint, Credentials::token(token), server.connector())
        .options(Options { family, ..options() });
    uploader.upload(BytesSource::new(bytes()), FileFacts::default()).await
}

#[tokio::test(start_paused = true)]
async fn an_upload_signature_made_elsewhere_is_sent_as_it_is() {
    let server = Server::default();
    let fields = format!("f=n&ft=mp4&s=id&fs={}&t=1&r=5&uid=u&e=1465185800", Sha1::of(&bytes()));
    let report = upload_under(&server, Family::Ugc, &fields).await.unwrap();
    assert_eq!((report.outcome, report.attempts), (Outcome::Finished, 5));
}

#[tokio::test(start_paused = true)]
async fn an_upload_signature_that_cannot_serve_is_refused_before_anything_is_sent() {
    let server = Server::default();
    let ours = format!("s=id&f=n&ft=mp4&fs={}", Sha1::of(&bytes()));
    let other = format!("s=id&f=n&ft=mp4&fs={}", Sha1::of(b"other"));
    let (later, past) = ("&e=1465185800", "&e=1465185767");
    for (family, fields, why) in [
        (Family::Ugc, format!("{ours}{past}"), "has expired"),
        (Family::Ugc, format!("{other}{later}"), "is for another file"),
        (Family::Server, format!("{ours}{later}"), "is for the ugc family alone"),
    ] {
        let error = upload_under(&server, family, &fields).await.unwrap_err();
        assert!(error.kind() == "config" && error.to_string().contains(why), "{error}");
    }
    assert_eq!(server.story(), "");
}

#[tokio::test(start_paused = true)]
async fn resume_sends_only_missing_parts() {
    let bytes = bytes();
    let listed = |at: usize, md5| ListedPart { offset: at as u64, len: Some(100_000), md5: Some(md5), sha1: None };
    let parts = vec![listed(0, Md5::of(&bytes[..100_000])), listed(100_000, Md5::of(b"other"))];
    let resume = say(&Reply::Init(InitReply::Resume { part_size: 100_000, parts }));
    let server = Server::default().on(Action::InitUpload, [resume]);
    // The grid of the server wins over the one asked for.
    let report = upload(&server, Options { part_size: Some(50_000), ..options() }).await.unwrap();
    assert_eq!((report.parts_sent, report.parts_skipped), (2, 1));
    // Part 200000 goes out while the local bytes of the two listed ones are compared.
    assert!(!server.story().contains("UploadPart@0"), "{}", server.story());
}

#[tokio::test(start_paused = true)]
async fn a_lost_finish_reply_is_resolved_by_asking() {
    let exists = say(&Reply::Init(InitReply::Exists(stored())));
    let fresh = say(&Reply::Init(InitReply::Fresh));
    let server = Server::default().on(Action::InitUpload, [fresh, exists]).on(Action::FinishUpload, [Act::Close]);
    let report = upload(&server, options()).await.unwrap();
    assert_eq!(report.outcome, Outcome::CommittedEarlier);
    assert!(server.story().ends_with("FinishUpload InitUpload"), "{}", server.story());
}

#[tokio::test(start_paused = true)]
async fn trouble_of_every_kind_is_ridden_out() {
    let server = Server::default()
        .on(Action::InitUpload, [Act::Status(503, 7), Act::Say(String::new())])
        .on(Action::UploadPart, [Act::Close, Act::Say("<html>".to_owned()), Act::Hang, Act::Status(429, 2)]);
    server.0.lock().unwrap().refuse = 2;
    let report = upload(&server, options()).await.unwrap();
    assert_eq!(report.outcome, Outcome::Finished);
    assert_eq!(report.attempts, 5 + 8, "two refusals, two bad opens, four bad parts");
    assert!(report.elapsed > Duration::from_secs(37), "Retry-After and the stall are waited for: {:?}", report.elapsed);
    assert!(report.bytes_sent > 250_000, "failed attempts count: {}", report.bytes_sent);
}

#[tokio::test(start_paused = true)]
async fn a_server_that_cannot_be_reached_ends_the_upload() {
    let server = Server::default();
    server.0.lock().unwrap().refuse = u32::MAX;
    let error = upload(&server, options()).await.unwrap_err();
    let Failure::Exhausted { last: Some(last), .. } = &error.failure else { panic!("{error}") };
    assert_eq!(**last, Failure::Transport(TransportError::Connect("connection refused".to_owned())));
    assert_eq!((error.attempts, error.may_be_committed), (6, false));
}

#[tokio::test(start_paused = true)]
async fn a_final_rejection_is_sent_once() {
    let no = r#"{"code":-10002,"message":"who are you?","canRetry":0}"#.to_owned();
    let server = Server::default().on(Action::InitUpload, [Act::Say(no)]);
    let error = upload(&server, options()).await.unwrap_err();
    assert_eq!((error.kind(), error.code()), ("rejected", Some(Code::SIGNATURE)));
    assert_eq!(server.story(), "InitUpload");
}

#[tokio::test(start_paused = true)]
async fn the_deadline_cuts_off_a_finish_and_says_so() {
    let server = Server::default().on(Action::FinishUpload, [Act::Hang]);
    let retry = RetryPolicy { deadline: Some(Duration::from_secs(10)), ..RetryPolicy::default() };
    let error = upload(&server, Options { retry, ..options() }).await.unwrap_err();
    assert_eq!((error.kind(), error.may_be_committed), ("exhausted", true));
}

/// A source that says it has changed once its parts have been read.
struct Changing(BytesSource);

impl Source for Changing {
    fn len(&self) -> u64 {
        self.0.len()
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> std::io::Result<()> {
        self.0.read_at(offset, buffer)
    }

    fn check_unchanged(&self) -> Result<(), SourceError> {
        Err(SourceError::Changed("it was written to".to_owned()))
    }
}

#[tokio::test(start_paused = true)]
async fn a_changed_source_is_never_finished() {
    let server = Server::default();
    let credentials = Credentials::new("id", SecretKey::new(KEY));
    let uploader = Uploader::with_connector("http://mock.test".parse().unwrap(), credentials, server.connector())
        .options(options());
    let source = Changing(BytesSource::new(bytes()));
    let error = uploader.upload(source, FileFacts::from_path("a.mp4".as_ref())).await.unwrap_err();
    assert_eq!(error.kind(), "source");
    assert!(!server.story().contains("FinishUpload"), "{}", server.story());
}

#[tokio::test(start_paused = true)]
async fn a_part_that_is_refused_because_the_source_changed_is_no_fault_of_the_server() {
    let refused = Rejected { code: Code::PROTOCOL_PARAMS, can_retry: Some(false), message: "dataMd5".to_owned() };
    let server = Server::default().on(Action::UploadPart, [say(&Reply::Rejected(refused))]);
    let credentials = Credentials::new("id", SecretKey::new(KEY));
    let uploader = Uploader::with_connector("http://mock.test".parse().unwrap(), credentials, server.connector())
        .options(Options { parallel: 1, ..options() });
    let source = Changing(BytesSource::new(bytes()));
    let error = uploader.upload(source, FileFacts::from_path("a.mp4".as_ref())).await.unwrap_err();
    assert_eq!(error.failure, Failure::Source(SourceError::Changed("it was written to".to_owned())));
    assert_eq!(server.story(), "InitUpload UploadPart@0");
}

/// A source that can be known again, and counts the bytes that are read of it.
#[derive(Clone)]
struct Known(BytesSource, Arc<Mutex<u64>>);

impl Source for Known {
    fn len(&self) -> u64 {
        self.0.len()
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> std::io::Result<()> {
        *self.1.lock().unwrap() += buffer.len() as u64;
        self.0.read_at(offset, buffer)
    }

    fn identity(&self) -> Option<Identity> {
        let (path, len) = ("/a.mp4".into(), self.len());
        Some(Identity { path, len, modified: (1_465_185_768, 0), changed: None, place: None })
    }
}

#[tokio::test(start_paused = true)]
async fn what_was_read_once_is_not_read_again_unless_the_server_refused_it() {
    let cache = tempfile::tempdir().unwrap();
    let source = Known(BytesSource::new(bytes()), Arc::default());
    let upload = async |server: Server| {
        *source.1.lock().unwrap() = 0;
        let options = Options { digest_cache: Some(cache.path().to_owned()), ..options() };
        let credentials = Credentials::new("id", SecretKey::new(KEY));
        let uploader = Uploader::with_connector("http://mock.test".parse().unwrap(), credentials, server.connector());
        let uploader = uploader.options(options);
        let done = uploader.upload(source.clone(), FileFacts::from_path("a.mp4".as_ref())).await;
        (done.is_ok(), *source.1.lock().unwrap())
    };
    let bytes = bytes();
    let parts = bytes.chunks(100_000).zip(0u64..).map(|(part, at)| ListedPart {
        offset: at * 100_000,
        len: Some(part.len() as u64),
        md5: Some(Md5::of(part)),
        sha1: None,
    });
    let all_here = say(&Reply::Init(InitReply::Resume { part_size: 100_000, parts: parts.collect() }));
    let refused = Rejected { code: Code::PROTOCOL_PARAMS, can_retry: Some(false), message: String::new() };
    let hashed_and_sent = 2 * 250_000;
    assert_eq!(upload(Server::default()).await, (true, hashed_and_sent), "the first time");
    assert_eq!(upload(Server::default()).await, (true, 250_000), "what is sent");
    assert_eq!(upload(Server::default().on(Action::InitUpload, [all_here])).await, (true, 0), "nothing is sent");
    let refusing = Server::default().on(Action::InitUpload, [say(&Reply::Rejected(refused))]);
    assert!(!upload(refusing).await.0);
    assert_eq!(upload(Server::default()).await, (true, hashed_and_sent), "as if for the first time");
}

/// A source that must not be read on the thread that serves the sockets.
struct Elsewhere(BytesSource, std::thread::ThreadId, Mutex<Vec<&'static str>>);

impl Elsewhere {
    fn called(&self, what: &'static str) {
        assert_ne!(std::thread::current().id(), self.1, "{what} may block, and is called where nothing may");
        let mut called = self.2.lock().unwrap();
        if !called.contains(&what) {
            called.push(what);
        }
    }
}

impl Source for Elsewhere {
    fn len(&self) -> u64 {
        self.0.len()
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> std::io::Result<()> {
        self.called("read_at");
        self.0.read_at(offset, buffer)
    }

    fn check_unchanged(&self) -> Result<(), SourceError> {
        self.called("check_unchanged");
        Ok(())
    }

    fn identity(&self) -> Option<Identity> {
        self.called("identity");
        None
    }
}

#[tokio::test]
async fn whatever_of_a_source_may_block_is_called_elsewhere() {
    let cache = tempfile::tempdir().unwrap();
    let source = Arc::new(Elsewhere(BytesSource::new(bytes()), std::thread::current().id(), Mutex::default()));
    let server = Server::default();
    let credentials = Credentials::new("id", SecretKey::new(KEY));
    let options = Options { work: Work::Pool, digest_cache: Some(cache.path().to_owned()), ..options() };
    let uploader = Uploader::with_connector("http://mock.test".parse().unwrap(), credentials, server.connector());
    let facts = FileFacts::from_path("a.mp4".as_ref());
    uploader.options(options).upload(Arc::clone(&source), facts).await.unwrap();
    let called = source.2.lock().unwrap().clone();
    assert_eq!(called, ["identity", "read_at", "check_unchanged"]);
}

#[tokio::test(start_paused = true)]
async fn an_empty_source_is_refused_before_anything_is_sent() {
    let server = Server::default();
    let credentials = Credentials::new("id", SecretKey::new(KEY));
    let uploader = Uploader::with_connector("http://mock.test".parse().unwrap(), credentials, server.connector());
    let error = uploader.upload(BytesSource::new(""), FileFacts::from_path("a.mp4".as_ref())).await.unwrap_err();
    assert_eq!(error.failure, Failure::Source(SourceError::Empty));
    assert_eq!(server.story(), "");
}

#[tokio::test(start_paused = true)]
async fn the_same_seed_and_replies_give_the_same_requests() {
    let mut runs = Vec::new();
    for seed in [7, 7, 8] {
        let server = Server::default()
            .on(Action::InitUpload, [Act::Status(500, 0)])
            .on(Action::UploadPart, [Act::Close, Act::Hang, Act::Say(String::new())]);
        let report = upload(&server, Options { seed, ..options() }).await.unwrap();
        runs.push((server.lines(), report.elapsed));
    }
    // Nonce, Timestamp and signature included.
    assert_eq!(runs[0], runs[1]);
    assert_ne!(runs[0].0, runs[2].0);
}

#[tokio::test(start_paused = true)]
async fn events_tell_the_story() {
    let server = Server::default().on(Action::UploadPart, [Act::Close]);
    let credentials = Credentials::new("id", SecretKey::new(KEY));
    let uploader = Uploader::with_connector("http://mock.test".parse().unwrap(), credentials, server.connector())
        .options(options());
    let mut events = Vec::new();
    let source = BytesSource::new(bytes());
    let facts = FileFacts::from_path("a.mp4".as_ref());
    let report = uploader.upload_observed(source, facts, |event| events.push(event)).await.unwrap();
    assert_eq!(events[0], Event::Queued { total: 250_000 });
    assert_eq!(events[1], Event::Hashing { done: 250_000, total: 250_000 });
    assert_eq!(events[2], Event::Hashed { file_sha1: Sha1::of(&bytes()), cached: false });
    let count = |which: fn(&Event) -> bool| events.iter().filter(|event| which(event)).count();
    assert_eq!(count(|event| matches!(event, Event::PartDone { skipped: false, .. })), 3);
    assert_eq!(count(|event| matches!(event, Event::AttemptFailed { retry_in: Some(_), .. })), 1);
    let finish = Event::AttemptStarted { action: Action::FinishUpload, span: None, attempt: 1 };
    assert_eq!(events[events.len() - 2..], [finish, Event::Finished { report: Box::new(report) }]);
}

#[tokio::test(start_paused = true)]
async fn whatever_ends_an_upload_is_its_last_event() {
    let refused = Rejected { code: Code::PROTOCOL_PARAMS, can_retry: Some(false), message: String::new() };
    let server = Server::default().on(Action::InitUpload, [say(&Reply::Rejected(refused))]);
    let credentials = Credentials::new("id", SecretKey::new(KEY));
    let uploader = Uploader::with_connector("http://mock.test".parse().unwrap(), credentials, server.connector())
        .options(options());
    for bytes in [bytes(), Vec::new()] {
        let (tell, events) = Events::channel();
        let facts = FileFacts::from_path("a.mp4".as_ref());
        let error = uploader.upload_observed(BytesSource::new(bytes), facts, tell).await.unwrap_err();
        let events: Vec<_> = events.into_stream().collect().await;
        assert_eq!(events.last(), Some(&Event::Failed { error: Box::new(error) }));
    }
}

/// The futures of uploads can be spawned, and the uploader shared.
#[test]
fn uploads_are_send() {
    fn send<T: Send>(_: T) {}
    fn share<T: Send + Sync + Clone>(_: &T) {}
    let credentials = Credentials::new("id", SecretKey::new(KEY));
    let uploader = Uploader::new("http://mock.test".parse().unwrap(), credentials);
    share(&uploader);
    send(uploader.upload(BytesSource::new("x"), FileFacts::default()));
}

//! The example page in a real browser, against a real mock of another origin.
//!
//! Skipped, loudly, where there is no Chromium.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on says where")]

use std::{
    io::Write as _,
    path::{Path, PathBuf},
    process::Stdio,
    sync::Arc,
    time::Duration,
};

use serde_json::Value;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    process::{Child, Command},
    sync::mpsc,
};
use vod_mock::{Auth, Config, DEMO_SECRET_ID, DEMO_SECRET_KEY, DEMO_VERIFY_KEY, Exchanges, UploadState, VodMock};
use vod_proto::{
    Action, FileFacts, Query, Sha1,
    redact::Rules,
    request::{TokenTerms, sign_token},
    rules::Profile,
    sign::SecretKey,
    ugc::VerifyContent,
};
use vod_proxy::{
    Proxy, Recording, Route,
    recording::{KeptBodies, Source, Wanted},
    upstream::trust_file,
};
use vod_serve::{
    Plan, Port, WallClock,
    tls::{Ca, Tls},
};

/// The time of day in this test, in seconds since 1970: the page itself has no say in it.
const NOW: u64 = 1_500_000_000;

/// Three parts and a bit, so that the last part is shorter than the others.
const SIZE: usize = 3 * 524_288 + 1000;

/// How long all of it may take: starting a browser is the longest part, and takes a second or two.
const LIMIT: Duration = Duration::from_secs(60);

/// A file of one short part.
const SMALL: usize = 120;

/// The second part fails as often as the page tries it, and then no more; the small file is stored and a gateway loses
/// the answer. No reset does that here: a browser repeats a GET by itself when a kept connection is reset.
fn faults() -> Plan {
    let small = Sha1::of(&demo(SMALL));
    let plan = format!(
        r#"
        [[fault]]
        id = "refused"
        on = {{ action = "UploadPartEx", part = 2, times = 4 }}
        phase = "before-commit"
        do = {{ reply = {{ code = -10004, can-retry = true }} }}

        [[fault]]
        id = "lost-finish"
        on = {{ action = "FinishUploadEx", file-sha = "{small}" }}
        phase = "after-commit"
        do = {{ http = {{ status = 502 }} }}
        "#
    );
    toml::from_str(&plan).unwrap()
}

/// The bytes that the page makes up.
fn demo(size: usize) -> Vec<u8> {
    (0..size).map(|i| u8::try_from((i * 31 + (i >> 8)) % 251).unwrap()).collect()
}

/// The page gives up, is opened anew in a browser that knows nothing, and sends what is missing. Opened again, it has
/// nothing to send. A finish whose answer is lost it does not repeat: it asks.
#[tokio::test]
async fn the_page_uploads_gives_up_and_goes_on() {
    let Some(chromium) = chromium() else { return };
    in_time(give_up_and_go_on(&chromium)).await;
}

/// As the example's README has it: no application's server is there to sign, and the mock asks for no signature.
#[tokio::test]
async fn the_page_uploads_unsigned_where_no_signature_is_checked() {
    let Some(chromium) = chromium() else { return };
    in_time(async {
        let mock = VodMock::start_with(Config { auth: Auth::Any, ..Config::default() }).await.unwrap();
        let mut app = App::start(&mock).await;
        let told = app.visit(&chromium, SMALL, None).await;
        let upload = mock.upload(Sha1::of(&demo(SMALL))).await.expect("the file was announced");
        assert_eq!((upload.state, told["fileId"].as_str()), (UploadState::Stored, upload.file_id.as_deref()), "{told}");
        app.serving.abort();
    })
    .await;
}

/// The page and the mock are of two origins, one plain and one over TLS: a browser asks for the first by its whole URL, and
/// for the second through a tunnel.
#[tokio::test]
async fn the_page_uploads_through_a_forward_proxy_that_records_it() {
    let Some(chromium) = chromium() else { return };
    in_time(async {
        let tls = Some(Tls::default());
        let mock = VodMock::start_with(Config { auth: Auth::Any, tls, ..Config::default() }).await.unwrap();
        let mut app = App::start(&mock).await;
        let dir = tempfile::tempdir().unwrap();
        let ca = dir.path().join("ca.pem");
        std::fs::write(&ca, mock.ca_pem().unwrap()).unwrap();
        let hosts = [&app.origin, mock.endpoint()].map(|url| url.rsplit('/').next().unwrap().to_owned());
        let now = WallClock::system().now();
        let (source, rules) = (Source::Hosts(hosts.to_vec()), Rules::default());
        let wanted = Wanted { source, bodies: KeptBodies::Replies, rules };
        let (recording, journal) = Recording::record(&dir.path().join("recording"), wanted, now).unwrap();
        let route = Route::Forward(hosts.iter().map(|host| host.parse().unwrap()).collect(), Arc::new(Ca::make(now)));
        let proxy = Arc::new(Proxy::recording(route, trust_file(&ca).unwrap(), &recording, journal));
        let port = Port::bind("127.0.0.1:0").await.unwrap();
        app.proxy = Some(format!("http://{}", port.addr()));
        let serving = tokio::spawn(async move { proxy.serve(port).await });
        let told = app.visit(&chromium, SIZE, None).await;
        let upload = mock.upload(Sha1::of(&demo(SIZE))).await.expect("the file was announced");
        assert_eq!((upload.state, told["fileId"].as_str()), (UploadState::Stored, upload.file_id.as_deref()), "{told}");
        let (recorded, _) = recording.exchanges().unwrap();
        let parts = recorded.iter().filter(|exchange| exchange.known_action() == Some(Action::UploadPartEx));
        assert_eq!(parts.filter(|exchange| exchange.request.tls && exchange.acknowledged()).count(), 4);
        assert!(recorded.iter().any(|exchange| !exchange.request.tls && exchange.request.target.starts_with("/?")));
        serving.abort();
        app.serving.abort();
    })
    .await;
}

async fn in_time(story: impl Future<Output = ()>) {
    let done = tokio::time::timeout(LIMIT, story).await;
    assert!(done.is_ok(), "the browser did not get to the end of it within {LIMIT:?}");
}

async fn give_up_and_go_on(chromium: &Path) {
    let epoch = jiff::Timestamp::from_second(NOW.try_into().unwrap()).unwrap();
    // The page keeps to the documents, so the stricter profile must take it too.
    let profile = Profile::Documented;
    let config = Config { plan: faults(), profile, seed: 1, clock: WallClock::fixed(epoch), ..Config::default() };
    let mock = VodMock::start_with(config).await.unwrap();
    let mut app = App::start(&mock).await;

    let gave_up = app.visit(chromium, SIZE, Some("/sign")).await;
    let why = gave_up["stopped"].as_str().unwrap_or_default();
    assert!(why.contains("UploadPartEx: the server answered -10004"), "{gave_up}");
    let went_on = app.visit(chromium, SIZE, Some("/sign")).await;
    let nothing_to_do = app.visit(chromium, SIZE, Some("/sign")).await;
    let unanswered = app.visit(chromium, SMALL, Some("/sign")).await;

    for (size, told) in [(SIZE, &went_on), (SIZE, &nothing_to_do), (SMALL, &unanswered)] {
        let file_sha1 = Sha1::of(&demo(size));
        let upload = mock.upload(file_sha1).await.expect("the file was announced");
        let stored = (upload.state, upload.commits, upload.stored_sha1);
        assert_eq!(stored, (UploadState::Stored, 1, Some(file_sha1)), "{upload:?}");
        assert_eq!(told["fileId"].as_str(), upload.file_id.as_deref(), "{told}");
    }
    // The application need not believe the page: what it was told carries a proof.
    let proof = went_on["verify_content"].as_str().unwrap_or_default();
    let proved = VerifyContent::verify(&SecretKey::new(DEMO_VERIFY_KEY), proof).map(|proof| proof.file_id);
    assert_eq!(proved.as_deref().ok(), went_on["fileId"].as_str(), "{went_on}");

    assert_eq!(mock.unfired(), Vec::<String>::new());
    the_wire(&mock.exchanges(), &app.origin);
    app.serving.abort();
}

/// What the browser sent: no part twice but the refused one, no finish twice, and questions before parts.
fn the_wire(exchanges: &Exchanges, origin: &str) {
    let answered = |action, code| exchanges.action(action).code(code).len();
    // Two files are new, one is there in part, one is there whole when it is chosen again, the other when it is asked for.
    assert_eq!([0, 1, 2].map(|code| answered(Action::InitUploadEx, code)), [2, 1, 2]);
    assert_eq!([0, -10004].map(|code| answered(Action::UploadPartEx, code)), [5, 4]);
    assert_eq!(
        exchanges.action(Action::FinishUploadEx).len(),
        2,
        "a finish without an answer must not be repeated blindly"
    );

    let (questions, requests): (Vec<_>, Vec<_>) =
        exchanges.iter().partition(|exchange| exchange.request.method == "OPTIONS");
    for exchange in &requests {
        let from = exchange.request.headers.iter().find(|(name, _)| name == "origin");
        assert_eq!(from.map(|(_, value)| value.as_str()), Some(origin), "{exchange:?}");
    }
    // Parts are not of a kind that a page may send unasked, and each has a URL of its own.
    assert!(questions.len() >= 5, "{questions:?}");
    for question in questions {
        assert_eq!(question.reply.as_ref().map(|reply| reply.status), Some(204), "{question:?}");
    }
}

/// The application around the page: its own server, which serves it, signs for it, and hears what became of it.
struct App {
    origin: String,
    endpoint: String,
    told: mpsc::UnboundedReceiver<Value>,
    serving: tokio::task::JoinHandle<()>,
    /// What browsers ask instead of the servers themselves.
    proxy: Option<String>,
}

impl App {
    async fn start(mock: &VodMock) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let origin = format!("http://{}", listener.local_addr().unwrap());
        let (tell, told) = mpsc::unbounded_channel();
        let serving = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(answer(stream, tell.clone()));
            }
        });
        Self { origin, endpoint: mock.endpoint().to_owned(), told, serving, proxy: None }
    }

    /// Opens the page in a browser of its own and waits for what it tells.
    async fn visit(&mut self, chromium: &Path, size: usize, sign: Option<&str>) -> Value {
        let mut query = Query::default();
        query.push("endpoint", &self.endpoint);
        query.push("sign", sign.unwrap_or_default());
        query.push("tell", "/told");
        query.push("demo", size);
        let browser = Browser::open(chromium, &format!("{}/?{query}", self.origin), self.proxy.as_deref());
        let told = self.told.recv().await.expect("the application's server is there");
        browser.close().await;
        told
    }
}

/// Answers one request to the application's own server.
async fn answer(mut stream: TcpStream, tell: mpsc::UnboundedSender<Value>) {
    let mut request = Vec::new();
    let Some((head, body)) = read_request(&mut stream, &mut request).await else { return };
    let target = head.split(' ').nth(1).unwrap_or_default();
    let (path, query) = Query::split_target(target);
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/browser");
    let (kind, text) = match path {
        "/" => ("text/html", std::fs::read(page.join("index.html")).unwrap()),
        "/upload.js" | "/md5.js" => ("text/javascript", std::fs::read(page.join(&path[1..])).unwrap()),
        "/sign" => ("text/plain", signature(&query).into_bytes()),
        "/told" => {
            let _ = tell.send(serde_json::from_slice(&body).unwrap());
            ("text/plain", Vec::new())
        }
        other => panic!("the page asked for {other}"),
    };
    let head = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        text.len()
    );
    // A browser that was closed hears nothing more.
    let _ = stream.write_all(&[head.as_bytes(), &text].concat()).await;
}

/// A request's head and body; none of a connection that a browser opened and did not use.
async fn read_request(stream: &mut TcpStream, read: &mut Vec<u8>) -> Option<(String, Vec<u8>)> {
    loop {
        if let Some(end) = read.windows(4).position(|four| four == b"\r\n\r\n") {
            let head = String::from_utf8(read[..end].to_vec()).unwrap();
            let lines = head.lines().filter_map(|line| line.split_once(':'));
            let length = lines.filter(|(name, _)| name.eq_ignore_ascii_case("content-length"));
            let length: usize = length.map(|(_, value)| value.trim().parse().unwrap()).next().unwrap_or(0);
            if read.len() >= end + 4 + length {
                return Some((head, read[end + 4..].to_vec()));
            }
        }
        if stream.read_buf(read).await.ok()? == 0 {
            return None;
        }
    }
}

/// What an application's server does for its users: it says who may upload what until when.
fn signature(asked: &Query) -> String {
    let field = |name: &str| asked.get(name).expect("the page names it").into_owned();
    let facts = FileFacts { name: field("f"), file_type: field("ft"), ..FileFacts::default() };
    let file_sha1 = field("fs").parse().unwrap();
    let terms =
        TokenTerms { secret_id: DEMO_SECRET_ID, file_sha1, made: NOW, expires: NOW + 3600, random: 7, uid: "user" };
    sign_token(&SecretKey::new(DEMO_SECRET_KEY), &facts, &terms)
}

/// A browser with a profile of its own, which goes with it.
struct Browser {
    child: Child,
    _profile: tempfile::TempDir,
}

impl Browser {
    fn open(chromium: &Path, url: &str, proxy: Option<&str>) -> Self {
        let profile = tempfile::tempdir().unwrap();
        let mut command = Command::new(chromium);
        command.args(["--headless", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run"]);
        // It shows our own page alone, and as root or in a container it has no sandbox to be in.
        command.args(["--no-sandbox", "--disable-background-networking", "--disable-component-update"]);
        command.arg(format!("--user-data-dir={}", profile.path().display())).arg(url);
        if let Some(proxy) = proxy {
            command.arg(format!("--proxy-server={proxy}")).arg("--proxy-bypass-list=<-loopback>");
            // It trusts no CA of ours, and has no flag to say otherwise.
            command.arg("--ignore-certificate-errors");
        }
        // Kept open until something is written to it, which never happens: without it headless Chromium may just end.
        command.arg("--remote-debugging-port=0").process_group(0).kill_on_drop(true);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let child = command.spawn().unwrap_or_else(|error| panic!("{}: {error}", chromium.display()));
        Self { child, _profile: profile }
    }

    async fn close(mut self) {
        self.end();
        let _ = self.child.wait().await;
    }

    /// Ends the browser and what it started: the group that was made for it, and no other.
    fn end(&self) {
        let group = self.child.id().and_then(|id| i32::try_from(id).ok()).and_then(rustix::process::Pid::from_raw);
        if let Some(group) = group {
            let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
        }
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        self.end();
    }
}

/// The browser, or a line that says that there is none.
fn chromium() -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let names = ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable"];
    let mut places = names.into_iter().flat_map(|name| std::env::split_paths(&path).map(move |dir| dir.join(name)));
    let found = places.find(|place| place.is_file());
    if found.is_none() {
        // Past the capture of the test harness: whoever runs this must see what was not proved.
        let words = "SKIPPED: neither chromium nor google-chrome is on PATH: examples/browser was NOT tested";
        let _ = writeln!(std::io::stderr(), "\n{words}\n");
    }
    found
}

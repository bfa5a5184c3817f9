//! Sessions through a recorder that is a process of its own: of our client, of curl, of a Python script, and of a recorder that
//! is killed.
//!
//! Programs that are not there are skipped, loudly.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on says where")]

use std::{
    fs,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::TcpStream,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    sync::mpsc,
    thread,
};

use tempfile::TempDir;
use vod_mock::{Auth, Config, DEMO_SECRET_ID, DEMO_SECRET_KEY, UploadState, blocking};
use vod_proto::{
    Exchange, Family, FileFacts, FinishUpload, InitUpload, Md5, PartSpan, Request, Sha1, UploadPart, exchange::End,
};
use vod_proxy::Recording;
use vod_serve::tls::Tls;

const BINARY: &str = env!("CARGO_BIN_EXE_vod-scenario");

/// One part of the smallest size, and a bit.
const SIZE: usize = 524_288 + 1000;

/// A program of this workspace, without what the environment says of proxies and accounts.
fn program(args: &[&str]) -> Command {
    let mut command = Command::new(BINARY);
    command.args(args);
    for name in ["http_proxy", "https_proxy", "all_proxy", "no_proxy"] {
        command.env_remove(name).env_remove(name.to_uppercase());
    }
    command.env("VOD_SECRET_ID", DEMO_SECRET_ID).env("VOD_SECRET_KEY", DEMO_SECRET_KEY);
    command
}

/// A recorder that listens.
struct Recorder {
    child: Child,
    url: String,
    ca: Option<PathBuf>,
}

impl Recorder {
    fn start(recording: &Path, args: &[&str]) -> Self {
        let recording = recording.to_str().unwrap();
        let mut command = program(&["proxy", "record", recording, "--listen", "127.0.0.1:0"]);
        let mut child = command.args(args).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let ready: serde_json::Value = serde_json::from_str(&line).expect("it says where it listens");
        let ca = ready["ca"].as_str().map(PathBuf::from);
        Self { child, url: ready["listening"].as_str().unwrap().to_owned(), ca }
    }

    fn addr(&self) -> String {
        self.url.rsplit('/').next().unwrap().to_owned()
    }

    /// Asks it to stop, and waits until it has.
    fn stop(mut self) {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
        assert!(self.child.wait().unwrap().success());
    }

    fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What stands in a whole recording in which no secret is.
fn whole(recording: &Path) -> Vec<Exchange> {
    let output = program(&["proxy", "leaks", recording.to_str().unwrap()]).output().unwrap();
    assert!(output.status.success(), "{}", said(&output));
    let recording = Recording::open(recording).unwrap();
    let checked = recording.verify().unwrap();
    assert!(checked.is_whole(), "{checked}");
    recording.exchanges().unwrap().0
}

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

fn bytes() -> Vec<u8> {
    (0..SIZE).map(|at| u8::try_from((at * 31 + (at >> 8)) % 251).unwrap()).collect()
}

/// A mock at `https://`, and whom to trust for it.
fn mock_over_tls(dir: &TempDir) -> (blocking::VodMock, PathBuf) {
    let config = Config { auth: Auth::Any, tls: Some(Tls::default()), ..Config::default() };
    let mock = blocking::VodMock::start_with(config).unwrap();
    let ca = dir.path().join("mock-ca.pem");
    fs::write(&ca, mock.ca_pem().unwrap()).unwrap();
    (mock, ca)
}

/// A forward proxy that lets through to the mock, and to nobody else.
fn forward_to(mock: &blocking::VodMock, ca: &Path, dir: &TempDir) -> (Recorder, PathBuf) {
    let recording = dir.path().join("recording");
    let (tls, allowed) = (dir.path().join("ca"), mock.endpoint().rsplit('/').next().unwrap().to_owned());
    let args =
        ["--forward", "--allow", &allowed, "--upstream-ca", ca.to_str().unwrap(), "--tls-dir", tls.to_str().unwrap()];
    (Recorder::start(&recording, &args), recording)
}

fn stored(mock: &blocking::VodMock) {
    let upload = mock.upload(Sha1::of(&bytes())).expect("the file was announced");
    assert_eq!((upload.state, upload.stored_sha1), (UploadState::Stored, Some(Sha1::of(&bytes()))));
}

#[test]
fn our_client_uploads_in_front_of_a_server_and_through_a_tunnel_and_both_are_on_record() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("video.mp4");
    fs::write(&file, bytes()).unwrap();
    let upload = |args: &[&str]| {
        let mut command = program(&["client", "upload", file.to_str().unwrap(), "--quiet", "--no-digest-cache"]);
        let output = command.args(args).output().unwrap();
        assert!(output.status.success(), "{}", said(&output));
    };

    let mock = blocking::VodMock::start();
    let recording = dir.path().join("reverse");
    let recorder = Recorder::start(&recording, &["--upstream", mock.endpoint()]);
    upload(&["--endpoint", &recorder.url]);
    recorder.stop();
    stored(&mock);
    let recorded = whole(&recording);
    assert_eq!(recorded.len(), mock.exchanges().len());
    assert!(recorded.iter().all(|exchange| exchange.acknowledged() && !exchange.request.tls), "{recorded:?}");

    // A server's place is taken over TLS too, in front of one that speaks none.
    let mock = blocking::VodMock::start();
    let recording = dir.path().join("reverse-tls");
    let tls = dir.path().join("own-ca");
    let recorder =
        Recorder::start(&recording, &["--upstream", mock.endpoint(), "--tls", "--tls-dir", tls.to_str().unwrap()]);
    assert!(recorder.url.starts_with("https://"), "{}", recorder.url);
    upload(&["--endpoint", &recorder.url, "--ca", recorder.ca.as_ref().unwrap().to_str().unwrap()]);
    recorder.stop();
    stored(&mock);
    let recorded = whole(&recording);
    assert!(recorded.len() == 3 && recorded.iter().all(|exchange| exchange.request.tls), "{recorded:?}");
    assert!(mock.exchanges().iter().all(|exchange| !exchange.request.tls));

    let (mock, ca) = mock_over_tls(&dir);
    let (recorder, recording) = forward_to(&mock, &ca, &dir);
    let own_ca = recorder.ca.clone().unwrap();
    upload(&["--endpoint", mock.endpoint(), "--proxy", &recorder.url, "--ca", own_ca.to_str().unwrap()]);
    recorder.stop();
    stored(&mock);
    let recorded = whole(&recording);
    assert!(recorded.len() == 3 && recorded.iter().all(|exchange| exchange.request.tls), "{recorded:?}");
}

/// The requests of an upload, with their bodies.
fn requests() -> Vec<(String, Vec<u8>)> {
    let (bytes, part_size) = (bytes(), 524_288);
    let file_sha1 = Sha1::of(&bytes);
    let facts = FileFacts { name: "video.mp4".to_owned(), file_type: "mp4".to_owned(), ..FileFacts::default() };
    let init = Request::Init(InitUpload { facts, file_sha1, file_size: bytes.len() as u64, part_size });
    let mut requests = vec![(init, Vec::new())];
    let mut offset = 0;
    for part in bytes.chunks(usize::try_from(part_size).unwrap()) {
        let span = PartSpan { offset, len: part.len() as u64 };
        requests.push((Request::Part(UploadPart { file_sha1, span, part_md5: Md5::of(part) }), part.to_vec()));
        offset = span.end();
    }
    requests.push((Request::Finish(FinishUpload { file_sha1 }), Vec::new()));
    let signed = |request: &Request| {
        let mut query = request.to_query(Family::Server);
        for (name, value) in [
            ("Region", "gz"),
            ("Nonce", "7"),
            ("Timestamp", "1700000000"),
            ("SecretId", DEMO_SECRET_ID),
            ("Signature", DEMO_SECRET_KEY),
        ] {
            query.push(name, value);
        }
        format!("/v2/index.php?{query}")
    };
    requests.into_iter().map(|(request, body)| (signed(&request), body)).collect()
}

#[test]
fn curl_uploads_through_the_forward_proxy_and_waits_for_100_continue() {
    if !is_there("curl", "--version") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let (mock, ca) = mock_over_tls(&dir);
    let (recorder, recording) = forward_to(&mock, &ca, &dir);
    let body = dir.path().join("body");
    let curl = |url: &str, args: &[&str]| {
        let mut command = Command::new("curl");
        command.args(["-sS", "--max-time", "30", "--proxy", &recorder.url, "--noproxy", "", "--cacert"]);
        command.arg(recorder.ca.as_ref().unwrap()).args(args).arg(url).output().unwrap()
    };
    for (target, bytes) in requests() {
        fs::write(&body, &bytes).unwrap();
        let data = format!("@{}", body.display());
        let output =
            curl(&format!("{}{target}", mock.endpoint()), &["-H", "Expect: 100-continue", "--data-binary", &data]);
        assert!(said(&output).contains("\"code\":0"), "{}", said(&output));
    }
    let refused = curl("https://example.invalid/", &[]);
    assert!(!refused.status.success() && said(&refused).contains("403"), "{}", said(&refused));
    recorder.stop();
    stored(&mock);
    let recorded = whole(&recording);
    assert_eq!(recorded.iter().filter(|exchange| exchange.acknowledged()).count(), 4, "{recorded:?}");
}

/// As somebody would write it who has nothing but what Python brings.
const SCRIPT: &str = r#"
import http.client, json, ssl, sys
proxy, server, ca = sys.argv[1:4]
def at(address):
    host, port = address.rsplit(":", 1)
    return host, int(port)
connection = http.client.HTTPSConnection(*at(proxy), context=ssl.create_default_context(cafile=ca), timeout=30)
connection.set_tunnel(*at(server))
for line in sys.stdin:
    target, path = json.loads(line)
    with open(path, "rb") as body:
        connection.request("POST", target, body.read())
    print(connection.getresponse().read().decode())
"#;

#[test]
fn a_python_script_uploads_through_the_forward_proxy() {
    if !is_there("python3", "--version") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let (mock, ca) = mock_over_tls(&dir);
    let (recorder, recording) = forward_to(&mock, &ca, &dir);
    let mut python = Command::new("python3");
    python.args(["-c", SCRIPT, &recorder.addr(), mock.endpoint().rsplit('/').next().unwrap()]);
    python.arg(recorder.ca.as_ref().unwrap()).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = python.spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    for (number, (target, bytes)) in requests().into_iter().enumerate() {
        let body = dir.path().join(format!("body-{number}"));
        fs::write(&body, &bytes).unwrap();
        writeln!(stdin, "{}", serde_json::json!([target, body])).unwrap();
    }
    drop(stdin);
    let output = child.wait_with_output().unwrap();
    assert_eq!(said(&output).matches("\"code\":0").count(), 4, "{}", said(&output));
    recorder.stop();
    stored(&mock);
    assert_eq!(whole(&recording).len(), 4);
}

fn is_there(program: &str, arg: &str) -> bool {
    let there = Command::new(program).arg(arg).stdout(Stdio::null()).status().is_ok_and(|status| status.success());
    if !there {
        // Past the capture of the test harness: whoever runs this must see what was not proved.
        let _ = writeln!(std::io::stderr(), "\nSKIPPED: there is no {program}: it was NOT tested through the proxy\n");
    }
    there
}

/// How many clients ask at once.
const CLIENTS: usize = 4;

#[test]
fn a_recorder_that_is_killed_again_and_again_leaves_what_is_valid_and_goes_on_in_it() {
    let dir = tempfile::tempdir().unwrap();
    let mock = blocking::VodMock::start_with(Config { auth: Auth::Any, ..Config::default() }).unwrap();
    let recording = dir.path().join("recording");
    let args = ["--upstream", mock.endpoint(), "--bodies", "all"];
    let (mut answered, mut last) = (0, 0);
    // It is killed after so many answers, wherever the other clients are then.
    for (life, kill_after) in [1, 37, 5, 90, 2, 61].into_iter().enumerate() {
        let recorder = Recorder::start(&recording, &args);
        let (tell, told) = mpsc::channel();
        let clients: Vec<_> = (0..CLIENTS)
            .map(|client| {
                // All are connected before anybody may be killed.
                let (stream, tell) = (TcpStream::connect(recorder.addr()).unwrap(), tell.clone());
                thread::spawn(move || ask_for_ever(stream, life * CLIENTS + client, &tell))
            })
            .collect();
        drop(tell);
        let heard = told.iter().take(kill_after).count();
        recorder.kill();
        answered += heard + told.iter().count();
        clients.into_iter().for_each(|client| client.join().unwrap());

        let recording = Recording::open(&recording).unwrap();
        let checked = recording.verify().unwrap();
        assert!(checked.missing.is_empty(), "{checked}");
        let (exchanges, _) = recording.exchanges().unwrap();
        // An answer may be with its client before its line is written, one for each client.
        let lost = CLIENTS * (life + 1);
        assert!(exchanges.len() + lost >= answered, "{} of {answered} are on record", exchanges.len());
        let newest = exchanges.last().map_or(0, |exchange| exchange.seq);
        assert!(newest >= last, "numbers go on");
        last = newest;
        for exchange in exchanges.iter().filter(|exchange| exchange.end == End::Replied) {
            assert_eq!(exchange.reply.as_ref().unwrap().status, 200, "{exchange:?}");
        }
    }
    let recorder = Recorder::start(&recording, &args);
    recorder.stop();
    let checked = Recording::open(&recording).unwrap().verify().unwrap();
    assert!(!checked.end.torn, "{checked}: whoever goes on cuts off what is torn");
    let left: Vec<_> =
        fs::read_dir(recording.join("bodies")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(left.iter().all(|name| !name.to_string_lossy().starts_with('.')), "{left:?}");
}

/// Sends parts of nothing over a connection, each with bytes of its own, until it breaks, and tells of each answer.
fn ask_for_ever(mut stream: TcpStream, who: usize, tell: &mpsc::Sender<()>) {
    let mut reply = [0; 4096];
    for number in 0.. {
        let body = format!("{who} {number} {}", "x".repeat(3000));
        let head = format!(
            "POST /v2/index.php?Action=UploadPart HTTP/1.1\r\nHost: h\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        if stream.write_all(format!("{head}{body}").as_bytes()).is_err() {
            return;
        }
        let mut read = 0;
        // What the mock has to say of it is short, and ends with its JSON.
        while !reply[..read].ends_with(b"}") {
            match stream.read(&mut reply[read..]) {
                Ok(0) | Err(_) => return,
                Ok(more) => read += more,
            }
        }
        if tell.send(()).is_err() {
            return;
        }
    }
}

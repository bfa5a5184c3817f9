//! Who is called when a file is stored, what they hear, and where it can be seen.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use serde_json::{Value, json};
use vod_mock::{
    Accounts, CallbackPolicy, Config, MemoryStore, Mock, Store, VodMock,
    callbacks::{Caller, DeliveryState, Kind, Withheld},
};
use vod_proto::Sha1;
use vod_serve::Plan;

use crate::{
    legacy::{self, Dying},
    ugc,
    wire::{account, assert_code, config, file, finish, get, init, mock, part, post, send, target},
};

#[tokio::test]
async fn callbacks_are_seen_under_the_admin_path_and_wrong_filters_are_named() {
    let mock = mock(config()).await;
    assert_eq!(get(&mock, "/__vod/callbacks?account=demo&file-id=7").await, json!([]));
    let answer = String::from_utf8(send(&mock, "GET", "/__vod/callbacks", b"").await.unwrap()).unwrap();
    assert!(answer.contains("x-vod-dropped: 0\r\n"), "{answer}");
    let answer = String::from_utf8(send(&mock, "GET", "/__vod/callbacks?fileid=7", b"").await.unwrap()).unwrap();
    assert!(answer.starts_with("HTTP/1.1 400 ") && answer.contains("file-id"), "{answer}");
}

fn called_at(url: &str) -> Config {
    let account = "[[account]]\nname = \"a\"\napp-id = 1\nsecret-id = \"i\"\nsecret-key = \"k\"\n";
    let accounts: Accounts = toml::from_str(&format!("{account}callback-url = {url:?}")).unwrap();
    Config { accounts, ..config() }
}

struct Deaf;

#[async_trait::async_trait]
impl Caller for Deaf {
    async fn post(&self, _: &str, _: String) -> Result<u16, String> {
        Err("nobody is called here".to_owned())
    }
}

#[tokio::test]
async fn a_callback_url_that_cannot_be_called_is_refused_when_the_mock_is_opened() {
    let refused = async |config| match Mock::open(config, MemoryStore::new()).await {
        Ok(_) => panic!("opened"),
        Err(error) => error.to_string(),
    };
    for (url, why) in [
        ("www.example.com", "expected a URL that begins with http://"),
        ("http://", "expected a host"),
        ("https://h/", "https:// is not built yet"),
    ] {
        let said = refused(called_at(url)).await;
        assert!(said.contains("callback-url of the account \"a\"") && said.contains(why), "{said}");
    }
    assert!(Mock::open(called_at("http://h/"), MemoryStore::new()).await.is_ok());
    // Another caller may well know https.
    let caller = || Some(Arc::new(Deaf) as Arc<dyn Caller>);
    let https = Config { caller: caller(), ..called_at("https://h/") };
    assert!(Mock::open(https, MemoryStore::new()).await.is_ok());
    let said = refused(Config { caller: caller(), ..called_at("http://h:x/") }).await;
    assert!(said.contains("expected a port"), "{said}");
}

/// Answers every call, and remembers it.
#[derive(Default)]
struct Recorder(Mutex<Vec<(String, Value)>>);

#[async_trait::async_trait]
impl Caller for Recorder {
    async fn post(&self, url: &str, json: String) -> Result<u16, String> {
        self.0.lock().unwrap().push((url.to_owned(), serde_json::from_str(&json).unwrap()));
        Ok(200)
    }
}

const NOTIFY: &str = "http://me:sEcReT@notify.example/n";
const ACCOUNT: &str = "http://app.example/events";

/// A mock that calls at once, as far as `notify` allows, and who it calls.
fn calling(notify: bool, plan: Plan) -> (Config, Arc<Recorder>) {
    let recorder = Arc::new(Recorder::default());
    let callbacks = CallbackPolicy {
        notify,
        delay: Duration::ZERO,
        transcode_delay: Duration::from_millis(1),
        ..CallbackPolicy::default()
    };
    let caller = Some(Arc::clone(&recorder) as Arc<dyn Caller>);
    let accounts = account(&format!("callback-url = {ACCOUNT:?}"));
    (Config { callbacks, caller, accounts, plan, ..config() }, recorder)
}

/// Waits until everybody was called who is to be called.
async fn settled(mock: &VodMock) {
    let over = async {
        while mock.callbacks().iter().any(|delivery| delivery.state == DeliveryState::Scheduled) {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), over).await.expect("callbacks go out at once");
}

/// Uploads a file of one part that is to be transcoded, by the legacy family.
async fn notified(mock: &VodMock, file: &[u8]) -> String {
    let said = [("isTranscode", "1"), ("notifyUrl", NOTIFY)];
    legacy::stored(&post(mock, (legacy::next(file, 0, file, &said), file)).await)
}

/// What each callback tells: its task or event, and the code in it.
fn told(calls: &[(String, Value)], url: &str) -> Vec<(String, Value)> {
    let of = |body: &Value| {
        let name = body["task"].as_str().or_else(|| body["eventType"].as_str()).unwrap_or_default();
        let code = ["ret", "status"].iter().map(|code| &body["data"][*code]).find(|code| !code.is_null());
        (name.to_owned(), code.cloned().unwrap_or_default())
    };
    calls.iter().filter(|(called, _)| called == url).map(|(_, body)| of(body)).collect()
}

fn transcode_fault(on: &str, code: i64) -> Plan {
    let text = format!("[[fault]]\nid = \"f\"\non = {on}\nphase = \"before-commit\"\ndo = {{ transcode = {code} }}\n");
    toml::from_str(&text).unwrap()
}

#[tokio::test]
async fn a_notify_url_hears_that_the_file_is_stored_and_then_that_it_is_transcoded() {
    let (config, recorder) = calling(true, Plan::default());
    let mock = mock(config).await;
    let file = file(0);
    let id = notified(&mock, &file).await;
    settled(&mock).await;
    let calls = recorder.0.lock().unwrap().clone();
    let expected = [("file_upload".to_owned(), json!(303)), ("transcode".to_owned(), json!(0))];
    assert_eq!(told(&calls, NOTIFY), expected);
    let transcoded = &calls.iter().rfind(|(url, _)| url == NOTIFY).unwrap().1["data"];
    assert_eq!((&transcoded["vid"], transcoded["file_id"].to_string()), (&json!(id), id.clone()));
    assert_eq!(transcoded["videoUrls"][0]["sha"], Sha1::of(&file).to_string());
    // The account hears of it too, and whoever looks sees both, but no password.
    let events = [("NewFileUpload".to_owned(), Value::Null), ("TranscodeComplete".to_owned(), json!(0))];
    assert_eq!(told(&calls, ACCOUNT), events);
    let seen = get(&mock, "/__vod/callbacks?account=test").await;
    assert_eq!(seen.as_array().map(Vec::len), Some(4));
    assert!(!seen.to_string().contains("sEcReT"), "{seen}");
    // Whoever asks for the file again hears the same, and nobody is called twice.
    assert_eq!(notified(&mock, &file).await, id);
    settled(&mock).await;
    assert_eq!(recorder.0.lock().unwrap().len(), 4);
}

#[tokio::test]
async fn a_planned_failure_of_transcoding_is_told_with_its_code() {
    for code in [-300, -301, -302, -303, -304, -305, -308, -309, -350, -400, -401, -500, -501, -502, -503, -550] {
        let on = "{ action = \"MultipartUploadVodFile\" }";
        let (config, recorder) = calling(true, transcode_fault(on, code));
        let mock = mock(config).await;
        notified(&mock, &file(0)).await;
        settled(&mock).await;
        let calls = recorder.0.lock().unwrap().clone();
        assert_eq!(told(&calls, NOTIFY)[1], ("transcode".to_owned(), json!(code)));
        assert_eq!(told(&calls, ACCOUNT)[1], ("TranscodeComplete".to_owned(), json!(code)));
        let said = &calls.iter().rfind(|(url, _)| url == NOTIFY).unwrap().1["data"];
        assert!(said["videoUrls"] == json!([]) && said["message"] != "", "{said}");
        assert_eq!(mock.unfired(), [""; 0]);
    }
}

/// A failure that is planned for a file waits for the request that stores it.
#[tokio::test]
async fn a_planned_failure_waits_for_the_request_that_stores_the_file() {
    let (config, recorder) = calling(true, transcode_fault("{ action = \"FinishUpload\", times = 1 }", -502));
    let mock = mock(config).await;
    let file = file(0);
    get(&mock, &init(&file)).await;
    assert_code(&get(&mock, &finish(&file)).await, -10003, 0);
    assert_eq!(mock.unfired(), ["f"], "a finish that stores nothing has nothing to spoil");
    post(&mock, part(&file, 0)).await;
    assert_code(&get(&mock, &finish(&file)).await, 0, 0);
    assert_eq!(mock.unfired(), [""; 0]);
    let struck: Vec<_> = mock.exchanges().iter().map(|exchange| exchange.faults.len()).collect();
    assert_eq!(struck, [0, 0, 0, 1]);
    settled(&mock).await;
    // Transcoding was not asked for, so there is only the one event.
    assert_eq!(told(&recorder.0.lock().unwrap(), ACCOUNT), [("NewFileUpload".to_owned(), Value::Null)]);
}

#[tokio::test]
async fn a_planned_failure_reaches_a_file_that_is_put_together_after_a_crash() {
    let store = MemoryStore::new();
    let (before, _) = calling(true, Plan::default());
    let dying = Arc::new(Dying(Arc::clone(&store) as Arc<dyn Store>));
    let mock = VodMock::start_on(before, dying).await.unwrap();
    let file = file(0);
    let said = [("isTranscode", "1"), ("notifyUrl", NOTIFY)];
    let part = || (legacy::next(&file, 0, &file, &said), &file[..]);
    assert_eq!(post(&mock, part()).await["code"], -10004);
    mock.stop().await;
    let (after, recorder) = calling(true, transcode_fault("{ action = \"MultipartUploadVodFile\" }", -503));
    let mock = VodMock::start_on(after, store).await.unwrap();
    legacy::stored(&post(&mock, part()).await);
    assert_eq!(mock.unfired(), [""; 0]);
    legacy::stored(&post(&mock, part()).await);
    settled(&mock).await;
    let calls = recorder.0.lock().unwrap().clone();
    let expected = [("file_upload".to_owned(), json!(303)), ("transcode".to_owned(), json!(-503))];
    assert_eq!(told(&calls, NOTIFY), expected, "once, and with what was planned");
    let struck: Vec<_> = mock.exchanges().iter().map(|exchange| exchange.faults.len()).collect();
    assert_eq!(struck, [1, 0], "a file that is stored already has nothing to spoil");
}

#[tokio::test]
async fn an_account_hears_once_of_a_file_whichever_family_brought_it() {
    let (config, recorder) = calling(false, Plan::default());
    let mock = mock(config).await;
    let (server, device, picture) = (file(0), file(1), vec![7; 10]);
    get(&mock, &init(&server)).await;
    post(&mock, part(&server, 0)).await;
    let token = ugc::token(&(ugc::original(&device) + "&tc=1"));
    get(&mock, &ugc::init(&device, &token)).await;
    for index in [0, 1] {
        assert_code(&post(&mock, ugc::part(&device, index, &token)).await, 0, 0);
    }
    let sha = Sha1::of(&picture).to_string();
    let small = target(
        "POST",
        &[
            ("Action", "SmallFileUpload"),
            ("fileName", "c"),
            ("fileSha", &sha),
            ("fileSize", "10"),
            ("dataSize", "10"),
            ("fileType", "png"),
            ("extra.usage", "1"),
            ("extra.fileId", "5"),
        ],
    );
    let mut ids = Vec::new();
    for _ in 0..2 {
        // The second time each is answered from what is there, as is the opening of either.
        ids.push(get(&mock, &finish(&server)).await["fileId"].clone());
        ids.push(get(&mock, &ugc::finish(&device, &token)).await["fileId"].clone());
        ids.push(post(&mock, (small.clone(), &picture)).await["fileId"].clone());
        assert_code(&get(&mock, &init(&server)).await, 2, 0);
        assert_code(&get(&mock, &ugc::init(&device, &token)).await, 2, 0);
    }
    assert_eq!(ids[..3], ids[3..]);
    settled(&mock).await;
    let calls = recorder.0.lock().unwrap().clone();
    for (id, source, events) in
        [(&ids[0], "ServerUpload", 1), (&ids[1], "ClientUpload", 2), (&ids[2], "ServerUpload", 1)]
    {
        let of: Vec<_> = calls.iter().map(|(_, body)| body).filter(|body| body["data"]["fileId"] == *id).collect();
        assert_eq!(of.len(), events, "{of:?}");
        assert_eq!((&of[0]["eventType"], &of[0]["data"]["sourceType"]), (&json!("NewFileUpload"), &json!(source)));
    }
    assert_eq!(calls.len(), 4);
}

#[tokio::test]
async fn a_notify_url_is_not_called_unless_the_mock_was_told_to() {
    let (config, recorder) = calling(false, Plan::default());
    let mock = mock(config).await;
    notified(&mock, &file(0)).await;
    settled(&mock).await;
    assert_eq!(told(&recorder.0.lock().unwrap(), NOTIFY), []);
    let log = mock.callbacks();
    let withheld: Vec<_> = log.iter().filter_map(|one| one.withheld.map(|why| (one.kind, why))).collect();
    let why = Withheld::NotifyIsOff;
    assert_eq!(withheld, [(Kind::NotifyFileUpload, why), (Kind::NotifyTranscode, why)]);
    assert!(log.iter().all(|one| one.withheld.is_some() == (one.state == DeliveryState::Withheld)), "{log:?}");
}

#[tokio::test]
async fn a_stopped_mock_calls_nobody_any_more() {
    let (mut config, recorder) = calling(true, Plan::default());
    config.callbacks.delay = Duration::from_secs(3600);
    let mock = Mock::open(config, MemoryStore::new()).await.unwrap();
    let port = vod_serve::Port::bind("127.0.0.1:0").await.unwrap();
    let addr = port.addr();
    let serving = tokio::spawn({
        let mock = Arc::clone(&mock);
        async move { mock.serve(port).await }
    });
    let file = file(0);
    let said = [("isTranscode", "1"), ("notifyUrl", NOTIFY)];
    let head = format!(
        "POST {} HTTP/1.1\r\nHost: h\r\nConnection: close\r\nContent-Length: {}\r\n\r\n",
        legacy::next(&file, 0, &file, &said),
        file.len()
    );
    let mut stream = tokio::net::TcpStream::connect(addr).await.unwrap();
    let mut answer = Vec::new();
    tokio::io::AsyncWriteExt::write_all(&mut stream, &[head.as_bytes(), &file].concat()).await.unwrap();
    tokio::io::AsyncReadExt::read_to_end(&mut stream, &mut answer).await.unwrap();
    let states = || mock.callbacks().iter().map(|one| (one.state, one.withheld)).collect::<Vec<_>>();
    assert_eq!(states(), [(DeliveryState::Scheduled, None); 4]);
    mock.stop();
    serving.abort();
    assert_eq!(states(), [(DeliveryState::Withheld, Some(Withheld::MockStopped)); 4]);
    assert_eq!(recorder.0.lock().unwrap().len(), 0);
}

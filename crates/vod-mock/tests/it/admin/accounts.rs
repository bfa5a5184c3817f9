//! Accounts at run time: made, shown without their keys, begun anew, given up; and their clocks.

use std::sync::Arc;

use serde_json::{Value, json};
use tokio::sync::Semaphore;
use vod_mock::{
    Config, MemoryStore, Store, VodMock,
    core::{BodyId, Record},
    store::Staging,
};
use vod_serve::Journal;

use super::{api::Api, uploader::Uploader};
use crate::{
    legacy::Dying,
    ugc,
    wire::{NOW, assert_code, config, file, get, init, json as reply, mock, part, post, send},
};

#[tokio::test]
async fn keys_that_are_made_up_sign_uploads_and_are_told_once() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("journal");
    let mock = mock(Config { journal: Journal::file(&path, 1).unwrap(), ..config() }).await;
    let api = Api::of(&mock).await;
    let uploader = Uploader::new(&mock, &api, "a", json!({})).await;
    let other =
        Uploader::new(&mock, &api, "b", json!({ "verify-key": "vErIfY", "callback-url": "http://u:pAsS@h/?t=tOkEn" }))
            .await;
    let file = file(0);
    uploader.upload(&file).await;
    other.upload(&file).await;
    assert_eq!(api.seen(&uploader.own("uploads")).await[0]["state"], "stored");
    let accounts = api.seen("/__vod/accounts").await;
    let b = &accounts[1];
    assert_eq!(
        (&b["name"], &b["has-verify-key"], &b["callback-url"]),
        (&json!("b"), &json!(true), &json!("http://redacted@h/?redacted"))
    );
    let mut seen = std::fs::read_to_string(&path).unwrap();
    for path in ["accounts", "exchanges", "findings", "faults", "uploads", "callbacks", "metrics"] {
        seen.push_str(&api.get(&format!("/__vod/{path}")).await.text);
    }
    for secret in [&uploader.secret_id, &uploader.secret_key, &other.secret_key, "vErIfY", "pAsS", "tOkEn"] {
        assert!(secret.len() >= 4 && !seen.contains(secret), "{secret} is seen");
    }
    assert_ne!((&uploader.secret_id, &uploader.secret_key), (&other.secret_id, &other.secret_key));
    assert!(uploader.secret_id.len() == 28 && uploader.secret_key.len() == 40, "long enough that nobody guesses them");
}

#[tokio::test]
async fn keys_that_are_given_are_taken_and_not_told() {
    let mock = mock(config()).await;
    let api = Api::of(&mock).await;
    let answer = api.post("/__vod/accounts", &json!({ "name": "a", "secret-id": "iD", "secret-key": "sEcReT" })).await;
    assert!(answer.status == 201 && !answer.text.contains("secret") && !answer.text.contains("sEcReT"), "{answer:?}");
    let half = api.post("/__vod/accounts", &json!({ "name": "b", "secret-id": "iD2" })).await.json();
    assert!(half["secret-key"].is_string() && half.get("secret-id").is_none(), "{half}");
}

#[tokio::test]
async fn an_account_that_cannot_be_is_refused_with_its_place_and_without_its_keys() {
    let mock = mock(config()).await;
    let api = Api::of(&mock).await;
    assert_eq!(api.post("/__vod/accounts", &json!({ "name": "a", "secret-id": "i" })).await.status, 201);
    for (body, status, pointer, words) in [
        (json!({ "name": "a" }), 409, "/name", &["two accounts are named \"a\""][..]),
        (json!({ "name": "b", "secret-id": "i" }), 409, "/secret-id", &["the same secret-id"]),
        (json!({ "name": "a b" }), 400, "/name", &["expected up to 64 letters"]),
        (json!({}), 400, "", &["missing field `name`"]),
        (json!({ "name": "b", "limits": { "part-size-min": 0 } }), 400, "/limits", &["expected at least 1"]),
        (json!({ "name": "b", "callback-url": "ftp://sEcReT/" }), 400, "/callback-url", &["expected a URL"]),
        (json!({ "name": "b", "secret-key": ["sEcReT"] }), 400, "/secret-key", &["expected a string"]),
        (json!({ "name": "b", "app-id": "sEcReT" }), 400, "/app-id", &["expected u64"]),
        (json!({ "name": "b", "secret-key": "" }), 400, "", &["empty secret-id or secret-key"]),
    ] {
        let told = api.post("/__vod/accounts", &body).await.refused(status, "body", words);
        assert!(told["pointer"] == pointer && !told.to_string().contains("sEcReT"), "{body}: {told}");
    }
    let json = [("Content-Type", "application/json")];
    let told = api.ask("POST", "/__vod/accounts", &json, "{\"secret-key\":\"sEcReT\"").await.refused(400, "body", &[]);
    assert!(!told.to_string().contains("sEcReT"), "{told}");
}

#[tokio::test]
async fn an_account_that_was_given_up_leaves_nothing_to_the_next_of_its_name() {
    let mock = mock(config()).await;
    let api = Api::of(&mock).await;
    let gone = Uploader::new(&mock, &api, "a", json!({ "callback-url": "http://127.0.0.1:9/" })).await;
    let file = file(0);
    gone.upload(&file).await;
    assert_eq!(api.seen(&gone.own("callbacks")).await.as_array().unwrap().len(), 1);
    let plan = json!({ "fault": [{ "id": "f", "phase": "before-read", "do": "close" }] });
    assert_eq!(api.post(&gone.own("faults"), &plan).await.status, 201);
    assert_eq!(api.post(&gone.own("clock/advance"), &json!({ "by": "1d" })).await.status, 200);
    assert_eq!(api.delete("/__vod/accounts/a").await.status, 200);
    assert_code(&gone.init(&file).await, -10002, 0);
    let told = api.delete("/__vod/accounts/a").await.refused(404, "path", &["no account named \"a\"", "expected demo"]);
    assert_eq!(told["expected"], json!(["demo"]));
    for path in ["faults", "exchanges", "findings", "uploads", "callbacks"] {
        let told = api.get(&gone.own(path)).await.refused(404, "query", &["no account named \"a\""]);
        assert_eq!((&told["name"], &told["expected"]), (&json!("account"), &json!(["demo"])), "{path}");
    }
    let next = Uploader::new(&mock, &api, "a", json!({})).await;
    assert_eq!(state(&api, &next).await, (0, 0, 0, false));
    assert_eq!(api.seen(&next.own("callbacks")).await, json!([]));
    next.upload(&file).await;
}

/// What an account has to show: uploads, exchanges, faults, and whether its clock was moved.
async fn state(api: &Api, uploader: &Uploader<'_>) -> (usize, usize, usize, bool) {
    let len = async |path| api.seen(&uploader.own(path)).await.as_array().unwrap().len();
    let exchanges = api.get(&uploader.own("exchanges")).await.lines().len();
    let accounts = api.seen("/__vod/accounts").await;
    let find = |name: &str| accounts.as_array().unwrap().iter().find(|account| account["name"] == name).unwrap();
    let day = |account: &Value| account["now"].as_str().unwrap()[..10].to_owned();
    let moved = day(find(&uploader.account)) != day(find("demo"));
    (len("uploads").await, exchanges, len("faults").await, moved)
}

/// A store that forgets so slowly that everybody else goes on meanwhile.
struct Slow(Arc<dyn Store>);

#[async_trait::async_trait]
impl Store for Slow {
    async fn load(&self) -> std::io::Result<Vec<Record>> {
        self.0.load().await
    }

    async fn append(&self, record: &Record) -> std::io::Result<()> {
        if matches!(record, Record::Forgotten { .. }) {
            for _ in 0..1000 {
                tokio::task::yield_now().await;
            }
        }
        self.0.append(record).await
    }

    async fn stage(&self) -> std::io::Result<Box<dyn Staging>> {
        self.0.stage().await
    }

    async fn read(&self, body: BodyId, offset: u64, len: usize) -> std::io::Result<bytes::Bytes> {
        self.0.read(body, offset, len).await
    }

    async fn discard(&self, body: BodyId) {
        self.0.discard(body).await;
    }
}

#[tokio::test]
async fn whoever_was_held_when_an_account_begins_anew_leaves_nothing_there() {
    let mock = VodMock::start_on(config(), Arc::new(Slow(MemoryStore::new()))).await.unwrap();
    let api = Api::of(&mock).await;
    let a = Uploader::new(&mock, &api, "a", json!({})).await;
    let hold = json!({ "id": "f", "on": { "times": 1 }, "phase": "before-commit", "do": { "hold": "door" } });
    for path in [a.own("reset"), "/__vod/reset".to_owned()] {
        // One to be forgotten while the other may go on.
        assert_eq!(a.init(&file(1)).await["code"], 0);
        assert_eq!(api.post(&a.own("faults"), &json!({ "fault": [hold] })).await.status, 201);
        let target = a.init_target(&file(0));
        let begun_anew = async {
            while api.seen(&a.own("faults")).await[0]["held"] != 1 {}
            api.command(&path).await.status
        };
        let (answer, status) = tokio::join!(send(&mock, "GET", &target, b""), begun_anew);
        assert_eq!((answer.unwrap_or_default(), status), (vec![], 200), "it is cut off");
        assert_eq!(state(&api, &a).await, (0, 0, 0, false));
    }
}

/// A store that keeps whoever would write a part waiting, and says so to two others.
struct Gate {
    store: Arc<dyn Store>,
    waits: Semaphore,
    opened: Semaphore,
}

#[async_trait::async_trait]
impl Store for Gate {
    async fn load(&self) -> std::io::Result<Vec<Record>> {
        self.store.load().await
    }

    async fn append(&self, record: &Record) -> std::io::Result<()> {
        if matches!(record, Record::Part { .. }) {
            self.waits.add_permits(2);
            let _let_through = self.opened.acquire().await;
        }
        self.store.append(record).await
    }

    async fn stage(&self) -> std::io::Result<Box<dyn Staging>> {
        self.store.stage().await
    }

    async fn read(&self, body: BodyId, offset: u64, len: usize) -> std::io::Result<bytes::Bytes> {
        self.store.read(body, offset, len).await
    }

    async fn discard(&self, body: BodyId) {
        self.store.discard(body).await;
    }
}

#[tokio::test]
async fn whoever_waits_for_an_upload_when_its_account_is_given_up_leaves_nothing_to_the_next_of_its_name() {
    let gate = Arc::new(Gate { store: MemoryStore::new(), waits: Semaphore::new(0), opened: Semaphore::new(0) });
    let mock = VodMock::start_on(config(), gate.clone()).await.unwrap();
    let api = Api::of(&mock).await;
    let (a, file) = (Uploader::new(&mock, &api, "a", json!({})).await, file(0));
    assert_eq!(a.init(&file).await["code"], 0);
    let target = a.part_target(&file);
    let first = async {
        // It is cut off when what was the account's is forgotten. Only then the upload is let go that the others want.
        assert_eq!(send(&mock, "POST", &target, &file).await.unwrap_or_default(), b"");
        gate.opened.add_permits(1);
    };
    let second = async {
        let _first_waits = gate.waits.acquire().await.unwrap();
        reply(&send(&mock, "POST", &target, &file).await.unwrap())
    };
    let given_up = async {
        let _first_waits = gate.waits.acquire().await.unwrap();
        // Behind the second request, which has found its account by then.
        for _ in 0..20 {
            assert_eq!(api.get("/__vod/health").await.status, 200);
        }
        api.delete("/__vod/accounts/a").await.status
    };
    let ((), second, status) = tokio::join!(first, second, given_up);
    assert_eq!((second["code"].as_i64(), status), (Some(-10005), 200));
    assert_eq!(api.seen("/__vod/uploads").await, json!([]));
    let next = Uploader::new(&mock, &api, "a", json!({})).await;
    assert_eq!(state(&api, &next).await, (0, 0, 0, false));
}

#[tokio::test]
async fn an_upload_that_cannot_be_forgotten_for_good_is_told() {
    let mock = VodMock::start_on(config(), Arc::new(Dying(MemoryStore::new()))).await.unwrap();
    let api = Api::of(&mock).await;
    for path in ["/__vod/reset?account=a", "/__vod/reset"] {
        let a = Uploader::new(&mock, &api, "a", json!({})).await;
        assert_eq!(a.init(&file(0)).await["code"], 0);
        api.command(path).await.refused(500, "server", &["1 uploads", "come back", "All else is forgotten"]);
        assert_eq!(state(&api, &a).await, (0, 0, 0, false), "nobody sees it in this life");
        assert_eq!(a.init(&file(1)).await["code"], 0);
        api.delete("/__vod/accounts/a").await.refused(500, "server", &["1 uploads"]);
        api.get(&a.own("uploads")).await.refused(404, "query", &["no account named"]);
    }
}

#[tokio::test]
async fn one_account_begins_anew_or_all_do() {
    let mock = mock(config()).await;
    let api = Api::of(&mock).await;
    let (a, b) = (Uploader::new(&mock, &api, "a", json!({})).await, Uploader::new(&mock, &api, "b", json!({})).await);
    let file = file(0);
    let plan = json!({ "fault": [{ "id": "f", "on": { "part": 9 }, "phase": "before-read", "do": "close" }] });
    assert_eq!(api.post("/__vod/faults", &plan).await.status, 201);
    let fill = async || {
        for uploader in [&a, &b] {
            uploader.upload(&file).await;
            assert_eq!(api.post(&uploader.own("faults"), &plan).await.status, 201);
            assert_eq!(api.post(&uploader.own("clock/advance"), &json!({ "by": "3d" })).await.status, 200);
            assert_eq!(state(&api, uploader).await, (1, 3, 1, true));
        }
    };
    fill().await;
    assert_eq!(api.command("/__vod/reset?account=a").await.json(), json!({ "reset": ["a"] }));
    assert_eq!((state(&api, &a).await, state(&api, &b).await), ((0, 0, 0, false), (1, 3, 1, true)));
    assert_eq!(api.seen("/__vod/faults").await.as_array().unwrap().len(), 2, "the server's, and b's");
    assert_eq!(api.command("/__vod/reset?account=b").await.status, 200);
    fill().await;
    get(&mock, "/v2/index.php?Action=Nope").await;
    assert_eq!(api.command("/__vod/reset").await.json(), json!({ "reset": ["a", "b", "demo"] }));
    assert_eq!((state(&api, &a).await, state(&api, &b).await), ((0, 0, 0, false), (0, 0, 0, false)));
    assert_eq!((api.seen("/__vod/faults").await, api.get("/__vod/exchanges").await.text), (json!([]), String::new()));
    fill().await;
}

#[tokio::test]
async fn callbacks_of_an_account_that_begins_anew_are_sent_no_more() {
    let mock = mock(config()).await;
    let api = Api::of(&mock).await;
    let called = json!({ "callback-url": "http://127.0.0.1:9/" });
    let (a, b) = (Uploader::new(&mock, &api, "a", called.clone()).await, Uploader::new(&mock, &api, "b", called).await);
    a.upload(&file(0)).await;
    b.upload(&file(0)).await;
    assert_eq!(api.seen("/__vod/callbacks").await.as_array().unwrap().len(), 2);
    assert_eq!(api.command("/__vod/reset?account=a").await.status, 200);
    let left = api.seen("/__vod/callbacks").await;
    assert!(left[0]["account"] == "b" && left.as_array().unwrap().len() == 1, "{left}");
    assert_eq!(api.seen(&a.own("callbacks")).await, json!([]));
}

async fn advance(api: &Api, account: &str, by: &str) -> Value {
    let answer = api.post(&format!("/__vod/clock/advance?account={account}"), &json!({ "by": by })).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.json()["now"].clone()
}

/// A part of the demo account's, and of another's.
async fn parts(mock: &VodMock, file: &[u8], other: &Uploader<'_>) -> (Value, Value) {
    (post(mock, part(file, 0)).await["code"].clone(), other.part(file).await["code"].clone())
}

#[tokio::test]
async fn sessions_expire_by_the_accounts_clock_and_timestamps_go_by_the_machines() {
    let mock = mock(config()).await;
    let api = Api::of(&mock).await;
    let other = Uploader::new(&mock, &api, "other", json!({})).await;
    let file = file(0);
    assert_code(&get(&mock, &init(&file)).await, 0, 0);
    assert_code(&other.init(&file).await, 0, 0);
    let (first, second) = (advance(&api, "demo", "1d").await, advance(&api, "demo", "23h 59m").await);
    assert!(first.as_str().unwrap().starts_with("2017-07-15T02:40:0"), "a day after the second {NOW}: {first}");
    assert!(second.as_str() > first.as_str(), "{second}");
    assert_eq!(parts(&mock, &file, &other).await, (json!(0), json!(0)), "two days are not over");
    advance(&api, "demo", "2d 1s").await;
    // Every request here bears the machine's time of day, which is days behind the account's by now.
    assert_eq!(parts(&mock, &file, &other).await, (json!(-10005), json!(0)));
    let seen = api.seen("/__vod/uploads").await;
    assert_eq!((&seen[0]["state"], &seen[1]["state"]), (&json!("gone"), &json!("open")));
}

#[tokio::test]
async fn upload_signatures_expire_by_the_accounts_clock() {
    let mock = mock(config()).await;
    let api = Api::of(&mock).await;
    let file = file(0);
    let token = ugc::token(&ugc::original(&file));
    let init = ugc::init(&file, &token);
    assert_code(&get(&mock, &init).await, 0, 0);
    advance(&api, "demo", "60d").await;
    let refused = get(&mock, &init).await;
    assert!(refused["code"] != 0 && refused["message"].as_str().unwrap().contains("expire"), "{refused}");
}

#[tokio::test]
async fn timers_do_not_go_by_an_accounts_clock() {
    let mock = mock(config()).await;
    let api = Api::of(&mock).await;
    let plan = json!({ "fault": [
        { "id": "late", "on": { "after": "1h" }, "phase": "before-read", "do": "close" },
        { "id": "now", "phase": "before-read", "do": { "http": { "status": 503 } } },
    ] });
    assert_eq!(api.post("/__vod/faults?account=demo&ttl=2h", &plan).await.status, 201);
    advance(&api, "demo", "2d").await;
    let fates = api.seen("/__vod/faults?account=demo").await;
    assert!(fates[0]["expired"] == false && fates[1]["expired"] == false, "{fates}");
    let answer = send(&mock, "GET", &init(&file(0)), b"").await.unwrap();
    assert!(
        answer.starts_with(b"HTTP/1.1 503 "),
        "what waits for an hour strikes after two days of the account: {answer:?}"
    );
}

#[tokio::test]
async fn a_clock_is_moved_for_one_account_by_a_time_that_can_be_read() {
    let mock = mock(config()).await;
    let api = Api::of(&mock).await;
    let moved = api.post("/__vod/clock/advance", &json!({ "by": "90m" })).await;
    assert_eq!((moved.status, &moved.json()["account"]), (200, &json!("demo")), "there is no other");
    Uploader::new(&mock, &api, "a", json!({})).await;
    let told = api.post("/__vod/clock/advance", &json!({ "by": "90m" })).await;
    let told = told.refused(400, "query", &["account is missing", "expected one of a, demo"]);
    assert_eq!((&told["name"], &told["expected"]), (&json!("account"), &json!(["a", "demo"])));
    for (by, words) in [("soon", "such as \"2d\""), ("-1d", "expected a time"), ("101years", "100 years at most")] {
        let told =
            api.post("/__vod/clock/advance?account=a", &json!({ "by": by })).await.refused(400, "body", &[words]);
        assert_eq!(told["pointer"], "/by", "{told}");
    }
    for _ in 0..120 {
        advance(&api, "a", "100years").await;
    }
    assert!(advance(&api, "a", "1s").await.as_str().unwrap().starts_with("9999-"), "there is an end of time");
    assert_code(&reply(&send(&mock, "GET", &init(&file(0)), b"").await.unwrap()), 0, 0);
}

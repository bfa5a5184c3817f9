//! Faults at run time: planted, seen, let go and lifted.

use serde_json::{Value, json};
use vod_mock::{AdminPlace, AdminPolicy, Config};

use super::{api::Api, uploader::Uploader};
use crate::wire::{assert_code, config, connect, file, init, mock, send};

const TOML: (&str, &str) = ("Content-Type", "application/toml");

fn plan(faults: Value) -> Value {
    json!({ "fault": faults })
}

fn ids(fates: &Value) -> Vec<&str> {
    fates.as_array().unwrap().iter().map(|fate| fate["id"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn an_accounts_faults_strike_it_alone_before_the_servers_and_say_what_became_of_them() {
    let mock = mock(config()).await;
    let api = Api::of(&mock).await;
    let (a, b) = (Uploader::new(&mock, &api, "a", json!({})).await, Uploader::new(&mock, &api, "b", json!({})).await);
    let busy = |id: &str, code: i64| json!({ "id": id, "on": { "times": 1 }, "phase": "before-read", "do": { "reply": { "code": code } } });
    let answer = api.post("/__vod/faults", &plan(json!([busy("server", -1)]))).await;
    assert_eq!((answer.status, answer.json()[0].get("account")), (201, None));
    let answer = api.post(&a.own("faults"), &plan(json!([busy("first", -2), busy("second", -3)]))).await;
    assert_eq!((answer.status, ids(&answer.json())), (201, vec!["first", "second"]));
    let never = "[[fault]]\nid = \"never\"\non = { part = 9 }\nphase = \"before-commit\"\ndo = \"drop-part\"\n";
    let answer = api.ask("POST", &a.own("faults?ttl=1h"), &[TOML], never).await;
    assert_eq!((answer.status, &answer.json()[0]["account"]), (201, &json!("a")));
    let file = file(0);
    for expected in [-2, -3] {
        assert_eq!(a.init(&file).await["code"], expected);
    }
    assert_eq!(b.init(&file).await["code"], -1, "only the server's is there for it");
    assert_eq!(a.init(&file).await["code"], 0);
    let seen = api.seen(&a.own("faults")).await;
    assert_eq!(ids(&seen), ["first", "second", "never"]);
    assert_eq!((&seen[0]["matched"], &seen[0]["struck"], &seen[2]["struck"]), (&json!(3), &json!(1), &json!(0)));
    assert_eq!(ids(&api.seen(&a.own("faults?unfired=1")).await), ["never"]);
    assert_eq!(api.seen(&b.own("faults")).await, json!([]));
    assert_eq!(ids(&api.seen("/__vod/faults").await), ["server", "first", "second", "never"]);
    assert_eq!(ids(&api.seen("/__vod/faults?unfired=true").await), ["never"]);
    assert_eq!(ids(&api.delete("/__vod/faults").await.json()), ["server"], "no account's");
    assert_eq!(api.delete(&a.own("faults/second")).await.json()["struck"], 1);
    let told =
        api.delete(&a.own("faults/second")).await.refused(404, "path", &["the account a has no fault \"second\""]);
    assert_eq!(told["expected"], json!(["first", "never"]));
    api.delete("/__vod/faults/first").await.refused(
        404,
        "path",
        &["the whole server has no fault \"first\": there is none"],
    );
    assert_eq!(ids(&api.delete(&a.own("faults")).await.json()), ["first", "never"]);
    assert_eq!(api.seen("/__vod/faults").await, json!([]));
}

#[tokio::test]
async fn a_fault_strikes_for_its_time_to_live_and_is_shown_as_expired_then() {
    let mock = mock(config()).await;
    let api = Api::of(&mock).await;
    let close = plan(json!([{ "id": "f", "phase": "before-read", "do": "close" }]));
    for ttl in ["0s", "25h", "soon", ""] {
        let told = api.post(&format!("/__vod/faults?ttl={ttl}"), &close).await.refused(400, "query", &["expected"]);
        assert_eq!(told["name"], "ttl");
    }
    assert_eq!(api.seen("/__vod/faults").await, json!([]), "nothing came of those");
    assert_eq!(api.post("/__vod/faults?ttl=1ms", &close).await.status, 201);
    // Each look takes its time, and a millisecond is over before many.
    let mut looks = 0;
    while api.seen("/__vod/faults").await[0]["expired"] == false {
        looks += 1;
        assert!(looks < 10_000, "it lives for ever");
    }
    let answer = send(&mock, "GET", &init(&file(0)), b"").await.unwrap();
    assert!(answer.starts_with(b"HTTP/1.1 200 "), "it strikes no more");
    assert_eq!(api.seen("/__vod/faults?unfired=1").await[0]["matched"], 0);
    let told = api.post("/__vod/faults", &close).await.refused(400, "body", &["its id is taken"]);
    assert_eq!(told["pointer"], "/fault/0", "as long as it is not lifted");
}

#[tokio::test]
async fn a_plan_that_cannot_be_says_where_and_plants_nothing() {
    let mock = mock(config()).await;
    let api = Api::of(&mock).await;
    let good = json!({ "id": "good", "phase": "before-read", "do": "close" });
    let with = |fault: Value| plan(json!([good, fault]));
    for (body, pointer, words) in [
        (plan(json!([])), "/fault", &["no fault"][..]),
        (with(json!({ "phase": "before-read", "do": "close" })), "/fault/1", &["missing field `id`"]),
        (with(json!({ "id": "f", "phase": "later", "do": "close" })), "/fault/1/phase", &["`before-read`"]),
        (
            with(json!({ "id": "f", "phase": "mid-body", "do": { "http": { "status": "x" } } })),
            "/fault/1/do/http/status",
            &["expected u16"],
        ),
        (
            with(json!({ "id": "f", "phase": "mid-reply", "do": { "http": { "status": 503 } } })),
            "/fault/1",
            &["http cannot strike in phase mid-reply"],
        ),
        (
            with(json!({ "id": "f", "phase": "before-read", "do": { "kill": "client" } })),
            "/fault/1",
            &["nobody who kills"],
        ),
        (
            with(json!({ "id": "f", "phase": "before-read", "do": { "refuse": "1s" } })),
            "/fault/1",
            &["the whole port", "--admin-listen"],
        ),
        (with(good.clone()), "/fault/1", &["stands twice"]),
        (
            with(json!({ "id": "f", "on": { "chance": 2 }, "phase": "before-read", "do": "close" })),
            "/fault/1",
            &["chance is 2"],
        ),
        (
            with(json!({ "id": "f", "on": { "account": "nobody" }, "phase": "before-read", "do": "close" })),
            "/fault/1",
            &["no account named \"nobody\"", "make it first", "expected demo"],
        ),
    ] {
        let told = api.post("/__vod/faults", &body).await.refused(400, "body", words);
        assert_eq!(told["pointer"], pointer, "{told}");
    }
    let toml = "[[fault]]\nid = \"a\"\nphase = \"after-commit\"\ndo = \"explode\"\n";
    let told = api.ask("POST", "/__vod/faults", &[TOML], toml).await.refused(400, "body", &["explode", "`reset`"]);
    assert_eq!((&told["line"], &told["column"]), (&json!(4), &json!(6)));
    let told =
        api.ask("POST", "/__vod/faults", &[TOML], &b"id = \"\xff\""[..]).await.refused(400, "body", &["no UTF-8"]);
    assert!(told.get("line").is_none(), "{told}");
    let many: Vec<Value> =
        (0..1001).map(|n| json!({ "id": n.to_string(), "phase": "before-read", "do": "close" })).collect();
    let told = api.post("/__vod/faults", &plan(json!(many))).await.refused(400, "body", &["more than 1000 faults"]);
    assert_eq!(told["pointer"], "/fault/1000");
    let told =
        api.post("/__vod/faults?account=nobody", &with(good.clone())).await.refused(404, "query", &["expected demo"]);
    assert_eq!((&told["name"], &told["expected"]), (&json!("account"), &json!(["demo"])));
    assert_eq!(api.seen("/__vod/faults").await, json!([]));
}

#[tokio::test]
async fn connections_are_refused_only_where_the_admin_api_goes_on() {
    let admin = AdminPolicy { place: AdminPlace::Apart, token: None };
    let mock = mock(Config { admin, ..config() }).await;
    let api = Api::of(&mock).await;
    let refuse =
        plan(json!([{ "id": "f", "on": { "account": "demo" }, "phase": "before-read", "do": { "refuse": "1h" } }]));
    api.post("/__vod/faults?account=demo", &refuse).await.refused(400, "body", &["cannot be the account demo's"]);
    assert_eq!(api.post("/__vod/faults", &refuse).await.status, 201);
    assert_eq!(send(&mock, "GET", &init(&file(0)), b"").await.unwrap(), b"", "it sets the fault off");
    assert!(connect(&mock).await.is_err());
    assert_eq!(api.seen("/__vod/faults").await[0]["struck"], 1);
    assert_eq!(api.get("/__vod/exchanges").await.lines()[0]["end"], "closed");
}

#[tokio::test]
async fn whoever_is_held_is_let_go_by_name_or_with_the_fault() {
    let mock = mock(config()).await;
    let api = Api::of(&mock).await;
    let a = Uploader::new(&mock, &api, "a", json!({})).await;
    let hold = |id: &str| plan(json!([{ "id": id, "phase": "before-read", "do": { "hold": format!("door {id}") } }]));
    let file = file(0);
    let held = async |path: &str| while api.seen(path).await[0]["held"] != 1 {};
    assert_eq!(api.post(&a.own("faults"), &hold("1")).await.status, 201);
    assert_eq!(api.post("/__vod/faults", &hold("2")).await.status, 201);
    let free = async {
        held(&a.own("faults")).await;
        let told =
            api.command(&a.own("release/nothing")).await.refused(404, "path", &["\"nothing\"", "expected door 1"]);
        assert_eq!(told["expected"], json!(["door 1"]));
        api.command("/__vod/release/door%201").await.refused(404, "path", &["the whole server", "expected door 2"]);
        assert_eq!(api.command(&a.own("release/door%201")).await.json(), json!({ "released": 1 }));
    };
    let (reply, ()) = tokio::join!(a.init(&file), free);
    assert_code(&reply, 0, 0);
    assert_code(&a.part(&file).await, 0, 0);
    assert_eq!(
        api.command(&a.own("release/door%201")).await.json(),
        json!({ "released": 0 }),
        "it holds nobody any more"
    );
    let free = async {
        held("/__vod/faults").await;
        assert_eq!(api.delete("/__vod/faults/2").await.json()["held"], 1);
    };
    let demo = init(&file);
    let (answer, ()) = tokio::join!(send(&mock, "GET", &demo, b""), free);
    assert!(answer.unwrap().starts_with(b"HTTP/1.1 200 "));
}

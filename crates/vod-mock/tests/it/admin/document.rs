//! What the mock says of its admin API, held against what that does: neither has anything that the other lacks.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};
use vod_mock::{AdminPlace, AdminPolicy, Config};
use vod_proto::Sha1;

use super::api::Api;
use crate::{
    legacy,
    wire::{PART, account, config, file, finish, get, init, mock, part, post, raw},
};

const METHODS: [&str; 5] = ["GET", "POST", "PUT", "PATCH", "DELETE"];

/// Every operation: its path, its method, and what is said of it.
fn operations(api: &Api) -> Vec<(&str, String, &Value)> {
    let paths = api.document()["paths"].as_object().unwrap().iter();
    let all = paths.flat_map(|(path, operations)| {
        let operations = operations.as_object().unwrap().iter().filter(|(method, _)| *method != "parameters");
        operations.map(move |(method, operation)| (path.as_str(), method.to_uppercase(), operation))
    });
    all.collect()
}

/// The query parameters of an operation, and an example of each.
fn parameters<'a>(api: &'a Api, operation: &Value) -> BTreeMap<&'a str, &'a str> {
    let named = operation["parameters"].as_array().into_iter().flatten();
    let parameters = named.map(|named| api.document().pointer(&named["$ref"].as_str().unwrap()[1..]).unwrap());
    parameters.map(|parameter| (parameter["name"].as_str().unwrap(), parameter["example"].as_str().unwrap())).collect()
}

/// A path with something in every place that is left open.
fn concrete(path: &str) -> String {
    path.replace("{sha}", &Sha1::of(b"nothing").to_string()).replace(['{', '}'], "")
}

fn names(values: &Value) -> BTreeSet<&str> {
    values.as_array().into_iter().flatten().map(|name| name.as_str().unwrap()).collect()
}

/// The names in backticks that an error lists.
fn listed(error: &Value) -> BTreeSet<&str> {
    let (_, expected) = error["error"].as_str().unwrap().split_once("expected").unwrap();
    expected.split('`').skip(1).step_by(2).collect()
}

#[tokio::test]
async fn every_path_method_and_query_parameter_is_documented_and_what_is_documented_is_there() {
    let mock = mock(config()).await;
    let api = Api::of(&mock).await;
    let paths: BTreeSet<&str> = operations(&api).into_iter().map(|(path, ..)| path).collect();
    let unknown = api.get("/__vod/nothing").await.refused(404, "path", &["/__vod/nothing"]);
    assert_eq!(names(&unknown["expected"]), paths);
    for path in paths {
        let own: BTreeSet<_> =
            operations(&api).into_iter().filter(|(other, ..)| *other == path).map(|(_, method, _)| method).collect();
        for method in METHODS.into_iter().filter(|method| !own.contains(*method)) {
            let answer = api.ask(method, &concrete(path), &[], "").await;
            let told = answer.refused(405, "method", &[method]);
            let allowed: BTreeSet<_> = answer.header("allow").split(',').filter(|method| *method != "HEAD").collect();
            assert_eq!(allowed, own.iter().map(String::as_str).collect(), "{path}");
            assert!(own.iter().all(|method| names(&told["expected"]).contains(method.as_str())), "{told}");
        }
    }
    for (path, method, operation) in operations(&api) {
        let (path, parameters) = (concrete(path), parameters(&api, operation));
        let answer = api.ask(&method, &format!("{path}?nonsense=1"), &[], "").await;
        let told = answer.refused(400, "query", &["nonsense"]);
        assert_eq!(
            (told["name"].as_str(), names(&told["expected"])),
            (Some("nonsense"), parameters.keys().copied().collect())
        );
        for (name, example) in parameters {
            let answer = api.ask(&method, &format!("{path}?{name}={example}"), &[], "").await;
            assert!(
                answer.status < 400 || answer.json()["in"] != "query",
                "{method} {path}?{name}={example}: {answer:?}"
            );
            let answer = api.ask(&method, &format!("{path}?{name}={example}&{name}={example}"), &[], "").await;
            answer.refused(400, "query", &[name, "twice"]);
        }
    }
    assert_eq!(api.document()["info"]["version"], env!("CARGO_PKG_VERSION"));
}

#[tokio::test]
async fn bodies_are_taken_as_documented_and_nowhere_else() {
    let described = mock(config()).await;
    let described = Api::of(&described).await;
    for (path, method, operation) in operations(&described).into_iter().filter(|(_, method, _)| method != "GET") {
        // For each a mock of its own: what was made by another example would be in its way.
        let mock = mock(config()).await;
        let (api, path) = (Api::of(&mock).await, concrete(path));
        let Some(content) = operation["requestBody"]["content"].as_object() else {
            let answer = api.ask(&method, &path, &[("Content-Type", "application/json")], "{}").await;
            answer.refused(400, "body", &["2 bytes", "expected none"]);
            continue;
        };
        let known: BTreeSet<&str> = content.keys().map(String::as_str).collect();
        for headers in [&[][..], &[("Content-Type", "text/plain")]] {
            let told = api.ask(&method, &path, headers, "{}").await.refused(415, "header", &["Content-Type"]);
            assert_eq!((told["name"].as_str(), names(&told["expected"])), (Some("Content-Type"), known.clone()));
        }
        for (media, content) in content {
            let headers = [("Content-Type", &*format!("{media}; charset=utf-8"))];
            let broken = api.ask(&method, &path, &headers, "{\n  \"by\" ").await.refused(400, "body", &[]);
            assert!(broken["line"].as_u64() > Some(0) && broken["column"].is_u64(), "{broken}");
            let long = " ".repeat(1_048_577);
            api.ask(&method, &path, &headers, long).await.refused(413, "body", &["1048576 bytes"]);
            for (name, example) in content["examples"].as_object().unwrap() {
                let value = &example["value"];
                api.validate(name, &content["schema"], value);
                let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
                let answer = api.ask(&method, &path, &headers, text).await;
                assert!(answer.status < 300, "{name}: {answer:?}");
            }
        }
    }
}

/// Each schema of a body has the fields that are taken, and no others.
#[tokio::test]
async fn the_fields_of_bodies_are_those_that_are_documented() {
    let mock = mock(config()).await;
    let api = Api::of(&mock).await;
    let fault = |field: &str, value: Value| {
        let mut fault = json!({ "id": "f", "phase": "before-read", "do": "close" });
        fault[field] = value;
        json!({ "fault": [fault] })
    };
    let nonsense = || json!({ "nonsense": 1 });
    let properties = |schema: &str| api.document()["components"]["schemas"][schema]["properties"].clone();
    let verdicts = &api.document()["components"]["schemas"]["Verdict"]["oneOf"];
    let data = &verdicts[1]["properties"];
    let (plan, made, clock) = ("/__vod/faults", "/__vod/accounts", "/__vod/clock/advance");
    let cases = [
        (made, json!({ "name": "a", "nonsense": 1 }), "/nonsense", properties("NewAccount")),
        (made, json!({ "name": "a", "limits": nonsense() }), "/limits/nonsense", properties("Limits")),
        (clock, nonsense(), "/nonsense", properties("Advance")),
        (plan, nonsense(), "/nonsense", properties("Plan")),
        (plan, fault("nonsense", json!(1)), "/fault/0/nonsense", properties("Fault")),
        (plan, fault("on", nonsense()), "/fault/0/on/nonsense", properties("Selector")),
        (
            plan,
            fault("do", json!({ "reply": nonsense() })),
            "/fault/0/do/reply/nonsense",
            data["reply"]["properties"].clone(),
        ),
        (
            plan,
            fault("do", json!({ "http": nonsense() })),
            "/fault/0/do/http/nonsense",
            data["http"]["properties"].clone(),
        ),
        (
            plan,
            fault("do", json!({ "throttle": nonsense() })),
            "/fault/0/do/throttle/nonsense",
            data["throttle"]["properties"].clone(),
        ),
    ];
    for (path, body, pointer, properties) in cases {
        let told = api.post(path, &body).await.refused(400, "body", &["nonsense"]);
        let known: BTreeSet<&str> = properties.as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!((told["pointer"].as_str(), listed(&told)), (Some(pointer), known), "{told}");
    }
    let known: BTreeSet<&str> =
        names(&verdicts[0]["enum"]).into_iter().chain(data.as_object().unwrap().keys().map(String::as_str)).collect();
    let told = api.post(plan, &fault("do", json!("nonsense"))).await.refused(400, "body", &["nonsense"]);
    assert_eq!((told["pointer"].as_str(), listed(&told)), (Some("/fault/0/do"), known));
    let enums = [("phase", "Phase", ""), ("on", "Selector", "action")];
    for (field, schema, property) in enums {
        let schema = &api.document()["components"]["schemas"][schema];
        let (value, known) = match property {
            "" => (json!("nonsense"), &schema["enum"]),
            property => (json!({ property: "nonsense" }), &schema["properties"][property]["enum"]),
        };
        let told = api.post(plan, &fault(field, value)).await.refused(400, "body", &["nonsense"]);
        assert_eq!(listed(&told), names(known), "{told}");
    }
}

/// Everything that can be seen, in a mock where something of everything has happened.
#[tokio::test]
async fn every_operation_answers_as_documented() {
    let config = Config {
        accounts: account("callback-url = \"http://me:sEcReT@127.0.0.1:1/told\""),
        admin: AdminPolicy { place: AdminPlace::Apart, token: None },
        ..config()
    };
    let mock = mock(config).await;
    let api = Api::of(&mock).await;
    // The demo's keys, which all of these requests are signed with, are the account's.
    let plan = json!({ "fault": [
        { "id": "never", "on": { "file-sha": Sha1::of(b"nothing") }, "phase": "before-read", "do": { "refuse": "1s" } },
    ] });
    assert_eq!(api.post("/__vod/faults", &plan).await.status, 201);
    let plan = json!({ "fault": [
        { "id": "busy", "on": { "action": "InitUpload", "times": 1 }, "phase": "before-read", "do": { "http": { "status": 503 } } },
        { "id": "cut", "on": { "action": "FinishUpload", "times": 1 }, "phase": "after-commit", "do": "reset" },
    ] });
    assert_eq!(api.post("/__vod/faults?account=test&ttl=1m", &plan).await.status, 201);
    let file = file(1);
    let ask = async |target: String, body: &[u8]| {
        let method = if body.is_empty() { "GET" } else { "POST" };
        let head = format!(
            "{method} {target} HTTP/1.1\r\nHost: h\r\nConnection: close\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        let _ = raw(&mock, &head, body).await;
    };
    ask(init(&file), b"").await;
    get(&mock, &init(&file)).await;
    for index in 0..2 {
        post(&mock, part(&file, index)).await;
    }
    ask(finish(&file), b"").await;
    get(&mock, &finish(&file)).await;
    post(
        &mock,
        (legacy::next(&file, 0, &file[..PART], &[("isTranscode", "1"), ("notifyUrl", "http://h/")]), &file[..PART]),
    )
    .await;
    post(&mock, (legacy::next(&file, PART, &file[PART..], &[]), &file[PART..])).await;
    ask("/v2/index.php?Action=Nope".to_owned(), b"").await;
    let exchanges = api.get("/__vod/exchanges").await.lines();
    assert!(exchanges.len() > 8 && exchanges.iter().any(|exchange| exchange["end"] == "reset"), "{exchanges:#?}");
    assert_eq!(api.seen("/__vod/findings").await["verdict"], "fail");
    assert_eq!(api.seen("/__vod/uploads?rehash=1").await.as_array().unwrap().len(), 2);
    let seen = api.seen(&format!("/__vod/uploads/{}", Sha1::of(&file))).await;
    assert_eq!(seen[1]["generation"], "legacy");
    let seen = api.seen("/__vod/callbacks").await;
    assert!(seen[0]["account"] == "test" && !seen.to_string().contains("sEcReT"), "{seen}");
    assert_eq!(api.seen("/__vod/faults").await.as_array().unwrap().len(), 3);
    let seen = api.seen("/__vod/accounts").await;
    assert!(seen[0]["name"] == "test" && !seen.to_string().contains("sEcReT"), "{seen}");
    assert_eq!(api.post("/__vod/clock/advance", &json!({ "by": "1h" })).await.status, 200);
    let plan = "[[fault]]\nid = \"held\"\nphase = \"before-read\"\ndo = { hold = \"door\" }\n";
    let toml = [("Content-Type", "application/toml")];
    assert_eq!(api.ask("POST", "/__vod/faults?account=test", &toml, plan).await.status, 201);
    assert_eq!(api.command("/__vod/release/door?account=test").await.json(), json!({ "released": 0 }));
    assert_eq!(api.delete("/__vod/faults/held?account=test").await.json()["id"], "held");
    assert_eq!(api.delete("/__vod/faults").await.json()[0]["id"], "never");
    assert_eq!(api.post("/__vod/accounts", &json!({ "name": "other" })).await.status, 201);
    assert_eq!(api.command("/__vod/reset").await.json(), json!({ "reset": ["other", "test"] }));
    assert_eq!(api.delete("/__vod/accounts/other").await.json(), json!({ "removed": "other" }));
    assert_eq!(api.seen("/__vod/health").await["status"], "ok");
    assert!(api.get("/__vod/metrics").await.text.contains("# TYPE vod_mock_exchanges_total counter\n"));
    api.seen("/__vod/openapi.json").await;
    let all =
        operations(&api).into_iter().map(|(_, _, operation)| operation["operationId"].as_str().unwrap().to_owned());
    assert_eq!(api.done(), all.collect(), "an operation that nobody did");
}

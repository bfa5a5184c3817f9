//! Two hundred tests on one mock at once, none of which can tell that there are others.

use std::{sync::Arc, time::Duration};

use futures_util::future::join_all;
use serde_json::{Value, json};
use tokio::time::timeout;
use vod_mock::VodMock;
use vod_proto::Sha1;

use super::{api::Api, uploader::Uploader};
use crate::wire::{NOW, config, file, mock};

const TESTS: usize = 200;

/// What is different for each of them.
struct Own {
    account: String,
    /// How many `InitUpload` it may send in a minute.
    inits: usize,
    /// The code that its first part is answered with.
    code: i64,
    /// How far its clock is moved.
    hours: i64,
    /// An action that it sends, and one that its own fault would strike if it did.
    sent: &'static str,
    unsent: &'static str,
}

impl Own {
    fn of(n: usize) -> Self {
        let number = i64::try_from(n).unwrap();
        let (sent, unsent) =
            if n.is_multiple_of(2) { ("Report", "SmallFileUpload") } else { ("SmallFileUpload", "Report") };
        let (inits, code, hours) = (3 + n % 3, -20_000 - number, 24 * (number % 5));
        Self { account: format!("test-{n}"), inits, code, hours, sent, unsent }
    }

    fn path(&self, path: &str) -> String {
        format!("/__vod/{path}?account={}", self.account)
    }

    /// Is its session dead when its clock was moved? It lives for two days.
    const fn outlived(&self) -> bool {
        self.hours >= 48
    }
}

/// One test, from the making of its account on.
async fn test(mock: Arc<VodMock>, api: Api, n: usize) {
    let own = Own::of(n);
    let limits = json!({ "limits": { "init-per-minute": own.inits } });
    let one = Uploader::new(&mock, &api, &own.account, limits).await;
    // All upload the same files: whoever saw another's would be told that they are there.
    let (file, second) = (file(0), b"second".to_vec());
    let first_part = json!({ "action": "UploadPart", "attempt": 1, "file-sha": Sha1::of(&file) });
    let plan = json!({ "fault": [
        { "id": format!("own-{}", n % 7), "on": first_part, "phase": "before-commit", "do": { "reply": { "code": own.code } } },
        { "id": "never", "on": { "action": own.unsent }, "phase": "before-read", "do": "reset" },
    ] });
    assert_eq!(api.post(&own.path("faults"), &plan).await.status, 201);
    let codes = [
        one.init(&second).await,
        one.init(&file).await,
        one.part(&file).await,
        one.part(&file).await,
        one.finish(&file).await,
    ];
    let expected = [0, 0, own.code, 0, 0].map(Value::from);
    assert_eq!(codes.map(|reply| reply["code"].clone()), expected, "{n}");
    // Its neighbours would be cut off by this.
    let sent = one.ask(own.sent).await;
    assert!(sent["code"].is_i64(), "{n}: {sent}");
    for more in 3..=own.inits + 1 {
        let expected = if more <= own.inits { 2 } else { 4400 };
        assert_eq!(one.init(&file).await["code"], expected, "{n}: {} a minute, and this is {more}", own.inits);
    }
    let moved = api.post(&own.path("clock/advance"), &json!({ "by": format!("{}h", own.hours) })).await;
    assert_eq!(moved.status, 200, "{moved:?}");
    let expected = if own.outlived() { -10005 } else { 0 };
    assert_eq!(one.part(&second).await["code"], expected, "{n}: {} hours", own.hours);
}

/// What a test finds of its own, when all have done theirs.
async fn evidence(api: Api, n: usize) {
    let own = Own::of(n);
    let fates = api.seen(&own.path("faults")).await;
    let fates = fates.as_array().unwrap().iter().map(|fate| (fate["id"].clone(), fate["struck"].clone()));
    assert_eq!(fates.collect::<Vec<_>>(), [(json!(format!("own-{}", n % 7)), json!(1)), (json!("never"), json!(0))]);
    let exchanges = api.get(&own.path("exchanges")).await.lines();
    assert_eq!(exchanges.len(), 6 + own.inits, "{n}");
    assert!(exchanges.iter().all(|exchange| exchange["account"] == own.account));
    let uploads = api.seen(&own.path("uploads")).await;
    let mut states: Vec<_> = uploads.as_array().unwrap().iter().map(|view| view["state"].as_str().unwrap()).collect();
    states.sort_unstable();
    assert_eq!(states, [if own.outlived() { "gone" } else { "open" }, "stored"], "{n}");
    let findings = api.seen(&own.path("findings")).await;
    let findings = findings["findings"].as_array().unwrap();
    assert!(findings.iter().all(|finding| finding["account"] == own.account), "{findings:?}");
}

/// How many hours each account's clock is ahead of the machine's.
async fn hours(api: &Api) -> Vec<(String, i64)> {
    let accounts = api.seen("/__vod/accounts").await;
    let ahead = accounts.as_array().unwrap().iter().map(|account| {
        let now: jiff::Timestamp = account["now"].as_str().unwrap().parse().unwrap();
        (account["name"].as_str().unwrap().to_owned(), (now.as_second() - NOW) / 3600)
    });
    ahead.collect()
}

async fn all(each: impl Iterator<Item = impl Future<Output = ()> + Send + 'static>) {
    let each: Vec<_> = each.map(tokio::spawn).collect();
    for done in join_all(each).await {
        done.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hundred_tests_at_once_each_have_the_mock_to_themselves() {
    let mock = Arc::new(mock(config()).await);
    let api = Api::of(&mock).await;
    let story = async {
        all((0..TESTS).map(|n| test(Arc::clone(&mock), api.clone(), n))).await;
        all((0..TESTS).map(|n| evidence(api.clone(), n))).await;
        let mut expected: Vec<_> = (0..TESTS).map(Own::of).map(|own| (own.account, own.hours)).collect();
        expected.push(("demo".to_owned(), 0));
        expected.sort();
        assert_eq!(hours(&api).await, expected);
        // Every second one ends; the others have not seen it.
        let gone = |n| {
            let api = api.clone();
            async move { assert_eq!(api.delete(&format!("/__vod/accounts/{}", Own::of(n).account)).await.status, 200) }
        };
        all((0..TESTS).step_by(2).map(gone)).await;
        all((1..TESTS).step_by(2).map(|n| evidence(api.clone(), n))).await;
        api.get(&Own::of(0).path("exchanges")).await.refused(404, "query", &["no account named \"test-0\"", "81 more"]);
        let left: usize = (1..TESTS).step_by(2).map(|n| 6 + Own::of(n).inits).sum();
        assert_eq!(api.get("/__vod/exchanges").await.lines().len(), left);
    };
    timeout(Duration::from_secs(60), story).await.expect("two hundred accounts are too much");
}

//! The mock as a Rust test has it: guards, evidence, expectations, accounts, threads, and the pages that show it.

mod accounts;
mod blocking;
mod evidence;
mod expectations;
mod faults;
mod pages;
mod runtimes;

use std::panic::{AssertUnwindSafe, catch_unwind};

use futures_util::FutureExt as _;
use serde_json::Value;
use vod_mock::{DEMO_SECRET_ID, DEMO_SECRET_KEY, Scope, TestAccount};
use vod_proto::{Action, Sha1};

use crate::uploader::{call, upload};

/// A file of one part.
const SMALL: &[u8] = b"one part and no more";

/// Uploads a file as the demo account.
async fn demo_uploads(mock: &Scope, file: &[u8]) -> Result<String, String> {
    upload(mock.endpoint(), DEMO_SECRET_ID, DEMO_SECRET_KEY, file).await
}

/// Uploads a file as an account of a test.
async fn uploads(account: &TestAccount, file: &[u8]) -> Result<String, String> {
    upload(account.endpoint(), account.secret_id(), account.secret_key(), file).await
}

/// Sends a request of the demo account for a file that says no more, up to three times.
async fn asks(mock: &Scope, action: Action) -> Result<Value, String> {
    let account = (mock.endpoint(), DEMO_SECRET_ID, DEMO_SECRET_KEY);
    call(account, "GET", &[("Action", action.wire_name()), ("fileSha", &Sha1::of(SMALL).to_string())], b"").await
}

/// What a panic says, with the places in these files made the same everywhere.
fn failure(work: impl FnOnce()) -> String {
    told(catch_unwind(AssertUnwindSafe(work)).expect_err("it fails").as_ref())
}

/// The same for something that is waited for.
async fn later_failure<T>(work: impl Future<Output = T>) -> String {
    told(AssertUnwindSafe(work).catch_unwind().await.map(|_| ()).expect_err("it fails").as_ref())
}

fn told(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().cloned();
    let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned())).expect("it says why");
    let mut told = String::new();
    for line in text.lines() {
        // `at crates/vod-mock/tests/it/library/faults.rs:12:34` is `at faults.rs` here.
        let place = line.find(" at ").map(|at| line.split_at(at + 4)).filter(|(_, place)| place.contains(".rs:"));
        match place {
            Some((before, place)) => {
                let (path, rest) = place.split_once(".rs:").expect("it has a line");
                let name = path.rsplit(['/', '\\']).next().unwrap_or_default();
                told.push_str(before);
                told.push_str(name);
                told.push_str(".rs");
                told.push_str(rest.trim_start_matches(|c: char| c.is_ascii_digit() || c == ':'));
            }
            None => told.push_str(line),
        }
        told.push('\n');
    }
    told
}

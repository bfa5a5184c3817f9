//! How the client reaches the mock: over TLS, through proxies, with headers of the caller's own.
//!
//! - `tls`: whom it trusts, and what it says of whom it does not.
//! - `proxies`: what a proxy is asked for, and what it is not told.
//! - `program`: the same from the command line, which shows no secret.
//! - `forward`: a forward proxy of a few lines, which writes down what it is asked.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on says where")]

#[path = "connection/forward.rs"]
mod forward;
#[path = "connection/program.rs"]
mod program;
#[path = "connection/proxies.rs"]
mod proxies;
#[path = "connection/tls.rs"]
mod tls;

use std::time::Duration;

use vod_client::{
    BytesSource, Credentials, Failure, FileFacts, Options, Outcome, RetryPolicy, Trust, UploadError, UploadReport,
    Uploader, exit,
};
use vod_mock::{DEMO_SECRET_ID, DEMO_SECRET_KEY, Sha1, UploadState, VodMock};
use vod_proto::sign::SecretKey;

/// Three parts of the grid that [`options`] asks for.
fn bytes() -> Vec<u8> {
    (0..1_300_000_u32).map(|n| n.to_le_bytes()[0]).collect()
}

/// Soon at the end of its patience, and alone on its connections.
fn options() -> Options {
    let retry = RetryPolicy { attempts: 2, ..RetryPolicy::default() };
    Options { part_size: Some(524_288), parallel: 1, retry, seed: 1, ..Options::default() }
}

fn trusting(mock: &VodMock) -> Options {
    Options { trust: Trust::only(mock.ca_pem().unwrap().as_bytes()).unwrap(), ..options() }
}

async fn upload(endpoint: &str, options: Options) -> Result<UploadReport, UploadError> {
    let credentials = Credentials::new(DEMO_SECRET_ID, SecretKey::new(DEMO_SECRET_KEY));
    let uploader = Uploader::new(endpoint.parse().unwrap(), credentials).options(options);
    let facts = FileFacts::from_path("holiday.mp4".as_ref());
    uploader.upload(BytesSource::new(bytes()), facts).await
}

/// An upload that arrives, whole.
async fn arrives(mock: &VodMock, endpoint: &str, options: Options) -> UploadReport {
    let report = upload(endpoint, options).await.unwrap_or_else(|error| panic!("{error}"));
    assert_eq!((report.outcome, report.parts_sent), (Outcome::Finished, 3));
    let sha = Sha1::of(&bytes());
    let stored = mock.upload(sha).await.expect("it was told to be stored");
    assert_eq!((stored.state, stored.stored_sha1), (UploadState::Stored, Some(sha)));
    report
}

/// An upload that the caller must mend: tried once, with the exit code that says so. Gives back what it says.
async fn must_be_mended(endpoint: &str, options: Options) -> String {
    let error = upload(endpoint, options).await.expect_err("it should fail");
    assert!(matches!(error.failure, Failure::Config(_)), "{error:?}");
    assert_eq!((error.attempts, error.requests, exit::of(&error)), (1, 1, exit::CONFIG), "{error}");
    assert!(!error.may_be_committed, "{error}");
    error.to_string()
}

/// A short time to connect, for what is never answered.
fn hasty(options: Options) -> Options {
    Options { connect_timeout: Duration::from_millis(200), ..options }
}

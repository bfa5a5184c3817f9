//! A mock server of the VOD multipart upload protocol, for tests.
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() {
//! let mock = vod_mock::VodMock::start().await; // a random port of loopback, gone when it is dropped
//! assert!(mock.endpoint().starts_with("http://127.0.0.1:"));
//! # }
//! ```
//!
//! A test needs this crate alone, as a dev-dependency, and `tokio` where it is `async`.
//! The mock takes uploads as the service does, whatever client sends them, and keeps evidence of every request.
//! This page goes from one upload to two hundred tests that share a mock.
//!
//! # An upload
//!
//! In the examples `upload(endpoint, secret_id, secret_key, file)` stands for your own uploader; this one sends each
//! request up to three times. A mock has a demo account, whose key pair is the public example of the documents.
//!
//! ```
//! # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/uploader.rs"));
//! use vod_mock::{DEMO_SECRET_ID, DEMO_SECRET_KEY, Sha1, VodMock};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() {
//! let mock = VodMock::start().await;
//! let file = b"a film, though a short one";
//! upload(mock.endpoint(), DEMO_SECRET_ID, DEMO_SECRET_KEY, file).await.unwrap();
//!
//! let stored = mock.upload(Sha1::of(file)).await.expect("it is there");
//! assert_eq!(stored.stored_sha1, Some(Sha1::of(file))); // of the bytes as they are kept
//! # }
//! ```
//!
//! # A fault
//!
//! Which requests, then when, then what: [`Fault::on`] begins one. Here the file is put together, and the client never
//! hears of it. The fault is there for as long as the value that [`fault`](Scope::fault) gives back.
//!
//! ```
//! # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/uploader.rs"));
//! # use vod_mock::{DEMO_SECRET_ID, DEMO_SECRET_KEY};
//! use vod_mock::{Action, Fault, Verdict, VodMock};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() {
//! let mock = VodMock::start().await;
//! let lost_ack = mock.fault(Fault::on(Action::FinishUpload).attempt(1).after_commit(Verdict::Reset));
//!
//! upload(mock.endpoint(), DEMO_SECRET_ID, DEMO_SECRET_KEY, b"a film").await.unwrap();
//! assert_eq!(lost_ack.struck(), 1);
//! # }
//! ```
//!
//! A fault that never struck fails the test when it is dropped, for a test whose fault did not happen shows nothing.
//! It says what came instead:
//!
//! ```text
//! the fault "finish-upload-attempt-2-after-commit-reset" never struck
//! planted at tests/upload.rs:12:25
//! it strikes FinishUpload, attempt 2, after-commit: reset
//! 0 of 3 requests since then fitted; the nearest:
//!   #3 FinishUpload, attempt 1, account demo: code 0
//!       attempt is 1, expected 2
//! ```
//!
//! So `unwrap` in a test rather than return its errors with `?`: a fault that never struck would hide them. A fault that
//! is left to chance [`may_stay_unused`](PlantedFault::may_stay_unused). One that could never strike is refused where it
//! is planted.
//!
//! Where no data can say what should happen, a closure does, in a [`Phase`] of the request: here part 2 fails twice. A
//! whole plan in TOML is planted by [`plan`](Scope::plan).
//!
//! ```
//! # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/uploader.rs"));
//! # use vod_mock::{DEMO_SECRET_ID, DEMO_SECRET_KEY};
//! use vod_mock::{Action, Fault, Phase, Verdict, VodMock};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() {
//! # let mock = VodMock::start().await;
//! let flaky = mock.fault_fn(Fault::on(Action::UploadPart), Phase::BeforeCommit, |request, attempt| {
//!     (request.part_number == Some(2) && attempt < 3).then(|| Verdict::http(503))
//! });
//! upload(mock.endpoint(), DEMO_SECRET_ID, DEMO_SECRET_KEY, &[7; 700_000]).await.unwrap();
//! assert_eq!(flaky.exchanges().status(503).len(), 2);
//! # }
//! ```
//!
//! A fault can also hold a request until the test lets it go, so that two things meet for certain and nobody sleeps:
//!
//! ```
//! # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/uploader.rs"));
//! # use vod_mock::{Action, DEMO_SECRET_ID, DEMO_SECRET_KEY, Fault, Verdict, VodMock};
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() {
//! let mock = VodMock::start().await;
//! let door = mock.fault(Fault::on(Action::FinishUpload).before_commit(Verdict::hold("door")));
//! let endpoint = mock.endpoint().to_owned();
//! let uploading = tokio::spawn(async move { upload(&endpoint, DEMO_SECRET_ID, DEMO_SECRET_KEY, b"a film").await });
//!
//! door.until_held(1).await; // all parts are there, and the finish waits
//! assert_eq!(mock.uploads().await[0].parts, 1);
//! mock.release("door");
//! uploading.await.unwrap().unwrap();
//! # }
//! ```
//!
//! # The evidence
//!
//! [`exchanges`](Scope::exchanges) gives a slice of [`Exchange`]s that can be narrowed down by what is known of them.
//! Whoever has an answer finds its exchange there, with everything secret taken out.
//!
//! ```
//! # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/uploader.rs"));
//! # use vod_mock::{Action, DEMO_SECRET_ID, DEMO_SECRET_KEY, End, Fault, Verdict, VodMock};
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() {
//! # let mock = VodMock::start().await;
//! let slip = mock.fault(Fault::on(Action::UploadPart).part(2).attempt(1).mid_body(100_000, Verdict::Reset));
//! upload(mock.endpoint(), DEMO_SECRET_ID, DEMO_SECRET_KEY, &[7; 700_000]).await.unwrap();
//!
//! let parts = mock.exchanges().action(Action::UploadPart);
//! assert_eq!(parts.len(), 3);
//! let cut = parts.struck_by(slip.id()).one(); // or the test fails, and shows what there is
//! assert_eq!((cut.end, cut.request.body.len), (End::Reset, 100_000));
//! let finish = mock.exchanges().action(Action::FinishUpload);
//! assert_eq!(finish.after(parts.acknowledged().last().unwrap()).len(), 1);
//! # }
//! ```
//!
//! # Expectations
//!
//! What should come is said beforehand, as a pattern of [`Requests`] and how often, and checked when the mock is dropped
//! or [`verify`](Scope::verify) is called. A failure shows the exchange that came nearest and what it lacks. Where
//! evidence was dropped to keep memory bounded that could tell, an expectation is inconclusive, and fails as well.
//!
//! ```
//! # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/uploader.rs"));
//! # use vod_mock::{DEMO_SECRET_ID, DEMO_SECRET_KEY, VodMock};
//! use vod_mock::{Action, Requests};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() {
//! # let mock = VodMock::start().await;
//! let kept = Requests::of(Action::UploadPart).acknowledged();
//! mock.expect(kept.clone(), 2);
//! mock.expect(Requests::of(Action::UploadPart), ..=4); // with what was sent again
//! mock.expect(Requests::of(Action::FinishUpload).after_last(kept), 1..);
//!
//! upload(mock.endpoint(), DEMO_SECRET_ID, DEMO_SECRET_KEY, &[7; 700_000]).await.unwrap();
//! # }
//! ```
//!
//! # Accounts, and one mock for many tests
//!
//! Each request names its account by its signature. So an account of a test's own keeps the test apart from all others
//! on the same mock: uploads, faults, evidence, expectations and clock are the account's. It is removed when it is
//! dropped.
//!
//! ```
//! # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/uploader.rs"));
//! use tokio::sync::OnceCell;
//! use vod_mock::{Action, Fault, Requests, Verdict, VodMock};
//!
//! /// The mock of this test binary.
//! async fn mock() -> &'static VodMock {
//!     static MOCK: OnceCell<VodMock> = OnceCell::const_new();
//!     MOCK.get_or_init(VodMock::start).await
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() {
//! let account = mock().await.account();
//! let busy = account.fault(Fault::on(Action::InitUpload).attempt(1).before_read(Verdict::http(503)));
//! account.expect(Requests::of(Action::InitUpload), 2);
//!
//! upload(account.endpoint(), account.secret_id(), account.secret_key(), b"a film").await.unwrap();
//! assert_eq!((busy.struck(), account.exchanges().len()), (1, 4));
//! # }
//! ```
//!
//! There is no global state in this crate: that static is yours. Nobody drops it, so what is expected is said to
//! accounts, not to such a mock. Two hundred accounts at once are nothing out of the ordinary.
//!
//! # Time
//!
//! The clock of an account, or of all, can be moved on. Sessions and upload signatures expire by it; nobody waits.
//!
//! ```
//! # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/uploader.rs"));
//! use std::time::Duration;
//! use vod_mock::{Action, Fault, Sha1, UploadState, Verdict, VodMock};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() {
//! # let mock = VodMock::start().await;
//! let account = mock.account();
//! let refused = account.fault(Fault::on(Action::FinishUpload).before_read(Verdict::http(500)));
//! upload(account.endpoint(), account.secret_id(), account.secret_key(), b"a film").await.unwrap_err();
//! drop(refused);
//!
//! account.advance(Duration::from_secs(49 * 3600)).await; // a session lives for two days
//! assert_eq!(account.upload(Sha1::of(b"a film")).await.unwrap().state, UploadState::Gone);
//! # }
//! ```
//!
//! # Threads and runtimes
//!
//! A mock lives on a thread of its own. It answers also while a test blocks its only thread, as with a client that is a
//! process, and it outlives the runtime of the test that started it.
//!
//! Only where the runtime's clock is paused (`#[tokio::test(start_paused = true)]`) it lives in that runtime and goes by
//! that clock, so that delays pass at once; then the test must not block. A mock that is shared should be started
//! elsewhere. Sockets and a paused clock are no perfect match: where nothing but the network is waited for, time jumps
//! to the next timeout. A client that can be given a connection is better joined by [`Mock::connection`], in memory.
//!
//! # Without async
//!
//! [`blocking`] has the same names for a plain `#[test]`; a static `LazyLock<VodMock>` is shared by many:
//!
//! ```
//! # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/uploader.rs"));
//! use vod_mock::{Action, Fault, Verdict, blocking::VodMock};
//!
//! # fn main() {
//! let mock = VodMock::start();
//! let reset = mock.fault(Fault::on(Action::InitUpload).attempt(1).before_read(Verdict::Reset));
//! // … a client that blocks the thread, or a process …
//! # let account = mock.account();
//! # let done = upload(mock.endpoint(), account.secret_id(), account.secret_key(), b"a film");
//! # tokio::runtime::Runtime::new().unwrap().block_on(done).unwrap();
//! reset.until_struck();
//! # }
//! ```
//!
//! # TLS
//!
//! [`VodMock::start_tls`] speaks TLS under the names of the service, with a CA that is made for it. A client trusts
//! [`ca_pem`](Scope::ca_pem) and connects to the endpoint, in the belief that it is `vod2.qcloud.com`.
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() {
//! let mock = vod_mock::VodMock::start_tls().await;
//! assert!(mock.endpoint().starts_with("https://127.0.0.1:"));
//! assert!(mock.ca_pem().unwrap().starts_with("-----BEGIN CERTIFICATE-----"));
//! # }
//! ```
//!
//! # The rooms of this crate
//!
//! - [`VodMock`], [`TestAccount`]: a mock in a test, and an account of it; [`Scope`] has what both can do.
//! - [`blocking`]: the same without a runtime.
//! - [`core`]: what the server accepts in which state, as pure decisions and records; no clock, no socket, no file.
//! - [`store`]: where bodies and records are kept: in memory, on disk so that they survive a kill, or as digests
//!   alone.
//! - [`Mock`], [`Config`]: the rim that joins both to [`vod_serve`]; for hosts that bring their own listener.
//! - [`Tls`]: whose certificate a mock shows that speaks TLS, and for which hosts.
//! - [`accounts`]: whose requests are answered.
//! - [`callbacks`]: calls an application's own server back, where it is told to.
//! - [`cli`], [`exit`]: the `vod-mock` binary.

pub mod accounts;
mod admin;
pub mod blocking;
pub mod callbacks;
pub mod cli;
pub mod core;
mod cors;
pub mod exit;
mod mind;
mod mock;
#[cfg(feature = "mutants")]
pub mod mutant;
mod namespace;
mod rates;
mod requests;
pub mod store;
mod view;
mod vod_mock;

pub use accounts::{Account, Accounts, AccountsError, DEMO_SECRET_ID, DEMO_SECRET_KEY, DEMO_VERIFY_KEY};
pub use admin::{AdminPlace, AdminPolicy, AdminToken, BadToken};
pub use callbacks::{CallbackPolicy, Caller, Delivery};
pub use mock::{Config, Mock, OpenError, UnknownAccount};
pub use requests::Auth;
pub use store::{DigestStore, DiskStore, MemoryStore, Store};
pub use view::{UploadState, UploadView};
pub use vod_mock::{Exchanges, Expectation, PlantedFault, Requests, Scope, TestAccount, Times, VodMock, When};
pub use vod_proto::{Action, Code, Exchange, Limits, Sha1, exchange::End, lint::Findings, rules::Profile};
pub use vod_serve::{
    Journal, Killer, Plan, Subject, WallClock,
    fault::{Aim, Fate, Fault, ListLie, Phase, ReplyFault, Spread, Throttle, Verdict},
    tls::Tls,
};
// For what is rarer than that: a test needs no other crate of this workspace.
pub use {vod_proto, vod_serve};

//! A mock server of the VOD multipart upload protocol.
//!
//! - [`VodMock`]: starts one in a test, in one line.
//! - [`core`]: what the server accepts in which state, as pure decisions and records; no clock, no socket, no file.
//! - [`store`]: where bodies and records are kept: in memory, on disk so that they survive a kill, or as digests
//!   alone.
//! - [`Mock`], [`Config`]: the rim that joins both to `vod-serve`; for hosts that bring their own listener.
//! - [`Tls`]: whose certificate a mock shows that speaks TLS, and for which hosts.
//! - [`accounts`]: whose requests are answered.
//! - [`callbacks`]: calls an application's own server back, where it is told to.
//! - [`cli`], [`exit`]: the `vod-mock` binary.
//!
//! ```
//! # tokio::runtime::Runtime::new().unwrap().block_on(async {
//! let mock = vod_mock::VodMock::start().await;
//! assert!(mock.endpoint().starts_with("http://127.0.0.1:"));
//! // … upload something to it …
//! assert!(mock.exchanges().is_empty());
//! # });
//! ```

pub mod accounts;
mod admin;
pub mod blocking;
pub mod callbacks;
pub mod cli;
pub mod core;
mod cors;
pub mod exit;
mod kill;
mod mind;
mod mock;
mod namespace;
mod open_files;
mod rates;
mod requests;
pub mod store;
mod tls;
mod view;
mod vod_mock;

pub use accounts::{Account, Accounts, AccountsError, DEMO_SECRET_ID, DEMO_SECRET_KEY, DEMO_VERIFY_KEY};
pub use admin::{AdminPlace, AdminPolicy, AdminToken, BadToken};
pub use callbacks::{CallbackPolicy, Caller, Delivery};
pub use mock::{Config, Mock, OpenError, UnknownAccount};
pub use requests::Auth;
pub use store::{DigestStore, DiskStore, MemoryStore, Store};
pub use tls::Tls;
pub use view::{UploadState, UploadView};
pub use vod_mock::{Exchanges, Expectation, PlantedFault, Requests, Scope, TestAccount, Times, VodMock, When};
pub use vod_serve::fault::{Fault, Phase, Verdict};

/// Compiles the Rust in the README, so that it stays true.
#[cfg(doctest)]
#[doc = include_str!("../../../README.md")]
struct Readme;

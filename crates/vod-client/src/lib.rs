//! A client of the VOD multipart upload protocol: fast, resumable, honest.
//!
//! - [`Uploader`]: takes a source to an endpoint, and tells an [`UploadReport`] or an [`UploadError`].
//! - `core`: the machine that decides. No I/O, no runtime, no clock: `now` is an argument. `core/retry.rs` is the only
//!   place that answers *may this be tried again, and when*.
//! - `driver`: does what the core says, over tokio; `signer`: the line of a request, as its family and dialect have it;
//!   `http`: one request, its stall watchdog, what came of it.
//! - `connection`: whom to trust ([`Trust`]), through which proxy ([`Proxies`]), with which [`Headers`]; `http/dial.rs`
//!   does it, over any transport.
//! - `source`: bytes that can be read again, and their SHA-1; [`FileFacts`]: what the service is told about them.
//! - `clock`: the only file that reads a clock or draws a seed.
//! - `error`, `report`, `event`: how it ended, and what happens meanwhile.
//! - [`cli`], [`exit`]: the program `vod-client` and its exit codes.
//!
//! Everything is generic over the connector, and with [`Work::Inline`], a fixed [`WallClock`] and a seed, an upload runs
//! on one thread in tokio's time alone: the same seed and the same replies give the same requests.

pub mod cli;
mod clock;
mod connection;
mod core;
mod driver;
mod error;
mod event;
pub mod exit;
mod http;
mod report;
mod signer;
mod source;
mod uploader;

pub use crate::{
    clock::WallClock,
    connection::{Headers, Proxies, Trust},
    core::RetryPolicy,
    error::{ConfigError, Failure, GaveUp, SourceError, TransportError, UploadError},
    event::{Event, Events},
    http::Connect,
    report::{Outcome, UploadReport},
    source::{BytesSource, FileSource, Identity, Source, Work},
    uploader::{Credentials, Dialect, Endpoint, Options, Uploader},
};
pub use vod_proto::{Action, Code, Family, FileFacts, PartSpan, Sha1, reply::Rejected, sign::SecretKey};

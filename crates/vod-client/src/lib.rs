//! A client of the VOD multipart upload protocol: fast, resumable, honest.
//!
//! - *Fast*: a file is read once for all its digests, on every core; parts are sent side by side, in memory that is
//!   bounded by them.
//! - *Resumable*: the server's list of parts is the truth, and no local state is needed. What it acknowledged is not
//!   sent again.
//! - *Honest*: nothing is called stored before the server has said so, and a failure behind which the file may be
//!   stored all the same says that.
//!
//! # An upload
//!
//! An [`Uploader`] is for one endpoint and one key pair. [`Options`] say which [`Family`] of calls an upload is made of,
//! how many parts are under way at once, when a request is tried again, and all else; each default stands there with its
//! reason.
//!
//! ```
//! use vod_client::{Credentials, FileFacts, FileSource, Options, SecretKey, Uploader};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let mock = vod_mock::VodMock::start().await;
//! # let (endpoint, id, key) = (mock.endpoint(), vod_mock::DEMO_SECRET_ID, vod_mock::DEMO_SECRET_KEY);
//! # let dir = tempfile::tempdir()?;
//! # let path = dir.path().join("film.mp4");
//! # std::fs::write(&path, vec![7; 3 << 20])?;
//! let uploader = Uploader::new(endpoint.parse()?, Credentials::new(id, SecretKey::new(key)))
//!     .options(Options { parallel: 8, ..Options::default() });
//! let report = uploader.upload(FileSource::open(&path)?, FileFacts::from_path(&path)).await?;
//! println!("{} is stored as {}", path.display(), report.file_id);
//! # assert_eq!(report.parts_sent, 3);
//! # Ok(())
//! # }
//! ```
//!
//! An [`UploadReport`] also says [which way](Outcome) the file came to be stored. An [`UploadError`] tells the whole
//! story in a sentence; its [`Failure`] says who must act, and [`may_be_committed`](UploadError::may_be_committed)
//! whether the server may have the file nevertheless.
//!
//! # Without async
//!
//! [`blocking::Uploader`] is made of an uploader, and needs no runtime.
//!
//! ```
//! use vod_client::{BytesSource, Credentials, FileFacts, SecretKey, Uploader, blocking};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let mock = vod_mock::blocking::VodMock::start();
//! # let (endpoint, id, key) = (mock.endpoint(), vod_mock::DEMO_SECRET_ID, vod_mock::DEMO_SECRET_KEY);
//! let uploader = Uploader::new(endpoint.parse()?, Credentials::new(id, SecretKey::new(key)));
//! let film = BytesSource::new("a film, though a short one");
//! blocking::Uploader::new(uploader)?.upload(film, FileFacts::from_path("film.mp4".as_ref()))?;
//! # Ok(())
//! # }
//! ```
//!
//! # What happens meanwhile
//!
//! [`upload_observed`](Uploader::upload_observed) calls a closure with each [`Event`]: from the queue over each attempt,
//! with the reason and the delay of those that are made again, to the end. [`Events`] makes a stream of it, in bounded
//! memory, for which no upload waits.
//!
//! ```
//! # use vod_client::{BytesSource, Credentials, FileFacts, SecretKey, Uploader};
//! use vod_client::{Event, Events};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let mock = vod_mock::VodMock::start().await;
//! # let credentials = Credentials::new(vod_mock::DEMO_SECRET_ID, SecretKey::new(vod_mock::DEMO_SECRET_KEY));
//! # let uploader = Uploader::new(mock.endpoint().parse()?, credentials);
//! # let (film, facts) = (BytesSource::new(vec![7; 3 << 20]), FileFacts::from_path("film.mp4".as_ref()));
//! let (tell, mut events) = Events::channel();
//! let watching = tokio::spawn(async move {
//!     let (mut stored, mut size) = (0, 0);
//!     while let Some(event) = events.next().await {
//!         match event {
//!             Event::Queued { total } => size = total,
//!             Event::PartDone { span, .. } => stored += span.len,
//!             Event::AttemptFailed { failure, retry_in: Some(delay), .. } => eprintln!("{failure}; again in {delay:?}"),
//!             _ => {} // more may come
//!         }
//!     }
//!     (stored, size)
//! });
//! uploader.upload_observed(film, facts, tell).await?;
//! assert_eq!(watching.await?, (3 << 20, 3 << 20));
//! # Ok(())
//! # }
//! ```
//!
//! # Stopping and resuming
//!
//! To stop an upload, drop its future, wherever it waits. Connections on which it was sending are closed, and no task of
//! it goes on; only what is being read of a file at that moment is read to its end, on a thread of its own, for nobody.
//! Uploading the same bytes again, from any process on any machine, sends what the server has not acknowledged; in the
//! legacy family also the first part, which is how to ask. A small cover, which is sent whole, is sent whole again.
//!
//! ```
//! # use vod_client::{BytesSource, Credentials, FileFacts, Options, SecretKey, Uploader};
//! # use vod_mock::{Action, Fault, Verdict};
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let mock = vod_mock::VodMock::start().await;
//! # let credentials = Credentials::new(vod_mock::DEMO_SECRET_ID, SecretKey::new(vod_mock::DEMO_SECRET_KEY));
//! # let uploader = Uploader::new(mock.endpoint().parse()?, credentials)
//! #     .options(Options { parallel: 1, ..Options::default() });
//! # let (film, facts) = (BytesSource::new(vec![7; 3 << 20]), FileFacts::from_path("film.mp4".as_ref()));
//! # let third = mock.fault(Fault::on(Action::UploadPart).part(3).attempt(1).before_read(Verdict::hold("door")));
//! # let stopped = third.until_held(1);
//! tokio::select! {
//!     _ = uploader.upload(film.clone(), facts.clone()) => unreachable!("the third part is held"),
//!     () = stopped => {} // Ctrl-C, a button, a timeout
//! }
//! # drop(third);
//! let report = uploader.upload(film, facts).await?;
//! assert!(report.parts_skipped >= 2, "two of three were there; what was under way may have arrived");
//! # Ok(())
//! # }
//! ```
//!
//! With [`Options::digest_cache`] a large file is not even read again to be resumed.
//!
//! # A source of your own
//!
//! A file is a [`FileSource`], bytes in memory are a [`BytesSource`]; whatever else can be read at any place is a
//! [`Source`] as soon as it says how. Sources are read where that may block, never where the sockets are served.
//!
//! ```
//! # use vod_client::{BytesSource, Credentials, FileFacts, SecretKey, Uploader};
//! use vod_client::Source;
//!
//! /// So many bytes of silence.
//! struct Silence(u64);
//!
//! impl Source for Silence {
//!     fn len(&self) -> u64 {
//!         self.0
//!     }
//!
//!     fn read_at(&self, _offset: u64, buffer: &mut [u8]) -> std::io::Result<()> {
//!         buffer.fill(0);
//!         Ok(())
//!     }
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let mock = vod_mock::VodMock::start().await;
//! # let credentials = Credentials::new(vod_mock::DEMO_SECRET_ID, SecretKey::new(vod_mock::DEMO_SECRET_KEY));
//! # let uploader = Uploader::new(mock.endpoint().parse()?, credentials);
//! let report = uploader.upload(Silence(3 << 20), FileFacts::from_path("silence.mp3".as_ref())).await?;
//! assert_eq!(report.bytes_sent, 3 << 20);
//! # Ok(())
//! # }
//! ```
//!
//! # The rooms of this crate
//!
//! - [`Uploader`]: takes a source to an endpoint, and tells an [`UploadReport`] or an [`UploadError`]; [`blocking`] does
//!   so without a runtime.
//! - `core`: the machine that decides. No I/O, no runtime, no clock: `now` is an argument. `core/retry.rs` is the only
//!   place that answers *may this be tried again, and when*.
//! - `driver`: does what the core says, over tokio; `signer`: the line of a request, as its family and dialect have it;
//!   `http`: one request, its stall watchdog, what came of it.
//! - `connection`: whom to trust ([`Trust`]), through which proxy ([`Proxies`]), with which [`Headers`]; `http/dial.rs`
//!   does it, over any transport.
//! - `source`: bytes that can be read at any place, and their digests; [`FileFacts`]: what the service is told about
//!   them.
//! - `clock`: the only file that reads a clock or draws a seed.
//! - `error`, `report`, `event`: how it ended, and what happens meanwhile. [`exit`] has an exit code for each failure.
//! - [`cli`]: the program `vod-client`.
//!
//! Everything is generic over the connector, and with [`Work::Inline`], a fixed [`WallClock`] and a seed, an upload runs
//! on one thread in tokio's time alone: the same seed and the same replies give the same requests.

pub mod blocking;
pub mod cli;
mod clock;
mod connection;
mod core;
mod driver;
mod error;
mod event;
pub mod exit;
mod http;
#[cfg(feature = "mutants")]
pub mod mutant;
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

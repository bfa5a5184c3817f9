//! The VOD multipart upload protocol as data: what both ends, the judge and the documents agree on.
//!
//! - [`action`], [`request`], [`reply`]: what is asked and answered, as types that cannot be wrong.
//! - [`params`], [`facts`]: every parameter by its name, and what is said of a file.
//! - [`query`], [`sign`]: the bytes of a request line, and the signature over them.
//! - [`ugc`]: the upload signature that an application hands to its users' devices.
//! - [`code`], [`retry`]: every code the server may answer, what it means, and what may be sent again.
//! - [`layout`], [`limits`]: how a file is cut into parts, and the numbers that bound it; [`Size`] as people write it.
//! - [`digest`]: SHA-1 of a file, MD5 of a part.
//! - [`rules`]: what is demanded of a client, each demand with its source.
//! - [`lint`]: every rule against a list of exchanges, with the exchanges that prove a breach.
//! - [`verdict`]: what a judgement comes to, also where evidence is missing.
//! - [`event`]: what the service tells an application's own server of a file.
//! - [`exchange`], [`redact`]: a request and what came of it, and what is removed before it is kept.
//! - [`timeline`]: a list of exchanges as people read it.
//!
//! Nothing here opens a socket or a file, reads a clock or draws a random number.
//! `clippy.toml` beside this crate's manifest and `cargo xtask ci` prove it.

pub mod action;
pub mod code;
pub mod digest;
pub mod event;
pub mod exchange;
pub mod facts;
pub mod layout;
pub mod limits;
pub mod lint;
pub mod params;
pub mod query;
pub mod redact;
pub mod reply;
pub mod request;
pub mod retry;
pub mod rules;
pub mod sign;
mod size;
pub mod timeline;
pub mod ugc;
pub mod verdict;

pub use action::{Action, Family};
pub use code::Code;
pub use digest::{Md5, Sha1};
pub use exchange::Exchange;
pub use facts::FileFacts;
pub use layout::{Layout, LegacyLayout, PartSpan};
pub use limits::Limits;
pub use query::Query;
pub use request::{FinishUpload, InitUpload, NextPart, Request, SmallFile, UploadPart};
pub use size::Size;
pub use verdict::Verdict;

/// The host that clients believe they talk to, and therefore sign for, whatever address they connect to.
///
/// Source: `docs/protocol.md`, *Hosts and paths*.
pub const SIGN_HOST: &str = "vod2.qcloud.com";

/// The host that clients of the legacy family sign for.
pub const LEGACY_SIGN_HOST: &str = "vod.qcloud.com";

/// The hosts of the service: those two, and the one that the rest of its API is on.
pub const SIGN_HOSTS: [&str; 3] = [SIGN_HOST, LEGACY_SIGN_HOST, "vod.api.qcloud.com"];

/// The path in the documents.
pub const PATH_V2: &str = "/v2/index.php";

/// The path most real clients use; no document names it.
pub const PATH_V3: &str = "/v3/index.php";

//! What the server accepts in which state: pure decisions over records.
//!
//! An [`Upload`] is the fold of its [`Record`]s and nothing else, so that what a store reads back after a crash
//! is exactly what was acknowledged before it.
//! Decisions (`decide_*`) change nothing; they return the record that would.

mod history;
mod prefix;
mod record;
mod upload;

pub(crate) use history::History;
pub use prefix::Prefix;
pub use record::{BodyId, Generation, Opened, Record, UploadKey};
#[cfg(not(feature = "mutants"))]
pub use upload::Upload;
pub use upload::{Finish, InitDecision, KeptPart, NextCheck, PartCheck, Session, StoredFile, no_session};
#[cfg(feature = "mutants")]
pub use {crate::mutant::Upload, upload::Upload as Decides};

use vod_proto::{Code, reply::Rejected};

use vod_serve::program::shortened;

/// A refusal with the `canRetry` that belongs to its code. Of a long message the middle is left out.
#[must_use]
pub fn refuse(code: Code, message: impl Into<String>) -> Rejected {
    Rejected { code, can_retry: Some(code.can_retry()), message: shortened(message.into()) }
}

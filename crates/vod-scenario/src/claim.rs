//! A client that claims to have another file: it goes by a digest that was kept of something else.
//!
//! Our own client believes what stands in its directory of digests, if that is about the very file that it uploads.
//! So an entry is put there that names this file and another's SHA-1. If the client did not believe it, it would upload
//! its file under its own digest, and the story would not end as it says.

use std::path::{Path, PathBuf};

use serde_json::json;
use tempfile::TempDir;
use vod_client::Identity;
use vod_proto::Sha1;

use crate::{not_run::NotRun, source::SourceFacts};

/// What an entry begins with, as `vod-client` writes it.
const FORMAT: &str = "vod-client digests 1";

/// A directory of digests with one entry, which is not true.
#[derive(Debug)]
pub(crate) struct Claim {
    dir: TempDir,
    identity: Identity,
}

impl Claim {
    /// A claim of bytes in memory, which lie nowhere.
    pub(crate) fn of(source: SourceFacts) -> Result<Self, NotRun> {
        let path = PathBuf::from("/claimed");
        let identity = Identity { path, len: source.size, modified: (0, 0), changed: None, place: None };
        Self::that(identity, source.sha1)
    }

    /// A claim that what is known by this identity has this SHA-1.
    pub(crate) fn that(identity: Identity, sha1: Sha1) -> Result<Self, NotRun> {
        let written = || {
            let dir = tempfile::tempdir()?;
            // On no grid: the MD5 of each part is taken when it is sent, and is true.
            let entry = json!({ "identity": identity, "sha1": sha1, "grid": 0, "md5s": [] }).to_string();
            let text = format!("{FORMAT} {}\n{entry}\n", Sha1::of(entry.as_bytes()));
            let name = Sha1::of(identity.path.as_os_str().as_encoded_bytes());
            std::fs::write(dir.path().join(format!("{name}.digests")), text)?;
            Ok(dir)
        };
        let dir = written().map_err(|source| NotRun::Setup { what: "write a digest to go by".to_owned(), source })?;
        Ok(Self { dir, identity })
    }

    /// Where it stands.
    pub(crate) fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// What it is about.
    pub(crate) fn identity(&self) -> Identity {
        self.identity.clone()
    }
}

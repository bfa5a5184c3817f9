//! Uploads as they can be seen from outside.

use serde::{Deserialize, Serialize};
use vod_proto::{FileFacts, Sha1, event::redacted_url};
use vod_serve::journal::Whose;

use crate::{
    core::{Generation, Session, UploadKey},
    mind::{Mind, Slot},
    namespace::Namespace,
};

/// An upload as it can be seen from outside.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct UploadView {
    /// Whose it is.
    pub account: String,
    /// Which generation of the service it belongs to.
    pub generation: Generation,
    /// Which file.
    pub file_sha1: Sha1,
    /// How far it is.
    pub state: UploadState,
    /// What was said of the file, by the first request of its session; user, password and query of its `notify-url` are not
    /// shown.
    pub file: Option<FileFacts>,
    /// The file's size in bytes, as announced.
    pub file_size: Option<u64>,
    /// The grid in bytes.
    pub part_size: Option<u64>,
    /// How many parts are kept.
    pub parts: u64,
    /// The id that was handed out.
    pub file_id: Option<String>,
    /// How often the file was put together.
    pub commits: u64,
    /// The SHA-1 of the stored bytes, read again for this view where that was asked for. Of a store that cannot read
    /// again, it is what the bytes made when they were taken in: never what was announced.
    pub stored_sha1: Option<Sha1>,
}

/// How far an upload is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum UploadState {
    /// Parts are taken.
    Open,
    /// It was put together.
    Stored,
    /// Neither is left: the session was dropped, or has outlived its time.
    Gone,
}

impl std::fmt::Display for UploadState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Open => "open",
            Self::Stored => "stored",
            Self::Gone => "gone",
        })
    }
}

/// What may be shown of what was said of a file.
fn shown(facts: &FileFacts) -> FileFacts {
    FileFacts { notify_url: facts.notify_url.as_deref().map(redacted_url), ..facts.clone() }
}

impl Mind {
    /// These uploads as they can be seen from outside; `rehash` reads stored files again.
    pub(crate) async fn views(&self, whose: &Whose, rehash: bool) -> Vec<UploadView> {
        let mut views = Vec::new();
        let spaces = self.namespaces().spaces().into_iter();
        for space in spaces.filter(|space| whose.is(Some(space.name()))) {
            for (key, slot) in space.slots() {
                views.extend(self.view(&space, key, &slot, rehash).await);
            }
        }
        views
    }

    /// The uploads of one file as they can be seen from outside.
    pub(crate) async fn view_of(&self, whose: &Whose, file_sha1: Sha1, rehash: bool) -> Vec<UploadView> {
        let mut views = self.views(whose, false).await;
        views.retain(|view| view.file_sha1 == file_sha1);
        if rehash {
            for view in &mut views {
                let Some(space) = self.namespaces().space(&view.account) else { continue };
                let Some(slot) = space.slot(view.generation, file_sha1) else { continue };
                let key = space.key(view.generation, file_sha1);
                if let Some(read) = self.view(&space, key, &slot, true).await {
                    *view = read;
                }
            }
        }
        views
    }

    async fn view(&self, space: &Namespace, key: UploadKey, slot: &Slot, rehash: bool) -> Option<UploadView> {
        let (mut view, stored) = {
            let upload = slot.upload.lock().await;
            if !upload.ever_began() {
                return None;
            }
            let session = space.session_of(&upload);
            let facts = session.map(Session::facts).or_else(|| upload.stored().map(|stored| &stored.facts));
            let state = match (session, upload.stored()) {
                (Some(_), _) => UploadState::Open,
                (None, Some(_)) => UploadState::Stored,
                (None, None) => UploadState::Gone,
            };
            let kept = session.map(Session::parts_kept).or_else(|| upload.stored().map(|stored| stored.parts.len()));
            let view = UploadView {
                account: key.account,
                generation: key.generation,
                file_sha1: key.file_sha1,
                state,
                file: facts.map(|facts| shown(&facts.file)),
                file_size: facts.map(|facts| facts.file_size),
                part_size: facts.and_then(|facts| facts.part_size),
                parts: kept.map_or(0, |parts| parts as u64),
                file_id: upload.stored().map(|stored| stored.file_id.clone()),
                commits: upload.commits(),
                stored_sha1: None,
            };
            (view, upload.stored().cloned())
        };
        if let Some(stored) = stored.filter(|_| rehash) {
            view.stored_sha1 = self.stored_sha1(&stored).await;
        }
        Some(view)
    }
}

//! What the mock makes of a request.
//!
//! - `read`: checks its head and takes its body in, without any effect.
//! - `commit`: decides by the core, remembers by the store, says what to answer.
//! - `hash`: takes the file's SHA-1 along as parts come in.
//! - `sweep`: frees what sessions kept that outlived their time.

mod commit;
mod hash;
mod read;
mod sweep;

use std::{
    collections::BTreeMap,
    io,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::sync::Mutex as AsyncMutex;
use vod_proto::{
    Action, Code, Family, InitUpload, Md5, NextPart, Sha1, SmallFile, UploadPart,
    lint::{Finding, lint},
    reply::{Rejected, Reply},
    request::Claims,
};
use vod_serve::{Engine, Head, Journal, ReplyOut, Stakes, Subject, WallClock};

use crate::{
    accounts::Account,
    callbacks::Callbacks,
    core::{Generation, Session, Upload, UploadKey, refuse},
    requests::Standards,
    store::{Staging, Store},
};

/// One upload, and who works on it.
pub(crate) struct Slot {
    pub(crate) upload: AsyncMutex<Upload>,
    /// Held by whoever takes the file's hash further.
    hashing: AsyncMutex<()>,
}

impl Slot {
    fn new(upload: Upload) -> Self {
        Self { upload: AsyncMutex::new(upload), hashing: AsyncMutex::new(()) }
    }
}

/// What the mock knows and does, whatever brings the requests.
pub(crate) struct Mind {
    standards: Standards,
    lifetime: Duration,
    instant_upload: bool,
    clock: WallClock,
    store: Arc<dyn Store>,
    slots: Mutex<BTreeMap<UploadKey, Arc<Slot>>>,
    /// The last upload that a sweep looked at.
    swept: Mutex<Option<UploadKey>>,
    journal: Arc<Journal>,
    engine: Arc<Engine>,
    callbacks: Arc<Callbacks>,
}

/// Whose upload a request is about.
pub(crate) struct Asker {
    action: Action,
    account: Account,
    key: UploadKey,
}

impl Asker {
    fn new(action: Action, account: Account, file_sha1: Sha1) -> Self {
        let key = UploadKey { account: account.name.clone(), generation: action.family().into(), file_sha1 };
        Self { action, account, key }
    }

    /// The code for parts, or a body, that do not make the file that was announced.
    const fn mismatch(&self) -> Code {
        match self.action.family() {
            Family::Legacy => Code::LEGACY_SHA_MISMATCH,
            Family::Server | Family::Ugc => Code::PROTOCOL_PARAMS,
        }
    }
}

/// A body that was taken in and not kept yet.
pub(crate) struct Received {
    bytes: Box<dyn Staging>,
    sha1: Sha1,
    md5: Option<Md5>,
}

/// A request whose body was read, waiting to be committed.
pub(crate) enum Staged {
    /// Nothing can come of it any more but this answer.
    Decided(ReplyOut),
    Init(Asker, InitUpload),
    Part(Asker, UploadPart, Received),
    Finish(Asker, Stakes),
    /// Without a body where the part was not the one that is wanted.
    Next(Asker, NextPart, Option<Received>, Stakes),
    Whole(Asker, SmallFile, Received, Stakes),
    /// It was heard.
    Report,
}

fn decided(reply: &Reply, family: Family) -> Staged {
    Staged::Decided(ReplyOut::json(reply.to_json(family)))
}

fn unwritable(error: io::Error) -> Rejected {
    tracing::warn!(%error, "the store could not be written");
    refuse(Code::CACHE_WRITE, format!("the store could not be written: {error}"))
}

fn unreadable(error: io::Error) -> Rejected {
    tracing::warn!(%error, "the store could not be read");
    refuse(Code::CACHE_READ, format!("the store could not be read: {error}"))
}

impl Mind {
    /// Takes up what the store remembers.
    pub(crate) async fn open(
        standards: Standards,
        instant_upload: bool,
        clock: WallClock,
        store: Arc<dyn Store>,
        journal: Arc<Journal>,
        engine: Arc<Engine>,
        callbacks: Arc<Callbacks>,
    ) -> io::Result<Self> {
        let mut uploads = BTreeMap::<UploadKey, Upload>::new();
        for record in store.load().await? {
            uploads.entry(record.key().clone()).or_default().apply(&record);
        }
        let slots = uploads.into_iter().map(|(key, upload)| (key, Arc::new(Slot::new(upload)))).collect();
        let lifetime = Duration::from_secs(standards.limits.session_lifetime_s);
        Ok(Self {
            standards,
            lifetime,
            instant_upload,
            clock,
            store,
            slots: Mutex::new(slots),
            swept: Mutex::default(),
            journal,
            engine,
            callbacks,
        })
    }

    pub(crate) fn journal(&self) -> &Journal {
        &self.journal
    }

    pub(crate) fn engine(&self) -> &Engine {
        &self.engine
    }

    /// The breaches of rules that the exchanges kept in memory prove.
    pub(crate) fn findings(&self) -> Vec<Finding> {
        lint(&self.journal.exchanges(), &self.standards.limits)
    }

    /// Every upload, in order of account and digest.
    pub(crate) fn slots(&self) -> Vec<(UploadKey, Arc<Slot>)> {
        let slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        slots.iter().map(|(key, slot)| (key.clone(), Arc::clone(slot))).collect()
    }

    /// The upload's session, as long as it lives.
    pub(crate) fn session_of<'a>(&self, upload: &'a Upload) -> Option<&'a Session> {
        upload.session(self.clock.now(), self.lifetime)
    }

    pub(crate) fn slot(&self, key: &UploadKey) -> Option<Arc<Slot>> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner).get(key).cloned()
    }

    fn slot_or_new(&self, key: &UploadKey) -> Arc<Slot> {
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(slots.entry(key.clone()).or_insert_with(|| Arc::new(Slot::new(Upload::default()))))
    }

    /// Who and what a request is about, as far as its head tells. A browser's question whether it may ask is about
    /// nothing yet: no fault may mistake it for the request.
    pub(crate) async fn subject(&self, head: &Head) -> Subject {
        if head.is_preflight() {
            return Subject { preflight: true, ..Subject::default() };
        }
        let claims = Claims::of(&head.query);
        let account = self.standards.account(&claims).map(|account| account.name.clone());
        let Claims { action, file_sha1, part, .. } = claims;
        let family = action.as_deref().and_then(|name| name.parse::<Action>().ok()).map(Action::family);
        let mut part_number = None;
        if let (Some(account), Some(file_sha1), Some(part), Some(family)) = (&account, file_sha1, part, family) {
            let key = UploadKey { account: account.clone(), generation: family.into(), file_sha1 };
            part_number = match self.slot(&key) {
                Some(slot) => {
                    let upload = slot.upload.lock().await;
                    self.session_of(&upload).map(|session| session.part_number(part.offset))
                }
                None => None,
            };
            // The part that opens a legacy upload is its first.
            if key.generation == Generation::Legacy && part.offset == 0 {
                part_number = Some(1);
            }
        }
        Subject { account, action, file_sha1, part, part_number, preflight: false }
    }

    /// What a fault could spoil, if this is committed.
    pub(crate) fn stakes(staged: &Staged) -> Stakes {
        match staged {
            Staged::Decided(_) | Staged::Init(..) | Staged::Report => Stakes::default(),
            Staged::Part(..) => Stakes { part: true, file: false },
            Staged::Finish(_, stakes) | Staged::Next(.., stakes) | Staged::Whole(.., stakes) => *stakes,
        }
    }
}

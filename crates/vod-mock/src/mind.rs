//! What the mock makes of a request.
//!
//! - `read`: checks its head and takes its body in, without any effect.
//! - `commit`: decides by the core, remembers by the store, says what to answer.
//! - `hash`: takes the file's SHA-1 along as parts come in.
//! - `sweep`: frees what sessions kept that outlived their time.
//! - `accounts`: takes accounts up and gives them up, and forgets what was theirs.

mod accounts;
mod commit;
mod hash;
mod read;
mod sweep;

pub(crate) use accounts::Left;

use std::{collections::BTreeMap, io, sync::Arc, time::Duration};

use jiff::Timestamp;
use tokio::sync::Mutex as AsyncMutex;
use vod_proto::{
    Action, Code, Exchange, Family, InitUpload, Limits, Md5, NextPart, Sha1, SmallFile, UploadPart,
    lint::{Findings, lint},
    reply::{Rejected, Reply},
    request::Claims,
    rules::Profile,
};
use vod_serve::{
    Engine, Head, Journal, ReplyOut, Stakes, Subject, WallClock,
    journal::{Kept, Whose},
};

use crate::{
    OpenError,
    accounts::Accounts,
    callbacks::Callbacks,
    core::{Record, Upload, UploadKey, refuse},
    namespace::{ActiveAccount, Namespace, Namespaces},
    requests::{Auth, Standards},
    store::{Staging, Store},
};

/// One upload, and who works on it.
pub(crate) struct Slot {
    pub(crate) upload: AsyncMutex<Upload>,
    /// Held by whoever takes the file's hash further.
    hashing: AsyncMutex<()>,
}

impl Slot {
    pub(crate) fn new(upload: Upload) -> Self {
        Self { upload: AsyncMutex::new(upload), hashing: AsyncMutex::new(()) }
    }
}

/// What a mind is opened with, beside its store.
pub(crate) struct Opening {
    pub(crate) accounts: Accounts,
    pub(crate) limits: Limits,
    pub(crate) profile: Profile,
    pub(crate) auth: Auth,
    pub(crate) sign_hosts: Vec<String>,
    pub(crate) instant_upload: bool,
    pub(crate) clock: WallClock,
    pub(crate) journal: Arc<Journal>,
    pub(crate) engine: Arc<Engine>,
    pub(crate) callbacks: Arc<Callbacks>,
    /// Is the admin API answered beside the protocol?
    pub(crate) admin_here: bool,
}

/// What the mock knows and does, whatever brings the requests.
pub(crate) struct Mind {
    standards: Standards,
    instant_upload: bool,
    clock: WallClock,
    store: Arc<dyn Store>,
    journal: Arc<Journal>,
    engine: Arc<Engine>,
    callbacks: Arc<Callbacks>,
}

/// Whose upload a request is about.
pub(crate) struct Asker {
    action: Action,
    active: Arc<ActiveAccount>,
    key: UploadKey,
    /// How often the account had begun anew when the request came.
    resets: u64,
}

impl Asker {
    fn new(action: Action, active: Arc<ActiveAccount>, file_sha1: Sha1) -> Self {
        let key = active.space.key(action.family().into(), file_sha1);
        let resets = active.resets();
        Self { action, active, key, resets }
    }

    /// The time of day in the account's namespace.
    fn now(&self) -> Timestamp {
        self.active.space.now()
    }

    fn lifetime(&self) -> Duration {
        self.active.space.lifetime()
    }

    fn slot(&self) -> Option<Arc<Slot>> {
        self.active.space.slot(self.key.generation, self.key.file_sha1)
    }

    fn slot_or_new(&self) -> Arc<Slot> {
        self.active.space.slot_or_new(self.key.generation, self.key.file_sha1)
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

/// A request whose body was read, waiting to be committed, and what of it a fault could spoil.
pub(crate) struct Staged {
    what: What,
    stakes: Stakes,
}

/// What waits to be committed.
enum What {
    /// Nothing can come of it any more but this answer.
    Decided(ReplyOut),
    Init(Asker, InitUpload),
    Part(Asker, UploadPart, Received),
    Finish(Asker),
    /// Without a body where the part was not the one that is wanted.
    Next(Asker, NextPart, Option<Received>),
    Whole(Asker, SmallFile, Received),
    /// It was heard.
    Report,
}

impl What {
    /// With nothing that a fault could spoil.
    fn safe(self) -> Staged {
        self.at(Stakes::default())
    }

    const fn at(self, stakes: Stakes) -> Staged {
        Staged { what: self, stakes }
    }
}

fn decided(reply: &Reply, family: Family) -> Staged {
    What::Decided(ReplyOut::of(reply, family)).safe()
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
    /// Takes up what the store remembers, and answers for these accounts.
    pub(crate) async fn open(config: Opening, store: Arc<dyn Store>) -> Result<Self, OpenError> {
        let Opening { accounts, limits, profile, auth, sign_hosts, .. } = config;
        let namespaces = Namespaces::new(config.clock, limits, &store.load().await?);
        let admin_here = config.admin_here;
        let standards = Standards { namespaces, profile, auth, sign_hosts, admin_here };
        let mind = Self {
            standards,
            instant_upload: config.instant_upload,
            clock: config.clock,
            store,
            journal: config.journal,
            engine: config.engine,
            callbacks: config.callbacks,
        };
        for account in accounts {
            mind.add_account(account)?;
        }
        Ok(mind)
    }

    pub(crate) fn journal(&self) -> &Arc<Journal> {
        &self.journal
    }

    pub(crate) fn engine(&self) -> &Engine {
        &self.engine
    }

    pub(crate) fn namespaces(&self) -> &Namespaces {
        &self.standards.namespaces
    }

    /// The breaches of rules that these exchanges, as far as they are kept in memory, prove, and how far that can be
    /// trusted. Each account is held to its own limits.
    pub(crate) fn findings(&self, whose: &Whose) -> Findings {
        let Kept { exchanges, lacking } = self.journal.kept(whose);
        let mut by_account = BTreeMap::<Option<&str>, Vec<&Exchange>>::new();
        for exchange in &exchanges {
            by_account.entry(exchange.account.as_deref()).or_default().push(exchange);
        }
        let lint = |(account, exchanges): (Option<&str>, Vec<&Exchange>)| {
            let active = account.and_then(|name| self.namespaces().named(name));
            let limits = active.as_ref().map_or(self.namespaces().limits(), |active| &active.limits);
            lint(&exchanges, &lacking, limits).findings
        };
        Findings::new(by_account.into_iter().flat_map(lint).collect(), lacking.clone())
    }

    /// The upload that a request is about.
    fn slot_of(&self, subject: &Subject) -> Option<(Arc<Namespace>, UploadKey, Arc<Slot>)> {
        let action: Action = subject.action.as_deref()?.parse().ok()?;
        let space = self.namespaces().space(subject.account.as_deref()?)?;
        let (generation, file_sha1) = (action.family().into(), subject.file_sha1?);
        let slot = space.slot(generation, file_sha1)?;
        let key = space.key(generation, file_sha1);
        Some((space, key, slot))
    }

    /// Who and what a request is about, as far as its head tells. A browser's question whether it may ask is about
    /// nothing yet: no fault may mistake it for the request.
    pub(crate) async fn subject(&self, head: &Head) -> (Subject, Option<Arc<ActiveAccount>>) {
        if head.is_preflight() {
            return (Subject { preflight: true, ..Subject::default() }, None);
        }
        let claims = Claims::of(&head.query);
        let caller = self.standards.account(&claims);
        let account = caller.as_ref().map(|active| Arc::clone(active.space.name()));
        let Claims { action, file_sha1, part, .. } = claims;
        let action = action.as_deref().map(vod_serve::action);
        let mut subject = Subject { account, action, file_sha1, part, part_number: None, preflight: false, host: None };
        if let Some(part) = part {
            let family = subject.action.as_deref().and_then(|name| name.parse::<Action>().ok()).map(Action::family);
            subject.part_number = match self.slot_of(&subject) {
                // The part that opens a legacy upload is its first.
                _ if family == Some(Family::Legacy) && part.offset == 0 => Some(1),
                Some((space, _, slot)) => {
                    let upload = slot.upload.lock().await;
                    space.session_of(&upload).map(|session| session.part_number(part.offset))
                }
                None => None,
            };
        }
        (subject, caller)
    }

    /// What a fault could spoil, if this is committed.
    pub(crate) const fn stakes(staged: &Staged) -> Stakes {
        staged.stakes
    }

    /// Has the upload a session that a request is about?
    pub(crate) async fn has_session(&self, subject: &Subject) -> bool {
        let Some((space, _, slot)) = self.slot_of(subject) else { return false };
        let upload = slot.upload.lock().await;
        space.session_of(&upload).is_some()
    }

    /// Lets the session expire of the upload that a request is about.
    pub(crate) async fn expire_session(&self, subject: &Subject) {
        let Some((space, key, slot)) = self.slot_of(subject) else { return };
        let mut upload = slot.upload.lock().await;
        if space.session_of(&upload).is_some()
            && let Err(rejected) = self.write_down(&mut upload, &Record::Dropped { key }).await
        {
            tracing::error!(%rejected, "a session that was to expire is still there");
        }
    }

    /// How many bytes of a request's body are read at most.
    pub(crate) fn body_ceiling(&self, subject: &Subject) -> u64 {
        let active = subject.account.as_deref().and_then(|name| self.namespaces().named(name));
        active.map_or(self.namespaces().limits().body_ceiling, |active| active.limits.body_ceiling)
    }
}

//! The rim of the mock: joins the pure core, a store and the server.

use std::{
    collections::BTreeMap,
    convert::Infallible,
    io,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use serde::{Deserialize, Serialize};
use tokio::sync::Mutex as AsyncMutex;
use vod_proto::{
    Action, Code, Exchange, InitUpload, Limits, PartSpan, Request, Sha1, UploadPart,
    digest::Sha1Hasher,
    reply::{InitReply, Rejected, Reply},
    rules::{self, Deviation, Profile},
};
use vod_serve::{
    Effects, Engine, Head, Host, Journal, Killer, Listener, Plan, ReplyOut, Server, Subject, Transport, WallClock,
    body::{Body, BodyError},
    clock::fresh_seed,
    fault::{Account as FaultAccount, PlanError},
    host::AsideBody,
};

use crate::{
    accounts::{Accounts, AccountsError},
    admin,
    core::{BodyId, Finish, InitDecision, KeptPart, PartCheck, Record, Upload, UploadKey, refuse},
    requests::{Asked, Refusal, Standards},
    store::{Staging, Store},
};

/// How much of a kept body is read at a time to take its hash.
const READ_PIECE: usize = 256 << 10;

/// Whether signatures are checked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Auth {
    /// They must hold. The default: a client that signs wrongly should learn it here.
    #[default]
    Verify,
    /// Anything goes, common parameters may be missing too: for trying things by hand.
    Any,
}

/// How a mock behaves.
pub struct Config {
    /// Whose requests are answered. Default: the demo account.
    pub accounts: Accounts,
    /// How strictly clients are held to the documents. Default: `observed`.
    pub profile: Profile,
    /// Whether signatures are checked. Default: they must hold.
    pub auth: Auth,
    /// The numbers that bound an upload.
    pub limits: Limits,
    /// Is a file that is there answered with code 2? Default: yes.
    pub instant_upload: bool,
    /// Hosts that clients may sign for, beside the known ones and the request's own `Host`.
    pub sign_hosts: Vec<String>,
    /// The faults to inject.
    pub plan: Plan,
    /// Decides every `chance` of the plan.
    pub seed: u64,
    /// The time of day.
    pub clock: WallClock,
    /// Where the evidence goes. It may hold exchanges of an earlier life; numbers and faults go on from them.
    pub journal: Arc<Journal>,
    /// Who carries out the plan's kills.
    pub killer: Option<Arc<dyn Killer>>,
    /// Is `/__vod/` answered? Default: yes. The binary says no where it listens beyond loopback.
    pub admin: bool,
}

impl Default for Config {
    fn default() -> Self {
        let seed = fresh_seed();
        Self {
            accounts: Accounts::default(),
            profile: Profile::default(),
            auth: Auth::default(),
            limits: Limits::default(),
            instant_upload: true,
            sign_hosts: Vec::new(),
            plan: Plan::default(),
            seed,
            clock: WallClock::system(),
            journal: Journal::memory(seed),
            killer: None,
            admin: true,
        }
    }
}

/// A mock that cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The accounts cannot be told apart.
    #[error(transparent)]
    Accounts(#[from] AccountsError),
    /// A fault of the plan could never strike.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// The plan kills, and nobody can.
    #[error("the fault plan has a fault that kills, but nobody here can kill")]
    NoKiller,
    /// The store cannot be read.
    #[error("the store cannot be read: {0}")]
    Store(#[from] io::Error),
}

/// A mock server without a socket of its own: give it a listener, or single connections.
pub struct Mock {
    mind: Arc<Mind>,
    server: Server<MockHost>,
}

impl Mock {
    /// Opens a mock on a store, and takes up what the store and the journal remember.
    ///
    /// # Errors
    /// If the accounts, the plan or the store cannot be used.
    pub async fn open(config: Config, store: Arc<dyn Store>) -> Result<Arc<Self>, OpenError> {
        config.accounts.check()?;
        let engine = Arc::new(Engine::new(config.plan, config.seed)?);
        engine.recall(&config.journal.exchanges());
        let mut uploads = BTreeMap::<UploadKey, Upload>::new();
        for record in store.load().await? {
            uploads.entry(record.key().clone()).or_default().apply(&record);
        }
        let slots = uploads.into_iter().map(|(key, upload)| (key, Arc::new(Slot::new(upload)))).collect();
        let body_ceiling = config.limits.body_ceiling;
        let mind = Arc::new(Mind {
            lifetime: Duration::from_secs(config.limits.session_lifetime_s),
            instant_upload: config.instant_upload,
            clock: config.clock,
            standards: Standards {
                accounts: config.accounts,
                profile: config.profile,
                auth: config.auth,
                limits: config.limits,
                sign_hosts: config.sign_hosts,
            },
            store,
            slots: Mutex::new(slots),
            journal: Arc::clone(&config.journal),
            engine: Arc::clone(&engine),
        });
        let admin = config.admin.then(|| admin::router(Arc::clone(&mind)));
        let host = Arc::new(MockHost { mind: Arc::clone(&mind), admin });
        let server = Server::new(host, engine, config.journal, config.clock, config.killer, body_ceiling)
            .map_err(|_| OpenError::NoKiller)?;
        Ok(Arc::new(Self { mind, server }))
    }

    /// Takes connections for as long as it is polled; dropping it drops them all.
    pub async fn serve<L: Listener>(&self, listener: L) -> Infallible {
        self.server.run(listener).await
    }

    /// Serves one connection to its end.
    pub async fn connection<T: Transport>(&self, transport: T) {
        self.server.connection(transport).await;
    }

    /// The evidence so far.
    #[must_use]
    pub fn exchanges(&self) -> Vec<Exchange> {
        self.mind.journal.exchanges()
    }

    /// Every upload, in order of account and digest. The digests of stored files are taken from their bytes.
    pub async fn uploads(&self) -> Vec<UploadView> {
        self.mind.views(true).await
    }

    /// What became of every planned fault.
    #[must_use]
    pub fn fault_account(&self) -> Vec<FaultAccount> {
        self.mind.engine.account()
    }

    /// The planned faults that never struck.
    #[must_use]
    pub fn unfired(&self) -> Vec<String> {
        self.mind.engine.unfired()
    }
}

/// An upload as it can be seen from outside.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct UploadView {
    /// Whose it is.
    pub account: String,
    /// Which file.
    pub file_sha1: Sha1,
    /// `open` while parts are taken, `stored` once it was put together, `gone` when neither is left.
    pub state: String,
    /// The file's name, as announced.
    pub file_name: Option<String>,
    /// The file's size in bytes, as announced.
    pub file_size: Option<u64>,
    /// The grid in bytes.
    pub part_size: Option<u64>,
    /// How many parts are kept.
    pub parts: usize,
    /// The id that was handed out.
    pub file_id: Option<String>,
    /// How often the file was put together.
    pub commits: u64,
    /// The SHA-1 of the stored bytes, read again for this view where that was asked for.
    pub stored_sha1: Option<Sha1>,
}

/// One upload, and who works on it.
pub(crate) struct Slot {
    upload: AsyncMutex<Upload>,
    /// Held by whoever takes the file's hash further.
    hashing: AsyncMutex<()>,
}

impl Slot {
    fn new(upload: Upload) -> Self {
        Self { upload: AsyncMutex::new(upload), hashing: AsyncMutex::new(()) }
    }
}

pub(crate) struct Mind {
    standards: Standards,
    lifetime: Duration,
    instant_upload: bool,
    clock: WallClock,
    store: Arc<dyn Store>,
    slots: Mutex<BTreeMap<UploadKey, Arc<Slot>>>,
    journal: Arc<Journal>,
    engine: Arc<Engine>,
}

struct MockHost {
    mind: Arc<Mind>,
    admin: Option<axum::Router>,
}

/// A request whose body was read, waiting to be committed.
enum Staged {
    /// Nothing can come of it any more but this answer.
    Decided(ReplyOut),
    Init {
        asked: InitUpload,
        key: UploadKey,
        app_id: u64,
    },
    Part {
        asked: UploadPart,
        key: UploadKey,
        bytes: Box<dyn Staging>,
    },
    Finish {
        key: UploadKey,
        app_id: u64,
    },
}

impl From<Rejected> for Staged {
    fn from(rejected: Rejected) -> Self {
        Self::Decided(answer(&Reply::Rejected(rejected)))
    }
}

fn answer(reply: &Reply) -> ReplyOut {
    ReplyOut::json(reply.to_json())
}

impl Host for MockHost {
    type Staged = Staged;

    async fn subject(&self, head: &Head) -> Subject {
        self.mind.subject(head).await
    }

    async fn read(&self, head: &Head, _: &Subject, body: &mut Body) -> Result<Staged, BodyError> {
        self.mind.read(head, body).await
    }

    async fn commit(&self, staged: Staged, effects: Effects) -> ReplyOut {
        let reply = match staged {
            Staged::Decided(reply) => return reply,
            Staged::Init { asked, key, app_id } => self.mind.init(&key, &asked, app_id).await,
            Staged::Part { asked, key, bytes } => self.mind.part(&key, &asked, bytes, effects).await,
            Staged::Finish { key, app_id } => self.mind.finish(&key, app_id).await,
        };
        answer(&reply.unwrap_or_else(Reply::Rejected))
    }

    fn is_aside(&self, path: &str) -> bool {
        self.admin.is_some() && (path == "/__vod" || path.starts_with("/__vod/"))
    }

    async fn aside(&self, request: http::Request<hyper::body::Incoming>) -> http::Response<AsideBody> {
        admin::answer(self.admin.clone(), request).await
    }
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
    pub(crate) fn journal(&self) -> &Journal {
        &self.journal
    }

    pub(crate) fn engine(&self) -> &Engine {
        &self.engine
    }

    pub(crate) const fn limits(&self) -> &Limits {
        &self.standards.limits
    }

    fn slot(&self, key: &UploadKey) -> Option<Arc<Slot>> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner).get(key).cloned()
    }

    fn slot_or_new(&self, key: &UploadKey) -> Arc<Slot> {
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(slots.entry(key.clone()).or_insert_with(|| Arc::new(Slot::new(Upload::default()))))
    }

    async fn subject(&self, head: &Head) -> Subject {
        let number = |name: &str| head.query.get(name).and_then(|value| value.parse::<u64>().ok());
        let account = self.standards.account(head).map(|account| account.name.clone());
        let file_sha1 = head.query.get("fileSha").and_then(|sha| sha.parse().ok());
        let action = head.query.get("Action").map(std::borrow::Cow::into_owned);
        let sends_part = action.as_deref() == Some(Action::UploadPart.wire_name());
        let span = number("offset").zip(number("dataSize")).filter(|_| sends_part);
        let part = span.map(|(offset, len)| PartSpan { offset, len });
        let mut part_number = None;
        if let (Some(account), Some(file_sha1), Some(part)) = (&account, file_sha1, part)
            && let Some(slot) = self.slot(&UploadKey { account: account.clone(), file_sha1 })
        {
            let upload = slot.upload.lock().await;
            let session = upload.session(self.clock.now(), self.lifetime);
            part_number = session.map(|session| part.offset / session.layout().part_size() + 1);
        }
        Subject { account, action, file_sha1, part, part_number }
    }

    async fn read(&self, head: &Head, body: &mut Body) -> Result<Staged, BodyError> {
        match self.standards.check(head, self.clock.now()) {
            Err(Refusal::Foreign(reply)) => Ok(Staged::Decided(reply)),
            Err(Refusal::Rejected(rejected)) => Ok(rejected.into()),
            Ok(Asked { key, app_id, request }) => match request {
                Request::Init(asked) => Ok(Staged::Init { asked, key, app_id }),
                Request::Finish(_) => Ok(Staged::Finish { key, app_id }),
                Request::Part(asked) => match self.check_part(&key, &asked).await {
                    Err(rejected) => Ok(rejected.into()),
                    Ok(check) => self.read_part(asked, key, check, body).await,
                },
            },
        }
    }

    async fn check_part(&self, key: &UploadKey, asked: &UploadPart) -> Result<PartCheck, Rejected> {
        let check = match self.slot(key) {
            Some(slot) => slot.upload.lock().await.decide_part(asked, self.clock.now(), self.lifetime),
            None => Upload::default().decide_part(asked, self.clock.now(), self.lifetime),
        }?;
        if check == PartCheck::EmptyTail {
            let found = format!("an empty part at offset {}", asked.span.offset);
            self.standards.note([Deviation::new(&rules::NO_EMPTY_TAIL, found)])?;
        }
        Ok(check)
    }

    async fn read_part(
        &self,
        asked: UploadPart,
        key: UploadKey,
        check: PartCheck,
        body: &mut Body,
    ) -> Result<Staged, BodyError> {
        body.take_md5();
        let mut bytes = match self.store.stage().await {
            Ok(bytes) => bytes,
            Err(error) => return Ok(unwritable(error).into()),
        };
        loop {
            match body.next().await {
                Ok(None) => break,
                // What is longer than announced is not kept: it is only counted, to say by how much.
                Ok(Some(_)) if body.len() > asked.span.len => {}
                Ok(Some(piece)) => {
                    if let Err(error) = bytes.write(piece).await {
                        return Ok(unwritable(error).into());
                    }
                }
                Err(too_long @ BodyError::TooLong(_)) => return Ok(refuse(Code::BODY, too_long.to_string()).into()),
                Err(error) => return Err(error),
            }
        }
        let (announced, len) = (asked.span.len, body.len());
        if len != announced {
            let message = format!("the body has {len} bytes: parameter dataSize says {announced}");
            return Ok(refuse(Code::BODY, message).into());
        }
        if let Some(md5) = body.md5().filter(|md5| *md5 != asked.part_md5) {
            let message = format!("the body has MD5 {md5}: parameter dataMd5 says {}", asked.part_md5);
            return Ok(refuse(Code::BODY, message).into());
        }
        Ok(match check {
            PartCheck::EmptyTail => Staged::Decided(answer(&Reply::Part)),
            PartCheck::Take => Staged::Part { asked, key, bytes },
        })
    }

    async fn init(&self, key: &UploadKey, asked: &InitUpload, app_id: u64) -> Result<Reply, Rejected> {
        let slot = self.slot_or_new(key);
        let mut upload = slot.upload.lock().await;
        let decision = upload.decide_init(key, asked, self.clock.now(), self.lifetime, self.instant_upload)?;
        match decision {
            InitDecision::Answer(reply) => Ok(Reply::Init(reply)),
            InitDecision::Exists(stored) => Ok(Reply::Init(InitReply::Exists(stored.reply(app_id)))),
            InitDecision::Open(record, reply) => {
                self.remember(&mut upload, &record).await?;
                Ok(Reply::Init(reply))
            }
        }
    }

    async fn part(
        &self,
        key: &UploadKey,
        asked: &UploadPart,
        bytes: Box<dyn Staging>,
        effects: Effects,
    ) -> Result<Reply, Rejected> {
        if effects.drop_part {
            return Ok(Reply::Part);
        }
        let slot = self.slot_or_new(key);
        let body = bytes.keep().await.map_err(unwritable)?;
        let kept = self.keep_part(&slot, key, asked, body).await;
        if let Err(rejected) = kept {
            self.store.discard(body).await;
            return Err(rejected);
        }
        // Whoever hashes already will find this part too, unless it has just finished: then the next one does.
        if let Ok(_turn) = slot.hashing.try_lock()
            && let Err(error) = self.hash_on(&slot).await
        {
            tracing::warn!(%error, "a kept part could not be read back; the finish will try again");
        }
        Ok(Reply::Part)
    }

    async fn keep_part(&self, slot: &Slot, key: &UploadKey, asked: &UploadPart, body: BodyId) -> Result<(), Rejected> {
        let mut upload = slot.upload.lock().await;
        let now = self.clock.now();
        // The session may have ended while the body came in.
        upload.decide_part(asked, now, self.lifetime)?;
        let record = Record::Part { key: key.clone(), at: now, span: asked.span, md5: asked.part_md5, body };
        self.remember(&mut upload, &record).await
    }

    async fn finish(&self, key: &UploadKey, app_id: u64) -> Result<Reply, Rejected> {
        let slot = self.slot_or_new(key);
        let _turn = slot.hashing.lock().await;
        loop {
            let mut upload = slot.upload.lock().await;
            let now = self.clock.now();
            match upload.decide_finish(key.file_sha1, now, self.lifetime)? {
                Finish::Again(stored) => return Ok(Reply::Finish(stored.reply(app_id))),
                Finish::Hash => {
                    drop(upload);
                    self.hash_on(&slot).await.map_err(unreadable)?;
                }
                Finish::Whole(sha1) if sha1 == key.file_sha1 => {
                    let file_id = upload.next_file_id(key);
                    let record = Record::Stored { key: key.clone(), at: now, file_id };
                    self.remember(&mut upload, &record).await?;
                    let stored = upload.stored().map(|stored| stored.reply(app_id));
                    return stored.map(Reply::Finish).ok_or_else(|| refuse(Code::CACHE_READ, "the file is gone"));
                }
                Finish::Whole(sha1) => {
                    self.remember(&mut upload, &Record::Dropped { key: key.clone() }).await?;
                    let message = format!(
                        "the parts make a file of SHA-1 {sha1}: fileSha says {}; the upload was dropped",
                        key.file_sha1
                    );
                    return Err(refuse(Code::PROTOCOL_PARAMS, message));
                }
            }
        }
    }

    /// Makes a record true: first in the store, then in memory. Frees what nobody needs after it.
    async fn remember(&self, upload: &mut Upload, record: &Record) -> Result<(), Rejected> {
        self.store.append(record).await.map_err(unwritable)?;
        for body in upload.apply(record) {
            self.store.discard(body).await;
        }
        Ok(())
    }

    /// Takes the file's hash along the prefix as far as parts are here. The caller holds the turn.
    async fn hash_on(&self, slot: &Slot) -> io::Result<()> {
        loop {
            let next = slot.upload.lock().await.session_mut().map(|session| session.next_to_hash());
            let Some((mut prefix, Some(part))) = next else { return Ok(()) };
            let before = prefix.passed();
            let read = self.each_piece(&part, |piece| prefix.absorb(piece)).await;
            let mut upload = slot.upload.lock().await;
            let Some(session) = upload.session_mut() else { return Ok(()) };
            let still = session.next_to_hash().1 == Some(part);
            // A body that vanished because its part was replaced meanwhile is no error: the new one is read next.
            if still {
                read?;
                session.hashed(prefix);
                if session.next_to_hash().0.passed() == before {
                    return Ok(());
                }
            }
        }
    }

    async fn each_piece(&self, part: &KeptPart, mut take: impl FnMut(&[u8]) + Send) -> io::Result<()> {
        let mut at = 0;
        while at < part.span.len {
            let piece = self.store.read(part.body, at, READ_PIECE).await?;
            if piece.is_empty() {
                return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "a kept part is shorter than it was"));
            }
            at += piece.len() as u64;
            take(&piece);
        }
        Ok(())
    }

    /// Every upload as it can be seen from outside; `rehash` reads stored files again.
    pub(crate) async fn views(&self, rehash: bool) -> Vec<UploadView> {
        let slots: Vec<_> = {
            let slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
            slots.iter().map(|(key, slot)| (key.clone(), Arc::clone(slot))).collect()
        };
        let mut views = Vec::new();
        for (key, slot) in slots {
            views.push(self.view(key, &slot, rehash).await);
        }
        views
    }

    /// One upload as it can be seen from outside.
    pub(crate) async fn view_of(&self, file_sha1: Sha1, rehash: bool) -> Vec<UploadView> {
        let mut views = self.views(false).await;
        views.retain(|view| view.file_sha1 == file_sha1);
        if rehash {
            for view in &mut views {
                let key = UploadKey { account: view.account.clone(), file_sha1 };
                if let Some(slot) = self.slot(&key) {
                    *view = self.view(key, &slot, true).await;
                }
            }
        }
        views
    }

    async fn view(&self, key: UploadKey, slot: &Slot, rehash: bool) -> UploadView {
        let (mut view, stored) = {
            let upload = slot.upload.lock().await;
            let session = upload.session(self.clock.now(), self.lifetime);
            let facts = session.map(|s| s.facts()).or_else(|| upload.stored().map(|stored| &stored.facts));
            let state = match (session, upload.stored()) {
                (Some(_), _) => "open",
                (None, Some(_)) => "stored",
                (None, None) => "gone",
            };
            let stored_parts = upload.stored().map_or(0, |stored| stored.parts.len());
            let view = UploadView {
                account: key.account,
                file_sha1: key.file_sha1,
                state: state.to_owned(),
                file_name: facts.map(|facts| facts.file_name.clone()),
                file_size: facts.map(|facts| facts.file_size),
                part_size: facts.map(|facts| facts.part_size),
                parts: session.map_or(stored_parts, |session| session.parts_kept()),
                file_id: upload.stored().map(|stored| stored.file_id.clone()),
                commits: upload.commits(),
                stored_sha1: None,
            };
            (view, upload.stored().cloned())
        };
        if let Some(stored) = stored.filter(|_| rehash) {
            view.stored_sha1 = self.sha1_of(&stored.parts).await.ok();
        }
        view
    }

    async fn sha1_of(&self, parts: &[KeptPart]) -> io::Result<Sha1> {
        let mut hasher = Sha1Hasher::default();
        for part in parts {
            self.each_piece(part, |piece| hasher.update(piece)).await?;
        }
        Ok(hasher.finish())
    }
}

//! What the mock makes of a request: reads it, decides by the core, remembers by the store.

use std::{
    collections::BTreeMap,
    io,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::sync::Mutex as AsyncMutex;
use vod_proto::{
    Action, Code, Family, InitUpload, Md5, NextPart, Request, Sha1, SmallFile, UploadPart,
    action::Role,
    digest::Sha1Hasher,
    findings,
    lint::{Finding, lint},
    params,
    reply::{InitReply, NextReply, Rejected, Reply, Stored},
    request::Claims,
    rules::Profile,
    ugc::VerifyContent,
};
use vod_serve::{
    Answer, Effects, Engine, Head, Journal, ReplyOut, Stakes, Subject, WallClock,
    body::{Body, BodyError},
};

use crate::{
    accounts::Account,
    callbacks::{Callbacks, StoredEvent},
    core::{
        BodyId, Finish, Generation, InitDecision, KeptPart, NextCheck, Opened, PartCheck, Record, Session, StoredFile,
        Upload, UploadKey, no_session, refuse,
    },
    requests::{Asked, Refusal, Standards},
    store::{Staging, Store},
};

/// How much of a kept body is read at a time to take its hash.
const READ_PIECE: usize = 256 << 10;

/// How long the proof of a finished upload is to be believed, in seconds. The documents do not say; a day leaves an
/// application's own server time to look at it.
const PROOF_LIFE: i64 = 86_400;

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

    /// Checks a request and takes its body in, without any effect.
    pub(crate) async fn read(&self, head: &Head, body: &mut Body) -> Result<Staged, BodyError> {
        if head.is_preflight() {
            return Ok(Staged::Decided(ReplyOut { status: 204, headers: Vec::new(), body: String::new() }));
        }
        let Asked { action, account, request } = match self.standards.check(head, self.clock.now()) {
            Ok(asked) => asked,
            Err(Refusal::Foreign(reply)) => return Ok(Staged::Decided(reply)),
            Err(Refusal::Rejected(rejected, family)) => return Ok(decided(&Reply::Rejected(rejected), family)),
        };
        let Some(file_sha1) = request.file_sha1() else { return Ok(Staged::Report) };
        let asker = Asker::new(action, account, file_sha1);
        let length = head.content_length();
        let refused = |rejected| Ok(decided(&Reply::Rejected(rejected), action.family()));
        match request {
            Request::Report(_) => Ok(Staged::Report),
            Request::Init(asked) => Ok(Staged::Init(asker, asked)),
            Request::Finish(_) => {
                let file = self.would_finish(&asker.key).await;
                Ok(Staged::Finish(asker, Stakes { part: false, file }))
            }
            Request::Part(asked) => {
                let check = match self.check_part(&asker.key, &asked, length).await {
                    Ok(check) => check,
                    Err(rejected) => return refused(rejected),
                };
                match self.receive(action, asked.span.len, Some(asked.part_md5), body).await? {
                    Err(rejected) => refused(rejected),
                    Ok(_) if check == PartCheck::EmptyTail => Ok(decided(&Reply::Part, action.family())),
                    Ok(received) => Ok(Staged::Part(asker, asked, received)),
                }
            }
            Request::Next(asked) => {
                let check = match self.check_next(&asker.key, &asked, length).await {
                    Ok(check) => check,
                    Err(rejected) => return refused(rejected),
                };
                let file = match check {
                    NextCheck::Take => asked.is_last(),
                    NextCheck::Complete => true,
                    NextCheck::Wanted(_) | NextCheck::Exists(_) => false,
                };
                if check != NextCheck::Take {
                    return Ok(Staged::Next(asker, asked, None, Stakes { part: false, file }));
                }
                // The last part is acknowledged by the file it completes: without it there is nothing to say.
                let stakes = Stakes { part: !file, file };
                match self.receive(action, asked.span.len, None, body).await? {
                    Err(rejected) => refused(rejected),
                    Ok(received) => Ok(Staged::Next(asker, asked, Some(received), stakes)),
                }
            }
            Request::Whole(asked) => match self.receive(action, asked.file_size, None, body).await? {
                Err(rejected) => refused(rejected),
                Ok(received) if received.sha1 != file_sha1 => {
                    let message = format!("the body has SHA-1 {}: parameter fileSha says {file_sha1}", received.sha1);
                    refused(refuse(asker.mismatch(), message))
                }
                Ok(received) => {
                    let file = !self.is_stored(&asker.key).await;
                    Ok(Staged::Whole(asker, asked, received, Stakes { part: false, file }))
                }
            },
        }
    }

    /// Would a finish put the file together now, rather than say that it was, or is not all here?
    async fn would_finish(&self, key: &UploadKey) -> bool {
        let Some(slot) = self.slot(key) else { return false };
        let decided = slot.upload.lock().await.decide_finish(key.file_sha1, self.clock.now(), self.lifetime);
        matches!(decided, Ok(Finish::Hash | Finish::Whole(_)))
    }

    async fn is_stored(&self, key: &UploadKey) -> bool {
        let Some(slot) = self.slot(key) else { return false };
        slot.upload.lock().await.stored().is_some()
    }

    async fn check_part(
        &self,
        key: &UploadKey,
        asked: &UploadPart,
        content_length: Option<u64>,
    ) -> Result<PartCheck, Rejected> {
        let check = match self.slot(key) {
            Some(slot) => slot.upload.lock().await.decide_part(asked, self.clock.now(), self.lifetime),
            None => Upload::default().decide_part(asked, self.clock.now(), self.lifetime),
        }?;
        let deviations = findings::empty_tail(asked).into_iter();
        let deviations = deviations.chain(findings::part_length(Role::Part, asked.span, content_length));
        self.standards.note(Family::Server, deviations)?;
        Ok(check)
    }

    async fn check_next(
        &self,
        key: &UploadKey,
        asked: &NextPart,
        content_length: Option<u64>,
    ) -> Result<NextCheck, Rejected> {
        self.standards.note(Family::Legacy, findings::part_length(Role::Next, asked.span, content_length))?;
        match self.slot(key) {
            Some(slot) => slot.upload.lock().await.decide_next(asked, self.clock.now(), self.lifetime),
            None => Upload::default().decide_next(asked, self.clock.now(), self.lifetime),
        }
    }

    /// Takes a body in that must have this length and, if one is given, this MD5.
    async fn receive(
        &self,
        action: Action,
        announced: u64,
        md5: Option<Md5>,
        body: &mut Body,
    ) -> Result<Result<Received, Rejected>, BodyError> {
        if md5.is_some() {
            body.take_md5();
        }
        let wrong = |message: String| Ok(Err(refuse(params::body_refusal(action.role()), message)));
        let mut bytes = match self.store.stage().await {
            Ok(bytes) => bytes,
            Err(error) => return Ok(Err(unwritable(error))),
        };
        loop {
            match body.next().await {
                Ok(None) => break,
                // What is longer than announced is not kept: it is only counted, to say by how much.
                Ok(Some(_)) if body.len() > announced => {}
                Ok(Some(piece)) => {
                    if let Err(error) = bytes.write(piece).await {
                        return Ok(Err(unwritable(error)));
                    }
                }
                Err(too_long @ BodyError::TooLong(_)) => return wrong(too_long.to_string()),
                Err(error) => return Err(error),
            }
        }
        let len = body.len();
        if len != announced {
            return wrong(format!("the body has {len} bytes: parameter dataSize says {announced}"));
        }
        match (body.md5(), md5) {
            (Some(found), Some(said)) if found != said => {
                wrong(format!("the body has MD5 {found}: parameter dataMd5 says {said}"))
            }
            _ => Ok(Ok(Received { bytes, sha1: body.sha1(), md5 })),
        }
    }

    /// What a fault could spoil, if this is committed.
    pub(crate) fn stakes(staged: &Staged) -> Stakes {
        match staged {
            Staged::Decided(_) | Staged::Init(..) | Staged::Report => Stakes::default(),
            Staged::Part(..) => Stakes { part: true, file: false },
            Staged::Finish(_, stakes) | Staged::Next(.., stakes) | Staged::Whole(.., stakes) => *stakes,
        }
    }

    /// Makes it so, and says what came of it.
    pub(crate) async fn commit(&self, staged: Staged, effects: Effects) -> Answer {
        let (family, reply) = match staged {
            Staged::Decided(reply) => return Answer { reply, accepted: false },
            Staged::Report => (Family::Server, Ok(Reply::Part)),
            Staged::Init(asker, asked) => (asker.action.family(), self.init(&asker, &asked).await),
            Staged::Part(asker, asked, received) => {
                (asker.action.family(), self.part(&asker, &asked, received, effects).await)
            }
            Staged::Finish(asker, _) => (asker.action.family(), self.finish(&asker, effects).await.map(Reply::Finish)),
            Staged::Next(asker, asked, received, _) => {
                (asker.action.family(), self.next(&asker, &asked, received, effects).await.map(Reply::Next))
            }
            Staged::Whole(asker, asked, received, _) => {
                (asker.action.family(), self.whole(&asker, &asked, received, effects).await.map(Reply::Finish))
            }
        };
        let accepted = reply.is_ok();
        let reply = ReplyOut::json(reply.unwrap_or_else(Reply::Rejected).to_json(family));
        Answer { reply, accepted }
    }

    async fn init(&self, asker: &Asker, asked: &InitUpload) -> Result<Reply, Rejected> {
        let Asker { key, account, action } = asker;
        let slot = self.slot_or_new(key);
        let mut upload = slot.upload.lock().await;
        let decision = upload.decide_init(key, asked, self.clock.now(), self.lifetime, self.instant_upload)?;
        match decision {
            InitDecision::Answer(reply) => Ok(Reply::Init(reply)),
            InitDecision::Exists(file) => {
                let mut stored = file.reply(account.app_id);
                // The server family's page shows code 2 with fileId alone; what is seen of the service has both.
                if self.standards.profile == Profile::Documented && action.family() == Family::Server {
                    stored.url = None;
                }
                Ok(Reply::Init(InitReply::Exists(stored)))
            }
            InitDecision::Open(record, reply) => {
                self.remember(&mut upload, &record).await?;
                Ok(Reply::Init(reply))
            }
        }
    }

    async fn part(
        &self,
        asker: &Asker,
        asked: &UploadPart,
        received: Received,
        effects: Effects,
    ) -> Result<Reply, Rejected> {
        if effects.drop_part {
            return Ok(Reply::Part);
        }
        let key = &asker.key;
        let slot = self.slot(key).ok_or_else(|| no_session(key.file_sha1))?;
        let Received { bytes, sha1, md5 } = received;
        let body = bytes.keep().await.map_err(unwritable)?;
        let mut upload = slot.upload.lock().await;
        let now = self.clock.now();
        let record = Record::Part { key: key.clone(), at: now, span: asked.span, md5, sha1, body };
        // The session may have ended while the body came in.
        let kept = match upload.decide_part(asked, now, self.lifetime) {
            Ok(_) => self.remember(&mut upload, &record).await,
            Err(rejected) => Err(rejected),
        };
        drop(upload);
        if let Err(rejected) = kept {
            self.store.discard(body).await;
            return Err(rejected);
        }
        self.hash_in_passing(&slot).await;
        Ok(Reply::Part)
    }

    /// Takes the file's hash further, unless someone does already. Whoever does will find the newest part too, unless
    /// it has just finished: then the next one does.
    async fn hash_in_passing(&self, slot: &Slot) {
        if let Ok(_turn) = slot.hashing.try_lock()
            && let Err(error) = self.hash_on(slot).await
        {
            tracing::warn!(%error, "a kept part could not be read back; the finish will try again");
        }
    }

    async fn next(
        &self,
        asker: &Asker,
        asked: &NextPart,
        received: Option<Received>,
        effects: Effects,
    ) -> Result<NextReply, Rejected> {
        let end = asked.span.end();
        if effects.drop_part {
            return Ok(NextReply::Continue { offset: end });
        }
        let slot = self.slot_or_new(&asker.key);
        let body = match received {
            Some(received) => Some((received.bytes.keep().await.map_err(unwritable)?, received.sha1)),
            None => None,
        };
        let kept = self.keep_next(&slot, asker, asked, body, effects).await;
        if let (Some((body, _)), Err(_) | Ok(Some(_))) = (body, &kept) {
            self.store.discard(body).await;
        }
        if let Some(reply) = kept? {
            return Ok(reply);
        }
        if end < asked.file_size {
            self.hash_in_passing(&slot).await;
            return Ok(NextReply::Continue { offset: end });
        }
        self.finish(asker, effects).await.map(NextReply::Stored)
    }

    /// Keeps the part if it is the one that is wanted, and then says nothing; or says what to answer instead.
    async fn keep_next(
        &self,
        slot: &Slot,
        asker: &Asker,
        asked: &NextPart,
        body: Option<(BodyId, Sha1)>,
        effects: Effects,
    ) -> Result<Option<NextReply>, Rejected> {
        let key = &asker.key;
        let mut upload = slot.upload.lock().await;
        let now = self.clock.now();
        match (upload.decide_next(asked, now, self.lifetime)?, body) {
            (NextCheck::Take, Some((body, sha1))) => {
                if self.session_of(&upload).is_none() {
                    let facts = Opened { file: asked.facts.clone(), file_size: asked.file_size, part_size: None };
                    self.remember(&mut upload, &Record::Opened { key: key.clone(), at: now, facts }).await?;
                }
                let part = Record::Part { key: key.clone(), at: now, span: asked.span, md5: None, sha1, body };
                self.remember(&mut upload, &part).await.map(|()| None)
            }
            // The part was not wanted when its body came, and is now: the client hears so and sends it again.
            (NextCheck::Take, None) => Ok(Some(NextReply::Continue { offset: asked.span.offset })),
            (NextCheck::Wanted(offset), _) => Ok(Some(NextReply::Continue { offset })),
            (NextCheck::Complete, _) => {
                drop(upload);
                self.finish(asker, effects).await.map(|stored| Some(NextReply::Stored(stored)))
            }
            (NextCheck::Exists(file_id), _) => Ok(Some(NextReply::Stored(Stored::new(file_id)))),
        }
    }

    async fn whole(
        &self,
        asker: &Asker,
        asked: &SmallFile,
        received: Received,
        effects: Effects,
    ) -> Result<Stored, Rejected> {
        let Asker { key, account, .. } = asker;
        let slot = self.slot_or_new(key);
        let mut upload = slot.upload.lock().await;
        if let Some(file) = upload.stored() {
            return Ok(file.reply(account.app_id));
        }
        let Received { bytes, sha1, .. } = received;
        let body = bytes.keep().await.map_err(unwritable)?;
        let facts = Opened { file: asked.facts.clone(), file_size: asked.file_size, part_size: None };
        let (at, file_id) = (self.clock.now(), upload.next_file_id(key));
        let record = Record::Whole { key: key.clone(), at, facts, sha1, body, file_id };
        if let Err(rejected) = self.remember(&mut upload, &record).await {
            self.store.discard(body).await;
            return Err(rejected);
        }
        self.tell_stored(asker, upload.stored(), effects)
    }

    async fn finish(&self, asker: &Asker, effects: Effects) -> Result<Stored, Rejected> {
        let key = &asker.key;
        let slot = self.slot(key).ok_or_else(|| no_session(key.file_sha1))?;
        let _turn = slot.hashing.lock().await;
        loop {
            let mut upload = slot.upload.lock().await;
            let now = self.clock.now();
            match upload.decide_finish(key.file_sha1, now, self.lifetime)? {
                Finish::Again(file) => return Ok(self.reply(asker, &file)),
                Finish::Hash => {
                    drop(upload);
                    self.hash_on(&slot).await.map_err(unreadable)?;
                }
                Finish::Whole(sha1) if sha1 == key.file_sha1 => {
                    let file_id = upload.next_file_id(key);
                    let record = Record::Stored { key: key.clone(), at: now, file_id };
                    self.remember(&mut upload, &record).await?;
                    return self.tell_stored(asker, upload.stored(), effects);
                }
                Finish::Whole(sha1) => {
                    self.remember(&mut upload, &Record::Dropped { key: key.clone() }).await?;
                    let message = format!(
                        "the parts make a file of SHA-1 {sha1}: fileSha says {}; the upload was dropped",
                        key.file_sha1
                    );
                    return Err(refuse(asker.mismatch(), message));
                }
            }
        }
    }

    /// How a stored file is answered: with the proof that the UGC family has, without the URL that the legacy has not.
    fn reply(&self, asker: &Asker, file: &StoredFile) -> Stored {
        let mut stored = file.reply(asker.account.app_id);
        match (asker.action.family(), &asker.account.verify_key) {
            (Family::Legacy, _) => stored.url = None,
            (Family::Ugc, Some(verify_key)) => {
                let until = self.clock.now().as_second().saturating_add(PROOF_LIFE);
                let proof = VerifyContent { expires: until.try_into().unwrap_or(0), file_id: stored.file_id.clone() };
                stored.verify_content = Some(proof.sign(verify_key));
            }
            (Family::Ugc, None) | (Family::Server, _) => {}
        }
        stored
    }

    /// Answers for a file that was stored just now, and has its callbacks sent.
    fn tell_stored(&self, asker: &Asker, file: Option<&StoredFile>, effects: Effects) -> Result<Stored, Rejected> {
        let file = file.ok_or_else(|| refuse(Code::CACHE_READ, "the file is gone"))?;
        let facts = &file.facts;
        self.callbacks.file_stored(&StoredEvent {
            account: asker.account.name.clone(),
            callback_url: asker.account.callback_url.clone(),
            family: asker.action.family(),
            notify_url: facts.file.notify_url.clone(),
            file_id: file.file_id.clone(),
            url: file.reply(asker.account.app_id).url.unwrap_or_default(),
            file_name: facts.file.name.clone(),
            file_size: facts.file_size,
            file_sha1: asker.key.file_sha1,
            file_md5: None,
            transcode: facts.file.transcode,
            transcode_failure: effects.transcode,
        });
        Ok(self.reply(asker, file))
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

    /// The SHA-1 of kept parts, read again.
    pub(crate) async fn sha1_of(&self, parts: &[KeptPart]) -> io::Result<Sha1> {
        let mut hasher = Sha1Hasher::default();
        for part in parts {
            self.each_piece(part, |piece| hasher.update(piece)).await?;
        }
        Ok(hasher.finish())
    }
}

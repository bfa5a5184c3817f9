//! What the mock makes of a request: reads it, decides by the core, remembers by the store.

use std::{
    collections::BTreeMap,
    io,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::sync::Mutex as AsyncMutex;
use vod_proto::{
    Action, Code, InitUpload, Limits, PartSpan, Request, Sha1, UploadPart,
    digest::Sha1Hasher,
    findings,
    reply::{InitReply, Rejected, Reply},
};
use vod_serve::{
    Answer, Effects, Engine, Head, Journal, ReplyOut, Subject, WallClock,
    body::{Body, BodyError},
};

use crate::{
    core::{BodyId, Finish, InitDecision, KeptPart, PartCheck, Record, Session, Upload, UploadKey, no_session, refuse},
    requests::{Asked, Refusal, Standards},
    store::{Staging, Store},
};

/// How much of a kept body is read at a time to take its hash.
const READ_PIECE: usize = 256 << 10;

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
}

/// A request whose body was read, waiting to be committed.
pub(crate) enum Staged {
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
        sha1: Sha1,
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
    ) -> io::Result<Self> {
        let mut uploads = BTreeMap::<UploadKey, Upload>::new();
        for record in store.load().await? {
            uploads.entry(record.key().clone()).or_default().apply(&record);
        }
        let slots = uploads.into_iter().map(|(key, upload)| (key, Arc::new(Slot::new(upload)))).collect();
        let lifetime = Duration::from_secs(standards.limits.session_lifetime_s);
        Ok(Self { standards, lifetime, instant_upload, clock, store, slots: Mutex::new(slots), journal, engine })
    }

    pub(crate) fn journal(&self) -> &Journal {
        &self.journal
    }

    pub(crate) fn engine(&self) -> &Engine {
        &self.engine
    }

    pub(crate) const fn limits(&self) -> &Limits {
        &self.standards.limits
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

    /// Who and what a request is about, as far as its head tells.
    pub(crate) async fn subject(&self, head: &Head) -> Subject {
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
            part_number = self.session_of(&upload).map(|session| part.offset / session.layout().part_size() + 1);
        }
        Subject { account, action, file_sha1, part, part_number }
    }

    /// Checks a request and takes its body in, without any effect.
    pub(crate) async fn read(&self, head: &Head, body: &mut Body) -> Result<Staged, BodyError> {
        match self.standards.check(head, self.clock.now()) {
            Err(Refusal::Foreign(reply)) => Ok(Staged::Decided(reply)),
            Err(Refusal::Rejected(rejected)) => Ok(rejected.into()),
            Ok(Asked { key, app_id, request }) => match request {
                Request::Init(asked) => Ok(Staged::Init { asked, key, app_id }),
                Request::Finish(_) => Ok(Staged::Finish { key, app_id }),
                Request::Part(asked) => match self.check_part(&key, &asked, head.content_length()).await {
                    Err(rejected) => Ok(rejected.into()),
                    Ok(check) => self.read_part(asked, key, check, body).await,
                },
            },
        }
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
        self.standards.note(findings::empty_tail(asked))?;
        self.standards.note(findings::part_length(asked, content_length))?;
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
            PartCheck::Take => Staged::Part { asked, key, bytes, sha1: body.sha1() },
        })
    }

    /// Makes it so, and says what came of it.
    pub(crate) async fn commit(&self, staged: Staged, effects: Effects) -> Answer {
        let reply = match staged {
            Staged::Decided(reply) => return Answer { reply, accepted: false },
            Staged::Init { asked, key, app_id } => self.init(&key, &asked, app_id).await,
            Staged::Part { asked, key, bytes, sha1 } => self.part(&key, &asked, bytes, sha1, effects).await,
            Staged::Finish { key, app_id } => self.finish(&key, app_id).await,
        };
        Answer { accepted: reply.is_ok(), reply: answer(&reply.unwrap_or_else(Reply::Rejected)) }
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
        sha1: Sha1,
        effects: Effects,
    ) -> Result<Reply, Rejected> {
        if effects.drop_part {
            return Ok(Reply::Part);
        }
        let slot = self.slot(key).ok_or_else(|| no_session(key.file_sha1))?;
        let body = bytes.keep().await.map_err(unwritable)?;
        let kept = self.keep_part(&slot, key, asked, sha1, body).await;
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

    async fn keep_part(
        &self,
        slot: &Slot,
        key: &UploadKey,
        asked: &UploadPart,
        sha1: Sha1,
        body: BodyId,
    ) -> Result<(), Rejected> {
        let mut upload = slot.upload.lock().await;
        let now = self.clock.now();
        // The session may have ended while the body came in.
        upload.decide_part(asked, now, self.lifetime)?;
        let record = Record::Part { key: key.clone(), at: now, span: asked.span, md5: asked.part_md5, sha1, body };
        self.remember(&mut upload, &record).await
    }

    async fn finish(&self, key: &UploadKey, app_id: u64) -> Result<Reply, Rejected> {
        let slot = self.slot(key).ok_or_else(|| no_session(key.file_sha1))?;
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

    /// The SHA-1 of kept parts, read again.
    pub(crate) async fn sha1_of(&self, parts: &[KeptPart]) -> io::Result<Sha1> {
        let mut hasher = Sha1Hasher::default();
        for part in parts {
            self.each_piece(part, |piece| hasher.update(piece)).await?;
        }
        Ok(hasher.finish())
    }
}

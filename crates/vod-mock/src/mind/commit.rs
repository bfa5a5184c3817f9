//! Commits a request: decides by the core, remembers by the store, says what to answer.

use vod_proto::{
    Code, Family, InitUpload, NextPart, PartSpan, Sha1, SmallFile, UploadPart,
    digest::Sha1Hasher,
    reply::{InitReply, NextReply, Rejected, Reply, Stored},
    rules::Profile,
    ugc::VerifyContent,
};
use vod_serve::{Answer, Effects, ReplyOut};

use super::{Asker, Mind, Received, Slot, Staged, What, sweep::SWEPT_IN_PASSING, unreadable, unwritable};
use crate::{
    callbacks::StoredEvent,
    core::{BodyId, Finish, InitDecision, NextCheck, Opened, Record, StoredFile, Upload, no_session, refuse},
};

/// How long the proof of a finished upload is to be believed, in seconds. The documents do not say; a day leaves an
/// application's own server time to look at it.
const PROOF_LIFE: i64 = 86_400;

impl Mind {
    /// Makes it so, and says what came of it.
    pub(crate) async fn commit(&self, staged: Staged, effects: Effects) -> Answer {
        let (family, reply) = match staged.what {
            What::Decided(reply) => return Answer { reply, tail: None, accepted: false, receipt: None },
            What::Report => (Family::Server, Ok(Reply::Part)),
            What::Init(asker, asked) => (asker.action.family(), self.init(&asker, &asked, effects).await),
            What::Part(asker, asked, received) => {
                (asker.action.family(), self.part(&asker, &asked, received, effects).await)
            }
            What::Finish(asker) => (asker.action.family(), self.finish(&asker, effects).await.map(Reply::Finish)),
            What::Next(asker, asked, received) => {
                (asker.action.family(), self.next(&asker, &asked, received, effects).await.map(Reply::Next))
            }
            What::Whole(asker, asked, received) => {
                (asker.action.family(), self.whole(&asker, &asked, received, effects).await.map(Reply::Finish))
            }
        };
        let accepted = reply.is_ok();
        let reply = ReplyOut::of(&reply.unwrap_or_else(Reply::Rejected), family);
        Answer { reply, tail: None, accepted, receipt: None }
    }

    async fn init(&self, asker: &Asker, asked: &InitUpload, effects: Effects) -> Result<Reply, Rejected> {
        let slot = asker.slot_or_new();
        let mut upload = slot.upload.lock().await;
        let (key, now) = (&asker.key, asker.now());
        let mut decision = upload.decide_init(key, asked, now, asker.lifetime(), self.instant_upload)?;
        if let (Some(part_size), InitDecision::Open(..) | InitDecision::Answer(_)) = (effects.part_size, &decision) {
            decision = upload.decide_init_on(key, asked, now, asker.lifetime(), part_size);
        }
        let mut reply = match decision {
            InitDecision::Answer(reply) => reply,
            InitDecision::Exists(file) => {
                let mut stored = file.reply(asker.active.account.app_id);
                // The server family's page shows code 2 with fileId alone; what is seen of the service has both.
                if self.standards.profile == Profile::Documented && asker.action.family() == Family::Server {
                    stored.url = None;
                }
                InitReply::Exists(stored)
            }
            InitDecision::Open(record, reply) => {
                self.remember(asker, &mut upload, &record).await?;
                drop(upload);
                self.sweep(&asker.active.space, SWEPT_IN_PASSING).await;
                return Ok(Reply::Init(reply));
            }
        };
        if let (InitReply::Resume { parts, .. }, Some(lie)) = (&mut reply, effects.list)
            && let Some(session) = asker.active.space.session_of(&upload)
        {
            *parts = session.lie(lie);
        }
        Ok(Reply::Init(reply))
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
        let slot = asker.slot().ok_or_else(|| no_session(key.file_sha1))?;
        let md5 = received.md5;
        let (body, sha1) = self.keep(received, asked.span, effects).await?;
        let mut upload = slot.upload.lock().await;
        let now = asker.now();
        let record = Record::Part { key: key.clone(), at: now, span: asked.span, md5, sha1, body };
        // The session may have ended while the body came in.
        let decided = upload
            .decide_part(asked, now, asker.lifetime())
            .and_then(|_| if self.store.rereads() { Ok(()) } else { upload.decide_unread(asked.span, sha1) });
        let kept = match decided {
            Ok(()) => self.remember(asker, &mut upload, &record).await,
            Err(rejected) => Err(rejected),
        };
        let passed = asker.active.space.session_of(&upload).is_some_and(|session| session.has_passed(asked.span));
        drop(upload);
        if let Err(rejected) = kept {
            self.store.discard(body).await;
            return Err(rejected);
        }
        if passed {
            self.store.passed(body).await;
        }
        self.hash_in_passing(&slot).await;
        Ok(Reply::Part)
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
        let slot = asker.slot_or_new();
        let body = match received {
            Some(received) => Some(self.keep(received, asked.span, effects).await?),
            None => None,
        };
        let kept = self.keep_next(&slot, asker, asked, body, effects).await;
        if asked.span.offset == 0 {
            self.sweep(&asker.active.space, SWEPT_IN_PASSING).await;
        }
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
        let now = asker.now();
        match (upload.decide_next(asked, now, asker.lifetime())?, body) {
            (NextCheck::Take, Some((body, sha1))) => {
                if asker.active.space.session_of(&upload).is_none() {
                    let facts = Opened { file: asked.facts.clone(), file_size: asked.file_size, part_size: None };
                    self.remember(asker, &mut upload, &Record::Opened { key: key.clone(), at: now, facts }).await?;
                }
                let part = Record::Part { key: key.clone(), at: now, span: asked.span, md5: None, sha1, body };
                self.remember(asker, &mut upload, &part).await.map(|()| None)
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
        let key = &asker.key;
        let slot = asker.slot_or_new();
        let mut upload = slot.upload.lock().await;
        if let Some(file) = upload.stored() {
            return Ok(self.reply(asker, file));
        }
        let Received { bytes, sha1, .. } = received;
        let body = bytes.keep().await.map_err(unwritable)?;
        let facts = Opened { file: asked.facts.clone(), file_size: asked.file_size, part_size: None };
        let (at, file_id) = (asker.now(), upload.next_file_id(key));
        let record = Record::Whole { key: key.clone(), at, facts, sha1, body, file_id };
        if let Err(rejected) = self.remember(asker, &mut upload, &record).await {
            self.store.discard(body).await;
            return Err(rejected);
        }
        // Its hash was taken, and compared, while it came in.
        self.store.passed(body).await;
        self.tell_stored(asker, upload.stored(), effects)
    }

    async fn finish(&self, asker: &Asker, effects: Effects) -> Result<Stored, Rejected> {
        let key = &asker.key;
        let slot = asker.slot().ok_or_else(|| no_session(key.file_sha1))?;
        let _turn = slot.hashing.lock().await;
        loop {
            let mut upload = slot.upload.lock().await;
            let now = asker.now();
            match upload.decide_finish(key.file_sha1, now, asker.lifetime())? {
                Finish::Again(file) => return Ok(self.reply(asker, &file)),
                Finish::Hash => {
                    drop(upload);
                    self.hash_on(&slot).await.map_err(unreadable)?;
                }
                Finish::Whole(sha1) if sha1 == key.file_sha1 => {
                    let file_id = upload.next_file_id(key);
                    let record = Record::Stored { key: key.clone(), at: now, file_id };
                    self.remember(asker, &mut upload, &record).await?;
                    return self.tell_stored(asker, upload.stored(), effects);
                }
                Finish::Whole(sha1) => {
                    self.remember(asker, &mut upload, &Record::Dropped { key: key.clone() }).await?;
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
        let account = &asker.active.account;
        let mut stored = file.reply(account.app_id);
        match (asker.action.family(), &account.verify_key) {
            (Family::Legacy, _) => stored.url = None,
            (Family::Ugc, Some(verify_key)) => {
                let until = asker.now().as_second().saturating_add(PROOF_LIFE);
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
        let (facts, account) = (&file.facts, &asker.active.account);
        self.callbacks.file_stored(&StoredEvent {
            account: account.name.clone(),
            callback_url: account.callback_url.clone(),
            family: asker.action.family(),
            notify_url: facts.file.notify_url.clone(),
            file_id: file.file_id.clone(),
            url: file.reply(account.app_id).url.unwrap_or_default(),
            file_name: facts.file.name.clone(),
            file_size: facts.file_size,
            file_sha1: asker.key.file_sha1,
            file_md5: None,
            transcode: facts.file.transcode,
            transcode_failure: effects.transcode,
        });
        Ok(self.reply(asker, file))
    }

    /// Keeps a body, spoilt if a fault wants it so. Says where, and the SHA-1 of what is kept.
    async fn keep(&self, received: Received, span: PartSpan, effects: Effects) -> Result<(BodyId, Sha1), Rejected> {
        let Received { mut bytes, sha1, .. } = received;
        let Some(at) = effects.corrupt else { return Ok((bytes.keep().await.map_err(unwritable)?, sha1)) };
        bytes.flip(at).await.map_err(unwritable)?;
        let body = bytes.keep().await.map_err(unwritable)?;
        // Not the digest of what came: when the part comes again as it was, that must count as other bytes.
        let mut kept = Sha1Hasher::default();
        let read = self.each_piece(body, span.len, |piece| kept.update(piece)).await;
        read.map_err(unreadable)?;
        Ok((body, kept.finish()))
    }

    /// Makes what a request of this account came to true, unless the account was removed meanwhile.
    async fn remember(&self, asker: &Asker, upload: &mut Upload, record: &Record) -> Result<(), Rejected> {
        // Whoever removes an account says so first and then waits for each upload, which is the caller's now.
        if asker.active.is_removed() {
            return Err(refuse(Code::SIGNATURE, format!("the account {} was removed", asker.active.account.name)));
        }
        if asker.resets != asker.active.resets() {
            return Err(refuse(Code::CACHE_READ, format!("the account {} began anew", asker.active.account.name)));
        }
        self.write_down(upload, record).await
    }

    /// Makes a record true: first in the store, then in memory. Frees what nobody needs after it.
    pub(super) async fn write_down(&self, upload: &mut Upload, record: &Record) -> Result<(), Rejected> {
        self.store.append(record).await.map_err(unwritable)?;
        for body in upload.apply(record) {
            self.store.discard(body).await;
        }
        Ok(())
    }
}

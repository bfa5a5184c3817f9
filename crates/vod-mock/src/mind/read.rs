//! Reads a request: checks its head, takes its body in, without any effect.

use std::sync::Arc;

use bytes::Bytes;
use vod_proto::{
    Action, Family, InitUpload, Md5, NextPart, Request, UploadPart,
    action::Role,
    params,
    reply::{Rejected, Reply},
    rules,
};
use vod_serve::{
    Head, ReplyOut, Stakes,
    body::{Body, BodyError},
};

use super::{Asker, Mind, Received, Staged, What, decided, unwritable};
use crate::{
    core::{Finish, InitDecision, NextCheck, PartCheck, Upload, refuse},
    namespace::ActiveAccount,
    requests::{Asked, Refusal},
};

impl Mind {
    /// Checks a request and takes its body in, without any effect.
    pub(crate) async fn read(
        &self,
        head: &Head,
        caller: Option<Arc<ActiveAccount>>,
        body: &mut Body,
    ) -> Result<Staged, BodyError> {
        if head.is_preflight() {
            return Ok(What::Decided(ReplyOut::new(204, Vec::new(), Bytes::new())).safe());
        }
        let Asked { action, account, request } = match self.standards.check(head, caller, self.clock.now()) {
            Ok(asked) => asked,
            Err(Refusal::Foreign(reply)) => return Ok(What::Decided(reply).safe()),
            Err(Refusal::Rejected(rejected, family)) => return Ok(decided(&Reply::Rejected(rejected), family)),
        };
        let Some(file_sha1) = request.file_sha1() else { return Ok(What::Report.safe()) };
        let asker = Asker::new(action, account, file_sha1);
        let length = head.content_length();
        let refused = |rejected| Ok(decided(&Reply::Rejected(rejected), action.family()));
        match request {
            Request::Report(_) => Ok(What::Report.safe()),
            Request::Init(asked) => {
                let stakes = self.opening_stakes(&asker, &asked).await;
                Ok(What::Init(asker, asked).at(stakes))
            }
            Request::Finish(_) => {
                let file = would_finish(&asker).await;
                Ok(What::Finish(asker).at(Stakes { file, ..Stakes::default() }))
            }
            Request::Part(asked) => {
                let check = match self.check_part(&asker, &asked, length).await {
                    Ok(check) => check,
                    Err(rejected) => return refused(rejected),
                };
                match self.receive(action, asked.span.len, Some(asked.part_md5), body).await? {
                    Err(rejected) => refused(rejected),
                    Ok(_) if check == PartCheck::EmptyTail => Ok(decided(&Reply::Part, action.family())),
                    Ok(received) => {
                        let stakes = Stakes { part: Some(asked.span.len), ..Stakes::default() };
                        Ok(What::Part(asker, asked, received).at(stakes))
                    }
                }
            }
            Request::Next(asked) => {
                let check = match self.check_next(&asker, &asked, length).await {
                    Ok(check) => check,
                    Err(rejected) => return refused(rejected),
                };
                let file = match check {
                    NextCheck::Take => asked.is_last(),
                    NextCheck::Complete => true,
                    NextCheck::Wanted(_) | NextCheck::Exists(_) => false,
                };
                if check != NextCheck::Take {
                    return Ok(What::Next(asker, asked, None).at(Stakes { file, ..Stakes::default() }));
                }
                // The last part is acknowledged by the file it completes: without it there is nothing to say.
                let part = (!file).then_some(asked.span.len);
                let stakes = Stakes { part, file, ..Stakes::default() };
                match self.receive(action, asked.span.len, None, body).await? {
                    Err(rejected) => refused(rejected),
                    Ok(received) => Ok(What::Next(asker, asked, Some(received)).at(stakes)),
                }
            }
            Request::Whole(asked) => match self.receive(action, asked.file_size, None, body).await? {
                Err(rejected) => refused(rejected),
                Ok(received) if received.sha1 != file_sha1 => {
                    let message = format!("the body has SHA-1 {}: parameter fileSha says {file_sha1}", received.sha1);
                    refused(refuse(asker.mismatch(), message))
                }
                Ok(received) => {
                    let file = !is_stored(&asker).await;
                    Ok(What::Whole(asker, asked, received).at(Stakes { file, ..Stakes::default() }))
                }
            },
        }
    }

    /// What would the answer to this opening have, that a fault could spoil?
    async fn opening_stakes(&self, asker: &Asker, asked: &InitUpload) -> Stakes {
        if self.engine.is_idle() {
            return Stakes::default();
        }
        let none = Upload::default();
        let (now, lifetime) = (asker.now(), asker.lifetime());
        let decide = |upload: &Upload| {
            let exists = matches!(
                upload.decide_init(&asker.key, asked, now, lifetime, self.instant_upload),
                Ok(InitDecision::Exists(_)) | Err(_)
            );
            let listed = upload.session(now, lifetime).is_some_and(|session| session.parts_kept() > 0);
            Stakes { opening: !exists, list: !exists && listed, ..Stakes::default() }
        };
        match asker.slot() {
            Some(slot) => decide(&*slot.upload.lock().await),
            None => decide(&none),
        }
    }

    async fn check_part(
        &self,
        asker: &Asker,
        asked: &UploadPart,
        content_length: Option<u64>,
    ) -> Result<PartCheck, Rejected> {
        let (now, lifetime) = (asker.now(), asker.lifetime());
        let check = match asker.slot() {
            Some(slot) => slot.upload.lock().await.decide_part(asked, now, lifetime),
            None => Upload::default().decide_part(asked, now, lifetime),
        }?;
        let deviations = rules::empty_tail(asked).into_iter();
        let deviations = deviations.chain(rules::part_length(Role::Part, asked.span, content_length));
        self.standards.note(Family::Server, deviations)?;
        Ok(check)
    }

    async fn check_next(
        &self,
        asker: &Asker,
        asked: &NextPart,
        content_length: Option<u64>,
    ) -> Result<NextCheck, Rejected> {
        self.standards.note(Family::Legacy, rules::part_length(Role::Next, asked.span, content_length))?;
        let (now, lifetime) = (asker.now(), asker.lifetime());
        match asker.slot() {
            Some(slot) => slot.upload.lock().await.decide_next(asked, now, lifetime),
            None => Upload::default().decide_next(asked, now, lifetime),
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
}

/// Would a finish put the file together now, rather than say that it was, or is not all here?
async fn would_finish(asker: &Asker) -> bool {
    let Some(slot) = asker.slot() else { return false };
    let decided = slot.upload.lock().await.decide_finish(asker.key.file_sha1, asker.now(), asker.lifetime());
    matches!(decided, Ok(Finish::Hash | Finish::Whole(_)))
}

async fn is_stored(asker: &Asker) -> bool {
    let Some(slot) = asker.slot() else { return false };
    slot.upload.lock().await.stored().is_some()
}

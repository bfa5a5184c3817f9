//! The machine of an upload, told something else than what happened.

use std::{collections::VecDeque, time::Duration};

use vod_proto::{
    Action, Code, Md5, PartSpan, Sha1,
    action::Role,
    code::RetryClass,
    reply::{InitReply, NextReply, Rejected, Reply, Stored},
};

use super::{Mutant, here, is};
use crate::{
    core::{self, Answered, CallId, Delivery, Job, Plan, Send, Step, Trouble, What},
    error::{Failure, SourceError, UploadError},
    event::Event,
};

/// A machine that errs; with no mistake to make it is the machine.
#[derive(Debug)]
pub(crate) struct Machine {
    real: core::Machine,
    /// The grid that was asked for, in bytes.
    part_size: u64,
    file_size: u64,
    /// Requests that are sent although the machine did not ask for them.
    more: VecDeque<Send>,
    /// Requests whose next answer the machine is not told.
    unheard: Vec<CallId>,
    /// The part that was sent last.
    sent: Option<PartSpan>,
    /// The end that was jumped to.
    ended: Option<UploadError>,
}

impl Machine {
    pub(crate) fn new(mut plan: Plan) -> Self {
        match here() {
            Some(Mutant::FileSha1Wrong) => plan.init.file_sha1 = Sha1::of(plan.init.file_sha1.as_bytes()),
            Some(Mutant::TaskLeftBehind) => drop(tokio::spawn(std::future::pending::<()>())),
            _ => {}
        }
        Self {
            part_size: plan.init.part_size,
            file_size: plan.init.file_size,
            real: core::Machine::new(plan),
            more: VecDeque::new(),
            unheard: Vec::new(),
            sent: None,
            ended: None,
        }
    }

    pub(crate) const fn file_sha1(&self) -> Sha1 {
        self.real.file_sha1()
    }

    pub(crate) fn poll_event(&mut self) -> Option<Event> {
        self.real.poll_event()
    }

    pub(crate) fn poll_step(&mut self, now: Duration) -> Step {
        if let Some(error) = self.ended.take() {
            return Step::Done(Err(error));
        }
        if let Some(send) = self.more.pop_front() {
            return Step::Do(Job::Send(send));
        }
        match self.real.poll_step(now) {
            Step::Do(Job::Send(send)) => {
                self.sends(&send, now);
                Step::Do(Job::Send(send))
            }
            Step::Done(Err(error)) if is(Mutant::MaybeNeverSaid) => {
                Step::Done(Err(UploadError { may_be_committed: false, ..error }))
            }
            step => step,
        }
    }

    fn sends(&mut self, send: &Send, now: Duration) {
        self.sent = send.what.span();
        let What::Part(span) = send.what else { return };
        match here() {
            Some(Mutant::FinishBeforeLastAck) if span.end() == self.file_size && send.attempt == 1 => {
                self.unheard.push(send.call);
                self.real.handle_answer(send.call, acknowledged(), now);
            }
            Some(Mutant::PartsSentTwice) if send.attempt == 1 => {
                self.unheard.push(send.call);
                self.more.push_back(send.clone());
            }
            _ => {}
        }
    }

    pub(crate) fn handle_answer(&mut self, call: CallId, answered: Answered, now: Duration) {
        if let Some(at) = self.unheard.iter().position(|unheard| *unheard == call) {
            self.unheard.remove(at);
            return;
        }
        let Answered { result, part_md5, bytes } = answered;
        let result = match here() {
            Some(mutant) => self.heard(mutant, call, result, now),
            None => result,
        };
        // What was not acknowledged and counts as if it were has some MD5 or other.
        let part_md5 = part_md5.or_else(|| matches!(result, Ok(Reply::Part)).then(|| Md5::of(b"")));
        self.real.handle_answer(call, Answered { result, part_md5, bytes }, now);
    }

    /// What the machine hears of an answer.
    fn heard(
        &mut self,
        mutant: Mutant,
        call: CallId,
        result: Result<Reply, Trouble>,
        now: Duration,
    ) -> Result<Reply, Trouble> {
        use Mutant as M;
        let role = call.action.role();
        match (mutant, result) {
            (M::ListIgnored, Ok(Reply::Init(InitReply::Resume { part_size, .. }))) => {
                Ok(Reply::Init(InitReply::Resume { part_size, parts: Vec::new() }))
            }
            (M::OwnGridKept, Ok(Reply::Init(InitReply::Resume { parts, .. }))) => {
                Ok(Reply::Init(InitReply::Resume { part_size: self.part_size, parts }))
            }
            (M::ExistsNotUnderstood, Ok(Reply::Init(InitReply::Exists(_)))) => Ok(Reply::Init(InitReply::Fresh)),
            (M::FailedPartForgotten, Ok(Reply::Rejected(_)) | Err(_)) if role == Role::Part => Ok(Reply::Part),
            (M::FinalRefusalOverheard, Ok(Reply::Rejected(no))) if role == Role::Part && is_final(&no) => {
                Ok(Reply::Part)
            }
            (M::FinalRefusalTriedAgain, Ok(Reply::Rejected(no))) if is_final(&no) => Ok(again(no)),
            (M::QuotaNotWaitedFor, Ok(Reply::Rejected(no))) if no.retry_class() == RetryClass::AfterWait => {
                Ok(again(no))
            }
            (M::LostFinishIsSuccess, Err(_)) if role == Role::Finish => Ok(Reply::Finish(Stored::new("1"))),
            (M::LostFinishIsFailure, Err(trouble)) if role == Role::Finish => {
                if trouble.delivery == Delivery::MaybeActedOn {
                    self.ended = Some(failed(call.action, trouble.failure.clone(), now));
                }
                Err(trouble)
            }
            (M::OffsetIgnored, Ok(Reply::Next(NextReply::Continue { offset }))) => {
                let next = self.sent.map_or(offset, PartSpan::end);
                Ok(Reply::Next(NextReply::Continue { offset: if next < self.file_size { next } else { offset } }))
            }
            (M::GarbagePanics, Err(Trouble { failure: Failure::Malformed(why), .. })) => panic!("{why}"),
            (_, result) => result,
        }
    }

    pub(crate) fn handle_compared(&mut self, index: u64, md5: Md5, same: bool, now: Duration) {
        self.real.handle_compared(index, md5, same || is(Mutant::ListTrusted), now);
    }

    pub(crate) fn handle_source_checked(&mut self, result: Result<(), SourceError>, now: Duration) {
        self.real.handle_source_checked(result, now);
    }

    pub(crate) fn handle_source_failed(&mut self, error: SourceError, now: Duration) {
        self.real.handle_source_failed(error, now);
    }
}

fn acknowledged() -> Answered {
    Answered { result: Ok(Reply::Part), part_md5: Some(Md5::of(b"")), bytes: 0 }
}

fn is_final(rejected: &Rejected) -> bool {
    rejected.retry_class() == RetryClass::Final
}

/// A refusal that may be tried again, where it may not.
fn again(rejected: Rejected) -> Reply {
    Reply::Rejected(Rejected { code: Code::CACHE_WRITE, can_retry: Some(true), ..rejected })
}

/// A failure behind which nothing is, as its client says.
const fn failed(action: Action, failure: Failure, now: Duration) -> UploadError {
    UploadError {
        failure,
        may_be_committed: false,
        action: Some(action),
        span: None,
        attempts: 1,
        elapsed: now,
        parts_failed: 0,
        requests: 0,
    }
}

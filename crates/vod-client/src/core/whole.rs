//! The states of an upload whose one request sends a small file whole and stores it.
//!
//! ```text
//!   AwaitSourceCheck ──unchanged──▶ AwaitAnswer ──code 0──▶ Done
//!          ▲                             │
//!          └─────── again, in time ──────┘
//! ```

use std::{collections::VecDeque, time::Duration};

use vod_proto::{
    Action, PartSpan, Sha1, SmallFile,
    reply::{Reply, Stored},
};

use super::{
    dice::{CallId, Dice},
    retry::{After, Delivery, Retry, Tries, Verdict},
    tally::Tally,
    upload::{Answered, Job, Plan, Send, Step, What, When, failed_by, not_due},
};
use crate::{
    error::{Failure, GaveUp, SourceError, UploadError},
    event::Event,
    report::{Outcome, UploadReport},
};

/// The one action.
const ACTION: Action = Action::SmallFileUpload;

/// The one request.
const CALL: CallId = CallId { action: ACTION, part: 0, round: 0 };

#[derive(Debug)]
enum State {
    /// The source is looked at when an attempt is due, before each anew: what is sent must be what was hashed.
    AwaitSourceCheck {
        when: When,
    },
    AwaitAnswer {
        when: When,
    },
    Done(Option<Result<UploadReport, UploadError>>),
}

/// An upload of one request, as decisions.
///
/// It is called like [`Upload`](super::upload::Upload), and has at most one job under way.
#[derive(Debug)]
pub(crate) struct Whole {
    file: SmallFile,
    retry: Retry,
    state: State,
    tries: Tries,
    /// What became of the last attempt whose fate is unknown. It stays: a late commit cannot be ruled out.
    unclear: Option<Failure>,
    tally: Tally,
    events: VecDeque<Event>,
}

impl Whole {
    /// There is nothing to cut: what the plan says of parts is not heard.
    pub(crate) fn new(plan: Plan) -> Self {
        let Plan { init, retry, seed, family: _, parallel: _ } = plan;
        let dice = Dice::new(seed, init.file_sha1);
        Self {
            file: SmallFile { facts: init.facts, file_sha1: init.file_sha1, file_size: init.file_size },
            retry: Retry::new(retry, dice),
            state: State::AwaitSourceCheck { when: When::At(Duration::ZERO) },
            tries: Tries::default(),
            unclear: None,
            tally: Tally::default(),
            events: VecDeque::new(),
        }
    }

    /// Which upload this is.
    pub(crate) const fn file_sha1(&self) -> Sha1 {
        self.file.file_sha1
    }

    /// What has happened since the last call.
    pub(crate) fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// What to do now.
    pub(crate) fn poll_step(&mut self, now: Duration) -> Step {
        let deadline = self.retry.policy.deadline;
        if deadline.is_some_and(|deadline| deadline <= now) {
            self.give_up_at_deadline(now);
        }
        match &mut self.state {
            State::AwaitSourceCheck { when } => {
                if let Some(wait) = not_due(*when, now, deadline) {
                    return wait;
                }
                *when = When::InFlight;
                Step::Do(Job::CheckSource)
            }
            State::AwaitAnswer { when } => {
                if let Some(wait) = not_due(*when, now, deadline) {
                    return wait;
                }
                *when = When::InFlight;
                self.retry.started(&mut self.tries, now);
                let attempt = self.tries.started;
                self.tally.requests += 1;
                self.events.push_back(Event::AttemptStarted { action: ACTION, span: None, attempt });
                let nonce = self.retry.dice.nonce(CALL, attempt);
                Step::Do(Job::Send(Send { call: CALL, what: What::Whole(self.file.clone()), attempt, nonce }))
            }
            State::Done(result) => result.take().map_or(Step::Wait(None), Step::Done),
        }
    }

    /// An attempt ended.
    pub(crate) fn handle_answer(&mut self, call: CallId, answered: Answered, now: Duration) {
        debug_assert_eq!(call, CALL, "there is one request");
        self.tally.bytes_sent += answered.bytes;
        let State::AwaitAnswer { when: When::InFlight } = self.state else { return };
        match answered.result {
            Ok(Reply::Finish(stored)) => self.stored(stored, now),
            Ok(Reply::Rejected(rejected)) => {
                let (failure, after) = failed_by(rejected);
                self.failed(failure, after, now);
            }
            Ok(other) => unreachable!("{ACTION} is not answered by {other:?}"),
            Err(trouble) => {
                // A server that did not get the whole file cannot have stored it.
                if answered.bytes >= self.file.file_size && trouble.delivery == Delivery::MaybeActedOn {
                    self.unclear = Some(trouble.failure.clone());
                }
                let after = After::from(&trouble);
                self.failed(trouble.failure, after, now);
            }
        }
    }

    /// The source was looked at, before the file is sent.
    pub(crate) fn handle_source_checked(&mut self, result: Result<(), SourceError>, now: Duration) {
        match (result, &self.state) {
            (Err(error), _) => self.handle_source_failed(error, now),
            (Ok(()), State::AwaitSourceCheck { .. }) => self.state = State::AwaitAnswer { when: When::At(now) },
            (Ok(()), _) => {}
        }
    }

    /// The source could not be read, or is not what it was: nothing can come of this upload.
    pub(crate) fn handle_source_failed(&mut self, error: SourceError, now: Duration) {
        self.fail(None, Failure::Source(error), now);
    }

    /// Code 0, which is also what a server answers that had the file before: the reply does not tell.
    fn stored(&mut self, stored: Stored, now: Duration) {
        self.retry.succeeded(self.tries);
        // Or this very request stored it: the reply would be the same.
        let outcome = if self.unclear.is_some() { Outcome::CommittedEarlier } else { Outcome::Finished };
        self.tally.parts_sent += 1;
        let span = PartSpan { offset: 0, len: self.file.file_size };
        self.events.push_back(Event::PartDone { span, skipped: false });
        let report = self.tally.report(outcome, stored, now);
        self.state = State::Done(Some(Ok(report)));
    }

    /// An attempt failed: the same again, or the end.
    fn failed(&mut self, failure: Failure, after: After, now: Duration) {
        let verdict = self.retry.failed(CALL, &mut self.tries, failure.clone(), after, now);
        let retry_in = match &verdict {
            Verdict::SendAt(at) => Some(at.saturating_sub(now)),
            Verdict::Stop(_) => None,
        };
        let attempt = self.tries.started;
        self.events.push_back(Event::AttemptFailed { action: ACTION, span: None, attempt, failure, retry_in });
        match verdict {
            Verdict::SendAt(at) => self.state = State::AwaitSourceCheck { when: When::At(at) },
            Verdict::Stop(stop) => self.fail(Some(ACTION), stop, now),
        }
    }

    fn give_up_at_deadline(&mut self, now: Duration) {
        let exhausted = Failure::Exhausted { why: GaveUp::Deadline, last: None };
        match self.state {
            State::Done(_) => return,
            State::AwaitAnswer { when: When::InFlight } => {
                self.unclear.get_or_insert_with(|| exhausted.clone());
            }
            State::AwaitAnswer { .. } | State::AwaitSourceCheck { .. } => {}
        }
        let sent = self.tries.started > 0;
        self.fail(sent.then_some(ACTION), exhausted, now);
    }

    /// The end; with the action, if its request is to blame.
    fn fail(&mut self, action: Option<Action>, failure: Failure, now: Duration) {
        let tries = action.map(|_| self.tries).unwrap_or_default();
        let error = UploadError {
            failure,
            may_be_committed: self.unclear.is_some(),
            action,
            span: None,
            attempts: tries.started,
            elapsed: now.saturating_sub(tries.since),
            parts_failed: 0,
            requests: self.tally.requests,
        };
        self.state = State::Done(Some(Err(error)));
    }
}

#[cfg(test)]
mod tests;

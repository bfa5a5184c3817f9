//! The states of an upload.
//!
//! ```text
//! AwaitInit ──Fresh, Resume──▶ SendParts ──all held──▶ AwaitSourceCheck ──unchanged──▶ AwaitFinish ──code 0──▶ Done
//!     ▲  └──Exists──▶ Done         │                                                      │
//!     └────────────────────────────┴── session vanished, finish refused, finish unclear ──┘
//! ```

use std::{collections::VecDeque, time::Duration};

use vod_proto::{
    Action, Code, Family, FinishUpload, InitUpload, Md5, PartSpan, Sha1, SmallFile,
    action::Role,
    reply::{InitReply, Rejected, Reply, Stored},
};

use super::{
    dice::{CallId, Dice},
    parts::{Next, Parts},
    retry::{After, Retry, RetryPolicy, Tries, Trouble, Verdict},
    tally::Tally,
};
use crate::{
    error::{Failure, GaveUp, SourceError, UploadError},
    event::Event,
    report::{Outcome, UploadReport},
};

/// How many times in a row the server must miss the session of one request before it is believed.
/// Once may be a failed read of a session that is there (both have the same code).
const VANISHED_AFTER: u32 = 2;

/// What is to be uploaded, and how.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) family: Family,
    /// The request that opens the upload.
    pub(crate) init: InitUpload,
    /// How many parts may be in flight; at least 1.
    pub(crate) parallel: usize,
    pub(crate) retry: RetryPolicy,
    pub(crate) seed: u64,
}

/// Something to do now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Job {
    /// Send a request, and tell [`Upload::handle_answer`].
    Send(Send),
    /// Compare the local bytes with this MD5, and tell [`Upload::handle_compared`].
    Compare { index: u64, span: PartSpan, md5: Md5 },
    /// Look whether the source is still what it was, and tell [`Upload::handle_source_checked`].
    CheckSource,
}

/// One attempt of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Send {
    pub(crate) call: CallId,
    pub(crate) what: What,
    /// The n-th of this request, counted from 1.
    pub(crate) attempt: u32,
    pub(crate) nonce: u64,
}

/// What a request says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum What {
    Init(InitUpload),
    /// The bytes of a part, read for every attempt anew, and their MD5.
    Part(PartSpan),
    Finish(FinishUpload),
    /// The bytes that the legacy family's server wants next.
    Next(PartSpan),
    /// All the bytes of a small file.
    Whole(SmallFile),
}

impl What {
    /// The part that it sends.
    pub(crate) const fn span(&self) -> Option<PartSpan> {
        match self {
            Self::Part(span) | Self::Next(span) => Some(*span),
            Self::Init(_) | Self::Finish(_) | Self::Whole(_) => None,
        }
    }
}

/// What there is to do.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// This, and then ask again.
    Do(Job),
    /// Nothing until a job ends or this time has come.
    Wait(Option<Duration>),
    /// Nothing any more: jobs that are still under way are of no interest.
    Done(Result<UploadReport, UploadError>),
}

/// How an attempt ended.
#[derive(Clone, Debug)]
pub(crate) struct Answered {
    pub(crate) result: Result<Reply, Trouble>,
    /// The MD5 that was announced, for a part.
    pub(crate) part_md5: Option<Md5>,
    /// Bytes of the body that the transport took.
    pub(crate) bytes: u64,
}

/// When the one request of a state is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum When {
    At(Duration),
    InFlight,
}

/// Why the upload is (re)opened.
#[derive(Clone, Debug)]
enum Why {
    Start,
    /// Two -10005 in a row.
    SessionVanished,
    /// The finish got a final answer: perhaps a part is missing.
    FinishRefused {
        failure: Failure,
        tries: Tries,
    },
    /// The finish got no answer: is the file there? With the failure if the finish cannot be tried again.
    FinishUnclear {
        gave_up: Option<Failure>,
    },
}

#[derive(Debug)]
enum State {
    AwaitInit { why: Why, tries: Tries, when: When },
    SendParts { parts: Parts, in_flight: usize, vanished: Option<Failure> },
    AwaitSourceCheck { parts: Parts, asked: bool },
    AwaitFinish { parts: Parts, when: When },
    Done(Option<Result<UploadReport, UploadError>>),
}

/// An upload in three steps, as decisions.
///
/// Call [`poll_step`](Self::poll_step) until it says to wait; do what it says; tell the `handle_` method of each job
/// how it ended; and poll again.
#[derive(Debug)]
pub(crate) struct Upload {
    family: Family,
    init: InitUpload,
    parallel: usize,
    retry: Retry,
    state: State,
    /// What is known of the parts while the upload is being opened again.
    earlier: Option<Parts>,
    /// How often the opening request has been answered.
    round: u32,
    /// How often the upload was reopened for one of the reasons that [`RetryPolicy::reopenings`] bounds.
    reopened: u32,
    /// The finish's attempts; they go on while an unclear one is resolved.
    finish: Tries,
    finish_vanished: u32,
    /// What became of the last finish whose fate is unknown. It stays: a late commit cannot be ruled out.
    unclear: Option<Failure>,
    tally: Tally,
    events: VecDeque<Event>,
}

impl Upload {
    pub(crate) fn new(plan: Plan) -> Self {
        let Plan { family, init, parallel, retry, seed } = plan;
        let dice = Dice::new(seed, init.file_sha1);
        Self {
            family,
            init,
            parallel: parallel.max(1),
            retry: Retry::new(retry, dice),
            state: State::AwaitInit { why: Why::Start, tries: Tries::default(), when: When::At(Duration::ZERO) },
            earlier: None,
            round: 0,
            reopened: 0,
            finish: Tries::default(),
            finish_vanished: 0,
            unclear: None,
            tally: Tally::default(),
            events: VecDeque::new(),
        }
    }

    /// Which upload this is.
    pub(crate) const fn file_sha1(&self) -> Sha1 {
        self.init.file_sha1
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
        loop {
            match &mut self.state {
                State::AwaitInit { tries, when, .. } => {
                    if let Some(wait) = not_due(*when, now, deadline) {
                        return wait;
                    }
                    *when = When::InFlight;
                    self.retry.started(tries, now);
                    let (attempt, what) = (tries.started, What::Init(self.init.clone()));
                    return self.send(self.family.open(), 0, what, attempt);
                }
                State::SendParts { parts, in_flight, vanished } => {
                    let stopped = vanished.is_some() || parts.failed().len() >= self.retry.policy.failed_parts;
                    let free = !stopped && *in_flight < self.parallel;
                    if free && let Some(next) = parts.next(now) {
                        *in_flight += 1;
                        return self.begin_part(next, now);
                    }
                    let due = if free { parts.next_due() } else { None };
                    if *in_flight > 0 || due.is_some() {
                        return Step::Wait(earlier(due, deadline));
                    }
                    self.leave_parts(now);
                }
                State::AwaitSourceCheck { asked, .. } => {
                    if *asked {
                        return Step::Wait(deadline);
                    }
                    *asked = true;
                    return Step::Do(Job::CheckSource);
                }
                State::AwaitFinish { when, .. } => {
                    if let Some(wait) = not_due(*when, now, deadline) {
                        return wait;
                    }
                    *when = When::InFlight;
                    self.retry.started(&mut self.finish, now);
                    let what = What::Finish(FinishUpload { file_sha1: self.init.file_sha1 });
                    return self.send(self.family.finish(), 0, what, self.finish.started);
                }
                State::Done(result) => {
                    return result.take().map_or(Step::Wait(None), Step::Done);
                }
            }
        }
    }

    /// An attempt ended.
    pub(crate) fn handle_answer(&mut self, call: CallId, answered: Answered, now: Duration) {
        self.tally.bytes_sent += answered.bytes;
        match call.action.role() {
            Role::Open => self.handle_init(call, answered.result, now),
            Role::Part => self.handle_part(call, answered.part_md5, answered.result, now),
            Role::Finish => self.handle_finish(call, answered.result, now),
            Role::Next | Role::Whole | Role::Report => unreachable!("{} is not called", call.action),
        }
    }

    /// The local bytes of a listed part were compared with its MD5.
    pub(crate) fn handle_compared(&mut self, index: u64, md5: Md5, same: bool, now: Duration) {
        let State::SendParts { parts, in_flight, .. } = &mut self.state else { return };
        *in_flight -= 1;
        if same {
            let span = parts.span(index);
            parts.hold(index, md5);
            self.tally.parts_skipped += 1;
            self.events.push_back(Event::PartDone { span, skipped: true });
        } else {
            parts.wait(index, now);
        }
    }

    /// The source was looked at, after the last part and before the finish.
    pub(crate) fn handle_source_checked(&mut self, result: Result<(), SourceError>, now: Duration) {
        match result {
            Err(error) => self.handle_source_failed(error, now),
            Ok(()) => {
                let State::AwaitSourceCheck { parts, .. } = self.take_state() else {
                    unreachable!("the source is checked in one state")
                };
                self.events.push_back(Event::Finishing);
                self.state = State::AwaitFinish { parts, when: When::At(now) };
            }
        }
    }

    /// The source could not be read, or is not what it was: nothing can come of this upload.
    pub(crate) fn handle_source_failed(&mut self, error: SourceError, now: Duration) {
        self.fail(None, Failure::Source(error), Tries::default(), now);
    }

    fn send(&mut self, action: Action, part: u64, what: What, attempt: u32) -> Step {
        let call = CallId { action, part, round: self.round };
        self.tally.requests += 1;
        let span = what.span();
        self.events.push_back(Event::AttemptStarted { action, span, attempt });
        Step::Do(Job::Send(Send { call, what, attempt, nonce: self.retry.dice.nonce(call, attempt) }))
    }

    fn begin_part(&mut self, next: Next, now: Duration) -> Step {
        match next {
            Next::Compare { index, span, md5 } => Step::Do(Job::Compare { index, span, md5 }),
            Next::Send { index, span } => {
                let State::SendParts { parts, .. } = &mut self.state else {
                    unreachable!("parts are begun in SendParts")
                };
                let tries = &mut parts.trying(index).tries;
                self.retry.started(tries, now);
                let attempt = tries.started;
                self.send(self.family.part(), index, What::Part(span), attempt)
            }
        }
    }

    /// Nothing is in flight and nothing waits: what now?
    fn leave_parts(&mut self, now: Duration) {
        let State::SendParts { parts, vanished, .. } = self.take_state() else {
            unreachable!("only SendParts is left")
        };
        // A part that failed for good would be sent again after a reopening: that is not what final means.
        if let Some(failed) = parts.failed().values().next() {
            let mut error = self.error(Some(self.family.part()), failed.failure.clone(), failed.tries, failed.at);
            error.span = Some(failed.span);
            error.parts_failed = parts.failed().len().try_into().unwrap_or(u64::MAX);
            self.state = State::Done(Some(Err(error)));
        } else if let Some(because) = vanished {
            self.reopen(parts, Why::SessionVanished, because, now);
        } else {
            assert!(parts.complete(), "a part that neither failed nor waits is held");
            self.state = State::AwaitSourceCheck { parts, asked: false };
        }
    }

    fn handle_init(&mut self, call: CallId, result: Result<Reply, Trouble>, now: Duration) {
        let State::AwaitInit { tries, when, .. } = &mut self.state else { return };
        let (failure, after) = match result {
            Ok(Reply::Init(reply)) => {
                self.retry.succeeded(*tries);
                let State::AwaitInit { why, .. } = self.take_state() else { unreachable!("seen above") };
                return self.opened(why, reply, now);
            }
            Ok(Reply::Rejected(rejected)) => failed_by(rejected),
            Ok(other) => unreachable!("{} is not answered by {other:?}", call.action),
            Err(trouble) => (trouble.failure.clone(), After::from(&trouble)),
        };
        let verdict = self.retry.failed(call, tries, failure.clone(), after, now);
        let attempt = tries.started;
        match &verdict {
            Verdict::SendAt(at) => *when = When::At(*at),
            Verdict::Stop(stop) => {
                let (stop, tries) = (stop.clone(), *tries);
                self.fail(Some(self.family.open()), stop, tries, now);
            }
        }
        self.note_failed(self.family.open(), None, attempt, failure, &verdict, now);
    }

    /// The opening request was answered.
    fn opened(&mut self, why: Why, reply: InitReply, now: Duration) {
        self.round += 1;
        let earlier = self.earlier.take();
        let laid = match reply {
            InitReply::Exists(stored) => {
                let outcome = if self.unclear.is_some() { Outcome::CommittedEarlier } else { Outcome::Existed };
                return self.succeed(outcome, stored, now);
            }
            InitReply::Fresh => {
                if let Some(unclear) = self.unclear.clone() {
                    // The session is gone: the finish has consumed it, or the server lost it. To send all again
                    // could store the file twice.
                    let tries = self.finish;
                    return self.fail(Some(self.family.finish()), unclear, tries, now);
                }
                Parts::fresh(self.init.file_size, self.init.part_size)
            }
            InitReply::Resume { part_size, parts } => {
                Parts::resumed(self.init.file_size, part_size, &parts, earlier.as_ref())
            }
        };
        let parts = match laid {
            Ok(parts) => parts,
            Err(failure) => return self.fail(Some(self.family.open()), failure, Tries::default(), now),
        };
        self.events.push_back(Event::Opened {
            part_size: parts.part_size(),
            parts: parts.count(),
            listed: parts.listed(),
            held_bytes: parts.held_bytes(),
        });
        match why {
            // Nothing is missing, so the refusal was about something else, and stands.
            Why::FinishRefused { failure, tries } if parts.complete() => {
                self.fail(Some(self.family.finish()), failure, tries, now);
            }
            Why::FinishUnclear { gave_up: Some(failure) } => {
                let tries = self.finish;
                self.fail(Some(self.family.finish()), failure, tries, now);
            }
            _ => self.state = State::SendParts { parts, in_flight: 0, vanished: None },
        }
    }

    fn handle_part(&mut self, call: CallId, md5: Option<Md5>, result: Result<Reply, Trouble>, now: Duration) {
        let index = call.part;
        let State::SendParts { parts, in_flight, vanished } = &mut self.state else { return };
        *in_flight -= 1;
        let span = parts.span(index);
        let trying = parts.trying(index);
        let (failure, after) = match result {
            Ok(Reply::Part) => {
                self.retry.succeeded(trying.tries);
                parts.hold(index, md5.expect("an answered part was sent with its MD5"));
                self.tally.parts_sent += 1;
                self.events.push_back(Event::PartDone { span, skipped: false });
                return;
            }
            Ok(Reply::Rejected(rejected)) => {
                count_vanished(&mut trying.vanished, Some(&rejected));
                failed_by(rejected)
            }
            Ok(other) => unreachable!("{} is not answered by {other:?}", call.action),
            Err(trouble) => {
                count_vanished(&mut trying.vanished, None);
                (trouble.failure.clone(), After::from(&trouble))
            }
        };
        let attempt = trying.tries.started;
        let session_gone = trying.vanished >= VANISHED_AFTER && self.reopened < self.retry.policy.reopenings;
        if after != After::Never && (session_gone || vanished.is_some()) {
            // The upload is opened again once the others have come back; then this part is looked at afresh.
            vanished.get_or_insert_with(|| failure.clone());
            parts.wait(index, now);
            let verdict = Verdict::Stop(failure.clone());
            return self.note_failed(self.family.part(), Some(span), attempt, failure, &verdict, now);
        }
        let mut tries = trying.tries;
        let verdict = self.retry.failed(call, &mut tries, failure.clone(), after, now);
        trying.tries = tries;
        match &verdict {
            Verdict::SendAt(at) => parts.wait(index, *at),
            Verdict::Stop(stop) => parts.fail(index, stop.clone(), now),
        }
        self.note_failed(self.family.part(), Some(span), attempt, failure, &verdict, now);
    }

    fn handle_finish(&mut self, call: CallId, result: Result<Reply, Trouble>, now: Duration) {
        if !matches!(self.state, State::AwaitFinish { when: When::InFlight, .. }) {
            return;
        }
        let (failure, after, unclear) = match result {
            Ok(Reply::Finish(stored)) => {
                self.retry.succeeded(self.finish);
                return self.succeed(Outcome::Finished, stored, now);
            }
            Ok(Reply::Rejected(rejected)) => {
                count_vanished(&mut self.finish_vanished, Some(&rejected));
                let refused = matches!(rejected.code, Code::PROTOCOL_PARAMS | Code::CACHE_READ);
                let (failure, after) = failed_by(rejected);
                let tries = self.finish;
                let reason = if after == After::Never && refused {
                    Some(Why::FinishRefused { failure: failure.clone(), tries })
                } else if self.finish_vanished >= VANISHED_AFTER && after != After::Never {
                    Some(Why::SessionVanished)
                } else {
                    None
                };
                if let Some(why) = reason
                    && self.reopened < self.retry.policy.reopenings
                {
                    let verdict = Verdict::Stop(failure.clone());
                    self.note_failed(self.family.finish(), None, tries.started, failure.clone(), &verdict, now);
                    let State::AwaitFinish { parts, .. } = self.take_state() else { unreachable!("seen above") };
                    return self.reopen(parts, why, failure, now);
                }
                (failure, after, false)
            }
            Ok(other) => unreachable!("{} is not answered by {other:?}", call.action),
            Err(trouble) => {
                count_vanished(&mut self.finish_vanished, None);
                let unclear = trouble.ask_first(call.action);
                (trouble.failure.clone(), After::from(&trouble), unclear)
            }
        };
        if unclear {
            self.unclear = Some(failure.clone());
        }
        let attempt = self.finish.started;
        let verdict = self.retry.failed(call, &mut self.finish, failure.clone(), after, now);
        self.note_failed(self.family.finish(), None, attempt, failure.clone(), &verdict, now);
        let (at, gave_up) = match verdict {
            Verdict::Stop(stop) => (now, Some(stop)),
            Verdict::SendAt(at) => (at, None),
        };
        let past_deadline = self.retry.policy.deadline.is_some_and(|deadline| deadline <= now);
        if unclear && !past_deadline {
            // Whether the file is there is asked, not guessed; also after the last attempt.
            let State::AwaitFinish { parts, .. } = self.take_state() else { unreachable!("seen above") };
            self.earlier = Some(parts);
            self.events.push_back(Event::Reopening { because: failure });
            let why = Why::FinishUnclear { gave_up };
            self.state = State::AwaitInit { why, tries: Tries::default(), when: When::At(at) };
        } else if let Some(stop) = gave_up {
            let tries = self.finish;
            self.fail(Some(self.family.finish()), stop, tries, now);
        } else if let State::AwaitFinish { when, .. } = &mut self.state {
            *when = When::At(at);
        }
    }

    /// Opens the upload again, to learn what the server has; what was tried before is tried afresh.
    fn reopen(&mut self, parts: Parts, why: Why, because: Failure, now: Duration) {
        self.reopened += 1;
        self.earlier = Some(parts);
        self.finish_vanished = 0;
        self.finish = Tries::default();
        self.events.push_back(Event::Reopening { because });
        self.state = State::AwaitInit { why, tries: Tries::default(), when: When::At(now) };
    }

    fn give_up_at_deadline(&mut self, now: Duration) {
        let exhausted = |last: Option<Failure>| Failure::Exhausted { why: GaveUp::Deadline, last: last.map(Box::new) };
        match &self.state {
            State::Done(_) => {}
            State::AwaitInit { tries, .. } => {
                let (tries, last) = (*tries, self.unclear.clone());
                self.fail(Some(self.family.open()), exhausted(last), tries, now);
            }
            State::SendParts { parts, .. } => {
                let last = parts.failed().values().next().map(|failed| failed.failure.clone());
                self.fail(None, exhausted(last), Tries::default(), now);
            }
            State::AwaitSourceCheck { .. } => self.fail(None, exhausted(None), Tries::default(), now),
            State::AwaitFinish { when, .. } => {
                if *when == When::InFlight {
                    self.unclear.get_or_insert_with(|| exhausted(None));
                }
                let tries = self.finish;
                self.fail(Some(self.family.finish()), exhausted(None), tries, now);
            }
        }
    }

    fn note_failed(
        &mut self,
        action: Action,
        span: Option<PartSpan>,
        attempt: u32,
        failure: Failure,
        verdict: &Verdict,
        now: Duration,
    ) {
        let retry_in = match verdict {
            Verdict::SendAt(at) => Some(at.saturating_sub(now)),
            Verdict::Stop(_) => None,
        };
        self.events.push_back(Event::AttemptFailed { action, span, attempt, failure, retry_in });
    }

    fn error(&self, action: Option<Action>, failure: Failure, tries: Tries, now: Duration) -> UploadError {
        UploadError {
            failure,
            may_be_committed: self.unclear.is_some(),
            action,
            span: None,
            attempts: tries.started,
            elapsed: now.saturating_sub(tries.since),
            parts_failed: 0,
            requests: self.tally.requests,
        }
    }

    fn fail(&mut self, action: Option<Action>, failure: Failure, tries: Tries, now: Duration) {
        let error = self.error(action, failure, tries, now);
        self.state = State::Done(Some(Err(error)));
    }

    fn succeed(&mut self, outcome: Outcome, stored: Stored, now: Duration) {
        let report = self.tally.report(outcome, stored, now);
        self.state = State::Done(Some(Ok(report)));
    }

    /// The state by value; the caller sets the next one.
    fn take_state(&mut self) -> State {
        std::mem::replace(&mut self.state, State::Done(None))
    }
}

/// What to wait for, if a request is not due now.
pub(super) fn not_due(when: When, now: Duration, deadline: Option<Duration>) -> Option<Step> {
    match when {
        When::InFlight => Some(Step::Wait(deadline)),
        When::At(at) if at > now => Some(Step::Wait(earlier(Some(at), deadline))),
        When::At(_) => None,
    }
}

/// The earlier of two times, where one may be never.
fn earlier(a: Option<Duration>, b: Option<Duration>) -> Option<Duration> {
    [a, b].into_iter().flatten().min()
}

pub(super) fn failed_by(rejected: Rejected) -> (Failure, After) {
    let after = After::from(&rejected);
    (Failure::Rejected(rejected), after)
}

/// Counts how often in a row the server said that it has no such session.
fn count_vanished(count: &mut u32, rejected: Option<&Rejected>) {
    match rejected {
        Some(rejected) if rejected.code == Code::CACHE_READ => *count += 1,
        _ => *count = 0,
    }
}

#[cfg(test)]
mod tests;

//! The states of an upload whose one action opens it, sends its parts and finishes it, in the order that the server
//! dictates.
//!
//! ```text
//!          ┌── flag 0: go on at this offset ──┐
//!          ▼                                  │
//!      SendPart ──────────────────────────────┤
//!       │  ▲ └──the last part is wanted──▶ AwaitSourceCheck
//!       │  └──────────unchanged───────────────┘   ▲
//!       ├── the whole file's SHA-1 is another ────┘
//!       └── flag 1 ──▶ Done
//! ```

use std::{collections::VecDeque, time::Duration};

use vod_proto::{
    Action, Code, LegacyLayout, Limits, PartSpan, Sha1,
    reply::{NextReply, Reply, Stored},
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
const ACTION: Action = Action::MultipartUploadVodFile;

/// The part that is wanted, and how often it was tried since it was last wanted.
#[derive(Clone, Copy, Debug)]
struct Turn {
    span: PartSpan,
    tries: Tries,
}

#[derive(Debug)]
enum State {
    SendPart { turn: Turn, when: When },
    AwaitSourceCheck { why: Why, asked: bool },
    Done(Option<Result<UploadReport, UploadError>>),
}

/// Why the source is looked at.
#[derive(Debug)]
enum Why {
    /// The last part is due at this time, and the file is finished with it.
    LastPart { turn: Turn, at: Duration },
    /// The server's file has another SHA-1 than was announced: perhaps the local one has by now, too.
    Mismatch(Box<UploadError>),
}

/// An upload, as decisions, where the server says after each part which one it wants next.
///
/// It is called like [`Upload`](super::upload::Upload), and has at most one job under way.
#[derive(Debug)]
pub(crate) struct Sequence {
    file_sha1: Sha1,
    layout: LegacyLayout,
    retry: Retry,
    state: State,
    /// Has the server said yet what it has?
    opened: bool,
    /// How often the server left the order of the parts.
    round: u32,
    /// Such leaps since a part from [`frontier`](Self::frontier) on was taken. They are counted like the attempts of
    /// one request, or a server that forgets everything after every second part would be served for ever.
    astray: Tries,
    /// Behind everything that the server had when it last took something new.
    frontier: u64,
    /// What became of the last attempt to send the last part whose fate is unknown. It stays: a late commit cannot be
    /// ruled out.
    unclear: Option<Failure>,
    /// The server has every byte, it says, and has not stored them yet.
    all_there: bool,
    tally: Tally,
    events: VecDeque<Event>,
}

impl Sequence {
    /// What the plan says of parallel parts is not heard: there is one at a time.
    pub(crate) fn new(plan: Plan) -> Self {
        let Plan { init, retry, seed, family: _, parallel: _ } = plan;
        let dice = Dice::new(seed, init.file_sha1);
        let layout = LegacyLayout::new(init.file_size, init.part_size, &Limits::default());
        let mut sequence = Self {
            file_sha1: init.file_sha1,
            layout: layout.expect("options allow no part size of 0"),
            retry: Retry::new(retry, dice),
            state: State::Done(None),
            opened: false,
            round: 0,
            astray: Tries::default(),
            frontier: 0,
            unclear: None,
            all_there: false,
            tally: Tally::default(),
            events: VecDeque::new(),
        };
        // Whatever the server has: the first question is always asked with the first part.
        sequence.go_to(0, Duration::ZERO);
        sequence
    }

    /// Which upload this is.
    pub(crate) const fn file_sha1(&self) -> Sha1 {
        self.file_sha1
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
            State::SendPart { turn, when } => {
                if let Some(wait) = not_due(*when, now, deadline) {
                    return wait;
                }
                *when = When::InFlight;
                self.retry.started(&mut turn.tries, now);
                let Turn { span, tries } = *turn;
                let (call, attempt) = (self.call(span), tries.started);
                self.tally.requests += 1;
                self.events.push_back(Event::AttemptStarted { action: ACTION, span: Some(span), attempt });
                let nonce = self.retry.dice.nonce(call, attempt);
                Step::Do(Job::Send(Send { call, what: What::Next(span), attempt, nonce }))
            }
            State::AwaitSourceCheck { asked: true, .. } => Step::Wait(deadline),
            State::AwaitSourceCheck { asked, .. } => {
                *asked = true;
                Step::Do(Job::CheckSource)
            }
            State::Done(result) => result.take().map_or(Step::Wait(None), Step::Done),
        }
    }

    /// An attempt ended.
    pub(crate) fn handle_answer(&mut self, call: CallId, answered: Answered, now: Duration) {
        self.tally.bytes_sent += answered.bytes;
        let State::SendPart { turn, when: When::InFlight } = self.state else { return };
        debug_assert_eq!(call, self.call(turn.span), "one request at a time");
        match answered.result {
            Ok(Reply::Next(NextReply::Stored(stored))) => self.stored(turn, stored, now),
            Ok(Reply::Next(NextReply::Continue { offset })) => self.dictated(turn, offset, now),
            Ok(Reply::Rejected(rejected)) => {
                let mismatch = rejected.code == Code::LEGACY_SHA_MISMATCH;
                let (failure, after) = failed_by(rejected);
                self.failed(turn, failure, after, now);
                if mismatch && let State::Done(Some(Err(error))) = &self.state {
                    let why = Why::Mismatch(Box::new(error.clone()));
                    self.state = State::AwaitSourceCheck { why, asked: false };
                }
            }
            Ok(other) => unreachable!("{ACTION} is not answered by {other:?}"),
            Err(trouble) => {
                // A server that did not get the whole of the last part cannot have finished with it.
                let whole = self.layout.is_last(turn.span) && answered.bytes >= turn.span.len;
                if whole && trouble.delivery == Delivery::MaybeActedOn {
                    self.unclear = Some(trouble.failure.clone());
                }
                let after = After::from(&trouble);
                self.failed(turn, trouble.failure, after, now);
            }
        }
    }

    /// The source was looked at: before the last part is sent, or because the server got another file.
    pub(crate) fn handle_source_checked(&mut self, result: Result<(), SourceError>, now: Duration) {
        if let Err(error) = result {
            return self.handle_source_failed(error, now);
        }
        match std::mem::replace(&mut self.state, State::Done(None)) {
            State::AwaitSourceCheck { why: Why::LastPart { turn, at }, .. } => {
                self.events.push_back(Event::Finishing);
                self.state = State::SendPart { turn, when: When::At(at) };
            }
            State::AwaitSourceCheck { why: Why::Mismatch(error), .. } => self.state = State::Done(Some(Err(*error))),
            done => self.state = done,
        }
    }

    /// The source could not be read, or is not what it was: nothing can come of this upload.
    pub(crate) fn handle_source_failed(&mut self, error: SourceError, now: Duration) {
        self.fail(None, Failure::Source(error), now);
    }

    const fn call(&self, span: PartSpan) -> CallId {
        CallId { action: ACTION, part: span.offset, round: self.round }
    }

    /// The part at this offset is next, at this time.
    fn go_to(&mut self, offset: u64, at: Duration) {
        let span = self.layout.part_at(offset).expect("files have bytes, and offsets behind them are refused");
        let turn = Turn { span, tries: Tries::default() };
        self.state = if self.layout.is_last(span) {
            State::AwaitSourceCheck { why: Why::LastPart { turn, at }, asked: false }
        } else {
            State::SendPart { turn, when: When::At(at) }
        };
    }

    /// `flag` 1.
    fn stored(&mut self, turn: Turn, stored: Stored, now: Duration) {
        self.retry.succeeded(turn.tries);
        let last = self.layout.is_last(turn.span);
        let outcome = match (&self.unclear, last) {
            // Or this very request stored it: the reply would be the same.
            (Some(_), _) => Outcome::CommittedEarlier,
            // A file of a single part may have been there before: here, too, the reply would be the same.
            (None, true) => Outcome::Finished,
            (None, false) => Outcome::Existed,
        };
        if last {
            self.tally.parts_sent += 1;
            self.events.push_back(Event::PartDone { span: turn.span, skipped: false });
        }
        let report = self.tally.report(outcome, stored, now);
        self.state = State::Done(Some(Ok(report)));
    }

    /// `flag` 0: the server wants the part at this offset.
    fn dictated(&mut self, turn: Turn, offset: u64, now: Duration) {
        let (span, size) = (turn.span, self.layout.file_size());
        self.all_there = offset == size;
        if offset > size {
            let nonsense = format!("offset {offset} is wanted, of a file of {size} bytes");
            self.failed(turn, Failure::Malformed(nonsense), After::Never, now);
        } else if self.all_there {
            // There is nothing to go on with, and no other question to ask than this one.
            let strange = format!("offset {offset} is wanted, where the file ends, and the file is not stored");
            self.failed(turn, Failure::Malformed(strange), After::Backoff(Duration::ZERO), now);
        } else if offset >= span.end() {
            self.retry.succeeded(turn.tries);
            if span.offset >= self.frontier {
                (self.frontier, self.astray) = (offset, Tries::default());
            }
            if offset == span.end() {
                self.tally.parts_sent += 1;
                if !self.opened {
                    self.note_opened(0);
                }
                self.events.push_back(Event::PartDone { span, skipped: false });
            } else {
                self.tally.parts_skipped += self.layout.count(span.offset, offset);
                self.note_opened(offset);
            }
            self.go_to(offset, now);
        } else if offset == span.offset {
            let again = format!("offset {offset} is wanted again, right after its part was sent");
            self.failed(turn, Failure::Malformed(again), After::Backoff(Duration::ZERO), now);
        } else {
            self.leapt(turn, offset, now);
        }
    }

    /// The server did not take the part, and wants one elsewhere: it has lost something, or never had it.
    fn leapt(&mut self, turn: Turn, offset: u64, now: Duration) {
        let span = turn.span;
        let failure = Failure::Malformed(format!("offset {offset} is wanted, after the part at {span} was sent"));
        let call = self.call(span);
        self.retry.started(&mut self.astray, now);
        let backoff = After::Backoff(Duration::ZERO);
        let verdict = self.retry.failed(call, &mut self.astray, failure.clone(), backoff, now);
        self.note_failed(turn, failure, &verdict, now);
        match verdict {
            Verdict::Stop(stop) => self.fail(Some(Turn { span, tries: self.astray }), stop, now),
            Verdict::SendAt(at) => {
                self.round += 1;
                self.note_opened(offset);
                self.go_to(offset, at);
            }
        }
    }

    /// An attempt failed: the same again, or the end.
    fn failed(&mut self, turn: Turn, failure: Failure, after: After, now: Duration) {
        let Turn { span, mut tries } = turn;
        let verdict = self.retry.failed(self.call(span), &mut tries, failure.clone(), after, now);
        let turn = Turn { span, tries };
        self.note_failed(turn, failure, &verdict, now);
        match verdict {
            Verdict::SendAt(at) => self.state = State::SendPart { turn, when: When::At(at) },
            Verdict::Stop(stop) => self.fail(Some(turn), stop, now),
        }
    }

    fn give_up_at_deadline(&mut self, now: Duration) {
        let exhausted = Failure::Exhausted { why: GaveUp::Deadline, last: None };
        match &mut self.state {
            State::Done(_) => {}
            State::SendPart { turn, when } => {
                let turn = *turn;
                if *when == When::InFlight && self.layout.is_last(turn.span) {
                    self.unclear.get_or_insert_with(|| exhausted.clone());
                }
                self.fail(Some(turn), exhausted, now);
            }
            State::AwaitSourceCheck { why: Why::LastPart { .. }, .. } => self.fail(None, exhausted, now),
            // What the server said is known, and says more.
            State::AwaitSourceCheck { why: Why::Mismatch(error), .. } => {
                let error = (**error).clone();
                self.state = State::Done(Some(Err(error)));
            }
        }
    }

    /// The server has everything before this offset, and wants what lies behind.
    fn note_opened(&mut self, held_bytes: u64) {
        self.opened = true;
        let listed = self.layout.count(0, held_bytes);
        let parts = listed + self.layout.count(held_bytes, self.layout.file_size());
        let part_size = self.layout.part_size();
        self.events.push_back(Event::Opened { part_size, parts, listed, held_bytes });
    }

    fn note_failed(&mut self, turn: Turn, failure: Failure, verdict: &Verdict, now: Duration) {
        let retry_in = match verdict {
            Verdict::SendAt(at) => Some(at.saturating_sub(now)),
            Verdict::Stop(_) => None,
        };
        let (span, attempt) = (Some(turn.span), turn.tries.started);
        self.events.push_back(Event::AttemptFailed { action: ACTION, span, attempt, failure, retry_in });
    }

    /// The end; with the part whose request is to blame, if one is.
    fn fail(&mut self, turn: Option<Turn>, failure: Failure, now: Duration) {
        let tries = turn.map(|turn| turn.tries).unwrap_or_default();
        let error = UploadError {
            failure,
            may_be_committed: self.unclear.is_some() || self.all_there,
            action: turn.map(|_| ACTION),
            span: turn.map(|turn| turn.span),
            attempts: tries.started,
            elapsed: now.saturating_sub(tries.since),
            parts_failed: turn.map_or(0, |_| 1),
            requests: self.tally.requests,
        };
        self.state = State::Done(Some(Err(error)));
    }
}

#[cfg(test)]
mod tests;

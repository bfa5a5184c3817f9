//! The mind of a replay: reads a request, asks the script, gives the answer.

use std::{
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{HeaderValue, header};
use http_body_util::{BodyExt as _, Empty};
use tokio::sync::Notify;
use vod_proto::exchange::{End, Mark};
use vod_serve::{
    Answer, Effects, Head, Host, Journal, KillTarget, Killer, Receipt, ReplyOut, Stakes, Subject, Tail,
    body::{Body, BodyError},
    host::AsideBody,
};

use super::{
    answer,
    asked::{Asked, Seen},
    deaths::Life,
    miss::{Miss, Misses, Why},
    script::{Script, Turn, is_silent},
    timing::Timing,
};
use crate::{forward::Way, recording::Bodies, subject};

#[derive(Clone)]
pub(super) struct ReplayHost {
    pub(super) stage: Arc<Stage>,
    /// When the connection began.
    pub(super) life: Life,
    pub(super) misses: Arc<Mutex<Misses>>,
    pub(super) journal: Arc<Journal>,
    pub(super) bodies: Bodies,
    pub(super) timing: Timing,
    /// Is there somebody who kills clients, as they were killed when this was recorded?
    pub(super) kills: bool,
    /// Which hosts are answered for, where clients believe in a forward proxy. Otherwise whatever they ask for.
    pub(super) way: Option<Way>,
}

/// What became of a request.
pub(super) enum Read {
    /// It was read, and its body.
    Asked(Asked, Seen),
    /// It is for a host that is not answered for: the status that says so, and why.
    Elsewhere(Miss, u16),
}

/// The script, and who waits for it to go on.
pub(super) struct Stage {
    script: Mutex<Script>,
    /// A death is over, or turned out to be none.
    went_on: Notify,
}

impl Stage {
    pub(super) fn new(script: Script) -> Self {
        Self { script: Mutex::new(script), went_on: Notify::new() }
    }

    pub(super) fn script(&self) -> MutexGuard<'_, Script> {
        lock(&self.script)
    }

    /// Takes what answers this request, when its time has come; nothing, if it comes of a client who is dead.
    async fn turn(&self, life: Life, asked: &Asked, seen: Seen) -> Option<Result<Turn, Box<Miss>>> {
        loop {
            // Before the script is looked at, so that nothing goes unnoticed in between.
            let went_on = self.went_on.notified();
            {
                let mut script = self.script();
                if script.is_dead(life) {
                    return None;
                }
                if !script.is_early(asked) {
                    return Some(script.next(asked, Some(seen)));
                }
            }
            went_on.await;
        }
    }

    fn change(&self, change: impl FnOnce(&mut Script)) {
        change(&mut self.script());
        self.went_on.notify_waiters();
    }
}

/// An answer that was taken from the script, and is put back unless somebody gets it.
struct Taken {
    stage: Arc<Stage>,
    at: Option<usize>,
}

impl Receipt for Taken {
    fn handed_over(mut self: Box<Self>) {
        self.at = None;
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        if let Some(at) = self.at {
            self.stage.script().give_back(at);
        }
    }
}

/// Somebody gets no answer, as then. Until he goes, he may be one who is to be killed.
struct Unanswered {
    stage: Arc<Stage>,
    at: usize,
}

impl Drop for Unanswered {
    fn drop(&mut self) {
        self.stage.change(|script| script.went(self.at));
    }
}

/// A reply that never ends, as long as somebody waits for it.
impl Tail for Unanswered {
    fn poll_next(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Bytes, End>>> {
        Poll::Pending
    }

    fn mark(self: Pin<&Self>) -> Option<Mark> {
        None
    }
}

/// What a client gets that will be killed, in the place of one who was: nothing that ends. It is an answer all the same, so
/// that a kill can strike behind it.
fn nothing(stage: Arc<Stage>, at: usize) -> Answer {
    let reply = ReplyOut::new(200, Vec::new(), Bytes::new());
    Answer { reply, tail: Some(Box::pin(Unanswered { stage, at })), accepted: true, receipt: None }
}

/// Kills by another's hand, and has the script hear of it.
pub(super) struct Kills {
    pub(super) by: Arc<dyn Killer>,
    pub(super) stage: Arc<Stage>,
}

/// The time in which a client is killed, whatever becomes of whoever waits for it.
struct Death<'a>(&'a Stage);

impl<'a> Death<'a> {
    fn begin(stage: &'a Stage) -> Self {
        stage.change(Script::death_begins);
        Self(stage)
    }
}

impl Drop for Death<'_> {
    fn drop(&mut self) {
        self.0.change(Script::death_ends);
    }
}

impl Killer for Kills {
    fn kill<'a>(&'a self, target: KillTarget, fault: &'a str) -> Pin<Box<dyn Future<Output = ()> + Send + 'a>> {
        Box::pin(async move {
            let _death = (target == KillTarget::Client).then(|| Death::begin(&self.stage));
            self.by.kill(target, fault).await;
        })
    }
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl ReplayHost {
    fn missed(&self, miss: &Miss, status: u16) -> Answer {
        tracing::warn!("{miss}");
        lock(&self.misses).note(miss);
        let mut reply = ReplyOut::json(miss.to_json());
        reply.status = status;
        // A page of another origin may read it too, or its developer would never see why.
        reply.headers.push((header::ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*")));
        Answer { reply, tail: None, accepted: false, receipt: None }
    }
}

impl Host for ReplayHost {
    type Caller = Asked;
    type Staged = Read;

    async fn subject(&self, head: &Head) -> (Subject, Asked) {
        let redactor = self.journal.redactor();
        let mut subject = subject(head, redactor);
        let mut script = self.stage.script();
        let asked = script.read(head.method.as_str(), &head.host(), &redactor.target(head.target()));
        if let Some(part) = subject.part {
            subject.part_number = script.part_number(subject.action.as_deref(), subject.file_sha1, part);
        }
        drop(script);
        (subject, asked)
    }

    fn is_known(&self, _: &Asked) -> bool {
        true
    }

    async fn read(&self, head: &Head, asked: Asked, body: &mut Body) -> Result<Read, BodyError> {
        if let Some(Err((status, why))) = self.way.as_ref().map(|way| way.of(head)) {
            let miss = Miss { asked: asked.name(), why: Why::Elsewhere(why), nearest: None };
            return Ok(Read::Elsewhere(miss, status));
        }
        let breaks_off = self.stage.script().breaks_off(&asked, self.life);
        if let Some(after) = breaks_off {
            while body.len() < after && body.next().await?.is_some() {}
            // Somebody else may have taken it meanwhile; then this one is read on.
            let mut script = self.stage.script();
            if body.len() >= after
                && script.breaks_off(&asked, self.life).is_some()
                && let Ok(turn) = script.next(&asked, None)
            {
                return Err(body.break_off(turn.exchange.end));
            }
        }
        while body.next().await?.is_some() {}
        let seen = Seen { len: body.len(), sha1: (!body.is_empty()).then(|| body.sha1()) };
        Ok(Read::Asked(asked, seen))
    }

    fn stakes(&self, _: &Read) -> Stakes {
        Stakes::default()
    }

    async fn has_session(&self, _: &Subject) -> bool {
        false
    }

    async fn expire_session(&self, _: &Subject) {}

    fn body_ceiling(&self, _: &Subject) -> u64 {
        u64::MAX
    }

    async fn commit(&self, read: Read, _: Effects) -> Result<Answer, End> {
        let (asked, seen) = match read {
            Read::Asked(asked, seen) => (asked, seen),
            Read::Elsewhere(miss, status) => return Ok(self.missed(&miss, status)),
        };
        let turn = match self.stage.turn(self.life, &asked, seen).await {
            Some(Ok(turn)) => turn,
            Some(Err(miss)) => return Ok(self.missed(&miss, 501)),
            None => return Err(End::Closed),
        };
        let stage = Arc::clone(&self.stage);
        if is_silent(&turn.exchange) {
            return if self.kills { Ok(nothing(stage, turn.at)) } else { Err(End::Closed) };
        }
        let mut taken = Box::new(Taken { stage, at: Some(turn.at) });
        let wait = self.timing.wait(&turn.exchange);
        if !wait.is_zero() {
            tokio::time::sleep(wait).await;
        }
        if turn.exchange.end != End::Replied {
            // It is a failure that is given here, and nothing that anybody gets whole.
            taken.at = None;
        }
        answer::recorded(&turn.exchange, &self.bodies, taken).await
    }

    fn dress(&self, _: &Head, _: &mut ReplyOut) {}

    fn is_aside(&self, _: &str) -> bool {
        false
    }

    async fn aside(&self, _: http::Request<hyper::body::Incoming>) -> http::Response<AsideBody> {
        http::Response::new(Empty::<Bytes>::new().map_err(|never| match never {}).boxed_unsync())
    }
}

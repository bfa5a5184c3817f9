//! The mind of a replay: reads a request, asks the script, gives the answer.

use std::{
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use bytes::Bytes;
use http::{HeaderValue, header};
use http_body_util::{BodyExt as _, Empty};
use vod_proto::exchange::End;
use vod_serve::{
    Answer, Effects, Head, Host, Journal, KillTarget, Killer, Receipt, ReplyOut, Stakes, Subject,
    body::{Body, BodyError},
    host::AsideBody,
};

use super::{
    answer,
    asked::{Asked, Seen},
    miss::{Miss, Misses, Why},
    script::{Script, is_silent},
    timing::Timing,
};
use crate::{forward::Way, recording::Bodies, subject};

#[derive(Clone)]
pub(super) struct ReplayHost {
    pub(super) script: Arc<Mutex<Script>>,
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

/// An answer that was taken from the script, and is put back unless somebody gets it.
struct Taken {
    script: Arc<Mutex<Script>>,
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
            lock(&self.script).give_back(at);
        }
    }
}

/// Kills by another's hand, and has the script hear of it.
pub(super) struct Kills {
    pub(super) by: Arc<dyn Killer>,
    pub(super) script: Arc<Mutex<Script>>,
}

impl Killer for Kills {
    fn kill<'a>(&'a self, target: KillTarget, fault: &'a str) -> Pin<Box<dyn Future<Output = ()> + Send + 'a>> {
        Box::pin(async move {
            // Before anybody can take the client's place.
            if target == KillTarget::Client {
                lock(&self.script).client_killed();
            }
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
        let script = lock(&self.script);
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
        let breaks_off = lock(&self.script).breaks_off(&asked);
        if let Some(after) = breaks_off {
            while body.len() < after && body.next().await?.is_some() {}
            // Somebody else may have taken it meanwhile; then this one is read on.
            let mut script = lock(&self.script);
            if body.len() >= after
                && script.breaks_off(&asked).is_some()
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
        let turn = lock(&self.script).next(&asked, Some(seen));
        let turn = match turn {
            Ok(turn) => turn,
            Err(miss) => return Ok(self.missed(&miss, 501)),
        };
        if is_silent(&turn.exchange) {
            return if self.kills { Ok(answer::nothing()) } else { Err(End::Closed) };
        }
        let mut taken = Box::new(Taken { script: Arc::clone(&self.script), at: Some(turn.at) });
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

//! The uploads of a recording, one after the other: how each ended, as far as the wire tells.

use std::{
    collections::BTreeMap,
    fmt::{self, Display},
};

use vod_proto::{Action, Exchange, PartSpan, action::Role, code::RetryClass};
use vod_serve::{
    KillTarget,
    fault::{Phase, Verdict},
};

use super::{Told, Upload, failed};

const FINISHED: &str = "\"finished\"";
const COMMITTED_EARLIER: &str = "\"committed-earlier\"";
const KILLED: &str = "\"killed\"";
const EXISTED: &str = "\"existed\"";

/// One upload of the story.
pub(super) struct Step {
    /// What its client says in the end, as a scenario file says it.
    expect: String,
    /// It is none of the recording's, but one without which the next could not have ended so.
    pub(super) is_added: bool,
    /// The number of the first request that is sent after it began.
    pub(super) before: u64,
}

impl Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_added {
            f.write_str(
                "\n# The file was there already, and nothing in the recording stored it: this upload is added.",
            )?;
        }
        write!(f, "\n[[step]]\nupload = {{}}\nexpect = {}\n", self.expect)
    }
}

impl Upload<'_> {
    /// The steps of a story that has these faults, by the numbers of their requests. There is at least one.
    pub(super) fn steps(&self, told: &BTreeMap<u64, Told>) -> Vec<Step> {
        let (mut steps, mut is_stored) = (Vec::new(), false);
        for requests in self.uploads(told) {
            let before = requests.first().map_or(0, |exchange| exchange.seq);
            let is_killed = requests.iter().any(|exchange| kills_client(told.get(&exchange.seq)));
            let expect = if is_killed { KILLED.to_owned() } else { self.ending(&requests, told) };
            if expect == EXISTED && !is_stored {
                steps.push(Step { expect: FINISHED.to_owned(), is_added: true, before });
            }
            // Whoever was killed when all was done, or failed before it was told so, left the file there.
            let is_done = |exchange: &&Exchange| {
                let phase = told.get(&exchange.seq).map(|told| told.fault.phase);
                self.finishes(exchange) && matches!(phase, None | Some(Phase::AfterCommit | Phase::MidReply))
            };
            is_stored |= requests.iter().any(is_done) || [FINISHED, EXISTED, COMMITTED_EARLIER].contains(&&*expect);
            steps.push(Step { expect, is_added: false, before });
        }
        steps
    }

    /// The requests of each upload. Another one begins behind an answer that ends one, and behind a client's death.
    fn uploads(&self, told: &BTreeMap<u64, Told>) -> Vec<Vec<&Exchange>> {
        let mut uploads: Vec<Vec<&Exchange>> = vec![Vec::new()];
        for exchange in &self.exchanges {
            let current = uploads.last().map_or(&[][..], Vec::as_slice);
            let is_over = |other: &&Exchange| {
                let is_dead = kills_client(told.get(&other.seq)) && other.over_us() <= exchange.start.as_microsecond();
                let is_told = tells_stored(other) || refused_for_good(other);
                // The story lets it end well, for no fault stands for what befell it.
                let is_untold = self.finishes(other) && other.whole_reply().is_none() && !told.contains_key(&other.seq);
                is_dead || self.opens(exchange) && (is_told || is_untold && tells_stored(exchange))
            };
            if current.iter().any(is_over) {
                uploads.push(Vec::new());
            }
            if let Some(last) = uploads.last_mut() {
                last.push(exchange);
            }
        }
        uploads
    }

    /// What the client says in the end, that was not killed.
    fn ending(&self, requests: &[&Exchange], told: &BTreeMap<u64, Told>) -> String {
        let is_lost = |exchange: &&Exchange| {
            self.finishes(exchange) && may_be_done(exchange) && told.contains_key(&exchange.seq) && failed(exchange)
        };
        if let Some(at) = requests.iter().rposition(|exchange| tells_stored(exchange)) {
            let (before, stored) = requests.split_at(at);
            let stored = stored.first();
            let is_lost = before.iter().any(is_lost);
            let ending = match stored.and_then(|exchange| role(exchange)) {
                Some(Role::Open | Role::Next | Role::Whole) if is_lost => COMMITTED_EARLIER,
                Some(Role::Open) => EXISTED,
                Some(Role::Next) if !stored.is_some_and(|exchange| self.finishes(exchange)) => EXISTED,
                // Of a file that one request sends the answer is the same, whether it was there or not.
                _ => FINISHED,
            };
            return ending.to_owned();
        }
        // The story ends well where no fault stands for what befell the last request.
        let is_untold = |exchange: &&Exchange| failed(exchange) && !told.contains_key(&exchange.seq);
        match requests.iter().rev().find_map(|exchange| exchange.refusal()) {
            _ if requests.last().is_some_and(is_untold) => FINISHED.to_owned(),
            Some(refusal) => format!("{{ failed = {} }}", refusal.code.0),
            None => "{ failed = \"exhausted\" }".to_owned(),
        }
    }

    /// Does it ask, or find out, whether the file is there?
    fn opens(&self, exchange: &Exchange) -> bool {
        match role(exchange) {
            Some(Role::Open | Role::Whole) => true,
            Some(Role::Next) => exchange.part.is_some_and(|part| part.offset == 0),
            _ => false,
        }
    }

    /// Is the file stored, when this is done?
    fn finishes(&self, exchange: &Exchange) -> bool {
        match role(exchange) {
            Some(Role::Finish | Role::Whole) => true,
            Some(Role::Next) => exchange.part.map(PartSpan::end).is_some_and(|end| end >= self.size),
            _ => false,
        }
    }
}

fn role(exchange: &Exchange) -> Option<Role> {
    exchange.known_action().map(Action::role)
}

fn kills_client(told: Option<&Told>) -> bool {
    told.is_some_and(|told| told.fault.verdict == Verdict::Kill(KillTarget::Client))
}

/// Was the client told that the file is there?
fn tells_stored(exchange: &Exchange) -> bool {
    exchange.whole_reply().is_some() && exchange.says_stored().is_some()
}

/// Was the client told no, so that asking again would be wrong?
fn refused_for_good(exchange: &Exchange) -> bool {
    exchange.refusal().is_some_and(|refusal| refusal.retry_class() == RetryClass::Final)
}

/// Did the server have all of it, so that it may have acted on it, without the client being told no?
fn may_be_done(exchange: &Exchange) -> bool {
    let is_whole = exchange.part.is_none_or(|part| exchange.request.body.len >= part.len);
    let told_no = exchange.refusal().is_some() || exchange.whole_reply().is_some_and(|reply| reply.status == 429);
    is_whole && !told_no
}

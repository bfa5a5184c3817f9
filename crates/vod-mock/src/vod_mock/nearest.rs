//! Exchanges as failures show them: in a line, and with what they lack.

use std::{cmp::Reverse, fmt, fmt::Write as _, sync::Arc};

use vod_proto::{Exchange, exchange::End};

use super::requests::Requests;

/// How many are shown that came near. Default 3: the first is what is looked for, most of the time.
const NEAREST: usize = 3;

/// How many are listed at most. Default 10.
const LISTED: usize = 10;

/// An exchange in a line.
pub(super) struct Story<'a>(pub(super) &'a Exchange);

impl fmt::Display for Story<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Exchange { seq, action, part, part_number, attempt, account, reply, end, faults, .. } = self.0;
        write!(f, "#{seq} {}", action.as_deref().unwrap_or("a request without action"))?;
        match (part_number, part) {
            (Some(number), Some(part)) => write!(f, " part {number} ({part})")?,
            (None, Some(part)) => write!(f, " {part}")?,
            (_, None) => {}
        }
        write!(f, ", attempt {attempt}, ")?;
        match account {
            Some(name) => write!(f, "account {name}: ")?,
            None => f.write_str("no known account: ")?,
        }
        match (self.0.code(), reply) {
            (Some(code), _) => write!(f, "code {}", code.0)?,
            (None, Some(reply)) => write!(f, "status {}", reply.status)?,
            (None, None) => f.write_str("no reply")?,
        }
        if *end != End::Replied {
            write!(f, ", {end}")?;
        }
        for mark in faults {
            write!(f, ", struck by {} ({}: {})", mark.id, mark.phase, mark.verdict)?;
        }
        Ok(())
    }
}

/// Exchanges one a line, up to a number.
pub(super) struct Listed<'a>(pub(super) &'a [Arc<Exchange>]);

impl fmt::Display for Listed<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for exchange in self.0.iter().take(LISTED) {
            write!(f, "\n  {}", Story(exchange))?;
        }
        match self.0.len().saturating_sub(LISTED) {
            0 => Ok(()),
            more => write!(f, "\n  and {more} more"),
        }
    }
}

/// Those that came nearest to a pattern and do not fit it, each with what it lacks; empty where there are none.
pub(super) fn nearest(wanted: &Requests, all: &[Arc<Exchange>]) -> String {
    let mut missing: Vec<_> = all.iter().map(|exchange| (exchange, wanted.misses(exchange, all))).collect();
    missing.retain(|(_, misses)| !misses.is_empty());
    // What was about something else tells little, as long as there is anything that was not.
    let related = |exchange: &Exchange| !wanted.is_other_action(exchange);
    if all.iter().any(|exchange| related(exchange)) {
        missing.retain(|(exchange, _)| related(exchange));
    }
    // Of those that lack as much as each other the latest: it is what the client did last.
    missing.sort_by_key(|(exchange, misses)| (misses.len(), Reverse(exchange.seq)));
    let mut text = String::new();
    for (exchange, misses) in missing.iter().take(NEAREST) {
        // Writing into a text does not fail.
        let _ = write!(text, "\n  {}\n      {}", Story(exchange), misses.join("\n      "));
    }
    text
}

/// What the server said to a request that it refused.
pub(super) fn refusal(exchange: &Exchange) -> Option<String> {
    let refused = exchange.code()?.0 < 0;
    let reply: serde_json::Value = serde_json::from_str(&exchange.reply.as_ref()?.body).ok()?;
    reply["message"].as_str().filter(|message| refused && !message.is_empty()).map(str::to_owned)
}

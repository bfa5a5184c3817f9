//! How many requests an account may send in a minute. Pure: told the time, says no.

use std::{collections::BTreeMap, sync::Mutex, sync::PoisonError};

use jiff::{SignedDuration, Timestamp};
use vod_proto::{Action, Limits};

/// The requests of an account's running minutes. A minute begins with the first request after the last one ended.
#[derive(Debug, Default)]
pub(crate) struct Rates {
    minutes: Mutex<BTreeMap<Action, Minute>>,
}

#[derive(Clone, Copy, Debug)]
struct Minute {
    since: Timestamp,
    seen: u32,
}

/// How many requests of an action the limits allow in a minute.
const fn allowed(limits: &Limits, action: Action) -> Option<u32> {
    match action {
        Action::InitUpload => limits.init_per_minute,
        Action::UploadPart => limits.part_per_minute,
        Action::FinishUpload => limits.finish_per_minute,
        // The documents give no rate for the others.
        _ => None,
    }
}

impl Rates {
    /// Counts a request, and refuses it if there were enough of its kind: says how many.
    pub(crate) fn admit(&self, action: Action, limits: &Limits, now: Timestamp) -> Result<(), String> {
        let Some(allowed) = allowed(limits, action) else { return Ok(()) };
        let mut minutes = self.minutes.lock().unwrap_or_else(PoisonError::into_inner);
        let minute = minutes.entry(action).or_insert(Minute { since: now, seen: 0 });
        if now.duration_since(minute.since).abs() >= SignedDuration::from_mins(1) {
            *minute = Minute { since: now, seen: 0 };
        }
        if minute.seen >= allowed {
            return Err(format!("sent {} {action} in this minute: {allowed} are allowed", minute.seen));
        }
        minute.seen += 1;
        Ok(())
    }

    /// Begins every minute anew.
    pub(crate) fn forget(&self) {
        self.minutes.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_minute_has_so_many_requests_of_an_action_and_no_more() {
        let rates = Rates::default();
        let limits = Limits { init_per_minute: Some(2), ..Limits::default() };
        let at = |second| Timestamp::UNIX_EPOCH + SignedDuration::from_secs(second);
        let admit = |action, second| rates.admit(action, &limits, at(second)).is_ok();
        let init = Action::InitUpload;
        assert!(admit(init, 5) && admit(init, 6));
        assert!(!admit(init, 64) && admit(Action::UploadPart, 64));
        assert!(admit(init, 65) && admit(init, 66), "the next minute");
        let refused = rates.admit(init, &limits, at(67)).unwrap_err();
        assert_eq!(refused, "sent 2 InitUpload in this minute: 2 are allowed");
    }
}

//! How many requests an account may send in a minute. Pure: told the time, says no.

use std::{collections::BTreeMap, sync::Mutex, sync::PoisonError};

use jiff::{SignedDuration, Timestamp};
use vod_proto::{Action, Code, Limits, reply::Rejected};

use crate::core::refuse;

/// The requests of each account's running minute. A minute begins with the first request after the last one ended.
#[derive(Debug, Default)]
pub(crate) struct Rates {
    minutes: Mutex<BTreeMap<(String, Action), Minute>>,
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
    /// Counts a request, and refuses it if there were enough of its kind.
    pub(crate) fn admit(&self, account: &str, action: Action, limits: &Limits, now: Timestamp) -> Result<(), Rejected> {
        let Some(allowed) = allowed(limits, action) else { return Ok(()) };
        let mut minutes = self.minutes.lock().unwrap_or_else(PoisonError::into_inner);
        let minute = minutes.entry((account.to_owned(), action)).or_insert(Minute { since: now, seen: 0 });
        if now.duration_since(minute.since).abs() >= SignedDuration::from_mins(1) {
            *minute = Minute { since: now, seen: 0 };
        }
        if minute.seen >= allowed {
            let message =
                format!("account {account} sent {} {action} in this minute: {allowed} are allowed", minute.seen);
            return Err(refuse(Code::OVER_QUOTA, message));
        }
        minute.seen += 1;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_minute_has_so_many_requests_of_an_action_and_account_and_no_more() {
        let rates = Rates::default();
        let limits = Limits { init_per_minute: Some(2), ..Limits::default() };
        let at = |second| Timestamp::UNIX_EPOCH + SignedDuration::from_secs(second);
        let admit = |account, action, second| rates.admit(account, action, &limits, at(second)).map_err(|no| no.code);
        let init = Action::InitUpload;
        assert_eq!([admit("a", init, 5), admit("a", init, 6)], [Ok(()), Ok(())]);
        assert_eq!(admit("a", init, 64), Err(Code::OVER_QUOTA));
        assert_eq!([admit("b", init, 64), admit("a", Action::UploadPart, 64)], [Ok(()), Ok(())]);
        assert_eq!([admit("a", init, 65), admit("a", init, 66)], [Ok(()), Ok(())], "the next minute");
        assert_eq!(admit("a", init, 67), Err(Code::OVER_QUOTA));
    }
}

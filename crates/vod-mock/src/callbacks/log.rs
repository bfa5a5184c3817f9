//! What became of every callback.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use vod_proto::event::redacted_url;
use vod_serve::journal::Whose;

use super::plan::{Kind, Planned, Withheld};

/// How many callbacks are remembered. Default: 10,000, some 20 MB; the oldest that is over makes room for the next.
pub const LOG_MAX: usize = 10_000;

/// A callback, and what became of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Delivery {
    /// Whose file it tells of.
    pub account: String,
    /// What it tells.
    pub kind: Kind,
    /// Where it goes, without user, password and query.
    pub url: String,
    /// The file it tells of.
    pub file_id: String,
    /// When it is due.
    pub due: Timestamp,
    /// What became of it.
    pub state: DeliveryState,
    /// Why nobody is called, where nobody is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub withheld: Option<Withheld>,
    /// Each time it was sent, in order.
    pub tries: Vec<Try>,
    /// The JSON that is sent.
    pub body: Value,
}

/// What became of a callback.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DeliveryState {
    /// It waits, or is under way.
    Scheduled,
    /// Somebody answered, whatever the answer.
    Delivered,
    /// Nobody answered any try.
    Failed,
    /// Nobody is called.
    Withheld,
}

/// A callback sent once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Try {
    /// When.
    pub at: Timestamp,
    /// What came of it.
    pub outcome: Outcome,
}

/// What came of a callback sent once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// An answer with this HTTP status.
    Answered(u16),
    /// No answer within the limit.
    TimedOut,
    /// No connection, or none that held until an answer.
    Unreachable(String),
}

/// Is a callback to be sent again?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Again {
    Now,
    Never,
}

/// Every callback that is remembered, by the order in which they came.
pub(super) struct Log {
    tries: usize,
    next: u64,
    deliveries: BTreeMap<u64, Delivery>,
    dropped: u64,
    stopped: bool,
}

impl Log {
    pub(super) fn new(tries: u32) -> Self {
        let tries = usize::try_from(tries).unwrap_or(usize::MAX);
        Self { tries, next: 0, deliveries: BTreeMap::new(), dropped: 0, stopped: false }
    }

    /// Takes a callback up. Its number is given back if it is to be sent.
    pub(super) fn add(&mut self, planned: Planned) -> Option<u64> {
        let Planned { account, kind, url, file_id, wait: _, due, body, withheld } = planned;
        let withheld = withheld.or_else(|| self.stopped.then_some(Withheld::MockStopped));
        if self.deliveries.len() >= LOG_MAX {
            self.dropped += 1;
            let over = self.deliveries.iter().find(|(_, delivery)| delivery.state != DeliveryState::Scheduled);
            let Some(over) = over.map(|(id, _)| *id) else {
                tracing::warn!(%account, file_id, ?kind, "a callback is not sent: {LOG_MAX} are waiting already");
                return None;
            };
            self.deliveries.remove(&over);
        }
        let id = self.next;
        self.next += 1;
        let state = if withheld.is_some() { DeliveryState::Withheld } else { DeliveryState::Scheduled };
        let url = redacted_url(&url);
        let delivery = Delivery { account, kind, url, file_id, due, state, withheld, tries: Vec::new(), body };
        self.deliveries.insert(id, delivery);
        withheld.is_none().then_some(id)
    }

    /// Notes a try, and says whether another is due.
    pub(super) fn tried(&mut self, id: u64, tried: Try) -> Again {
        let scheduled = |delivery: &&mut Delivery| delivery.state == DeliveryState::Scheduled;
        let Some(delivery) = self.deliveries.get_mut(&id).filter(scheduled) else { return Again::Never };
        let answered = matches!(tried.outcome, Outcome::Answered(_));
        delivery.tries.push(tried);
        if answered {
            delivery.state = DeliveryState::Delivered;
        } else if delivery.tries.len() >= self.tries {
            delivery.state = DeliveryState::Failed;
        } else {
            return Again::Now;
        }
        Again::Never
    }

    /// Forgets these. They are not counted as dropped: nobody misses them.
    pub(super) fn forget(&mut self, whose: &Whose) {
        self.deliveries.retain(|_, delivery| !whose.is(Some(&delivery.account)));
    }

    /// Is this callback remembered no more?
    pub(super) fn forgot(&self, id: u64) -> bool {
        !self.deliveries.contains_key(&id)
    }

    /// Withholds what was not delivered, and what comes after.
    pub(super) fn stop(&mut self) {
        self.stopped = true;
        for delivery in self.deliveries.values_mut() {
            if delivery.state == DeliveryState::Scheduled {
                delivery.state = DeliveryState::Withheld;
                delivery.withheld = Some(Withheld::MockStopped);
            }
        }
    }

    pub(super) fn deliveries(&self) -> Vec<Delivery> {
        self.deliveries.values().cloned().collect()
    }

    pub(super) const fn dropped(&self) -> u64 {
        self.dropped
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn planned(file_id: u64, withheld: Option<Withheld>) -> Planned {
        Planned {
            account: "demo".to_owned(),
            kind: Kind::NewFileUpload,
            url: "http://me:sEcReT@h/?a".to_owned(),
            file_id: file_id.to_string(),
            wait: Duration::ZERO,
            due: Timestamp::UNIX_EPOCH,
            body: Value::Null,
            withheld,
        }
    }

    fn tried(outcome: Outcome) -> Try {
        Try { at: Timestamp::UNIX_EPOCH, outcome }
    }

    #[test]
    fn any_answer_delivers_and_ends_it() {
        for status in [200, 302, 404, 500] {
            let mut log = Log::new(3);
            let id = log.add(planned(1, None)).unwrap();
            assert_eq!(log.tried(id, tried(Outcome::Answered(status))), Again::Never, "{status}");
            assert_eq!(log.deliveries()[0].state, DeliveryState::Delivered, "{status}");
        }
    }

    #[test]
    fn it_is_sent_as_often_as_the_policy_says_and_at_least_once() {
        for (tries, expected) in [(0, 1), (1, 1), (3, 3)] {
            let mut log = Log::new(tries);
            let id = log.add(planned(1, None)).unwrap();
            let mut sent = 1;
            while log.tried(id, tried(Outcome::TimedOut)) == Again::Now {
                sent += 1;
            }
            assert_eq!(sent, expected, "{tries}");
            let delivery = &log.deliveries()[0];
            assert_eq!((delivery.state, delivery.tries.len()), (DeliveryState::Failed, expected), "{tries}");
        }
    }

    #[test]
    fn what_is_shown_has_no_password_and_one_form() {
        let mut log = Log::new(3);
        let id = log.add(planned(7, None)).unwrap();
        let _ = log.tried(id, tried(Outcome::Unreachable("refused".to_owned())));
        let _ = log.tried(id, tried(Outcome::TimedOut));
        let _ = log.tried(id, tried(Outcome::Answered(204)));
        let _ = log.add(planned(8, Some(Withheld::NotifyIsOff)));
        expect_test::expect![[r#"
            [
              {
                "account": "demo",
                "kind": "NewFileUpload",
                "url": "http://redacted@h/?redacted",
                "file-id": "7",
                "due": "1970-01-01T00:00:00Z",
                "state": "delivered",
                "tries": [
                  {
                    "at": "1970-01-01T00:00:00Z",
                    "outcome": {
                      "unreachable": "refused"
                    }
                  },
                  {
                    "at": "1970-01-01T00:00:00Z",
                    "outcome": "timed-out"
                  },
                  {
                    "at": "1970-01-01T00:00:00Z",
                    "outcome": {
                      "answered": 204
                    }
                  }
                ],
                "body": null
              },
              {
                "account": "demo",
                "kind": "NewFileUpload",
                "url": "http://redacted@h/?redacted",
                "file-id": "8",
                "due": "1970-01-01T00:00:00Z",
                "state": "withheld",
                "withheld": "notify-is-off",
                "tries": [],
                "body": null
              }
            ]
        "#]]
        .assert_eq(&(serde_json::to_string_pretty(&log.deliveries()).unwrap() + "\n"));
    }

    #[test]
    fn a_full_log_forgets_what_is_over_never_what_waits_and_counts_it() {
        let mut log = Log::new(1);
        let first = log.add(planned(0, None)).unwrap();
        let second = log.add(planned(1, None)).unwrap();
        for n in 2..LOG_MAX as u64 {
            assert!(log.add(planned(n, None)).is_some(), "{n}");
        }
        assert_eq!((log.add(planned(LOG_MAX as u64, None)), log.dropped()), (None, 1), "all that is there waits");
        let _ = log.tried(second, tried(Outcome::TimedOut));
        assert!(log.add(planned(u64::MAX, None)).is_some(), "what is over makes room");
        let ids: Vec<String> = log.deliveries().into_iter().map(|delivery| delivery.file_id).collect();
        assert_eq!((ids.len(), log.dropped()), (LOG_MAX, 2));
        assert_eq!((ids[0].as_str(), ids[1].as_str()), ("0", "2"), "{first} still waits, {second} is forgotten");
        assert_eq!(log.tried(second, tried(Outcome::TimedOut)), Again::Never, "nobody misses what is forgotten");
    }

    #[test]
    fn a_stop_withholds_what_waits_and_what_comes_after_but_not_what_is_over() {
        let mut log = Log::new(3);
        let delivered = log.add(planned(1, None)).unwrap();
        let _ = log.tried(delivered, tried(Outcome::Answered(200)));
        let waiting = log.add(planned(2, None)).unwrap();
        log.stop();
        assert_eq!(log.add(planned(3, None)), None);
        assert_eq!(log.tried(waiting, tried(Outcome::Answered(200))), Again::Never, "it came too late to count");
        let ends: Vec<_> = log.deliveries().into_iter().map(|end| (end.state, end.withheld, end.tries.len())).collect();
        let stopped = (DeliveryState::Withheld, Some(Withheld::MockStopped), 0);
        assert_eq!(ends, [(DeliveryState::Delivered, None, 1), stopped, stopped]);
    }
}

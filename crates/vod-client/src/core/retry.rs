//! May this be tried again, and when: the only home of that question, and the only count of attempts.

use std::time::Duration;

use vod_proto::{
    Action,
    code::RetryClass,
    reply::Rejected,
    retry::{self, LostReply},
};

use super::dice::{CallId, Dice};
use crate::error::{Failure, GaveUp};

/// How often and how soon a failed request is sent again.
///
/// ```
/// use vod_client::RetryPolicy;
///
/// let patient = RetryPolicy { attempts: 10, ..RetryPolicy::default() };
/// assert_eq!(patient.deadline, None);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RetryPolicy {
    /// How often one request may be sent, the first time included; at least 1. With 1, nothing is ever retried and a
    /// failure keeps its own kind instead of becoming [`Failure::Exhausted`].
    ///
    /// Default 6: with the default delays it rides out some three seconds of trouble.
    pub attempts: u32,
    /// The shortest wait. Default 50 ms: a server that has just refused needs a moment, whatever the dice say.
    pub delay_min: Duration,
    /// The longest wait before the first retry; it doubles with each further one. Default 100 ms.
    pub delay_base: Duration,
    /// Where the doubling ends. Default 5 s: longer waits help no server and try people's patience.
    pub delay_max: Duration,
    /// How many retries a whole upload may spend. Default 50, so that a server in trouble meets a bounded number of
    /// retries from each client, however many parts the file has.
    pub budget: u32,
    /// What each request that succeeds at its first try gives back, in hundredths of a retry, never above `budget`.
    /// Default 20: a long upload over a link that loses one request in six keeps going.
    pub refund_percent: u32,
    /// When the whole upload is given up, from its start. Default none: a slow upload is not a failed one.
    pub deadline: Option<Duration>,
    /// How much of a `Retry-After` is honoured. Default 60 s, the window of every documented rate limit.
    pub retry_after_max: Duration,
    /// How often an upload is opened again because its finish was refused or its session is gone.
    ///
    /// Default 2, so that a server that loses what it acknowledged is helped once and once more, and not for ever.
    pub reopenings: u32,
    /// How many parts may fail before no further one is begun; at least 1.
    ///
    /// Default 16: one part's failure must not stop the others, but a server that fails sixteen of them would fail a
    /// hundred thousand, one useless request after the other.
    pub failed_parts: usize,
    /// How long one request may wait for the server's quota (code 4400); such waits are charged to nobody.
    /// Default 15 min: rate limits are by the minute, so a quota that has not recovered by then will not.
    pub quota_patience: Duration,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self {
            attempts: 6,
            delay_min: Duration::from_millis(50),
            delay_base: Duration::from_millis(100),
            delay_max: Duration::from_secs(5),
            budget: 50,
            refund_percent: 20,
            deadline: None,
            retry_after_max: Duration::from_secs(60),
            reopenings: 2,
            failed_parts: 16,
            quota_patience: Duration::from_secs(15 * 60),
        }
    }
}

/// The first wait for a quota, at most; it doubles. Quotas are by the minute, so a second is a short wait.
const QUOTA_DELAY_BASE: Duration = Duration::from_secs(1);
/// Where that doubling ends: four looks at each minute's quota.
const QUOTA_DELAY_MAX: Duration = Duration::from_secs(15);

/// Could the server have acted on an attempt that failed?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Delivery {
    /// No: it was not sent, or turned away at the door.
    NotActedOn,
    /// Perhaps: it was sent, and its reply is lost or unreadable.
    MaybeActedOn,
}

/// An attempt without a readable reply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Trouble {
    pub(crate) failure: Failure,
    pub(crate) delivery: Delivery,
    /// The reply's `Retry-After`.
    pub(crate) retry_after: Option<Duration>,
}

impl Trouble {
    /// Must it be asked what became of the request, before it is sent again?
    pub(crate) fn ask_first(&self, action: Action) -> bool {
        self.delivery == Delivery::MaybeActedOn && retry::of(action).lost == LostReply::AskFirst
    }
}

/// What a failed attempt allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum After {
    /// Nothing: final.
    Never,
    /// Another attempt, at the earliest after so long.
    Backoff(Duration),
    /// Another attempt after a wait that is charged to nobody.
    Quota,
}

impl From<&Rejected> for After {
    fn from(rejected: &Rejected) -> Self {
        match rejected.retry_class() {
            RetryClass::Final => Self::Never,
            RetryClass::Again => Self::Backoff(Duration::ZERO),
            RetryClass::AfterWait => Self::Quota,
        }
    }
}

impl From<&Trouble> for After {
    fn from(trouble: &Trouble) -> Self {
        match trouble.failure {
            // What the caller must mend, such as whom to trust, does not mend itself.
            Failure::Config(_) => Self::Never,
            _ => Self::Backoff(trouble.retry_after.unwrap_or_default()),
        }
    }
}

/// How often a request was tried.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tries {
    /// Attempts that were started.
    pub(crate) started: u32,
    /// When the first was.
    pub(crate) since: Duration,
    /// Attempts that ended in a quota, and are not counted.
    free: u32,
    /// When the first of those ended.
    free_since: Duration,
}

/// What follows from a failed attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It is sent again at this time.
    SendAt(Duration),
    /// It is not, for this reason.
    Stop(Failure),
}

/// The retries of one upload.
#[derive(Clone, Debug)]
pub(crate) struct Retry {
    pub(crate) policy: RetryPolicy,
    pub(crate) dice: Dice,
    /// What is left, in hundredths of a retry.
    budget: u64,
}

impl Retry {
    pub(crate) fn new(policy: RetryPolicy, dice: Dice) -> Self {
        let budget = u64::from(policy.budget) * 100;
        Self { policy, dice, budget }
    }

    /// Notes that an attempt goes out.
    pub(crate) const fn started(&self, tries: &mut Tries, now: Duration) {
        if tries.started == 0 {
            tries.since = now;
        }
        tries.started += 1;
    }

    /// Notes that an attempt succeeded.
    pub(crate) fn succeeded(&mut self, tries: Tries) {
        if tries.started == 1 {
            let full = u64::from(self.policy.budget) * 100;
            self.budget = full.min(self.budget + u64::from(self.policy.refund_percent));
        }
    }

    /// Decides what follows from a failed attempt.
    pub(crate) fn failed(
        &mut self,
        call: CallId,
        tries: &mut Tries,
        failure: Failure,
        after: After,
        now: Duration,
    ) -> Verdict {
        let gave_up = |why, failure| Verdict::Stop(Failure::Exhausted { why, last: Some(Box::new(failure)) });
        let policy = &self.policy;
        let delay = match after {
            After::Never => return Verdict::Stop(failure),
            After::Quota => {
                if tries.free == 0 {
                    tries.free_since = now;
                }
                let high = doubled(QUOTA_DELAY_BASE, tries.free, QUOTA_DELAY_MAX);
                tries.free += 1;
                let delay = self.dice.between(high / 2, high, call, tries.started);
                if (now + delay).saturating_sub(tries.free_since) > policy.quota_patience {
                    return gave_up(GaveUp::Patience, failure);
                }
                delay
            }
            After::Backoff(at_least) => {
                let counted = tries.started - tries.free;
                if counted >= policy.attempts {
                    return match policy.attempts {
                        0 | 1 => Verdict::Stop(failure),
                        _ => gave_up(GaveUp::Attempts, failure),
                    };
                }
                let Some(left) = self.budget.checked_sub(100) else {
                    return gave_up(GaveUp::Budget, failure);
                };
                self.budget = left;
                let high = doubled(policy.delay_base, counted - 1, policy.delay_max).max(policy.delay_min);
                let delay = self.dice.between(policy.delay_min, high, call, tries.started);
                delay.max(at_least.min(policy.retry_after_max))
            }
        };
        let until = now + delay;
        match policy.deadline {
            // Waiting for a moment that will be too late helps nobody.
            Some(deadline) if until >= deadline => gave_up(GaveUp::Deadline, failure),
            _ => Verdict::SendAt(until),
        }
    }
}

fn doubled(base: Duration, times: u32, max: Duration) -> Duration {
    base.saturating_mul(2_u32.saturating_pow(times)).min(max)
}

#[cfg(test)]
mod tests {
    use vod_proto::{Action, Sha1};

    use super::*;
    use crate::error::TransportError;

    const CALL: CallId = CallId { action: Action::UploadPart, part: 0, round: 0 };
    const SOON: After = After::Backoff(Duration::ZERO);

    fn reset() -> Failure {
        Failure::Transport(TransportError::Reset)
    }

    fn retry(policy: RetryPolicy) -> Retry {
        Retry::new(policy, Dice::new(1, Sha1::of(b"")))
    }

    /// Fails attempt after attempt, and shows the waits in milliseconds and what ended them.
    fn run(retry: &mut Retry, call: CallId, after: After) -> (Vec<u128>, Failure) {
        let (mut tries, mut now, mut waits) = (Tries::default(), Duration::ZERO, Vec::new());
        loop {
            retry.started(&mut tries, now);
            match retry.failed(call, &mut tries, reset(), after, now) {
                Verdict::SendAt(at) => {
                    waits.push((at - now).as_millis());
                    assert!(waits.len() < 1000, "no end in sight");
                    now = at;
                }
                Verdict::Stop(failure) => return (waits, failure),
            }
        }
    }

    fn exhausted(why: GaveUp) -> Failure {
        Failure::Exhausted { why, last: Some(Box::new(reset())) }
    }

    #[test]
    fn six_attempts_with_doubling_jittered_waits() {
        let highs = [100, 200, 400, 800, 1600];
        for part in 0..500 {
            let (waits, end) = run(&mut retry(RetryPolicy::default()), CallId { part, ..CALL }, SOON);
            assert_eq!(end, exhausted(GaveUp::Attempts));
            assert_eq!(waits.len(), 5, "six attempts have five waits between them");
            for (wait, high) in waits.iter().zip(highs) {
                assert!((50..=high).contains(wait), "part {part}: {waits:?}");
            }
        }
    }

    #[test]
    fn waits_do_not_grow_beyond_their_maximum() {
        let policy = RetryPolicy { attempts: 40, ..RetryPolicy::default() };
        let (waits, _) = run(&mut retry(policy), CALL, SOON);
        assert!(waits.iter().all(|wait| *wait <= 5000), "{waits:?}");
        assert!(waits.iter().any(|wait| *wait > 2500), "full jitter reaches the upper half: {waits:?}");
    }

    #[test]
    fn waits_depend_on_the_key_and_not_on_what_else_was_drawn() {
        let alone = run(&mut retry(RetryPolicy::default()), CALL, SOON);
        let mut shared = retry(RetryPolicy::default());
        let neighbour = run(&mut shared, CallId { part: 1, ..CALL }, SOON);
        assert_eq!(run(&mut shared, CALL, SOON), alone);
        assert_ne!(neighbour.0, alone.0);
    }

    #[test]
    fn a_final_answer_allows_nothing() {
        assert_eq!(run(&mut retry(RetryPolicy::default()), CALL, After::Never), (vec![], reset()));
    }

    #[test]
    fn with_one_attempt_a_failure_keeps_its_kind() {
        let policy = RetryPolicy { attempts: 1, ..RetryPolicy::default() };
        assert_eq!(run(&mut retry(policy), CALL, SOON), (vec![], reset()));
    }

    #[test]
    fn retry_after_is_a_minimum_up_to_its_cap() {
        let at_least = |seconds| {
            let (waits, _) =
                run(&mut retry(RetryPolicy::default()), CALL, After::Backoff(Duration::from_secs(seconds)));
            waits
        };
        assert_eq!(at_least(2), [2000; 5]);
        assert_eq!(at_least(3600), [60_000; 5]);
    }

    #[test]
    fn the_budget_is_shared_and_refunded_by_first_tries() {
        let mut retry = retry(RetryPolicy { attempts: 100, budget: 3, ..RetryPolicy::default() });
        let (waits, end) = run(&mut retry, CALL, SOON);
        assert_eq!((waits.len(), end), (3, exhausted(GaveUp::Budget)));

        let first = Tries { started: 1, ..Tries::default() };
        let second = Tries { started: 2, ..Tries::default() };
        (0..4).for_each(|_| retry.succeeded(first));
        (0..9).for_each(|_| retry.succeeded(second));
        assert_eq!(run(&mut retry, CALL, SOON).0.len(), 0, "four first tries give back 0.8 of a retry");
        (0..1).for_each(|_| retry.succeeded(first));
        assert_eq!(run(&mut retry, CALL, SOON).0.len(), 1, "five give back a whole one");
        (0..1000).for_each(|_| retry.succeeded(first));
        assert_eq!(run(&mut retry, CALL, SOON).0.len(), 3, "and never more than there was");
    }

    #[test]
    fn waits_for_a_quota_cost_neither_attempts_nor_budget() {
        let mut retry = retry(RetryPolicy { budget: 1, attempts: 2, ..RetryPolicy::default() });
        let (waits, end) = run(&mut retry, CALL, After::Quota);
        assert_eq!(end, exhausted(GaveUp::Patience));
        assert!(waits.len() > 50, "a quarter of an hour in waits of at most 15 s: {}", waits.len());
        let waited: u128 = waits.iter().sum();
        assert!((880_000..=900_000).contains(&waited), "{waited} ms");
        assert_eq!(run(&mut retry, CALL, SOON).0.len(), 1, "the budget is untouched");
    }

    #[test]
    fn a_wait_beyond_the_deadline_is_not_begun() {
        let deadline = Some(Duration::from_secs(5));
        let (waits, end) = run(
            &mut retry(RetryPolicy { deadline, ..RetryPolicy::default() }),
            CALL,
            After::Backoff(Duration::from_secs(2)),
        );
        assert_eq!((waits, end), (vec![2000, 2000], exhausted(GaveUp::Deadline)));
    }
}

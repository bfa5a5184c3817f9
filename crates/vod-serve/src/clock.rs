//! The only place where this crate reads a clock or draws a seed.

use std::time::Duration;

use jiff::Timestamp;
use tokio::time::Instant;

/// The time of day, and time elapsed.
///
/// Elapsed time is always the runtime's, so that a paused runtime pauses everything.
#[derive(Clone, Copy, Debug)]
pub struct WallClock {
    fixed: Option<(Timestamp, Instant)>,
}

impl WallClock {
    /// The machine's own clock.
    #[must_use]
    pub const fn system() -> Self {
        Self { fixed: None }
    }

    /// A clock that shows `epoch` now and goes on with the runtime's time. Call it within a runtime.
    #[must_use]
    pub fn fixed(epoch: Timestamp) -> Self {
        Self { fixed: Some((epoch, instant())) }
    }

    /// The time of day.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        match self.fixed {
            Some((epoch, since)) => epoch + since.elapsed(),
            None => system_now(),
        }
    }
}

/// A moment to measure from, in the runtime's time.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "the clock of this crate")]
pub(crate) fn instant() -> Instant {
    Instant::now()
}

/// Does time stand still in the runtime that this is called in, until somebody moves it on? That is so in tests alone.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "the clock of this crate")]
pub fn is_paused() -> bool {
    if tokio::runtime::Handle::try_current().is_err() {
        return false;
    }
    let before = instant();
    let machine = std::time::Instant::now();
    while machine.elapsed().is_zero() {
        std::hint::spin_loop();
    }
    instant() == before
}

/// Microseconds since a moment.
pub(crate) fn micros_since(start: Instant) -> u64 {
    micros(start.elapsed())
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

#[expect(clippy::disallowed_methods, reason = "the clock of this crate")]
fn system_now() -> Timestamp {
    Timestamp::now()
}

/// Bytes that nobody can guess, for a key that is made up.
///
/// # Errors
/// If the system has none to give.
pub fn fresh_secret() -> std::io::Result<[u8; 32]> {
    let mut secret = [0; 32];
    getrandom::fill(&mut secret)?;
    Ok(secret)
}

/// A seed nobody chose. Whoever uses it prints it, so that a run can be repeated.
#[must_use]
pub fn fresh_seed() -> u64 {
    use std::hash::{BuildHasher as _, RandomState};
    RandomState::new().hash_one(system_now().as_nanosecond())
}

#[cfg(test)]
mod tests {
    use super::is_paused;

    #[tokio::test(start_paused = true)]
    async fn a_runtime_that_is_paused_is_seen_to_be() {
        assert!(is_paused());
        tokio::time::resume();
        assert!(!is_paused());
    }

    #[test]
    fn time_goes_on_in_any_other_runtime_and_without_one() {
        assert!(!is_paused());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        assert!(!runtime.block_on(async { is_paused() }));
    }
}

//! The clock and the seed: the only file of this crate that reads either.

use std::{
    hash::{BuildHasher as _, Hasher as _},
    time::{Duration, SystemTime},
};

use tokio::time::Instant;

#[expect(clippy::disallowed_methods, reason = "this file is where the client's clock is read")]
fn instant() -> Instant {
    Instant::now()
}

#[expect(clippy::disallowed_methods, reason = "this file is where the client's clock is read")]
fn wall_time() -> jiff::Timestamp {
    jiff::Timestamp::now()
}

/// How long ago something was; nothing for what is yet to come.
#[expect(clippy::disallowed_methods, reason = "this file is where the client's clock is read")]
pub(crate) fn age(moment: SystemTime) -> Duration {
    SystemTime::now().duration_since(moment).unwrap_or_default()
}

/// A seed that nobody chose. Whoever wants a run again passes the seed that the run logged.
pub(crate) fn draw_seed() -> u64 {
    // The standard library seeds its hash maps from the operating system: that is all the chance needed here.
    std::hash::RandomState::new().build_hasher().finish()
}

/// A time in seconds since 1970 as people read it; the number itself where no calendar reaches.
pub(crate) fn shown(seconds: u64) -> String {
    let timestamp = i64::try_from(seconds).ok().and_then(|seconds| jiff::Timestamp::from_second(seconds).ok());
    timestamp.map_or_else(|| seconds.to_string(), |timestamp| timestamp.to_string())
}

/// Time since it was started, in tokio's time: a paused runtime stops it too.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stopwatch {
    started: Instant,
}

impl Stopwatch {
    pub(crate) fn start() -> Self {
        Self { started: instant() }
    }

    pub(crate) fn elapsed(self) -> Duration {
        instant().saturating_duration_since(self.started)
    }

    /// The moment at which this much will have elapsed.
    pub(crate) fn at(self, elapsed: Duration) -> Instant {
        self.started + elapsed
    }
}

/// What time it is, for the `Timestamp` of a request.
#[derive(Clone, Debug)]
pub struct WallClock(Kind);

#[derive(Clone, Debug)]
enum Kind {
    System,
    Fixed { epoch: jiff::Timestamp, since: Stopwatch },
}

impl WallClock {
    /// The clock of the machine. The default.
    #[must_use]
    pub const fn system() -> Self {
        Self(Kind::System)
    }

    /// A clock that shows `epoch` now and goes with tokio's time, for simulations.
    #[must_use]
    pub fn fixed(epoch: jiff::Timestamp) -> Self {
        Self(Kind::Fixed { epoch, since: Stopwatch::start() })
    }

    /// Seconds since 1970.
    pub(crate) fn seconds(&self) -> i64 {
        match &self.0 {
            Kind::System => wall_time().as_second(),
            Kind::Fixed { epoch, since } => {
                let elapsed = i64::try_from(since.elapsed().as_secs()).unwrap_or(i64::MAX);
                epoch.as_second().saturating_add(elapsed)
            }
        }
    }
}

impl Default for WallClock {
    fn default() -> Self {
        Self::system()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_fixed_clock_goes_with_tokios_time() {
        let clock = WallClock::fixed(jiff::Timestamp::from_second(1_465_185_768).unwrap());
        assert_eq!(clock.seconds(), 1_465_185_768);
        tokio::time::advance(Duration::from_secs(90)).await;
        assert_eq!(clock.seconds(), 1_465_185_858, "ninety virtual seconds later");
    }
}

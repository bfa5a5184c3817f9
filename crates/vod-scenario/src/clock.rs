//! The only place where this crate reads a clock.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::time::Instant;

/// Measures elapsed time: the runtime's where there is one, so that a paused runtime pauses it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stopwatch(Instant);

impl Stopwatch {
    /// Starts measuring. Without a runtime it is the machine's time.
    #[expect(clippy::disallowed_methods, reason = "the clock of this crate")]
    pub(crate) fn start() -> Self {
        Self(Instant::now())
    }

    /// How long it has been.
    pub(crate) fn elapsed(self) -> Duration {
        self.0.elapsed()
    }
}

/// The time of day, in seconds since 1970: a signature that the mock checks was made then.
#[expect(clippy::disallowed_methods, reason = "the clock of this crate")]
pub(crate) fn unix_seconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

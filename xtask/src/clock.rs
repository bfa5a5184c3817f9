//! The one file of this crate that reads the clock.

use std::time::{Duration, Instant, SystemTime};

/// Counts how long something takes.
#[derive(Clone, Copy)]
pub(crate) struct Stopwatch(Instant);

impl Stopwatch {
    /// Starts counting.
    #[expect(
        clippy::disallowed_methods,
        reason = "elapsed time is measured here, told to people and held against a bar"
    )]
    pub(crate) fn start() -> Self {
        Self(Instant::now())
    }

    /// The time since the start.
    pub(crate) fn elapsed(&self) -> Duration {
        self.0.elapsed()
    }
}

/// Seconds since 1970, as a signed request carries them.
#[expect(clippy::disallowed_methods, reason = "a server takes no request that is hours old")]
pub(crate) fn unix_seconds() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// Waits until it is time to look again at what tells nobody when it changes.
#[expect(clippy::disallowed_methods, reason = "the memory of another process can only be looked at")]
pub(crate) fn pause(pause: Duration) {
    std::thread::sleep(pause);
}

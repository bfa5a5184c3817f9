//! The only place where this crate reads a clock.

use std::time::Duration;

use tokio::time::Instant;

/// Measures elapsed time: the runtime's, so that a paused runtime pauses it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stopwatch(Instant);

impl Stopwatch {
    /// Starts measuring. Call it within a runtime.
    #[expect(clippy::disallowed_methods, reason = "the clock of this crate")]
    pub(crate) fn start() -> Self {
        Self(Instant::now())
    }

    /// How long it has been.
    pub(crate) fn elapsed(self) -> Duration {
        self.0.elapsed()
    }
}

//! Somebody ends a run: by Ctrl-C, or by SIGTERM, as a CI job does that is cancelled.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use vod_serve::program::asked_to_stop;

use crate::exit;

/// Was this process asked to stop since?
#[derive(Clone, Debug, Default)]
pub(super) struct Stop(Arc<AtomicBool>);

impl Stop {
    /// Listens from now on. Stories with real processes hear of it themselves, and end them; whoever asks twice is not kept
    /// waiting for one that is told in simulation.
    ///
    /// # Errors
    /// If there is no runtime to listen by.
    pub(super) fn listen() -> io::Result<Self> {
        let stop = Self::default();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let asked = Arc::clone(&stop.0);
        std::thread::spawn(move || {
            runtime.block_on(async {
                asked_to_stop().await;
                asked.store(true, Ordering::Relaxed);
                asked_to_stop().await;
                std::process::exit(exit::NOT_PASSED.into());
            });
        });
        Ok(stop)
    }

    pub(super) fn is_asked(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

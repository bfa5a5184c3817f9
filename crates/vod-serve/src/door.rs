//! The door of a server: while it is shut, connections are refused.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::sync::{mpsc, oneshot};

/// The door of a server, as a fault sees it.
#[derive(Default)]
pub(crate) struct Door {
    /// One for every listener.
    keepers: Mutex<Vec<mpsc::UnboundedSender<Shut>>>,
}

/// Shut it for so long, and say when it is shut.
pub(crate) struct Shut {
    pub(crate) time: Duration,
    pub(crate) done: oneshot::Sender<()>,
}

impl Door {
    /// Has every listener refuse connections, and returns once they do.
    pub(crate) async fn shut(&self, time: Duration) {
        let mut shut = Vec::new();
        self.keepers().retain(|keeper| {
            let (done, is_shut) = oneshot::channel();
            shut.push(is_shut);
            keeper.send(Shut { time, done }).is_ok()
        });
        for is_shut in shut {
            // An error says that this one has ceased to listen.
            let _ = is_shut.await;
        }
    }

    /// Hears what is asked of a listener.
    pub(crate) fn keep(&self) -> mpsc::UnboundedReceiver<Shut> {
        let (keeper, asked) = mpsc::unbounded_channel();
        self.keepers().push(keeper);
        asked
    }

    fn keepers(&self) -> MutexGuard<'_, Vec<mpsc::UnboundedSender<Shut>>> {
        self.keepers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

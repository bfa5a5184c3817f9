//! Calls an application's own server back when a file is stored and when its transcoding is over.
//!
//! - [`StoredEvent`], [`CallbackPolicy`]: from these it is planned what is sent, where and when; pure.
//! - [`Delivery`]: what became of a callback; pure.
//! - [`Caller`], [`HttpCaller`]: who carries it there.
//! - [`Callbacks`]: the rim that joins them, with the runtime's time.
//!
//! Nobody is called unless told to: an account's events go out because its `callback-url` was configured, the
//! `notifyUrl` that a client names is called only where [`CallbackPolicy::notify`] says so.
//!
//! Source: `docs/protocol.md`, *Callbacks*.

mod caller;
mod log;
mod plan;
#[cfg(test)]
mod tests;

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{
    task::JoinSet,
    time::{Sleep, sleep, timeout},
};
use vod_serve::{WallClock, journal::Whose};

use log::{Again, Log};

pub use caller::{Caller, HttpCaller, check_url};
pub use log::{Delivery, DeliveryState, LOG_MAX, Outcome, Try};
pub use plan::{Kind, StoredEvent, Withheld};

/// How and when callbacks go out.
#[derive(Clone, Debug)]
pub struct CallbackPolicy {
    /// Is the `notifyUrl` called that a client names? Default: no, for whoever can upload could then make this
    /// process call any address it can reach.
    pub notify: bool,
    /// How long after a file was stored its first callback goes out.
    /// Default: 100 ms, so that the client's own reply is normally out before, as with a service that tells others
    /// later; a test that waits for a callback hardly notices.
    pub delay: Duration,
    /// How long transcoding takes: from the first callback to the one that says it is over.
    /// Default: 1 s. Real transcoding takes minutes; this keeps the two callbacks apart and a test short.
    pub transcode_delay: Duration,
    /// How long an answer is waited for. Default: 5 s, as documented.
    pub limit: Duration,
    /// How often a callback is sent that gets no answer, the first time included. Default: 3, as documented.
    /// It is always sent once.
    pub tries: u32,
}

impl Default for CallbackPolicy {
    fn default() -> Self {
        Self {
            notify: false,
            delay: Duration::from_millis(100),
            transcode_delay: Duration::from_secs(1),
            limit: Duration::from_secs(5),
            tries: 3,
        }
    }
}

/// Sends callbacks, and remembers what became of them.
///
/// Tell it of every file with [`file_stored`](Self::file_stored), once; read what came of it from [`log`](Self::log).
/// What waits or is under way ends with [`stop`](Self::stop), or when this is dropped: it does not outlive the mock.
pub struct Callbacks {
    shared: Arc<Shared>,
    tasks: Mutex<JoinSet<()>>,
}

/// What a delivery under way needs. It does not know the tasks, or they would keep each other alive.
struct Shared {
    policy: CallbackPolicy,
    caller: Arc<dyn Caller>,
    clock: WallClock,
    log: Mutex<Log>,
}

impl Callbacks {
    /// Callbacks that go out through `caller`.
    #[must_use]
    pub fn new(policy: CallbackPolicy, caller: Arc<dyn Caller>, clock: WallClock) -> Arc<Self> {
        let log = Mutex::new(Log::new(policy.tries));
        Arc::new(Self { shared: Arc::new(Shared { policy, caller, clock, log }), tasks: Mutex::default() })
    }

    /// Can a callback go to this URL at all?
    pub(crate) fn takes(&self, url: &str) -> Result<(), String> {
        self.shared.caller.takes(url)
    }

    /// Schedules what is to be told of a file, and returns at once. Call it within a runtime.
    pub fn file_stored(&self, event: &StoredEvent) {
        let now = self.shared.clock.now();
        let mut tasks = self.tasks();
        while tasks.try_join_next().is_some() {}
        for planned in plan::plan(&self.shared.policy, event, now) {
            let (url, wait, json) = (planned.url.clone(), planned.wait, planned.body.to_string());
            if let Some(id) = self.shared.log().add(planned) {
                tasks.spawn(deliver(Arc::clone(&self.shared), id, sleep(wait), url, json));
            }
        }
    }

    /// Ends what waits or is under way, and withholds what comes after.
    pub fn stop(&self) {
        let mut tasks = self.tasks();
        tasks.abort_all();
        self.shared.log().stop();
    }

    /// Forgets these callbacks: none of them is sent any more.
    pub(crate) fn forget(&self, whose: &Whose) {
        self.shared.log().forget(whose);
    }

    /// Every callback, in the order in which they were scheduled, as far as they are remembered.
    #[must_use]
    pub fn log(&self) -> Vec<Delivery> {
        self.shared.log().deliveries()
    }

    /// How many callbacks are no longer in the [`log`](Self::log), or never were, because it holds [`LOG_MAX`].
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.shared.log().dropped()
    }

    /// Held while something is scheduled or stopped, so that nothing is begun after a stop.
    fn tasks(&self) -> MutexGuard<'_, JoinSet<()>> {
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Shared {
    fn log(&self) -> MutexGuard<'_, Log> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Sends one callback when it is due, until somebody answers or all tries are made.
async fn deliver(shared: Arc<Shared>, id: u64, due: Sleep, url: String, json: String) {
    due.await;
    // Whoever begins anew is not told of what was before.
    if shared.log().forgot(id) {
        return;
    }
    loop {
        let at = shared.clock.now();
        let outcome = match timeout(shared.policy.limit, shared.caller.post(&url, json.clone())).await {
            Ok(Ok(status)) => Outcome::Answered(status),
            Ok(Err(why)) => Outcome::Unreachable(why),
            Err(_) => Outcome::TimedOut,
        };
        match shared.log().tried(id, Try { at, outcome }) {
            Again::Now => {}
            Again::Never => return,
        }
    }
}

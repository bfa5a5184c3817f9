//! A mock in a test: one line, a random port, gone when it is dropped.
//!
//! - [`Scope`]: what can be done with a mock and with one account of it; [`TestAccount`]: an account of a test's own.
//! - [`PlantedFault`]: a fault that is lifted when it is dropped, and must have struck.
//! - [`Exchanges`]: the evidence, narrowed down; [`Requests`]: which requests are meant.
//! - [`Expectation`]: what is expected, checked when it is dropped; `nearest` shows what came instead.
//! - `home`: the thread and runtime that a mock lives on.

mod account;
mod evidence;
mod exchanges;
mod expect;
mod home;
mod nearest;
mod planted;
mod requests;
mod scope;

use std::{
    any::Any,
    fmt,
    net::Ipv4Addr,
    ops::Deref,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread::panicking,
    time::Duration,
};

use tokio::task::JoinHandle;
use vod_proto::lint::Findings;
use vod_serve::Port;

pub(crate) use self::home::block_on;
use self::home::{Home, OwnThread};
pub use self::{
    account::TestAccount,
    exchanges::Exchanges,
    expect::{Expectation, Times},
    planted::PlantedFault,
    requests::Requests,
    scope::{Scope, When},
};
use crate::{Account, AccountsError, AdminPlace, Config, MemoryStore, Mock, OpenError, Store, Tls};

/// How long is waited for something that a test expects to happen, by the clock of the mock. Default 30 s: what is
/// on its way comes within milliseconds, and a test that waits in vain should say so before somebody kills it.
const PATIENCE: Duration = Duration::from_secs(30);

/// A mock that listens on a random port of loopback for as long as it lives.
///
/// It is a [`Scope`]: faults, evidence and expectations of all its accounts.
///
/// It lives on a thread of its own, so that a test may block while it waits for an answer, and so that a mock may be
/// shared by tests that each have a runtime. Only where the clock of the test's runtime is paused it lives in that
/// runtime, and goes by that clock: then the test must not block.
///
/// When it is dropped it stops, its port is free and what is under way is closed; then what was [expected](Scope::expect)
/// is checked. A panic that is under way already is not disturbed: what is not met is printed.
pub struct VodMock {
    scope: Scope,
    admin_endpoint: Option<String>,
    seed: u64,
    accounts: AtomicU64,
    serving: JoinHandle<()>,
    thread: Option<OwnThread>,
}

impl VodMock {
    /// Starts a mock with the demo account, in memory.
    ///
    /// # Panics
    /// If loopback has no free port. Where that must be handled, use [`start_with`](Self::start_with).
    pub async fn start() -> Self {
        match Self::start_with(Config::default()).await {
            Ok(mock) => mock,
            Err(error) => panic!("a mock with default settings could not be started: {error}"),
        }
    }

    /// Starts a mock like [`start`](Self::start) that speaks TLS. Its clients must trust [`ca_pem`](Scope::ca_pem), and
    /// may call it `localhost` or by any host of the service.
    ///
    /// ```
    /// # tokio::runtime::Runtime::new().unwrap().block_on(async {
    /// let mock = vod_mock::VodMock::start_tls().await;
    /// assert!(mock.endpoint().starts_with("https://127.0.0.1:"));
    /// assert!(mock.ca_pem().unwrap().starts_with("-----BEGIN CERTIFICATE-----"));
    /// # });
    /// ```
    ///
    /// # Panics
    /// Like [`start`](Self::start).
    pub async fn start_tls() -> Self {
        match Self::start_with(Config { tls: Some(Tls::default()), ..Config::default() }).await {
            Ok(mock) => mock,
            Err(error) => panic!("a mock with default settings could not be started: {error}"),
        }
    }

    /// Starts a mock in memory that behaves as `config` says.
    ///
    /// # Errors
    /// If the configuration cannot be used, or loopback has no free port.
    pub async fn start_with(config: Config) -> Result<Self, OpenError> {
        Self::start_on(config, MemoryStore::new()).await
    }

    /// Starts a mock on a store, and takes up what that holds.
    ///
    /// # Errors
    /// If the configuration or the store cannot be used, or loopback has no free port.
    pub async fn start_on(config: Config, store: Arc<dyn Store>) -> Result<Self, OpenError> {
        let (home, thread) = Home::found()?;
        let opened = home.run(Opened::open(config, store)).await?;
        Ok(Self::with(opened, home, thread))
    }

    /// The same for whoever has no runtime: blocks the thread until it is started.
    pub(crate) fn start_blocking(config: Config, store: Arc<dyn Store>) -> Result<Self, OpenError> {
        let (home, thread) = Home::own()?;
        let opened = block_on(home.run(Opened::open(config, store)))?;
        Ok(Self::with(opened, home, Some(thread)))
    }

    fn with(opened: Opened, home: Home, thread: Option<OwnThread>) -> Self {
        let Opened { mock, port, admin, place, seed } = opened;
        let scheme = if mock.ca_pem().is_some() { "https" } else { "http" };
        let endpoint = format!("{scheme}://{}", port.addr());
        let admin_endpoint = match (place, &admin) {
            (AdminPlace::Nowhere, _) => None,
            (_, Some(admin)) => Some(format!("http://{}", admin.addr())),
            (_, None) => Some(endpoint.clone()),
        };
        let serving = Arc::clone(&mock);
        let serving = home.spawn(async move {
            serving.serve_both(port, admin).await;
        });
        let scope = Scope::of_mock(mock, home, endpoint);
        Self { scope, admin_endpoint, seed, accounts: AtomicU64::new(1), serving, thread }
    }

    /// Where the admin API is, such as `http://127.0.0.1:41873`, to be followed by `/__vod/`; none where it is nowhere.
    #[must_use]
    pub fn admin_endpoint(&self) -> Option<&str> {
        self.admin_endpoint.as_deref()
    }

    /// A new account with keys of its own, which is removed when it is dropped.
    ///
    /// Names and keys are drawn from the mock's seed, in the order of these calls.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// # let mock = vod_mock::VodMock::start().await;
    /// let account = mock.account();
    /// // … point an uploader with account.secret_id() and account.secret_key() at mock.endpoint() …
    /// assert!(account.exchanges().is_empty());
    /// # }
    /// ```
    #[must_use]
    #[track_caller]
    pub fn account(&self) -> TestAccount {
        self.account_with(|_| {})
    }

    /// The same, with a name, limits or a callback URL as a test needs them. Its keys are drawn.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// # let mock = vod_mock::VodMock::start().await;
    /// let alice = mock.account_with(|account| account.name = "alice".to_owned());
    /// assert_eq!(alice.name(), "alice");
    /// # }
    /// ```
    ///
    /// # Panics
    /// If the account cannot be used as it is, such as with a name that is taken.
    #[must_use]
    #[track_caller]
    pub fn account_with(&self, edit: impl Fn(&mut Account)) -> TestAccount {
        loop {
            let n = self.accounts.fetch_add(1, Ordering::Relaxed);
            match TestAccount::add(&self.scope, self.seed, n, &edit) {
                Ok(account) => return account,
                // Somebody else has chosen the name that was next.
                Err(AccountsError::Name(taken)) if taken == format!("account-{n}") => {}
                Err(wrong) => panic!("{wrong}"),
            }
        }
    }

    /// The rules that clients broke so far, each with the exchanges that prove it.
    #[must_use]
    pub fn findings(&self) -> Findings {
        self.scope.mock().findings()
    }

    /// Stops it and waits until it has let go of its port and its store.
    pub async fn stop(mut self) {
        let mock = Arc::clone(self.scope.mock());
        let stop = async move {
            mock.settled().await;
            mock.stop();
            mock.read_out().await;
        };
        self.scope.home().run(stop).await;
        self.serving.abort();
        // An aborted task ends in an error that says just that.
        let _ = (&mut self.serving).await;
    }
}

/// A mock that is open, and the ports it will listen at.
struct Opened {
    mock: Arc<Mock>,
    port: Port,
    admin: Option<Port>,
    place: AdminPlace,
    seed: u64,
}

impl Opened {
    /// Call it where the mock will live.
    async fn open(config: Config, store: Arc<dyn Store>) -> Result<Self, OpenError> {
        let (place, seed) = (config.admin.place, config.seed);
        let mock = Mock::open(config, store).await?;
        let port = Port::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let admin = match place {
            AdminPlace::Apart => Some(Port::bind((Ipv4Addr::LOCALHOST, 0)).await?),
            AdminPlace::Shared | AdminPlace::Nowhere => None,
        };
        Ok(Self { mock, port, admin, place, seed })
    }
}

impl Deref for VodMock {
    type Target = Scope;

    fn deref(&self) -> &Scope {
        &self.scope
    }
}

impl fmt::Debug for VodMock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VodMock").field("endpoint", &self.endpoint()).finish_non_exhaustive()
    }
}

impl Drop for VodMock {
    fn drop(&mut self) {
        // First what the evidence says now: stopping ends what is under way.
        let failed = failed(|| self.scope.settle());
        self.scope.mock().stop();
        self.serving.abort();
        drop(self.thread.take());
        if let Some(failure) = failed {
            failure.fail();
        }
    }
}

/// Why a test is to fail that drops something.
enum Failure {
    /// This is not as it should be.
    Wrong(String),
    /// A closure of the test panicked that tells which requests are meant.
    Panic(Box<dyn Any + Send>),
}

impl Failure {
    /// Fails the test. If it is failing already, only says why it would: a second panic would end the whole process, and
    /// every other test in it.
    fn fail(self) {
        match self {
            Self::Wrong(why) if panicking() => eprintln!("{why}"),
            Self::Wrong(why) => panic!("{why}"),
            // It was told where it came up.
            Self::Panic(_) if panicking() => {}
            Self::Panic(panic) => resume_unwind(panic),
        }
    }
}

/// Why a check fails, if it does. It is kept from panicking, since it is made in drops.
fn failed(check: impl FnOnce() -> Result<(), String>) -> Option<Failure> {
    match catch_unwind(AssertUnwindSafe(check)) {
        Ok(Ok(())) => None,
        Ok(Err(why)) => Some(Failure::Wrong(why)),
        Err(panic) => Some(Failure::Panic(panic)),
    }
}

/// Waits for something for as long as a test should; none where that was in vain.
async fn patient<T>(work: impl Future<Output = T>) -> Option<T> {
    tokio::time::timeout(PATIENCE, work).await.ok()
}

fn shown_patience() -> humantime::FormattedDuration {
    humantime::format_duration(PATIENCE)
}

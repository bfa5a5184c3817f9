//! The same for tests that are not asynchronous: the names of [`vod_mock`](crate), without a runtime and without
//! `await`.
//!
//! What waits blocks the thread, for no longer than 30 s. It may be used and dropped within a runtime too; there it
//! blocks the thread as any other blocking call does.
//!
//! ```
//! use vod_mock::{Action, Fault, Requests, Verdict, blocking::VodMock};
//!
//! let mock = VodMock::start();
//! let account = mock.account();
//! let busy = account.fault(Fault::on(Action::InitUpload).attempt(1).before_read(Verdict::http(503)));
//! account.expect(Requests::of(Action::FinishUpload), ..=1);
//! // … upload with a blocking client to mock.endpoint() …
//! # let busy = busy.may_stay_unused();
//! assert_eq!(busy.exchanges().len() as u64, busy.struck());
//! ```

use std::{ops::Deref, sync::Arc, time::Duration};

use vod_proto::{Sha1, lint::Findings};
use vod_serve::{
    Subject,
    fault::{Aim, Fate, Fault, Verdict},
};

use crate::{
    Account, Config, MemoryStore, OpenError, Requests, Store, Times, Tls, UploadView, When,
    vod_mock::{self as waiting, block_on},
};

/// A mock that listens on a random port of loopback for as long as it lives; see [`crate::VodMock`].
#[derive(Debug)]
pub struct VodMock {
    scope: Scope,
    mock: waiting::VodMock,
}

impl VodMock {
    /// Starts a mock with the demo account, in memory.
    ///
    /// # Panics
    /// If loopback has no free port. Where that must be handled, use [`start_with`](Self::start_with).
    #[must_use]
    pub fn start() -> Self {
        match Self::start_with(Config::default()) {
            Ok(mock) => mock,
            Err(error) => panic!("a mock with default settings could not be started: {error}"),
        }
    }

    /// Starts a mock like [`start`](Self::start) that speaks TLS. Its clients must trust
    /// [`ca_pem`](crate::Scope::ca_pem), and may call it `localhost` or by any host of the service.
    ///
    /// # Panics
    /// Like [`start`](Self::start).
    #[must_use]
    pub fn start_tls() -> Self {
        match Self::start_with(Config { tls: Some(Tls::default()), ..Config::default() }) {
            Ok(mock) => mock,
            Err(error) => panic!("a mock with default settings could not be started: {error}"),
        }
    }

    /// Starts a mock in memory that behaves as `config` says.
    ///
    /// # Errors
    /// If the configuration cannot be used, or loopback has no free port.
    pub fn start_with(config: Config) -> Result<Self, OpenError> {
        Self::start_on(config, MemoryStore::new())
    }

    /// Starts a mock on a store, and takes up what that holds.
    ///
    /// # Errors
    /// If the configuration or the store cannot be used, or loopback has no free port.
    pub fn start_on(config: Config, store: Arc<dyn Store>) -> Result<Self, OpenError> {
        let mock = waiting::VodMock::start_blocking(config, store)?;
        Ok(Self { scope: Scope(mock.clone()), mock })
    }

    /// Where the admin API is; see [`crate::VodMock::admin_endpoint`].
    #[must_use]
    pub fn admin_endpoint(&self) -> Option<&str> {
        self.mock.admin_endpoint()
    }

    /// A new account with keys of its own; see [`crate::VodMock::account`].
    #[must_use]
    #[track_caller]
    pub fn account(&self) -> TestAccount {
        self.account_with(|_| {})
    }

    /// The same, with a name, limits or a callback URL as a test needs them; see [`crate::VodMock::account_with`].
    ///
    /// # Panics
    /// If the account cannot be used as it is, such as with a name that is taken.
    #[must_use]
    #[track_caller]
    pub fn account_with(&self, edit: impl Fn(&mut Account)) -> TestAccount {
        let account = self.mock.account_with(edit);
        TestAccount { scope: Scope(account.clone()), account }
    }

    /// The rules that clients broke so far; see [`crate::VodMock::findings`].
    #[must_use]
    pub fn findings(&self) -> Findings {
        self.mock.findings()
    }

    /// Stops it and waits until it has let go of its port and its store.
    pub fn stop(self) {
        block_on(self.mock.stop());
    }
}

impl Deref for VodMock {
    type Target = Scope;

    fn deref(&self) -> &Scope {
        &self.scope
    }
}

/// An account that is a test's own; see [`crate::TestAccount`].
#[derive(Debug)]
pub struct TestAccount {
    scope: Scope,
    account: waiting::TestAccount,
}

impl TestAccount {
    /// Its name in journals, reports and selectors.
    #[must_use]
    pub fn name(&self) -> &str {
        self.account.name()
    }

    /// The public half of its key pair.
    #[must_use]
    pub fn secret_id(&self) -> &str {
        self.account.secret_id()
    }

    /// The secret half.
    #[must_use]
    pub fn secret_key(&self) -> &str {
        self.account.secret_key()
    }

    /// The key that signs the proof with which a finished upload of the UGC family comes back.
    #[must_use]
    pub fn verify_key(&self) -> &str {
        self.account.verify_key()
    }
}

impl Deref for TestAccount {
    type Target = Scope;

    fn deref(&self) -> &Scope {
        &self.scope
    }
}

/// What a test can do with a whole mock, and with one account of it: what is in [`crate::Scope`] and waits for nothing,
/// and here what waits.
#[derive(Clone, Debug)]
pub struct Scope(waiting::Scope);

impl Scope {
    /// Plants a fault, for as long as what this gives back lives; see [`crate::Scope::fault`].
    ///
    /// # Panics
    /// If it could never strike, or its id is taken. A fault that was given no id gets another then.
    #[track_caller]
    pub fn fault(&self, fault: Fault) -> PlantedFault {
        PlantedFault(self.0.fault(fault))
    }

    /// Plants a closure as a fault; see [`crate::Scope::fault_fn`].
    ///
    /// # Panics
    /// If `on` could never fit in this phase, or its id is taken.
    #[track_caller]
    pub fn fault_fn(
        &self,
        on: Aim,
        when: impl Into<When>,
        decide: impl Fn(&Subject, u32) -> Option<Verdict> + Send + Sync + 'static,
    ) -> PlantedFault {
        PlantedFault(self.0.fault_fn(on, when, decide))
    }

    /// Plants the faults of a plan, written as in a fault file; see [`crate::Scope::plan`].
    ///
    /// # Panics
    /// If it is no plan, with the line; or if a fault of it could never strike, or its id is taken. Then none is planted.
    #[must_use]
    #[track_caller]
    pub fn plan(&self, toml: &str) -> Vec<PlantedFault> {
        self.0.plan(toml).into_iter().map(PlantedFault).collect()
    }

    /// Waits until so many of these requests have come and are over.
    ///
    /// # Panics
    /// If that takes longer than 30 s, with those that came nearest.
    #[track_caller]
    pub fn until_seen(&self, requests: Requests, n: u64) {
        block_on(self.0.until_seen(requests, n));
    }

    /// Expects so many of these requests; checked when what this gives back is dropped. See
    /// [`crate::Scope::expect_here`].
    ///
    /// # Panics
    /// Here, if nothing could meet it; later, if it is not met.
    #[track_caller]
    pub fn expect_here(&self, requests: Requests, times: impl Into<Times>) -> Expectation {
        Expectation(self.0.expect_here(requests, times))
    }

    /// The upload of a file, if there is one. Of several accounts, the first by name; of two generations, the newer.
    #[must_use]
    pub fn upload(&self, file_sha1: Sha1) -> Option<UploadView> {
        block_on(self.0.upload(file_sha1))
    }

    /// Every upload, in order of account, generation and digest.
    #[must_use]
    pub fn uploads(&self) -> Vec<UploadView> {
        block_on(self.0.uploads())
    }

    /// Moves the clock on, of the account or of all; see [`crate::Scope::advance`].
    pub fn advance(&self, by: Duration) {
        block_on(self.0.advance(by));
    }

    /// Lets the account, or all of them, begin anew; see [`crate::Scope::reset`].
    ///
    /// # Panics
    /// If what was expected is not met.
    pub fn reset(&self) {
        block_on(self.0.reset());
    }
}

impl Deref for Scope {
    type Target = waiting::Scope;

    fn deref(&self) -> &waiting::Scope {
        &self.0
    }
}

/// A fault that strikes for as long as this lives, and must have struck; see [`crate::PlantedFault`].
#[must_use = "a fault is lifted when this is dropped, which is at once where it has no name"]
#[derive(Debug)]
pub struct PlantedFault(waiting::PlantedFault);

impl PlantedFault {
    /// Does not fail the test if it never strikes. For faults that are left to chance.
    pub fn may_stay_unused(self) -> Self {
        Self(self.0.may_stay_unused())
    }

    /// Waits until it has struck. The exchange may still be under way then.
    ///
    /// # Panics
    /// If that takes longer than 30 s, with the requests that came nearest to it.
    #[track_caller]
    pub fn until_struck(&self) {
        block_on(self.0.until_struck());
    }

    /// Waits until it has struck so often.
    ///
    /// # Panics
    /// If that takes longer than 30 s, with the requests that came nearest to it.
    #[track_caller]
    pub fn until_struck_times(&self, n: u64) {
        block_on(self.0.until_struck_times(n));
    }

    /// Waits until it holds so many exchanges at once, where it is one that holds.
    ///
    /// # Panics
    /// If that takes longer than 30 s, with the requests that came nearest to it.
    #[track_caller]
    pub fn until_held(&self, n: u64) {
        block_on(self.0.until_held(n));
    }

    /// Takes it away, and says what became of it: then it is up to the test whether that is a failure.
    ///
    /// # Panics
    /// Like [`crate::PlantedFault::lift`].
    #[track_caller]
    pub fn lift(self) -> Fate {
        self.0.lift()
    }
}

impl Deref for PlantedFault {
    type Target = waiting::PlantedFault;

    fn deref(&self) -> &waiting::PlantedFault {
        &self.0
    }
}

/// An expectation that is checked when this is dropped; see [`crate::Expectation`].
#[must_use = "it is checked when it is dropped, which is at once where it has no name"]
#[derive(Debug)]
pub struct Expectation(waiting::Expectation);

impl Expectation {
    /// Waits until it is met, by what has come so far.
    ///
    /// # Panics
    /// If that takes longer than 30 s, with what came near.
    #[track_caller]
    pub fn until_met(&self) {
        block_on(self.0.until_met());
    }
}

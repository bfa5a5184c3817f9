//! What a test can do with a whole mock, and with one account of it.
//!
//! - `faults`: plants them and lets go whom they hold; `expectations`: what is to come, and the wait for it.
//! - Here: evidence, uploads, clock and reset.

mod expectations;
mod faults;

use std::{
    fmt,
    sync::{Arc, Mutex},
    time::Duration,
};

use vod_proto::Sha1;

pub use self::faults::When;
use super::{
    Exchanges,
    account::Life,
    evidence::{Evidence, Forgotten},
    expect::Expected,
    home::Home,
};
use crate::{Delivery, Mock, UploadView};

/// What a test can do with a whole mock, and with one account of it: [`VodMock`](crate::VodMock) and
/// [`TestAccount`](crate::TestAccount) both are one.
///
/// What is asked of a mock is about all its accounts. What is asked of an account is about that one alone.
///
/// A clone is another handle to the same, for a task of its own. It keeps an account from being removed, and does not
/// keep a mock from being stopped.
#[derive(Clone)]
pub struct Scope {
    mock: Arc<Mock>,
    home: Home,
    endpoint: Arc<str>,
    life: Option<Arc<Life>>,
    expected: Arc<Mutex<Vec<Expected>>>,
    forgotten: Forgotten,
    /// The faults that were planned before the mock started: nobody else sees to it that they strike.
    planned: Arc<[String]>,
}

impl fmt::Debug for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scope").field("endpoint", &self.endpoint).field("account", &self.name()).finish_non_exhaustive()
    }
}

impl Scope {
    pub(super) fn of_mock(mock: Arc<Mock>, home: Home, endpoint: String) -> Self {
        let planned = home.enter(|| mock.engine().fates_of(None)).into_iter().map(|fate| fate.id).collect();
        Self {
            mock,
            home,
            endpoint: endpoint.into(),
            life: None,
            expected: Arc::default(),
            forgotten: Forgotten::default(),
            planned,
        }
    }

    pub(super) fn of_account(&self, name: String) -> Self {
        let life = Life::new(Arc::clone(&self.mock), self.home.clone(), name, self.forgotten.clone());
        Self { life: Some(Arc::new(life)), expected: Arc::default(), planned: Arc::default(), ..self.clone() }
    }

    pub(super) const fn mock(&self) -> &Arc<Mock> {
        &self.mock
    }

    pub(super) const fn home(&self) -> &Home {
        &self.home
    }

    /// The account's name; none for a whole mock.
    pub(super) fn name(&self) -> Option<&str> {
        self.life.as_deref().map(Life::name)
    }

    /// Where the mock listens, such as `http://127.0.0.1:41873`; `https` where it speaks TLS.
    #[must_use]
    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// The certificate that clients must trust, in PEM; none where no TLS is spoken.
    #[must_use]
    pub fn ca_pem(&self) -> Option<&str> {
        self.mock.ca_pem()
    }

    /// The evidence so far.
    pub fn exchanges(&self) -> Exchanges {
        let Evidence { all, lacking, .. } = self.evidence();
        Exchanges::new(all, lacking.evicted())
    }

    /// The upload of a file, if there is one. Of several accounts, the first by name; of two generations, the newer.
    pub async fn upload(&self, file_sha1: Sha1) -> Option<UploadView> {
        self.uploads().await.into_iter().find(|upload| upload.file_sha1 == file_sha1)
    }

    /// Every upload, in order of account, generation and digest. The bytes of stored files are read again for their
    /// digests.
    pub async fn uploads(&self) -> Vec<UploadView> {
        let mock = Arc::clone(&self.mock);
        let mut uploads = self.home.run(async move { mock.uploads().await }).await;
        uploads.retain(|upload| self.name().is_none_or(|name| upload.account == name));
        uploads
    }

    /// Moves the clock on, of the account or of all: sessions and upload signatures expire by it. Timers and the window
    /// of `Timestamp` go by the machine's time still.
    pub async fn advance(&self, by: Duration) {
        let (mock, names) = (Arc::clone(&self.mock), self.names());
        let advance = async move {
            for name in names {
                // Whoever is removed meanwhile has no clock.
                let _ = mock.advance(&name, by).await;
            }
        };
        self.home.run(advance).await;
    }

    /// Lets the account, or the whole mock, begin anew: without uploads, faults and evidence, every clock where it was.
    /// What was expected is checked first, and is over then; so should faults be that must have struck.
    ///
    /// # Panics
    /// If what was expected is not met.
    pub async fn reset(&self) {
        if let Err(unmet) = self.settle() {
            panic!("{unmet}");
        }
        for name in self.names() {
            self.forgotten.note(&name, self.mock.journal());
        }
        let (mock, name) = (Arc::clone(&self.mock), self.name().map(str::to_owned));
        let reset = async move {
            match name {
                // Whoever is removed meanwhile has nothing left.
                Some(name) => drop(mock.reset(&name).await),
                None => mock.reset_all().await,
            }
        };
        self.home.run(reset).await;
    }

    /// Every callback to an application's own server, and what became of it.
    #[must_use]
    pub fn callbacks(&self) -> Vec<Delivery> {
        let mut log = self.mock.callbacks();
        log.retain(|delivery| self.name().is_none_or(|name| delivery.account == name));
        log
    }

    fn names(&self) -> Vec<String> {
        self.name().map_or_else(|| self.mock.accounts(), |name| vec![name.to_owned()])
    }

    pub(super) fn evidence(&self) -> Evidence {
        Evidence::of(self.mock.journal(), self.name(), &self.forgotten)
    }

    /// Whose it is, for messages.
    fn whose(&self) -> String {
        self.name().map_or_else(|| "the mock".to_owned(), |name| format!("account {name}"))
    }

    fn last_seq(&self) -> u64 {
        self.mock.journal().last_seq()
    }
}

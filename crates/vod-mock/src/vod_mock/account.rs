//! An account that is a test's own.

use std::{
    fmt,
    ops::Deref,
    pin::Pin,
    sync::Arc,
    task::{Context, Waker},
};

use sha2::{Digest as _, Sha256};
use vod_proto::sign::SecretKey;

use super::{Scope, evidence::Forgotten, home::Home};
use crate::{Account, AccountsError, Mock};

/// An account that is a test's own: nobody else knows its keys, so its uploads, faults, clock and evidence are its own,
/// whatever else happens on the mock. Made by [`VodMock::account`](crate::VodMock::account).
///
/// When it is dropped, what was expected of it is checked, and it is removed as soon as none of its faults and
/// expectations is left either: from then on its requests are refused and its name is free. Its uploads and evidence are
/// forgotten at the same time, unless a request of it is at work on them; then they are as soon as that is done.
pub struct TestAccount {
    scope: Scope,
    secret_id: String,
    secret_key: String,
    verify_key: String,
}

impl TestAccount {
    /// The n-th account of a mock with this seed.
    pub(super) fn add(mock: &Scope, seed: u64, n: u64, edit: impl FnOnce(&mut Account)) -> Result<Self, AccountsError> {
        let drawn = |what: &str| {
            let hash = Sha256::new().chain_update(what).chain_update(seed.to_be_bytes()).chain_update(n.to_be_bytes());
            hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect::<String>()
        };
        let secret_id = format!("AKID{}", &drawn("secret-id")[..32]);
        let (secret_key, verify_key) = (drawn("secret-key")[..32].to_owned(), drawn("verify-key")[..40].to_owned());
        let mut account = Account {
            name: format!("account-{n}"),
            app_id: 1_000_000 + n,
            secret_id: secret_id.clone(),
            secret_key: SecretKey::new(&*secret_key),
            verify_key: Some(SecretKey::new(&*verify_key)),
            callback_url: None,
            limits: None,
        };
        edit(&mut account);
        let own = account.secret_id == secret_id
            && account.secret_key == SecretKey::new(&*secret_key)
            && account.verify_key == Some(SecretKey::new(&*verify_key));
        assert!(own, "the keys of a test's account are drawn: for one with other keys, see Config::accounts");
        let name = account.name.clone();
        mock.mock().add_account(account)?;
        Ok(Self { scope: mock.of_account(name), secret_id, secret_key, verify_key })
    }

    /// Its name in journals, reports and selectors.
    #[must_use]
    pub fn name(&self) -> &str {
        self.scope.name().unwrap_or_default()
    }

    /// The public half of its key pair.
    #[must_use]
    pub fn secret_id(&self) -> &str {
        &self.secret_id
    }

    /// The secret half.
    #[must_use]
    pub fn secret_key(&self) -> &str {
        &self.secret_key
    }

    /// The key that signs the proof with which a finished upload of the UGC family comes back.
    #[must_use]
    pub fn verify_key(&self) -> &str {
        &self.verify_key
    }
}

impl Deref for TestAccount {
    type Target = Scope;

    fn deref(&self) -> &Scope {
        &self.scope
    }
}

impl fmt::Debug for TestAccount {
    /// Its name, and nothing of its keys.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TestAccount").field("name", &self.name()).finish_non_exhaustive()
    }
}

impl Drop for TestAccount {
    fn drop(&mut self) {
        if let Some(failure) = super::failed(|| self.scope.settle()) {
            failure.fail();
        }
    }
}

/// The life of an account: it ends when nobody who belongs to it is left.
pub(super) struct Life {
    mock: Arc<Mock>,
    home: Home,
    name: String,
    forgotten: Forgotten,
}

impl Life {
    pub(super) const fn new(mock: Arc<Mock>, home: Home, name: String, forgotten: Forgotten) -> Self {
        Self { mock, home, name, forgotten }
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }
}

impl Drop for Life {
    fn drop(&mut self) {
        self.forgotten.note(&self.name, self.mock.journal());
        let (mock, name) = (Arc::clone(&self.mock), std::mem::take(&mut self.name));
        let mut removal: Pin<Box<dyn Future<Output = ()> + Send>> = Box::pin(async move {
            mock.remove_account(&name).await;
        });
        // It goes as far as it can at once, which is all the way unless a request is at work on an upload.
        let begun = self.home.enter(|| removal.as_mut().poll(&mut Context::from_waker(Waker::noop())));
        if begun.is_pending() {
            drop(self.home.spawn(removal));
        }
    }
}

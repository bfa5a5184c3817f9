//! Takes accounts up and gives them up, and forgets what was theirs.

use std::{sync::Arc, time::Duration};

use vod_serve::journal::Whose;

use super::Mind;
use crate::{
    accounts::{Account, AccountsError},
    core::{Record, UploadKey},
    namespace::{ActiveAccount, Namespace},
};

impl Mind {
    /// Answers for one account more. What the store remembers under its name is its own.
    pub(crate) fn add_account(&self, account: Account) -> Result<Arc<ActiveAccount>, AccountsError> {
        account.check_callback_url(|url| self.callbacks.takes(url))?;
        if let Some(limits) = &account.limits {
            self.engine.reads_bodies_of(limits.body_ceiling);
        }
        self.namespaces().add(account)
    }

    /// Answers for an account no more, and forgets all that was its own: uploads, faults, evidence.
    /// Says whether there was one.
    pub(crate) async fn remove_account(&self, name: &str) -> bool {
        let Some(removed) = self.namespaces().remove(name) else { return false };
        self.engine.lift_all(Some(name));
        self.forget(&removed.space).await;
        self.journal.reset(&Whose::account(name));
        self.callbacks.forget(&Whose::account(name));
        true
    }

    /// Lets an account begin anew: without uploads, faults and evidence, and with its clock where every clock stands.
    pub(crate) async fn reset(&self, active: &ActiveAccount) {
        let name = &active.account.name;
        self.engine.lift_all(Some(name));
        self.forget(&active.space).await;
        active.space.put_clock_back();
        active.rates.forget();
        self.journal.reset(&Whose::account(name));
        self.callbacks.forget(&Whose::account(name));
    }

    /// Lets everything begin anew: every account, what is left of accounts that are unknown in this life, what belongs to
    /// no account, and the whole server's faults.
    pub(crate) async fn reset_all(&self) {
        self.engine.lift_all(None);
        for active in self.namespaces().accounts() {
            self.reset(&active).await;
        }
        for space in self.namespaces().spaces() {
            self.forget(&space).await;
        }
        self.journal.reset(&Whose::Everybody);
        self.callbacks.forget(&Whose::Everybody);
    }

    /// Moves an account's clock on, which lets its sessions and upload signatures expire.
    pub(crate) async fn advance(&self, active: &ActiveAccount, by: Duration) {
        active.space.advance(by);
        self.sweep(&active.space, usize::MAX).await;
    }

    async fn forget(&self, space: &Arc<Namespace>) {
        for (key, slot) in space.slots() {
            let mut upload = slot.upload.lock().await;
            if upload.ever_began() {
                self.forget_upload(&mut upload, key).await;
            }
        }
    }

    async fn forget_upload(&self, upload: &mut crate::core::Upload, key: UploadKey) {
        let forgotten = Record::Forgotten { key };
        if let Err(rejected) = self.write_down(upload, &forgotten).await {
            // What cannot be written down comes back at the next start; until then nobody sees it.
            tracing::error!(%rejected, "an upload that was to be forgotten comes back with the next start");
            upload.apply(&forgotten);
        }
    }
}

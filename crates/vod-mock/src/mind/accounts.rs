//! Takes accounts up and gives them up, and forgets what was theirs.

use std::{sync::Arc, time::Duration};

use vod_serve::journal::Whose;

use super::Mind;
use crate::{
    accounts::{Account, AccountsError},
    core::{Record, UploadKey},
    namespace::{ActiveAccount, Namespace},
};

/// How many uploads are forgotten in this life alone, and come back with the next: the store could not be written.
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Left(pub(crate) u64);

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
    /// Says what could not be forgotten, if there was one.
    pub(crate) async fn remove_account(&self, name: &str) -> Option<Left> {
        let removed = self.namespaces().remove(name)?;
        Some(self.forget_all(name, &removed.space).await)
    }

    /// Lets an account begin anew: without uploads, faults and evidence, and with its clock where every clock stands.
    pub(crate) async fn reset(&self, active: &ActiveAccount) -> Left {
        active.begin_anew();
        let left = self.forget_all(&active.account.name, &active.space).await;
        active.space.put_clock_back();
        active.rates.forget();
        left
    }

    /// Forgets what is an account's own. Whatever is under way is ended first: a fault that is lifted lets go whom it
    /// holds, and what was let go would be on record, and write.
    async fn forget_all(&self, name: &str, space: &Arc<Namespace>) -> Left {
        self.journal.reset(&Whose::account(name));
        self.engine.lift_all(Some(name));
        let left = self.forget(space).await;
        self.callbacks.forget(&Whose::account(name));
        left
    }

    /// Lets everything begin anew: every account, what is left of accounts that are unknown in this life, what belongs to
    /// no account, and the whole server's faults.
    pub(crate) async fn reset_all(&self) -> Left {
        self.namespaces().accounts().iter().for_each(|active| active.begin_anew());
        self.journal.reset(&Whose::Everybody);
        self.engine.lift_all(None);
        let mut left = Left(0);
        for active in self.namespaces().accounts() {
            left.0 += self.reset(&active).await.0;
        }
        for space in self.namespaces().spaces() {
            left.0 += self.forget(&space).await.0;
        }
        self.callbacks.forget(&Whose::Everybody);
        left
    }

    /// Moves an account's clock on, which lets its sessions and upload signatures expire.
    pub(crate) async fn advance(&self, active: &ActiveAccount, by: Duration) {
        active.space.advance(by);
        self.sweep(&active.space, usize::MAX).await;
    }

    async fn forget(&self, space: &Arc<Namespace>) -> Left {
        let mut left = Left(0);
        for (key, slot) in space.slots() {
            let mut upload = slot.upload.lock().await;
            if upload.ever_began() && !self.forget_upload(&mut upload, key).await {
                left.0 += 1;
            }
        }
        left
    }

    /// Says whether it is forgotten for good.
    async fn forget_upload(&self, upload: &mut crate::core::Upload, key: UploadKey) -> bool {
        let forgotten = Record::Forgotten { key };
        if let Err(rejected) = self.write_down(upload, &forgotten).await {
            // What cannot be written down comes back at the next start; until then nobody sees it.
            tracing::error!(%rejected, "an upload that was to be forgotten comes back with the next start");
            upload.apply(&forgotten);
            return false;
        }
        true
    }
}

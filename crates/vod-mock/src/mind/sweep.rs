//! Frees what sessions kept that outlived their time.

use std::{
    ops::Bound,
    sync::{Arc, PoisonError},
};

use super::{Mind, Slot};
use crate::core::{Record, UploadKey};

/// How many uploads are looked at whenever a session is opened. Default 16: nobody notices, and what is dead cannot
/// become more than a sixteenth of all that is opened.
pub(super) const SWEPT_IN_PASSING: usize = 16;

impl Mind {
    /// Looks at so many uploads at most, behind those that were looked at last, and gives up the sessions among them
    /// that have outlived their time. Nobody can tell by the answers: such a session was none already.
    /// `usize::MAX` looks at all, as is fit after the clock was moved.
    pub(crate) async fn sweep(&self, most: usize) {
        for (key, slot) in self.next_to_sweep(most) {
            // Whoever works on an upload at this moment will not leave its session outlived.
            let Ok(mut upload) = slot.upload.try_lock() else { continue };
            if upload.is_outlived(self.clock.now(), self.lifetime) {
                // What cannot be written down now is given up another time.
                let _ = self.remember(&mut upload, &Record::Dropped { key }).await;
            }
        }
    }

    fn next_to_sweep(&self, most: usize) -> Vec<(UploadKey, Arc<Slot>)> {
        let slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        let mut last = self.swept.lock().unwrap_or_else(PoisonError::into_inner);
        let behind = last.take().map_or(Bound::Unbounded, Bound::Excluded);
        let (from, to) = (slots.range((behind.clone(), Bound::Unbounded)), slots.range(..));
        let all = slots.len().min(most);
        let next: Vec<_> = from.chain(to).take(all).map(|(key, slot)| (key.clone(), Arc::clone(slot))).collect();
        *last = next.last().map(|(key, _)| key.clone());
        next
    }
}

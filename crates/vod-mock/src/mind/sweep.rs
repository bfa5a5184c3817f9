//! Frees what sessions kept that outlived their time.

use super::Mind;
use crate::{core::Record, namespace::Namespace};

/// How many uploads are looked at whenever a session is opened. Default 16: nobody notices, and what is dead cannot
/// become more than a sixteenth of all that is opened.
pub(super) const SWEPT_IN_PASSING: usize = 16;

impl Mind {
    /// Looks at so many uploads of a namespace at most, behind those that were looked at last, and gives up the
    /// sessions among them that have outlived their time. Nobody can tell by the answers: such a session was none
    /// already. `usize::MAX` looks at all, as is fit after the clock was moved.
    pub(super) async fn sweep(&self, space: &Namespace, most: usize) {
        for (key, slot) in space.next_to_sweep(most) {
            // Whoever works on an upload at this moment will not leave its session outlived.
            let Ok(mut upload) = slot.upload.try_lock() else { continue };
            if upload.is_outlived(space.now(), space.lifetime()) {
                // What cannot be written down now is given up another time.
                let _ = self.write_down(&mut upload, &Record::Dropped { key }).await;
            }
        }
    }
}

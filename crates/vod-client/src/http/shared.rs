//! The connections that all uploads of one uploader have in common.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::runtime::{Handle, Id};

use super::Http;
use crate::error::ConfigError;

/// Opened when the first upload asks for them, and closed with the last that has a hold of them.
#[derive(Clone)]
pub(crate) struct Shared<C>(Arc<Mutex<Option<Open<C>>>>);

/// Connections, and the runtime they were opened in.
struct Open<C> {
    runtime: Id,
    http: Arc<Http<C>>,
}

impl<C> Default for Shared<C> {
    fn default() -> Self {
        Self(Arc::default())
    }
}

impl<C> Shared<C> {
    /// Those of this runtime. A connection is driven by the runtime it was opened in: in another one it would seem open,
    /// and nothing would move on it.
    ///
    /// # Errors
    /// As `open` says, and then the next upload tries again.
    pub(crate) fn of_this_runtime(
        &self,
        open: impl FnOnce() -> Result<Http<C>, ConfigError>,
    ) -> Result<Arc<Http<C>>, ConfigError> {
        let here = Handle::current().id();
        let mut shared = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match &*shared {
            Some(Open { runtime, http }) if *runtime == here => Ok(Arc::clone(http)),
            _ => {
                let http = Arc::new(open()?);
                *shared = Some(Open { runtime: here, http: Arc::clone(&http) });
                Ok(http)
            }
        }
    }
}

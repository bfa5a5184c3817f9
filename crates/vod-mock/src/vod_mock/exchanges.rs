//! The evidence, narrowed down.

use std::{fmt, ops::Deref, slice, sync::Arc, vec};

use vod_proto::Exchange;

use super::{
    nearest::{Listed, nearest},
    requests::{Condition, Requests, narrowing},
};

/// Exchanges in order of arrival: a slice of them that can be narrowed down.
///
/// Whoever has the whole reply to a request finds its exchange here. One that is under way is not shown.
/// Memory for evidence is bounded: [`evicted`](Self::evicted) says how many exchanges are missing.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// use vod_mock::Action;
///
/// # let mock = vod_mock::VodMock::start().await;
/// let parts = mock.exchanges().action(Action::UploadPart);
/// let again: Vec<u64> = parts.iter().filter(|part| part.attempt > 1).map(|part| part.seq).collect();
/// assert_eq!(parts.acknowledged().len(), again.len());
/// # }
/// ```
#[derive(Clone)]
#[must_use = "evidence that nobody looks at proves nothing"]
pub struct Exchanges {
    all: Arc<[Arc<Exchange>]>,
    picked: Vec<Arc<Exchange>>,
    wanted: Requests,
    evicted: u64,
}

narrowing!(Exchanges);

impl Exchanges {
    pub(super) fn new(all: Vec<Arc<Exchange>>, evicted: u64) -> Self {
        Self { all: Arc::from(all.as_slice()), picked: all, wanted: Requests::any(), evicted }
    }

    /// Those that fit a pattern.
    pub fn matching(&self, requests: &Requests) -> Self {
        requests.conditions().iter().cloned().fold(self.clone(), |exchanges, condition| exchanges.narrow(condition))
    }

    /// The one there is.
    ///
    /// # Panics
    /// If there is none, or another; or if evidence was evicted, which may have held another. The message shows them,
    /// or the nearest that came and what they lack.
    #[must_use]
    #[track_caller]
    pub fn one(&self) -> Arc<Exchange> {
        let missing = match self.evicted {
            0 => String::new(),
            evicted => format!("\n{evicted} exchanges were evicted from memory: this is inconclusive"),
        };
        match &*self.picked {
            [one] if self.evicted == 0 => Arc::clone(one),
            [] => {
                let all = self.all.len();
                let near = nearest(&self.wanted, &self.all);
                let heading = if near.is_empty() { "" } else { "; the nearest:" };
                panic!("expected one exchange: {}\nnone of {all} is{heading}{near}{missing}", self.wanted)
            }
            several => {
                let listed = Listed(several);
                let (wanted, all) = (&self.wanted, self.all.len());
                panic!("expected one exchange: {wanted}\n{} of {all} are{listed}{missing}", several.len())
            }
        }
    }

    /// How many exchanges were dropped to keep memory bounded, of all those that could be here. Where it is not 0, a
    /// count or an absence proves nothing.
    #[must_use]
    pub const fn evicted(&self) -> u64 {
        self.evicted
    }

    fn narrow(&self, condition: Condition) -> Self {
        let alone = Requests::any().narrow(condition.clone());
        let picked = self.picked.iter().filter(|exchange| alone.fit(exchange, &self.all)).cloned().collect();
        let all = Arc::clone(&self.all);
        Self { all, picked, wanted: self.wanted.narrow(condition), evicted: self.evicted }
    }
}

impl Deref for Exchanges {
    type Target = [Arc<Exchange>];

    fn deref(&self) -> &Self::Target {
        &self.picked
    }
}

impl IntoIterator for Exchanges {
    type Item = Arc<Exchange>;
    type IntoIter = vec::IntoIter<Arc<Exchange>>;

    fn into_iter(self) -> Self::IntoIter {
        self.picked.into_iter()
    }
}

impl<'a> IntoIterator for &'a Exchanges {
    type Item = &'a Arc<Exchange>;
    type IntoIter = slice::Iter<'a, Arc<Exchange>>;

    fn into_iter(self) -> Self::IntoIter {
        self.picked.iter()
    }
}

impl fmt::Debug for Exchanges {
    /// One line each, as failures show them.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} of {} exchanges, those of {}{}",
            self.picked.len(),
            self.all.len(),
            self.wanted,
            Listed(&self.picked)
        )
    }
}

//! What is to come of a whole mock or an account of it, and the wait for it.

use std::{
    panic::Location,
    sync::{MutexGuard, PoisonError},
};

use vod_serve::journal::{Since, Whose};

use super::Scope;
use crate::vod_mock::{Expectation, Requests, Times, expect::Expected, patient, shown_patience};

impl Scope {
    /// Waits until so many of these requests have come and are over.
    ///
    /// # Panics
    /// If that takes longer than 30 s, with those that came nearest.
    #[track_caller]
    pub fn until_seen(&self, requests: Requests, n: u64) -> impl Future<Output = ()> + Send + use<> {
        self.until(Expected::new(requests, (n..).into(), 0))
    }

    /// Expects so many of these requests, from now on: `1`, `2..=3`, `1..`, `..=5`, `0`. It is checked when the mock, or
    /// the account, is dropped, and by [`verify`](Self::verify).
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// use vod_mock::{Action, Requests};
    ///
    /// # let mock = vod_mock::VodMock::start().await;
    /// mock.expect(Requests::of(Action::UploadPart).acknowledged(), ..=3);
    /// mock.expect(Requests::of(Action::FinishUpload).code(-10003), 0);
    /// # }
    /// ```
    ///
    /// # Panics
    /// Here, if nothing could meet it; later, if it is not met, with what came and the nearest of it. Where exchanges
    /// were evicted from memory that could tell, it is inconclusive, and that is a failure too.
    #[track_caller]
    pub fn expect(&self, requests: Requests, times: impl Into<Times>) {
        let expected = self.expected(requests, times.into());
        self.all_expected().push(expected);
    }

    /// The same, checked when what this gives back is dropped.
    ///
    /// # Panics
    /// Like [`expect`](Self::expect).
    #[track_caller]
    pub fn expect_here(&self, requests: Requests, times: impl Into<Times>) -> Expectation {
        Expectation::new(self.clone(), self.expected(requests, times.into()))
    }

    #[track_caller]
    fn expected(&self, requests: Requests, times: Times) -> Expected {
        Expected::new(requests, times, self.last_seq())
    }

    /// Checks what was expected so far. It is expected further on.
    ///
    /// # Panics
    /// If it is not met. Of a mock also if a fault of [`Config::plan`](crate::Config::plan) never struck.
    #[track_caller]
    pub fn verify(&self) {
        let expected = self.all_expected().clone();
        let unmet = self.check(&expected).err();
        let mut unfired = self.unfired();
        unfired.retain(|id| self.planned.contains(id));
        let unfired =
            (!unfired.is_empty()).then(|| format!("planned faults that never struck: {}", unfired.join(", ")));
        let failures: Vec<_> = unmet.into_iter().chain(unfired).collect();
        assert!(failures.is_empty(), "{}", failures.join("\n"));
    }

    /// What of this is not met; none of it, if nothing is.
    pub(in crate::vod_mock) fn check(&self, expected: &[Expected]) -> Result<(), String> {
        if expected.is_empty() {
            return Ok(());
        }
        let evidence = self.evidence();
        let unmet: Vec<_> = expected.iter().filter_map(|expected| expected.check(&evidence).err()).collect();
        if unmet.is_empty() {
            return Ok(());
        }
        let whose = self.whose();
        let (number, all) = (unmet.len(), expected.len());
        let mut story = format!("not met: {number} of {all} expectations of {whose}\n{}", unmet.join("\n"));
        let unfired = self.unfired();
        if !unfired.is_empty() {
            story.push_str(&format!("\nfaults that never struck: {}", unfired.join(", ")));
        }
        Err(story)
    }

    /// The same for all that is expected, which is over then.
    pub(in crate::vod_mock) fn settle(&self) -> Result<(), String> {
        let expected = std::mem::take(&mut *self.all_expected());
        self.check(&expected)
    }

    #[track_caller]
    pub(in crate::vod_mock) fn until(&self, expected: Expected) -> impl Future<Output = ()> + Send + use<> {
        let asked_at = Location::caller();
        let (scope, wanted) = (self.clone(), expected.clone());
        async move {
            let (home, watched) = (scope.home.clone(), scope.clone());
            home.run(patient(async move { watched.seen(&wanted).await })).await;
            // Whoever waited in vain, or until the mock stopped, is told what came.
            if let Err(unmet) = expected.check(&scope.evidence()) {
                panic!("waited up to {} at {asked_at}\n{unmet}", shown_patience());
            }
        }
    }

    /// Waits until this is met, or nothing more can come.
    async fn seen(&self, wanted: &Expected) {
        let mut follower = self.mock.journal().follow(self.name().map_or(Whose::Everybody, Whose::account), Since::Now);
        while wanted.check(&self.evidence()).is_err() && follower.next().await.is_some() {}
    }

    fn all_expected(&self) -> MutexGuard<'_, Vec<Expected>> {
        self.expected.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

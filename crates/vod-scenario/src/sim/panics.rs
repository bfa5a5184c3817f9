//! Panics in a simulation: of the client, of the mock, of any task that either of them left running.
//!
//! A task that panics is dropped with its connection, and the other side tries again: without this nobody would notice.

use std::{cell::RefCell, panic, sync::Once};

thread_local! {
    /// What was heard on this thread, while somebody listens.
    static HEARD: RefCell<Option<Vec<String>>> = const { RefCell::new(None) };
}

/// Does something, and says which panics there were meanwhile on this thread, whoever caught them.
pub(super) fn heard<R>(work: impl FnOnce() -> R) -> (R, Vec<String>) {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            HEARD.with(|heard| {
                // Whoever panics while he listens for panics is told as ever.
                if let Ok(mut heard) = heard.try_borrow_mut()
                    && let Some(heard) = &mut *heard
                {
                    heard.push(info.to_string());
                }
            });
            before(info);
        }));
    });
    HEARD.set(Some(Vec::new()));
    let done = work();
    (done, HEARD.take().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use std::sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    };

    use async_trait::async_trait;
    use bytes::Bytes;
    use vod_mock::{
        MemoryStore, Store,
        core::{BodyId, Record},
        store::Staging,
    };
    use vod_serve::Journal;

    use super::*;
    use crate::{
        format::Scenario,
        judge::{Case, Verdict, judge},
        sim::{Logs, tell_on},
    };

    /// A store that panics when it is to keep a record for the n-th time.
    struct Frail {
        store: Arc<MemoryStore>,
        left: AtomicI64,
    }

    #[async_trait]
    impl Store for Frail {
        async fn load(&self) -> std::io::Result<Vec<Record>> {
            self.store.load().await
        }

        async fn append(&self, record: &Record) -> std::io::Result<()> {
            assert!(self.left.fetch_sub(1, Ordering::SeqCst) != 1, "a mistake in the mock");
            self.store.append(record).await
        }

        async fn stage(&self) -> std::io::Result<Box<dyn Staging>> {
            self.store.stage().await
        }

        async fn read(&self, body: BodyId, offset: u64, len: usize) -> std::io::Result<Bytes> {
            self.store.read(body, offset, len).await
        }

        async fn discard(&self, body: BodyId) {
            self.store.discard(body).await;
        }
    }

    #[test]
    fn a_mock_that_panics_makes_its_story_red_although_the_client_gets_over_it() {
        let text = "format = 1\nwhy = \"w\"\nsource = { size = \"3MiB\", seed = 1 }\n\
                    [[step]]\nupload = {}\nexpect = \"there\"\n";
        let scenario = Scenario::parse("s.toml", text).unwrap();
        for (panics_at, verdict) in [(0, Verdict::Pass), (3, Verdict::Fail)] {
            let store = Arc::new(Frail { store: MemoryStore::new(), left: panics_at.into() });
            let evidence = tell_on(&scenario, 1, Journal::memory(1), Logs::None, None, store).unwrap();
            assert!(evidence.steps[0].end.is_success(), "{}", evidence.steps[0].end);
            let judgement = judge(Case { scenario: &scenario, evidence: &evidence });
            assert_eq!(judgement.verdict, verdict, "{:?}", judgement.against().collect::<Vec<_>>());
            let against: Vec<_> = judgement.against().map(|(check, _)| check.name.as_str()).collect();
            assert_eq!(against.contains(&"no-panic"), verdict == Verdict::Fail, "{against:?}");
        }
    }

    #[test]
    fn a_panic_is_heard_on_its_own_thread_and_while_somebody_listens() {
        let caught = || panic::catch_unwind(|| panic!("here")).is_err();
        let (was_caught, heard) = heard(|| {
            let elsewhere = std::thread::spawn(|| panic!("elsewhere"));
            caught() && elsewhere.join().is_err()
        });
        assert!(was_caught && heard.len() == 1 && heard[0].contains("here"), "{heard:?}");
        assert!(caught(), "nobody listens any more, and nothing else happens");
    }
}

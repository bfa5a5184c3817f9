//! `{ hold = "name" }`: waits until somebody releases what is held under this name.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use serde::{Deserialize, Serialize};
use tokio::{sync::watch, time::Instant};

use super::{Change, Kind, Phase, Scene, Selector, Striking};

/// The name under which exchanges are held. Once it is released it holds nobody any more.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Hold(pub String);

/// What exchanges wait behind. It opens when it is released, when its fault is lifted, or when
/// the time of that is over, and stays open.
#[derive(Clone, Debug)]
pub(crate) struct Latch(Arc<State>);

#[derive(Debug)]
struct State {
    open: watch::Sender<bool>,
    held: AtomicU64,
    /// When the time of its fault is over.
    until: Option<Instant>,
    /// Told whenever somebody begins or ceases to wait.
    changes: watch::Sender<u64>,
}

impl Latch {
    pub(crate) fn new(changes: watch::Sender<u64>, until: Option<Instant>) -> Self {
        Self(Arc::new(State { open: watch::Sender::new(false), held: AtomicU64::new(0), until, changes }))
    }

    pub(crate) fn open(&self) {
        self.0.open.send_replace(true);
    }

    /// How many wait.
    pub(crate) fn held(&self) -> u64 {
        self.0.held.load(Ordering::SeqCst)
    }

    pub(crate) async fn wait(&self) {
        let _held = Held::behind(&self.0);
        let mut open = self.0.open.subscribe();
        // The sender is held by this very latch, so it cannot be gone; and a time that is over opens it too.
        let opened = open.wait_for(|open| *open);
        match self.0.until {
            Some(until) => _ = tokio::time::timeout_at(until, opened).await,
            None => _ = opened.await,
        }
    }
}

/// Counts somebody who waits, for as long as it lives.
struct Held<'a>(&'a State);

impl<'a> Held<'a> {
    fn behind(state: &'a State) -> Self {
        state.held.fetch_add(1, Ordering::SeqCst);
        state.changes.send_modify(|count| *count += 1);
        Self(state)
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.0.held.fetch_sub(1, Ordering::SeqCst);
        self.0.changes.send_modify(|count| *count += 1);
    }
}

impl Kind for Hold {
    fn name(&self) -> &'static str {
        "hold"
    }

    fn phases(&self) -> &'static [Phase] {
        &Phase::ALL
    }

    fn on_reply(&self) -> bool {
        false
    }

    fn check(&self, _: Phase, _: &Selector) -> Result<(), String> {
        if self.0.is_empty() { Err("hold has no name to be released by".to_owned()) } else { Ok(()) }
    }

    fn strike<'a>(&'a self, scene: &'a Scene<'a>) -> Striking<'a> {
        Box::pin(async {
            if let Some(latch) = scene.latch {
                latch.wait().await;
            }
            Ok(Change::default())
        })
    }
}

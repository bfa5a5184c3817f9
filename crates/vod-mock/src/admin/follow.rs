//! Exchanges as they end, for as long as somebody reads along.

use std::{
    convert::Infallible,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use axum::{
    body::Body,
    http::header,
    response::{IntoResponse as _, Response},
};
use futures_util::stream;
use serde_json::json;
use vod_serve::journal::{Followed, Follower, Since, Whose};

use super::{
    Admin,
    evidence::{Filter, JSON_LINES, line},
};

/// Somebody who follows, counted for as long as it lives.
struct Counted(Arc<AtomicU64>);

impl Counted {
    fn among(followers: &Arc<AtomicU64>) -> Self {
        followers.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(followers))
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A line for each exchange that fits: first those that are over, then each as it ends, until the server stops.
pub(super) fn exchanges(admin: &Arc<Admin>, whose: Whose, filter: Filter) -> Response {
    let journal = admin.mind.journal();
    let follower = journal.follow(whose.clone(), Since::Beginning);
    // Counted after the follower began: what is evicted meanwhile is told twice rather than not at all.
    let evicted = journal.evicted_of(&whose);
    let read = Reading { follower, filter, missed: evicted, _counted: Counted::among(&admin.followers) };
    let lines = stream::unfold(read, |mut read| async {
        let line = read.next().await?;
        Some((Ok::<_, Infallible>(line), read))
    });
    let head = [(header::CONTENT_TYPE.as_str(), JSON_LINES), ("x-vod-evicted", &evicted.to_string())];
    (head, Body::from_stream(lines)).into_response()
}

struct Reading {
    follower: Follower,
    filter: Filter,
    /// To be told before anything else.
    missed: u64,
    _counted: Counted,
}

impl Reading {
    async fn next(&mut self) -> Option<String> {
        loop {
            let missed = match std::mem::take(&mut self.missed) {
                0 => match self.follower.next().await? {
                    Followed::Missed(missed) => missed,
                    Followed::Exchange(exchange) if self.filter.fits(&exchange) => match line(&exchange) {
                        Ok(line) => return Some(line),
                        // It cannot be told what it was, only that it was.
                        Err(_) => 1,
                    },
                    Followed::Exchange(_) => continue,
                },
                missed => missed,
            };
            return Some(format!("{}\n", json!({ "missed": missed })));
        }
    }
}

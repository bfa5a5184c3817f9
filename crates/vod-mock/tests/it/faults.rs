//! Each fault as it looks on the wire, to the byte, and as it stands in the journal; and each planted where it does not
//! fit, so that what is seen is the fault's doing and not the weather's.
//!
//! - `stage`: a mock with a plan, requests of every kind, and a peer that is not our client.
//! - `cuts`: `close`, `reset`, `kill`, before, behind and within what is sent.
//! - `answers`: `reply`, `http`, `garbage-reply`, `empty-reply`, `truncate-reply`.
//! - `delays`, `throttles`, `stalls`: what takes its time, on paused time.
//! - `doors`: `refuse` and `hold`.
//! - `parts`: `corrupt`, `drop-part` and `transcode`.
//! - `openings`: `list`, `data-size` and `expire-session`.
//! - `selectors`: which requests are struck, and how often.
//! - `lines`: what comes next on the same connection, and odd ways of sending.
//! - `unfired`: every fault where it does not fit.

mod answers;
mod cuts;
mod delays;
mod doors;
mod lines;
mod openings;
mod parts;
mod selectors;
mod stage;
mod stalls;
mod throttles;
mod unfired;

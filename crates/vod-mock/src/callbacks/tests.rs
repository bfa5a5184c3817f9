//! Deliveries on a paused clock, with a caller that does as it is told.

use std::{collections::VecDeque, future::pending};

use async_trait::async_trait;
use jiff::Timestamp;
use serde_json::Value;
use vod_proto::{Sha1, action::Family};

use super::*;

/// A legacy file that everybody wants to hear of.
pub(super) fn event() -> StoredEvent {
    StoredEvent {
        account: "demo".to_owned(),
        callback_url: Some("http://account.example/".to_owned()),
        family: Family::Legacy,
        notify_url: Some("http://notify.example/".to_owned()),
        file_id: "7".to_owned(),
        url: "http://10013.vod2.myqcloud.com/vod10013/7/f0.mp4".to_owned(),
        file_name: "test".to_owned(),
        file_size: 1000,
        file_sha1: Sha1::of(b"test"),
        file_md5: None,
        transcode: true,
        transcode_failure: None,
    }
}

/// A file that only the account hears of, once.
fn one_event() -> StoredEvent {
    StoredEvent { notify_url: None, transcode: false, ..event() }
}

/// What a called server does.
#[derive(Clone, Copy)]
enum Does {
    Answers(u16),
    Refuses,
    Hangs,
}

/// Does as it is told, call by call, and answers 200 to all after that.
struct Told {
    does: Mutex<VecDeque<Does>>,
    calls: Mutex<Vec<(String, Value)>>,
}

impl Told {
    fn new(does: &[Does]) -> Arc<Self> {
        Arc::new(Self { does: Mutex::new(does.iter().copied().collect()), calls: Mutex::default() })
    }

    /// Who was called, and with what.
    fn calls(&self) -> Vec<(String, Value)> {
        self.calls.lock().unwrap().clone()
    }
}

#[async_trait]
impl Caller for Told {
    async fn post(&self, url: &str, json: String) -> Result<u16, String> {
        self.calls.lock().unwrap().push((url.to_owned(), serde_json::from_str(&json).unwrap()));
        let does = self.does.lock().unwrap().pop_front();
        match does.unwrap_or(Does::Answers(200)) {
            Does::Answers(status) => Ok(status),
            Does::Refuses => Err("refused".to_owned()),
            Does::Hangs => pending().await,
        }
    }
}

fn callbacks(policy: CallbackPolicy, caller: &Arc<Told>) -> Arc<Callbacks> {
    Callbacks::new(policy, Arc::clone(caller) as Arc<dyn Caller>, WallClock::fixed(Timestamp::UNIX_EPOCH))
}

/// Lets virtual time go by; long enough for anything that is still to come.
async fn a_minute() {
    sleep(Duration::from_secs(60)).await;
}

/// When it was tried, in milliseconds, and what came of it.
fn tries(delivery: &Delivery) -> Vec<(i64, Outcome)> {
    delivery.tries.iter().map(|one| (one.at.as_millisecond(), one.outcome.clone())).collect()
}

#[tokio::test(start_paused = true)]
async fn each_callback_goes_out_when_it_is_due_and_not_before() {
    let caller = Told::new(&[]);
    let callbacks = callbacks(CallbackPolicy { notify: true, ..CallbackPolicy::default() }, &caller);
    callbacks.file_stored(&event());
    assert_eq!(caller.calls().len(), 0, "telling of a file calls nobody yet");
    sleep(Duration::from_millis(99)).await;
    assert_eq!(caller.calls().len(), 0, "nothing is due yet");
    sleep(Duration::from_millis(2)).await;
    assert_eq!(caller.calls().len(), 2, "the file is told to both");
    sleep(Duration::from_millis(998)).await;
    assert_eq!(caller.calls().len(), 2, "transcoding goes on");
    a_minute().await;
    let log = callbacks.log();
    assert!(log.iter().all(|delivery| delivery.state == DeliveryState::Delivered), "{log:?}");
    let logged: Vec<_> = log.iter().map(|delivery| (delivery.url.clone(), delivery.body.clone())).collect();
    let mut called = caller.calls();
    // The log is in the order of planning, the calls in that of time.
    called.swap(1, 2);
    assert_eq!(logged, called, "what is logged is what was sent");
    for delivery in &log {
        assert_eq!(tries(delivery), [(delivery.due.as_millisecond(), Outcome::Answered(200))], "{delivery:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn silence_is_waited_out_for_five_seconds_three_times() {
    let caller = Told::new(&[Does::Hangs; 4]);
    let callbacks = callbacks(CallbackPolicy::default(), &caller);
    callbacks.file_stored(&one_event());
    sleep(Duration::from_secs(15)).await;
    assert_eq!(callbacks.log()[0].state, DeliveryState::Scheduled, "the third try has a tenth of a second left");
    a_minute().await;
    let delivery = &callbacks.log()[0];
    assert_eq!(delivery.state, DeliveryState::Failed);
    assert_eq!(tries(delivery), [100, 5100, 10_100].map(|at| (at, Outcome::TimedOut)));
    assert_eq!(caller.calls().len(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_refused_connection_is_tried_three_times() {
    let caller = Told::new(&[Does::Refuses; 4]);
    let callbacks = callbacks(CallbackPolicy::default(), &caller);
    callbacks.file_stored(&one_event());
    a_minute().await;
    let delivery = &callbacks.log()[0];
    assert_eq!(delivery.state, DeliveryState::Failed);
    assert_eq!(tries(delivery), [100; 3].map(|at| (at, Outcome::Unreachable("refused".to_owned()))));
    assert_eq!(caller.calls().len(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_second_try_that_is_answered_is_the_last_whatever_the_answer() {
    let caller = Told::new(&[Does::Hangs, Does::Answers(500)]);
    let callbacks = callbacks(CallbackPolicy::default(), &caller);
    callbacks.file_stored(&one_event());
    a_minute().await;
    let delivery = &callbacks.log()[0];
    assert_eq!(delivery.state, DeliveryState::Delivered);
    assert_eq!(tries(delivery), [(100, Outcome::TimedOut), (5100, Outcome::Answered(500))]);
    let calls = caller.calls();
    assert_eq!((calls.len(), &calls[0]), (2, &calls[1]), "the same is sent again");
}

#[tokio::test(start_paused = true)]
async fn a_notify_url_is_not_called_unless_told_to() {
    let caller = Told::new(&[]);
    let callbacks = callbacks(CallbackPolicy::default(), &caller);
    callbacks.file_stored(&StoredEvent { callback_url: None, ..event() });
    a_minute().await;
    assert_eq!(caller.calls(), []);
    let log = callbacks.log();
    assert_eq!(log.len(), 2);
    for delivery in log {
        assert_eq!((delivery.state, delivery.withheld), (DeliveryState::Withheld, Some(Withheld::NotifyIsOff)));
    }
}

#[tokio::test(start_paused = true)]
async fn a_server_that_hangs_does_not_hold_up_the_others() {
    let caller = Told::new(&[Does::Hangs]);
    let callbacks = callbacks(CallbackPolicy::default(), &caller);
    callbacks.file_stored(&one_event());
    callbacks.file_stored(&one_event());
    sleep(Duration::from_millis(101)).await;
    let states: Vec<_> = callbacks.log().iter().map(|delivery| delivery.state).collect();
    assert_eq!(states, [DeliveryState::Scheduled, DeliveryState::Delivered]);
}

#[tokio::test(start_paused = true)]
async fn a_stop_ends_what_waits_and_what_is_under_way() {
    let caller = Told::new(&[Does::Hangs]);
    let callbacks = callbacks(CallbackPolicy::default(), &caller);
    callbacks.file_stored(&StoredEvent { notify_url: None, ..event() });
    sleep(Duration::from_millis(101)).await;
    callbacks.stop();
    callbacks.file_stored(&one_event());
    a_minute().await;
    assert_eq!(caller.calls().len(), 1, "the try that hung when it was stopped is the last");
    let log = callbacks.log();
    assert_eq!(log.len(), 3);
    assert!(log.iter().all(|delivery| delivery.withheld == Some(Withheld::MockStopped)), "{log:?}");
}

#[tokio::test(start_paused = true)]
async fn nothing_outlives_the_callbacks() {
    let caller = Told::new(&[Does::Hangs]);
    let callbacks = callbacks(CallbackPolicy::default(), &caller);
    callbacks.file_stored(&StoredEvent { notify_url: None, ..event() });
    sleep(Duration::from_millis(101)).await;
    drop(callbacks);
    a_minute().await;
    assert_eq!(caller.calls().len(), 1);
    assert_eq!(Arc::strong_count(&caller), 1, "no task holds on to the caller");
}

#[tokio::test(start_paused = true)]
async fn tasks_that_are_over_are_let_go_of() {
    let callbacks = callbacks(CallbackPolicy::default(), &Told::new(&[]));
    for _ in 0..100 {
        callbacks.file_stored(&one_event());
        a_minute().await;
    }
    assert_eq!(callbacks.tasks().len(), 1, "only the last is yet to be noticed");
}

//! An upload that is dropped wherever it waits leaves what a resume needs, and nothing that goes on.

use std::{
    future::{Future, poll_fn},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    task::Poll,
    time::Duration,
};

use bytes::Bytes;
use jiff::Timestamp;
use tokio::runtime::{Builder, Handle};
use vod_client::{BytesSource, Credentials, Event, Options, UploadError, UploadReport, Uploader, Work};
use vod_mock::{
    Config, DEMO_SECRET_ID, DEMO_SECRET_KEY, Fault, Journal, MemoryStore, Mock, Plan, UploadState, Verdict, WallClock,
};
use vod_proto::{Family, FileFacts, PartSpan, action::Role, sign::SecretKey};
use vod_serve::journal::Whose;

use super::net::{Net, SimConnector};
use crate::{
    format::{self, Size},
    source::{self, SourceFacts},
};

/// Two whole parts and a piece of one, so that two are under way and one waits.
const SIZE: u64 = 2 * PART + 4711;
const PART: u64 = 512 << 10;
/// Turns that give each task of a client and a mock one. To send the rest of a part takes more.
const TURNS: u32 = 16;
/// Passes when nothing else can happen.
const MOMENT: Duration = Duration::from_millis(1);
/// Longer than any timer that might have been left running.
const SETTLED: Duration = Duration::from_secs(300);

/// When, after so many polls, a future is dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum When {
    /// As soon as it waits.
    AtOnce,
    /// When what it waited for has happened, and it would hear of it.
    Woken,
    /// Whatever it waits for: its connections' tasks go on between two polls, and are in the middle of something.
    Between,
}

impl When {
    /// The polls that an upload takes at least: it has three requests that wait for each other, and in between each
    /// pipeful of the file is a turn of the runtime.
    const fn least(self) -> u32 {
        match self {
            Self::AtOnce | Self::Woken => 4,
            Self::Between => 32,
        }
    }
}

/// Polls a future so many times, and drops it if that was not enough.
async fn polled<F: Future>(future: F, polls: u32, when: When) -> Option<F::Output> {
    let (mut future, mut left) = (Box::pin(future), polls);
    poll_fn(|cx| {
        if left == 0 {
            return Poll::Ready(None);
        }
        left -= 1;
        match future.as_mut().poll(cx) {
            Poll::Ready(done) => Poll::Ready(Some(done)),
            Poll::Pending if left == 0 && when == When::AtOnce => Poll::Ready(None),
            Poll::Pending => {
                if when == When::Between {
                    // Again after one turn of all that is ready. An upload that meets no trouble waits for no time.
                    cx.waker().wake_by_ref();
                }
                Poll::Pending
            }
        }
    })
    .await
}

/// How uploads are done here.
#[derive(Clone, Copy, Debug)]
struct Case {
    family: Family,
    work: Work,
    when: When,
    /// Is the file uploaded again by the same uploader, over what it has left of connections?
    same: bool,
    /// Is there trouble to ride out, so that it also waits to try again, and asks what became of its finish?
    trouble: bool,
}

impl Case {
    fn plan(self) -> Plan {
        if !self.trouble {
            return Plan::default();
        }
        let faults = vec![
            Fault::on(self.family.open()).attempt(1).before_read(Verdict::http(503)),
            Fault::on(self.family.part()).part(2).attempt(1).before_commit(Verdict::http(500)),
            Fault::on(self.family.finish()).attempt(1).after_commit(Verdict::Reset),
        ];
        Plan { faults }
    }
}

struct Stage {
    case: Case,
    bytes: Bytes,
    facts: SourceFacts,
    net: Net,
    mock: Arc<Mock>,
    journal: Arc<Journal>,
    epoch: Timestamp,
}

impl Stage {
    async fn open(case: Case) -> Self {
        let (bytes, facts) =
            source::in_memory(&format::Source { size: Size::new(SIZE), seed: 5, claims_source: false });
        let epoch = Timestamp::from_second(1_488_326_400).unwrap();
        let (net, journal) = (Net::default(), Journal::memory(1));
        let config = Config {
            clock: WallClock::fixed(epoch),
            seed: 1,
            plan: case.plan(),
            journal: Arc::clone(&journal),
            ..Config::default()
        };
        let mock = Mock::open(config, MemoryStore::new()).await.unwrap();
        let (serving, listener) = (Arc::clone(&mock), net.listen());
        tokio::spawn(async move { match serving.serve(listener).await {} });
        Self { case, bytes, facts, net, mock, journal, epoch }
    }

    /// An uploader with connections of its own.
    fn uploader(&self, client: usize) -> Uploader<SimConnector> {
        let options = Options {
            family: self.case.family,
            part_size: Some(PART),
            parallel: 2,
            seed: 1,
            work: self.case.work,
            clock: vod_client::WallClock::fixed(self.epoch),
            ..Options::default()
        };
        let credentials = Credentials::new(DEMO_SECRET_ID, SecretKey::new(DEMO_SECRET_KEY));
        let connector = self.net.connector(client);
        Uploader::with_connector("http://mock.sim".parse().unwrap(), credentials, connector).options(options)
    }

    /// Uploads the file, and lets go of the uploader.
    async fn upload(
        &self,
        uploader: Uploader<SimConnector>,
        observe: impl FnMut(Event) + Send,
    ) -> Result<UploadReport, UploadError> {
        let source = BytesSource::new(self.bytes.clone());
        uploader.upload_observed(source, FileFacts::from_path("a.mp4".as_ref()), observe).await
    }

    /// The parts of which the mock says that it acknowledged them, of the requests behind this one.
    fn parts_behind(&self, seq: u64, acknowledged: bool) -> Vec<PartSpan> {
        let kept = self.journal.kept(&Whose::Everybody).exchanges;
        let sent = kept.iter().filter(|exchange| {
            exchange.seq > seq
                && exchange.known_action().is_some_and(|action| action.role().sends_part())
                && (exchange.acknowledged() || !acknowledged)
        });
        sent.filter_map(|exchange| exchange.part).collect()
    }
}

/// Drops an upload after so many polls, and uploads the file again. Says whether it was dropped before it ended.
fn drop_after(polls: u32, case: Case) -> bool {
    // One task is polled between two polls of the upload, so that nothing is done at one go.
    let runtime = Builder::new_current_thread().event_interval(1).enable_time().start_paused(true).build().unwrap();
    runtime.block_on(async {
        let stage = Stage::open(case).await;
        let told = format!("{case:?}, dropped after {polls} polls");
        tokio::time::sleep(MOMENT).await;
        let tasks = || Handle::current().metrics().num_alive_tasks();
        let without_clients = tasks();

        let (known, dropped) = (Mutex::new(Vec::new()), AtomicBool::new(false));
        let observe = |event| {
            assert!(!dropped.load(Ordering::Relaxed), "{told}: it goes on: {event:?}");
            if let Event::PartDone { span, .. } = event {
                known.lock().unwrap().push(span);
            }
        };
        let uploader = stage.uploader(1);
        let kept = case.same.then(|| uploader.clone().seed(2));
        let ended = polled(stage.upload(uploader, observe), polls, case.when).await;
        dropped.store(true, Ordering::Relaxed);

        if !case.same {
            // Its connections are let go of as soon as their tasks have had a turn, with whatever was half sent on them.
            for _ in 0..TURNS {
                tokio::task::yield_now().await;
            }
            assert_eq!(stage.net.held_by(1), 0, "{told}: connections go on");
        }

        // Nothing goes on: no request follows, and without the uploader no task and no connection is left.
        tokio::time::sleep(MOMENT).await;
        let last = stage.journal.last_seq();
        if !case.same {
            assert_eq!(stage.net.open(), 0, "{told}: connections are left");
            assert_eq!(tasks(), without_clients, "{told}: tasks are left");
            tokio::time::sleep(SETTLED).await;
            assert_eq!(stage.journal.last_seq(), last, "{told}: requests come after the drop");
        }

        // What the mock acknowledged, and so all that the client knows of, is not sent again.
        let acknowledged = stage.parts_behind(0, true);
        for span in known.into_inner().unwrap() {
            assert!(acknowledged.contains(&span), "{told}: {span} was told to be there");
        }
        let uploader = kept.unwrap_or_else(|| stage.uploader(2).seed(2));
        let report = stage.upload(uploader, drop).await.unwrap_or_else(|error| panic!("{told}: {error}"));
        let mut again = stage.parts_behind(last, false);
        if case.family == Family::Legacy && again.first().is_some_and(|span| span.offset == 0) {
            // With its first part the family asks what there is.
            again.remove(0);
        }
        let twice: Vec<_> = again.iter().filter(|span| acknowledged.contains(span)).collect();
        assert!(twice.is_empty(), "{told}: acknowledged, and sent again: {twice:?}");

        let uploads = stage.mock.uploads().await;
        let [upload] = &uploads[..] else { panic!("{told}: {uploads:?}") };
        assert_eq!(
            (upload.state, upload.commits, upload.stored_sha1),
            (UploadState::Stored, 1, Some(stage.facts.sha1)),
            "{told}"
        );
        let all = stage.journal.kept(&Whose::Everybody).exchanges;
        let inits =
            all.iter().filter(|exchange| exchange.known_action().map(|action| action.role()) == Some(Role::Open));
        // Once, once more after the drop, and with trouble once more for the refusal and for the lost finish.
        let most = if case.trouble { 4 } else { 2 };
        assert!(inits.count() <= most, "{told}: it is opened again without need: {report:?}");
        if ended.is_some() {
            let idle: Vec<_> = stage.mock.fates().into_iter().filter(|fate| fate.struck == 0).collect();
            assert!(idle.is_empty(), "{told}: there was no trouble: {idle:?}");
        }
        ended.is_none()
    })
}

/// Drops an upload after one poll, after two, and so on, until it ends before it is dropped.
#[track_caller]
fn check(case: Case) {
    let polls = (1..1000).find(|polls| !drop_after(*polls, case)).expect("an upload has an end");
    assert!(polls >= case.when.least(), "{case:?}: only {polls} polls were seen");
}

#[track_caller]
fn check_inline(family: Family) {
    for when in [When::AtOnce, When::Woken, When::Between] {
        check(Case { family, work: Work::Inline, when, same: false, trouble: false });
    }
}

#[test]
fn an_upload_of_the_server_family_is_resumed_wherever_it_was_dropped() {
    check_inline(Family::Server);
}

#[test]
fn an_upload_of_the_ugc_family_is_resumed_wherever_it_was_dropped() {
    check_inline(Family::Ugc);
}

#[test]
fn an_upload_of_the_legacy_family_is_resumed_wherever_it_was_dropped() {
    check_inline(Family::Legacy);
}

#[test]
fn an_upload_that_reads_on_other_threads_is_resumed_wherever_it_was_dropped() {
    for family in Family::ALL {
        check(Case { family, work: Work::Pool, when: When::AtOnce, same: false, trouble: false });
    }
}

#[test]
fn an_upload_that_was_dropped_is_resumed_over_the_connections_that_it_left() {
    for (family, when) in [(Family::Server, When::Between), (Family::Legacy, When::Between), (Family::Ugc, When::Woken)]
    {
        check(Case { family, work: Work::Inline, when, same: true, trouble: false });
    }
}

#[test]
fn an_upload_that_rides_out_trouble_is_resumed_wherever_it_was_dropped() {
    for (family, when) in [(Family::Server, When::AtOnce), (Family::Ugc, When::AtOnce), (Family::Server, When::Woken)] {
        check(Case { family, work: Work::Inline, when, same: false, trouble: true });
    }
}

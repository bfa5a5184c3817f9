//! Where the mock runs, whatever the test does with its own thread.

use std::{
    cell::RefCell,
    io::{ErrorKind, Read as _, Write as _},
    net::TcpStream,
    sync::{Arc, OnceLock, mpsc},
    time::Duration,
};

use vod_mock::{Config, DiskStore, Fault, Phase, Requests, Verdict, VodMock};
use vod_proto::{Action, Sha1, exchange::End};
use vod_serve::Journal;

use super::{SMALL, demo_uploads, later_failure};

/// Asks for something and blocks the thread until the answer is there.
fn blocks(mock: &VodMock) -> String {
    let mut stream = TcpStream::connect(mock.endpoint().trim_start_matches("http://")).unwrap();
    stream.write_all(b"GET /__vod/health HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[tokio::test]
async fn a_test_may_block_its_only_thread() {
    let mock = VodMock::start().await;
    assert!(blocks(&mock).contains("\"ok\""));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_test_may_block_one_of_many_threads() {
    let mock = VodMock::start().await;
    assert!(blocks(&mock).contains("\"ok\""));
}

#[test]
fn a_mock_outlives_the_runtime_of_the_test_that_started_it() {
    static SHARED: OnceLock<VodMock> = OnceLock::new();
    for _ in 0..3 {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            if SHARED.get().is_none() {
                let _ = SHARED.set(VodMock::start().await);
            }
            let account = SHARED.get().unwrap().account();
            let fault = account.fault(Fault::on(Action::InitUpload).attempt(1).before_read(Verdict::Reset));
            super::uploads(&account, SMALL).await.unwrap();
            assert_eq!(fault.struck(), 1);
        });
    }
}

#[tokio::test(start_paused = true)]
#[expect(clippy::disallowed_methods, reason = "a test measures the paused time")]
async fn in_a_paused_runtime_the_mock_goes_by_the_paused_clock() {
    let started = tokio::time::Instant::now();
    let machine = std::time::Instant::now();
    let mock = VodMock::start().await;
    let hour = Duration::from_secs(3600);
    let slow = mock.fault(Fault::on(Action::FinishUpload).before_commit(Verdict::delay(hour)));
    let young = Fault::on(Action::InitUpload).until(hour).times(1).named("young");
    let young = mock.fault(young.before_read(Verdict::http(503)));
    let old = mock.fault(Fault::on(Action::InitUpload).after(hour).times(1).named("old").before_read(Verdict::Close));
    demo_uploads(&mock, SMALL).await.unwrap();
    demo_uploads(&mock, SMALL).await.unwrap();
    assert!(started.elapsed() >= hour && machine.elapsed() < hour, "{:?}", started.elapsed());
    assert_eq!([slow.struck(), young.struck(), old.struck()], [1, 1, 1]);
}

#[tokio::test]
async fn a_port_and_a_store_are_free_when_the_mock_is_dropped_or_stopped() {
    let dir = tempfile::tempdir().unwrap();
    for stopped in [true, false, true] {
        let store = DiskStore::open(dir.path()).unwrap();
        let mock = VodMock::start_on(Config::default(), store).await.unwrap();
        let addr = mock.endpoint().trim_start_matches("http://").to_owned();
        demo_uploads(&mock, SMALL).await.unwrap();
        assert_eq!(mock.upload(Sha1::of(SMALL)).await.unwrap().commits, 1, "what the first stored is there");
        if stopped {
            mock.stop().await;
        } else {
            drop(mock);
        }
        assert!(TcpStream::connect(&addr).is_err(), "somebody listens at {addr} still");
    }
}

/// Tells when the thread ends that it is on.
struct OnThread(#[expect(dead_code, reason = "whoever listens hears it go")] mpsc::Sender<()>);

thread_local! {
    static ON_THIS_THREAD: RefCell<Option<OnThread>> = const { RefCell::new(None) };
}

/// What ends when the mock's thread does: somebody to ask it, and a connection that waits for an answer.
async fn watched(mock: &VodMock) -> (mpsc::Receiver<()>, TcpStream) {
    let (here, ended) = mpsc::channel();
    let door = mock.fault_fn(Fault::on(Action::InitUpload), Phase::BeforeRead, move |_, _| {
        ON_THIS_THREAD.with_borrow_mut(|thread| *thread = Some(OnThread(here.clone())));
        None
    });
    demo_uploads(mock, SMALL).await.unwrap();
    drop(door.may_stay_unused());
    let mut stream = TcpStream::connect(mock.endpoint().trim_start_matches("http://")).unwrap();
    stream.write_all(b"GET /__vod/health HTTP/1.1\r\nHost: h\r\n\r\n").unwrap();
    assert!(stream.read(&mut [0; 9]).unwrap() > 0);
    (ended, stream)
}

/// Nothing of the mock is left: no thread, no connection, and nobody listens.
fn is_gone(addr: &str, (ended, mut stream): (mpsc::Receiver<()>, TcpStream)) {
    let waited = ended.recv_timeout(Duration::from_secs(30));
    assert_eq!(waited, Err(mpsc::RecvTimeoutError::Disconnected), "its thread runs still");
    let mut rest = Vec::new();
    // A connection that was closed or reset is gone either way; one that lives on would wait here.
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    let read = stream.read_to_end(&mut rest);
    let waits = read.is_err_and(|error| matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut));
    assert!(!waits, "its connection is open still");
    assert!(TcpStream::connect(addr).is_err(), "somebody listens at {addr} still");
}

#[test]
fn nothing_of_a_mock_is_left_wherever_it_is_dropped() {
    let runtimes = [tokio::runtime::Builder::new_current_thread, tokio::runtime::Builder::new_multi_thread];
    for (builder, inside) in runtimes.into_iter().flat_map(|builder| [(builder, true), (builder, false)]) {
        let runtime = builder().enable_all().build().unwrap();
        let (addr, watched, mock) = runtime.block_on(async {
            let mock = VodMock::start().await;
            let addr = mock.endpoint().trim_start_matches("http://").to_owned();
            let watched = watched(&mock).await;
            let outside = if inside {
                drop(mock);
                None
            } else {
                Some(mock)
            };
            (addr, watched, outside)
        });
        // Its own runtime is gone, and the mock lives on; it is dropped outside of any.
        drop(runtime);
        if let Some(mock) = mock {
            assert!(blocks(&mock).contains("\"ok\""));
            drop(mock);
        }
        is_gone(&addr, watched);
    }
}

#[tokio::test]
async fn two_mocks_in_one_process_share_nothing() {
    let (one, other) = (VodMock::start().await, VodMock::start().await);
    assert_ne!(one.endpoint(), other.endpoint());
    let named = || Fault::on(Action::InitUpload).named("same").times(1).before_read(Verdict::http(503));
    let (fault, same) = (one.fault(named()), other.fault(named()).may_stay_unused());
    let accounts = [one.account(), other.account()];
    assert_eq!(accounts[0].name(), accounts[1].name());
    one.expect(Requests::any(), 4);
    other.expect(Requests::any(), 0);
    demo_uploads(&one, SMALL).await.unwrap();
    one.advance(Duration::from_secs(49 * 3600)).await;
    assert_eq!((fault.struck(), same.struck()), (1, 0));
    assert_eq!((one.exchanges().len(), other.exchanges().len()), (4, 0));
    assert_eq!((one.uploads().await.len(), other.uploads().await.len()), (1, 0));
    drop((fault, one));
    assert_eq!(other.fates().len(), 1, "what is the other's stays when the first is gone");
    other.verify();
}

#[test]
fn what_is_under_way_when_a_mock_is_dropped_was_closed_by_it() {
    // Often, for the mock's own thread must not see the end of the connection sooner than the evidence.
    for _ in 0..20 {
        let journal = Journal::memory(1);
        let config = Config { journal: Arc::clone(&journal), ..Config::default() };
        let mock = vod_mock::blocking::VodMock::start_with(config).unwrap();
        let mut stream = TcpStream::connect(mock.endpoint().trim_start_matches("http://")).unwrap();
        let head = "POST /v2/index.php?Action=UploadPart HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 9\r\n\r\n";
        stream.write_all(head.as_bytes()).unwrap();
        // It asks for the body: from here on the request is under way.
        stream.read_exact(&mut [0; 25]).unwrap();
        drop(mock);
        assert_eq!(journal.exchanges().last().map(|exchange| exchange.end), Some(End::Closed));
    }
}

#[tokio::test]
async fn a_mock_may_be_dropped_by_a_task_of_its_own() {
    let mock = VodMock::start().await;
    let (endpoint, cell) = (mock.clone(), std::sync::Mutex::new(None));
    let cell = Arc::new(cell);
    let inner = Arc::clone(&cell);
    let fault = mock.fault_fn(Fault::on(Action::Report), Phase::BeforeRead, move |_, _| {
        drop(inner.lock().unwrap().take());
        None
    });
    *cell.lock().unwrap() = Some(mock);
    let asked = tokio::spawn(async move { super::asks(&endpoint, Action::Report).await });
    asked.await.unwrap().unwrap_err();
    drop(fault.may_stay_unused());
    assert!(cell.lock().unwrap().is_none());
}

#[tokio::test]
async fn what_is_asked_of_a_mock_that_is_gone_says_so() {
    let mock = VodMock::start().await;
    let handle = mock.clone();
    drop(mock);
    assert!(handle.exchanges().is_empty(), "the evidence is there still");
    let gone = later_failure(handle.uploads()).await;
    assert!(gone.starts_with("the mock is gone: it was dropped"), "{gone}");
}

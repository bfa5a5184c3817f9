//! The load: asks a server as fast as it answers, over connections that stay open, one request at a time on each.
//!
//! Bare sockets and requests that are rendered beforehand, so that little of the machine is taken from the server.
//! Every answer is checked: an error that comes fast is no achievement.

use std::{
    io::Write as _,
    net::SocketAddr,
    process::ExitCode,
    sync::{Arc, Barrier},
    time::Duration,
};

use clap::Args;
use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    task::JoinSet,
};
use vod_proto::{
    Action,
    reply::{InitReply, Reply},
};

use super::requests;
use crate::{
    cargo::Failure,
    clock::{Stopwatch, unix_seconds},
};

/// How long a load waits, beyond its time, for answers that do not come.
const PATIENCE: Duration = Duration::from_secs(30);

/// How far the load stands back behind the servers, 0 to 19.
const NICENESS: i32 = 10;

/// The longest reply that is read; those of the protocol's small actions have a few hundred bytes.
const REPLY_MAX: usize = 64 << 10;

/// What is asked of whom.
#[derive(Clone, Debug, Args)]
pub(crate) struct Options {
    /// The server
    #[arg(long)]
    pub(super) at: SocketAddr,
    /// How many uploads are asked for, in turn
    #[arg(long)]
    pub(super) uploads: usize,
    /// How many connections ask
    #[arg(long)]
    pub(super) connections: usize,
    /// Send parts of so many bytes, instead of opening uploads
    #[arg(long, default_value_t = 0)]
    pub(super) body: usize,
    /// How many threads carry the connections
    #[arg(long)]
    pub(super) threads: usize,
    /// For how many milliseconds it is counted
    #[arg(long)]
    pub(super) millis: u64,
}

/// What came of it. Latencies are in microseconds, from the first byte of a request to the last of its answer.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Report {
    /// How many requests were answered while it was counted.
    pub(super) answered: u64,
    /// In how many seconds.
    pub(super) seconds: f64,
    /// How many requests were answered at all, with those before the counting.
    pub(super) sent: u64,
    /// The median latency.
    pub(super) p50: f64,
    /// The latency that one in a hundred exceeds.
    pub(super) p99: f64,
    /// The longest.
    pub(super) max: f64,
}

impl Report {
    /// Requests a second.
    pub(super) fn rate(&self) -> f64 {
        precise(self.answered) / self.seconds
    }

    /// How many requests were answered at all.
    pub(super) fn sent(&self) -> f64 {
        precise(self.sent)
    }
}

/// How many threads carry a load where nobody says: one for each processor.
pub(super) fn threads() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// Runs the load and prints its report as a line of JSON on stdout.
///
/// # Errors
/// Says which answer was none.
pub(crate) fn run(options: &Options) -> Result<ExitCode, Failure> {
    // On a machine of few processors every answer would otherwise wake a thread here that takes one away from the
    // server in the middle of its work: what is measured would be the scheduler.
    rustix::process::nice(NICENESS).map_err(|error| Failure(format!("the load cannot stand back: {error}")))?;
    let report = measure(options)?;
    let line = serde_json::to_string(&report).map_err(|error| Failure(error.to_string()))?;
    writeln!(std::io::stdout(), "{line}").map_err(|error| Failure(error.to_string()))?;
    Ok(ExitCode::SUCCESS)
}

/// Sends every request once, which is not counted, and then as many as are answered in the time.
///
/// # Errors
/// Says which answer was none.
pub(super) fn measure(options: &Options) -> Result<Report, Failure> {
    let requests = Arc::new(match options.body {
        0 => requests::render(options.at, options.uploads, unix_seconds()),
        // One for each connection is enough: bytes are passed on, whatever they are.
        len => requests::render_parts(options.at, options.connections, len, unix_seconds()),
    });
    let barrier = Barrier::new(options.threads);
    let shares = std::thread::scope(|scope| {
        let share = |thread| {
            let (requests, barrier) = (Arc::clone(&requests), &barrier);
            move || share(options, thread, &requests, barrier)
        };
        let threads: Vec<_> = (0..options.threads).map(|thread| scope.spawn(share(thread))).collect();
        // A thread that panicked has said why.
        let joined =
            threads.into_iter().map(|thread| thread.join().map_err(|_| Failure("a thread panicked".to_owned())));
        joined.collect::<Result<Vec<_>, _>>()
    })?;
    let mut all = Tally::default();
    for share in shares {
        all.add(&share?);
    }
    let at = |quantile| precise(all.latencies.value_at_quantile(quantile)) / 1000.0;
    Ok(Report {
        answered: all.latencies.len(),
        seconds: all.elapsed.as_secs_f64(),
        sent: all.latencies.len() + all.unmeasured,
        p50: at(0.5),
        p99: at(0.99),
        max: at(1.0),
    })
}

/// Counts stay far below 2^53.
#[expect(clippy::cast_precision_loss, reason = "a count of requests or nanoseconds of a few seconds")]
fn precise(count: u64) -> f64 {
    count as f64
}

/// What one connection, or one thread, or all together saw. Latencies are in nanoseconds.
struct Tally {
    latencies: Histogram<u64>,
    unmeasured: u64,
    elapsed: Duration,
}

impl Default for Tally {
    fn default() -> Self {
        // Three digits are enough to tell figures apart that are.
        let latencies = Histogram::new(3).expect("three significant digits are allowed");
        Self { latencies, unmeasured: 0, elapsed: Duration::ZERO }
    }
}

impl Tally {
    fn add(&mut self, other: &Self) {
        self.latencies += &other.latencies;
        self.unmeasured += other.unmeasured;
        self.elapsed = self.elapsed.max(other.elapsed);
    }
}

/// One thread's part of the load.
fn share(options: &Options, thread: usize, requests: &Arc<Vec<Vec<u8>>>, barrier: &Barrier) -> Result<Tally, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Failure(format!("the load cannot start: {error}")));
    let warm = runtime.and_then(|runtime| {
        let connections = (thread..options.connections).step_by(options.threads).map(|first| {
            let (options, requests) = (options.clone(), Arc::clone(requests));
            async move { Connection::open(options.at, first, options.connections, requests).await?.warm_up().await }
        });
        let connections = runtime.block_on(within(PATIENCE, connections))?;
        Ok((runtime, connections))
    });
    // Also after a failure: the other threads wait for this one.
    barrier.wait();
    let (runtime, connections) = warm?;
    let (watch, time) = (Stopwatch::start(), Duration::from_millis(options.millis));
    let connections = connections.into_iter().map(|connection| connection.ask_for(watch, time));
    let mut all = Tally::default();
    for tally in runtime.block_on(within(time + PATIENCE, connections))? {
        all.add(&tally);
    }
    Ok(all)
}

/// Runs all to their end, or until the first that fails, or until the time is up.
async fn within<T: Send + 'static>(
    time: Duration,
    tasks: impl Iterator<Item = impl Future<Output = Result<T, Failure>> + Send + 'static>,
) -> Result<Vec<T>, Failure> {
    let mut running: JoinSet<_> = tasks.collect();
    let all = async {
        let mut done = Vec::new();
        while let Some(joined) = running.join_next().await {
            done.push(joined.map_err(|error| Failure(error.to_string()))??);
        }
        Ok(done)
    };
    tokio::time::timeout(time, all).await.map_err(|_| Failure(format!("no answer came for {time:?}")))?
}

/// A connection, and which requests go over it: every so many, beginning at its own.
struct Connection {
    stream: TcpStream,
    requests: Arc<Vec<Vec<u8>>>,
    first: usize,
    step: usize,
    next: usize,
    /// The first reply, as bytes. All the others must be the same.
    expected: Vec<u8>,
    buffer: Vec<u8>,
    tally: Tally,
}

impl Connection {
    async fn open(addr: SocketAddr, first: usize, step: usize, requests: Arc<Vec<Vec<u8>>>) -> Result<Self, Failure> {
        let connect = async {
            let stream = TcpStream::connect(addr).await?;
            stream.set_nodelay(true)?;
            Ok(stream)
        };
        let stream =
            connect.await.map_err(|error: std::io::Error| Failure(format!("{addr} cannot be asked: {error}")))?;
        let (expected, buffer) = (Vec::new(), vec![0; REPLY_MAX]);
        Ok(Self { stream, requests, first, step, next: first, expected, buffer, tally: Tally::default() })
    }

    /// Sends each of its requests once.
    async fn warm_up(mut self) -> Result<Self, Failure> {
        while self.next < self.requests.len() {
            self.ask().await?;
            self.tally.unmeasured += 1;
        }
        Ok(self)
    }

    /// Sends its requests, again and again, until the time is up.
    async fn ask_for(mut self, watch: Stopwatch, time: Duration) -> Result<Tally, Failure> {
        let mut began = watch.elapsed();
        while began < time {
            self.ask().await?;
            let ended = watch.elapsed();
            let nanos = u64::try_from((ended - began).as_nanos()).unwrap_or(u64::MAX);
            // It grows to whatever comes.
            self.tally.latencies.record(nanos).map_err(|error| Failure(error.to_string()))?;
            began = ended;
        }
        self.tally.elapsed = watch.elapsed();
        Ok(self.tally)
    }

    /// Sends the next request and waits for its answer.
    async fn ask(&mut self) -> Result<(), Failure> {
        if self.next >= self.requests.len() {
            self.next = self.first;
        }
        let request = &self.requests[self.next];
        self.next += self.step;
        let broken = |error: std::io::Error| Failure(format!("the connection broke: {error}"));
        self.stream.write_all(request).await.map_err(broken)?;
        let mut len = 0;
        loop {
            let read = self.stream.read(&mut self.buffer[len..]).await.map_err(broken)?;
            if read == 0 {
                return Err(Failure(format!("the connection ended within an answer, after {len} bytes")));
            }
            len += read;
            let reply = &self.buffer[..len];
            if self.expected.is_empty() {
                if is_whole_and_good(reply)? {
                    self.expected = reply.to_vec();
                    return Ok(());
                }
            } else if !self.expected.starts_with(reply) {
                let (other, first) = (String::from_utf8_lossy(reply), String::from_utf8_lossy(&self.expected));
                return Err(Failure(format!("an answer is not like the first:\n{other}\n\nexpected:\n{first}")));
            } else if len == self.expected.len() {
                return Ok(());
            }
        }
    }
}

/// Is this a whole reply? If it is, it must say with code 0 that an upload is open.
fn is_whole_and_good(reply: &[u8]) -> Result<bool, Failure> {
    let text = String::from_utf8_lossy(reply);
    let Some((head, body)) = text.split_once("\r\n\r\n") else { return Ok(false) };
    let length = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>().ok())?
    });
    let refused = |why: &str| Err(Failure(format!("{why}:\n{text}")));
    match length {
        None => refused("an answer without a length"),
        Some(length) if body.len() < length => Ok(false),
        Some(_) if !head.starts_with("HTTP/1.1 200 ") => refused("an answer that is no success"),
        Some(_) => match Reply::parse(Action::InitUpload, body) {
            Ok(parsed) if parsed.reply == Reply::Init(InitReply::Fresh) => Ok(true),
            _ => refused("an answer that opens no upload"),
        },
    }
}

#[cfg(test)]
mod tests {
    use tokio::{net::TcpListener, runtime::Runtime};
    use vod_mock::VodMock;

    use super::*;

    const GOOD: &str = r#"{"code":0,"message":""}"#;

    fn load(at: SocketAddr) -> Options {
        Options { at, uploads: 10, connections: 6, body: 0, threads: 2, millis: 50 }
    }

    fn floor(runtime: &Runtime, body: &'static str) -> SocketAddr {
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let addr = listener.local_addr().unwrap();
        runtime.spawn(super::super::floor::serve(listener, body.into()));
        addr
    }

    #[test]
    fn the_mock_takes_every_request_and_has_seen_as_many_as_are_counted() {
        let runtime = Runtime::new().unwrap();
        let mock = runtime.block_on(VodMock::start());
        let report = measure(&load(mock.endpoint().strip_prefix("http://").unwrap().parse().unwrap())).unwrap();
        assert!(report.answered > 0 && report.seconds >= 0.05, "{report:?}");
        assert!(0.0 < report.p50 && report.p50 <= report.p99 && report.p99 <= report.max, "{report:?}");
        let exchanges = mock.exchanges();
        assert_eq!(report.sent, exchanges.len() as u64);
        assert!(exchanges.iter().all(|exchange| exchange.known_action() == Some(Action::InitUpload)));
        assert_eq!(runtime.block_on(mock.uploads()).len(), 10);
    }

    #[test]
    fn the_floor_answers_the_same_requests() {
        let runtime = Runtime::new().unwrap();
        let report = measure(&load(floor(&runtime, GOOD))).unwrap();
        assert_eq!(report.sent - report.answered, requests::COUNT as u64);
    }

    #[test]
    fn parts_are_sent_whole_and_read_whole() {
        let runtime = Runtime::new().unwrap();
        let options = Options { body: 300_000, ..load(floor(&runtime, GOOD)) };
        let report = measure(&options).unwrap();
        // The floor answers once it has read everything, and the next request follows on the same connection.
        assert!(report.answered > 0 && report.sent - report.answered == options.connections as u64, "{report:?}");
    }

    #[test]
    fn a_fast_refusal_is_no_answer() {
        let runtime = Runtime::new().unwrap();
        let refusal = r#"{"code":-10001,"message":"no","canRetry":0}"#;
        let error = measure(&load(floor(&runtime, refusal))).unwrap_err().to_string();
        assert!(error.contains("opens no upload") && error.contains("-10001"), "{error}");
    }

    #[test]
    fn an_answer_is_whole_with_its_last_byte_and_only_good_with_code_0() {
        let reply =
            |status: &str, body: &str| format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\n\r\n{body}", body.len());
        let whole = reply("200 OK", GOOD);
        for end in 0..whole.len() {
            assert!(!is_whole_and_good(&whole.as_bytes()[..end]).unwrap(), "whole after {end} bytes");
        }
        assert!(is_whole_and_good(whole.as_bytes()).unwrap());
        for bad in [reply("503 Busy", GOOD), reply("200 OK", r#"{"code":-1}"#), "HTTP/1.1 200 OK\r\n\r\n".to_owned()] {
            assert!(is_whole_and_good(bad.as_bytes()).is_err(), "{bad}");
        }
    }
}

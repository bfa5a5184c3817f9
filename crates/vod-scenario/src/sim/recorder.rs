//! A recorder between clients and mock: the real proxy on pipes in memory, which writes a real recording.

use std::{path::Path, sync::Arc};

use jiff::Timestamp;
use tokio::task::JoinHandle;
use vod_proto::redact::Rules;
use vod_proxy::{
    Manifest, Proxy, Recording, RecordingError, Route,
    recording::{FORMAT, KeptBodies, Redaction, Source, Wanted},
    upstream::{BadOrigin, trust_nobody},
};
use vod_serve::WallClock;

use super::net::{Net, SimConnector};
use crate::not_run::NotRun;

/// The number by which the recorder's own connections are known in the mock's network. Clients have those from 1.
const NUMBER: usize = 0;

pub(super) struct Recorder {
    proxy: Arc<Proxy<SimConnector>>,
    task: JoinHandle<()>,
    clients: Net,
}

impl Recorder {
    /// Stands before the mock of this network, and records into this directory.
    pub(super) fn start(dir: &Path, mock: &Net, endpoint: &str, clock: WallClock) -> Result<Self, NotRun> {
        let failed = |said: String| NotRun::Proxy { said };
        let (recording, journal) = open(dir, endpoint, clock.now()).map_err(|error| failed(error.to_string()))?;
        let origin = endpoint.parse().map_err(|error: BadOrigin| failed(error.to_string()))?;
        let connector = mock.connector(NUMBER);
        let route = Route::Reverse(origin, None);
        let proxy = Arc::new(Proxy::recording_over(connector, route, trust_nobody(), &recording, journal, clock));
        let clients = Net::with_latency();
        let (serving, listener) = (Arc::clone(&proxy), clients.listen());
        let task = tokio::spawn(async move { match serving.serve(listener).await {} });
        Ok(Self { proxy, task, clients })
    }

    /// The network of those who are recorded.
    pub(super) const fn clients(&self) -> &Net {
        &self.clients
    }

    /// Stops it as its process is stopped. Returns how many exchanges could not be written.
    pub(super) async fn stop(self) -> u64 {
        self.proxy.settled().await;
        self.proxy.stop();
        self.task.abort();
        let _ = self.task.await;
        self.proxy.journal().unwritable()
    }
}

/// Makes a recording whose placeholders are the same each time, so that two tellings can be equal.
fn open(dir: &Path, endpoint: &str, now: Timestamp) -> Result<(Recording, Arc<vod_serve::Journal>), RecordingError> {
    let wanted = Wanted {
        source: Source::Upstream(endpoint.to_owned()),
        bodies: KeptBodies::default(),
        rules: Rules::default(),
    };
    let manifest = Manifest {
        format: FORMAT,
        tool: "a simulation".to_owned(),
        started: now,
        bodies: wanted.bodies,
        source: wanted.source.clone(),
        redaction: Redaction { key: [7; 32], ..Redaction::default() },
    };
    Recording::create(dir, manifest)?;
    Recording::record(dir, wanted, now)
}

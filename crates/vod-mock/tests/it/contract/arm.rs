//! The stores and the ways, joined to something that can be talked to.

use std::{
    io,
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll},
};

use tempfile::TempDir;
use tokio::{
    io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf},
    task::JoinSet,
};
use vod_mock::{Config, DigestStore, DiskStore, MemoryStore, Mock, Store, Tls, UploadView, VodMock};
use vod_proto::{Exchange, Sha1};
use vod_serve::Transport;

use crate::wire::{Peer, Stream, config};

/// How uploads are kept.
#[derive(Clone, Copy)]
pub(crate) enum Keeps {
    Memory,
    /// In memory of a few bytes: bodies lie in part there, for the rest in the temporary file.
    Spilled,
    Disk,
    Digest,
}

/// What not every store can do. Where it cannot, a behaviour says what happens instead.
impl Keeps {
    /// Can a part be replaced by other bytes once the file's hash has passed it?
    /// Not under `digest`: the bytes before it are gone, and the hash could not start again.
    pub(super) const fn rereads(self) -> bool {
        !matches!(self, Self::Digest)
    }

    /// Does a later server find what an earlier one left?
    /// Not under `digest`: what was hashed could not be taken up again, since a hash under way is not written down.
    pub(super) const fn remembers(self) -> bool {
        !matches!(self, Self::Digest)
    }
}

/// How a client comes to the mock.
#[derive(Clone, Copy)]
pub(crate) enum Way {
    InProcess,
    Tcp,
    Tls,
}

/// A store and a way to it.
pub(crate) struct Arm {
    pub(super) keeps: Keeps,
    way: Way,
    dir: TempDir,
    /// What lives as long as this process.
    store: Option<Arc<dyn Store>>,
}

impl Arm {
    pub(crate) fn new(keeps: Keeps, way: Way) -> Self {
        let store: Option<Arc<dyn Store>> = match keeps {
            Keeps::Memory => Some(MemoryStore::new()),
            Keeps::Spilled => Some(MemoryStore::with_ceiling(100_000)),
            Keeps::Disk => None,
            Keeps::Digest => Some(DigestStore::new()),
        };
        Self { keeps, way, dir: tempfile::tempdir().unwrap(), store }
    }

    /// A mock on whatever an earlier one left.
    pub(super) async fn start(&self) -> Served {
        self.start_with(config()).await
    }

    pub(super) async fn start_with(&self, config: Config) -> Served {
        let store = match &self.store {
            Some(store) => Arc::clone(store),
            None => DiskStore::open(self.dir.path()).unwrap(),
        };
        match self.way {
            Way::InProcess => Served::InProcess(Mock::open(config, store).await.unwrap(), Mutex::default()),
            Way::Tcp => Served::Listening(VodMock::start_on(config, store).await.unwrap()),
            Way::Tls => {
                let config = Config { tls: Some(Tls::default()), ..config };
                Served::Listening(VodMock::start_on(config, store).await.unwrap())
            }
        }
    }
}

/// A mock that can be talked to.
pub(super) enum Served {
    Listening(VodMock),
    /// With the connections that it was handed.
    InProcess(Arc<Mock>, Mutex<JoinSet<()>>),
}

impl Served {
    pub(super) async fn uploads(&self) -> Vec<UploadView> {
        match self {
            Self::Listening(mock) => mock.uploads().await,
            Self::InProcess(mock, _) => mock.uploads().await,
        }
    }

    pub(super) async fn upload(&self, file_sha1: Sha1) -> Option<UploadView> {
        self.uploads().await.into_iter().find(|upload| upload.file_sha1 == file_sha1)
    }

    pub(super) fn exchanges(&self) -> Vec<Exchange> {
        match self {
            Self::Listening(mock) => mock.exchanges().into_iter().map(Arc::unwrap_or_clone).collect(),
            Self::InProcess(mock, _) => mock.exchanges(),
        }
    }

    /// Stops it and waits until it has let go of its store.
    pub(super) async fn stop(self) {
        match self {
            Self::Listening(mock) => mock.stop().await,
            Self::InProcess(mock, connections) => {
                mock.settled().await;
                mock.stop();
                connections.into_inner().unwrap().shutdown().await;
            }
        }
    }
}

impl Peer for Served {
    async fn connect(&self) -> io::Result<Box<dyn Stream>> {
        match self {
            Self::Listening(mock) => mock.connect().await,
            Self::InProcess(mock, connections) => {
                let (client, server) = tokio::io::duplex(64 << 10);
                let mock = Arc::clone(mock);
                connections.lock().unwrap().spawn(async move { mock.connection(Pipe(server)).await });
                Ok(Box::new(client))
            }
        }
    }
}

/// The mock's end of a pipe in memory.
struct Pipe(DuplexStream);

impl Transport for Pipe {
    fn reset_on_drop(&mut self) {}
}

impl AsyncRead for Pipe {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl AsyncWrite for Pipe {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

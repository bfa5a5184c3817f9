//! A mock in a test: one line, a random port, gone when it is dropped.

use std::{net::Ipv4Addr, sync::Arc};

use tokio::task::JoinHandle;
use vod_proto::{Exchange, Sha1, lint::Findings};
use vod_serve::Port;

use crate::{AdminPlace, Config, Delivery, MemoryStore, Mock, OpenError, Store, Tls, UploadView};

/// A mock that listens on a random port of loopback for as long as it lives.
pub struct VodMock {
    mock: Arc<Mock>,
    endpoint: String,
    admin_endpoint: Option<String>,
    serving: JoinHandle<()>,
}

impl VodMock {
    /// Starts a mock with the demo account, in memory.
    ///
    /// # Panics
    /// If loopback has no free port. Where that must be handled, use [`start_with`](Self::start_with).
    pub async fn start() -> Self {
        match Self::start_with(Config::default()).await {
            Ok(mock) => mock,
            Err(error) => panic!("a mock with default settings could not be started: {error}"),
        }
    }

    /// Starts a mock like [`start`](Self::start) that speaks TLS. Its clients must trust [`ca_pem`](Self::ca_pem), and
    /// may call it `localhost` or by any host of the service.
    ///
    /// ```
    /// # tokio::runtime::Runtime::new().unwrap().block_on(async {
    /// let mock = vod_mock::VodMock::start_tls().await;
    /// assert!(mock.endpoint().starts_with("https://127.0.0.1:"));
    /// assert!(mock.ca_pem().unwrap().starts_with("-----BEGIN CERTIFICATE-----"));
    /// # });
    /// ```
    ///
    /// # Panics
    /// Like [`start`](Self::start).
    pub async fn start_tls() -> Self {
        match Self::start_with(Config { tls: Some(Tls::default()), ..Config::default() }).await {
            Ok(mock) => mock,
            Err(error) => panic!("a mock with default settings could not be started: {error}"),
        }
    }

    /// Starts a mock in memory that behaves as `config` says.
    ///
    /// # Errors
    /// If the configuration cannot be used, or loopback has no free port.
    pub async fn start_with(config: Config) -> Result<Self, OpenError> {
        Self::start_on(config, MemoryStore::new()).await
    }

    /// Starts a mock on a store, and takes up what that holds.
    ///
    /// # Errors
    /// If the configuration or the store cannot be used, or loopback has no free port.
    pub async fn start_on(config: Config, store: Arc<dyn Store>) -> Result<Self, OpenError> {
        let place = config.admin.place;
        let mock = Mock::open(config, store).await?;
        let port = Port::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let admin = match place {
            AdminPlace::Apart => Some(Port::bind((Ipv4Addr::LOCALHOST, 0)).await?),
            AdminPlace::Shared | AdminPlace::Nowhere => None,
        };
        let scheme = if mock.ca_pem().is_some() { "https" } else { "http" };
        let endpoint = format!("{scheme}://{}", port.addr());
        let admin_endpoint = match (place, &admin) {
            (AdminPlace::Nowhere, _) => None,
            (_, Some(admin)) => Some(format!("http://{}", admin.addr())),
            (_, None) => Some(endpoint.clone()),
        };
        let serving = Arc::clone(&mock);
        let serving = tokio::spawn(async move {
            serving.serve_both(port, admin).await;
        });
        Ok(Self { mock, endpoint, admin_endpoint, serving })
    }

    /// Where it listens, such as `http://127.0.0.1:41873`; `https` where it speaks TLS.
    #[must_use]
    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// Where the admin API is, such as `http://127.0.0.1:41873`, to be followed by `/__vod/`; none where it is nowhere.
    #[must_use]
    pub fn admin_endpoint(&self) -> Option<&str> {
        self.admin_endpoint.as_deref()
    }

    /// The certificate that clients must trust, in PEM; none where no TLS is spoken.
    #[must_use]
    pub fn ca_pem(&self) -> Option<&str> {
        self.mock.ca_pem()
    }

    /// The evidence so far. Whoever has an answer finds its exchange here.
    #[must_use]
    pub fn exchanges(&self) -> Vec<Exchange> {
        self.mock.exchanges()
    }

    /// The upload of a file, if there is one. Of several accounts, the first by name; of two
    /// generations, the newer.
    pub async fn upload(&self, file_sha1: Sha1) -> Option<UploadView> {
        self.mock.uploads().await.into_iter().find(|upload| upload.file_sha1 == file_sha1)
    }

    /// Every upload, in order of account, generation and digest.
    pub async fn uploads(&self) -> Vec<UploadView> {
        self.mock.uploads().await
    }

    /// Every callback to an application's own server, and what became of it.
    #[must_use]
    pub fn callbacks(&self) -> Vec<Delivery> {
        self.mock.callbacks()
    }

    /// Stops it and waits until it has let go of its port and its store.
    pub async fn stop(mut self) {
        self.mock.settled().await;
        self.mock.stop();
        self.mock.read_out().await;
        self.serving.abort();
        // An aborted task ends in an error that says just that.
        let _ = (&mut self.serving).await;
    }

    /// The rules that clients broke so far, each with the exchanges that prove it, and what that comes to: where evidence
    /// was evicted, nothing found is no pass.
    #[must_use]
    pub fn findings(&self) -> Findings {
        self.mock.findings()
    }

    /// The planned faults that never struck.
    #[must_use]
    pub fn unfired(&self) -> Vec<String> {
        self.mock.unfired()
    }
}

impl Drop for VodMock {
    fn drop(&mut self) {
        self.mock.stop();
        self.serving.abort();
    }
}

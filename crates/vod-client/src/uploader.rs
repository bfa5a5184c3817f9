//! The uploader: what it is told, and what it is asked.

use std::{str::FromStr, sync::Arc, time::Duration};

use hyper_util::client::legacy::connect::HttpConnector;
use vod_proto::{FileFacts, PATH_V2, PATH_V3, SIGN_HOST, sign::SecretKey};

use crate::{
    clock::{self, Stopwatch, WallClock},
    core::RetryPolicy,
    driver,
    error::{ConfigError, SourceError, UploadError},
    event::Event,
    http::{Connect, Http, Patience},
    report::UploadReport,
    source::{Source, Work},
};

/// The key pair of an account. It has no `Debug`, so that it cannot be printed by accident.
#[derive(Clone)]
pub struct Credentials {
    pub(crate) secret_id: String,
    pub(crate) secret_key: SecretKey,
}

impl Credentials {
    /// Takes the public and the secret half.
    #[must_use]
    pub fn new(secret_id: impl Into<String>, secret_key: SecretKey) -> Self {
        Self { secret_id: secret_id.into(), secret_key }
    }
}

/// Where requests go: a host, and a port if it is not 80.
///
/// ```
/// use vod_client::Endpoint;
///
/// let endpoint: Endpoint = "http://127.0.0.1:8266".parse()?;
/// assert_eq!(endpoint.to_string(), "http://127.0.0.1:8266");
/// # Ok::<(), vod_client::ConfigError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    authority: ::http::uri::Authority,
}

impl Endpoint {
    /// The address of a request to this endpoint.
    pub(crate) fn uri(&self, path_and_query: &str) -> ::http::Uri {
        ::http::Uri::builder()
            .scheme(::http::uri::Scheme::HTTP)
            .authority(self.authority.clone())
            .path_and_query(path_and_query)
            .build()
            .expect("an authority and an encoded query make a URI")
    }
}

impl std::fmt::Display for Endpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "http://{}", self.authority)
    }
}

impl FromStr for Endpoint {
    type Err = ConfigError;

    fn from_str(text: &str) -> Result<Self, ConfigError> {
        let wrong = |why: &str| ConfigError::Endpoint { text: text.to_owned(), why: why.to_owned() };
        let uri: ::http::Uri = text.parse().map_err(|_| wrong("expected a URL such as http://127.0.0.1:8266"))?;
        match uri.scheme_str() {
            Some("http") => {}
            Some(_) => return Err(wrong("this version supports http:// endpoints only")),
            None => return Err(wrong("expected a URL that begins with http://")),
        }
        let authority = uri.authority().filter(|authority| !authority.host().is_empty());
        let authority = authority.ok_or_else(|| wrong("expected a host"))?.clone();
        if authority.as_str().contains('@') {
            // What stands before the @ may be a password: it is not repeated.
            let text = format!("http://…@{}", authority.host());
            let why = "expected no user name: requests are signed with the account's key pair".to_owned();
            return Err(ConfigError::Endpoint { text, why });
        }
        if !matches!(uri.path(), "" | "/") || uri.query().is_some() {
            return Err(wrong("expected no path: the dialect chooses it"));
        }
        Ok(Self { authority })
    }
}

/// How requests look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Dialect {
    /// As the documents say: `InitUpload` and `FinishUpload` by GET, everything to `/v2/index.php`. The default.
    #[default]
    Documented,
    /// As public clients really do: everything by POST to `/v3/index.php`.
    Observed,
}

impl Dialect {
    /// The method of an action and the path of all.
    pub(crate) const fn request_line(self, action: vod_proto::Action) -> (&'static str, &'static str) {
        match self {
            Self::Documented => (action.documented_method(), PATH_V2),
            Self::Observed => ("POST", PATH_V3),
        }
    }
}

/// The largest grid that may be asked for: with the most parts in flight it is 4 GiB of memory.
const PART_SIZE_MAX: u64 = 64 << 20;
/// The most parts in flight. More connections than this get in each other's way on any link.
const PARALLEL_MAX: usize = 64;

/// How an upload is done.
///
/// ```
/// use vod_client::Options;
///
/// let options = Options { parallel: 8, ..Options::default() };
/// assert_eq!(options.part_size, 1_048_576);
/// ```
#[derive(Clone, Debug)]
pub struct Options {
    /// How requests look. Default [`Dialect::Documented`].
    pub dialect: Dialect,
    /// The grid to ask for, in bytes, 1 to 64 MiB; a resumed upload keeps the server's. Default 1 MiB: the largest that
    /// the documents allow, so the fewest requests.
    pub part_size: u64,
    /// How many parts are in flight, 1 to 64. Memory is this times the grid. Default 4: enough to hide a round trip.
    pub parallel: usize,
    /// When a failed request is sent again.
    pub retry: RetryPolicy,
    /// The host that is signed, whatever the endpoint. Default [`SIGN_HOST`].
    pub sign_host: String,
    /// What every jitter and nonce comes from. Default: drawn.
    pub seed: u64,
    /// Where reading and hashing is done. Default [`Work::Pool`].
    pub work: Work,
    /// How long a request may be without any byte moving, in either direction. Default 30 s: a slow link moves
    /// something in that time, a dead one nothing.
    pub stall_timeout: Duration,
    /// How long a connection may take. Default 10 s: three times the first retransmission, with some to spare.
    pub connect_timeout: Duration,
    /// How long an unused connection is kept. Default 15 s, so that the longest retry wait does not cost a connection;
    /// none keeps it until the upload ends.
    pub pool_idle_timeout: Option<Duration>,
    /// What time it is, for the `Timestamp` of a request. Default [`WallClock::system`].
    pub clock: WallClock,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            dialect: Dialect::default(),
            part_size: 1 << 20,
            parallel: 4,
            retry: RetryPolicy::default(),
            sign_host: SIGN_HOST.to_owned(),
            seed: clock::draw_seed(),
            work: Work::default(),
            stall_timeout: Duration::from_secs(30),
            connect_timeout: Duration::from_secs(10),
            pool_idle_timeout: Some(Duration::from_secs(15)),
            clock: WallClock::default(),
        }
    }
}

impl Options {
    fn check(&self) -> Result<(), ConfigError> {
        let wrong = |name, found| Err(ConfigError::Setting { name, found });
        if !(1..=PART_SIZE_MAX).contains(&self.part_size) {
            return wrong("part size", format!("{}: expected 1 to {PART_SIZE_MAX} bytes", self.part_size));
        }
        if !(1..=PARALLEL_MAX).contains(&self.parallel) {
            return wrong("parallel", format!("{}: expected 1 to {PARALLEL_MAX} parts in flight", self.parallel));
        }
        if self.retry.attempts == 0 {
            return wrong("attempts", "0: expected at least 1".to_owned());
        }
        Ok(())
    }
}

/// Uploads files to one endpoint with one key pair.
///
/// Each upload has its own connections, which end with it; nothing is kept between uploads, because the server knows
/// what it has. To stop an upload, drop its future; the next upload of the same file resumes it.
///
/// ```no_run
/// use vod_client::{Credentials, FileFacts, FileSource, Uploader};
/// use vod_proto::sign::SecretKey;
///
/// # async fn upload() -> Result<(), Box<dyn std::error::Error>> {
/// let credentials = Credentials::new("AKID…", SecretKey::new(std::env::var("VOD_SECRET_KEY")?));
/// let uploader = Uploader::new("http://127.0.0.1:8266".parse()?, credentials);
/// let report = uploader.upload(FileSource::open("video.mp4")?, FileFacts::from_path("video.mp4".as_ref())).await?;
/// println!("stored as {}", report.file_id);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Uploader<C = HttpConnector> {
    pub(crate) endpoint: Endpoint,
    pub(crate) credentials: Credentials,
    pub(crate) options: Options,
    connector: C,
}

/// The kernel's send buffer for each connection. What lies there counts as accepted: with the megabytes that Linux
/// would grow it to, a slow link drains longer than the watchdog waits. This still allows 5 MiB/s for each connection
/// at a round trip of 50 ms.
const SEND_BUFFER: usize = 256 * 1024;

impl Uploader<HttpConnector> {
    /// An uploader over TCP.
    #[must_use]
    pub fn new(endpoint: Endpoint, credentials: Credentials) -> Self {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        connector.set_send_buffer_size(Some(SEND_BUFFER));
        Self::with_connector(endpoint, credentials, connector)
    }
}

impl<C: Connect> Uploader<C> {
    /// An uploader over whatever the connector opens.
    #[must_use]
    pub fn with_connector(endpoint: Endpoint, credentials: Credentials, connector: C) -> Self {
        Self { endpoint, credentials, options: Options::default(), connector }
    }

    /// Sets how uploads are done.
    #[must_use]
    pub fn options(mut self, options: Options) -> Self {
        self.options = options;
        self
    }

    /// Uploads a source, or what the server lacks of it.
    ///
    /// # Errors
    /// With what failed, and whether the server may have stored the file nevertheless.
    pub async fn upload(&self, source: impl Source, facts: FileFacts) -> Result<UploadReport, UploadError> {
        self.upload_observed(source, facts, drop).await
    }

    /// The same, and tells what happens meanwhile. `observe` is called between requests: it must not block.
    ///
    /// # Errors
    /// With what failed, and whether the server may have stored the file nevertheless.
    pub async fn upload_observed(
        &self,
        source: impl Source,
        facts: FileFacts,
        observe: impl FnMut(Event) + Send,
    ) -> Result<UploadReport, UploadError> {
        let watch = Stopwatch::start();
        self.options
            .check()
            .and_then(|()| facts.check().map_err(|violation| ConfigError::Facts(violation.message)))
            .map_err(|error| UploadError::early(error, watch.elapsed()))?;
        if source.is_empty() {
            return Err(UploadError::early(SourceError::Empty, watch.elapsed()));
        }
        let patience = Patience {
            connect: self.options.connect_timeout,
            stall: self.options.stall_timeout,
            pool_idle: self.options.pool_idle_timeout,
        };
        let http = Http::new(self.connector.clone(), patience);
        driver::run(self, &http, Arc::new(source), &facts, watch, observe).await
    }
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::*;

    #[track_caller]
    fn check(text: &str, expected: Expect) {
        let shown = match text.parse::<Endpoint>() {
            Ok(endpoint) => endpoint.to_string(),
            Err(error) => format!("error: {error}"),
        };
        expected.assert_eq(&shown);
    }

    #[test]
    fn endpoints() {
        check("http://127.0.0.1:8266", expect!["http://127.0.0.1:8266"]);
        check("http://vod2.qcloud.com/", expect!["http://vod2.qcloud.com"]);
        check("http://[::1]:80", expect!["http://[::1]:80"]);
        check(
            "https://vod2.qcloud.com",
            expect![[r#"error: endpoint "https://vod2.qcloud.com": this version supports http:// endpoints only"#]],
        );
        check(
            "127.0.0.1:8266",
            expect![[r#"error: endpoint "127.0.0.1:8266": expected a URL that begins with http://"#]],
        );
        check(
            "http://host/v2/index.php",
            expect![[r#"error: endpoint "http://host/v2/index.php": expected no path: the dialect chooses it"#]],
        );
        check(
            "http://me:secret@host",
            expect![[
                r#"error: endpoint "http://…@host": expected no user name: requests are signed with the account's key pair"#
            ]],
        );
        check("http://", expect![[r#"error: endpoint "http://": expected a URL such as http://127.0.0.1:8266"#]]);
        check("", expect![[r#"error: endpoint "": expected a URL such as http://127.0.0.1:8266"#]]);
    }

    #[test]
    fn settings_out_of_range_are_named() {
        let wrong = |options: Options| options.check().unwrap_err().to_string();
        let good = Options::default();
        expect!["parallel is 65: expected 1 to 64 parts in flight"]
            .assert_eq(&wrong(Options { parallel: 65, ..good.clone() }));
        expect!["part size is 0: expected 1 to 67108864 bytes"].assert_eq(&wrong(Options { part_size: 0, ..good }));
    }
}

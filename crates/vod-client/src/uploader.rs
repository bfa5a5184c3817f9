//! The uploader: what it is told, and what it is asked.

use std::{path::PathBuf, str::FromStr, sync::Arc, time::Duration};

use hyper_util::client::legacy::connect::HttpConnector;
use vod_proto::{
    Action, Family, FileFacts, LEGACY_SIGN_HOST, Limits, NextPart, PartSpan, Query, Request, SIGN_HOST, Sha1,
    sign::SecretKey,
};

use crate::{
    clock::{self, Stopwatch, WallClock},
    connection::{Headers, Proxies, Trust, port_can_be_read},
    core::{PART_SIZE_MAX, RetryPolicy},
    driver,
    error::{ConfigError, SourceError, UploadError},
    event::Event,
    http::{Connect, Http, Shared},
    report::UploadReport,
    source::{Source, Work},
};

/// What uploads are signed with. It has no `Debug`, so that it cannot be printed by accident.
#[derive(Clone)]
pub struct Credentials(pub(crate) Proof);

#[derive(Clone)]
pub(crate) enum Proof {
    /// With the token that belongs to it, if it is a temporary one.
    KeyPair {
        secret_id: String,
        secret_key: SecretKey,
        token: Option<String>,
    },
    Token(String),
}

impl Credentials {
    /// An account's key pair: its public and its secret half.
    ///
    /// In the UGC family one upload signature is made from it when an upload starts, and kept to its end.
    #[must_use]
    pub fn new(secret_id: impl Into<String>, secret_key: SecretKey) -> Self {
        Self(Proof::KeyPair { secret_id: secret_id.into(), secret_key, token: None })
    }

    /// A temporary key pair, and the token that belongs to it: a secret, which goes with every request as `Token` and is
    /// signed like the rest. In the UGC family, whose upload signatures have no field for it, nothing is sent.
    ///
    /// Source: `docs/protocol.md`, *Parameters*.
    #[must_use]
    pub fn temporary(secret_id: impl Into<String>, secret_key: SecretKey, token: impl Into<String>) -> Self {
        Self(Proof::KeyPair { secret_id: secret_id.into(), secret_key, token: Some(token.into()) })
    }

    /// An upload signature that was made elsewhere, for the UGC family alone.
    ///
    /// What it says of the file is what the server hears; the [`FileFacts`] of the upload are not.
    #[must_use]
    pub fn token(token: impl Into<String>) -> Self {
        Self(Proof::Token(token.into()))
    }
}

/// Where requests go: a host, and a port if it is not the usual one, 80 for `http://` and 443 for `https://`.
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
    scheme: ::http::uri::Scheme,
    authority: ::http::uri::Authority,
}

impl Endpoint {
    /// The address of a request to this endpoint.
    pub(crate) fn uri(&self, path_and_query: &str) -> ::http::Uri {
        ::http::Uri::builder()
            .scheme(self.scheme.clone())
            .authority(self.authority.clone())
            .path_and_query(path_and_query)
            .build()
            .expect("an authority and an encoded query make a URI")
    }
}

impl std::fmt::Display for Endpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}://{}", self.scheme, self.authority)
    }
}

impl FromStr for Endpoint {
    type Err = ConfigError;

    fn from_str(text: &str) -> Result<Self, ConfigError> {
        let wrong = |why: &str| ConfigError::Endpoint { text: text.to_owned(), why: why.to_owned() };
        let uri: ::http::Uri = text.parse().map_err(|_| wrong("expected a URL such as http://127.0.0.1:8266"))?;
        let scheme = match uri.scheme() {
            Some(scheme) if matches!(scheme.as_str(), "http" | "https") => scheme.clone(),
            _ => return Err(wrong("expected a URL that begins with http:// or https://")),
        };
        let authority = uri.authority().filter(|authority| !authority.host().is_empty());
        let authority = authority.ok_or_else(|| wrong("expected a host"))?.clone();
        if authority.as_str().contains('@') {
            // What stands before the @ may be a password: it is not repeated.
            let text = format!("{scheme}://…@{}", authority.host());
            let why = "expected no user name: requests are signed with the account's key pair".to_owned();
            return Err(ConfigError::Endpoint { text, why });
        }
        if !port_can_be_read(&authority) {
            return Err(wrong("expected a number from 1 to 65535 after the colon: a port"));
        }
        if !matches!(uri.path(), "" | "/") || uri.query().is_some() {
            return Err(wrong("expected no path: the dialect chooses it"));
        }
        Ok(Self { scheme, authority })
    }
}

/// How requests look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Dialect {
    /// As the documents say: by GET what has no body, everything to `/v2/index.php`, an upload signature as `signature`
    /// and nothing beside it. The default.
    #[default]
    Documented,
    /// As public clients really do: everything by POST to `/v3/index.php`, an upload signature as `Signature` beside
    /// the parameters that every other request carries. Clients of the legacy family never left `/v2/index.php`.
    Observed,
}

/// The most parts in flight. More connections than this get in each other's way on any link.
pub(crate) const PARALLEL_MAX: usize = 64;

/// The longest life of an upload signature.
const TOKEN_LIFE_MAX: Duration = Duration::from_secs(90 * 86_400);

/// How an upload is done.
///
/// ```
/// use vod_client::Options;
///
/// let options = Options { parallel: 8, ..Options::default() };
/// assert_eq!(options.part_size(), 1_048_576);
/// ```
#[derive(Clone, Debug)]
pub struct Options {
    /// Which calls an upload is made of. Default [`Family::Server`].
    pub family: Family,
    /// How requests look. Default [`Dialect::Documented`].
    pub dialect: Dialect,
    /// The grid to ask for, in bytes, 1 to 64 MiB; a resumed upload keeps the server's. In the legacy family, the size
    /// of the parts behind the first, whose size is fixed. Default none: the largest that the documents allow, so the
    /// fewest requests; 1 MiB, and 5 MiB in the legacy family.
    pub part_size: Option<u64>,
    /// How many parts are in flight, 1 to 64. Memory is this times the grid. Default 4: enough to hide a round trip.
    /// The legacy family ignores it: there the reply to a part says which one is next.
    pub parallel: usize,
    /// When a failed request is sent again.
    pub retry: RetryPolicy,
    /// The host that is signed, whatever the endpoint. Default none: by family, [`SIGN_HOST`] or
    /// [`LEGACY_SIGN_HOST`]. An upload signature is for no host.
    pub sign_host: Option<String>,
    /// How long an upload signature holds that is made here, 1 s to 90 days. Default 2 days, as long as the service
    /// keeps what was begun: one that ends sooner may stop an upload that could go on, one that ends later is only
    /// longer of use to a thief.
    pub token_life: Duration,
    /// What every jitter and nonce comes from. Default: drawn.
    pub seed: u64,
    /// Where reading and hashing is done. Default [`Work::Pool`].
    pub work: Work,
    /// How long a request may be without any byte moving, in either direction. Default 30 s: a slow link moves
    /// something in that time, a dead one nothing. Then the attempt fails with
    /// [`TransportError::Stalled`](crate::TransportError::Stalled), and may be made again. How long a part takes
    /// altogether has no limit: at 32 KiB/s one of 1 MiB is left alone for all its 32 s.
    ///
    /// A byte of a part moves when the system takes it, of which some 700 KiB may be under way at both ends together,
    /// and the head of a reply when all of it is there. So the slowest link that is left alone for sure makes 24 KiB/s,
    /// and an answer that takes the server longer than this is asked about.
    ///
    /// What a proxy has taken in counts as moved: behind one that swallows whole parts and passes them on over a slow
    /// link, allow for the time that a part takes there.
    pub stall_timeout: Duration,
    /// How long a connection may take, with what a proxy and the handshakes of TLS take of it. Default 10 s: three times
    /// the first retransmission, with some to spare.
    pub connect_timeout: Duration,
    /// How long an unused connection is kept. Default 15 s, so that the longest retry wait does not cost a connection;
    /// none keeps it as long as the uploader, or a clone of it.
    pub pool_idle_timeout: Option<Duration>,
    /// Whose certificates are believed. Default [`Trust::system`].
    pub trust: Trust,
    /// Through which proxy the endpoint is reached. Default none; [`Proxies::from_env`] asks the environment.
    pub proxies: Proxies,
    /// What goes with every request beside the protocol's own headers. Default nothing.
    pub headers: Headers,
    /// Where digests of files are kept that were read once, so that whoever resumes an upload need not read the file
    /// again. Default none: a library leaves nothing behind that nobody asked for.
    pub digest_cache: Option<PathBuf>,
    /// What time it is, for the `Timestamp` of a request. Default [`WallClock::system`].
    pub clock: WallClock,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            family: Family::default(),
            dialect: Dialect::default(),
            part_size: None,
            parallel: 4,
            retry: RetryPolicy::default(),
            sign_host: None,
            token_life: Duration::from_secs(2 * 86_400),
            seed: clock::draw_seed(),
            work: Work::default(),
            stall_timeout: Duration::from_secs(30),
            connect_timeout: Duration::from_secs(10),
            pool_idle_timeout: Some(Duration::from_secs(15)),
            trust: Trust::default(),
            proxies: Proxies::default(),
            headers: Headers::default(),
            digest_cache: None,
            clock: WallClock::default(),
        }
    }
}

impl Options {
    /// The grid that is asked for, in bytes.
    #[must_use]
    pub fn part_size(&self) -> u64 {
        let limits = Limits::default();
        self.part_size.unwrap_or(match self.family {
            Family::Server | Family::Ugc => limits.part_size_max,
            Family::Legacy => limits.legacy_part_max,
        })
    }

    /// The grid of the parts whose MD5s are announced, in bytes. No request of the legacy family says what MD5 a part has.
    pub(crate) fn md5_grid(&self) -> Option<u64> {
        (self.family != Family::Legacy).then(|| self.part_size())
    }

    /// The host that is signed.
    #[must_use]
    pub fn sign_host(&self) -> &str {
        self.sign_host.as_deref().unwrap_or(match self.family {
            Family::Server | Family::Ugc => SIGN_HOST,
            Family::Legacy => LEGACY_SIGN_HOST,
        })
    }

    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        let wrong = |name, found| Err(ConfigError::Setting { name, found });
        if !(1..=PART_SIZE_MAX).contains(&self.part_size()) {
            return wrong("part size", format!("{}: expected 1 to {PART_SIZE_MAX} bytes", self.part_size()));
        }
        if !(1..=PARALLEL_MAX).contains(&self.parallel) {
            return wrong("parallel", format!("{}: expected 1 to {PARALLEL_MAX} parts in flight", self.parallel));
        }
        if self.retry.attempts == 0 {
            return wrong("attempts", "0: expected at least 1".to_owned());
        }
        if self.retry.failed_parts == 0 {
            return wrong("failed parts", "0: expected at least 1 before no further one is begun".to_owned());
        }
        if !(Duration::from_secs(1)..=TOKEN_LIFE_MAX).contains(&self.token_life) {
            let found = format!("{} s: expected 1 s to 90 days", self.token_life.as_secs_f64());
            return wrong("the life of the upload signature", found);
        }
        Ok(())
    }
}

/// Uploads files to one endpoint, signed with one key pair or upload signature.
///
/// All uploads of an uploader and of its clones share their connections, so that a thousand small files do not open a
/// thousand of them; but not across runtimes, because a connection lives in the one it was opened in. Nothing else is
/// kept between uploads: the server knows what it has. To stop an upload, drop its future; the next upload of the same
/// file resumes it.
///
/// ```no_run
/// use vod_client::{Credentials, FileFacts, FileSource, SecretKey, Uploader};
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
    connections: Shared<C>,
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
        // TLS is spoken above it.
        connector.enforce_http(false);
        connector.set_nodelay(true);
        connector.set_send_buffer_size(Some(SEND_BUFFER));
        Self::with_connector(endpoint, credentials, connector)
    }
}

impl<C: Connect> Uploader<C> {
    /// An uploader over whatever the connector opens. Proxies are asked, and TLS is spoken, on top of that: the connector
    /// is called with the URL of whoever comes next, the server or its proxy.
    #[must_use]
    pub fn with_connector(endpoint: Endpoint, credentials: Credentials, connector: C) -> Self {
        Self { endpoint, credentials, options: Options::default(), connector, connections: Shared::default() }
    }

    /// Sets how uploads are done. They get connections of their own, because these may lead another way.
    #[must_use]
    pub fn options(mut self, options: Options) -> Self {
        #[cfg(feature = "mutants")]
        let options = crate::mutant::options(options);
        self.options = options;
        self.connections = Shared::default();
        self
    }

    /// Sets [`Options::seed`] alone, and keeps the connections: for uploads side by side, which should not draw the same
    /// nonces and wait the same jitter.
    #[must_use]
    pub fn seed(mut self, seed: u64) -> Self {
        self.options.seed = seed;
        self
    }

    /// Uploads a source, or what the server lacks of it. An upload signature must be for this very source and still
    /// hold: otherwise nothing is sent.
    ///
    /// # Errors
    /// With what failed, and whether the server may have stored the file nevertheless.
    pub async fn upload(&self, source: impl Source, facts: FileFacts) -> Result<UploadReport, UploadError> {
        self.upload_observed(source, facts, drop).await
    }

    /// The same, and tells what happens meanwhile. `observe` is called between requests: it must not block. To wait for
    /// events elsewhere, hand it [`Events::channel`](crate::Events::channel).
    ///
    /// # Errors
    /// With what failed, and whether the server may have stored the file nevertheless.
    pub async fn upload_observed(
        &self,
        source: impl Source,
        facts: FileFacts,
        mut observe: impl FnMut(Event) + Send,
    ) -> Result<UploadReport, UploadError> {
        let result = self.run(source, facts, &mut observe).await;
        observe(Event::ended(&result));
        result
    }

    async fn run(
        &self,
        source: impl Source,
        facts: FileFacts,
        observe: impl FnMut(Event) + Send,
    ) -> Result<UploadReport, UploadError> {
        let watch = Stopwatch::start();
        self.check(&facts).map_err(|error| UploadError::early(error, watch.elapsed()))?;
        if source.is_empty() {
            return Err(UploadError::early(SourceError::Empty, watch.elapsed()));
        }
        let http = self
            .connections
            .of_this_runtime(|| Http::new(self.connector.clone(), &self.endpoint, &self.options))
            .map_err(|error| UploadError::early(error, watch.elapsed()))?;
        driver::run(self, &http, Arc::new(source), &facts, watch, observe).await
    }

    /// All that can be said of an upload before its file is looked at.
    pub(crate) fn check(&self, facts: &FileFacts) -> Result<(), ConfigError> {
        self.options.check()?;
        check_places(self.options.family, facts)?;
        match &self.credentials.0 {
            Proof::KeyPair { .. } => check_facts(self.options.family, facts),
            // The signature says what the server hears of the file.
            Proof::Token(_) => Ok(()),
        }
    }
}

/// Has the family a place for all of these?
fn check_places(family: Family, facts: &FileFacts) -> Result<(), ConfigError> {
    let homeless = |what: &str, home: &str| {
        Err(ConfigError::Facts(format!("the {family} family has no {what}: only the {home} family does")))
    };
    if family != Family::Server && facts.cover_of.is_some() {
        return homeless("covers", "server");
    }
    if family != Family::Legacy && facts.notify_url.is_some() {
        return homeless("notify URL", "legacy");
    }
    Ok(())
}

/// Would a server of the family take these?
pub(crate) fn check_facts(family: Family, facts: &FileFacts) -> Result<(), ConfigError> {
    let refused = |violation: vod_proto::request::Violation| ConfigError::Facts(violation.message);
    if family == Family::Legacy {
        // As the server will read them, of a file that is one small part.
        let span = PartSpan { offset: 0, len: 1 };
        let next = NextPart { facts: facts.clone(), file_sha1: Sha1::of(b""), file_size: 1, span };
        let query: Query = Request::Next(next).to_query(family);
        return Request::from_query(Action::MultipartUploadVodFile, &query, &Limits::default())
            .map(drop)
            .map_err(refused);
    }
    facts.check().map_err(refused)
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
        check("https://vod2.qcloud.com", expect!["https://vod2.qcloud.com"]);
        check(
            "ftp://host",
            expect![[r#"error: endpoint "ftp://host": expected a URL that begins with http:// or https://"#]],
        );
        check(
            "http://host:https",
            expect![[
                r#"error: endpoint "http://host:https": expected a number from 1 to 65535 after the colon: a port"#
            ]],
        );
        check(
            "127.0.0.1:8266",
            expect![[r#"error: endpoint "127.0.0.1:8266": expected a URL that begins with http:// or https://"#]],
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
        expect!["part size is 0: expected 1 to 67108864 bytes"]
            .assert_eq(&wrong(Options { part_size: Some(0), ..good.clone() }));
        expect!["the life of the upload signature is 7776001 s: expected 1 s to 90 days"]
            .assert_eq(&wrong(Options { token_life: Duration::from_secs(90 * 86_400 + 1), ..good }));
    }

    #[test]
    fn defaults_are_those_of_the_family() {
        let check = |family, part_size, host| {
            let options = Options { family, ..Options::default() };
            assert_eq!((options.part_size(), options.sign_host()), (part_size, host), "{family}");
        };
        check(Family::Server, 1_048_576, "vod2.qcloud.com");
        check(Family::Ugc, 1_048_576, "vod2.qcloud.com");
        check(Family::Legacy, 5_242_880, "vod.qcloud.com");
    }

    #[test]
    fn what_a_family_has_no_place_for_is_refused() {
        let named = FileFacts { name: "n".to_owned(), file_type: "mp4".to_owned(), ..FileFacts::default() };
        let check = |family, facts: &FileFacts, expected: Expect| {
            let checked = check_places(family, facts).and_then(|()| check_facts(family, facts));
            let shown = checked.map_or_else(|error| error.to_string(), |()| "ok".to_owned());
            expected.assert_eq(&shown);
        };
        let cover = FileFacts { cover_of: Some("7".to_owned()), ..named.clone() };
        check(Family::Server, &cover, expect!["ok"]);
        check(Family::Ugc, &cover, expect!["the ugc family has no covers: only the server family does"]);
        check(Family::Legacy, &cover, expect!["the legacy family has no covers: only the server family does"]);
        let notified = |url: &str| FileFacts { notify_url: Some(url.to_owned()), ..named.clone() };
        let good = notified("http://a.example/b");
        check(Family::Server, &good, expect!["the server family has no notify URL: only the legacy family does"]);
        check(Family::Legacy, &good, expect!["ok"]);
        check(
            Family::Legacy,
            &notified("nowhere"),
            expect![[r#"parameter notifyUrl is "nowhere": expected an http or https URL"#]],
        );
    }
}

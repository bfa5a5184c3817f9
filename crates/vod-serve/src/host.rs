//! What stands behind the rim: the mind of a server.

use std::future::Future;

use bytes::Bytes;
use http::HeaderMap;
use http_body_util::combinators::UnsyncBoxBody;
use hyper::body::Incoming;
use vod_proto::{PartSpan, Query, Sha1, exchange::ReplyRecord};

use crate::body::{Body, BodyError};

/// The head of a request.
#[derive(Debug)]
pub struct Head {
    /// The HTTP method, in capitals.
    pub method: String,
    /// The raw request target.
    pub target: String,
    /// Its path.
    pub path: String,
    /// Its parameters.
    pub query: Query,
    /// The `Host` header, or an empty text.
    pub host: String,
    /// All headers.
    pub headers: HeaderMap,
}

impl Head {
    pub(crate) fn of(request: &http::Request<Incoming>) -> Self {
        let target = request.uri().to_string();
        let (path, query) = Query::split_target(&target);
        let header = request.headers().get(http::header::HOST);
        Self {
            method: request.method().as_str().to_owned(),
            path: path.to_owned(),
            query,
            host: header.map(|host| String::from_utf8_lossy(host.as_bytes()).into_owned()).unwrap_or_default(),
            headers: request.headers().clone(),
            target,
        }
    }

    /// The length the request announces for its body; none where it is chunked or says nothing.
    #[must_use]
    pub fn content_length(&self) -> Option<u64> {
        self.headers.get(http::header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
    }
}

/// Who and what a request is about, as far as its head tells.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Subject {
    /// Whose upload it is, by name.
    pub account: Option<String>,
    /// The value of `Action`, also an unknown one.
    pub action: Option<String>,
    /// The upload.
    pub file_sha1: Option<Sha1>,
    /// The part.
    pub part: Option<PartSpan>,
    /// The part's number on the session's grid, from 1.
    pub part_number: Option<u64>,
}

/// What a fault wants of the commit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Effects {
    /// Answer as if the part were kept, and do not keep it.
    pub drop_part: bool,
}

/// What is answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReplyOut {
    /// The HTTP status.
    pub status: u16,
    /// Headers beside those of HTTP itself; names in lower case.
    pub headers: Vec<(String, String)>,
    /// The text of the body.
    pub body: String,
}

impl ReplyOut {
    /// An answer of the protocol: status 200, whatever it says.
    #[must_use]
    pub fn json(body: String) -> Self {
        Self { status: 200, headers: vec![("content-type".to_owned(), "application/json".to_owned())], body }
    }

    pub(crate) fn record(&self) -> ReplyRecord {
        ReplyRecord { status: self.status, headers: self.headers.clone(), body: self.body.clone() }
    }
}

/// The body of an answer that is no part of the protocol, such as a page of the admin API.
pub type AsideBody = UnsyncBoxBody<Bytes, Box<dyn std::error::Error + Send + Sync>>;

/// A server's mind: what it makes of a request.
///
/// The rim calls [`subject`](Host::subject), [`read`](Host::read) and [`commit`](Host::commit) in this order,
/// and asks the fault engine between them.
/// A request may end after any of them; nothing may have an effect before `commit`.
pub trait Host: Send + Sync + 'static {
    /// What a read request waits as until it is committed.
    type Staged: Send;

    /// Who and what the request is about.
    fn subject(&self, head: &Head) -> impl Future<Output = Subject> + Send;

    /// Takes in the body, without any effect that anyone can see.
    ///
    /// A refusal is staged like anything else: what is left of the body is then read and thrown away by the rim,
    /// because a reply that comes while the client still sends is lost more often than not.
    ///
    /// # Errors
    /// Passes on what went wrong with the body.
    fn read(
        &self,
        head: &Head,
        subject: &Subject,
        body: &mut Body,
    ) -> impl Future<Output = Result<Self::Staged, BodyError>> + Send;

    /// Makes it so, and says what to answer.
    fn commit(&self, staged: Self::Staged, effects: Effects) -> impl Future<Output = ReplyOut> + Send;

    /// Is this path served beside the protocol, without faults and without evidence?
    fn is_aside(&self, path: &str) -> bool;

    /// Answers a request beside the protocol.
    fn aside(&self, request: http::Request<Incoming>) -> impl Future<Output = http::Response<AsideBody>> + Send;
}

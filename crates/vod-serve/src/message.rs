//! What passes between the rim and the mind behind it.

use std::{borrow::Cow, sync::Arc};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, header, request::Parts, uri::PathAndQuery};
use vod_proto::{Action, PartSpan, Query, Sha1};

use crate::fault::ListLie;

/// The head of a request.
#[derive(Debug)]
pub struct Head {
    /// The HTTP method, in capitals.
    pub method: Method,
    target: PathAndQuery,
    /// The parameters of its target.
    pub query: Query,
    /// All headers.
    pub headers: HeaderMap,
    /// Did it come over TLS?
    pub secure: bool,
}

impl Head {
    pub(crate) fn of(Parts { method, uri, headers, .. }: Parts, secure: bool) -> Self {
        // A request sent as if to a proxy names scheme and host, and perhaps a password: only what follows matters.
        let target = uri.into_parts().path_and_query.unwrap_or_else(|| PathAndQuery::from_static("/"));
        let query = target.query().map(Query::parse).unwrap_or_default();
        Self { method, target, query, headers, secure }
    }

    /// The raw request target: the path and, behind a `?`, the parameters.
    #[must_use]
    pub fn target(&self) -> &str {
        self.target.as_str()
    }

    /// The path of the target.
    #[must_use]
    pub fn path(&self) -> &str {
        self.target.path()
    }

    /// The `Host` header, or an empty text.
    #[must_use]
    pub fn host(&self) -> Cow<'_, str> {
        let host = self.headers.get(header::HOST);
        host.map(|host| text_of(host.as_bytes())).unwrap_or_default()
    }

    /// Is it a browser's question whether a page may send such a request?
    #[must_use]
    pub fn is_preflight(&self) -> bool {
        self.method == Method::OPTIONS
    }

    /// The length the request announces for its body; none where it is chunked or says nothing.
    #[must_use]
    pub fn content_length(&self) -> Option<u64> {
        self.headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
    }
}

/// Who and what a request is about, as far as its head tells.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Subject {
    /// Whose upload it is, by name.
    pub account: Option<Arc<str>>,
    /// The value of `Action`, also an unknown one; see [`action`].
    pub action: Option<Cow<'static, str>>,
    /// The upload.
    pub file_sha1: Option<Sha1>,
    /// The part.
    pub part: Option<PartSpan>,
    /// The part's number on the session's grid, from 1.
    pub part_number: Option<u64>,
    /// It only asks whether the request proper may be sent: no fault strikes it.
    pub preflight: bool,
}

/// What should be text, as text. Most of it is.
pub(crate) fn text_of(bytes: &[u8]) -> Cow<'_, str> {
    str::from_utf8(bytes).map_or_else(|_| String::from_utf8_lossy(bytes), Cow::Borrowed)
}

/// A value of `Action`, with nothing allocated for a known one.
#[must_use]
pub fn action(name: &str) -> Cow<'static, str> {
    name.parse().map_or_else(|_| Cow::Owned(name.to_owned()), |action: Action| Cow::Borrowed(action.wire_name()))
}

/// What a fault wants of the commit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Effects {
    /// Answer as if the part were kept, and do not keep it.
    pub drop_part: bool,
    /// Change this byte of the part that is kept.
    pub corrupt: Option<u64>,
    /// Lie about the parts that are here.
    pub list: Option<ListLie>,
    /// Let the upload begin anew on this grid, in bytes.
    pub part_size: Option<u64>,
    /// Let the transcoding of the file that is stored fail with this code.
    pub transcode: Option<i64>,
}

/// What a request has that a fault could spoil.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stakes {
    /// The length of the part whose bytes will be kept, if one is.
    pub part: Option<u64>,
    /// A file may be stored.
    pub file: bool,
    /// The answer will list parts, at least one.
    pub list: bool,
    /// The answer may name a part size: the upload is begun or resumed.
    pub opening: bool,
    /// The upload has a session.
    pub session: bool,
    /// The length of the request's body, where it is announced; none where only its end tells.
    pub body: Option<u64>,
    /// The length of the reply's body, where there is one.
    pub reply: Option<u64>,
}

/// What a fault needs a request to have, to spoil it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Need {
    Nothing,
    /// A part that has this byte.
    PartByte(u64),
    File,
    List,
    Opening,
    Session,
    /// A reply whose body has this byte.
    ReplyByte(u64),
}

impl Stakes {
    /// Is there what a fault needs?
    pub(crate) fn have(self, need: Need) -> bool {
        match need {
            Need::Nothing => true,
            Need::PartByte(at) => self.part.is_some_and(|len| at < len),
            Need::File => self.file,
            Need::List => self.list,
            Need::Opening => self.opening,
            Need::Session => self.session,
            Need::ReplyByte(at) => self.reply.is_some_and(|len| at < len),
        }
    }
}

/// What came of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// What is answered.
    pub reply: ReplyOut,
    /// Was it done? After a refusal there is no effect that a fault could strike behind.
    pub accepted: bool,
}

/// What is answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReplyOut {
    /// The HTTP status.
    pub status: u16,
    /// Headers beside those of HTTP itself.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// The body: text, unless a fault made it.
    pub body: Bytes,
}

impl ReplyOut {
    /// An answer of the protocol: status 200, whatever it says.
    #[must_use]
    pub fn json(body: String) -> Self {
        let headers = vec![(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))];
        Self { status: 200, headers, body: body.into() }
    }
}

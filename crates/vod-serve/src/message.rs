//! What passes between the rim and the mind behind it.

use std::{
    borrow::Cow,
    pin::Pin,
    sync::{Arc, LazyLock},
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{
    HeaderMap, HeaderName, HeaderValue, Method, header,
    request::Parts,
    uri::{Authority, PathAndQuery, Scheme},
};
use vod_proto::{
    Action, Code, Family, PartSpan, Query, Sha1,
    exchange::{End, Mark, Unreached},
    reply::{self, InitReply, Reply},
};

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
    /// Whom the target names, of a request that was sent as if to a proxy. A `CONNECT` has no scheme.
    pub absolute: Option<(Option<Scheme>, Authority)>,
}

impl Head {
    /// Reads a head as it came.
    #[must_use]
    pub fn of(Parts { method, uri, headers, .. }: Parts, secure: bool) -> Self {
        // A request sent as if to a proxy names scheme and host, and perhaps a password: only what follows is the target.
        let uri = uri.into_parts();
        let absolute = uri.authority.map(|authority| (uri.scheme, authority));
        let target = uri.path_and_query.unwrap_or_else(|| PathAndQuery::from_static("/"));
        let query = target.query().map(Query::parse).unwrap_or_default();
        Self { method, target, query, headers, secure, absolute }
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
    /// The name of the host that was asked, without its port: the server fills it in where a fault may select by it.
    pub host: Option<Box<str>>,
}

/// What should be text, as text. Most of it is.
pub(crate) fn text_of(bytes: &[u8]) -> Cow<'_, str> {
    str::from_utf8(bytes).map_or_else(|_| String::from_utf8_lossy(bytes), Cow::Borrowed)
}

/// The name in a `Host` header, without the port behind it.
#[must_use]
pub fn host_name(host: &str) -> &str {
    // An address of IPv6 stands in brackets, and has colons of its own.
    let port = host.rfind(':').filter(|colon| host.rfind(']').is_none_or(|bracket| bracket < *colon));
    port.map_or(host, |colon| &host[..colon])
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

/// A reply as its family writes it. Most say nothing of their own: these are written once.
fn written(reply: &Reply, family: Family) -> Bytes {
    static COMMON: LazyLock<Vec<(Reply, Family, Bytes)>> = LazyLock::new(|| {
        let families = |reply: Reply| Family::ALL.map(|family| (reply.clone(), family, reply.to_json(family).into()));
        [Reply::Part, Reply::Init(InitReply::Fresh)].into_iter().flat_map(families).collect()
    });
    match COMMON.iter().find(|(common, of, _)| (common, *of) == (reply, family)) {
        Some((.., bytes)) => bytes.clone(),
        None => reply.to_json(family).into(),
    }
}

/// What came of a request.
pub struct Answer {
    /// What is answered.
    pub reply: ReplyOut,
    /// What comes behind the body of `reply`, where its end is not known yet. A reply that has one is as long as its
    /// `content-length` says, and chunked where none does.
    pub tail: Option<Pin<Box<dyn Tail>>>,
    /// Was it done? After a refusal there is no effect that a fault could strike behind.
    pub accepted: bool,
    /// Who wants to know whether it was given away.
    pub receipt: Option<Box<dyn Receipt>>,
}

/// Hears whether an answer was given away. Dropped without a word, it was not: a fault took its place or cut it off, or the
/// client was gone.
pub trait Receipt: Send + 'static {
    /// All of it was handed over to the transport.
    fn handed_over(self: Box<Self>);
}

/// What belongs to a reply beside its head and the beginning of its body.
#[derive(Default)]
pub(crate) struct Behind {
    pub(crate) tail: Option<Pin<Box<dyn Tail>>>,
    pub(crate) receipt: Option<Box<dyn Receipt>>,
}

/// The rest of a reply's body, as it comes.
pub trait Tail: Send + 'static {
    /// The next bytes, or none at the end. If there is no end, how the connection ends instead: it does so as soon as what came
    /// before is out.
    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, End>>>;

    /// What is known of the whole body so far, what stood before the tail included: it takes the text's place in the
    /// evidence. None where the text says all.
    fn mark(self: Pin<&Self>) -> Option<Mark>;

    /// How many bytes of the body came, where the mark is of what stands in their place: its secrets are gone. Default none.
    fn came(self: Pin<&Self>) -> Option<u64> {
        None
    }

    /// The whole body so far, where it is text, and short enough to stand in the evidence: then it does, instead of any mark.
    /// Default none.
    fn text(self: Pin<&Self>) -> Option<&[u8]> {
        None
    }
}

/// What is answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReplyOut {
    /// The HTTP status.
    pub status: u16,
    /// Headers beside those of HTTP itself.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    body: Bytes,
    /// The code in the body, where whoever wrote it knows.
    code: Option<Code>,
    unreached: Option<Unreached>,
}

impl ReplyOut {
    /// An answer of any kind.
    pub fn new(status: u16, headers: Vec<(HeaderName, HeaderValue)>, body: impl Into<Bytes>) -> Self {
        Self { status, headers, body: body.into(), code: None, unreached: None }
    }

    /// JSON, with status 200.
    pub fn json(body: impl Into<Bytes>) -> Self {
        Self::new(200, vec![(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))], body)
    }

    /// An answer of the protocol, as the family writes it: status 200, whatever it says.
    #[must_use]
    pub fn of(reply: &Reply, family: Family) -> Self {
        Self { code: Some(reply.code()), ..Self::json(written(reply, family)) }
    }

    /// The same, as a proxy's own word: it did not reach the server that was asked for.
    #[must_use]
    pub const fn of_a_proxy(mut self, why: Unreached) -> Self {
        self.unreached = Some(why);
        self
    }

    /// Why a proxy says this and not the server that was asked for, if it is so.
    #[must_use]
    pub const fn unreached(&self) -> Option<Unreached> {
        self.unreached
    }

    /// The body: text, unless a fault made it.
    #[must_use]
    pub const fn body(&self) -> &Bytes {
        &self.body
    }

    /// The code that the body has, if it is an answer of the protocol.
    #[must_use]
    pub fn code(&self) -> Option<Code> {
        self.code.or_else(|| reply::code_of(&text_of(&self.body)))
    }

    /// Cuts the body off behind so many bytes. Nothing happens if it is no longer than that.
    pub(crate) fn truncate(&mut self, len: usize) {
        if len < self.body.len() {
            self.body.truncate(len);
            self.code = None;
        }
    }

    pub(crate) fn into_parts(self) -> (u16, Vec<(HeaderName, HeaderValue)>, Bytes) {
        (self.status, self.headers, self.body)
    }
}

//! A request: its path, query and body, refused where they say something that nobody knows.

use std::{borrow::Cow, str::FromStr, time::Duration};

use axum::{
    body::{Body, Bytes},
    extract::{FromRequest, FromRequestParts as _, RawPathParams, Request},
    http::{HeaderValue, StatusCode, header, request::Parts},
};
use bytes::BytesMut;
use http_body_util::BodyExt as _;
use serde::de::DeserializeOwned;
use serde_path_to_error::Segment;
use vod_proto::query::{Decoding, Query};

use super::refusal::{Place, Refusal};

/// Longest body that is read, in bytes. Default 1 MiB: a thousand faults take a tenth of it.
const BODY_MOST: usize = 1 << 20;

/// How much of a longer body is thrown away before the answer, in bytes. Default 8 MiB: an answer that comes while the
/// client still sends is lost more often than not.
const DRAINED_MOST: usize = 8 << 20;

/// How long a body may take. Default 30 s: it comes from a test on the same machine, or the same network.
const BODY_TIME: Duration = Duration::from_secs(30);

/// A request to the admin API.
pub(super) struct Ask {
    path: Vec<(String, String)>,
    query: Query,
    content_type: Option<HeaderValue>,
    body: Bytes,
}

impl<S: Send + Sync> FromRequest<S> for Ask {
    type Rejection = Refusal;

    async fn from_request(request: Request, state: &S) -> Result<Self, Refusal> {
        let (mut parts, body) = request.into_parts();
        let path = path_params(&mut parts, state).await?;
        let query = Query::parse(parts.uri.query().unwrap_or_default());
        let body = tokio::time::timeout(BODY_TIME, whole(body)).await.map_err(|_| {
            let error = format!("the body did not come within {} s", BODY_TIME.as_secs());
            Refusal::body(error).status(StatusCode::REQUEST_TIMEOUT)
        })??;
        Ok(Self { path, query, content_type: parts.headers.remove(header::CONTENT_TYPE), body })
    }
}

async fn path_params<S: Send + Sync>(parts: &mut Parts, state: &S) -> Result<Vec<(String, String)>, Refusal> {
    use axum::extract::rejection::RawPathParamsRejection::{InvalidUtf8InPathParam, MissingPathParams};
    match RawPathParams::from_request_parts(parts, state).await {
        Ok(params) => Ok(params.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect()),
        // An unknown path has none.
        Err(MissingPathParams(_)) => Ok(Vec::new()),
        Err(InvalidUtf8InPathParam(wrong)) => {
            Err(Refusal::new(StatusCode::BAD_REQUEST, Place::Path, wrong.body_text()))
        }
        Err(other) => Err(Refusal::new(StatusCode::BAD_REQUEST, Place::Path, other.body_text())),
    }
}

/// The whole body. What is too long is thrown away up to a point, so that the answer is heard.
async fn whole(mut body: Body) -> Result<Bytes, Refusal> {
    let (mut kept, mut len) = (BytesMut::new(), 0);
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| Refusal::body(format!("the body broke off: {error}")))?;
        let Ok(data) = frame.into_data() else { continue };
        len += data.len();
        if len > DRAINED_MOST {
            break;
        }
        if len <= BODY_MOST {
            kept.extend_from_slice(&data);
        }
    }
    if len > BODY_MOST {
        let error = format!("the body is longer than {BODY_MOST} bytes, which is the most that is read here");
        return Err(Refusal::body(error).status(StatusCode::PAYLOAD_TOO_LARGE));
    }
    Ok(kept.freeze())
}

impl Ask {
    /// A parameter of the path, by its name in the route.
    pub(super) fn path(&self, name: &str) -> &str {
        self.path.iter().find(|(known, _)| known == name).map_or("", |(_, value)| value)
    }

    /// The parameters of the query with these names. It has no others, and none twice.
    pub(super) fn query<const N: usize>(&self, names: [&'static str; N]) -> Result<[Option<Cow<'_, str>>; N], Refusal> {
        let mut values = [const { None }; N];
        for pair in self.query.pairs() {
            let name = pair.name();
            let Some(at) = names.iter().position(|known| *known == name) else {
                return Err(Refusal::query(&name, format!("unknown query parameter {name:?}")).expecting(names));
            };
            if values[at].replace(pair.value(Decoding::Form)).is_some() {
                return Err(Refusal::query(&name, format!("query parameter {name} stands twice: expected once")));
            }
        }
        Ok(values)
    }

    /// Nothing is sent with this request. A body would say something that nobody reads.
    pub(super) fn bodiless(&self) -> Result<(), Refusal> {
        if self.body.is_empty() {
            return Ok(());
        }
        Err(Refusal::body(format!("the body has {} bytes: expected none, all is said by the query", self.body.len())))
    }

    /// What the body is said to be, of these.
    pub(super) fn media_type(&self, known: &[&'static str]) -> Result<&'static str, Refusal> {
        let given = self.content_type.as_ref().map(HeaderValue::to_str);
        let said = match given {
            None => "header Content-Type is missing".to_owned(),
            Some(Err(_)) => "header Content-Type is no text".to_owned(),
            Some(Ok(given)) => {
                let essence = given.split(';').next().unwrap_or_default().trim();
                if let Some(known) = known.iter().find(|known| essence.eq_ignore_ascii_case(known)) {
                    return Ok(known);
                }
                format!("header Content-Type is {given:?}")
            }
        };
        let refusal = Refusal::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, Place::Header, said).named("Content-Type");
        Err(refusal.expecting(known.iter().copied()))
    }

    /// The body as JSON. Nothing of its values is repeated where they are secret.
    pub(super) fn json<T: DeserializeOwned>(&self, secrecy: Secrecy) -> Result<T, Refusal> {
        let mut reader = serde_json::Deserializer::from_slice(&self.body);
        let read = serde_path_to_error::deserialize(&mut reader);
        let read = read.map_err(|error| (pointer(error.path()), error.into_inner()));
        let read = read.and_then(|read: T| reader.end().map(|()| read).map_err(|error| (String::new(), error)));
        read.map_err(|(pointer, error)| {
            let (line, column) = (error.line(), error.column());
            let error = error.to_string();
            let position = format!(" at line {line} column {column}");
            let said = secrecy.said(error.strip_suffix(&position).unwrap_or(&error));
            let place = if pointer.is_empty() { String::new() } else { format!(" in {pointer}") };
            let refusal = Refusal::body(format!("the body, line {line}, column {column}{place}: {said}"));
            refusal.at(line, column).pointed(pointer)
        })
    }

    /// The body as TOML.
    pub(super) fn toml<T: DeserializeOwned>(&self) -> Result<T, Refusal> {
        let text = std::str::from_utf8(&self.body)
            .map_err(|error| Refusal::body(format!("the body is no UTF-8 from byte {} on", error.valid_up_to())))?;
        toml::from_str(text).map_err(|error| {
            let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
            let line = before.matches('\n').count() + 1;
            let column = before.chars().rev().take_while(|letter| *letter != '\n').count() + 1;
            let said = error.message();
            Refusal::body(format!("the body, line {line}, column {column}: {said}")).at(line, column)
        })
    }
}

/// May what is wrong with a body be repeated?
#[derive(Clone, Copy)]
pub(super) enum Secrecy {
    /// Whatever it is.
    Open,
    /// What was expected alone: what stands there may be a key.
    Secret,
}

impl Secrecy {
    fn said(self, error: &str) -> String {
        // These name fields, which are no secrets. Whatever else is wrong is told by the value itself.
        let named = ["unknown field", "missing field", "duplicate field"].iter().any(|kind| error.starts_with(kind));
        match self {
            Self::Secret if !named => match error.rsplit_once("expected ") {
                Some((_, expected)) => format!("expected {expected}"),
                None => "it is no JSON".to_owned(),
            },
            _ => error.to_owned(),
        }
    }
}

/// A place in a document, as a JSON pointer (RFC 6901).
fn pointer(path: &serde_path_to_error::Path) -> String {
    let escaped = |key: &str| key.replace('~', "~0").replace('/', "~1");
    path.iter()
        .map(|segment| match segment {
            Segment::Seq { index } => format!("/{index}"),
            Segment::Map { key } | Segment::Enum { variant: key } => format!("/{}", escaped(key)),
            Segment::Unknown => String::new(),
        })
        .collect()
}

/// A parameter that is a switch.
pub(super) fn switch(name: &str, value: Option<Cow<'_, str>>) -> Result<bool, Refusal> {
    match value.as_deref() {
        None | Some("0" | "false") => Ok(false),
        Some("1" | "true") => Ok(true),
        Some(other) => {
            let error = format!("query parameter {name} is {other:?}");
            Err(Refusal::query(name, error).expecting(["1", "true", "0", "false"]))
        }
    }
}

/// A parameter of some type; `what` says what was expected.
pub(super) fn parsed<T: FromStr>(name: &str, value: Option<Cow<'_, str>>, what: &str) -> Result<Option<T>, Refusal> {
    let Some(value) = value else { return Ok(None) };
    let wrong = |_| Refusal::query(name, format!("query parameter {name} is {value:?}: expected {what}"));
    value.parse().map(Some).map_err(wrong)
}

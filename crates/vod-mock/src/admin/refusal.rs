//! What is wrong with a request, where, and what was expected instead: as JSON, like every answer here.

use axum::{
    Json,
    http::{HeaderName, HeaderValue, StatusCode},
    response::{IntoResponse, Response},
};
use serde::Serialize;

use vod_serve::program::shortened;

/// How many names an error lists of what was expected. Default 20: who looks for a misspelt name finds it in a screenful.
const NAMED_MOST: usize = 20;

/// Where in a request something is wrong.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Place {
    Path,
    Method,
    Query,
    Header,
    Body,
    /// Nowhere: the request is right, and cannot be answered.
    Server,
}

/// Why a request is not answered with what it asks.
#[derive(Debug)]
pub(super) struct Refusal(Box<Told>);

#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
struct Told {
    #[serde(skip)]
    status: StatusCode,
    #[serde(skip)]
    header: Option<(HeaderName, HeaderValue)>,
    error: String,
    #[serde(rename = "in")]
    place: Place,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pointer: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    line: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    column: Option<usize>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    expected: Vec<String>,
}

impl Refusal {
    pub(super) fn new(status: StatusCode, place: Place, error: impl Into<String>) -> Self {
        Self(Box::new(Told {
            status,
            header: None,
            error: shortened(error.into()),
            place,
            name: None,
            pointer: None,
            line: None,
            column: None,
            expected: Vec::new(),
        }))
    }

    /// Something about the query.
    pub(super) fn query(name: &str, error: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, Place::Query, error).named(name)
    }

    /// Something about the body.
    pub(super) fn body(error: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, Place::Body, error)
    }

    /// Something about the body, which has no such place.
    pub(super) fn pointed(self, pointer: impl Into<String>) -> Self {
        self.with(|told| told.pointer = Some(shortened(pointer.into())))
    }

    /// With the line and the column of the body, both from 1.
    pub(super) fn at(self, line: usize, column: usize) -> Self {
        self.with(|told| (told.line, told.column) = (Some(line), Some(column)))
    }

    /// With the parameter or the header that it is about.
    pub(super) fn named(self, name: &str) -> Self {
        self.with(|told| told.name = Some(shortened(name.to_owned())))
    }

    pub(super) fn status(self, status: StatusCode) -> Self {
        self.with(|told| told.status = status)
    }

    pub(super) fn header(self, name: HeaderName, value: HeaderValue) -> Self {
        self.with(|told| told.header = Some((name, value)))
    }

    /// With the names that would have been right, also as words.
    pub(super) fn expecting(self, names: impl IntoIterator<Item: Into<String>>) -> Self {
        let mut names: Vec<String> = names.into_iter().map(|name| shortened(name.into())).collect();
        let more = names.len().saturating_sub(NAMED_MOST);
        names.truncate(NAMED_MOST);
        self.with(|told| {
            let listed = names.join(", ");
            told.error.push_str(&match (names.len(), more) {
                (0, _) => ": there is none".to_owned(),
                (1, _) => format!(": expected {listed}"),
                (_, 0) => format!(": expected one of {listed}"),
                (_, more) => format!(": expected one of {listed} and {more} more"),
            });
            told.expected = names;
        })
    }

    fn with(mut self, change: impl FnOnce(&mut Told)) -> Self {
        change(&mut self.0);
        self
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let mut response = (self.0.status, Json(&self.0)).into_response();
        if let Some((name, value)) = self.0.header {
            response.headers_mut().insert(name, value);
        }
        response
    }
}

//! A client of the admin API that believes nothing: every answer must be as the document says.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex},
};

use bytes::Bytes;
use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use jsonschema::Validator;
use serde_json::{Value, json};
use vod_mock::VodMock;

/// The admin API of a mock.
#[derive(Clone)]
pub(crate) struct Api {
    base: String,
    token: Option<String>,
    client: Client<HttpConnector, Full<Bytes>>,
    document: Arc<Value>,
    validators: Arc<Mutex<BTreeMap<String, Arc<Validator>>>>,
    done: Arc<Mutex<BTreeSet<String>>>,
}

/// An answer, which is as documented.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) text: String,
}

impl Answer {
    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// The answer to a request that is refused: its status, where it is wrong, and words that the error must have.
    #[track_caller]
    pub(crate) fn refused(&self, status: u16, place: &str, words: &[&str]) -> Value {
        let told = self.json();
        let error = told["error"].as_str().unwrap_or_default();
        let said = words.iter().all(|word| error.contains(word));
        assert!(
            self.status == status && told["in"] == place && said,
            "expected {status} in {place}, {words:?}: {self:?}"
        );
        told
    }

    /// Each line of JSON.
    #[track_caller]
    pub(crate) fn lines(&self) -> Vec<Value> {
        self.text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }
}

impl Api {
    /// The admin API of a mock.
    pub(crate) async fn of(mock: &VodMock) -> Self {
        Self::at(mock.admin_endpoint().unwrap(), None).await
    }

    /// The admin API at an address, to which this token is shown.
    pub(crate) async fn at(base: &str, token: Option<&str>) -> Self {
        let mut api = Self {
            base: base.to_owned(),
            token: token.map(str::to_owned),
            client: Client::builder(TokioExecutor::new()).build_http(),
            document: Arc::new(Value::Null),
            validators: Arc::default(),
            done: Arc::default(),
        };
        let (parts, body) = api.send("GET", "/__vod/openapi.json", &[], Bytes::new()).await.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        assert_eq!(parts.status, StatusCode::OK, "{body:?}");
        api.document = Arc::new(serde_json::from_slice(&body).unwrap());
        api
    }

    /// The same, of somebody who has no token.
    pub(crate) fn without_token(&self) -> Self {
        Self { token: None, ..self.clone() }
    }

    pub(crate) fn document(&self) -> &Value {
        &self.document
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.ask("GET", path, &[], "").await
    }

    /// What is there, which must be.
    #[track_caller]
    pub(crate) fn seen(&self, path: &str) -> impl Future<Output = Value> {
        let (api, path) = (self.clone(), path.to_owned());
        async move {
            let answer = api.get(&path).await;
            assert_eq!(answer.status, 200, "{path}: {answer:?}");
            answer.json()
        }
    }

    pub(crate) async fn post(&self, path: &str, body: &Value) -> Answer {
        self.ask("POST", path, &[("Content-Type", "application/json")], body.to_string()).await
    }

    /// A POST that says all in its path.
    pub(crate) async fn command(&self, path: &str) -> Answer {
        self.ask("POST", path, &[], "").await
    }

    pub(crate) async fn delete(&self, path: &str) -> Answer {
        self.ask("DELETE", path, &[], "").await
    }

    pub(crate) async fn ask(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Bytes>,
    ) -> Answer {
        let (parts, body) = self.send(method, path, headers, body.into()).await.into_parts();
        let text = String::from_utf8(body.collect().await.unwrap().to_bytes().to_vec()).unwrap();
        let answer = Answer { status: parts.status.as_u16(), headers: parts.headers, text };
        self.check(method, path, &answer);
        answer
    }

    /// The operations that were done, by their ids.
    pub(crate) fn done(&self) -> BTreeSet<String> {
        self.done.lock().unwrap().clone()
    }

    /// Sends a request and checks nothing.
    pub(crate) async fn send(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: Bytes,
    ) -> http::Response<Incoming> {
        let mut request =
            Request::builder().method(Method::try_from(method).unwrap()).uri(format!("{}{path}", self.base));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if let Some(token) = &self.token {
            request = request.header("Authorization", format!("Bearer {token}"));
        }
        self.client.request(request.body(Full::new(body)).unwrap()).await.unwrap()
    }

    /// The documented path that this is one of.
    fn documented(&self, path: &str) -> Option<(&str, &Value)> {
        let path = path.split('?').next().unwrap();
        let paths = self.document["paths"].as_object().unwrap().iter();
        let mut fitting = paths.filter(|(pattern, _)| {
            let (pattern, path) = (pattern.split('/'), path.split('/'));
            pattern.clone().count() == path.clone().count()
                && pattern.zip(path).all(|(pattern, piece)| pattern.starts_with('{') || pattern == piece)
        });
        fitting.next().map(|(pattern, operations)| (pattern.as_str(), operations))
    }

    /// Holds an answer against the document.
    fn check(&self, method: &str, path: &str, answer: &Answer) {
        assert_eq!(answer.header("cache-control"), "no-store", "{method} {path}");
        assert!(!answer.headers.keys().any(|name| name.as_str().starts_with("access-control")), "{answer:?}");
        let operation = self.documented(path).map(|(_, operations)| &operations[method.to_lowercase()]);
        let Some(operation) = operation.filter(|operation| operation.is_object()) else {
            assert!(matches!(answer.status, 401 | 403 | 404 | 405), "nobody knows {method} {path}: {answer:?}");
            return self.fits("Error", &json!({ "$ref": "#/components/schemas/Error" }), answer);
        };
        let (status, responses) = (answer.status.to_string(), &operation["responses"]);
        if answer.status < 400 {
            self.done.lock().unwrap().insert(operation["operationId"].as_str().unwrap().to_owned());
        }
        let response = match &responses[&status] {
            // What has no line of its own is an error.
            Value::Null => {
                assert!(answer.status >= 400, "{method} {path} has no answer {status}: {answer:?}");
                &responses["default"]
            }
            response => response,
        };
        let response = match response["$ref"].as_str() {
            Some(name) => self.document.pointer(&name[1..]).unwrap(),
            None => response,
        };
        for (name, _) in response["headers"].as_object().into_iter().flatten() {
            assert!(answer.headers.contains_key(name.as_str()), "{method} {path} lacks {name}: {answer:?}");
        }
        let content = response["content"].as_object().unwrap();
        let media = answer.header("content-type").split(';').next().unwrap();
        let schema = content.get(media).unwrap_or_else(|| panic!("{method} {path} never answers {media}: {answer:?}"));
        self.fits(&format!("{method} {path} {status}"), &schema["schema"], answer);
    }

    fn fits(&self, name: &str, schema: &Value, answer: &Answer) {
        match answer.header("content-type").split(';').next().unwrap() {
            "application/json" => self.validate(name, schema, &answer.json()),
            "application/jsonl" => {
                let line = json!({ "oneOf": [
                    { "$ref": "#/components/schemas/Exchange" },
                    { "$ref": "#/components/schemas/Missed" },
                ] });
                answer.lines().iter().for_each(|value| self.validate("a line", &line, value));
            }
            "text/plain" => {}
            other => panic!("{other}"),
        }
    }

    /// Holds a value against a schema.
    #[track_caller]
    pub(crate) fn validate(&self, name: &str, schema: &Value, value: &Value) {
        let validator = {
            let mut validators = self.validators.lock().unwrap();
            let made = validators.entry(schema.to_string()).or_insert_with(|| {
                let mut root = schema.clone();
                root["components"] = self.document["components"].clone();
                Arc::new(jsonschema::options().should_validate_formats(true).build(&root).unwrap())
            });
            Arc::clone(made)
        };
        let wrong: Vec<_> =
            validator.iter_errors(value).map(|error| format!("{}: {error}", error.instance_path())).collect();
        assert!(wrong.is_empty(), "{name} is not as documented: {wrong:#?}\n{value:#}");
    }
}

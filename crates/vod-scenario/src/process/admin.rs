//! What the mock says of itself, on its admin paths.

use bytes::Bytes;
use http::{Method, Request};
use http_body_util::{BodyExt as _, Empty};
use hyper_util::{client::legacy::Client, rt::TokioExecutor};
use serde::de::DeserializeOwned;
use vod_mock::UploadView;
use vod_proto::Exchange;
use vod_serve::fault::Fate;

use super::PATIENCE;

/// The mock could not be asked, or its answer not be read.
#[derive(Debug, thiserror::Error)]
#[error("the mock did not answer {path}: {why}")]
pub(super) struct NoAnswer {
    path: String,
    why: String,
}

/// The exchanges so far.
pub(super) async fn exchanges(endpoint: &str) -> Result<Vec<Exchange>, NoAnswer> {
    const PATH: &str = "/__vod/exchanges";
    let text = get(endpoint, PATH).await?;
    let lines: Result<Vec<_>, _> = text.lines().map(Exchange::from_line).collect();
    lines.map_err(|error| NoAnswer { path: PATH.to_owned(), why: error.to_string() })
}

/// What the mock holds, with the digests of stored files taken from their bytes.
pub(super) async fn uploads(endpoint: &str) -> Result<Vec<UploadView>, NoAnswer> {
    json(endpoint, "/__vod/uploads?rehash=true").await
}

/// What became of each planned fault.
pub(super) async fn faults(endpoint: &str) -> Result<Vec<Fate>, NoAnswer> {
    json(endpoint, "/__vod/faults").await
}

/// Lets go whoever is held under this name.
pub(super) async fn release(endpoint: &str, hold: &str) -> Result<(), NoAnswer> {
    ask(Method::POST, endpoint, &format!("/__vod/release/{hold}")).await.map(drop)
}

/// Lifts every planned fault, and says what became of each.
pub(super) async fn lift_faults(endpoint: &str) -> Result<Vec<Fate>, NoAnswer> {
    const PATH: &str = "/__vod/faults";
    let text = ask(Method::DELETE, endpoint, PATH).await?;
    serde_json::from_str(&text).map_err(|error| NoAnswer { path: PATH.to_owned(), why: error.to_string() })
}

async fn json<T: DeserializeOwned>(endpoint: &str, path: &str) -> Result<T, NoAnswer> {
    let text = get(endpoint, path).await?;
    serde_json::from_str(&text).map_err(|error| NoAnswer { path: path.to_owned(), why: error.to_string() })
}

async fn get(endpoint: &str, path: &str) -> Result<String, NoAnswer> {
    ask(Method::GET, endpoint, path).await
}

async fn ask(method: Method, endpoint: &str, path: &str) -> Result<String, NoAnswer> {
    let no_answer = |why: String| NoAnswer { path: path.to_owned(), why };
    let fetched = tokio::time::timeout(PATIENCE, fetch(method, endpoint, path)).await;
    match fetched {
        Ok(Ok((status, text))) if status.is_success() => Ok(text),
        Ok(Ok((status, text))) => Err(no_answer(format!("HTTP {status}: {text}"))),
        Ok(Err(error)) => Err(no_answer(error.to_string())),
        Err(_) => Err(no_answer(format!("nothing came within {} s", PATIENCE.as_secs()))),
    }
}

async fn fetch(
    method: Method,
    endpoint: &str,
    path: &str,
) -> Result<(http::StatusCode, String), Box<dyn std::error::Error + Send + Sync>> {
    let client: Client<_, Empty<Bytes>> = Client::builder(TokioExecutor::new()).build_http();
    let request = Request::builder().method(method).uri(format!("{endpoint}{path}")).body(Empty::new())?;
    let response = client.request(request).await?;
    let status = response.status();
    let bytes = response.into_body().collect().await?.to_bytes();
    Ok((status, String::from_utf8_lossy(&bytes).into_owned()))
}

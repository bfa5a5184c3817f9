//! The floor: hyper and nothing else, which reads what it is sent and answers always the same. Whoever speaks HTTP/1.1
//! by hyper cannot be faster than this.

use std::{
    convert::Infallible,
    io::{Read as _, Write as _},
    net::Ipv4Addr,
    process::ExitCode,
};

use bytes::Bytes;
use futures_util::future::{Either, ready};
use http::{HeaderValue, Request, Response, header};
use http_body_util::{BodyExt as _, Full};
use hyper::{
    body::{Body as _, Incoming},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};

use super::built::Built;
use crate::cargo::{Failure, Line};

/// What it answers where somebody else's speed is measured: as long as what the mock says to `InitUpload`, and as good.
const BODY: &str = r#"{"canRetry":0,"code":0,"codeDesc":" 0\n","message":"","sessionInfo":"{\"sessionKey\":\"xxx\"}"}"#;

/// How it is started.
pub(super) fn line(built: &Built) -> Line {
    built.xtask.clone().with(["floor", BODY])
}

/// Serves on a free port of loopback, says on stdout where, and ends with its stdin, that is, with whoever started it.
///
/// # Errors
/// Says that it could not listen.
pub(super) fn run(body: String) -> Result<ExitCode, Failure> {
    let failed = |error: std::io::Error| Failure(format!("the floor cannot listen: {error}"));
    // As the mock has it.
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(failed)?;
    runtime.spawn({
        let listener = runtime.block_on(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))).map_err(failed)?;
        let ready = serde_json::json!({ "listening": format!("http://{}", listener.local_addr().map_err(failed)?) });
        writeln!(std::io::stdout(), "{ready}").map_err(failed)?;
        serve(listener, Bytes::from(body))
    });
    std::io::stdin().read_to_end(&mut Vec::new()).map_err(failed)?;
    runtime.shutdown_background();
    Ok(ExitCode::SUCCESS)
}

/// Answers every request on every connection with this JSON.
pub(super) async fn serve(listener: TcpListener, body: Bytes) -> Infallible {
    loop {
        if let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(connection(stream, body.clone()));
        }
    }
}

async fn connection(stream: TcpStream, body: Bytes) {
    let respond = move || {
        let mut response = Response::new(Full::new(body.clone()));
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        Ok::<_, Infallible>(response)
    };
    let answer = service_fn(move |request: Request<Incoming>| {
        let (mut asked, respond) = (request.into_body(), respond.clone());
        if asked.is_end_stream() {
            return Either::Left(ready(respond()));
        }
        Either::Right(async move {
            // Whoever breaks off has ended the connection with it.
            while let Some(Ok(_)) = asked.frame().await {}
            respond()
        })
    });
    // Like the mock, it says no date and waits for nobody with small answers.
    if stream.set_nodelay(true).is_ok() {
        // A connection ends as its client likes.
        let _ = http1::Builder::new().auto_date_header(false).serve_connection(TokioIo::new(stream), answer).await;
    }
}

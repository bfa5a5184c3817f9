//! The same from the command line, which shows no secret, however much it logs.

use std::{io::Write as _, process::Output};

use tokio::process::Command;
use vod_mock::{DEMO_SECRET_ID, DEMO_SECRET_KEY, VodMock};

use super::{
    bytes,
    forward::{Forward, Manners},
};

/// Runs `vod-client upload` in an environment of these variables alone, and says how it ended and all that it printed.
async fn run(endpoint: &str, args: &[&str], variables: &[(&str, &str)]) -> (Option<i32>, String) {
    let mut file = tempfile::Builder::new().suffix(".mp4").tempfile().unwrap();
    file.write_all(&bytes()).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_vod-client"));
    command
        .args(["upload", "--json", "--attempts", "2", "--parallel", "1", "--endpoint", endpoint])
        .args(args)
        .arg(file.path());
    command.env_clear().env("RUST_LOG", "trace").envs(variables.iter().copied());
    command.env("VOD_SECRET_ID", DEMO_SECRET_ID).env("VOD_SECRET_KEY", DEMO_SECRET_KEY);
    let Output { status, stdout, stderr } = command.output().await.unwrap();
    let said = [stdout, stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
    // The password, and how it goes over the wire.
    for secret in ["s3cret", "bWU6czNjcmV0", DEMO_SECRET_KEY] {
        assert!(!said.contains(secret), "{secret} was printed:\n{said}");
    }
    (status.code(), said)
}

#[tokio::test]
async fn the_environment_says_whom_to_trust_and_which_proxy_to_ask_and_flags_say_otherwise() {
    let mock = VodMock::start_tls().await;
    let mut ca = tempfile::NamedTempFile::new().unwrap();
    ca.write_all(mock.ca_pem().unwrap().as_bytes()).unwrap();
    let (ca, endpoint) = (ca.path().to_str().unwrap(), mock.endpoint());
    let manners = Manners { demand: Some("Basic bWU6czNjcmV0"), ..Manners::default() };
    let (proxy, other) = (Forward::to(&mock, manners.clone()).await, Forward::to(&mock, manners).await);
    let urls = [&proxy, &other].map(|proxy| format!("http://me:s3cret@{}", proxy.addr));
    let variables = [("VOD_CA", ca), ("HTTPS_PROXY", &*urls[0])];

    let (code, said) = run(endpoint, &[], &variables).await;
    assert_eq!(code, Some(0), "{said}");
    proxy.assert_kept_tunnels(endpoint.trim_start_matches("https://"), 4);

    let around = [("VOD_CA", ca), ("HTTPS_PROXY", &*urls[1])];
    for (args, more) in [(&["--no-proxy"][..], ("", "")), (&[], ("NO_PROXY", "127.0.0.1"))] {
        let (code, said) = run(endpoint, args, &[&around[..], &[more]].concat()).await;
        assert_eq!((code, other.connections()), (Some(0), 0), "{args:?} {more:?}\n{said}");
    }
    let (code, said) = run(endpoint, &["--proxy", &other.url()], &variables).await;
    assert_eq!((code, other.lines().len()), (Some(3), 1), "the flag counts more, and has no password\n{said}");
    assert!(said.contains(r#""kind":"config""#) && said.contains("(407)"), "{said}");

    let (code, said) = run(endpoint, &["--ca", "/nowhere/ca.pem"], &variables).await;
    assert!(code == Some(3) && said.contains("trust in /nowhere/ca.pem: "), "{code:?} {said}");
    let (code, said) = run(endpoint, &[], &[]).await;
    assert!(code == Some(3) && said.contains("say so with --ca FILE"), "{code:?} {said}");
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn whom_the_system_trusts_is_trusted_and_a_system_that_trusts_nobody_is_told_apart() {
    let mock = VodMock::start_tls().await;
    let (mut ca, empty) = (tempfile::NamedTempFile::new().unwrap(), tempfile::tempdir().unwrap());
    let (file, folder) = (ca.path().to_owned(), empty.path().to_str().unwrap());
    let system = [("SSL_CERT_FILE", file.to_str().unwrap()), ("SSL_CERT_DIR", folder)];
    let (code, said) = run(mock.endpoint(), &[], &system).await;
    let expected = "trust in the system: No CA certificates were loaded from the system: say with --ca FILE";
    assert!(code == Some(3) && said.contains(expected), "{code:?} {said}");
    assert!(mock.exchanges().is_empty());
    ca.write_all(mock.ca_pem().unwrap().as_bytes()).unwrap();
    let (code, said) = run(mock.endpoint(), &[], &system).await;
    assert_eq!(code, Some(0), "{said}");
    // Who names a CA trusts nobody else, the system's included.
    let other = VodMock::start_tls().await;
    let mut named = tempfile::NamedTempFile::new().unwrap();
    named.write_all(other.ca_pem().unwrap().as_bytes()).unwrap();
    let (code, said) = run(mock.endpoint(), &["--ca", named.path().to_str().unwrap()], &system).await;
    assert!(code == Some(3) && said.contains("nobody who is trusted has signed it"), "{code:?} {said}");
}

#[tokio::test]
async fn headers_of_a_file_go_with_every_request_and_are_not_shown() {
    let mock = VodMock::start().await;
    let proxy = Forward::to(&mock, Manners::default()).await;
    let mut headers = tempfile::NamedTempFile::new().unwrap();
    headers.write_all(b"Authorization: Bearer s3cret\n").unwrap();
    let from_file = format!("@{}", headers.path().display());
    let args = ["--proxy", &proxy.url(), "--header", &from_file, "--header", "X-Mark: here"];
    let (code, said) = run("http://vod.invalid", &args, &[]).await;
    assert_eq!((code, proxy.lines().len()), (Some(0), 4), "an init, two parts, a finish\n{said}");
    for asked in proxy.asked() {
        assert_eq!(asked.headers["authorization"], "Bearer s3cret");
        assert_eq!(asked.headers["x-mark"], "here");
    }
    let (code, said) = run("http://vod.invalid", &["--header", "Host: elsewhere"], &[]).await;
    assert!(code == Some(3) && said.contains("header Host: the endpoint says it"), "{code:?} {said}");
}

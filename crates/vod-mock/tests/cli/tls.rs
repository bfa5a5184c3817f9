//! What the binary does about TLS: the CA and where it is kept, whom it names, and what it says of peers that fail.

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::TcpStream,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    sync::{Arc, mpsc},
    time::Duration,
};

use tokio_rustls::rustls::{
    ClientConfig, ClientConnection, RootCertStore, StreamOwned,
    crypto::ring,
    pki_types::{CertificateDer, ServerName, pem::PemObject as _},
};
use vod_mock::exit;

use crate::{Running, refused, started, vod_mock};

/// A mock that keeps what it keeps for its user below `home`.
fn at_home(home: &Path, args: &[&str]) -> Command {
    let mut command = vod_mock(args);
    command.env("HOME", home).env_remove("XDG_DATA_HOME");
    command
}

/// A mock that speaks TLS: where it listens, and the file that clients must trust.
fn secure(mut command: Command) -> (Running, String, PathBuf) {
    command.arg("--tls");
    let (child, ready, addr) = started(command);
    assert_eq!(ready["listening"], format!("https://{addr}"), "{ready}");
    (child, addr, PathBuf::from(ready["ca"].as_str().unwrap()))
}

/// What a request for the mock's health is answered over TLS, by a client that calls the host by a name and trusts
/// the certificate in a file.
fn healthy(addr: &str, name: &'static str, ca: &Path) -> std::io::Result<String> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(ca).unwrap()).unwrap();
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
    let config = config.with_safe_default_protocol_versions().unwrap().with_root_certificates(roots);
    let config = Arc::new(config.with_no_client_auth());
    let connection = ClientConnection::new(config, ServerName::try_from(name).unwrap()).unwrap();
    let mut stream = StreamOwned::new(connection, TcpStream::connect(addr)?);
    stream.write_all(b"GET /__vod/health HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

#[track_caller]
fn assert_healthy(addr: &str, name: &'static str, ca: &Path) {
    let answer = healthy(addr, name, ca).unwrap_or_else(|error| panic!("{name}: {error}"));
    assert!(answer.contains(r#""status":"ok""#), "{answer}");
}

#[test]
fn whoever_trusts_the_file_that_the_first_line_names_is_served() {
    let home = tempfile::tempdir().unwrap();
    let (_child, addr, ca) = secure(at_home(home.path(), &[]));
    assert_eq!(ca, home.path().join(".local/share/vod-testkit/ca/ca.pem"));
    for name in vod_proto::SIGN_HOSTS.into_iter().chain(["localhost", "127.0.0.1"]) {
        assert_healthy(&addr, name, &ca);
    }
    let mode = ca.with_file_name("ca-key.pem").metadata().unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn a_machine_trusts_once() {
    let home = tempfile::tempdir().unwrap();
    let mut starting = Vec::new();
    // All of them at once, on a directory where nothing is yet.
    for _ in 0..6 {
        let mut child = at_home(home.path(), &["--tls"]);
        starting.push(Running(child.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()));
    }
    let mut trusted = Vec::new();
    for mut child in starting {
        let mut line = String::new();
        BufReader::new(child.0.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        let ready: serde_json::Value = serde_json::from_str(&line).unwrap();
        let ca = PathBuf::from(ready["ca"].as_str().unwrap());
        trusted.push(std::fs::read_to_string(&ca).unwrap());
        let addr = ready["listening"].as_str().unwrap().strip_prefix("https://").unwrap();
        assert_healthy(addr, "vod2.qcloud.com", &ca);
    }
    let (_child, _, ca) = secure(at_home(home.path(), &[]));
    let now = std::fs::read_to_string(ca).unwrap();
    assert!(trusted.iter().all(|pem| *pem == now), "some were told to trust another");
}

#[test]
fn the_ca_is_kept_where_one_says_or_with_the_data_or_in_the_users_own_directory() {
    let dir = tempfile::tempdir().unwrap();
    let below = |name: &str| dir.path().join(name);
    let kept = |args: &[&str], xdg: Option<&Path>| {
        let mut command = at_home(&below("home"), args);
        if let Some(xdg) = xdg {
            command.env("XDG_DATA_HOME", xdg);
        }
        let (_child, addr, ca) = secure(command);
        assert_healthy(&addr, "vod2.qcloud.com", &ca);
        ca
    };
    let (data, own, xdg) = (below("data"), below("own"), below("xdg"));
    let (data_arg, own_arg) = (["--data-dir", data.to_str().unwrap()], ["--tls-dir", own.to_str().unwrap()]);
    assert_eq!(kept(&[data_arg, own_arg].concat(), Some(&xdg)), own.join("ca.pem"));
    assert_eq!(kept(&data_arg, Some(&xdg)), data.join("tls/ca.pem"));
    // And again: what is in the data directory now is no surprise to the store.
    assert_eq!(kept(&data_arg, Some(&xdg)), data.join("tls/ca.pem"));
    assert_eq!(kept(&[], Some(&xdg)), xdg.join("vod-testkit/ca/ca.pem"));
    assert_eq!(kept(&[], Some(Path::new("relative"))), below("home").join(".local/share/vod-testkit/ca/ca.pem"));
    // A relative path is told as a whole one: whoever reads it may stand elsewhere.
    let mut command = at_home(&below("home"), &["--tls-dir", "here"]);
    command.current_dir(dir.path());
    let (_child, _, ca) = secure(command);
    assert_eq!(ca.canonicalize().unwrap(), below("here/ca.pem").canonicalize().unwrap());
    assert!(ca.is_absolute());
}

#[test]
fn the_names_that_are_given_replace_those_of_the_service() {
    let home = tempfile::tempdir().unwrap();
    let args = ["--tls-name", "Upload.example.com", "--tls-name", "10.1.2.3"];
    let (_child, addr, ca) = secure(at_home(home.path(), &args));
    for name in ["upload.example.com", "10.1.2.3", "localhost", "127.0.0.1"] {
        assert_healthy(&addr, name, &ca);
    }
    let error = healthy(&addr, "vod2.qcloud.com", &ca).unwrap_err().to_string();
    assert!(error.contains("not valid for name"), "{error}");
}

#[test]
fn flags_about_tls_that_cannot_be_followed_are_refused() {
    refused(&["--tls-name", "vod2.qcloud.com"], exit::USAGE, &["--tls-name", "--tls"]);
    refused(&["--tls-dir", "/tmp/x"], exit::USAGE, &["--tls-dir", "--tls"]);
    for name in ["https://vod2.qcloud.com", "vod2.qcloud.com:443", "*.qcloud.com", ""] {
        refused(&["--tls", "--tls-name", name], exit::USAGE, &["--tls-name", &format!("{name:?} is no host")]);
    }
    let file = tempfile::NamedTempFile::new().unwrap();
    let below = file.path().join("ca");
    refused(&["--tls", "--tls-dir", below.to_str().unwrap()], exit::STORE, &["the CA's", below.to_str().unwrap()]);
}

#[test]
fn a_key_that_others_can_read_is_refused_with_its_cure() {
    let home = tempfile::tempdir().unwrap();
    let (child, _, ca) = secure(at_home(home.path(), &[]));
    drop(child);
    let key = ca.with_file_name("ca-key.pem");
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o644)).unwrap();
    let dir = ca.parent().unwrap().to_str().unwrap();
    let words = [key.to_str().unwrap(), "can be read by others", "chmod 600"];
    refused(&["--tls", "--tls-dir", dir], exit::STORE, &words);
}

#[test]
fn a_peer_that_fails_to_shake_hands_is_told_of_with_the_cure() {
    let home = tempfile::tempdir().unwrap();
    let mut command = at_home(home.path(), &[]);
    command.stderr(Stdio::piped());
    let (mut child, addr, ca) = secure(command);
    let stderr = BufReader::new(child.0.stderr.take().unwrap());
    // Read on another thread, so that a line which never comes is a failure and no wait for ever.
    let (tell, told) = mpsc::channel();
    std::thread::spawn(move || stderr.lines().try_for_each(|line| tell.send(line.unwrap())));
    let said = || told.recv_timeout(Duration::from_secs(20)).expect("nothing was said");
    let mut stream = TcpStream::connect(&addr).unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 400 ") && answer.contains("speaks TLS"), "{answer}");
    let line = said();
    assert!(line.contains("plain HTTP was sent to a port that speaks TLS; call it https"), "{line}");
    // Whoever only looks whether the port is open is nobody's concern.
    drop(TcpStream::connect(&addr).unwrap());
    let elsewhere = tempfile::tempdir().unwrap();
    let (_other, _, stranger) = secure(at_home(elsewhere.path(), &[]));
    healthy(&addr, "vod2.qcloud.com", &stranger).unwrap_err();
    let line = said();
    assert!(line.contains("it must trust ca.pem"), "{line}");
    assert_healthy(&addr, "vod2.qcloud.com", &ca);
    assert!(Command::new("kill").arg(child.0.id().to_string()).status().unwrap().success());
    assert_eq!(told.iter().collect::<Vec<_>>(), [""; 0], "all that was said besides");
}

#[test]
fn without_a_home_one_must_say_where() {
    // A relative home leads nowhere. Without one the system's own record of the user would count.
    let mut command = vod_mock(&["--tls"]);
    command.env("HOME", "relative").env_remove("XDG_DATA_HOME");
    let Output { status, stderr, .. } = command.output().unwrap();
    let said = String::from_utf8(stderr).unwrap();
    assert_eq!(status.code(), Some(i32::from(exit::USAGE)), "{said}");
    assert!(said.contains("--tls-dir"), "{said}");
}

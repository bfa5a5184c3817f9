//! `vod-proxy pass` as a process: everything passes, and nothing is written.

use std::{
    fs,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{TcpListener, TcpStream},
    process::{Command, Stdio},
    thread,
};

#[test]
fn what_passes_arrives_as_it_is_and_nothing_of_it_is_kept() {
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let upstream = format!("http://{}", server.local_addr().unwrap());
    let served = thread::spawn(move || {
        let (mut stream, _) = server.accept().unwrap();
        let (mut text, mut more) = (String::new(), [0; 4096]);
        while !text.ends_with("hello") {
            let read = stream.read(&mut more).unwrap();
            assert_ne!(read, 0, "{text}");
            text.push_str(std::str::from_utf8(&more[..read]).unwrap());
        }
        stream.write_all(b"HTTP/1.1 201 Created\r\nx-own: 1\r\ncontent-length: 3\r\n\r\nyes").unwrap();
        text
    });
    let dir = tempfile::tempdir().unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_vod-proxy"));
    command.args(["pass", "--upstream", &upstream, "--listen", "127.0.0.1:0"]).env_remove("RUST_LOG");
    let mut child = command.current_dir(dir.path()).stdout(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let ready: serde_json::Value = serde_json::from_str(&line).expect("it says where it listens");
    let addr = ready["listening"].as_str().unwrap().strip_prefix("http://").unwrap();
    let mut client = TcpStream::connect(addr).unwrap();
    client
        .write_all(
            b"POST /a?Signature=s%3d HTTP/1.1\r\nHost: h\r\nAccept-Encoding: gzip\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello",
        )
        .unwrap();
    let mut answer = String::new();
    client.read_to_string(&mut answer).unwrap();
    assert!(
        answer.starts_with("HTTP/1.1 201 ") && answer.contains("x-own: 1\r\n") && answer.ends_with("yes"),
        "{answer}"
    );
    let asked = served.join().unwrap();
    assert!(asked.starts_with("POST /a?Signature=s%3d HTTP/1.1\r\n"), "{asked}");
    // Whoever keeps nothing need not have it readable.
    assert!(asked.contains("accept-encoding: gzip\r\n"), "{asked}");
    let pid = child.id().to_string();
    assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
    assert!(child.wait().unwrap().success());
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0, "nothing is written");
}

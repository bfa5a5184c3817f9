//! `vod-client upload` where nobody answers: what is refused, and what is never printed.

use expect_test::expect;
use vod_proto::{Query, Sha1, ugc::UploadSignature};

use super::{ID, Ran, key, run, run_with};

#[test]
fn an_upload_never_prints_what_it_signs_with() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("a.mp4");
    std::fs::write(&file, b"the video").unwrap();
    let fields = format!("s={ID}&f=a&ft=mp4&e=4102444800&fs={}", Sha1::of(b"the video"));
    let token = UploadSignature::sign(&key(), &Query::parse(&fields));
    // Nobody listens at port 1: every request is tried and told about.
    let upload = ["upload", file.to_str().unwrap(), "--endpoint", "http://127.0.0.1:1", "--attempts", "2"];
    for family in ["server", "ugc", "legacy"] {
        let args = [&upload[..], &["--family", family, "--json"]].concat();
        check_failed(&run(&args), 6, "exhausted");
    }
    let ugc = [&upload[..], &["--family", "ugc", "--json"]].concat();
    check_failed(&run_with(&ugc, &[("VOD_SIGNATURE", &token)], ""), 6, "exhausted");
    let expired = UploadSignature::sign(&key(), &Query::parse(&fields.replace("4102444800", "1465185768")));
    check_failed(&run_with(&ugc, &[("VOD_SIGNATURE", &expired)], ""), 3, "config");
    let server = [&upload[..], &["--json"]].concat();
    check_failed(&run_with(&server, &[("VOD_SIGNATURE", &token)], ""), 3, "config");
}

#[track_caller]
fn check_failed(ran: &Ran, code: i32, kind: &str) {
    assert_eq!(ran.code, code, "{}{}", ran.stdout, ran.stderr);
    assert!(ran.stdout.contains(&format!(r#""kind":"{kind}""#)), "{}", ran.stdout);
    let all = format!("{}{}", ran.stdout, ran.stderr).to_lowercase();
    assert!(!all.contains("signature="), "a request line with its signature was printed:\n{all}");
}

#[test]
fn what_a_family_has_no_place_for_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("a.mp4");
    std::fs::write(&file, b"the video").unwrap();
    let upload = |more: &[&str]| {
        run(&[&["upload", file.to_str().unwrap(), "--endpoint", "http://127.0.0.1:1"], more].concat()).stderr
    };
    let refusal = |more: &[&str]| upload(more).lines().last().unwrap_or_default().to_owned();
    expect!["error: the server family has no notify URL: only the legacy family does"]
        .assert_eq(&refusal(&["--notify-url", "http://a.example/b"]));
    expect!["error: the ugc family has no covers: only the server family does"].assert_eq(&refusal(&[
        "--family",
        "ugc",
        "--cover-of",
        "7",
    ]));
}

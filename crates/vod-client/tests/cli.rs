//! The binary as people and scripts meet it: what it prints where, its exit codes, and what it never prints.

use std::{
    io::Write as _,
    process::{Command, Stdio},
};

use expect_test::expect;
use vod_proto::{
    Query, Sha1,
    sign::{self, SecretKey},
    ugc::{UploadSignature, VerifyContent},
};

const ID: &str = "AKIDz8krbsJ5yKBZQpn74WFkmLPx3gnPhESA";
const KEY: &str = "Gu5t9xGARNpq86cd98joQYCN3Cozk1qA";
const VERIFY_KEY: &str = "bLcPnl88WU30VY57ipRhSePfPdOfSruK";

struct Ran {
    code: i32,
    stdout: String,
    stderr: String,
}

/// Runs the client with these arguments and keys, as chatty as it can be.
fn run_with(args: &[&str], env: &[(&str, &str)], stdin: &str) -> Ran {
    let mut child = Command::new(env!("CARGO_BIN_EXE_vod-client"))
        .args(args)
        .env_clear()
        .env("RUST_LOG", "trace")
        .env("NO_COLOR", "1")
        .envs(env.iter().copied())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary that this test was built with");
    // One that does not read its stdin may be gone already.
    let _ = child.stdin.take().expect("it was piped").write_all(stdin.as_bytes());
    let output = child.wait_with_output().expect("a child can be waited for");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (stdout, stderr) = (text(&output.stdout), text(&output.stderr));
    for (name, secret) in env.iter().filter(|(name, _)| *name != "VOD_SECRET_ID") {
        assert!(!stdout.contains(secret) && !stderr.contains(secret), "{name} was printed:\n{stdout}\n{stderr}");
    }
    Ran { code: output.status.code().unwrap_or(-1), stdout, stderr }
}

fn run(args: &[&str]) -> Ran {
    run_with(args, &[("VOD_SECRET_ID", ID), ("VOD_SECRET_KEY", KEY), ("VOD_VERIFY_KEY", VERIFY_KEY)], "")
}

#[track_caller]
fn check(ran: &Ran, code: i32, stdout: &str, stderr: &str) {
    let Ran { code: ended, stdout: out, stderr: err } = ran;
    assert_eq!(*ended, code, "{out}{err}");
    assert_eq!(out, stdout, "{err}");
    assert!(err.contains(stderr), "{stderr:?} is not in\n{err}");
}

fn key() -> SecretKey {
    SecretKey::new(KEY)
}

#[test]
fn an_upload_signature_says_what_was_asked_and_holds() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("夏天 +1.mp4");
    std::fs::write(&file, b"the video").unwrap();
    let ran = run(&["sign", "ugc", file.to_str().unwrap(), "--tag", "a b", "--class-id", "7", "--transcode"]);
    assert_eq!((ran.code, ran.stdout.lines().count()), (0, 1), "{}{}", ran.stdout, ran.stderr);
    let token = UploadSignature::decode(ran.stdout.trim_end()).unwrap();
    assert!(token.holds(&key()));
    let field = |name: &str| token.field(name).unwrap_or_default();
    assert_eq!(token.file_sha1(), Ok(Some(Sha1::of(b"the video"))));
    assert_eq!([field("s"), field("f"), field("ft")], [ID, "夏天 +1", "mp4"]);
    assert_eq!([field("uid"), field("tag.1"), field("cid"), field("tc")], ["1", "a b", "7", "1"]);
    let made: u64 = field("t").parse().unwrap();
    assert_eq!(token.expires(), Ok(made + 2 * 86_400));
    check(
        &run(&["verify", "--upload-signature", ran.stdout.trim_end()]),
        0,
        &format!(
            "file {} named \"夏天 +1\" for account {ID}, valid until {}\n",
            Sha1::of(b"the video"),
            jiff::Timestamp::from_second((made + 2 * 86_400).try_into().unwrap()).unwrap()
        ),
        "",
    );
}

#[test]
fn an_upload_signature_needs_no_file_at_hand() {
    let sha = Sha1::of(b"elsewhere").to_string();
    let args =
        ["sign", "ugc", "--file-sha1", &sha, "--name", "n", "--type", "mp4", "--expires-in", "90d", "--uid", "u"];
    let token = UploadSignature::decode(run(&args).stdout.trim_end()).unwrap();
    let made: u64 = token.field("t").unwrap().parse().unwrap();
    assert_eq!((token.field("fs"), token.field("uid")), (Some(sha.clone()), Some("u".to_owned())));
    assert_eq!(token.expires(), Ok(made + 90 * 86_400));
    check(&run(&["sign", "ugc", "--file-sha1", &sha]), 2, "", "--name <NAME>");
    let wrong = [&args[..], &["--tag", ""]].concat();
    check(&run(&wrong), 3, "", "parameter tags.1");
    let args = ["sign", "ugc", "--file-sha1", &sha, "--name", "n", "--type", "mp4", "--expires-in", "91d"];
    check(&run(&args), 3, "", "the life of the upload signature is 7862400 s: expected 1 s to 90 days");
}

#[test]
fn a_request_is_signed_as_the_documents_show_it() {
    let query = "Action=DescribeInstances&Nonce=11886&Region=gz&Timestamp=1465185768&limit=20&offset=0\
                 &SecretId=AKIDz8krbsJ5yKBZQpn74WFkmLPx3gnPhESA&instanceIds.0=ins-09dx96dg";
    let signed = format!("/v2/index.php?{query}&Signature=NSI3UqqD99b%2FUJb4tbG%2FxZpRW64%3D\n");
    let host = "cvm.api.qcloud.com";
    check(&run(&["sign", "request", "--host", host, query]), 0, &signed, "");
    // What was signed before is signed anew, whatever its signature was.
    check(&run(&["sign", "request", "--host", host, &format!("Signature=old&{query}")]), 0, &signed, "");
    let args = ["sign", "request", "--method", "POST", "--path", "/v3/index.php", "--text", "b=1%20+2&Action=x"];
    check(&run_with(&args, &[], ""), 0, "POSTvod2.qcloud.com/v3/index.php?Action=x&b=1 +2\n", "");
    // What would be signed otherwise is no request.
    for (args, word) in [
        (["--host", "http://vod2.qcloud.com", "Action=x"], "host"),
        (["--host", "", "Action=x"], "host"),
        (["--path", "v2", "Action=x"], "path"),
        (["--path", "/v2/index.php?a=1", "Action=x"], "path"),
        (["--method", "POST", "http://vod2.qcloud.com/v2/index.php?Action=x"], "query"),
        (["--method", "POST", ""], "query"),
    ] {
        let ran = run(&[&["sign", "request", "--text"], &args[..]].concat());
        check(&ran, 3, "", &format!("error: {word} is"));
    }
    let ran = run(&["sign", "request", "--method", "POST", "Action=FinishUpload&Nonce=1"]);
    let (path, query) = Query::split_target(ran.stdout.trim_end());
    assert!(sign::request_holds(&key(), "POST", &[vod_proto::SIGN_HOST], path, &query), "{}", ran.stdout);
}

fn proof(expires: u64, key: &str) -> String {
    VerifyContent { expires, file_id: "16092504232103571364".to_owned() }.sign(&SecretKey::new(key))
}

#[test]
fn a_proof_is_genuine_expired_forged_or_none() {
    let genuine = proof(4_102_444_800, VERIFY_KEY);
    let says = "file 16092504232103571364, valid until 2100-01-01T00:00:00Z\n";
    check(&run(&["verify", &genuine]), 0, says, "");
    check(&run_with(&["verify"], &[("VOD_VERIFY_KEY", VERIFY_KEY)], &(genuine + "\n")), 0, says, "");
    check(
        &run(&["verify", &proof(1_465_185_768, VERIFY_KEY)]),
        10,
        "",
        "error: expired: file 16092504232103571364, valid until 2016-06-06T04:02:48Z",
    );
    check(&run(&["verify", &proof(4_102_444_800, KEY)]), 9, "", "error: forged: the verify_content was not made with");
    check(&run(&["verify", "bm8="]), 7, "", "error: malformed: this is no verify_content");
    check(&run_with(&["verify", "bm8="], &[], ""), 3, "", "the environment variable VOD_VERIFY_KEY is not set");
}

#[test]
fn an_upload_signature_is_genuine_expired_forged_or_none() {
    let verify = |token: &str| run(&["verify", "--upload-signature", token]);
    let sign = |fields: &str, key: &str| UploadSignature::sign(&SecretKey::new(key), &Query::parse(fields));
    check(&verify(&sign("s=id&e=1465185768", KEY)), 10, "", "expired: any file for account id, valid until 2016-06-06");
    check(&verify(&sign("s=id&e=4102444800", VERIFY_KEY)), 9, "", "was not made with this secret key");
    check(&verify(&sign("s=id", KEY)), 7, "", "malformed: the signature's field e: expected seconds since 1970");
}

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

//! Secrets from files: which are read, which are refused, and that nothing of them is said.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use vod_mock::{Fault, Verdict};
use vod_proto::{Query, Sha1, sign::SecretKey, ugc::UploadSignature};

use super::{ID, KEY, Ran, VERIFY_KEY, check, key, many::Stage, run_with};

struct Files(tempfile::TempDir);

impl Files {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn file(&self, name: &str, text: &[u8], mode: u32) -> PathBuf {
        let path = self.0.path().join(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        path
    }
}

/// Signs with the key in a file.
fn sign_with(file: &Path, env: &[(&str, &str)]) -> Ran {
    let args = ["sign", "request", "Action=FinishUpload&Nonce=1", "--secret-key-file", file.to_str().unwrap()];
    let ran = run_with(&args, env, "");
    assert!(!ran.stdout.contains(KEY) && !ran.stderr.contains(KEY), "{}{}", ran.stdout, ran.stderr);
    ran
}

#[test]
fn a_key_in_a_file_signs_as_the_same_key_in_the_environment_does_and_comes_before_it() {
    let files = Files::new();
    let expected = run_with(&["sign", "request", "Action=FinishUpload&Nonce=1"], &[("VOD_SECRET_KEY", KEY)], "");
    assert_eq!(expected.code, 0, "{}", expected.stderr);
    let file = files.file("key", format!("{KEY}\n").as_bytes(), 0o600);
    check(&sign_with(&file, &[]), 0, &expected.stdout, "");
    check(&sign_with(&file, &[("VOD_SECRET_KEY", "another-key")]), 0, &expected.stdout, "");
    let file = files.file("windows", format!("{KEY}\r\n").as_bytes(), 0o400);
    check(&sign_with(&file, &[]), 0, &expected.stdout, "");
}

#[test]
fn a_key_file_that_others_can_read_is_refused_with_its_cure() {
    let files = Files::new();
    for mode in [0o640, 0o604, 0o644, 0o660] {
        let file = files.file("key", KEY.as_bytes(), mode);
        let says = format!("others can read (mode {mode:03o}): run chmod 600 {}", file.display());
        check(&sign_with(&file, &[]), 3, "", &says);
    }
}

#[test]
fn a_key_file_that_is_no_key_is_refused_and_not_repeated() {
    let files = Files::new();
    let two_lines = format!("{KEY}\n{KEY}\n");
    for (text, says) in
        [(two_lines.as_bytes(), "does not hold one line"), (b" \n", "is empty"), (b"\xff", "one line of text")]
    {
        check(&sign_with(&files.file("key", text, 0o600), &[]), 3, "", says);
    }
    check(&sign_with(&files.0.path().join("none"), &[]), 3, "", "none, which cannot be read: No such file");
}

#[test]
fn verify_keys_and_upload_signatures_come_from_files_too() {
    let files = Files::new();
    let verify_key = files.file("verify", VERIFY_KEY.as_bytes(), 0o600);
    let ran = run_with(&["verify", "bm8=", "--verify-key-file", verify_key.to_str().unwrap()], &[], "");
    check(&ran, 7, "", "malformed: this is no verify_content");

    let video = files.file("a.mp4", b"the video", 0o644);
    let fields = format!("s={ID}&f=a&ft=mp4&e=1465185768&fs={}", Sha1::of(b"the video"));
    let token = files.file("token", UploadSignature::sign(&key(), &Query::parse(&fields)).as_bytes(), 0o600);
    let upload = ["upload", video.to_str().unwrap(), "--endpoint", "http://127.0.0.1:1", "--family", "ugc"];
    let upload = [&upload[..], &["--signature-file", token.to_str().unwrap()]].concat();
    check(&run_with(&upload, &[], ""), 3, "", "the upload signature has expired: it held until 2016-06-06T04:02:48Z");
    for more in
        [["--name", "n"], ["--tag", "t"], ["--expires-in", "1h"], ["--cover-of", "7"], ["--notify-url", "http://u"]]
    {
        let says = format!("says all that is said of the file: {} has no place beside it", more[0]);
        check(&run_with(&[&upload[..], &more].concat(), &[], ""), 3, "", &says);
    }
}

#[test]
fn without_any_credentials_both_ways_are_named() {
    let upload = ["upload", "/dev/null", "--endpoint", "http://127.0.0.1:1"];
    check(&run_with(&upload, &[], ""), 3, "", "the secret id is missing: expected --secret-id or VOD_SECRET_ID, or an");
    let with_id = [&upload[..], &["--secret-id", "id"]].concat();
    check(
        &run_with(&with_id, &[], ""),
        3,
        "",
        "VOD_SECRET_KEY is not set: it holds the secret key, where --secret-key-file",
    );
}

#[test]
fn the_token_of_temporary_keys_comes_from_the_environment_or_a_file_and_is_never_printed() {
    let (stage, files) = (Stage::with(&["a.mp4", "b.mp4"]), Files::new());
    let token = "the-token-of-temporary-keys";
    let file = files.file("token", token.as_bytes(), 0o600);
    let keys = [("VOD_SECRET_ID", stage.account.secret_id()), ("VOD_SECRET_KEY", stage.account.secret_key())];
    let in_environment = [&keys[..], &[("VOD_TOKEN", token)]].concat();
    let by_file = ["--token-file", file.to_str().unwrap()];
    for (video, flags, env) in [("a.mp4", &[][..], &in_environment[..]), ("b.mp4", &by_file, &keys)] {
        let before = stage.account.exchanges().len();
        for mode in [&["--dry-run"][..], &["--dry-run", "--json"], &["--json"]] {
            let args = stage.args(&[video], &[flags, mode].concat());
            let ran = run_with(&args.iter().map(String::as_str).collect::<Vec<_>>(), env, "");
            assert_eq!(ran.code, 0, "{}{}", ran.stdout, ran.stderr);
            assert!(!ran.stdout.contains(token) && !ran.stderr.contains(token), "{}{}", ran.stdout, ran.stderr);
        }
        let sent: Vec<_> = stage.account.exchanges().iter().skip(before).map(|e| e.request.target.clone()).collect();
        assert_eq!(sent.len(), 3, "{sent:?}");
        assert!(sent.iter().all(|target| target.contains("&Token=redacted-")), "{sent:?}");
    }
    let args = stage.args(&["a.mp4"], &["--family", "ugc"]);
    let ran = run_with(&args.iter().map(String::as_str).collect::<Vec<_>>(), &in_environment, "");
    check(&ran, 3, "", "the token of temporary keys is given: the ugc family has no place for it");
    let open = files.file("open", token.as_bytes(), 0o644);
    let args = stage.args(&["a.mp4"], &["--token-file", open.to_str().unwrap()]);
    let ran = run_with(&args.iter().map(String::as_str).collect::<Vec<_>>(), &keys, "");
    check(&ran, 3, "", "others can read (mode 644)");
}

/// Whatever is printed, however chatty: neither the keys and upload signatures, nor what was made from them.
#[test]
fn no_output_of_any_mode_has_a_secret() {
    let stage = Stage::with(&["a.mp4", "b.mp4"]);
    let files = Files::new();
    let (id, secret) = (stage.account.secret_id().to_owned(), stage.account.secret_key().to_owned());
    let key_file = files.file("key", secret.as_bytes(), 0o600);
    let key_file = ["--secret-key-file", key_file.to_str().unwrap()];
    let token_args = ["sign", "ugc", stage.path("a.mp4").to_str().unwrap(), "--secret-id", &id].map(str::to_owned);
    let token_args: Vec<_> = token_args.iter().map(String::as_str).chain(key_file).collect();
    let token = run_with(&token_args, &[], "").stdout.trim_end().to_owned();
    assert!(UploadSignature::decode(&token).is_ok(), "{token}");
    let token_file = files.file("token", token.as_bytes(), 0o600);
    let token_file = ["--signature-file", token_file.to_str().unwrap(), "--family", "ugc"];

    let ways: [&[&str]; 4] = [&key_file, &["--family", "ugc"], &["--family", "legacy"], &token_file];
    let modes: [&[&str]; 5] =
        [&["--json"], &[], &["--quiet"], &["--dry-run"], &["--dry-run", "--json", "--dialect", "observed"]];
    let refused = stage.account.fault(Fault::on_any().every(3).before_commit(Verdict::reply(-10002))).may_stay_unused();
    for way in ways {
        for mode in modes {
            for broken in [&[][..], &["--color", "always", "--attempts", "1"]] {
                let args = stage.args(&["a.mp4"], &[way, mode, broken].concat());
                let args: Vec<_> = args.iter().map(String::as_str).collect();
                let by_environment = [("VOD_SECRET_ID", &*id), ("VOD_SECRET_KEY", &*secret)];
                // Where a file has the secret, the environment has none: what is printed is looked at for both.
                let env =
                    if way.iter().any(|flag| flag.ends_with("-file")) { &by_environment[..1] } else { &by_environment };
                let ran = run_with(&args, env, "");
                let all = format!("{}{}", ran.stdout, ran.stderr);
                assert!(!all.contains(&secret) && !all.contains(&token), "{args:?} prints a secret:\n{all}");
                for proof in all.split("ignature=").skip(1) {
                    let proof = proof.split(|c: char| c.is_whitespace() || "&\"".contains(c)).next().unwrap();
                    // What an upload signature says is kept, but for whose it is and what proves it.
                    let value = Query::parse(&format!("p={proof}")).get("p").unwrap().into_owned();
                    let read = UploadSignature::decode(&value).ok();
                    let harmless = read.is_some_and(|token| {
                        !token.holds(&SecretKey::new(&*secret)) && token.field("s").unwrap().starts_with("redacted-")
                    });
                    assert!(harmless || value.starts_with("redacted-"), "{args:?} prints a signature:\n{all}");
                }
                assert!(!all.contains("panicked"), "{all}");
            }
        }
    }
    drop(refused);
    for args in [&["--help"][..], &["upload", "--help"], &["man"], &["completions", "bash"], &["completions", "zsh"]] {
        // A password has no place in an endpoint, but who puts one there need not read it in a manual page.
        let endpoint = ("VOD_ENDPOINT", "http://me:pass@h");
        let env = [("VOD_SECRET_ID", &*id), ("VOD_SECRET_KEY", &secret), ("VOD_SIGNATURE", &token), endpoint];
        let ran = run_with(args, &env, "");
        assert!(ran.code == 0 && !ran.stdout.contains(&id), "{args:?} prints the environment:\n{}", ran.stdout);
    }
}

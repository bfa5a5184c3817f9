//! `vod-client sign` and `vod-client verify`.

use vod_proto::{
    Query, Sha1,
    sign::{self, SecretKey},
    ugc::{UploadSignature, VerifyContent},
};

use super::{ID, KEY, KEYS, VERIFY_KEY, check, key, run, run_with};

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
        &run_with(&["verify", "--upload-signature"], &KEYS, &ran.stdout),
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
    let verify = |token: &str| run_with(&["verify", "--upload-signature"], &KEYS, token);
    let sign = |fields: &str, key: &str| UploadSignature::sign(&SecretKey::new(key), &Query::parse(fields));
    check(&verify(&sign("s=id&e=1465185768", KEY)), 10, "", "expired: any file for account id, valid until 2016-06-06");
    check(&verify(&sign("s=id&e=4102444800", VERIFY_KEY)), 9, "", "was not made with this secret key");
    check(&verify(&sign("s=id", KEY)), 7, "", "malformed: the signature's field e: expected seconds since 1970");
}

//! What is a reply: the least that works with every known client, and the variations that must do as well.

use expect_test::{Expect, expect};
use vod_client::Family;
use vod_proto::{Action, Md5};

use super::stub::{self, EXISTS, FINISHED, FRESH, PART, Stub, Way, answer, says};

const SERVER: Way = Way::Steps(Family::Server);

async fn check(stub: Stub, expected: Expect) {
    expected.assert_eq(&stub::told(&stub, 1).await);
}

#[tokio::test]
async fn the_least_that_works_with_every_known_client_works_with_this_one() {
    let expected = [
        expect!["finished as 9031868222958931071\nInitUpload UploadPart@0 UploadPart@1000 FinishUpload"],
        expect!["finished as 9031868222958931071\nInitUploadEx UploadPartEx@0 UploadPartEx@1000 FinishUploadEx"],
        expect!["finished as 9031868222958931071\nMultipartUploadVodFile@0 MultipartUploadVodFile@524288"],
        expect!["finished as 9031868222958931071\nSmallFileUpload"],
    ];
    for (way, expected) in Way::ALL.into_iter().zip(expected) {
        check(Stub::start(way).await, expected).await;
    }
}

#[tokio::test]
async fn a_file_that_exists_is_not_sent_in_any_family() {
    for family in [Family::Server, Family::Ugc] {
        let stub = Stub::start(Way::Steps(family)).await.answers((family.open(), None), [says(EXISTS)]);
        let told = stub::told(&stub, 1).await;
        assert_eq!(told, format!("existed as 9031868222958931071\n{}", family.open()));
    }
    let stored = r#"{"code":0,"message":"","flag":1,"fileId":"9031868222958931071"}"#;
    let stub = Stub::start(Way::Sequence).await.answers((Action::MultipartUploadVodFile, Some(0)), [says(stored)]);
    check(stub, expect!["existed as 9031868222958931071\nMultipartUploadVodFile@0"]).await;
}

/// The list of parts as the documents have it, as clients read it, and with numbers as text.
#[tokio::test]
async fn a_list_of_parts_is_read_in_every_form_and_what_cannot_be_compared_is_sent_again() {
    let (md5, other) = (Md5::of(&[7; 1000]), Md5::of(b"other"));
    let skipped = "finished as 9031868222958931071\nInitUpload UploadPart@1000 FinishUpload";
    let sent = "finished as 9031868222958931071\nInitUpload UploadPart@0 UploadPart@1000 FinishUpload";
    for (list, expected) in [
        (format!(r#"[{{"offset":0,"dataSize":1000,"dataLen":1000,"dataMd5":"{md5}"}}]"#), skipped),
        (format!(r#"[{{"offset":0,"dataSize":1000,"dataMd5":"{md5}"}}]"#), skipped),
        (format!(r#"[{{"offset":0,"dataLen":1000,"dataMd5":"{md5}"}}]"#), skipped),
        (format!(r#"[{{"offset":"0","dataLen":"1000","dataMd5":"{md5}"}}]"#), skipped),
        (format!(r#"[{{"offset":0,"dataLen":1000,"dataSha":"{md5}"}}]"#), skipped),
        (format!(r#"[{{"offset":0,"dataLen":1000,"dataMd5":"{}"}}]"#, md5.to_string().to_uppercase()), skipped),
        (format!(r#"[{{"offset":0,"dataLen":1000,"dataMd5":"{md5}","new":[{{}}]}}]"#), skipped),
        (format!(r#"[{{"offset":0,"dataLen":1000,"dataMd5":"{other}"}}]"#), sent),
        (r#"[{"offset":0,"dataLen":1000,"dataMd5":7}]"#.to_owned(), sent),
        (r#"[{"offset":0,"dataLen":1000,"dataMd5":null}]"#.to_owned(), sent),
        (r#"[{"offset":0,"dataLen":1000,"dataMd5":"xxx......"}]"#.to_owned(), sent),
        (format!(r#"[{{"offset":0,"dataLen":999,"dataMd5":"{md5}"}}]"#), sent),
        (format!(r#"[{{"offset":0,"dataLen":{{}},"dataMd5":"{md5}"}}]"#), sent),
        (format!(r#"[{{"offset":7,"dataLen":1000,"dataMd5":"{md5}"}}]"#), sent),
        (format!(r#"[{{"offset":5000000,"dataLen":1000,"dataMd5":"{md5}"}}]"#), sent),
        ("[]".to_owned(), sent),
        ("null".to_owned(), sent),
    ] {
        for data_size in ["1000", "\"1000\""] {
            let reply = format!(r#"{{"code":1,"message":"","canRetry":0,"dataSize":{data_size},"listParts":{list}}}"#);
            let stub = Stub::start(SERVER).await.answers((Action::InitUpload, None), [says(reply)]);
            assert_eq!(stub::told(&stub, 1).await, expected, "{list}");
        }
    }
}

#[tokio::test]
async fn the_grid_of_a_resumed_upload_is_the_servers() {
    let reply = r#"{"code":1,"message":"","codeDesc":"","canRetry":0,"dataSize":700,"listParts":[]}"#;
    let stub = Stub::start(SERVER).await.answers((Action::InitUpload, None), [says(reply)]);
    check(
        stub,
        expect![[r#"
            finished as 9031868222958931071
            InitUpload UploadPart@0 UploadPart@700 UploadPart@1400 FinishUpload"#]],
    )
    .await;
}

/// What a reply says is in its text; how it is wrapped is of no interest.
#[tokio::test]
async fn a_reply_is_taken_however_it_is_wrapped() {
    let marked = [b"\xef\xbb\xbf", FRESH.as_bytes()].concat();
    let unknown = r#"{"code":0,"requestId":"7","data":{"code":-1},"list":[null,1e400,"\ud83d\ude00"],"canRetry":[]}"#;
    for reply in [
        answer(200, "text/html", FRESH),
        answer(200, "text/plain; charset=gbk", FRESH),
        answer(200, "image/png", FRESH),
        answer(201, "application/json", FRESH),
        // One client of the time read these as replies, too.
        answer(400, "application/json", FRESH),
        says(marked),
        says(format!("\r\n\t {FRESH}\n\n")),
        says(unknown.replace("1e400", "1e40")),
        says(r#"{"code":"0"}"#),
        says(r#"{"code":" 0 "}"#),
        says(r#"{"code":-10001,"code":0}"#),
        says(format!("{}{}", &FRESH[..FRESH.len() - 1], r#","fileId":7,"listParts":"none","dataSize":-1}"#)),
    ] {
        let stub = Stub::start(SERVER).await.answers((Action::InitUpload, None), [reply]);
        let told = stub::told(&stub, 1).await;
        assert!(told.starts_with("finished as 9031868222958931071\nInitUpload UploadPart@0 "), "{told}");
    }
}

#[tokio::test]
async fn a_stored_file_is_known_by_its_id_alone() {
    for (reply, expected) in [
        (FINISHED, Ok("9031868222958931071 http://x/f0.mp4")),
        (r#"{"code":0,"fileId":9031868222958931071}"#, Ok("9031868222958931071 nowhere")),
        (r#"{"code":0,"fileId":18446744073709551615,"url":7,"verify_content":[]}"#, Ok("18446744073709551615 nowhere")),
        (r#"{"code":"0","fileId":"a","url":""}"#, Ok("a nowhere")),
        (r#"{"code":0,"fileId":""}"#, Err(r#"field fileId: expected a file id, found """#)),
        (r#"{"code":0,"fileId":null}"#, Err("field fileId: expected a file id, found null")),
        (r#"{"code":0,"fileId":["7"]}"#, Err(r#"field fileId: expected a file id, found ["7"]"#)),
        (PART, Err("field fileId: expected a file id, found nothing")),
    ] {
        let stub = Stub::start(Way::Whole).await.answers((Action::SmallFileUpload, None), [says(reply)]);
        match (stub.upload(1).await, expected) {
            (Ok(report), Ok(expected)) => {
                assert_eq!(format!("{} {}", report.file_id, report.url.as_deref().unwrap_or("nowhere")), expected);
            }
            // It said that it took the file, and not which one: it may be there.
            (Err(error), Err(expected)) => {
                assert!(error.may_be_committed && error.to_string().contains(expected), "{reply}: {error}");
            }
            (ended, _) => panic!("{reply}: {ended:?}"),
        }
    }
}

#[tokio::test]
async fn the_proof_of_a_ugc_upload_comes_home() {
    let proven = FINISHED.replace("\"sessionInfo\"", "\"verify_content\":\"cHJvb2Y=\",\"sessionInfo\"");
    let stub = Stub::start(Way::Steps(Family::Ugc)).await.answers((Action::FinishUploadEx, None), [says(proven)]);
    assert_eq!(stub.upload(1).await.unwrap().verify_content.as_deref(), Some("cHJvb2Y="));
}

#[tokio::test]
async fn where_the_legacy_family_goes_on_is_read_as_a_number_or_a_text() {
    for offset in ["524288", "\"524288\""] {
        let reply = format!(r#"{{"code":0,"message":"","flag":"0","offset":{offset}}}"#);
        let stub = Stub::start(Way::Sequence).await.answers((Action::MultipartUploadVodFile, Some(0)), [says(reply)]);
        check(stub, expect!["finished as 9031868222958931071\nMultipartUploadVodFile@0 MultipartUploadVodFile@524288"])
            .await;
    }
}

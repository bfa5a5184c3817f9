//! Replies that say what they should not: fields that are used and cannot be, and errors inside a 200.

use vod_client::Family;
use vod_proto::Action;

use super::stub::{self, FIRST, FRESH, Stub, Way, answer, says};

const SERVER: Way = Way::Steps(Family::Server);
const NEXT: Action = Action::MultipartUploadVodFile;

/// What is answered to whom, and what the user is told.
const FIELDS: &[(Way, stub::Asked, &str, &str)] = &[
    (SERVER, INIT, r#"{"code":1,"listParts":[]}"#, "field dataSize: expected a positive integer, found nothing"),
    (SERVER, INIT, r#"{"code":1,"dataSize":0}"#, "field dataSize: expected a positive integer, found 0"),
    (SERVER, INIT, r#"{"code":1,"dataSize":-1}"#, "field dataSize: expected a positive integer, found -1"),
    (SERVER, INIT, r#"{"code":1,"dataSize":"1 MiB"}"#, r#"field dataSize: expected a positive integer, found "1 MiB""#),
    (SERVER, INIT, r#"{"code":1,"dataSize":9,"listParts":{}}"#, "field listParts: expected an array, found {}"),
    (SERVER, INIT, r#"{"code":1,"dataSize":9,"listParts":[7]}"#, "field listParts[0]: expected an object, found 7"),
    (SERVER, INIT, r#"{"code":1,"dataSize":9,"listParts":[{}]}"#, "field listParts[0].offset: expected a byte offset"),
    (SERVER, INIT, r#"{"code":2,"message":""}"#, "field fileId: expected a file id, found nothing"),
    (SERVER, INIT, r#"{"code":2,"fileId":true}"#, "field fileId: expected a file id, found true"),
    (SERVER, FINISH, r#"{"code":0,"message":""}"#, "field fileId: expected a file id, found nothing"),
    (Way::Sequence, FIRST_PART, r#"{"code":0}"#, "field flag: expected 0 or 1, found nothing"),
    (Way::Sequence, FIRST_PART, r#"{"code":0,"flag":2}"#, "field flag: expected 0 or 1, found 2"),
    (Way::Sequence, FIRST_PART, r#"{"code":0,"flag":0}"#, "field offset: expected a byte offset, found nothing"),
    (Way::Sequence, FIRST_PART, r#"{"code":0,"flag":0,"offset":-1}"#, "field offset: expected a byte offset, found -1"),
    (Way::Sequence, FIRST_PART, r#"{"code":0,"flag":1}"#, "field fileId: expected a file id, found nothing"),
    (Way::Sequence, LAST_PART, r#"{"code":0,"flag":1,"fileId":""}"#, "field fileId: expected a file id, found"),
];

const INIT: stub::Asked = (Action::InitUpload, None);
const FINISH: stub::Asked = (Action::FinishUpload, None);
const FIRST_PART: stub::Asked = (NEXT, Some(0));
const LAST_PART: stub::Asked = (NEXT, Some(FIRST));

#[tokio::test]
async fn a_field_that_cannot_be_used_is_named_with_what_was_expected_and_the_request_sent_again() {
    for (way, asked, reply, found) in FIELDS {
        let stub = Stub::start(*way).await.always(INIT, says(FRESH)).always(*asked, says(*reply));
        let error = stub.upload(1).await.unwrap_err();
        let told = error.to_string();
        assert!(error.kind() == "malformed" && told.contains(found), "{reply}: {told}");
        let stub = Stub::start(*way).await.answers(*asked, [says(*reply)]);
        let report = stub.upload(2).await.unwrap_or_else(|error| panic!("{reply}: {error}"));
        assert!(report.attempts > 2, "{reply}: {}", stub.story());
    }
}

#[tokio::test]
async fn an_offset_outside_the_file_is_not_argued_with() {
    let beyond = says(r#"{"code":0,"flag":0,"offset":600001}"#);
    let error = Stub::start(Way::Sequence).await.always(FIRST_PART, beyond).upload(6).await.unwrap_err();
    assert_eq!(error.kind(), "malformed");
    assert!(error.to_string().contains("offset 600001 is wanted, of a file of 600000 bytes"), "{error}");
    assert_eq!(error.requests, 1, "the same question has the same answer");
}

/// What became of an error, in the first request of each family, where it may be tried twice.
async fn tried(way: Way, reply: &wiremock::ResponseTemplate) -> (u64, String) {
    let asked = way.requests()[0];
    let error = Stub::start(way).await.always(asked, reply.clone()).upload(2).await.unwrap_err();
    assert!(!error.may_be_committed, "a refusal was read: {error}");
    (error.requests, format!("{}: {}", error.kind(), stub::last(&error)))
}

#[tokio::test]
async fn an_error_inside_a_200_is_tried_again_as_its_code_and_can_retry_say() {
    let newer = [Way::Steps(Family::Server), Way::Steps(Family::Ugc), Way::Whole];
    for (body, tries) in [
        (r#"{"code":-10004,"message":"busy","canRetry":1}"#, 2),
        (r#"{"code":-10004,"message":"busy","canRetry":"1"}"#, 2),
        (r#"{"code":"-10004","message":"busy","canRetry":true}"#, 2),
        (r#"{"code":-10004,"message":"busy","canRetry":0}"#, 1),
        (r#"{"code":-10004,"message":"busy","canRetry":"0"}"#, 1),
        (r#"{"code":-10004,"message":"busy","canRetry":false}"#, 1),
        (r#"{"code":-10004,"message":"busy","canRetry":"yes"}"#, 2),
        (r#"{"code":-10004,"message":"busy","canRetry":null}"#, 2),
        (r#"{"code":-10004,"message":"busy"}"#, 2),
        (r#"{"code":-77777,"message":"busy","canRetry":1}"#, 2),
        (r#"{"code":-77777,"message":"busy"}"#, 1),
        (r#"{"code":4100,"message":"busy","canRetry":1}"#, 1),
        (r#"{"code":77777,"message":"busy","canRetry":1}"#, 1),
    ] {
        for way in newer {
            for wrapped in [says(body), answer(400, "application/json", body), answer(403, "text/html", body)] {
                let (requests, told) = tried(way, &wrapped).await;
                assert_eq!(requests, tries, "{way:?}, {body}: {told}");
                assert!(told.contains("the server answered") && told.ends_with(": busy"), "{told}");
            }
        }
    }
}

#[tokio::test]
async fn the_legacy_family_has_no_can_retry_and_goes_by_the_code_alone() {
    for (body, tries) in [
        (r#"{"code":6000,"message":"busy"}"#, 2),
        (r#"{"code":-25985,"message":"busy","canRetry":1}"#, 1),
        (r#"{"code":4100,"message":"busy"}"#, 1),
    ] {
        let (requests, told) = tried(Way::Sequence, &says(body)).await;
        assert_eq!(requests, tries, "{body}: {told}");
    }
}

#[tokio::test]
async fn a_message_of_any_type_does_not_hide_the_code() {
    for message in ["7", "null", "[]", r#"{"zh":"x"}"#, r#""\u0000\u001b[2J""#] {
        let body = format!(r#"{{"code":-10001,"message":{message},"codeDesc":9,"canRetry":0}}"#);
        let (requests, told) = tried(SERVER, &says(body)).await;
        assert!(requests == 1 && told.starts_with("rejected: the server answered -10001 ("), "{told}");
    }
}

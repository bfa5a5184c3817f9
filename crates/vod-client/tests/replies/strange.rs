//! What is no reply of the protocol: pages, nothing, halves, too much. Whatever was asked, it may have been done.

use vod_client::Failure;
use vod_proto::{Action, action::Role};
use wiremock::{MockServer, ResponseTemplate};

use super::stub::{self, FIRST, FRESH, Stub, Way, answer, says};

const PAGE: &str = "<html><head><title>502 Bad Gateway</title></head></html>";

/// What came, and what the user is told of it.
fn strange() -> Vec<(ResponseTemplate, &'static str, &'static str)> {
    const NO_JSON: &str = "the reply cannot be read: expected a JSON object, found what is no JSON";
    vec![
        (
            answer(200, "text/html", PAGE),
            "malformed",
            r#"(expected value at line 1 column 1): "<html><head><title>502"#,
        ),
        (answer(200, "application/json", PAGE), "malformed", NO_JSON),
        (answer(500, "text/html", PAGE), "transport", "HTTP status 500"),
        (answer(502, "text/html", PAGE), "transport", "HTTP status 502"),
        (answer(503, "text/html", PAGE).insert_header("Retry-After", "1"), "transport", "HTTP status 503"),
        (answer(503, "application/json", FRESH), "transport", "HTTP status 503"),
        (answer(504, "text/html", ""), "transport", "HTTP status 504"),
        (answer(403, "text/html", PAGE), "transport", "HTTP status 403"),
        (answer(404, "text/html", PAGE), "transport", "HTTP status 404"),
        (answer(418, "application/json", "[]"), "transport", "HTTP status 418"),
        (ResponseTemplate::new(304), "transport", "HTTP status 304"),
        (ResponseTemplate::new(204), "malformed", "the reply cannot be read: expected a JSON object, found nothing"),
        (says(""), "malformed", "the reply cannot be read: expected a JSON object, found nothing"),
        (says(" \r\n"), "malformed", "expected a JSON object, found nothing"),
        (
            says(r#"{"code":0,"mess"#),
            "malformed",
            r#"(EOF while parsing a string at line 1 column 15): "{\"code\":0,\"mess""#,
        ),
        (says(r#"{"code":0}{"code":0}"#), "malformed", "(trailing characters at line 1 column 11)"),
        (says("callback({\"code\":0})"), "malformed", NO_JSON),
        (says("[]"), "malformed", "expected a JSON object, found an array"),
        (says("null"), "malformed", "expected a JSON object, found null"),
        (says("\"ok\""), "malformed", "expected a JSON object, found a string"),
        (says("0"), "malformed", "expected a JSON object, found a number"),
        (says("true"), "malformed", "expected a JSON object, found a boolean"),
        (says("{}"), "malformed", "field code: expected an integer, found nothing"),
        (says(r#"{"Code":0}"#), "malformed", "field code: expected an integer, found nothing"),
        (says(r#"{"code":null}"#), "malformed", "field code: expected an integer, found null"),
        (says(r#"{"code":"zero"}"#), "malformed", r#"field code: expected an integer, found "zero""#),
        (says(r#"{"code":""}"#), "malformed", r#"field code: expected an integer, found """#),
        (says(r#"{"code":0.5}"#), "malformed", "field code: expected an integer, found 0.5"),
        (says(r#"{"code":99999999999999999999}"#), "malformed", "field code: expected an integer, found 1e+20"),
        (says(r#"{"code":true}"#), "malformed", "field code: expected an integer, found true"),
        (says(r#"{"code":{"code":0}}"#), "malformed", r#"field code: expected an integer, found {"code":0}"#),
        (
            says(b"\x1f\x8b\x08\x00\x00\x00\x00\x00".to_vec()).insert_header("Content-Encoding", "gzip"),
            "malformed",
            NO_JSON,
        ),
        (says(b"{\"code\":\xff\xfe}".to_vec()), "malformed", NO_JSON),
        (says(b"\xff\xfe{\x00}\x00".to_vec()), "malformed", NO_JSON),
        (says("[".repeat(100_000)), "malformed", "(recursion limit exceeded"),
        (says(format!("{{\"code\":{}", "[".repeat(100_000))), "malformed", "(recursion limit exceeded"),
    ]
}

/// May the file be there when this request gets no readable answer?
fn finishes((action, offset): stub::Asked) -> bool {
    match action.role() {
        Role::Finish | Role::Whole => true,
        Role::Next => offset == Some(FIRST),
        Role::Open | Role::Part | Role::Report => false,
    }
}

#[tokio::test]
async fn once_is_ridden_out_whatever_was_asked_and_a_finish_is_asked_about() {
    for way in Way::ALL {
        for asked in way.requests() {
            let usual = Stub::start(way).await;
            usual.upload(2).await.unwrap();
            let again = match asked {
                (action, None) if action.role() == Role::Finish => format!("{action} {}", way.family().open()),
                (action, None) => format!("{action} {action}"),
                (action, Some(offset)) => format!("{action}@{offset} {action}@{offset}"),
            };
            let one = again.split(' ').next().unwrap();
            let expected = usual.story().replacen(one, &again, 1);
            let outcome = if finishes(asked) { "committed-earlier" } else { "finished" };
            for (reply, _, says) in strange() {
                let stub = Stub::start(way).await.answers(asked, [reply]);
                let told = stub::told(&stub, 2).await;
                assert_eq!(told, format!("{outcome} as 9031868222958931071\n{expected}"), "{asked:?}, {says}");
            }
        }
    }
}

#[tokio::test]
async fn for_ever_ends_the_upload_with_what_was_expected_and_found() {
    for way in Way::ALL {
        for asked in way.requests() {
            for (reply, kind, says) in strange() {
                // A server that knows nothing of the file leaves it open what became of a finish.
                let open = (way.family().open(), None);
                let stub = Stub::start(way).await.always(open, stub::says(FRESH)).always(asked, reply);
                let error = stub.upload(1).await.unwrap_err();
                let told = error.to_string();
                assert_eq!((error.kind(), error.may_be_committed), (kind, finishes(asked)), "{asked:?}: {told}");
                assert!(told.contains(says), "{asked:?}: {told}");
            }
        }
    }
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let elsewhere = MockServer::start().await;
    for status in [301, 302, 303, 307, 308] {
        for way in Way::ALL {
            for asked in way.requests() {
                let reply = ResponseTemplate::new(status).insert_header("Location", elsewhere.uri());
                let stub = Stub::start(way).await.answers(asked, [reply]);
                stub.upload(2).await.unwrap();
            }
        }
    }
    let asked = elsewhere.received_requests().await.unwrap();
    assert!(asked.is_empty(), "what is signed for one host was sent to another: {asked:?}");
    let redirect = ResponseTemplate::new(302).insert_header("Location", elsewhere.uri());
    let stub = Stub::start(Way::Whole).await.always((Action::SmallFileUpload, None), redirect);
    let error = stub.upload(2).await.unwrap_err();
    assert_eq!(stub::last(&error).to_string(), "HTTP status 302");
}

/// Not read to its end, and not kept: 64 MiB are the most.
#[tokio::test]
async fn a_gigantic_reply_is_given_up() {
    let endless = says(vec![b' '; (64 << 20) + 1]);
    let stub = Stub::start(Way::Steps(vod_client::Family::Server)).await.always((Action::InitUpload, None), endless);
    let error = stub.upload(1).await.unwrap_err();
    let expected = Failure::Malformed("it is longer than 67108864 bytes".to_owned());
    assert_eq!(error.failure, expected);
}

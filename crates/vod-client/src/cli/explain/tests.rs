//! What is said of codes, word for word.

use expect_test::{Expect, expect};

use super::*;

#[track_caller]
fn check(what: &str, expected: Expect) {
    let words: Vec<_> = what.split_whitespace().map(str::to_owned).collect();
    expected.assert_eq(&explain(&words).unwrap_or_else(|failure| format!("error: {failure}")));
}

#[test]
fn a_code_is_told_with_its_retry_its_requests_and_what_to_do() {
    check(
        "-10004",
        expect![[r#"
            -10004: the server could not write what it must remember
            families: server, UGC
            sent again: yes; but no if the reply says canRetry 0
              InitUpload, InitUploadEx: tells what is there: nothing, some parts, or the whole file
              UploadPart, UploadPartEx: a part that comes again takes the earlier one's place
              FinishUpload, FinishUploadEx: a stored file is answered again; a forgotten session cannot be told from one that was stored and removed, so the opening action is asked before
              SmallFileUpload: a stored file is answered again
            the client: sends it again, 6 times in all and 50 retries in an upload (--attempts); then ends with exit code 6
            you: nothing: it is sent again"#]],
    );
    check(
        "-10005",
        expect![[r#"
            -10005: the server could not find or read the upload's session
            families: server, UGC
            sent again: yes; but no if the reply says canRetry 0
              InitUpload, InitUploadEx: tells what is there: nothing, some parts, or the whole file
              UploadPart, UploadPartEx: a part that comes again takes the earlier one's place
              FinishUpload, FinishUploadEx: a stored file is answered again; a forgotten session cannot be told from one that was stored and removed, so the opening action is asked before
              SmallFileUpload: a stored file is answered again
            the client: sends it again, 6 times in all and 50 retries in an upload (--attempts); twice in a row on one request, it opens the upload again, and sends what the server lacks; then ends with exit code 6
            you: twice in a row: the upload must be opened again"#]],
    );
    check(
        "-10002",
        expect![[r#"
        -10002: the signature does not hold, has expired, or its account is unknown
        families: server, UGC
        sent again: no; but yes if the reply says canRetry 1
        answers a parameter that is missing or wrong:
          InitUploadEx: signature
          UploadPartEx: signature
          FinishUploadEx: signature
        the client: ends with exit code 5; if it answers a finish, it asks first whether a part is missing, at most twice in an upload
        you: SecretId and SecretKey, the host and path that were signed, the clock"#]],
    );
    check(
        "-25986",
        expect![[r#"
            -25986: fileType is wrong
            families: legacy
            sent again: no; this family's replies have no canRetry
            answers a parameter that is missing or wrong:
              MultipartUploadVodFile: fileType
            the client: ends with exit code 5
            you: the type: the file's suffix, without a dot"#]],
    );
    check(
        "4400",
        expect![[r#"
            4400: over quota: too many requests
            families: all
            sent again: yes, after a wait that is charged to nobody, whatever canRetry says
              InitUpload, InitUploadEx: tells what is there: nothing, some parts, or the whole file
              UploadPart, UploadPartEx: a part that comes again takes the earlier one's place
              FinishUpload, FinishUploadEx: a stored file is answered again; a forgotten session cannot be told from one that was stored and removed, so the opening action is asked before
              MultipartUploadVodFile: the reply names the offset to go on at, or the file if it is whole
              SmallFileUpload: a stored file is answered again
            the client: waits and sends it again, for up to 15 min; then ends with exit code 6
            you: nothing: it is sent again after a while"#]],
    );
}

#[test]
fn of_an_unknown_code_the_rule_is_told() {
    check(
        "-28996",
        expect![[r#"
        -28996: no document names this code
        The rule for unknown negative codes: the same request is sent again if the reply says canRetry 1, and is final if it says 0 or nothing.
        the client: ends with exit code 5; if it answers a finish, it asks first whether a part is missing, at most twice in an upload
        you: read the message that came with it"#]],
    );
    check(
        "9999",
        expect![[r#"
        9999: no document names this code
        The rule for unknown positive codes: a failure, and final, whatever canRetry says.
        the client: ends with exit code 5; if it answers a finish, it asks first whether a part is missing, at most twice in an upload
        you: read the message that came with it"#]],
    );
    check(
        "503",
        expect![[r#"
        503: no document names this code
        The rule for unknown positive codes: a failure, and final, whatever canRetry says.
        the client: ends with exit code 5; if it answers a finish, it asks first whether a part is missing, at most twice in an upload
        you: read the message that came with it
        An HTTP status is another thing: `vod-client explain http 503`."#]],
    );
}

#[test]
fn success_statuses_and_exit_codes_are_told_too() {
    check(
        "2",
        expect![
            "2: the whole file is there. An answer to an opening request: the client is done, and reports `existed`."
        ],
    );
    check(
        "http 503",
        expect![[r#"
            HTTP 503: a failure of the server, or of a proxy before it
            sent again: yes, by what sending it twice comes to:
              InitUpload, InitUploadEx: tells what is there: nothing, some parts, or the whole file
              UploadPart, UploadPartEx: a part that comes again takes the earlier one's place
              FinishUpload, FinishUploadEx: a stored file is answered again; a forgotten session cannot be told from one that was stored and removed, so the opening action is asked before
              MultipartUploadVodFile: the reply names the offset to go on at, or the file if it is whole
              SmallFileUpload: a stored file is answered again
            the client: sends it again, 6 times in all (--attempts), not before the reply's Retry-After, of which it honours 60 s; then ends with exit code 6
            you: check the endpoint, and what stands between"#]],
    );
    check(
        "http 429",
        expect![[r#"
        HTTP 429: too many requests: turned away at the door
        sent again: yes: the server did not act on it
        the client: sends it again, 6 times in all (--attempts), not before the reply's Retry-After, of which it honours 60 s; then ends with exit code 6
        you: check the endpoint, and what stands between"#]],
    );
    check(
        "exit 6",
        expect![[r#"
            exit code 6: the network failed or the server did not recover, and the retries are spent
            kind in --json: exhausted or transport
            you: run the same command again: it resumes"#]],
    );
    check("exit 137", expect!["exit code 137: this program ends with no such code; above 128, a signal ended it"]);
}

#[test]
fn what_is_no_code_is_refused() {
    check(
        "often",
        expect![[r#"error: the code is "often": expected a number such as -10004, or `http 503`, or `exit 6`"#]],
    );
    check(
        "http 42",
        expect![[r#"error: the code is "42": expected a number such as -10004, or `http 503`, or `exit 6`"#]],
    );
    check(
        "exit six",
        expect![[r#"error: the code is "six": expected a number such as -10004, or `http 503`, or `exit 6`"#]],
    );
}

#[test]
fn every_code_of_the_table_stands_in_the_list() {
    let all = all();
    for row in code::TABLE {
        assert!(all.lines().any(|line| line.trim_start().starts_with(&format!("{} ", row.code))), "{}", row.code);
    }
}

use expect_test::expect;

use super::*;

fn read(body: &str) -> Result<Plan, String> {
    toml::from_str(&format!("[[fault]]\nid = \"f\"\n{body}\n")).map_err(|error| error.to_string())
}

/// Every line of a table, each with what is said of it.
fn checked(rows: &[&str], say: impl Fn(&str) -> String) -> String {
    rows.iter().map(|row| format!("{row}\n    {}\n", say(row))).collect()
}

/// What is refused as it is read: where, and why.
fn unreadable(row: &str) -> String {
    let error = read(&row.replace(" | ", "\n")).expect_err(row);
    let place = error.lines().next().unwrap().trim_start_matches("TOML parse error at ");
    let why = error.lines().skip_while(|line| !line.contains('^')).nth(1).expect("a reason behind the caret");
    format!("{place}: {why}")
}

/// What can be read, and is refused as it is checked.
fn impossible(row: &str) -> String {
    let plan = read(&row.replace(" | ", "\n")).unwrap_or_else(|error| panic!("{row}: {error}"));
    plan.check().expect_err(row).why
}

#[test]
fn what_is_unknown_is_refused_with_line_and_caret() {
    let error =
        read("on = { action = \"UploadPart\", parts = 3 }\nphase = \"after-commit\"\ndo = \"reset\"").unwrap_err();
    expect![[r#"
        TOML parse error at line 3, column 31
          |
        3 | on = { action = "UploadPart", parts = 3 }
          |                               ^^^^^
        unknown field `parts`, expected one of `action`, `part`, `offset`, `attempt`, `account`, `file-sha`, `host`, `every`, `chance`, `after`, `until`, `times`
    "#]]
    .assert_eq(&error);
}

#[test]
fn every_unknown_name_and_wrong_value_is_named_with_its_place() {
    let rows = [
        // Names.
        "phase = \"after-comit\" | do = \"reset\"",
        "phase = \"before-read\" | do = \"explode\"",
        "phase = \"before-read\" | do = { explode = 1 }",
        "phase = \"before-read\" | when = 1 | do = \"reset\"",
        "phase = \"before-read\" | on = { action = \"Upload\" } | do = \"reset\"",
        "phase = \"before-read\" | do = { reply = { code = 1, retry = true } }",
        "phase = \"before-read\" | do = { http = { status = 503, after = \"1s\" } }",
        "phase = \"before-read\" | do = { delay = { even = { min = \"1s\", max = \"2s\" } } }",
        "phase = \"before-read\" | do = { delay = { uniform = { min = \"1s\", most = \"2s\" } } }",
        "phase = \"before-read\" | do = { delay = { log-normal = { median = \"1s\", sigma = 1.0 } } }",
        "phase = \"before-read\" | do = { throttle = { reed = \"1KiB/s\" } }",
        "phase = \"after-commit\" | do = { truncate-reply = { after = 1 } }",
        "phase = \"before-commit\" | do = { corrupt = { byte = 1 } }",
        "phase = \"before-commit\" | do = { list = \"wrong\" }",
        "phase = \"before-commit\" | do = { kill = \"server\" }",
        // Values.
        "phase = \"mid-body\" | at = -1 | do = \"reset\"",
        "phase = \"mid-body\" | at = \"1KiB\" | do = \"reset\"",
        "phase = \"before-read\" | on = { part = \"2\" } | do = \"reset\"",
        "phase = \"before-read\" | on = { attempt = 1.5 } | do = \"reset\"",
        "phase = \"before-read\" | on = { chance = \"half\" } | do = \"reset\"",
        "phase = \"before-read\" | on = { file-sha = \"da39\" } | do = \"reset\"",
        "phase = \"before-read\" | on = { after = 3 } | do = \"reset\"",
        "phase = \"before-read\" | do = { reply = { code = \"-10004\" } }",
        "phase = \"before-read\" | do = { reply = {} }",
        "phase = \"before-read\" | do = { http = 503 }",
        "phase = \"before-read\" | do = { http = { status = 70000 } }",
        "phase = \"before-read\" | do = { delay = 5 }",
        "phase = \"before-read\" | do = { delay = \"soon\" }",
        "phase = \"before-read\" | do = { throttle = { read = \"fast\" } }",
        "phase = \"before-read\" | do = { throttle = { read = \"0/s\" } }",
        "phase = \"before-read\" | do = { stall = \"a while\" }",
        "phase = \"before-read\" | do = { refuse = 3 }",
        "phase = \"before-read\" | do = { hold = 3 }",
        "phase = \"before-commit\" | do = { data-size = \"big\" }",
        "phase = \"before-commit\" | do = { transcode = \"-502\" }",
        // Shapes.
        "do = \"reset\"",
        "phase = \"before-read\"",
        "phase = \"before-read\" | do = { delay = \"1s\", hold = \"name\" }",
        "phase = \"before-read\" | do = {}",
        "phase = \"before-read\" | do = \"delay\"",
        "phase = \"before-read\" | do = 3",
        "phase = \"before-read\" | do = { close = 1 }",
        "phase = \"before-read\" | on = \"InitUpload\" | do = \"reset\"",
    ];
    expect![[r#"
        phase = "after-comit" | do = "reset"
            line 3, column 9: unknown variant `after-comit`, expected one of `before-read`, `mid-body`, `before-commit`, `after-commit`, `mid-reply`
        phase = "before-read" | do = "explode"
            line 4, column 6: unknown variant `explode`, expected one of `reply`, `http`, `delay`, `throttle`, `stall`, `close`, `reset`, `truncate-reply`, `garbage-reply`, `empty-reply`, `corrupt`, `drop-part`, `kill`, `list`, `data-size`, `expire-session`, `refuse`, `hold`, `transcode`
        phase = "before-read" | do = { explode = 1 }
            line 4, column 8: unknown variant `explode`, expected one of `reply`, `http`, `delay`, `throttle`, `stall`, `close`, `reset`, `truncate-reply`, `garbage-reply`, `empty-reply`, `corrupt`, `drop-part`, `kill`, `list`, `data-size`, `expire-session`, `refuse`, `hold`, `transcode`
        phase = "before-read" | when = 1 | do = "reset"
            line 4, column 1: unknown field `when`, expected one of `id`, `on`, `phase`, `at`, `do`
        phase = "before-read" | on = { action = "Upload" } | do = "reset"
            line 4, column 17: unknown variant `Upload`, expected one of `InitUpload`, `UploadPart`, `FinishUpload`, `InitUploadEx`, `UploadPartEx`, `FinishUploadEx`, `MultipartUploadVodFile`, `SmallFileUpload`, `Report`
        phase = "before-read" | do = { reply = { code = 1, retry = true } }
            line 4, column 28: unknown field `retry`, expected one of `code`, `can-retry`, `message`
        phase = "before-read" | do = { http = { status = 503, after = "1s" } }
            line 4, column 31: unknown field `after`, expected `status` or `retry-after`
        phase = "before-read" | do = { delay = { even = { min = "1s", max = "2s" } } }
            line 4, column 18: unknown variant `even`, expected `uniform` or `log-normal`
        phase = "before-read" | do = { delay = { uniform = { min = "1s", most = "2s" } } }
            line 4, column 42: unknown field `most`, expected `min` or `max`
        phase = "before-read" | do = { delay = { log-normal = { median = "1s", sigma = 1.0 } } }
            line 4, column 31: missing field `cap`
        phase = "before-read" | do = { throttle = { reed = "1KiB/s" } }
            line 4, column 21: unknown field `reed`, expected `read` or `write`
        phase = "after-commit" | do = { truncate-reply = { after = 1 } }
            line 4, column 27: unknown field `after`, expected `at`
        phase = "before-commit" | do = { corrupt = { byte = 1 } }
            line 4, column 20: unknown field `byte`, expected `offset`
        phase = "before-commit" | do = { list = "wrong" }
            line 4, column 15: unknown variant `wrong`, expected one of `stale`, `without-md5`, `sha-instead-of-md5`, `other-md5`, `empty`
        phase = "before-commit" | do = { kill = "server" }
            line 4, column 15: unknown variant `server`, expected `client` or `mock`
        phase = "mid-body" | at = -1 | do = "reset"
            line 4, column 6: invalid value: integer `-1`, expected u64
        phase = "mid-body" | at = "1KiB" | do = "reset"
            line 4, column 6: invalid type: string "1KiB", expected u64
        phase = "before-read" | on = { part = "2" } | do = "reset"
            line 4, column 15: invalid type: string "2", expected u64
        phase = "before-read" | on = { attempt = 1.5 } | do = "reset"
            line 4, column 18: invalid type: floating point `1.5`, expected u32
        phase = "before-read" | on = { chance = "half" } | do = "reset"
            line 4, column 17: invalid type: string "half", expected f64
        phase = "before-read" | on = { file-sha = "da39" } | do = "reset"
            line 4, column 19: "da39" is not a SHA-1: expected 40 hexadecimal digits
        phase = "before-read" | on = { after = 3 } | do = "reset"
            line 4, column 16: invalid type: integer `3`, expected a duration such as "300ms" or "2s"
        phase = "before-read" | do = { reply = { code = "-10004" } }
            line 4, column 25: invalid type: string "-10004", expected i64
        phase = "before-read" | do = { reply = {} }
            line 4, column 16: missing field `code`
        phase = "before-read" | do = { http = 503 }
            line 4, column 15: invalid type: integer `503`, expected a table such as { status = 503 }
        phase = "before-read" | do = { http = { status = 70000 } }
            line 4, column 26: invalid value: integer `70000`, expected u16
        phase = "before-read" | do = { delay = 5 }
            line 4, column 16: invalid type: integer `5`, expected a duration such as "300ms", { uniform = … } or { log-normal = … }
        phase = "before-read" | do = { delay = "soon" }
            line 4, column 16: "soon" is no duration such as "300ms" or "2s": expected number at 0
        phase = "before-read" | do = { throttle = { read = "fast" } }
            line 4, column 28: "fast" is no rate above 0 such as "256KiB/s" or "1000/s"
        phase = "before-read" | do = { throttle = { read = "0/s" } }
            line 4, column 28: "0/s" is no rate above 0 such as "256KiB/s" or "1000/s"
        phase = "before-read" | do = { stall = "a while" }
            line 4, column 16: "a while" is no duration such as "300ms" or "2s": expected number at 0, or "forever"
        phase = "before-read" | do = { refuse = 3 }
            line 4, column 17: invalid type: integer `3`, expected a duration such as "300ms" or "2s"
        phase = "before-read" | do = { hold = 3 }
            line 4, column 15: invalid type: integer `3`, expected a string
        phase = "before-commit" | do = { data-size = "big" }
            line 4, column 20: "big" is no size such as "64MiB", "512KiB" or 6000000
        phase = "before-commit" | do = { transcode = "-502" }
            line 4, column 20: invalid type: string "-502", expected i64
        do = "reset"
            line 1, column 1: missing field `phase`
        phase = "before-read"
            line 1, column 1: missing field `do`
        phase = "before-read" | do = { delay = "1s", hold = "name" }
            line 4, column 6: there is more than one thing to do: expected a fault for each
        phase = "before-read" | do = {}
            line 4, column 6: there is nothing to do: expected one thing, such as { delay = "300ms" }
        phase = "before-read" | do = "delay"
            line 4, column 6: delay needs a value: expected { delay = … }
        phase = "before-read" | do = 3
            line 4, column 6: invalid type: integer `3`, expected what to do, such as "reset" or { delay = "300ms" }
        phase = "before-read" | do = { close = 1 }
            line 4, column 16: invalid type: integer `1`, expected unit
        phase = "before-read" | on = "InitUpload" | do = "reset"
            line 4, column 6: invalid type: string "InitUpload", expected a table such as { action = "UploadPart", part = 2 }
    "#]].assert_eq(&checked(&rows, unreadable));
}

#[test]
fn what_could_never_strike_is_refused() {
    let rows = [
        // Phases.
        "phase = \"after-commit\" | do = \"drop-part\"",
        "phase = \"before-read\" | do = { corrupt = { offset = 0 } }",
        "phase = \"mid-body\" | do = { http = { status = 503 } }",
        "phase = \"mid-reply\" | do = { reply = { code = 1 } }",
        "phase = \"mid-body\" | do = \"garbage-reply\"",
        "phase = \"mid-reply\" | do = \"empty-reply\"",
        "phase = \"before-commit\" | do = { truncate-reply = { at = 1 } }",
        "phase = \"after-commit\" | do = { list = \"empty\" }",
        "phase = \"before-read\" | do = { data-size = \"1MiB\" }",
        "phase = \"mid-body\" | do = \"expire-session\"",
        "phase = \"after-commit\" | do = { transcode = -502 }",
        "phase = \"before-commit\" | do = { throttle = { read = \"1KiB/s\" } }",
        "phase = \"mid-reply\" | do = { throttle = { read = \"1KiB/s\", write = \"1KiB/s\" } }",
        // Bytes.
        "phase = \"before-read\" | at = 3 | do = \"close\"",
        "phase = \"after-commit\" | at = 0 | do = \"close\"",
        "phase = \"mid-body\" | on = { action = \"InitUpload\" } | do = \"close\"",
        "phase = \"mid-body\" | on = { action = \"FinishUploadEx\" } | do = { delay = \"1s\" }",
        // Actions.
        "phase = \"before-read\" | on = { action = \"InitUpload\", part = 1 } | do = \"close\"",
        "phase = \"before-read\" | on = { action = \"SmallFileUpload\", offset = 0 } | do = \"close\"",
        "phase = \"before-commit\" | on = { action = \"InitUpload\" } | do = \"drop-part\"",
        "phase = \"before-commit\" | on = { action = \"SmallFileUpload\" } | do = { corrupt = { offset = 0 } }",
        "phase = \"before-commit\" | on = { action = \"UploadPart\" } | do = { list = \"stale\" }",
        "phase = \"before-commit\" | on = { action = \"MultipartUploadVodFile\" } | do = { data-size = \"1MiB\" }",
        "phase = \"before-commit\" | on = { action = \"UploadPartEx\" } | do = { transcode = -502 }",
        "phase = \"after-commit\" | on = { action = \"FinishUpload\" } | do = \"expire-session\"",
        "phase = \"before-read\" | on = { action = \"Report\" } | do = \"expire-session\"",
        "phase = \"before-read\" | on = { action = \"InitUpload\" } | do = { throttle = { read = \"1KiB/s\" } }",
        // Numbers.
        "phase = \"before-read\" | on = { part = 0 } | do = \"close\"",
        "phase = \"before-read\" | on = { attempt = 0 } | do = \"close\"",
        "phase = \"before-read\" | on = { every = 0 } | do = \"close\"",
        "phase = \"before-read\" | on = { times = 0 } | do = \"close\"",
        "phase = \"before-read\" | on = { chance = 0 } | do = \"close\"",
        "phase = \"before-read\" | on = { chance = 1.5 } | do = \"close\"",
        "phase = \"before-read\" | on = { chance = nan } | do = \"close\"",
        "phase = \"before-read\" | on = { part = 1, offset = 524288 } | do = \"close\"",
        "phase = \"before-read\" | on = { part = 2, offset = 0 } | do = \"close\"",
        "phase = \"before-read\" | on = { until = \"0s\" } | do = \"close\"",
        "phase = \"before-read\" | on = { after = \"2s\", until = \"2s\" } | do = \"close\"",
        "phase = \"before-read\" | do = { http = { status = 200 } }",
        "phase = \"before-read\" | do = { delay = \"0s\" }",
        "phase = \"before-read\" | do = { delay = { uniform = { min = \"2s\", max = \"2s\" } } }",
        "phase = \"before-read\" | do = { delay = { log-normal = { median = \"0s\", sigma = 1.0, cap = \"1s\" } } }",
        "phase = \"before-read\" | do = { delay = { log-normal = { median = \"2s\", sigma = 1.0, cap = \"1s\" } } }",
        "phase = \"before-read\" | do = { delay = { log-normal = { median = \"1s\", sigma = -1.0, cap = \"1s\" } } }",
        "phase = \"before-read\" | do = { delay = { log-normal = { median = \"1s\", sigma = nan, cap = \"1s\" } } }",
        "phase = \"before-read\" | do = { throttle = {} }",
        "phase = \"before-read\" | do = { stall = \"0s\" }",
        "phase = \"before-read\" | do = { refuse = \"0s\" }",
        "phase = \"before-read\" | do = { hold = \"\" }",
        "phase = \"before-commit\" | do = { data-size = 0 }",
        "phase = \"before-commit\" | do = { transcode = 0 }",
        "phase = \"before-commit\" | do = { transcode = 502 }",
    ];
    expect![[r#"
        phase = "after-commit" | do = "drop-part"
            drop-part cannot strike in phase after-commit, but in before-commit
        phase = "before-read" | do = { corrupt = { offset = 0 } }
            corrupt cannot strike in phase before-read, but in before-commit
        phase = "mid-body" | do = { http = { status = 503 } }
            http cannot strike in phase mid-body, but in before-read, before-commit, after-commit
        phase = "mid-reply" | do = { reply = { code = 1 } }
            reply cannot strike in phase mid-reply, but in before-read, before-commit, after-commit
        phase = "mid-body" | do = "garbage-reply"
            garbage-reply cannot strike in phase mid-body, but in before-read, before-commit, after-commit
        phase = "mid-reply" | do = "empty-reply"
            empty-reply cannot strike in phase mid-reply, but in before-read, before-commit, after-commit
        phase = "before-commit" | do = { truncate-reply = { at = 1 } }
            truncate-reply cannot strike in phase before-commit, but in after-commit
        phase = "after-commit" | do = { list = "empty" }
            list empty cannot strike in phase after-commit, but in before-commit
        phase = "before-read" | do = { data-size = "1MiB" }
            data-size cannot strike in phase before-read, but in before-commit
        phase = "mid-body" | do = "expire-session"
            expire-session cannot strike in phase mid-body, but in before-read, before-commit, after-commit
        phase = "after-commit" | do = { transcode = -502 }
            transcode cannot strike in phase after-commit, but in before-commit
        phase = "before-commit" | do = { throttle = { read = "1KiB/s" } }
            in phase before-commit nothing is left to read: expected throttle in before-read or mid-body
        phase = "mid-reply" | do = { throttle = { read = "1KiB/s", write = "1KiB/s" } }
            in phase mid-reply nothing is left to read: expected throttle in before-read or mid-body
        phase = "before-read" | at = 3 | do = "close"
            at counts bytes in phases mid-body and mid-reply, not in before-read
        phase = "after-commit" | at = 0 | do = "close"
            at counts bytes in phases mid-body and mid-reply, not in after-commit
        phase = "mid-body" | on = { action = "InitUpload" } | do = "close"
            only requests that send a part or a file have a body
        phase = "mid-body" | on = { action = "FinishUploadEx" } | do = { delay = "1s" }
            only requests that send a part or a file have a body
        phase = "before-read" | on = { action = "InitUpload", part = 1 } | do = "close"
            part and offset select among requests that send a part
        phase = "before-read" | on = { action = "SmallFileUpload", offset = 0 } | do = "close"
            part and offset select among requests that send a part
        phase = "before-commit" | on = { action = "InitUpload" } | do = "drop-part"
            only requests that send a part have one to drop
        phase = "before-commit" | on = { action = "SmallFileUpload" } | do = { corrupt = { offset = 0 } }
            only requests that send a part have one to corrupt
        phase = "before-commit" | on = { action = "UploadPart" } | do = { list = "stale" }
            only InitUpload and InitUploadEx are answered with a list of parts
        phase = "before-commit" | on = { action = "MultipartUploadVodFile" } | do = { data-size = "1MiB" }
            only InitUpload and InitUploadEx are answered with a part size
        phase = "before-commit" | on = { action = "UploadPartEx" } | do = { transcode = -502 }
            only requests that can store a file have one to transcode
        phase = "after-commit" | on = { action = "FinishUpload" } | do = "expire-session"
            a finish that was accepted leaves no session to expire
        phase = "before-read" | on = { action = "Report" } | do = "expire-session"
            Report is about no upload
        phase = "before-read" | on = { action = "InitUpload" } | do = { throttle = { read = "1KiB/s" } }
            only requests that send a part or a file have a body to read
        phase = "before-read" | on = { part = 0 } | do = "close"
            part counts from 1
        phase = "before-read" | on = { attempt = 0 } | do = "close"
            attempt counts from 1
        phase = "before-read" | on = { every = 0 } | do = "close"
            every counts from 1
        phase = "before-read" | on = { times = 0 } | do = "close"
            times counts from 1
        phase = "before-read" | on = { chance = 0 } | do = "close"
            chance is 0: expected above 0 and up to 1
        phase = "before-read" | on = { chance = 1.5 } | do = "close"
            chance is 1.5: expected above 0 and up to 1
        phase = "before-read" | on = { chance = nan } | do = "close"
            chance is NaN: expected above 0 and up to 1
        phase = "before-read" | on = { part = 1, offset = 524288 } | do = "close"
            part 1 never starts at offset 524288: part 1 is the one that starts at 0
        phase = "before-read" | on = { part = 2, offset = 0 } | do = "close"
            part 2 never starts at offset 0: part 1 is the one that starts at 0
        phase = "before-read" | on = { until = "0s" } | do = "close"
            until is 0s: expected later than after, 0s
        phase = "before-read" | on = { after = "2s", until = "2s" } | do = "close"
            until is 2s: expected later than after, 2s
        phase = "before-read" | do = { http = { status = 200 } }
            status is 200: expected 400 to 599
        phase = "before-read" | do = { delay = "0s" }
            delay is 0: expected a time to wait
        phase = "before-read" | do = { delay = { uniform = { min = "2s", max = "2s" } } }
            delay is uniform from 2s to 2s: expected min below max
        phase = "before-read" | do = { delay = { log-normal = { median = "0s", sigma = 1.0, cap = "1s" } } }
            delay has median 0s and cap 1s: expected a median above 0, and no cap below it
        phase = "before-read" | do = { delay = { log-normal = { median = "2s", sigma = 1.0, cap = "1s" } } }
            delay has median 2s and cap 1s: expected a median above 0, and no cap below it
        phase = "before-read" | do = { delay = { log-normal = { median = "1s", sigma = -1.0, cap = "1s" } } }
            sigma is -1: expected 0 to 5
        phase = "before-read" | do = { delay = { log-normal = { median = "1s", sigma = nan, cap = "1s" } } }
            sigma is NaN: expected 0 to 5
        phase = "before-read" | do = { throttle = {} }
            throttle has neither read nor write
        phase = "before-read" | do = { stall = "0s" }
            stall is 0: expected a time of silence, or "forever"
        phase = "before-read" | do = { refuse = "0s" }
            refuse is 0: expected a time
        phase = "before-read" | do = { hold = "" }
            hold has no name to be released by
        phase = "before-commit" | do = { data-size = 0 }
            data-size is 0: expected at least a byte
        phase = "before-commit" | do = { transcode = 0 }
            transcode is 0: expected a negative code such as -502
        phase = "before-commit" | do = { transcode = 502 }
            transcode is 502: expected a negative code such as -502
    "#]]
    .assert_eq(&checked(&rows, impossible));
}

#[test]
fn ids_are_there_and_unique() {
    let plan = |ids: [&str; 2]| {
        let fault = |id| format!("[[fault]]\nid = \"{id}\"\nphase = \"before-read\"\ndo = \"close\"\n");
        toml::from_str::<Plan>(&ids.map(fault).concat()).unwrap().check().map_err(|error| error.to_string())
    };
    assert_eq!(plan(["a", "b"]), Ok(()));
    assert_eq!(plan(["a", ""]), Err("fault \"\": its id is empty".to_owned()));
    assert_eq!(plan(["a", "a"]), Err("fault \"a\": its id stands twice in the plan".to_owned()));
}

#[test]
fn what_this_server_cannot_do_is_refused_and_what_another_can_is_not() {
    let all = Powers { spoils: true, rereads: true, kills: true, refuses: true, longest_body: Some(1000) };
    let refused = |row: &str, powers: Powers| {
        let plan = read(&row.replace(" | ", "\n")).unwrap();
        assert_eq!(plan.check(), Ok(()), "some server can: {row}");
        plan.check_for(powers).map_err(|error| error.why)
    };
    for (row, lacking, says) in [
        ("phase = \"before-commit\" | do = \"drop-part\"", Powers { spoils: false, ..all }, "no uploads of its own"),
        ("phase = \"before-commit\" | do = { corrupt = { offset = 1 } }", Powers { rereads: false, ..all }, "no bytes"),
        ("phase = \"before-commit\" | do = { list = \"stale\" }", Powers { spoils: false, ..all }, "no uploads"),
        ("phase = \"before-commit\" | do = { data-size = 1 }", Powers { spoils: false, ..all }, "no uploads"),
        ("phase = \"before-commit\" | do = \"expire-session\"", Powers { spoils: false, ..all }, "no uploads"),
        ("phase = \"before-commit\" | do = { transcode = -1 }", Powers { spoils: false, ..all }, "no uploads"),
        ("phase = \"before-read\" | do = { kill = \"client\" }", Powers { kills: false, ..all }, "nobody who kills"),
        ("phase = \"before-read\" | do = { kill = \"mock\" }", Powers { kills: false, ..all }, "nobody who kills"),
        ("phase = \"before-read\" | do = { refuse = \"1s\" }", Powers { refuses: false, ..all }, "no listener"),
        ("phase = \"mid-body\" | at = 1 | do = \"reset\"", Powers { longest_body: Some(1), ..all }, "at is 1: "),
        (
            "phase = \"before-commit\" | do = { corrupt = { offset = 999 } }",
            Powers { longest_body: Some(999), ..all },
            "offset is 999: this server reads no more than 999 bytes of a body",
        ),
    ] {
        assert_eq!(refused(row, all), Ok(()), "{row}");
        let why = refused(row, lacking).expect_err(row);
        assert!(why.contains(says), "{row}: {why}");
    }
    let far = "phase = \"mid-reply\" | at = 1000000 | do = \"reset\"";
    assert_eq!(refused(far, all), Ok(()), "nobody knows how long a list of parts may become");
}

/// A plan with every verdict, in every way to write it.
const EVERYTHING: &str = r#"
    do = { reply = { code = -10004, can-retry = true } }
    do = { reply = { code = 4400, message = "wait" } }
    do = { http = { status = 503, retry-after = "2s" } }
    do = { http = { status = 400 } }
    do = { delay = "300ms" }
    do = { delay = { uniform = { min = "10ms", max = "1s" } } }
    do = { delay = { log-normal = { median = "50ms", sigma = 1.0, cap = "5s" } } }
    do = { throttle = { read = "256KiB/s" } }
    do = { throttle = { read = "1000/s", write = "1MiB/s" } }
    do = { stall = "10s" }
    do = { stall = "forever" }
    do = "close"
    do = "reset"
    do = { truncate-reply = { at = 20 } }
    do = "garbage-reply"
    do = "empty-reply"
    do = { corrupt = { offset = 100 } }
    do = "drop-part"
    do = { kill = "client" }
    do = { kill = "mock" }
    do = { list = "stale" }
    do = { list = "without-md5" }
    do = { list = "sha-instead-of-md5" }
    do = { list = "other-md5" }
    do = { list = "empty" }
    do = { data-size = "512KiB" }
    do = "expire-session"
    do = { refuse = "2s" }
    do = { hold = "name" }
    do = { transcode = -502 }
"#;

#[test]
fn a_plan_reads_back_what_it_writes_as_toml_and_as_json() {
    let on = "{ action = \"UploadPart\", part = 2, offset = 524288, attempt = 1, account = \"demo\", \
              file-sha = \"da39a3ee5e6b4b0d3255bfef95601890afd80709\", every = 3, chance = 0.25, after = \"1s\", \
              until = \"1m\", times = 2 }";
    let faults = EVERYTHING.lines().map(str::trim).filter(|line| !line.is_empty()).enumerate();
    let texts =
        faults.map(|(n, does)| format!("[[fault]]\nid = \"f{n}\"\nphase = \"mid-body\"\nat = 7\non = {on}\n{does}\n"));
    let plan: Plan = toml::from_str(&texts.collect::<String>()).unwrap();
    assert_eq!(plan.faults.len(), 30);
    let written = toml::to_string(&plan).unwrap();
    assert_eq!(toml::from_str::<Plan>(&written).unwrap(), plan, "{written}");
    let json = serde_json::to_string_pretty(&plan).unwrap();
    assert_eq!(serde_json::from_str::<Plan>(&json).unwrap(), plan, "{json}");
    let typo = json.replacen("\"times\"", "\"tmes\"", 1);
    let line = 1 + typo[..typo.find("\"tmes\"").unwrap()].lines().count() - 1;
    let error = serde_json::from_str::<Plan>(&typo).unwrap_err().to_string();
    assert!(error.contains("unknown field `tmes`, expected one of `action`"), "{error}");
    assert!(error.contains(&format!("line {line} ")), "{error}");
}

//! `--dry-run`: a plan is what an upload then does, it sends nothing, and it shows nothing that proves a request.

use std::{collections::BTreeMap, fs};

use serde_json::Value;
use vod_mock::Action;
use vod_proto::{Query, Sha1};

use super::{
    many::{Stage, lines},
    run_with,
};

/// What must be the same whenever a request is made with one seed.
fn told(target: &str) -> BTreeMap<String, String> {
    let (path, query) = Query::split_target(target);
    let pairs = query.pairs().map(|pair| (pair.name().into_owned(), pair.raw_value().to_owned()));
    let mut told: BTreeMap<_, _> = pairs.chain([("path".to_owned(), path.to_owned())]).collect();
    for name in ["Timestamp", "Signature", "signature", "SecretId"] {
        told.remove(name);
    }
    told
}

#[test]
fn a_plan_says_the_very_requests_that_the_upload_then_makes_and_makes_none() {
    for more in [
        &["--part-size", "524288", "--parallel", "1", "--tag", "sea", "--class-id", "3"][..],
        &["--part-size", "524288", "--parallel", "1", "--dialect", "observed"],
        &["--part-size", "524288", "--parallel", "1", "--family", "ugc", "--name", "夏天"],
        &["--part-size", "600000", "--family", "legacy", "--notify-url", "http://h.example/told"],
    ] {
        let stage = Stage::with(&[]);
        fs::write(stage.path("a.mp4"), vec![b'x'; 1_600_000]).unwrap();
        let more = [&["--seed", "7", "--json"], more].concat();
        let ran = stage.upload(&["a.mp4"], &[&more[..], &["--dry-run"]].concat());
        assert_eq!(ran.code, 0, "{}", ran.stderr);
        assert_eq!(stage.mock.exchanges().len(), 0, "a plan sends nothing");
        let [plan] = &lines(&ran)[..] else { panic!("one line:\n{}", ran.stdout) };
        assert_eq!(
            (&plan["event"], &plan["size"], &plan["bytes"]),
            (&"plan".into(), &1_600_000.into(), &1_600_000.into())
        );
        assert_eq!(plan["file-sha1"], Sha1::of(&vec![b'x'; 1_600_000]).to_string());

        assert_eq!(stage.upload(&["a.mp4"], &more).code, 0);
        let made: Vec<_> = stage
            .mock
            .exchanges()
            .iter()
            .map(|exchange| (exchange.request.method.clone(), told(&exchange.request.target)))
            .collect();
        let planned = plan["requests"].as_array().unwrap().iter();
        let planned = planned.map(|request| {
            let text = |name: &str| request[name].as_str().unwrap().to_owned();
            (text("method"), told(&text("target")))
        });
        assert_eq!(planned.collect::<Vec<_>>(), made, "{more:?}");
        assert_eq!(plan["request-count"], made.len());
    }
}

#[test]
fn a_plan_of_many_parts_shows_the_first_and_the_last() {
    let stage = Stage::with(&[]);
    fs::File::create(stage.path("a.mp4")).unwrap().set_len(20 * 1_048_576 + 5).unwrap();
    let ran = stage.upload(&["a.mp4"], &["--dry-run"]);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    let text = &ran.stdout;
    let grid =
        "21 parts, in a grid of 1048576 bytes: 0+1048576, 1048576+1048576, … 17 more …, 19922944+1048576, 20971520+5";
    assert!(text.contains(grid), "{text}");
    let to = format!("to {}, in the server family: 23 requests with 20971525 bytes, if", stage.mock.endpoint());
    assert!(text.contains(&to), "{text}");
    let requests: Vec<_> =
        text.lines().filter(|line| line.starts_with("  ")).map(|line| line.split('&').next().unwrap()).collect();
    let part = "  POST /v2/index.php?Action=UploadPart";
    let (init, finish) = ("  GET /v2/index.php?Action=InitUpload", "  GET /v2/index.php?Action=FinishUpload");
    assert_eq!(requests, [init, part, part, "  … 17 more …", part, part, finish]);
    assert!(text.contains("&Signature=redacted-") && text.contains(" with 5 bytes\n"), "{text}");
}

#[test]
fn a_plan_needs_no_keys_and_refuses_what_an_upload_would_refuse() {
    let stage = Stage::with(&["a.mp4", "b.mp4", "none"]);
    let plan = |files: &[&str], more: &[&str]| {
        let args = stage.args(files, &[more, &["--dry-run", "--json"]].concat());
        run_with(&args.iter().map(String::as_str).collect::<Vec<_>>(), &[], "")
    };
    for family in ["server", "ugc", "legacy"] {
        let ran = plan(&["*.mp4"], &["--family", family]);
        assert_eq!((ran.code, lines(&ran).len()), (0, 2), "{}", ran.stderr);
    }
    let ran = plan(&["a.mp4", "missing.mp4", "none"], &[]);
    let mut ends: Vec<_> =
        lines(&ran).iter().map(|line: &Value| format!("{} {}", line["event"], line["exit"])).collect();
    ends.sort();
    assert_eq!(ends, [r#""plan" null"#, r#""result" 3"#, r#""result" 4"#]);
    assert_eq!(ran.code, 3, "{}", ran.stdout);
    let ran = plan(&["a.mp4"], &["--notify-url", "http://u"]);
    assert_eq!(ran.code, 3, "{}", ran.stdout);
    assert!(ran.stdout.contains("the server family has no notify URL"), "{}", ran.stdout);
    assert_eq!(stage.account.exchanges().action(Action::InitUpload).len(), 0);
}

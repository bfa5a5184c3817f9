//! A failure that may hide a stored file says so: in words, in JSON and by its exit code; and no other failure does.

use vod_mock::{Action, Fault, Verdict};

use super::{
    Ran,
    many::{Stage, lines},
};

/// How each family stores a file, and how it is asked what became of that; where it can be asked.
const WAYS: [(&[&str], Action, Option<Action>); 4] = [
    (&["--family", "server"], Action::FinishUpload, Some(Action::InitUpload)),
    (&["--family", "ugc"], Action::FinishUploadEx, Some(Action::InitUploadEx)),
    (&["--family", "legacy"], Action::MultipartUploadVodFile, None),
    (&["--cover-of", "7"], Action::SmallFileUpload, None),
];

/// The file is stored, the reply is lost, and there is no answer to the question what became of it.
fn lost((way, stores, asks): (&[&str], Action, Option<Action>), lost: Verdict, mode: &[&str]) -> Ran {
    let stage = Stage::with(&["a.png"]);
    let faults = [
        Some(stage.account.fault(Fault::on(stores).after_commit(lost))),
        asks.map(|asks| stage.account.fault(Fault::on(asks).attempt(2).before_read(Verdict::http(503)))),
    ];
    let ran = stage.upload(&["a.png"], &[way, &["--attempts", "1"], mode].concat());
    // All of them struck, or this fails.
    drop(faults);
    assert_eq!(stage.stored().len(), 1, "{way:?}: it was stored indeed");
    ran
}

#[test]
fn a_failure_that_may_hide_a_commit_says_so_in_words_in_json_and_by_its_code() {
    let may_be = "the file may have been committed: ask before uploading it again";
    for way in WAYS {
        for (verdict, kind) in [(Verdict::Reset, "transport"), (Verdict::truncate_reply(10), "malformed")] {
            let ran = lost(way, verdict.clone(), &[]);
            assert!(ran.code == 8 && ran.stderr.contains(may_be), "{way:?}: {}", ran.stderr);
            let ran = lost(way, verdict, &["--json"]);
            let result = lines(&ran).pop().unwrap();
            // Where it was asked what became of it, that failed last.
            let kind = if way.2.is_some() { "transport" } else { kind };
            assert_eq!((ran.code, &result["exit"]), (8, &8.into()), "{way:?}: {result}");
            assert_eq!(
                (&result["kind"], &result["may-be-committed"]),
                (&kind.into(), &true.into()),
                "{way:?}: {result}"
            );
            assert!(result["message"].as_str().unwrap().contains(may_be), "{way:?}: {result}");
        }
    }
}

#[test]
fn a_failure_that_hides_nothing_does_not_cry_wolf() {
    for (way, stores, _) in WAYS {
        for mode in [&[][..], &["--json"]] {
            let stage = Stage::with(&["a.png"]);
            let _no = stage.account.fault(Fault::on(stores).before_commit(Verdict::reply(-10001)));
            let ran = stage.upload(&["a.png"], &[way, mode].concat());
            assert_eq!(ran.code, 5, "{way:?}: {}{}", ran.stdout, ran.stderr);
            assert!(!ran.stderr.contains("committed: ask"), "{way:?}: {}", ran.stderr);
            assert!(!ran.stdout.contains("\"may-be-committed\":true"), "{way:?}: {}", ran.stdout);
        }
    }
}
